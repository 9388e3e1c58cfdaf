"""Tables of file and label, read from CSV."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.data.folder import EXTENSIONS
from pipeline.errors import UserError, choices, printable

FILE_NAMES = (
    "file",
    "image",
    "filename",
    "file_name",
    "path",
    "filepath",
    "file_path",
    "image_path",
    "image_name",
    "image_id",
    "img",
)
LABEL_NAMES = ("label", "class", "category", "target", "class_name", "species", "breed", "label_name", "y")
MAX_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Row:
    """One line: the file as it is written there, its label ('' = none), the number of the line."""

    file: str
    label: str
    line: int


def read_table(path: Path, file_column: str = "", label_column: str = "") -> list[Row]:
    """The rows of a table with or without a line of names; raises UserError.

    Columns are found by the name given, else by a usual name, else the first is the file and the second the label (''
    where there is none). Separators are `,`, `;` or tab; quotes, a byte order mark and any line ends are handled.
    """
    where = f"data: {printable(path)}"
    lines = _lines(path, where)
    if not lines:
        raise UserError(f"{where}: the table is empty")
    head = [cell.strip() for cell in lines[0][1]]
    named = not any(PurePosixPath(cell).suffix.lower() in EXTENSIONS for cell in head)
    if not named and (file_column or label_column):
        raise UserError(f"{where}: no line of column names, but dataset.file_column or dataset.label_column gives one")
    file = _column(where, head, named, file_column, "dataset.file_column", FILE_NAMES, 0)
    others = 1 if file == 0 else 0
    label = _column(where, head, named, label_column, "dataset.label_column", LABEL_NAMES, others if len(head) > 1 else None)
    rows = []
    for line, cells in lines[1:] if named else lines:
        if len(cells) <= max(file or 0, label or 0) or not cells[file or 0].strip():
            raise UserError(
                f"{where}: line {line}: {len(cells)} cells or no file in it; expected as many as in the first line"
            )
        rows.append(Row(cells[file or 0].strip(), cells[label].strip() if label is not None else "", line))
    return rows


def _lines(path: Path, where: str) -> list[tuple[int, list[str]]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise UserError(f"{where}: larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 (byte {error.start:,}); save it as UTF-8") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UserError(f"{where}: line {reader.line_num}: {printable(error)}") from error


def _column(
    where: str, head: list[str], named: bool, wanted: str, key: str, usual: tuple[str, ...], place: int | None
) -> int | None:
    if wanted:
        if wanted not in head:
            raise UserError(f"{where}: {key}: no such column; {choices(wanted, head)}")
        return head.index(wanted)
    lower = [name.lower() for name in head] if named else []
    return next((lower.index(name) for name in usual if name in lower), place)
