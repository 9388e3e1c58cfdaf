"""The ablation as LaTeX tables (booktabs) for pdfLaTeX, to be taken in with \\input."""

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from pipeline.report.document import Cell, Column, Table
from pipeline.report.formats.latex_text import SPECIAL, WIDE, escape, is_wide, length, shown
from pipeline.report.language.translator import Say, words

__all__ = ["SPECIAL", "escape", "render"]

HEAD = r"""% Needs in the preamble: \usepackage[T1]{fontenc} \usepackage{booktabs,amssymb,textcomp}
"""
HEAD_CJK = r"""% Chinese, for XeLaTeX. Needs in the preamble:
% \usepackage{ctex} \usepackage{booktabs,amssymb,textcomp}
"""
TABLE = r"""\begin{table}[htbp]
\centering
\caption{%(caption)s}
\label{tab:%(label)s}
\par\smallskip
%(panels)s
%(notes)s\end{table}
"""
PANEL = r"""{%(size)s\begin{tabular}{@{}%(columns)s@{}}
\toprule
%(head)s \\
\midrule
%(rows)s
\bottomrule
\end{tabular}}"""
LINE, PAGE = (
    345.0,
    500.0,
)  # points: a line of the article class at 10 pt, what a float may take of its page
NORMAL, SMALL = ("", 1.18, 12.0, 12.0), (r"\footnotesize\setlength{\tabcolsep}{3pt}", 1.0, 6.0, 9.5)
TINY = (r"\scriptsize\setlength{\tabcolsep}{3pt}", 0.9, 6.0, 8.0)
TIE = "\N{NO-BREAK SPACE}"
BOLD = 1.15  # as wide as plain text
LETTER = 4.4  # points of most small letters and digits at 8 pt
WIDTHS = (
    dict.fromkeys(" .,;:'|!()[]ijl", 2.8)
    | dict.fromkeys("fIrst-–/", 3.5)
    | dict.fromkeys("mwMW%@&Δ±×+−✓=<>#_", 7.0)
)
NARROW, ROWS = 100.0, 40  # points that a name is given at least; rows of a float
MOST_KEYS, RESULTS = 100, 3  # what judges, difference, verdict: together or not at all
Size = tuple[
    str, float, float, float
]  # command; scale of its letters; points between columns, from line to line


def render(
    tables: Sequence[Table], labels: Sequence[str], notes: Sequence[str], lang: str = "en"
) -> str:
    """The tables as floats, those of many rows in several; `notes` stand under the first. Chinese
    is for XeLaTeX.
    """
    say = words(lang)
    before = WIDE.set(lang != "en")
    parts = [HEAD if lang == "en" else HEAD_CJK]
    for number, (block, label) in enumerate(zip(tables, labels, strict=True)):
        for start in range(0, max(1, len(block.rows)), ROWS):
            rules = frozenset(rule - start for rule in block.rules if 0 < rule - start < ROWS)
            caption = block.caption if not start else block.caption + say(" Continued.")
            piece = replace(
                block, caption=caption, rows=block.rows[start : start + ROWS], rules=rules
            )
            name = f"{label}-{start // ROWS + 1}" if start else label
            parts.append(_float(piece, name, notes if number + start == 0 else (), say))
    WIDE.reset(before)
    return "\n".join(parts)


def tabular(block: Table, lang: str = "en", line: float = LINE) -> tuple[str, float]:
    """(one tabular of the whole table, in the largest letters in which it fits a `line` of so many
    points; the points by which it is wider than that even in the smallest ones).
    """
    before = WIDE.set(lang != "en")
    columns = range(len(block.columns))
    for size in (NORMAL, SMALL, TINY):
        limit = (
            math.inf if size is NORMAL else 0.93 * _limit(block, size, line)
        )  # names of capitals
        over = _wide(block, columns, size, limit) - line
        if over <= 0:
            break
    found = _panel(block, columns, size, limit)
    WIDE.reset(before)
    return found + "\n", max(0.0, over)


