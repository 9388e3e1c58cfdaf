"""The table of the arms for a paper: one tabular of the columns that were asked for, and its notes
in a file of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.counts import plural
from pipeline.errors import UserError, choices
from pipeline.report.compose import Findings, main_table_of, table_notes
from pipeline.report.document import Table
from pipeline.report.formats import latex
from pipeline.report.language import translate
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translator import Translator

MARK = "% made by pipeline.report --tex; needs \\usepackage{booktabs,amssymb,textcomp}\n"
NAMES = (
    "factors",
    "arm",
    "params",
    "macs",
    "speed",
    "tuning",
    "epoch",
    "val",
    "val_loss",
    "score",
    "against",
    "difference",
    "beyond",
    "p",
    "verdict",
    "look",
)
USUAL = ("arm", "score", "against", "difference", "p")
STARS = (0.001, 0.01, 0.05)
"""Levels of three, two and one star."""


@dataclass(frozen=True)
class Paper:
    """table, notes: LaTeX; absent: columns asked for that the study has nothing for; over: points
    by which the table is wider than the line even in the smallest letters.
    """

    table: str
    notes: str
    absent: tuple[str, ...]
    over: float


def paper(
    findings: Findings,
    columns: Sequence[str] = USUAL,
    *,
    stars: bool = False,
    lang: str = "en",
    line: float = latex.LINE,
) -> Paper:
    """The columns in the order asked for, to fit a line of so many points; `stars` say the level of
    Holm's p at the differences. Raises UserError where there is no such column.
    """
    for name in columns:
        if name not in NAMES:
            raise UserError(f"--columns: {choices(name, NAMES)}")
    if "arm" not in columns:
        raise UserError("--columns: 'arm' must be among them, since it names the rows")
    if stars and "difference" not in columns:
        raise UserError("--stars: they stand at the differences; add 'difference' to --columns")
    whole, notes = main_table_of(findings), table_notes(findings)
    if stars and any(one.family for one in findings.ablation.contrasts):
        tests = max((one.family for one in findings.ablation.contrasts), default=0)
        whole = _starred(whole)
        notes.append(
            "* p < 0.05, ** p < 0.01, *** p < 0.001, after Holm's correction over all "
            f"{plural(tests, 'test')} of the report."
        )
    if lang != "en":
        say = Translator(catalogue(lang), [row.arm for row in findings.ablation.rows])
        whole, notes = translate.table(whole, say), list(map(say.text, notes))
    there = {column.name for column in whole.columns}
    table, over = latex.tabular(_chosen(whole, columns), lang, line)
    absent = tuple(name for name in columns if name not in there)
    return Paper(MARK + table, MARK + latex.noted(notes, lang), absent, over)


def _chosen(whole: Table, names: Sequence[str]) -> Table:
    """The columns of these names, in their order."""
    found = [i for name in names for i, c in enumerate(whole.columns) if c.name == name]
    columns = tuple(whole.columns[i] for i in found)
    key = next(number for number, column in enumerate(columns) if column.name == "arm")
    rows = tuple(tuple(row[i] for i in found) for row in whole.rows)
    return replace(whole, columns=columns, rows=rows, key=key, results=None)


def _starred(whole: Table) -> Table:
    """With stars behind the differences, by the p-values that their column is sorted by."""
    places = {column.name: number for number, column in enumerate(whole.columns)}
    if not {"difference", "p"} <= places.keys():
        return whole
    rows = []
    for row in whole.rows:
        p, cell = row[places["p"]].value, row[places["difference"]]
        num = 0 if p is None else sum(p < level for level in STARS)
        cells = list(row)
        cells[places["difference"]] = replace(cell, text=cell.text + "*" * num)
        rows.append(tuple(cells))
    return replace(whole, rows=tuple(rows))
