"""A report in every format, read back as its readers do: for tests of what it says and of what it
must not.
"""

import csv
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from pipeline.record.record import Record
from pipeline.report import frame_files
from pipeline.report.compose import FIGURES, Findings, document, read, texts
from pipeline.report.document import Column, Figure, Table
from pipeline.report.formats import html as page
from pipeline.report.formats import latex_text as letters
from pipeline.report.formats import markdown
from pipeline.report.formats.terminal import render

EMPTY = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="10pt" height="10pt" viewBox="0 0 10 10"></svg>'
)
VOID = {
    "meta",
    "br",
    "img",
    "link",
    "input",
    "hr",
    "base",
    "embed",
    "source",
    "track",
    "wbr",
    "col",
    "area",
}
APART = {"p", "li", "td", "th", "tr", "h1", "h2", "h3", "figcaption", "summary", "br", "pre", "div"}
WORDED = ("report.md", "report.html", "ablation.tex", "screen")
PAGES = ("report.md", "report.html")


class Tree(HTMLParser):
    """Elements with their attributes, and every text with the elements around it, from the
    outermost in.
    """

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.declared: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        self.wrong += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in APART:
            self.texts.append(((), " "))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def handle_decl(self, decl: str) -> None:
        self.declared.append(decl)

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"comment {data}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"instruction {data}")

    @property
    def text(self) -> str:
        return "".join(data for around, data in self.texts if not {"style", "script"} & set(around))

    def inside(self, tag: str) -> str:
        return " ".join(data for around, data in self.texts if tag in around)


@dataclass(frozen=True)
class Told:
    """What a report says. `raw` is as written, `plain` the same as one reads it: no markup, one
    space between words.

    `rows` are the CSV frames, `packed` the parquet ones; both by name. `tables`, `figures` are
    blocks of the pages.
    """

    findings: Findings
    raw: dict[str, str]
    plain: dict[str, str]
    rows: dict[str, list[dict[str, str]]]
    packed: dict[str, pd.DataFrame]
    tables: tuple[Table, ...]
    figures: tuple[str, ...]

    @property
    def everything(self) -> dict[str, str]:
        """Format → all its text; of frames the values of every cell."""
        cells = {
            f"{name}.csv": " ".join(" ".join(row.values()) for row in rows)
            for name, rows in self.rows.items()
        }
        cells |= {
            f"{name}.parquet": " ".join(map(str, frame.to_numpy().ravel()))
            for name, frame in self.packed.items()
        }
        return self.plain | cells

    def contrasts(self, kind: str = "") -> list[dict[str, str]]:
        return [row for row in self.rows["contrasts"] if kind in ("", row["kind"])]

    def marked(self) -> dict[str, frozenset[str]]:
        """Format → the arms that its ablation table shows in bold letters, on a screen with an
        asterisk.
        """
        names = [row.arm for row in self.findings.ablation.rows]
        head = self.raw["report.md"].partition("## Warnings")[0]
        lines = [
            line.split(" & ")
            for line in self.raw["ablation.tex"].splitlines()
            if r"\textbf{" in line
        ]
        tex = {cell.strip(" \\") for line in lines for cell in line}
        bold = Tree(self.raw["report.html"])
        strong = {
            text.strip()
            for around, text in bold.texts
            if {"b", "td"} <= set(around) or {"b", "th"} <= set(around)
        }
        found: dict[str, Callable[[str], object]] = {
            "report.md": lambda arm: f"**{markdown.escape(arm)}**" in head,
            "report.html": lambda arm: arm in strong,
            "ablation.tex": lambda arm: letters.escape(arm) in tex,
            "screen": lambda arm: re.search(
                rf"^{re.escape(arm)} \*  ", self.raw["screen"], re.MULTILINE
            ),
        }
        return {
            name: frozenset(arm for arm in names if is_bold(arm)) for name, is_bold in found.items()
        }


def tell(record: Record, home: Path | None = None, *, drawn: frozenset[str] = FIGURES) -> Told:
    """The report of `record` as `write_report` makes it; of the figures in `drawn` the captions
    alone.
    """
    findings = read(record, home)
    content = document(findings, drawn)
    figures = tuple(block.name for block in content.blocks if isinstance(block, Figure))
    raw = texts(findings, {}) | {
        "report.md": markdown.render(content),
        "screen": render(findings, Path("report.html")),
    }
    raw["report.html"] = page.render(content, dict.fromkeys(figures, EMPTY))
    files = frame_files.files(findings)
    rows = {
        Path(n).stem: csv_rows(text.decode()) for n, text in files.items() if n.endswith(".csv")
    }
    packed = {
        Path(n).stem: pd.read_parquet(io.BytesIO(data))
        for n, data in files.items()
        if n.endswith(".parquet")
    }
    tables = tuple(block for block in content.blocks if isinstance(block, Table))
    return Told(
        findings,
        raw,
        {name: plain(name, text) for name, text in raw.items()},
        rows,
        packed,
        tables,
        figures,
    )


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def plain(name: str, text: str) -> str:
    """A text as one reads it."""
    if name.endswith(".html"):
        text = Tree(text).text
    elif name.endswith(".md"):
        text = html.unescape(re.sub(r"\\([\\`*_\[\]|#~$!+.)=-])", r"\1", text.replace("**", "")))
        text = re.sub(r'<a id="runs-\d+"></a>|\]\(#runs-\d+\)', "", text)
    elif name.endswith(".tex"):
        text = re.sub(r"\\\\|(?m:^%.*$)|\\par\b", " ", text)
        for letter, command in sorted(letters.SPECIAL.items(), key=lambda item: -len(item[1])):
            text = (
                text.replace(command, letter)
                if len(command) > 2 or command.startswith("\\")
                else text
            )
        text = re.sub(r"\\(?:textbf|shortstack\[.\])\{([^{}]*)\}", r"\1", text).replace("--", "–")
    return re.sub(r"[\s\u00a0\u2007]+", " ", text)


def columns(told: Told) -> list[Column]:
    return [column for table in told.tables for column in table.columns]
