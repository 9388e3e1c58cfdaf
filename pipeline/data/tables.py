"""Tables as they are written: lines and cells of CSV files, whatever program made them."""

import csv
import io
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.files import open_file, read_file
from pipeline.data.names import split_of
from pipeline.errors import UserError, choices, printable

MAX_BYTES = 256 * 2**20
MAX_CELLS = 20_000_000  # ImageNet's table has 4 million; each takes 60 bytes of memory
SHEETS = {".xlsx", ".xls", ".ods", ".parquet", ".tsv", ".txt", ".json"}
SEPARATORS = ",;\t|"
EXCEL = re.compile(
    r"\"?sep=(.)\"?\r?\n", re.IGNORECASE
)  # a line that Excel writes and reads, before all others


@dataclass(frozen=True)
class Table:
    """`head`: names of the columns, empty where there is no line of them; `rows`: (number of the
    line, its cells without spaces around them). `where`: how errors begin."""

    path: Path
    where: str
    head: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def width(self) -> int:
        return len(self.head or (self.rows[0][1] if self.rows else ()))

    def column(self, place: int) -> list[str]:
        """The cells of one column; '' where a line is too short."""
        return [cells[place] if place < len(cells) else "" for _, cells in self.rows]

    def places(self, key: str) -> list[int]:
        """The columns whose names are `key` in small letters and without signs: `Class_ID` is
        classid.
        """
        return [
            place
            for place, name in enumerate(self.head)
            if re.sub(r"[\W_]+", "", name.casefold()) == key
        ]

    def named(self, name: str, setting: str) -> int:
        """The column that the user names in `setting`; raises UserError where there is none."""
        if not self.head:
            raise UserError(f"{self.where}: no line of column names, but {setting} gives one")
        if name not in self.head:
            raise UserError(f"{self.where}: {setting}: no such column; {choices(name, self.head)}")
        return self.head.index(name)

    def columns(self) -> str:
        """`; its columns: a, b`, for an error."""
        shown = (
            ", ".join(printable(name, 40) or "''" for name in self.head[:20])
            or f"{self.width} without names"
        )
        return f"; its columns: {shown}" + (", …" if len(self.head) > 20 else "")

    def shown(self, place: int) -> str:
        """A column as errors and reports call it."""
        return f"column '{printable(self.head[place], 60)}'" if self.head else f"column {place + 1}"


def read_table(path: Path, is_picture: Callable[[str], bool]) -> Table:
    """The lines of a table; the first names the columns unless one of its cells is a picture.
    Raises UserError.

    Separators are `,`, `;`, tab or `|`; quotes, byte order marks, UTF-16, any line ends and Excel's
    `sep=` are handled.
    """
    where = f"data: {printable(path)}"
    lines = _lines(path, where)
    if not lines:
        raise UserError(f"{where}: the table is empty")
    first = lines[0][1]
    named = not any(map(is_picture, first))
    twice = next((name for name in first if name and first.count(name) > 1), "") if named else ""
    if twice:
        raise UserError(
            f"{where}: line {lines[0][0]}: two columns called '{printable(twice, 60)}'; rename one "
            "or add names of columns"
        )
    longer = next((number for number, cells in lines if any(cells[len(first) :])), 0)
    if longer:
        raise UserError(
            f"{where}: line {longer}: more cells than the {len(first)} of the first line; a cell "
            "with the separator in it needs quotes around it"
        )
    return Table(path, where, first if named else (), tuple(lines[1:] if named else lines))


def note_unread(root: Path, read: Collection[Path | None]) -> list[str]:
    """What is to be said of tables that are named after splits, and are not among those that are
    `read`.
    """
    names = {path.name for path in read if path}
    found = sorted(
        p.name
        for p in root.glob("*.csv")
        if p.name not in names and (s := split_of(p.stem)) and not s.rest
    )
    return [
        (
            f"{printable(name, 60)} is not read: put its lines into the first table, with a column "
            "split"
        )
        for name in found
    ]


def other_tables(root: Path) -> str:
    """The tables in a folder that are no CSV files, in words; 'none' without any."""
    names = sorted(path.name for path in root.iterdir() if path.suffix.lower() in SHEETS)
    return (
        f"none ({', '.join(printable(name, 60) for name in names[:5])}: save it as CSV)"
        if names
        else "none"
    )


def _lines(path: Path, where: str) -> list[tuple[int, tuple[str, ...]]]:
    text = _text(path, where)
    excel = EXCEL.match(text)
    text = text[excel.end() :] if excel else text
    first = text.partition("\n")[0]
    separator = excel[1] if excel else max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    before = 1 if excel else 0
    found: list[tuple[int, tuple[str, ...]]] = []
    num = 0
    try:
        for line in reader:
            num += len(line) + 1
            if num > MAX_CELLS:
                raise UserError(
                    f"{where}: line {reader.line_num + before}: more than {MAX_CELLS:,} cells up "
                    "to here"
                )
            if any(map(str.strip, line)):
                found.append((reader.line_num + before, tuple(cell.strip() for cell in line)))
    except csv.Error as error:
        raise UserError(f"{where}: line {reader.line_num + before}: {printable(error)}") from error
    return found


def _text(path: Path, where: str) -> str:
    try:
        with open_file(path) as file:
            raw = read_file(file, MAX_BYTES)
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}") from error
    if raw is None:
        raise UserError(f"{where}: larger than {MAX_BYTES // 2**20} MiB")
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(
            f"{where}: line {line}: not UTF-8 (byte {error.start:,}); save it as UTF-8"
        ) from error
