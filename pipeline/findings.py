"""What a check of the machine or of a study found, and the table that shows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

from pipeline.errors import printable

Level = Literal["ok", "warning", "error"]
STYLES: dict[Level, str] = {"ok": "green", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was seen, and whether it is all right."""

    what: str
    said: str
    level: Level = "ok"


def table(title: str, findings: Iterable[Finding]) -> Table:
    """The findings in their order; long texts are wrapped."""
    made = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    made.add_column(min_width=7)
    made.add_column(max_width=26)
    made.add_column(overflow="fold")
    for found in findings:
        made.add_row(Text(found.level, STYLES[found.level]), Text(printable(found.what)), Text(printable(found.said, 2000)))
    return made
