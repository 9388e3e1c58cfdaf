"""Splits of a dataset by replicate: what is trained on, selected on, and tested on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.cache import Data
from pipeline.data.dealt import deal, take
from pipeline.data.listing import TEST, TRAIN, UNKNOWN, VALID, num_kept

Rows = npt.NDArray[np.int64]
Parts = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Split:
    """Rows of a dataset. images: uint8 [N, C, S, S] and labels: int64 [N] of the whole set; index:
    int64, sorted.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Splits:
    """Disjoint splits. `test` is the same for every replicate, None where no test picture has a
    label; `unlabeled`: the training pictures of unknown label (-1), the same for every replicate
    but for those of groups that validate, and those whose label a share leaves unknown; None where
    there are none."""

    train: Split
    val: Split
    test: Split | None
    unlabeled: Split | None = None


def splits(
    data: Data,
    replicate: int,
    scheme: Literal["resplit", "official", "kfold"],
    *,
    seed: int = 0,
    folds: int = 5,
    share: float = 1.0,
) -> Splits:
    """The splits of one replicate, the same for all arms and on every machine.

    Replicate 0 (the search) and the scheme `official` take the parts as they are. `resplit` pools
    train and valid for replicate r > 0 and draws again, with the official number of each class in
    each split, keyed by (seed, r) alone. `kfold` validates replicate r > 0 on fold (r - 1) mod
    `folds` of the pool, each class spread evenly over the folds; after each full round the folds
    are drawn anew. Splits that differ between replicates let intervals cover the choice of the
    data, not only of the weights (Bouthillier et al. 2021, "Accounting for variance in machine
    learning benchmarks"). The pictures of a group stay together, so that a split is as near to
    these numbers as whole groups allow.

    Of each class's training pictures `share` is kept, in an order keyed by (seed, r) alone
    (`official`: by the seed), so that a smaller share lies within a larger one; the others are
    unlabeled.
    """
    if replicate < 0:
        raise ValueError(f"replicate must be >= 0, got {replicate}")
    if replicate == 0 or scheme == "official":
        parts = data.parts
    else:
        parts = (
            _redraw(data, replicate, seed)
            if scheme == "resplit"
            else _fold(data, replicate, seed, folds)
        )

    def split(part: int, *, known: bool = True) -> Split:
        return Split(
            data.images,
            data.labels,
            np.flatnonzero((parts == part) & ((data.labels != UNKNOWN) == known)),
        )

    train, test, unlabeled = split(TRAIN), split(TEST), split(TRAIN, known=False)
    if share < 1:
        kept = _kept(data, train.index, share, seed, 0 if scheme == "official" else replicate)
        rest = np.setdiff1d(train.index, kept)
        train = replace(train, index=kept)
        unlabeled = replace(unlabeled, index=np.union1d(unlabeled.index, rest))
    return Splits(
        train,
        split(VALID),
        test if len(test) else None,
        unlabeled if len(unlabeled) else None,
    )


def _kept(data: Data, rows: Rows, share: float, seed: int, replicate: int) -> Rows:
    """Of each class the share of these training rows, one at least; where there are groups, one
    group after another, as fewer subjects would have been photographed.
    """
    key = (1 << 127) + (seed << 64) + replicate  # no key of a split
    ranks = _ranks(len(data.labels), key)
    units = ranks
    if data.groups is not None:
        _, first, whose = np.unique(data.groups, return_index=True, return_inverse=True)
        units = ranks[first[whose]]
    order = rows[np.lexsort((ranks[rows], units[rows]))]
    classes = (order[data.labels[order] == label] for label in range(len(data.classes)))
    return np.sort(np.concatenate([own[: num_kept(len(own), share)] for own in classes]))


def _shuffled_classes(data: Data, key: int) -> Iterator[Rows]:
    """The rows of train and valid, class by class, each in an order drawn by `key`."""
    pool = np.flatnonzero(data.parts != TEST)
    ranks = _ranks(len(pool), key)
    for label in range(len(data.classes)):
        here = data.labels[pool] == label
        yield pool[here][np.argsort(ranks[here], kind="stable")]


def _ranks(num: int, key: int) -> npt.NDArray[np.uint64]:
    # Ranks of raw Philox words: the bit stream is fixed by NumPy's compatibility promise,
    # `permutation` is not.
    return np.random.Philox(key=key).random_raw(num)


def _units(data: Data) -> tuple[Rows, Rows]:
    """(rows of train and valid, of each the place among them of the first picture of its group)."""
    assert data.groups is not None
    pool = np.flatnonzero(data.parts != TEST)
    _, first, whose = np.unique(data.groups[pool], return_index=True, return_inverse=True)
    return pool, first[whose]


def _redraw(data: Data, replicate: int, seed: int) -> Parts:
    parts, key = data.parts.copy(), (seed << 64) + replicate
    if data.groups is not None:
        pool, units = _units(data)
        wanted = np.bincount(
            data.labels[(data.parts == VALID) & (data.labels != UNKNOWN)],
            minlength=len(data.classes),
        )
        taken = take(data.labels[pool], units, _ranks(len(pool), key), wanted)
        parts[pool] = np.where(taken == 0, VALID, TRAIN)
        return parts
    for drawn in _shuffled_classes(data, key):
        num_valid = int((data.parts[drawn] == VALID).sum())
        parts[drawn[:num_valid]] = VALID
        parts[drawn[num_valid:]] = TRAIN
    return parts


def _fold(data: Data, replicate: int, seed: int, folds: int) -> Parts:
    parts = data.parts.copy()
    turn, fold = divmod(replicate - 1, folds)
    if data.groups is not None:
        pool, units = _units(data)
        ranks = _ranks(len(pool), (seed << 64) + turn)
        dealt = deal(data.labels[pool], units, ranks, folds, len(data.classes))
        parts[pool] = np.where(dealt == fold, VALID, TRAIN)
        return parts
    start = 0  # like cards, on from class to class, so that the folds are of one size
    for drawn in _shuffled_classes(data, (seed << 64) + turn):
        here = (start + np.arange(len(drawn))) % folds == fold
        parts[drawn] = np.where(here, VALID, TRAIN)
        start += len(drawn)
    return parts
