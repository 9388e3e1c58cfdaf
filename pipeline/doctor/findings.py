"""What a check of the machine or of a study found, and the table that shows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pipeline.errors import printable
from pipeline.screen import fold, width

Level = Literal["ok", "warning", "error"]
STYLES: dict[Level, str] = {"ok": "green", "warning": "yellow", "error": "bold red"}
GAP, LEVEL = "  ", 9  # columns of the level and the gap behind it


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was seen, and whether it is all right."""

    what: str
    said: str
    level: Level = "ok"


def table(title: str, findings: Iterable[Finding]) -> Text:
    """The findings in their order, in columns; what is too long for its column goes on below."""
    made, rows, most = (
        Text("\n".join(fold(printable(title, 500))), "italic"),
        list(findings),
        width(),
    )
    column = max((min(cell_len(printable(found.what)), most // 3, 26) for found in rows), default=0)
    left = LEVEL + column + len(GAP)
    for found in rows:
        what, said = (
            fold(printable(found.what), column),
            fold(printable(found.said, 2000), most - left),
        )
        if max(map(cell_len, what)) > column or max(map(cell_len, said)) > most - left:  # a path
            said = fold(printable(found.said, 2000), most - LEVEL)
            lines = [*fold(printable(found.what), most - LEVEL), *said]
        else:
            both = zip_longest(what, said, fillvalue="")
            lines = [f"{set_cell_size(name, column)}{GAP}{text}".rstrip() for name, text in both]
        for number, line in enumerate(lines):
            made.append(f"\n{'' if number else found.level:<{LEVEL}}", STYLES[found.level])
            made.append(line)
    return made
