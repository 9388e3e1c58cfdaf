"""The report as data: blocks of raw text that each renderer escapes for its own format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import printable

Tone = Literal["", "good", "bad", "even", "open"]
PAD = "\u2007"  # a space as wide as a digit: keeps numbers of one column under each other


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; `small` for notes under a table."""

    text: str
    small: bool = False


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]
    small: bool = False


@dataclass(frozen=True)
class Code:
    """Lines to be typed as they stand."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    text: str
    bold: bool = False
    tone: Tone = ""


@dataclass(frozen=True)
class Column:
    title: str
    align: Literal["left", "right", "center"] = "left"


@dataclass(frozen=True)
class Table:
    """`rules` are the rows that a thin line stands above."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    rules: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """`name` is the file's stem in figures/."""

    name: str
    caption: str
    alt: str


Block = Heading | Text | Bullets | Code | Table | Figure


@dataclass(frozen=True)
class Document:
    """`banners` must be seen before any number: an embedded default, an incomplete table."""

    title: str
    subtitle: str
    banners: tuple[str, ...]
    summary: str
    blocks: tuple[Block, ...] = field(default=())


def table(caption: str, titles: Sequence[str], rows: Sequence[Sequence[object]], *, aligns: str = "") -> Table:
    """A plain table; `aligns` is one letter a column (l, r, c), left where it is too short."""
    names: dict[str, Literal["left", "right", "center"]] = {"l": "left", "r": "right", "c": "center"}
    columns = tuple(
        Column(title, names[letter]) for title, letter in zip(titles, aligns.ljust(len(titles), "l"), strict=True)
    )
    return Table(caption, columns, tuple(tuple(Cell(str(value)) for value in row) for row in rows))


def clean(text: object) -> str:
    """`text` on one line, without characters that could drive a terminal or reorder what is read."""
    return PAD.join(printable(part, 20_000) for part in str(text).replace("\n", " ").split(PAD))
