"""Columns: which of a table say the file, the folder, the split and the class of a picture."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from pipeline.data.folder import has_ending
from pipeline.data.labels import GUESS, OFF, ON, SETTING, Labels, find_labels
from pipeline.data.names import SplitName, split_of, words
from pipeline.data.tables import Table
from pipeline.errors import UserError, printable

# As Table.places has them, the most telling first.
FILES = words(
    "file filename filepath path image imagefile imagefilename imagepath imagename imageid img imgfile imgpath imgname "
    "imgid photo photoid picture pic fname idcode fileid images id name uuid"
)
SPLITS = words("split splits set subset fold usage partition phase part stage")
FLAGS = {
    "istrain": ("train", "test"),
    "isvalid": ("valid", "train"),
    "isval": ("valid", "train"),
    "istest": ("test", "train"),
}
FOLDERS = words("folder foldername dir directory subfolder subdir")
SAMPLE = 50  # cells that are looked at


@dataclass(frozen=True)
class Wanted:
    """The columns that the user names; '' where they are to be found. `label`: several, parted by commas, one for each
    class; `split`: 'none' for no column."""

    file: str = ""
    label: str = ""
    split: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Row:
    """One line: the file as it is written there, its label ('' = none), the number of the line, the word of its split."""

    file: str
    label: str
    line: int
    split: str = ""


@dataclass(frozen=True)
class Columns:
    """What was read of a table. `file`, `labels`, `splits`: the columns, in words ('' = none); `wanted`: the same ones, for
    the next table; `order`: as of `Labels`; `notes`: what is to be said."""

    rows: tuple[Row, ...]
    file: str
    labels: str
    splits: str
    wanted: Wanted
    order: tuple[str, ...]
    notes: tuple[str, ...]


def read_columns(table: Table, wanted: Wanted, is_picture: Callable[[str], bool], *, labelled: bool) -> Columns:
    """The rows of a table. With `labelled` there must be labels. Raises UserError with the columns that there are."""
    file, guessed = _file(table, wanted.file, is_picture)
    folders = [place for name in FOLDERS for place in table.places(name) if place != file]
    folder = table.named(wanted.folder, "dataset.folder_column") if wanted.folder else next(iter(folders), None)
    split, marks, notes = _split(table, wanted.split, {file, folder})
    labels = find_labels(table, wanted.label, {p for p in (file, folder, split) if p is not None}, needed=labelled)
    rows = tuple(_rows(table, file, folder, labels, marks))
    bare = labels.cells.count("")
    if labelled and bare == len(table.rows):
        raise UserError(f"{table.where}: no labels in it; name their column in {SETTING}{table.columns()}")
    if labelled and bare:
        notes.append(f"{printable(table.path.name, 60)}: {bare} pictures have no label in {labels.shown}")
    names = [table.head[place] if table.head else "" for place in (file, *labels.places)]
    return Columns(
        rows,
        f"{table.shown(file)}{GUESS if guessed else ''}",
        labels.shown,
        table.shown(split) if split is not None else "",
        Wanted(names[0], ",".join(names[1:]), "none", table.head[folder] if folder is not None else ""),
        labels.order,
        tuple(notes),
    )


def _rows(table: Table, file: int, folder: int | None, labels: Labels, splits: list[str]) -> Iterator[Row]:
    files, folders = table.column(file), table.column(folder) if folder is not None else [""] * len(table.rows)
    needed = max(file, *labels.places, 0) + 1
    for (line, cells), name, above, label, split in zip(table.rows, files, folders, labels.cells, splits, strict=True):
        if not name or len(cells) < needed:
            raise UserError(
                f"{table.where}: line {line}: {len(cells)} cells or no file in it ({table.shown(file)}); expected "
                f"{table.width}, as in the first line"
            )
        yield Row(f"{above}/{name}" if above else name, label, line, split)


def _file(table: Table, wanted: str, is_picture: Callable[[str], bool]) -> tuple[int, bool]:
    """(the column of the files, whether that is a guess)."""
    if wanted:
        return table.named(wanted, "dataset.file_column"), False
    found = [place for place in range(table.width) if _holds(table.column(place), is_picture)]
    ended = [place for place in found if _holds(table.column(place), has_ending)]
    found = ended if len(ended) == 1 else found
    usual = [place for name in FILES for place in table.places(name)]
    sure = [place for place in usual if place in found] or (found if len(found) == 1 else [] if found else usual)
    if sure:
        return sure[0], False
    if table.width <= 2:
        return 0, table.width == 2
    raise UserError(f"{table.where}: which column names the files? name it in dataset.file_column{table.columns()}")


def _holds(cells: list[str], is_picture: Callable[[str], bool]) -> bool:
    """Whether at least half of a column's first cells are pictures."""
    some = [cell for cell in cells if cell][:SAMPLE]
    return bool(some) and 2 * sum(map(is_picture, some)) >= len(some)


def _split(table: Table, wanted: str, taken: Collection[int | None]) -> tuple[int | None, list[str], list[str]]:
    """(the column of the splits, the word of each line, what is to be said of columns that are not used)."""
    usual = {place: name for name in (*FLAGS, *SPLITS) for place in table.places(name) if place not in taken}
    usual |= {p: "" for p in range(table.width) if p not in taken and p not in usual and _only_splits(table.column(p))}
    given = {table.named(wanted, "dataset.split_column"): ""} if wanted not in ("", "none") else {}
    notes = []
    for place, name in (given or ({} if wanted else usual)).items():
        cells = table.column(place)
        found = [_flag(cell, *FLAGS[name]) if name in FLAGS else _word(cell) for cell in cells]
        if "" in found and (any(found) or given):
            number = found.index("")
            raise UserError(
                f"{table.where}: line {table.rows[number][0]}: {table.shown(place)}: '{printable(cells[number], 60)}' is no "
                "split (train, valid, test); mend it, or leave the column alone with dataset.split_column=none"
            )
        if any(found):
            return place, found, []
        values = ", ".join(f"'{printable(value, 30)}'" for value in list(dict.fromkeys(cells))[:5])
        notes.append(f"{table.shown(place)} of {printable(table.path.name, 60)} is not used as split: it holds {values}")
    return None, [""] * len(table.rows), notes


def _only_splits(cells: list[str]) -> bool:
    """Whether a column of whatever name holds nothing but the words of several splits."""
    found = {split_of(cell) for cell in set(cells)} if cells and _word(cells[0]) else set()
    return SplitName("train") in found and len(found) > 1 and all(split and not split.rest for split in found)


def _word(cell: str) -> str:
    found = split_of(cell)
    return found.word if found else ""


def _flag(cell: str, yes: str, no: str) -> str:
    return yes if cell.casefold() in ON else no if cell.casefold() in OFF else ""
