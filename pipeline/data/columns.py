"""Columns: which of a table say the file, the folder, the split and the class of a picture."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from pipeline.counts import plural
from pipeline.data.folder import has_ending
from pipeline.data.labels import (
    BROKEN,
    GUESS,
    OFF,
    ON,
    SETTING,
    Labels,
    clean,
    find_labels,
    note_combinations,
)
from pipeline.data.names import SplitName, split_of, words
from pipeline.data.tables import Table
from pipeline.errors import UserError, printable

# As Table.places has them, the most telling first.
FILES = words(
    "file filename filepath path image imagefile imagefilename imagepath imagename imageid img "
    "imgfile imgpath imgname imgid photo photoid picture pic fname idcode fileid images id name "
    "uuid"
)
SPLITS = words("split splits set subset fold usage partition phase part stage")
FLAGS = words("istrain istraining isvalid isval isvalidation istest")
FOLDERS = words("folder foldername dir directory subfolder subdir")
SAMPLE = 50  # cells that are looked at


@dataclass(frozen=True)
class Wanted:
    """The columns that the user names; '' where they are to be found. `label`: several, parted by
    commas, one for each class; `split`: 'none' for no column."""

    file: str = ""
    label: str = ""
    split: str = ""
    folder: str = ""
    group: str = ""


@dataclass(frozen=True)
class Row:
    """One line: the file as it is written there, its label ('' = none), the number of the line, the
    word of its split, its subject ('' = not known).
    """

    file: str
    label: str
    line: int
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Columns:
    """What was read of a table. `file`, `labels`, `splits`, `groups`: the columns, in words ('' =
    none); `wanted`: the same ones, for the next table; `order`: as of `Labels`; `notes`: what is to
    be said."""

    rows: tuple[Row, ...]
    file: str
    labels: str
    splits: str
    wanted: Wanted
    order: tuple[str, ...]
    notes: tuple[str, ...]
    groups: str = ""


def read_columns(
    table: Table, wanted: Wanted, is_picture: Callable[[str], bool], *, labelled: bool
) -> Columns:
    """The rows of a table. With `labelled` there must be labels. Raises UserError with the columns
    that there are.
    """
    file, guessed = _file(table, wanted.file, is_picture)
    folders = [place for name in FOLDERS for place in table.places(name) if place != file]
    folder = (
        table.named(wanted.folder, "dataset.folder_column")
        if wanted.folder
        else next(iter(folders), None)
    )
    group = table.named(wanted.group, "dataset.group_column") if wanted.group else None
    split, marks, notes = _split(table, wanted.split, {file, folder, group})
    taken = {p for p in (file, folder, group, split) if p is not None}
    labels = find_labels(table, wanted.label, taken, needed=labelled)
    rows = tuple(_rows(table, file, folder, group, labels, marks))
    broken = next((number for number, cell in enumerate(labels.cells) if cell in BROKEN), None)
    if broken is not None:
        where, cell = f"{table.where}: line {table.rows[broken][0]}", labels.cells[broken]
        raise UserError(
            f"{where}: '{cell}' in {labels.shown} is a spreadsheet's error, no label; mend it"
        )
    notes += [
        *note_combinations(labels, printable(table.path.name, 60)),
        *_unused(table, {file, folder, group, split, *labels.places}),
    ]
    bare = labels.cells.count("")
    if labelled and bare == len(table.rows):
        raise UserError(
            f"{table.where}: no labels in it; name their column in {SETTING}{table.columns()}"
        )
    if labelled and bare:
        notes.append(
            f"{printable(table.path.name, 60)}: {plural(bare, 'picture has', 'pictures have')} no "
            f"label in {labels.shown}"
        )
    names = [table.head[place] if table.head else "" for place in (file, *labels.places)]
    return Columns(
        rows,
        f"{table.shown(file)}{GUESS if guessed else ''}",
        labels.shown,
        table.shown(split) if split is not None else "",
        Wanted(
            names[0],
            ",".join(names[1:]),
            "none",
            table.head[folder] if folder is not None else "",
            wanted.group,
        ),
        labels.order,
        tuple(notes),
        table.shown(group) if group is not None else "",
    )


def _rows(
    table: Table,
    file: int,
    folder: int | None,
    group: int | None,
    labels: Labels,
    splits: list[str],
) -> Iterator[Row]:
    folders, groups = (
        table.column(place) if place is not None else [""] * len(table.rows)
        for place in (folder, group)
    )
    groups = list(map(clean, groups))
    needed = max(file, *labels.places, 0) + 1
    for (line, cells), name, above, label, split, subject in zip(
        table.rows, table.column(file), folders, labels.cells, splits, groups, strict=True
    ):
        if not name or len(cells) < needed:
            raise UserError(
                f"{table.where}: line {line}: {plural(len(cells), 'cell')} or no file in it "
                f"({table.shown(file)}); expected {table.width}, as in the first line"
            )
        yield Row(f"{above}/{name}" if above else name, label, line, split, subject)


def _file(table: Table, wanted: str, is_picture: Callable[[str], bool]) -> tuple[int, bool]:
    """(the column of the files, whether that is a guess)."""
    if wanted:
        return table.named(wanted, "dataset.file_column"), False
    found = [place for place in range(table.width) if _holds(table.column(place), is_picture)]
    ended = [place for place in found if _holds(table.column(place), has_ending)]
    found = ended if len(ended) == 1 else found
    usual = [place for name in FILES for place in table.places(name)]
    sure = [place for place in usual if place in found] or (
        found if len(found) == 1 else [] if found else usual
    )
    if sure:
        return sure[0], False
    if table.width <= 2:
        return 0, table.width == 2
    raise UserError(
        f"{table.where}: which column names the files? name it in "
        f"dataset.file_column{table.columns()}"
    )


def _holds(cells: list[str], is_picture: Callable[[str], bool]) -> bool:
    """Whether at least half of a column's first cells are pictures."""
    some = [cell for cell in cells if cell][:SAMPLE]
    return bool(some) and 2 * sum(map(is_picture, some)) >= len(some)


