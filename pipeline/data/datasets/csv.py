"""Photos listed in a table of file and label."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.data.cut import cut, origins, warn_test
from pipeline.data.datasets.base import (
    Channels,
    MaxMegapixels,
    MaxUnreadable,
    PictureSet,
    Side,
    TestShare,
    ValidShare,
    share_of,
    title_of,
)
from pipeline.data.folder import require_folder
from pipeline.data.listing import TEST, TRAIN, UNKNOWN, VALID, Listing, check_counts, in_order
from pipeline.data.tables import Row, read_table
from pipeline.data.taken import Source, Taken
from pipeline.errors import UserError, nearest, printable

if TYPE_CHECKING:
    from pipeline.data.decode import Picture

TRUTH = "test_labels.csv"
ENDINGS = ("", ".jpg", ".jpeg", ".png", ".JPG")
FOLDERS = ("", "images/", "train/", "test/")
Found = dict[str, tuple[Row, int, tuple[int, int]]]  # path → row, part, stamp


class Csv(PictureSet):
    """Photos listed in a table, as in Kaggle's "classify leaves": `train.csv` (image,label), `test.csv` (image), `images/`.

    A test table is optional, with labels or without; `test_labels.csv` beside it is read for them. Files are given
    relative to the table, or without their folder (`images`, `train`, `test`) or ending.
    """

    name: Literal["csv"] = "csv"
    table: str = Field(default="train.csv", min_length=1, description="table of the labelled pictures")
    test_table: str = Field(default="test.csv", description="table of the test pictures; read where it is there")
    file_column: str = Field(default="", description="empty: a usual name such as image or file, else the first column")
    label_column: str = Field(default="", description="empty: a usual name such as label or class, else the second column")
    size: Side = 128
    channels: Channels = 3
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15
    max_unreadable: MaxUnreadable = 0.01
    max_megapixels: MaxMegapixels = 50

    def num_unreadable_allowed(self, total: int) -> int:
        """How many of `total` pictures may be unreadable before the set is refused."""
        return share_of(total, self.max_unreadable)

    def scan(self, root: Path | None) -> Listing:
        """List the pictures of the tables; raises UserError where a table or too many pictures are missing."""
        root = require_folder(root)
        table = root / self.table
        if not table.is_file():
            tables = sorted(path.name for path in root.glob("*.csv"))
            shown = ", ".join(printable(name, 60) for name in tables[:10]) or "none"
            raise UserError(f"data: {printable(table)}: no such table; found: {shown}{nearest(self.table, tables)}")
        notes: list[str] = []
        found: Found = {}
        rows = read_table(table, self.file_column, self.label_column)
        if not any(row.label for row in rows):
            raise UserError(f"data: {printable(table)}: no labels in it; name their column in dataset.label_column")
        self._collect(root, table, rows, TRAIN, found, notes)
        if self.test_table and (root / self.test_table).is_file():
            tests = _with_truth(root, read_table(root / self.test_table, self.file_column, self.label_column), notes)
            self._collect(root, root / self.test_table, tests, TEST, found, notes)
        return self._listing(root, found, notes)

    def read(self, listing: Listing, row: int) -> "Picture":
        """One picture, brought to `channels` and `size`; raises BadPicture."""
        from pipeline.data.decode import read_picture

        assert listing.root is not None
        path = listing.root / listing.files[row]
        return read_picture(path, self.size, self.channels, reading=self.reading, max_megapixels=self.max_megapixels)

    def _collect(self, root: Path, table: Path, rows: list[Row], part: int, found: Found, notes: list[str]) -> None:
        """Add the pictures of one table to `found`."""
        where = f"data: {printable(table)}"
        missing: list[Row] = []
        repeated = 0
        for row in rows:
            path = _inside(row, where)
            actual = next((p for f in FOLDERS for e in ENDINGS if (p := f"{f}{path}{e}") and (root / p).is_file()), path)
            before = found.get(actual)
            if before is not None and (before[0].label, before[1]) != (row.label, part):
                raise UserError(
                    f"{where}: line {row.line}: {printable(row.file)} has been listed before with another label or part"
                )
            repeated += before is not None
            status = (root / actual).stat() if (root / actual).is_file() else None
            missing += [row] if status is None else []
            found[actual] = (row, part, (status.st_size, status.st_mtime_ns) if status else (0, 0))
        notes += [f"{printable(table.name)}: {repeated} pictures are listed more than once"] if repeated else []
        if len(missing) > self.num_unreadable_allowed(len(rows)):
            shown = ", ".join(f"{printable(row.file, 80)} (line {row.line})" for row in missing[:5])
            raise UserError(
                f"{where}: {len(missing)} of {len(rows)} pictures are missing: {shown}; "
                f"dataset.max_unreadable={self.max_unreadable:g} allows {self.num_unreadable_allowed(len(rows))}"
            )

    def _listing(self, root: Path, found: Found, notes: list[str]) -> Listing:
        files = sorted(found)
        written = [found[file][0].label for file in files]
        parts = [found[file][1] for file in files]
        classes = in_order({label for label in written if label})
        codes = {name: code for code, name in enumerate(classes)} | {"": UNKNOWN}
        labels = [codes[label] for label in written]
        shares = {VALID: self.valid_share} | ({} if TEST in parts or not self.test_share else {TEST: self.test_share})
        notes += cut(files, labels, parts, shares)
        check_counts(f"data: {printable(root / self.table)}", labels, parts, classes)
        return Listing(
            root=root,
            title=title_of(root),
            layout="csv",
            files=tuple(files),
            labels=tuple(labels),
            parts=tuple(parts),
            stamps=tuple(found[file][2] for file in files),
            classes=tuple(printable(name, 100) for name in classes),
            taken=Taken.of(Source("given with the table", parts=origins(shares)), classes, labels, parts),
            warnings=(*notes, *warn_test(labels, parts)),
        )


def _with_truth(root: Path, rows: list[Row], notes: list[str]) -> list[Row]:
    """Test rows with the labels of `test_labels.csv`, where it is there and they have none."""
    if any(row.label for row in rows) or not (root / TRUTH).is_file():
        return rows
    truth = {row.file: row.label for row in read_table(root / TRUTH)}
    known = Counter(row.file in truth for row in rows)[True]
    notes.append(f"the labels of {known} test pictures were read from {TRUTH}")
    return [Row(row.file, truth.get(row.file, ""), row.line) for row in rows]


def _inside(row: Row, where: str) -> str:
    """The path as a name below the table's folder; raises UserError for one that leads elsewhere."""
    path = PurePosixPath(row.file.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in row.file:
        raise UserError(f"{where}: line {row.line}: {printable(row.file)}: files must lie below the table's folder")
    return str(path)
