"""The end of a command on the screen: plain text without markup, for print()."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from pipeline.report.ablation import main_table
from pipeline.report.compose import Findings, document
from pipeline.report.document import PAD, Table, clean
from pipeline.report.search import configuration
from pipeline.report.tables import Ablation, Search, top_value
from pipeline.report.wording import Points
from pipeline.study import Study

WIDTH = 100


def render(findings: Findings, page: Path) -> str:
    """Banners, summary, best configuration, ablation table, warnings, where the report is."""
    content = document(findings, frozenset())
    lines = [f"!! {line}" for banner in content.banners for line in textwrap.wrap(clean(banner), WIDTH - 3)]
    lines += ["", clean(content.title), *textwrap.wrap(clean(content.summary), WIDTH)]
    if findings.search.trials:
        lines += ["", *_best(findings.search, findings.study)]
    lines += ["", *_grid(_compact(main_table(findings.ablation), findings.ablation))]
    if findings.warnings:
        lines += ["", f"Warnings ({len(findings.warnings)})"]
        for warning in findings.warnings:
            lines += textwrap.wrap(clean(warning), WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    lines += ["", f"Report: {clean(page)}"]
    return "\n".join(lines).strip("\n") + "\n"


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


def _compact(table: Table, ablation: Ablation) -> list[list[str]]:
    """Arm, metric, difference, verdict; * instead of bold."""
    keep = [len(ablation.factors), len(table.columns) - 3, len(table.columns) - 2, len(table.columns) - 1]
    rows = [[table.columns[i].title for i in keep]]
    for row in table.rows:
        rows.append([row[i].text + (" *" if row[i].bold and i == keep[0] else "") for i in keep])
    return rows


def _grid(rows: list[list[str]]) -> Iterator[str]:
    cells = [[clean(text).replace(PAD, " ") for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, (arm, level, delta, verdict) in enumerate(cells):
        yield f"{arm:<{widths[0]}}  {level:>{widths[1]}}  {delta:>{widths[2]}}  {verdict}".rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)
