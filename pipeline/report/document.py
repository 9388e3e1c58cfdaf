"""The report as data: blocks of raw text that each renderer escapes for its own format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.analysis.wording import PAD
from pipeline.errors import printable

Tone = Literal["", "good", "bad", "even", "open"]


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
    """`runs` are the keys of the runs it speaks about, those of the arm in question first; `value`
    is what it sorts by.
    """

    text: str
    bold: bool = False
    tone: Tone = ""
    runs: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class Column:
    """`loose`: on a narrow page it may leave the columns around it; `name`: what it is asked for
    by, in every language.
    """

    title: str
    align: Literal["left", "right", "center"] = "left"
    loose: bool = False
    name: str = ""


@dataclass(frozen=True)
class Table:
    """`rules` are the rows that a thin line stands above; `key` is the column that names the
    row; from the column `results` on stand the numbers that the table is there for.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    rules: frozenset[int] = frozenset()
    key: int | None = None
    results: int | None = None


@dataclass(frozen=True)
class Trace:
    """One run: where it is kept. `mlflow` is its place in the store; `url` the same as an address,
    where it has one.
    """

    key: str
    cells: tuple[str, ...]
    mlflow: str = ""
    url: str = ""


@dataclass(frozen=True)
class Trail:
    """The runs of one arm."""

    title: str
    about: str
    runs: tuple[Trace, ...]


@dataclass(frozen=True)
class Runs:
    """What the cells lead to: every run of the tables, arm by arm. `titles` are those of the cells
    of a run.
    """

    titles: tuple[str, ...]
    trails: tuple[Trail, ...]


@dataclass(frozen=True)
class Figure:
    """`name` is the file's stem in figures/."""

    name: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Thumb:
    """A small picture; `name` is the file's stem in figures/."""

    png: bytes
    label: str
    alt: str
    name: str


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, or `wide` ones under each other; formats without room for them leave
    it out.
    """

    caption: str
    items: tuple[Thumb, ...]
    wide: bool = False


Block = Heading | Text | Bullets | Code | Table | Figure | Runs | Gallery


@dataclass(frozen=True)
class Document:
    """`banners` must be seen before any number: an embedded default, an incomplete table."""

    title: str
    subtitle: str
    banners: tuple[str, ...]
    summary: tuple[Text | Bullets, ...]
    blocks: tuple[Block, ...] = field(default=())
    lang: str = "en"


def homes(document: Document) -> dict[str, tuple[int, str]]:
    """Key of a run → (number from 1, title) of the trail that holds it."""
    trails = [
        trail for block in document.blocks if isinstance(block, Runs) for trail in block.trails
    ]
    return {
        trace.key: (number, trail.title)
        for number, trail in enumerate(trails, 1)
        for trace in trail.runs
    }


def table(
    caption: str, titles: Sequence[str], rows: Sequence[Sequence[object]], *, aligns: str = ""
) -> Table:
    """A plain table; `aligns` is one letter a column (l, r, c), left where it is too short."""
    names: dict[str, Literal["left", "right", "center"]] = {
        "l": "left",
        "r": "right",
        "c": "center",
    }
    columns = tuple(
        Column(title, names[letter])
        for title, letter in zip(titles, aligns.ljust(len(titles), "l"), strict=True)
    )
    return Table(caption, columns, tuple(tuple(Cell(str(value)) for value in row) for row in rows))


def clean(text: object) -> str:
    """`text` on one line, without characters that could drive a terminal or reorder what is
    read.
    """
    return PAD.join(printable(part, 20_000) for part in str(text).replace("\n", " ").split(PAD))