def noted(notes: Sequence[str], lang: str = "en") -> str:
    """Notes of a table, to be taken in below it."""
    before = WIDE.set(lang != "en")
    found = _notes(notes)
    WIDE.reset(before)
    return found


def _float(block: Table, label: str, notes: Sequence[str], say: Say) -> str:
    """A table that is too wide even in small letters is cut into panels that repeat the column
    which names the rows.
    """
    size = NORMAL if _wide(block, range(len(block.columns)), NORMAL, math.inf) <= LINE else SMALL
    limit = _limit(block, size)
    cuts = _cuts(block, size, limit)
    if (
        len(cuts) > 1 and _height(block, len(cuts), size, limit, ()) > PAGE
    ):  # many arms: smaller still, on one page
        size = TINY
        limit = _limit(block, size)
        cuts = _cuts(block, size, limit)
    panels = [_panel(block, columns, size, limit) for columns in cuts]
    apart = (
        _height(block, len(cuts), size, limit, notes) > PAGE
    )  # a float taller than its page would run off it
    found = TABLE % {
        "caption": escape(block.caption),
        "label": label,
        "panels": "\n\\par\\medskip\n".join(panels),
        "notes": "" if apart or not notes else r"\par\smallskip" + _notes(notes),
    }
    head = rf"{say('Notes to Table')}~\ref{{tab:{label}}}{say('.')}"
    return "\n".join((found, _notes(notes, head))) if apart and notes else found


def _height(block: Table, num_panels: int, size: Size, limit: float, notes: Sequence[str]) -> float:
    """Height of a float in points, about."""
    rows = [1] * len(block.rows)
    if block.key is not None and limit < math.inf:
        rows = [math.ceil(_points(row[block.key].text) / (0.9 * limit)) for row in block.rows]
    lines = sum(math.ceil(length(note) / 80) for note in notes)
    return (num_panels * (sum(rows) + 4) + length(block.caption) / 70 + 2) * 1.1 * size[
        3
    ] + lines * SMALL[3]


def _notes(notes: Sequence[str], *head: str) -> str:
    lines = "\\par\n".join((*head, *map(escape, notes)))
    return rf"{{\footnotesize\raggedright\noindent {lines}\par}}" + "\n"


def _panel(block: Table, columns: Sequence[int], size: Size, limit: float) -> str:
    rows = []
    for number, row in enumerate(block.rows):
        if number in block.rules:
            rows.append(rf"\cmidrule{{1-{len(columns)}}}")
        if keys := list(dict.fromkeys(key for cell in row for key in cell.runs)):
            rows.append(f"% runs: {_listed(keys)}")
        plain = (
            replace(row[block.key], bold=False) if block.key is not None else None
        )  # the numbers say it
        cells = (plain if plain and i == block.key else row[i] for i in columns)
        rows.append(
            " & ".join(
                _cell(c, block.columns[i], size, limit) for c, i in zip(cells, columns, strict=True)
            )
            + r" \\"
        )
    return PANEL % {
        "size": size[0],
        "columns": "".join(block.columns[i].align[0] for i in columns),
        "head": " & ".join(_head(block, i) for i in columns),
        "rows": "\n".join(rows),
    }


def _listed(keys: Sequence[str]) -> str:
    """For a comment: nothing in it can end its line."""
    if len(keys) > MOST_KEYS:
        return f"{len(keys)}, see runs.csv"
    return ", ".join(re.sub("[^0-9A-Za-z]", "-", key) for key in keys)


