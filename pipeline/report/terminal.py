"""The end of a command on the screen: plain text without markup, for print()."""

import textwrap
from collections.abc import Iterator
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

WIDTH = 100


def render(findings: Findings, page: Path) -> str:
    """Banners, summary, best configuration, ablation tables, warnings, where the report is."""
    content = document(findings, frozenset())
    lines = [f"!! {line}" for banner in content.banners for line in textwrap.wrap(clean(banner), WIDTH - 3)]
    lines += ["", clean(content.title), *_summary(content)]
    if findings.search.trials:
        lines += ["", *_best(findings.search, findings.study)]
    for table in _tables(findings.ablation):
        lines += ["", *textwrap.wrap(clean(table.caption), WIDTH), *_grid(table)]
    if findings.warnings:
        lines += ["", f"Warnings ({len(findings.warnings)})"]
        for warning in findings.warnings:
            lines += textwrap.wrap(clean(warning), WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    lines += ["", f"Report: {clean(page)}"]
    return "\n".join(lines).strip("\n") + "\n"


def _summary(content: Document) -> Iterator[str]:
    for block in content.summary:
        if isinstance(block, Text):
            yield from textwrap.wrap(clean(block.text), WIDTH)
            continue
        for item in block.items:
            yield from textwrap.wrap(clean(item), WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _best(search: Search, study: Study) -> Iterator[str]:
    best = search.best
    top = top_value(best) if best else None
    if best is None or top is None:
        yield "Best configuration: no trial has a value yet"
        return
    where = f"rung {top[0] + 1} of {search.num_rungs}"
    acc = Points(2).percent(top[1])
    whose = f"trial {best.number}" + (", the baseline" if best.number == 0 else "")
    yield f"Best configuration: {whose}, val acc {acc} % at {where} (selected by it, so optimistic)"
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
    """Lines of aligned columns; * instead of bold."""
    marked = [[cell.text + " *" * (cell.bold and i == 0) for i, cell in enumerate(row)] for row in table.rows]
    cells = [[clean(text).replace(PAD, " ") for text in row] for row in ([c.title for c in table.columns], *marked)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        pieces = [
            text.rjust(width) if column.align == "right" else text.ljust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        ]
        yield "  ".join(pieces).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)
