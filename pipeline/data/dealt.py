"""Whole groups of pictures, dealt to the sides of a split."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.listing import UNKNOWN

LEAST = 2  # training pictures that a class keeps
Ints = npt.NDArray[np.int64]


def codes(groups: Sequence[str]) -> Ints:
    """int64 [N]: equal for the pictures of one group; a picture without one has a code of its
    own.
    """
    known: dict[str | int, int] = {}
    return np.array([known.setdefault(name or row, row) for row, name in enumerate(groups)])


def take(labels: Ints, units: Ints, ranks: Any, *wanted: Ints) -> Ints:
    """Which of the `wanted` parts each picture goes to, -1 = none: whole groups in the order of
    `ranks`, each one that brings the number of each class in a part closer to what is wanted there
    (the part that gains most), and leaves a class LEAST pictures or more. A part that none of them
    went to has the one that suits it best.

    labels: int64 [N], -1 = unknown; units: the code of each picture's group, which is the row of
    its first one; ranks [N]: of which that row counts; wanted: int64 [classes] each.
    """
    held = _held(labels, units, len(wanted[0]))
    left, lacks = np.sum(list(held.values()), axis=0), [one.copy() for one in wanted]
    home: dict[int, int] = {}

    def lost(unit: int) -> bool:
        own = held[unit]
        return not own.any() or bool((own > 0)[left - own < LEAST].any())

    def give(unit: int, part: int) -> None:
        home[unit] = part
        lacks[part] -= held[unit]
        left[:] -= held[unit]

    order = sorted(held, key=lambda unit: ranks[unit])
    for unit in order:
        before = [abs(lack).sum() for lack in lacks]
        gains = [b - abs(k - held[unit]).sum() for b, k in zip(before, lacks, strict=True)]
        part = max(range(len(lacks)), key=lambda part: (gains[part], before[part]))
        if gains[part] > 0 and not lost(unit):
            give(unit, part)
    for part, want in enumerate(wanted):
        able = [unit for unit in order if unit not in home and not lost(unit)]
        if want.any() and part not in home.values() and able:
            give(min(able, key=lambda unit: abs(lacks[part] - held[unit]).sum()), part)
    return np.array([home.get(unit, -1) for unit in units.tolist()])


def deal(labels: Ints, units: Ints, ranks: Any, folds: int, num_classes: int) -> Ints:
    """The fold of each picture: whole groups, first those of classes that few groups hold, then the
    larger ones, of about one size by `ranks`; each to the fold that has the smallest share of its
    classes.
    """
    held = _held(labels, units, num_classes)
    whole = np.maximum(np.sum(list(held.values()), axis=0), 1)
    holders = np.sum([own > 0 for own in held.values()], axis=0)
    filled = np.zeros((folds, num_classes))
    found: dict[int, int] = {}

    def place(unit: int) -> tuple[int, int, Any]:
        own = held[unit]
        rare = min(int(holders[own > 0].min()) if own.any() else folds, folds)
        return rare, -int(own.sum()).bit_length(), ranks[unit]

    for unit in sorted(held, key=place):
        own = held[unit]
        shares = (filled / whole) @ (own / whole)
        fold = min(range(folds), key=lambda fold: (shares[fold], filled[fold].sum(), fold))
        filled[fold] += own
        found[unit] = fold
    return np.array([found[unit] for unit in units.tolist()])


def _held(labels: Ints, units: Ints, num_classes: int) -> dict[int, Ints]:
    """Group → how many pictures of each class."""
    held: dict[int, Ints] = {}
    for unit, label in zip(units.tolist(), labels.tolist(), strict=True):
        own = held.setdefault(unit, np.zeros(num_classes, np.int64))
        if label != UNKNOWN:
            own[label] += 1
    return held
