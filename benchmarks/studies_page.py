"""`python -m benchmarks.studies_page`: docs/studies.md, made of the shipped studies and of what
their fallbacks showed; `--take MLRUNS` first keeps the first screens of the reports recorded there.

A first screen is what stands between the title of report.md and its advice. A few studies keep a
figure of theirs, too.
"""

import argparse
import ast
import re
import shutil
from pathlib import Path

from pipeline.analysis.preregistration import assigned
from pipeline.study.load import load_study
from pipeline.study.names import SHIPPED, named

DOCS = Path(__file__).parents[1] / "docs"
PAGE, REPORTS = DOCS / "studies.md", DOCS / "reports"
WITH_FIGURE = ("data_size", "hw3", "transfer")
FIGURE = "differences.svg"
HEAD = """# The studies

<!-- made by python -m benchmarks.studies_page -->

Every study that comes with the pipeline: its lab note, its arms, and what it showed on its
fallback. Where its pictures are not found, a study runs on small scans of handwritten digits (8x8
pixels, of scikit-learn) in a few minutes, and says so. The answers below are of such runs, word for
word: they show what a report looks like, and *nothing* about photos.

    python -m pipeline.search --study hw3                      # on the digits
    python -m pipeline.search --study hw3 --data ~/food-11     # on your pictures

"""
NONE = "No report on the digits is kept here; `python -m pipeline.search --study {name}` makes one."


def page() -> str:
    """The whole page, as the studies and the kept screens give it."""
    names = named(SHIPPED)
    listed = " · ".join(f"[{name}](#{name})" for name in names)
    return HEAD + listed + "\n" + "".join(map(_section, names))


def _section(name: str) -> str:
    title, *note = _note(name)
    arms = "".join(
        f"| {arm.name} | {_cell(assigned(arm.overrides))} |\n" for arm, _ in load_study(name).arms()
    )
    return (
        f"\n## {name}\n\n*{title}*\n\n"
        + "".join(f"{paragraph}\n\n" for paragraph in note)
        + f"| arm | what it sets |\n|---|---|\n{arms}\n**On the digits.** {_answer(name)}\n"
    )


def _note(name: str) -> list[str]:
    """The paragraphs of a study's lab note; links lead from docs/."""
    tree = ast.parse((SHIPPED / f"{name}.py").read_text(encoding="utf-8"))
    text = (ast.get_docstring(tree) or "").replace("](../../docs/", "](")
    paragraphs = [" ".join(lines.split()) for lines in text.split("\n\n")]
    return [
        re.sub(r"^(Question|Expected reading|Weights|Cost):", r"**\1:**", p) for p in paragraphs
    ]


def _cell(text: str) -> str:
    return f"`{text}`" if "=" in text else text


def _answer(name: str) -> str:
    """The first sentence of its report, with the way to the rest."""
    kept = REPORTS / f"{name}.md"
    if not kept.exists():
        return NONE.format(name=name)
    answer = next(
        line
        for line in kept.read_text(encoding="utf-8").splitlines()
        if line and line[0] not in "#>-|!" and not line.startswith("Study ")
    )
    return f"{answer} [The first screen of its report](reports/{name}.md)"


def take(mlruns: Path) -> None:
    """Keep the first screens of whole reports of fallbacks below `mlruns`; says which it found."""
    REPORTS.mkdir(exist_ok=True)
    for name in named(SHIPPED):
        report = mlruns / f"{name}-digits" / "report"
        page = report / "report.md"
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        if not text or "INCOMPLETE" in text:
            continue
        screen = first_screen(text)
        figure = f"{name}-{FIGURE}"
        if name in WITH_FIGURE:
            shutil.copy(report / "figures" / FIGURE, REPORTS / figure)
            screen = screen.replace(f"(figures/{FIGURE})", f"({figure})")
        screen = re.sub(r"!\[[^]]*\]\(figures/[^)]*\)\n\n", "", screen)
        (REPORTS / f"{name}.md").write_text(screen, encoding="utf-8")
        print(f"{name}: {len(screen)} characters")


def first_screen(report: str) -> str:
    """What a report's Markdown says above its advice, without links to what is left out."""
    screen = report.partition("\n## ")[0]
    return re.sub(r"(?<!!)\[([^\]]*)\]\(#[^)]*\)", r"\1", screen).rstrip() + "\n"


def main() -> int:
    """Write the page."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.studies_page", description=__doc__)
    flags.add_argument("--take", type=Path, metavar="MLRUNS")
    asked = flags.parse_args()
    if asked.take:
        take(asked.take)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
