"""Photos listed in a table of file and label."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.counts import plural
from pipeline.data.columns import Columns, Row, Wanted, read_columns
from pipeline.data.cut import cut, origins, warn_test
from pipeline.data.datasets.base import (
    Channels,
    GroupPattern,
    MaxMegapixels,
    MaxUnreadable,
    MinPictures,
    Photos,
    Side,
    TestShare,
    ValidShare,
    title_of,
)
from pipeline.data.folder import require_folder, walk
from pipeline.data.groups import groups_of, told
from pipeline.data.listing import (
    PARTS,
    TEST,
    TRAIN,
    UNKNOWN,
    VALID,
    Listing,
    check_counts,
    in_order,
    require_distinct,
    small_classes,
    warn_blanks,
    warn_small,
)
from pipeline.data.lookup import Lookup
from pipeline.data.names import tokens
from pipeline.data.tables import Table, note_unread, other_tables
from pipeline.data.taken import Source, Taken
from pipeline.errors import UserError, nearest, printable

TRUTH = "test_labels.csv"
USUAL = "train.csv"
FEW = (
    "; leave small classes out (dataset.min_pictures), or name the columns in "
    "dataset.file_column and dataset.label_column"
)
PART = {"": TRAIN, "train": TRAIN, "valid": VALID, "test": TEST, "pred": TEST}
Found = dict[str, tuple[Row, int, tuple[int, int]]]  # path → row, part, stamp


class Csv(Photos):
    """Photos listed in a table, as in Kaggle's "classify leaves": `train.csv` (image,label),
    `test.csv` (image), `images/`.

    Columns are found by usual names or by what they hold, one for each class (0 and 1) included; a
    column `split` is followed. A test table is optional, with labels or without; `test_labels.csv`
    beside it is read for them; without one a folder of test pictures that no table lists is the
    test part. Files lie anywhere below the table's folder and are given with or without their
    folders and ending.
    """

    name: Literal["csv"] = "csv"
    table: str = Field(default=USUAL, min_length=1, description="table of the labelled pictures")
    test_table: str = Field(
        default="test.csv", description="table of the test pictures; read where it is there"
    )
    images: str = Field(
        default="",
        description="folders of the pictures, parted by commas; empty: anywhere below the table's",
    )
    file_column: str = Field(
        default="", description="empty: a usual name such as image or file, or what holds pictures"
    )
    label_column: str = Field(
        default="",
        description=(
            "empty: a usual name such as label or class; several, parted by commas: one "
            "for each class"
        ),
    )
    split_column: str = Field(
        default="", description="empty: a usual name such as split, of train, valid, test; none: no"
    )
    folder_column: str = Field(default="", description="empty: a usual name such as folder")
    group_column: str = Field(
        default="",
        description="column of the subject, whose pictures stay on one side of every split",
    )
    group_pattern: GroupPattern = ""
    min_pictures: MinPictures = 0
    size: Side = 128
    channels: Channels = 3
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15
    max_unreadable: MaxUnreadable = 0.01
    max_megapixels: MaxMegapixels = 50

    def scan(self, root: Path | None) -> Listing:
        """List the pictures of the tables; raises UserError where a table or too many pictures are
        missing.
        """
        root = require_folder(root)
        path = self._table(root)
        lookup = Lookup(walk(root, self.reading.rules), self.images, f"data: {printable(path)}")
        wanted = Wanted(
            self.file_column,
            self.label_column,
            self.split_column,
            self.folder_column,
            self.group_column,
        )
        table = lookup.table(path)
        columns = read_columns(table, wanted, lookup.knows, labelled=True)
        found: Found = {}
        notes = [*columns.notes, *self._collect(lookup, table, columns.rows, TRAIN, found)]
        name = printable(path.name, 60)
        given = f"{columns.splits} of {name}" if columns.splits else f"table {name}"
        origin = {PARTS[part]: given for part in sorted({part for _, part, _ in found.values()})}
        tests = _same_file(root, self.test_table)
        if tests is not None:
            test_table = lookup.table(tests)
            rows = self._tests(root, test_table, lookup, columns, notes)
            notes += self._collect(lookup, test_table, rows, TEST, found)
            origin.setdefault("test", f"table {printable(tests.name, 60)}")
        elif self.test_table and "test" not in origin:
            origin |= _add_folder(lookup, found)
        notes += note_unread(root, (path, tests))
        return self._listing(lookup, path, columns, found, notes, origin)

    def _table(self, root: Path) -> Path:
        """The table of the labelled pictures: the one named; where that is not there but usual, the
        only one it may be.
        """
        found = _same_file(root, self.table)
        tables = sorted(path.name for path in root.glob("*.csv"))
        others = [
            name
            for name in tables
            if not {"test", "sample", "submission", "solution"} & set(tokens(Path(name).stem))
        ]
        if found is None and self.table == USUAL and len(others) == 1:
            return root / others[0]
        if found is None:
            shown = ", ".join(printable(name, 60) for name in tables[:10]) or other_tables(root)
            raise UserError(
                f"data: {printable(root / self.table)}: no such table; found: "
                f"{shown}{nearest(self.table, tables)}; name it in dataset.table"
            )
        return found

    def _tests(
        self, root: Path, table: Table, lookup: Lookup, first: Columns, notes: list[str]
    ) -> list[Row]:
        """The rows of the test table, with the labels of `test_labels.csv` where it is there and
        they have none.
        """
        rows = list(
            read_columns(table, _there(table, first.wanted), lookup.knows, labelled=False).rows
        )
        truth = root / TRUTH
        enough = (
            1 if len({row.label for row in first.rows} - {""}) > 2 else 7
        )  # of two classes a few may be alike by chance
        if len({row.label for row in rows} - {""}) == 1 and len(rows) > enough:
            notes.append(
                f"all test pictures have one label ('{printable(rows[0].label, 60)}'): they are "
                "taken as unlabeled"
            )
            rows = [replace(row, label="") for row in rows]
        if any(row.label for row in rows) or not truth.is_file():
            return rows
        known = lookup.table(truth)
        columns = read_columns(known, _there(known, first.wanted), lookup.knows, labelled=True)
        labels = {row.file: row.label for row in columns.rows}
        notes.append(
            f"the labels of {plural(sum(r.file in labels for r in rows), 'test picture')} were "
            f"read from {TRUTH}"
        )
        return [replace(row, label=labels.get(row.file, "")) for row in rows]

    def _collect(
        self, lookup: Lookup, table: Table, rows: Sequence[Row], part: int, found: Found
    ) -> list[str]:
        """Add the pictures of one table to `found`; returns what is to be said."""
        where, root = table.where, lookup.tree.root
        missing, repeated = list[Row](), 0
        for row in rows:
            own = part if part == TEST else PART[row.split]
            actual = lookup.find(
                row.file,
                PARTS[own] if row.split or own == TEST else "train",
                f"{where}: line {row.line}",
            )
            path = actual or row.file.replace("\\", "/")
            before = found.get(path)
            now = (row.label, own, row.group)
            if before is not None and (before[0].label, before[1], before[0].group) != now:
                raise UserError(
                    f"{where}: line {row.line}: {printable(row.file)} has been listed before with "
                    "another label or part, or another subject"
                )
            repeated += before is not None
            status = (root / actual).stat() if actual else None
            missing += [row] if status is None else []
            found[path] = (row, own, (status.st_size, status.st_mtime_ns) if status else (0, 0))
        if len(missing) > (allowed := self.num_unreadable_allowed(len(rows))):
            shown = ", ".join(f"{printable(row.file, 80)} (line {row.line})" for row in missing[:5])
            raise UserError(
                f"{where}: {len(missing)} of {plural(len(rows), 'picture')} "
                f"{'is' if len(missing) == 1 else 'are'} missing: {shown}; "
                f"dataset.max_unreadable={self.max_unreadable:g} allows {allowed}; the pictures "
                f"there lie in {lookup.places()}; if these are no files, name the column in "
                "dataset.file_column"
            )
        twice = plural(repeated, "picture is", "pictures are")
        return [f"{printable(table.path.name)}: {twice} listed more than once"] if repeated else []

    def _listing(
        self,
        lookup: Lookup,
        path: Path,
        columns: Columns,
        found: Found,
        notes: list[str],
        origin: dict[str, str],
    ) -> Listing:
        where = f"data: {printable(path)}: {columns.file}, {columns.labels}"
        _require_one_spelling(where, [row for row, _, _ in found.values()])
        small = small_classes(
            ((row.label, part) for row, part, _ in found.values()), self.min_pictures
        )
        files = sorted(file for file, (row, _, _) in found.items() if row.label not in small)
        written = [found[file][0].label for file in files]
        parts = [found[file][1] for file in files]
        classes = _classes(columns, {label for label in written if label})
        codes = {name: code for code, name in enumerate(classes)} | {"": UNKNOWN}
        labels = [codes[label] for label in written]
        shares = {VALID: self.valid_share} if VALID not in parts else {}
        shares |= {TEST: self.test_share} if TEST not in parts and self.test_share else {}
        groups, by = groups_of(
            files,
            self.group_pattern,
            [found[file][0].group for file in files] if self.group_column else None,
            f"{columns.groups} of {printable(path.name, 60)}",
        )
        notes += [*warn_small(small, self.min_pictures), *cut(files, labels, parts, shares, groups)]
        check_counts(where, labels, parts, classes, few=FEW)
        left = Counter(lookup.tree.ignored) + Counter(
            {
                "pictures of classes too small": len(found) - len(files),
                "pictures that no table lists": len(lookup.tree.pictures) - len(found),
            }
        )
        name = printable(path.name, 60)
        source = Source(
            f"{columns.labels} of {name}",
            f"{columns.file} of {name}",
            origin | origins(shares, whole_groups=bool(groups)),
            left,
            told(groups, by),
        )
        taken = Taken.of(source, classes, labels, parts)
        return Listing(
            root=lookup.tree.root,
            title=title_of(lookup.tree.root),
            layout="csv",
            files=tuple(files),
            labels=tuple(labels),
            parts=tuple(parts),
            stamps=tuple(found[file][2] for file in files),
            classes=tuple(printable(name, 100) for name in classes),
            taken=taken,
            columns=_names(columns.wanted),
            groups=groups,
            warnings=(*notes, *warn_blanks(taken, "empty their cells"), *warn_test(labels, parts)),
        )


def _classes(columns: Columns, there: set[str]) -> list[str]:
    """The labels that there are, in the order of a column of numbers, else in their own."""
    known = [name for name in columns.order if name in there]
    return known if len(known) == len(there) else in_order(there)


def _names(wanted: Wanted) -> tuple[str, str] | None:
    """The names of the columns of files and labels, where the table has them and one column holds
    all labels.
    """
    return (
        (wanted.file, wanted.label)
        if wanted.file and wanted.label and "," not in wanted.label
        else None
    )


def _same_file(root: Path, name: str) -> Path | None:
    """The file `name` in `root`, in any case; None where there is none, or no name."""
    there = sorted(
        path
        for path in root.glob("*.*")
        if path.name.casefold() == name.casefold() and path.is_file()
    )
    return (root / name) if name and (root / name).is_file() else next(iter(there), None)


def _there(table: Table, wanted: Wanted) -> Wanted:
    """The columns of the first table that this one has, too."""
    head = {"", *table.head}
    label = wanted.label if wanted.label in head or set(wanted.label.split(",")) <= head else ""
    file, folder = (name if name in head else "" for name in (wanted.file, wanted.folder))
    return Wanted(file, label, "none", folder, wanted.group if wanted.group in head else "")


def _add_folder(lookup: Lookup, found: Found) -> dict[str, str]:
    """Add the folder of test pictures that no table lists; returns what is to be said of the
    part.
    """
    folders = lookup.unlisted(set(found))
    for paths in folders.values():
        found.update(
            {"/".join(path): (Row("", "", 0), TEST, lookup.tree.pictures[path]) for path in paths}
        )
    shown = ", ".join(printable(name, 60) for name in folders)
    return (
        {"test": f"folder {shown}, which no table lists (dataset.test_table= leaves it out)"}
        if folders
        else {}
    )


def _require_one_spelling(where: str, rows: list[Row]) -> None:
    """Raise UserError, with lines, where two labels have the same name but for case or Unicode
    form.
    """
    lines: dict[str, int] = {}
    for row in rows:
        lines.setdefault(row.label, row.line)
    require_distinct(where, [label for label in lines if label], lines)
