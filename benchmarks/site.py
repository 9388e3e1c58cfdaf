"""`python -m benchmarks.site`: the pages of docs/ and of the root as a site in .site/html, which
works offline; any warning fails. `make docs` installs what it needs.

Pages are staged first: names of docs/api.md are followed by what their docstrings say, links
between docs/ and the root, right in a checkout and on GitHub, become links of the site, and what is
no page (code, the licence) loses its link.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pipeline

ROOT = Path(__file__).parents[1]
STAGE = ROOT / ".site"
FROM_ROOT = {"README.md": "manual.md", "CHANGELOG.md": "changelog.md"} | {
    "CONTRIBUTING.md": "contributing.md"
}
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s]+)(?=\))")
LOST = re.compile(r"(?<!!)\[([^\]]*)\]\(\)")
NAMED = re.compile(r"(`\w+`(, |,?$))+")
OUTSIDE = re.compile(rb"""(?:src|href)=["']?(?:https?:)?//[^"'> ]+\.(?:js|css|woff2?)\b""")


def staged(text: str, home: str) -> str:
    """A page of `home` ("" for the root, "docs") with its links as the site has them."""

    def moved(link: re.Match[str]) -> str:
        path, mark, anchor = link[1].partition("#")
        place = (ROOT / home / path).resolve()
        if not place.exists():
            return link[1]  # the build will say so
        inside = place.relative_to(ROOT).as_posix()
        if inside in FROM_ROOT:
            return FROM_ROOT[inside] + mark + anchor
        return inside.removeprefix("docs/") + mark + anchor if inside.startswith("docs/") else ""

    return LOST.sub(r"\1", LINK.sub(moved, text))


def stage(pages: Path) -> None:
    """Write the pages and what they show to `pages`, anew."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    for page in sorted(pages.rglob("*.md")):
        page.write_text(staged(page.read_text(encoding="utf-8"), "docs"), encoding="utf-8")
    for name, own in FROM_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        (pages / own).write_text(staged(text, ""), encoding="utf-8")
    api = pages / "api.md"
    api.write_text(documented(api.read_text(encoding="utf-8")), encoding="utf-8")


def names(text: str) -> list[str]:
    """The names that the page of the API lists, in its order."""
    return [
        name
        for line in text.splitlines()
        if NAMED.fullmatch(line)
        for name in re.findall(r"`(\w+)`", line)
    ]


def documented(text: str) -> str:
    """The page of the API with each name's own documentation below the line that lists it."""
    lines = []
    for line in text.splitlines():
        own = names(line)
        lines += [] if own else [line]
        for name in own:
            lines += ["", f"::: {pipeline._HOME[name]}.{name}", ""]
    return "\n".join(lines)


def main() -> int:
    """0; 1 where the build warns, or where a page needs something of another place."""
    stage(STAGE / "pages")
    shutil.rmtree(STAGE / "html", ignore_errors=True)
    command = (sys.executable, "-m", "zensical", "build", "--strict", "--clean")
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        return 1
    found = [
        f"{page.name}: {link.decode()}"
        for page in sorted((STAGE / "html").rglob("*.html"))
        for link in OUTSIDE.findall(page.read_bytes())
    ]
    print("\n".join(found) or f"{STAGE / 'html' / 'index.html'}: no warning, nothing from outside")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
