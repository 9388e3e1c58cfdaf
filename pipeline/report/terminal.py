"""The end of a command on the screen: plain text without markup, for print()."""

import re
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from pipeline.report import effects
from pipeline.report.ablation import main_table
from pipeline.report.compose import Findings, document
from pipeline.report.document import PAD, Document, Table, Text, clean
from pipeline.report.search import configuration
from pipeline.report.tables import Ablation
from pipeline.report.trials import Search, top_value
from pipeline.report.wording import Points
from pipeline.study import Study

WIDTH = 80  # of a terminal
GAP = "  "
KEPT = "\u00a0"  # a space at which no line is broken
NUMBERS = re.compile(r"\[[^\]]{,30}\]|\S+ ± \S+(?: \(\w+\))?|\d %")


def render(findings: Findings, page: Path) -> str:
    """Banners, summary, best configuration, ablation tables, warnings, where the report is."""
    content = document(findings, frozenset())
    lines = [f"!! {line}" for banner in content.banners for line in _wrap(banner, WIDTH - 3)]
    lines += ["", clean(content.title), *_summary(content)]
    if findings.search.trials:
        lines += ["", *_best(findings.search, findings.study)]
    for table in _tables(findings.ablation):
        lines += ["", *_wrap(table.caption), *_grid(table)]
    if findings.warnings:
        lines += ["", f"Warnings ({len(findings.warnings)})"]
        for warning in findings.warnings:
            lines += _wrap(warning, first="  ! ", then="    ")
    lines += ["", f"Report: {clean(page)}"]
    return "\n".join(lines).strip("\n") + "\n"


def _wrap(text: str, width: int = WIDTH, *, first: str = "", then: str = "") -> list[str]:
    lines = textwrap.wrap(_whole(clean(text)), width, initial_indent=first, subsequent_indent=then)
    return [line.replace(KEPT, " ") for line in lines]


def _summary(content: Document) -> Iterator[str]:
    for block in content.summary:
        if isinstance(block, Text):
            yield from _wrap(block.text)
            continue
        for item in block.items:
            yield from _wrap(item, first="  - ", then="    ")


def _best(search: Search, study: Study) -> Iterator[str]:
    best = search.best
    top = top_value(best) if best else None
    if best is None or top is None:
        yield "Best configuration: no trial has a value yet"
        return
    where = f"rung {top[0] + 1} of {search.num_rungs}"
    acc = Points(2).percent(top[1])
    whose = f"trial {best.number}" + (", the baseline" if best.number == 0 else "")
    said = f"Best configuration: {whose}, val acc {acc} % at {where} (selected by it, so optimistic)"
    yield from _wrap(said, then="  ")
    for path, mine, baseline in configuration(best, study).rows:
        differs = f"   (baseline {clean(baseline.text)})" if mine.bold else ""
        yield f"  {clean(path.text):<24} {clean(mine.text)}{differs}"


def _tables(ablation: Ablation) -> Iterator[Table]:
    """The ablation table without what a line has no room for, then the families it does not show, where they are tested."""
    whole = main_table(ablation)
    first = len(ablation.factors)
    keep = (
        first,
        *range([column.title.endswith(("(n)", "each run")) for column in whole.columns].index(True), len(whole.columns)),
    )
    rows = tuple(tuple(row[i] for i in keep) for row in whole.rows)
    yield Table(whole.caption, tuple(whole.columns[i] for i in keep), rows)
    if any(contrast.family for contrast in ablation.effects):
        yield from (table for _, table in effects.tables(ablation))


def _grid(table: Table) -> Iterator[str]:
    """Lines of aligned columns, narrow enough for a terminal where their words allow it; * instead of bold."""
    marked = [[cell.text + " *" * (cell.bold and i == 0) for i, cell in enumerate(row)] for row in table.rows]
    cells = [[_whole(clean(text)) for text in row] for row in ([c.title for c in table.columns], *marked)]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    least = [max(len(word) for text in column for word in text.split(" ")) for column in columns]
    while sum(widths) + len(GAP) * (len(widths) - 1) > WIDTH and widths != least:
        _, widest = max((width, i) for i, width in enumerate(widths) if width > least[i])
        widths[widest] -= 1
    for number, row in enumerate(cells):
        parts = [textwrap.wrap(text, width, break_on_hyphens=False) for text, width in zip(row, widths, strict=True)]
        for line in zip_longest(*parts, fillvalue=""):
            pieces = [
                text.rjust(width) if column.align == "right" else text.ljust(width)
                for text, width, column in zip(line, widths, table.columns, strict=True)
            ]
            yield GAP.join(pieces).replace(KEPT, " ").rstrip()
        if number == 0:
            yield GAP.join("-" * width for width in widths)


def _whole(text: str) -> str:
    """`text` that wraps between its words, but neither within a number with its spread, within an interval nor before %."""
    return NUMBERS.sub(lambda found: found[0].replace(" ", KEPT), text.replace(PAD, KEPT))