def _cuts(block: Table, size: Size, limit: float) -> list[list[int]]:
    """The columns of each panel, filled from the last column on: results first, then costs; the
    marks where they fit.
    """
    columns = list(range(len(block.columns)))
    if block.key is None or _wide(block, columns, size, limit) <= LINE:
        return [columns]
    marks, rest = columns[: block.key], columns[block.key + 1 :]
    cuts: list[list[int]] = []
    loose = [
        i for i in rest if block.columns[i].loose
    ]  # stands in the second panel, beside what is left
    rest = [i for i in rest if i not in loose]
    while rest or loose:
        least = (
            rest[-RESULTS:] if not cuts else rest
        )  # the marks stand beside the results, else with what is last
        beside = bool(marks) and _wide(block, [*marks, block.key, *least], size, limit) <= LINE
        lead = [*marks, block.key] if beside else [block.key]
        first = len(rest) - 1
        while first and _wide(block, [*lead, *rest[first - 1 :]], size, limit) <= LINE:
            first -= 1
        cuts.append([*lead, *rest[first:]])
        marks, rest, loose = [] if beside else marks, [*rest[:first], *loose], []
    return [*cuts, [*marks, block.key]] if marks else cuts


def _head(block: Table, column: int) -> str:
    lines = _title(block, column)
    if len(lines) == 1:
        return escape(lines[0])
    text = r"\\".join(map(escape, lines))
    return rf"\shortstack[{block.columns[column].align[0]}]{{{text}}}"


def _cell(cell: Cell, column: Column, size: Size, limit: float) -> str:
    text = escape(cell.text)
    if column.align == "left" and _points(cell.text) > limit:
        letter = LETTER if length(cell.text) == len(cell.text) else 8.0
        lines = r"\\ ".join(map(escape, textwrap.wrap(shown(cell.text), int(limit / letter))))
        width = size[1] * limit * BOLD  # capitals and codes are wider than the run of letters
        text = rf"\parbox[t]{{{width:.0f}pt}}{{\raggedright\strut {lines}\strut}}"
    return rf"\textbf{{{text}}}" if cell.bold and text else text


def _limit(block: Table, size: Size, line: float = LINE) -> float:
    """Points to a line of a long name, where the table is too wide without wrapping; else no
    limit.
    """
    columns = range(len(block.columns))
    if _wide(block, columns, size, math.inf) <= line:
        return math.inf
    long = [
        i
        for i in columns
        if block.columns[i].align == "left" and _natural(block, i, math.inf) > NARROW
    ]
    rest = (
        line
        - _wide(block, [i for i in columns if i not in long], size, math.inf)
        - size[2] * len(long)
    )
    return max(NARROW, rest / (BOLD * size[1] * len(long))) if long else math.inf


def _wide(block: Table, columns: Sequence[int], size: Size, limit: float) -> float:
    """Width in points, about."""
    return sum(_natural(block, i, limit) for i in columns) * size[1] + (len(columns) - 1) * size[2]


def _natural(block: Table, column: int, limit: float) -> float:
    """Width of a column in points at 8 pt; `limit` is where its cells are wrapped."""
    stout = BOLD if column != block.key and any(row[column].bold for row in block.rows) else 1
    widths = [_points(row[column].text) * stout for row in block.rows]
    if block.columns[column].align == "left":
        widths = [limit * BOLD if width > limit else width for width in widths]
    return max([*map(_points, _title(block, column)), *widths, LETTER])


def _points(text: str) -> float:
    """Width at 8 pt, about."""
    return sum(
        WIDTHS.get(letter, 8.0 if is_wide(letter) else 6.0 if letter.isupper() else LETTER)
        for letter in shown(text)
    )


def _title(block: Table, column: int) -> list[str]:
    """A title in as many lines as keep it from widening its column by much."""
    title = shown(block.columns[column].title).replace(" %", f"{TIE}%").replace("% CI", f"%{TIE}CI")
    width = max([len(shown(row[column].text)) for row in block.rows] + [9])
    longest = max(title.split(), key=len, default="")
    lines = textwrap.wrap(title, min(width, 30), break_long_words=len(longest) > 16) or [""]
    return [line.replace(TIE, " ") for line in lines]
