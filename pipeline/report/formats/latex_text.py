"""Letters as LaTeX prints them: specials as commands, what no font has as its code."""

import unicodedata
from contextvars import ContextVar

from pipeline.analysis.wording import PAD
from pipeline.report.document import clean

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
WIDE = ContextVar("WIDE", default=False)  # whether letters as wide as two have a font


def escape(text: object) -> str:
    """Plain text that pdfLaTeX prints as it is; letters it has no font for appear as their code,
    [U+4E2D].
    """
    line = unicodedata.normalize("NFC", clean(text))
    return "".join(
        _letter(letter, before) for before, letter in zip(" " + line, line, strict=False)
    )


def shown(text: str) -> str:
    """As it is printed, to be measured and cut into lines."""
    line = unicodedata.normalize("NFC", clean(text))
    return "".join(
        f"[U+{ord(letter):04X}]" if _letter(letter, "").startswith("{[}U+") else letter
        for letter in line
    )


def is_wide(letter: str) -> bool:
    """Chinese letters, kana and their punctuation: what the fonts of ctex hold."""
    return (
        "\u3001" <= letter <= "\u30ff"
        or "\u4e00" <= letter <= "\u9fff"
        or "\uff01" <= letter <= "\uff5e"
    )


def length(text: str) -> int:
    """Letters, wide ones as two where they are printed."""
    return len(text) + (sum(map(is_wide, text)) if WIDE.get() else 0)


def _letter(letter: str, before: str) -> str:
    if letter == before and letter in "-,'":  # doubled, these would become another character
        return "{}" + letter
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter.isascii() or (letter.isalpha() and ord(letter) < 0x180 and letter not in "ĿŀŉſĦħŦŧ"):
        return letter
    if WIDE.get() and is_wide(letter):
        return letter
    plain = unicodedata.normalize("NFKD", letter)
    if plain != letter and plain.isascii() and plain.isalnum():
        return plain
    return f"{{[}}U+{ord(letter):04X}{{]}}"
