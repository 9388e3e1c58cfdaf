"""The ablation as LaTeX tables (booktabs) for pdfLaTeX, to be taken in with \\input."""

import unicodedata
from collections.abc import Sequence

from pipeline.report.document import PAD, Cell, Table, clean

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "✓": r"$\checkmark$",
    "±": r"$\pm$",
    "−": r"$-$",
    "+": "$+$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "†": r"\textdagger{}",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "°": r"$^\circ$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    PAD: r"\phantom{0}",
    "\u00a0": "~",
}
HEAD = r"""% Needs in the preamble: \usepackage[T1]{fontenc} \usepackage{booktabs,amssymb,textcomp,graphicx}
"""
TABLE = r"""\begin{table}[htbp]
\centering
\caption{%(caption)s}
\label{tab:%(label)s}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%%
\begin{tabular}{@{}%(columns)s@{}}
\toprule
%(head)s \\
\midrule
%(rows)s
\bottomrule
\end{tabular}}
%(notes)s\end{table}
"""


def escape(text: object) -> str:
    """Plain text that pdfLaTeX prints as it is; letters it has no font for appear as their code, [U+4E2D]."""
    line = unicodedata.normalize("NFC", clean(text))
    return "".join(_letter(letter, before) for before, letter in zip(" " + line, line, strict=False))


def render(tables: Sequence[Table], labels: Sequence[str], notes: Sequence[str]) -> str:
    """The tables as floats; `notes` stand under the first."""
    parts = [HEAD]
    for number, (block, label) in enumerate(zip(tables, labels, strict=True)):
        parts.append(_float(block, label, notes if number == 0 else ()))
    return "\n".join(parts)


def _float(block: Table, label: str, notes: Sequence[str]) -> str:
    lines = "\\par\n".join(map(escape, notes))
    below = rf"\par\smallskip{{\footnotesize\raggedright {lines}\par}}" + "\n" if notes else ""
    rows = []
    for number, row in enumerate(block.rows):
        line = " & ".join(map(_cell, row)) + r" \\"
        rows.append((r"\midrule" + "\n" if number in block.rules else "") + line)
    return TABLE % {
        "caption": escape(block.caption),
        "label": label,
        "columns": "".join(column.align[0] for column in block.columns),
        "head": " & ".join(escape(column.title) for column in block.columns),
        "rows": "\n".join(rows),
        "notes": below,
    }


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.bold and text else text


def _letter(letter: str, before: str) -> str:
    if letter == before and letter in "-,'":  # doubled, these would become another character
        return "{}" + letter
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter.isascii() or (letter.isalpha() and ord(letter) < 0x180 and letter not in "ĿŀŉſĦħŦŧ"):
        return letter
    plain = unicodedata.normalize("NFKD", letter)
    if plain != letter and plain.isascii() and plain.isalnum():
        return plain
    return f"{{[}}U+{ord(letter):04X}{{]}}"
