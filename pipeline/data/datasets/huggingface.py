"""Sets in the form of Hugging Face's `datasets` package, which is used where it is installed."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.data.datasets.base import (
    Channels,
    MaxUnreadable,
    PictureSet,
    Side,
    TestShare,
    ValidShare,
    share_of,
    title_of,
)
from pipeline.data.folder import require_folder
from pipeline.data.listing import TEST, TRAIN, VALID, BadPicture, Listing
from pipeline.errors import MachineError, UserError, choices, printable

if TYPE_CHECKING:
    from pipeline.data.decode import Picture

SPLITS = {
    TRAIN: ("train", "training"),
    VALID: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing"),
}
LABEL_NAMES = ("label", "labels", "fine_label", "class", "category", "target")


class HuggingFace(PictureSet):
    """A set of Hugging Face's `datasets`: by its name on the hub, or in the folder that is given.

    A folder holds what `save_to_disk` wrote, .parquet files, or class folders (`imagefolder`).
    Splits called train, validation and test are the parts; what is missing is cut from train.
    Columns are found by their kind.
    """

    name: Literal["huggingface"] = "huggingface"
    path: str = Field(
        default="",
        description="name on the hub such as ylecun/mnist; empty: the folder given with --data",
    )
    subset: str = Field(default="", description="configuration of the set, where it has several")
    image_column: str = Field(default="", description="empty: the only column of pictures")
    label_column: str = Field(
        default="", description="empty: the column of classes, else a usual name such as label"
    )
    size: Side = 128
    channels: Channels = 3
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15
    max_unreadable: MaxUnreadable = 0.01

    @property
    def folder(self) -> Literal["needed", "optional", "unused"]:
        """A set on the hub needs none."""
        return "unused" if self.path else "needed"

    def slug(self, root: Path | None) -> str:
        """The set's name on the hub, else its folder's."""
        return self.path or super().slug(root)

    def num_unreadable_allowed(self, total: int) -> int:
        """How many of `total` pictures may be unreadable before the set is refused."""
        return share_of(total, self.max_unreadable)

    def scan(self, root: Path | None) -> Listing:
        """List the set; raises UserError (no such package, folder, column) and MachineError (no
        network).
        """
        import numpy as np

        from pipeline.data.arrays import Block, encode, list_blocks

        _package()
        root = None if self.path else require_folder(root)
        parts = _open(self.path, self.subset, root)
        where = f"data: {printable(root or self.path)}"
        features = parts[TRAIN].features
        self._image(features, where)
        label = self._label(features, where)
        columns = [
            np.asarray([-1 if v is None else v for v in part[label]]) for part in parts.values()
        ]
        names = getattr(features[label], "names", None)
        labels, classes = encode(where, *columns, names=names)
        stamps = [(len(part), int(str(part._fingerprint)[:8], 16)) for part in parts.values()]
        blocks = [
            Block(part, own, stamp) for part, own, stamp in zip(parts, labels, stamps, strict=True)
        ]
        shares = {VALID: self.valid_share, TEST: self.test_share}
        title = printable(self.path, 80) if root is None else title_of(root)
        return list_blocks(
            root, title, "huggingface", blocks, classes, shares, named=names is not None
        )

    def read(self, listing: Listing, row: int) -> "Picture":
        """One row's picture, brought to `channels` and `size`; raises BadPicture."""
        from pipeline.data.arrays import place_of, row_pixels
        from pipeline.data.decode import foreign_pixels

        part, place = place_of(listing.files[row])
        column = self._image(_open(self.path, self.subset, listing.root)[part].features, "data")
        rows, mode = _undecoded(self.path, self.subset, listing.root, part, column)
        try:
            found = rows[place][column]
            pixels = foreign_pixels(found["bytes"] or Path(found["path"]), self.reading, mode)
            return row_pixels(*pixels, self.size, self.channels)
        except BadPicture:
            raise
        except Exception as error:  # pictures are decoded when they are asked for
            raise BadPicture(printable(error) or type(error).__name__) from error

    def close(self) -> None:
        """Let go of the set."""
        _open.cache_clear()
        _undecoded.cache_clear()

    def _image(self, features: Any, where: str) -> str:
        found = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
        if self.image_column in found or (not self.image_column and len(found) == 1):
            return self.image_column or found[0]
        raise UserError(f"{where}: dataset.image_column: {choices(self.image_column, found)}")

    def _label(self, features: Any, where: str) -> str:
        classes = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
        usual = [name for name in LABEL_NAMES if name in features]
        found = next(iter([c for c in classes if len(classes) == 1] or usual), "")
        if (self.label_column or found) in features:
            return self.label_column or found
        raise UserError(f"{where}: dataset.label_column: {choices(self.label_column, features)}")


@functools.lru_cache(maxsize=3)
def _undecoded(
    path: str, subset: str, root: Path | None, part: int, column: str
) -> tuple[Any, str]:
    """(rows whose pictures are the files' own bytes, which nobody else is to decode; the mode that
    the set wants).
    """
    rows = _open(path, subset, root)[part]
    kind = rows.features[column]
    return rows.cast_column(column, type(kind)(mode=kind.mode, decode=False)), kind.mode or ""


def _package() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "dataset.name: 'huggingface' needs the package 'datasets', which is not installed: pip "
            "install datasets"
        ) from error
    return datasets


@functools.lru_cache(maxsize=1)
def _open(path: str, subset: str, root: Path | None) -> dict[int, Any]:
    """Part → rows."""
    package = _package()
    where = f"data: {printable(root or path)}"
    try:
        if root is None:
            found = package.load_dataset(path, subset or None)
        elif any((root / name).is_file() for name in ("dataset_dict.json", "dataset_info.json")):
            found = package.load_from_disk(str(root))
        else:
            kind = "parquet" if any(root.rglob("*.parquet")) else "imagefolder"
            found = package.load_dataset(kind, data_dir=str(root))
    except Exception as error:  # the hub, the disk and Arrow all have their own kinds
        why = printable(error, 300) or type(error).__name__
        if root is None:
            raise MachineError(
                f"{where}: cannot be fetched ({why}); where there is no network, bring a folder "
                "made with save_to_disk, give it with --data and leave dataset.path empty"
            ) from error
        raise UserError(f"{where}: not a set that 'datasets' can load: {why}") from error
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    parts = {
        part: next((splits[n] for n in names if n in splits), None)
        for part, names in SPLITS.items()
    }
    if parts[TRAIN] is None:
        raise UserError(f"{where}: no split 'train', but {', '.join(map(printable, splits))}")
    return {part: rows for part, rows in parts.items() if rows is not None}
