"""Arrays in one NumPy archive."""

import contextlib
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
from pipeline.data.room import require_rows
from pipeline.errors import UserError, choices, printable

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.data.decode import Picture

PART_NAMES = {
    TRAIN: ("train", "training"),
    VALID: ("valid", "val", "validation"),
    TEST: ("test", "testing"),
}
PICTURES = ("x", "images", "image", "data", "imgs", "pictures", "arr_0")
LABELS = ("y", "labels", "label", "targets", "target", "classes", "arr_1")
_LOCK = threading.Lock()
Keys = dict[int, tuple[str, str | None]]


class Npz(PictureSet):
    """An .npz archive of pictures and labels, in the folder that is given.

    Keys as usual: `x` and `y`, `images` and `labels`, `x_train`, `y_train`, `x_test`,
    `train_images`, `val_labels` … Pictures are [N, H, W], [N, H, W, C], [N, C, H, W] (or squares as
    [N, H * W]), whole numbers or floats; labels are whole numbers, words or one-hot; a test part
    may have none. Names of classes may stand in `classes.json`.
    """

    name: Literal["npz"] = "npz"
    file: str = Field(
        default="", description="name of the archive; empty: the only one in the folder"
    )
    size: Side = 28
    channels: Channels = 1
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15

    def scan(self, root: Path | None) -> Listing:
        """List the rows; only labels and headers are read. Raises UserError."""
        from pipeline.data.archive import Archive
        from pipeline.data.arrays import Block, check_kind, encode, list_blocks, standard_shape

        root = require_folder(root)
        path = self._path(root)
        where = f"data: {printable(path)}"
        with contextlib.closing(Archive(path)) as archive:
            keys = find_keys(archive.names, where)
            heads = {part: archive.header(x) for part, (x, _) in keys.items()}
            for head in heads.values():
                check_kind(where, head.dtype)
            nums = {part: standard_shape(where, head.shape)[0] for part, head in heads.items()}
            require_rows(where, sum(nums.values()), path.stat().st_size)
            for part, (x, y) in keys.items():
                if y is not None and (given := archive.header(y).shape[:1]) != (nums[part],):
                    but = plural(given[0] if given else 1, "label")
                    raise UserError(f"{where}: {plural(nums[part], 'picture')} in '{x}', but {but}")
            archive.require_room([key for both in keys.values() for key in both if key is not None])
            columns = {part: archive.load(y) for part, (_, y) in keys.items() if y is not None}
        labels, classes = encode(where, *columns.values(), names=read_classes(root))
        by_part = dict(zip(columns, labels, strict=True))
        for part, num in nums.items():
            if len(by_part.setdefault(part, [-1] * num)) != num:
                raise UserError(
                    f"{where}: {plural(num, 'picture')} in '{keys[part][0]}', but "
                    f"{plural(len(by_part[part]), 'label')}"
                )
        found = path.stat()
        stamp = (found.st_size, found.st_mtime_ns)
        blocks = [Block(part, by_part[part], stamp) for part in keys]
        shares = {VALID: self.valid_share, TEST: self.test_share}
        return list_blocks(
            root,
            title_of(path.with_suffix("")),
            "npz",
            blocks,
            classes,
            shares,
            named=read_classes(root) is not None,
        )

    def read(self, listing: Listing, row: int) -> "Picture":
        """One row, brought to `channels` and `size`."""
        from pipeline.data.arrays import place_of, row_of, row_pixels

        assert listing.root is not None
        part, place = place_of(listing.files[row])
        with _LOCK:  # the first thread loads for all
            pictures, top, deepest = _pictures(
                self._path(listing.root), listing.stamps[0], self.reading.top
            )
        return row_pixels(row_of(pictures[part], place, top), deepest, self.size, self.channels)

    def close(self) -> None:
        """Let go of the arrays."""
        _pictures.cache_clear()

    def _path(self, root: Path) -> Path:
        names = sorted(path.name for path in root.glob("*.npz") if not path.name.startswith("."))
        if self.file:
            if self.file not in names:
                raise UserError(
                    f"dataset.file: no such archive in {printable(root)}; "
                    f"{choices(self.file, names)}"
                )
            return root / self.file
        if len(names) != 1:
            shown = ", ".join(printable(name, 60) for name in names[:10]) or "none"
            raise UserError(
                f"data: {printable(root)}: one .npz archive is expected in it, found {shown}; name "
                "it in dataset.file"
            )
        return root / names[0]


def find_keys(names: list[str], where: str) -> Keys:
    """Part → (key of its pictures, key of its labels or None) among the keys of an archive; raises
    UserError.
    """
    folded = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in names}
    found: Keys = {}
    for part, part_names in PART_NAMES.items():
        forms = [
            form for p in part_names for form in (f"{p}_{{}}", f"{{}}_{p}", f"{p}{{}}", f"{{}}{p}")
        ]
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
            f"{where}: no pictures and labels found among its keys: {shown}; expected x and y, or "
            "x_train, y_train …"
        )
    return found


def _first(folded: dict[str, str], candidates: "tuple[str, ...] | list[str]") -> str | None:
    return next((folded[name] for name in candidates if name in folded), None)


@functools.lru_cache(maxsize=1)
def _pictures(
    path: Path,
    stamp: tuple[int, int],  # noqa: ARG001  (part of the key)
    deep: int,
) -> "tuple[dict[int, npt.NDArray[Any]], int, int]":
    """Part → pictures as they are stored, and their scale as `scale_of` gives it."""
    from pipeline.data.archive import Archive
    from pipeline.data.arrays import scale_of

    with contextlib.closing(Archive(path)) as archive:
        keys = find_keys(archive.names, archive.where)
        archive.require_room([pictures for pictures, _ in keys.values()])
        arrays = {part: archive.load(pictures) for part, (pictures, _) in keys.items()}
    return arrays, *scale_of(archive.where, *arrays.values(), deep=deep)
