"""Named classification sets, as torchvision fetches them."""

import functools
import hashlib
import inspect
import os
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
)
from pipeline.data.folder import require_folder
from pipeline.data.listing import PARTS, TEST, TRAIN, VALID, BadPicture, Listing
from pipeline.errors import MachineError, UserError, printable

if TYPE_CHECKING:
    from pipeline.data.decode import Picture

BY_FLAG = {TRAIN: {"train": True}, TEST: {"train": False}}
BY_SPLIT = {TRAIN: {"split": "train"}, TEST: {"split": "test"}}
THREE = {TRAIN: {"split": "train"}, VALID: {"split": "val"}, TEST: {"split": "test"}}
WHOLE: dict[int, dict[str, Any]] = {TRAIN: {}}
# How each set names its official parts; what it does not give is cut from train.
SETS: dict[str, dict[int, dict[str, Any]]] = {
    "CIFAR10": BY_FLAG,
    "CIFAR100": BY_FLAG,
    "Caltech101": WHOLE,
    "Caltech256": WHOLE,
    "Country211": THREE | {VALID: {"split": "valid"}},
    "DTD": THREE,
    "EMNIST": {part: {"split": "balanced", **flag} for part, flag in BY_FLAG.items()},
    "EuroSAT": WHOLE,
    "FGVCAircraft": THREE,
    "FashionMNIST": BY_FLAG,
    "Flowers102": THREE,
    "Food101": BY_SPLIT,
    "GTSRB": BY_SPLIT,
    "Imagenette": {TRAIN: {"split": "train"}, TEST: {"split": "val"}},
    "KMNIST": BY_FLAG,
    "MNIST": BY_FLAG,
    "OxfordIIITPet": {TRAIN: {"split": "trainval"}, TEST: {"split": "test"}},
    "QMNIST": BY_FLAG,
    "RenderedSST2": THREE,
    "STL10": BY_SPLIT,
    "SUN397": WHOLE,
    "SVHN": BY_SPLIT,
    "StanfordCars": BY_SPLIT,
    "USPS": BY_FLAG,
}
if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[tuple(SETS)]


class Torchvision(PictureSet):
    """One of torchvision's named sets (`torchvision.datasets`), with its official parts.

    It lies in the folder that is given (as torchvision lays it out), else in the user's cache; what
    is not there is downloaded. Sets without an official test part get one cut from train.
    """

    name: Literal["torchvision"] = "torchvision"
    set: Name = Field(default="CIFAR10", description="class name in torchvision.datasets")
    size: Side = 32
    channels: Channels = 3
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15
    max_unreadable: MaxUnreadable = 0.01

    @property
    def folder(self) -> Literal["needed", "optional", "unused"]:
        """Where the set lies or is downloaded to."""
        return "optional"

    def slug(self, root: Path | None) -> str:  # noqa: ARG002
        """The set's name: its folder may hold several."""
        return self.set

    def num_unreadable_allowed(self, total: int) -> int:
        """How many of `total` pictures may be unreadable before the set is refused."""
        return share_of(total, self.max_unreadable)

    def to_download(self, root: Path | None) -> str:
        """The set, where a part of it is not there or not whole."""
        folder = require_folder(root) if root is not None else _cache_folder()
        for part in SETS[self.set]:
            try:
                _as_it_lies(self.set, part, folder)
            except ImportError:
                continue  # `scan` names what it needs
            except Exception:  # its sets say in many ways that they are not there
                return f"torchvision's {self.set}, not found in {printable(folder)}"
        return ""

    def scan(self, root: Path | None) -> Listing:
        """List the set, after a download where it is not there; raises UserError and MachineError
        (no network).
        """
        import numpy as np

        from pipeline.data.arrays import Block, encode, list_blocks

        folder = require_folder(root) if root is not None else _cache()
        opened = {part: _open(self.set, part, folder) for part in SETS[self.set]}
        columns = [np.asarray(_labels(part)) for part in opened.values()]
        names = (
            getattr(opened[TRAIN], "classes", None)
            or getattr(opened[TRAIN], "categories", None)
            or ()
        )
        spoken = [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]
        labels, classes = encode(f"data: torchvision's {self.set}", *columns, names=spoken or None)
        blocks = [
            Block(part, own, (len(own), _probe(opened[part])))
            for part, own in zip(opened, labels, strict=True)
        ]
        shares = {VALID: self.valid_share, TEST: self.test_share}
        return list_blocks(
            folder, self.set, "torchvision", blocks, classes, shares, named=bool(spoken)
        )

    def read(self, listing: Listing, row: int) -> "Picture":
        """One row's picture, brought to `channels` and `size`; raises BadPicture."""
        from pipeline.data.arrays import place_of, row_pixels
        from pipeline.data.raster import pixels_of

        assert listing.root is not None
        part, place = place_of(listing.files[row])
        try:
            image = _open(self.set, part, listing.root)[place][0]
        except Exception as error:  # its sets read files in many ways
            raise BadPicture(printable(error) or type(error).__name__) from error
        return row_pixels(*pixels_of(image, self.reading.top), self.size, self.channels)

    def close(self) -> None:
        """Let go of the set."""
        _open.cache_clear()


