"""Splits of a dataset by replicate: what is trained on, selected on, and tested on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.cache import Data
from pipeline.data.listing import TEST, TRAIN, UNKNOWN, VALID


@dataclass(frozen=True)
class Split:
    """Rows of a dataset. images: uint8 [N, C, S, S] and labels: int64 [N] of the whole set; index: int64, sorted."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Splits:
    """Disjoint splits; `test` is the same for every replicate, None where no test picture has a label."""

    train: Split
    val: Split
    test: Split | None


def splits(data: Data, replicate: int, scheme: Literal["resplit", "official"], *, seed: int = 0) -> Splits:
    """The splits of one replicate, the same for all arms and on every machine.

    Replicate 0 (the search) and the scheme `official` take the parts as they are. `resplit` pools train and valid for
    replicate r > 0 and draws again, with the official number of each class in each split, keyed by (seed, r) alone.
    Splits that differ between replicates let intervals cover the choice of the data, not only of the weights (Bouthillier et
    al. 2021, "Accounting for variance in machine learning benchmarks").
    """
    if replicate < 0:
        raise ValueError(f"replicate must be >= 0, got {replicate}")
    parts = data.parts if replicate == 0 or scheme == "official" else _redraw(data, replicate, seed)
    known = data.labels != UNKNOWN

    def split(part: int) -> Split:
        return Split(data.images, data.labels, np.flatnonzero((parts == part) & known))

    test = split(TEST)
    return Splits(split(TRAIN), split(VALID), test if len(test) else None)


def _redraw(data: Data, replicate: int, seed: int) -> npt.NDArray[np.int8]:
    parts = data.parts.copy()
    pool = np.flatnonzero(parts != TEST)
    # Ranks of raw Philox words: the bit stream is fixed by NumPy's compatibility promise, `permutation` is not.
    ranks = np.random.Philox(key=(seed << 64) + replicate).random_raw(len(pool))
    for label in range(len(data.classes)):
        own = pool[data.labels[pool] == label]
        drawn = own[np.argsort(ranks[data.labels[pool] == label], kind="stable")]
        num_valid = int((data.parts[own] == VALID).sum())
        parts[drawn[:num_valid]] = VALID
        parts[drawn[num_valid:]] = TRAIN
    return parts
