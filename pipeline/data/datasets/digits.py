"""The scans of handwritten digits that come with scikit-learn."""

import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pipeline.data.datasets.base import Channels, PictureSet, Side
from pipeline.data.listing import PARTS, TEST, TRAIN, VALID, Listing
from pipeline.data.taken import Source, Taken

if TYPE_CHECKING:
    from pipeline.data.decode import Picture

NUM_DIGITS, SIDE = 1797, 8
IN_PACKAGE = ("datasets", "data", "digits.csv.gz")


class Digits(PictureSet):
    """The 1,797 real 8x8 scans of handwritten digits that ship inside scikit-learn; needs no
    folder.

    UCI "Optical Recognition of Handwritten Digits" (test half), Kaynak 1995. Grey, 10 classes,
    stratified fixed cut into train, valid and (the rest) test; few are trained on, so that
    configurations differ.
    """

    name: Literal["digits"] = "digits"
    size: Side = SIDE
    channels: Channels = 1
    num_train: int = Field(default=300, ge=20, le=1200)
    num_valid: int = Field(default=500, ge=20, le=1200)

    @model_validator(mode="after")
    def _leaves_test(self) -> "Digits":
        left = NUM_DIGITS - self.num_train - self.num_valid
        if left < 100:
            raise ValueError(
                f"num_train + num_valid must leave 100 of {NUM_DIGITS:,} for testing, they leave "
                f"{left}"
            )
        return self

    @property
    def folder(self) -> Literal["needed", "optional", "unused"]:
        """There is nothing to give."""
        return "unused"

    @property
    def at_hand(self) -> bool:
        """They come with a package."""
        return True

    @property
    def resized(self) -> bool:
        """Not at the size that they have."""
        return self.size != SIDE

    def scan(self, root: Path | None) -> Listing:  # noqa: ARG002  (the same call for every dataset)
        """List the scans; `root` is not used."""
        labels = [int(label) for label in scans_of_digits()[1]]
        classes = tuple(str(c) for c in range(10))
        parts = [TEST] * len(labels)
        rows = sorted(
            range(len(labels)), key=lambda row: hashlib.sha256(f"digit {row}".encode()).digest()
        )
        sizes = [labels.count(c) for c in range(10)]
        quotas = zip(
            _apportion(self.num_train, sizes), _apportion(self.num_valid, sizes), strict=True
        )
        for label, (num_train, num_valid) in enumerate(quotas):
            own = [row for row in rows if labels[row] == label]
            for place, row in enumerate(own[: num_train + num_valid]):
                parts[row] = TRAIN if place < num_train else VALID
        return Listing(
            root=None,
            title="scikit-learn digits",
            layout="digits",
            files=tuple(f"digit-{row:04d}" for row in range(len(labels))),
            labels=tuple(labels),
            parts=tuple(parts),
            stamps=((64, 0),) * len(labels),
            classes=classes,
            taken=Taken.of(
                Source("given with the set", parts=dict.fromkeys(PARTS, "given with the set")),
                classes,
                labels,
                parts,
            ),
            warnings=(),
        )

    def read(self, listing: Listing, row: int) -> "Picture":  # noqa: ARG002
        """One scan, brought to `channels` and `size`."""
        from pipeline.data.decode import Picture, fit

        scan = scans_of_digits()[0][row]  # float64 [8, 8], whole numbers 0 … 16
        pixels = (scan * (255 / 16)).round().astype("uint8")
        return Picture(
            fit(pixels[None], self.size, self.channels),
            hashlib.sha256(pixels.tobytes()).hexdigest(),
        )


@functools.cache
def scans_of_digits() -> tuple[Any, Any]:
    """(float64 [1797, 8, 8] of whole numbers 0 … 16, int64 [1797] of classes), read without loading
    scikit-learn, which takes seconds.
    """
    import numpy as np

    found = importlib.util.find_spec("sklearn")
    for place in found.submodule_search_locations or [] if found else []:
        if (file := Path(place, *IN_PACKAGE)).exists():
            rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)
    from sklearn.datasets import load_digits  # a version that keeps them elsewhere

    digits = load_digits()
    return digits.images, digits.target


def _apportion(total: int, sizes: list[int]) -> list[int]:
    """Whole numbers that add up to `total`, in proportion to `sizes` (largest remainders first)."""
    shares = [total * size / sum(sizes) for size in sizes]
    counts = [int(share) for share in shares]
    order = sorted(range(len(sizes)), key=lambda i: (counts[i] - shares[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
