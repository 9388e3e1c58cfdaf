"""Whole groups of pictures, dealt to the sides of a split."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.listing import UNKNOWN

LEAST = 2  # training pictures that a class keeps
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def codes(groups: Sequence[str]) -> Ints:
    """int64 [N]: equal for the pictures of one group; a picture without one has a code of its
    own.
    """
    known: dict[str, int] = {}
    return np.array([known.setdefault(name or f"/{row}", row) for row, name in enumerate(groups)])


def take(labels: Ints, units: Ints, ranks: Any, wanted: Ints) -> Bools:
    """Whole groups in the order of `ranks`, each one that brings the number of each class closer to
    what is `wanted`, and leaves a class LEAST pictures or more; the best one where none does.

    labels: int64 [N], -1 = unknown; units: the code of each picture's group, which is the row of
    its first one; ranks [N]: of which that row counts; wanted: int64 [classes]. Returns bool [N].
    """
    held = _held(labels, units, len(wanted))
    left, lack = np.sum(list(held.values()), axis=0), wanted.copy()
    taken: set[int] = set()
    order = sorted(held, key=lambda unit: ranks[unit])
    able: list[tuple[int, int, int]] = []
    for unit in order:
        own = held[unit]
        if not own.any() or (own > 0)[left - own < LEAST].any():
            continue
        gain = int(abs(lack).sum() - abs(lack - own).sum())
        able.append((-gain, len(able), unit))
        if gain > 0:
            taken.add(unit)
            lack, left = lack - own, left - own
    if not taken and able and wanted.any():
        taken = {min(able)[2]}
    return np.isin(units, list(taken))


def deal(labels: Ints, units: Ints, ranks: Any, folds: int, num_classes: int) -> Ints:
    """The fold of each picture: whole groups, the largest first and those of one size by `ranks`,
    each to the fold that has the smallest share of its classes.
    """
    held = _held(labels, units, num_classes)
    whole = np.maximum(np.sum(list(held.values()), axis=0), 1)
    filled = np.zeros((folds, num_classes))
    found: dict[int, int] = {}
    for unit in sorted(held, key=lambda unit: (-held[unit].sum(), ranks[unit])):
        own = held[unit]
        shares = (filled / whole) @ own
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
