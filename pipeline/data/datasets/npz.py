"""Arrays in one NumPy archive."""

import functools
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.counts import plural
from pipeline.data.datasets.base import Channels, PictureSet, Side, TestShare, ValidShare, title_of
from pipeline.data.folder import require_folder
from pipeline.data.layouts import read_classes
from pipeline.data.listing import TEST, TRAIN, VALID, Listing
from pipeline.errors import UserError, choices, printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.data.decode import Picture

PART_NAMES = {TRAIN: ("train", "training"), VALID: ("valid", "val", "validation"), TEST: ("test", "testing")}
PICTURES = ("x", "images", "image", "data", "imgs", "pictures", "arr_0")
LABELS = ("y", "labels", "label", "targets", "target", "classes", "arr_1")
_LOCK = threading.Lock()
Keys = dict[int, tuple[str, str | None]]


class Npz(PictureSet):
    """An .npz archive of pictures and labels, in the folder that is given.

    Keys as usual: `x` and `y`, `images` and `labels`, `x_train`, `y_train`, `x_test`, `train_images`, `val_labels` …
    Pictures are [N, H, W], [N, H, W, C], [N, C, H, W] (or squares as [N, H * W]), whole numbers or floats; labels are
    whole numbers, words or one-hot; a test part may have none. Names of classes may stand in `classes.json`.
    """

    name: Literal["npz"] = "npz"
    file: str = Field(default="", description="name of the archive; empty: the only one in the folder")
    size: Side = 28
    channels: Channels = 1
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15

    def scan(self, root: Path | None) -> Listing:
        """List the rows; only labels and headers are read. Raises UserError."""
        from pipeline.data.arrays import Block, encode, list_blocks, standard_shape

        root = require_folder(root)
        path = self._path(root)
        where = f"data: {printable(path)}"
        with _opened(path) as archive:
            keys = find_keys(archive.files, where)
            nums = {part: standard_shape(where, _shape(archive, x, where))[0] for part, (x, _) in keys.items()}
            columns = {part: _load(archive, y, where) for part, (_, y) in keys.items() if y is not None}
        labels, classes = encode(where, *columns.values(), names=read_classes(root))
        by_part = dict(zip(columns, labels, strict=True))
        for part, num in nums.items():
            if len(by_part.setdefault(part, [-1] * num)) != num:
                raise UserError(
                    f"{where}: {plural(num, 'picture')} in '{keys[part][0]}', but {plural(len(by_part[part]), 'label')}"
                )
        found = path.stat()
        stamp = (found.st_size, found.st_mtime_ns)
        blocks = [Block(part, by_part[part], stamp) for part in keys]
        shares = {VALID: self.valid_share, TEST: self.test_share}
        return list_blocks(
            root, title_of(path.with_suffix("")), "npz", blocks, classes, shares, named=read_classes(root) is not None
        )

    def read(self, listing: Listing, row: int) -> "Picture":
        """One row, brought to `channels` and `size`."""
        from pipeline.data.arrays import place_of, row_pixels

        assert listing.root is not None
        part, place = place_of(listing.files[row])
        with _LOCK:  # the first thread loads for all
            pictures, deepest = _pictures(self._path(listing.root), listing.stamps[0], self.reading.top)
        return row_pixels(pictures[part][place], deepest, self.size, self.channels)

    def close(self) -> None:
        """Let go of the arrays."""
        _pictures.cache_clear()

    def _path(self, root: Path) -> Path:
        names = sorted(path.name for path in root.glob("*.npz") if not path.name.startswith("."))
        if self.file:
            if self.file not in names:
                raise UserError(f"dataset.file: no such archive in {printable(root)}; {choices(self.file, names)}")
            return root / self.file
        if len(names) != 1:
            shown = ", ".join(printable(name, 60) for name in names[:10]) or "none"
            raise UserError(
                f"data: {printable(root)}: one .npz archive is expected in it, found {shown}; name it in dataset.file"
            )
        return root / names[0]


def find_keys(names: list[str], where: str) -> Keys:
    """Part → (key of its pictures, key of its labels or None) among the keys of an archive; raises UserError."""
    folded = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in names}
    found: Keys = {}
    for part, part_names in PART_NAMES.items():
        forms = [form for p in part_names for form in (f"{p}_{{}}", f"{{}}_{p}", f"{p}{{}}", f"{{}}{p}")]
        pictures = _first(folded, [form.format(stem) for form in forms for stem in PICTURES])
        labels = _first(folded, [form.format(stem) for form in forms for stem in LABELS])
        if pictures is not None:
            found[part] = (pictures, labels)
    if TRAIN not in found:
        pictures, labels = _first(folded, PICTURES), _first(folded, LABELS)
        if pictures is not None:
            found[TRAIN] = (pictures, labels)
    if TRAIN not in found or found[TRAIN][1] is None:
        shown = ", ".join(printable(name, 40) for name in names[:20]) or "none"
        raise UserError(
            f"{where}: no pictures and labels found among its keys: {shown}; expected x and y, or x_train, y_train …"
        )
    return found


def _first(folded: dict[str, str], candidates: "tuple[str, ...] | list[str]") -> str | None:
    return next((folded[name] for name in candidates if name in folded), None)


def _opened(path: Path) -> Any:
    import zipfile

    import numpy as np

    try:
        return np.load(path, allow_pickle=False)  # pickles could run anything
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"data: {printable(path)}: not an .npz archive: {printable(error)}") from error


def _load(archive: Any, key: str, where: str) -> Any:
    try:
        return archive[key]
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise UserError(f"{where}: '{printable(key)}' cannot be read: {printable(error)}") from error


def _shape(archive: Any, key: str, where: str) -> tuple[int, ...]:
    """The shape of one array by its header, without its content."""
    from numpy.lib import format as npy

    try:
        with archive.zip.open(f"{key}.npy") as file:
            reader = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}[npy.read_magic(file)[0]]
            shape: tuple[int, ...] = reader(file)[0]
            return shape
    except Exception as error:
        raise UserError(f"{where}: '{printable(key)}' cannot be read: {printable(error)}") from error


@functools.lru_cache(maxsize=1)
def _pictures(
    path: Path,
    stamp: tuple[int, int],  # noqa: ARG001  (part of the key)
    deep: int,
) -> "tuple[dict[int, npt.NDArray[np.uint8]], int]":
    """Part → pictures, and their largest value as `standard` gives it."""
    from pipeline.data.arrays import standard

    where = f"data: {printable(path)}"
    with _opened(path) as archive:
        keys = find_keys(archive.files, where)
        arrays = [_load(archive, pictures, where) for pictures, _ in keys.values()]
    pictures, deepest = standard(where, *arrays, deep=deep)
    return dict(zip(keys, pictures, strict=True)), deepest