def _probe(part: Any) -> int:
    """A number of a set's content, from a few of its pictures: its files lie where each set likes,
    some packed.
    """
    digest = hashlib.sha256()
    for row in range(0, len(part), max(1, len(part) // 8)):
        try:
            digest.update(part[row][0].tobytes())
        except Exception as error:  # `read` will name it
            digest.update(type(error).__name__.encode())
    return int(digest.hexdigest()[:12], 16)


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "torchvision" / "datasets"


def _cache() -> Path:
    path = _cache_folder()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"data: {printable(path)}: cannot be made: {error.strerror}") from error
    return path


@functools.lru_cache(maxsize=3)
def _open(name: str, part: int, folder: Path) -> Any:
    """One part of a set, downloaded if need be."""
    settings, loads = _settings(name, part)
    if not loads:
        return _try(name, part, folder, settings)
    try:
        return _as_it_lies(name, part, folder)
    except Exception:  # not there, or not whole
        return _try(name, part, folder, {**settings, "download": True})


def _as_it_lies(name: str, part: int, folder: Path) -> Any:
    """One part of a set that is there; raises what torchvision does where it is not."""
    from torchvision import datasets

    settings, loads = _settings(name, part)
    return getattr(datasets, name)(
        str(folder), **settings, **({"download": False} if loads else {})
    )


def _settings(name: str, part: int) -> tuple[dict[str, Any], bool]:
    """(what the set is made with, whether it can be told to download itself)."""
    from torchvision import datasets

    settings = SETS[name][part]
    known = inspect.signature(getattr(datasets, name)).parameters.keys()
    if "loader" in known:
        from pipeline.data.decode import load_rgb

        settings = settings | {"loader": load_rgb}
    return settings, bool({"download", "kwargs"} & known)


def _try(name: str, part: int, folder: Path, settings: dict[str, Any]) -> Any:
    from torchvision import datasets

    where = f"data: torchvision's {name} ({PARTS[part]})"
    try:
        return getattr(datasets, name)(str(folder), **settings)
    except ImportError as error:
        raise UserError(
            f"{where}: it needs a package that is not installed: {printable(error)}"
        ) from error
    except Exception as error:
        why = printable(error) or type(error).__name__
        raise MachineError(
            f"{where}: not found in {printable(folder)}, and it could not be downloaded ({why}); "
            "where there is no network, bring the folder of a download and give it with --data"
        ) from error


def _labels(part: Any) -> list[Any]:
    """The labels of a set without decoding its pictures, wherever it keeps them."""
    for attribute in ("targets", "labels", "_labels", "y"):
        found = getattr(part, attribute, None)
        if found is not None and len(found) == len(part):
            return [_plain(label) for label in found]
    samples = getattr(part, "_samples", None)
    if samples is not None and len(samples) == len(part):
        return [_plain(sample[-1]) for sample in samples]
    return [_plain(part[row][1]) for row in range(len(part))]


def _plain(label: Any) -> Any:
    """A whole number or word: QMNIST keeps a row of facts for each picture, the class first."""
    first = label[0] if getattr(label, "ndim", 0) else label
    return first.item() if hasattr(first, "item") else first
