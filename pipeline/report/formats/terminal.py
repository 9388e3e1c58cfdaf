"""The end of a command on the screen: plain text without markup, for print()."""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from pipeline.analysis.results import Ablation
from pipeline.analysis.search_results import Search
from pipeline.analysis.wording import PAD, Points
from pipeline.report.compose import Findings, document
from pipeline.report.document import Code, Document, Heading, Table, Text, clean
from pipeline.report.sections import (
    data_share,
    effects,
    front,
    next_steps,
    race,
    sentences,
    variance,
)
from pipeline.report.sections.ablation import main_table
from pipeline.report.sections.footnotes import bold
from pipeline.report.sections.own_metrics import own_metrics
from pipeline.report.sections.search import configuration
from pipeline.screen import KEPT, fold, spelt, width
from pipeline.study.study import Study

GAP = "  "
NUMBERS = re.compile(r"\[[^\]]{,30}\]|\S+ ± \S+(?: \(\w+\))?|\d %")


def render(findings: Findings, page: Path, command: str | None = None) -> str:
    """Banners, summary, best configuration, ablation tables, warnings, what to do next, where the
    report is. `command`: the recorded one, as it is to be pasted here; None: as it is published.
    """
    content = document(findings, frozenset())
    lines = [f"!! {line}" for banner in content.banners for line in _wrap(banner, width() - 3)]
    lines += ["", *_wrap(content.title), *_summary(content)]
    if (terms := sentences.terms(findings.ablation, findings.record)) is not None:
        lines += _wrap(terms.text)
    if findings.search.trials:
        lines += ["", *_best(findings.search, findings.study)]
        lines += [
            line for text in race.said(findings.record, findings.ablation) for line in _wrap(text)
        ]
        lines += _wrap(front.said(findings.front)) if findings.front else []
    for table in _tables(findings.ablation, findings.study):
        lines += ["", *_wrap(table.caption), *_grid(table)]
        if any(row[0].bold for row in table.rows):
            lines += _wrap(bold(findings.ablation).replace("Bold: ", "* ", 1), then="  ")
    known = (
        findings.record,
        findings.study,
        findings.ablation,
        sentences.points(findings.ablation),
    )
    for title, section in (("More pictures", data_share), ("Where the ± comes from", variance)):
        for text in section.said(*known):
            lines += ["", *_wrap(f"{title}: {text}")]
    if findings.warnings:
        lines += ["", f"Warnings ({len(findings.warnings)})"]
        for warning in findings.warnings:
            lines += _wrap(warning, first="  ! ", then="    ")
    lines += [*_next(findings, command), "", *_wrap(f"Report: {page}")]
    return "\n".join(lines).strip("\n") + "\n"


def _next(findings: Findings, command: str | None) -> Iterator[str]:
    """What to do next; commands stay whole, to be copied."""
    ablation = findings.ablation
    shown = sentences.points(ablation)
    for block in next_steps.blocks(ablation, findings.record, shown, command):
        match block:
            case Heading(text):
                yield from ("", text)
            case Text(text):
                yield from _wrap(text, first="  - ", then="    ")
            case Code(lines):
                yield from (f"    {spelt(clean(line))}" for line in lines)


def _wrap(text: str, columns: int | None = None, *, first: str = "", then: str = "") -> list[str]:
    return fold(_whole(text), columns, first=first, then=then)


def _summary(content: Document) -> Iterator[str]:
    for block in content.summary:
        if isinstance(block, Text):
            yield from _wrap(block.text)
            continue
        for item in block.items:
            yield from _wrap(item, first="  - ", then="    ")


def _best(search: Search, study: Study) -> Iterator[str]:
    best = search.stayed or search.best
    top = best.value if best else None
    if best is None or top is None:
        yield "Best configuration: no trial has a value yet"
        return
    full = search.num_rungs == 1
    where = "after full training" if full else f"at rung {top[0] + 1} of {search.num_rungs}"
    judged = search.judged
    value = Points.of(judged, 2).level(top[1])
    whose = f"trial {best.number}" + (", the baseline" if best.number == 0 else "")
    title = f"Configuration of the {judged.most} {judged.val}" * bool(best.costs)
    said = f"{title or 'Best configuration'}: {whose}, "
    said += "which stayed in the race" if search.stayed else f"{judged.val} {value} {where}"
    said += "" if search.stayed else f" (selected by it, so on average too {judged.flattered})"
    yield from _wrap(said, then="  ")
    for path, mine, baseline in configuration(best, study).rows:
        differs = f"   (baseline {baseline.text})" if mine.bold else ""
        yield from _wrap(f"{path.text:<24} {mine.text}{differs}", first="  ", then="      ")


def _tables(ablation: Ablation, study: Study) -> Iterator[Table]:
    """The ablation table without what a line has no room for, the study's other metrics, then the
    families that the first does not show, where they are tested.
    """
    whole = main_table(ablation)
    keep = (len(ablation.factors), *range(whole.results or 0, len(whole.columns)))
    rows = tuple(tuple(row[i] for i in keep) for row in whole.rows)
    yield Table(whole.caption, tuple(whole.columns[i] for i in keep), rows)
    if study.baseline.further:
        yield own_metrics(ablation, study)
    if any(contrast.family for contrast in ablation.effects):
        yield from (table for _, table in effects.tables(ablation))


def _grid(table: Table) -> Iterator[str]:
    """Lines of aligned columns, narrow enough for the screen where their words allow it; * instead
    of bold.

    Where they do not, each row is a list of its own.
    """
    marked = [
        [cell.text + " *" * (cell.bold and i == 0) for i, cell in enumerate(row)]
        for row in table.rows
    ]
    cells = [[_whole(text) for text in row] for row in ([c.title for c in table.columns], *marked)]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    least = [
        max(cell_len(word) for text in column for word in text.split(" ")) for column in columns
    ]
    most = width() - len(GAP) * (len(widths) - 1)
    if sum(least) > most:
        yield from _listed(*cells)
        return
    while sum(widths) > most:
        _, widest = max((width, i) for i, width in enumerate(widths) if width > least[i])
        widths[widest] -= 1
    for number, row in enumerate(cells):
        parts = [fold(text, columns) for text, columns in zip(row, widths, strict=True)]
        for line in zip_longest(*parts, fillvalue=""):
            shown = zip(line, widths, table.columns, strict=True)
            yield GAP.join(
                _placed(text, columns, column.align) for text, columns, column in shown
            ).rstrip()
        if number == 0:
            yield GAP.join("-" * columns for columns in widths)


def _placed(text: str, columns: int, align: str) -> str:
    return (
        " " * (columns - cell_len(text)) + text
        if align == "right"
        else set_cell_size(text, columns)
    )


def _listed(titles: Sequence[str], *rows: Sequence[str]) -> Iterator[str]:
    """Every row's name, then what it says under each title."""
    for name, *texts in rows:
        yield from fold(name)
        for title, text in zip(titles[1:], texts, strict=True):
            if text:
                yield from fold(f"{title}: {text}" if title else text, first="    ", then="      ")


def _whole(text: str) -> str:
    """`text` in the screen's letters, that wraps between its words, but neither within a number
    with its spread, within an interval nor before %."""
    shown = KEPT.join(map(spelt, clean(text).split(PAD)))
    return NUMBERS.sub(lambda found: found[0].replace(" ", KEPT), shown)