def _split(
    table: Table, wanted: str, taken: Collection[int | None]
) -> tuple[int | None, list[str], list[str]]:
    """(the column of the splits, the word of each line, what is to be said of columns that are not
    used).
    """
    flags = {
        place: own
        for place, name in enumerate(table.head)
        if place not in taken and (own := _flags(name))
    }
    usual = [place for name in SPLITS for place in table.places(name) if place not in taken]
    usual += [
        p
        for p in range(table.width)
        if p not in taken and p not in usual and _only_splits(table.column(p))
    ]
    given = [table.named(wanted, "dataset.split_column")] if wanted not in ("", "none") else []
    notes = []
    said: dict[int, list[str]] = {}
    for place in given or ([] if wanted else [*flags, *usual]):
        cells = table.column(place)
        found = [_flag(cell, *flags[place]) if place in flags else _word(cell) for cell in cells]
        if "" in found and (any(found) or given):
            number = found.index("")
            raise UserError(
                f"{table.where}: line {table.rows[number][0]}: {table.shown(place)}: "
                f"'{printable(cells[number], 60)}' is no split (train, valid, test); mend it, or "
                "leave the column alone with dataset.split_column=none"
            )
        if any(found):
            said[place] = found
        else:
            notes.append(_not_used(table, place))
    if len(set(map(tuple, said.values()))) > 1:
        shown = ", ".join(map(table.shown, said))
        raise UserError(
            f"{table.where}: {shown} may all say the split; name one in dataset.split_column, or "
            "none"
        )
    for place, found in said.items():
        return place, found, notes
    return None, [""] * len(table.rows), notes


def _not_used(table: Table, place: int) -> str:
    values = ", ".join(
        f"'{printable(value, 30)}'" for value in list(dict.fromkeys(table.column(place)))[:5]
    )
    return (
        f"{table.shown(place)} of {printable(table.path.name, 60)} is not used as split: it "
        f"holds {values}"
    )


def _unused(table: Table, taken: Collection[int | None]) -> list[str]:
    """What is to be said of columns of 0 and 1 that are called `train` or `test`: they may as well
    be of a class.
    """
    named = [
        p
        for p, name in enumerate(table.head)
        if p not in taken and (own := split_of(name)) and not own.rest
    ]
    return [
        _not_used(table, p)
        for p in named
        if all(cell.casefold() in ON | OFF for cell in table.column(p))
    ]


def _flags(name: str) -> tuple[str, str] | None:
    """(split of a yes, of a no) in a column such as `is_valid` or `is_training_image`; None for
    others.
    """
    own = re.sub(r"[\W_]+", "", name.casefold())
    split = split_of(own[2:] if own in FLAGS else name)
    if split is None or not (own in FLAGS or split.rest == ("is",)):
        return None
    return split.word, "test" if split.word == "train" else "train"


def _only_splits(cells: list[str]) -> bool:
    """Whether a column of whatever name holds nothing but the words of several splits."""
    found = {split_of(cell) for cell in set(cells)} if cells and _word(cells[0]) else set()
    return (
        SplitName("train") in found
        and len(found) > 1
        and all(split and not split.rest for split in found)
    )


def _word(cell: str) -> str:
    found = split_of(cell)
    return found.word if found else ""


def _flag(cell: str, yes: str, no: str) -> str:
    return yes if cell.casefold() in ON else no if cell.casefold() in OFF else ""
