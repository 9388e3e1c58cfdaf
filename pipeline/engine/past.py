"""What the trials of another study say of a point before it is trained, and whether that is heard.

Pictures, metrics' levels and lengths of training differ between two studies, so of the other one
the order of its trials alone is used: a forest learns it (extra-trees: P. Geurts et al., *Extremely
randomized trees*, Machine Learning 2006), and of a few points that the sampler draws the one is
tried that it ranks first. A past may mislead, so it must first rank this search's own trials
rightly.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from pipeline.frozen import Scalar
from pipeline.study.ranges import Choice, Range
from pipeline.study.space import Space

NUM_DRAWS = 4
"""Points that are drawn for each one that is tried while the past is heard."""
LEAST_TRIALS = 6
"""Own trials that are compared before it is: fewer are ranked rightly by chance too often."""
NUM_TREES, MIN_LEAF, MAX_FEATURES = 50, 2, 0.7

Point = Mapping[str, Scalar]
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Past:
    """The points of another study in `space`, best first."""

    def __init__(self, space: Space, points: Sequence[Point]) -> None:
        self.space, self.points = space, points

    def rank(self, points: Sequence[Point]) -> Floats:
        """What each is expected to be worth, from 0 (as the worst of the past) to 1 (as its
        best).
        """
        found: Floats = self._forest.predict(np.array([coded(self.space, p) for p in points]))
        return found

    def heard(self, points: Sequence[Point], values: Sequence[float]) -> bool:
        """Whether it ranks these points, which have these values (more is better), rather rightly
        than wrongly (Spearman's correlation above 0), and they are enough to tell.
        """
        return len(points) >= LEAST_TRIALS and self.agreement(points, values) > 0

    def agreement(self, points: Sequence[Point], values: Sequence[float]) -> float:
        """Spearman's rank correlation of what it expects with the values, in [-1, 1]; 0 where
        either are all alike.
        """
        return _correlation(self.rank(points), np.asarray(values, dtype=float))

    @cached_property
    def _forest(self) -> Any:
        from sklearn.ensemble import ExtraTreesRegressor  # slow to import, and few searches need it

        forest = ExtraTreesRegressor(
            NUM_TREES, min_samples_leaf=MIN_LEAF, max_features=MAX_FEATURES, random_state=0
        )
        features = np.array([coded(self.space, point) for point in self.points])
        return forest.fit(features, np.linspace(1, 0, len(self.points)))


def coded(space: Space, point: Point) -> list[float]:
    """Every knob of the space as numbers: its share of the range, of options one each; -1 where the
    point does not have it.
    """
    active = space.active(point)
    return list(
        chain.from_iterable(
            _numbers(slot.knob, active[slot.name][1] if slot.name in active else None)
            for slot in space.slots()
        )
    )


def _numbers(knob: Range, value: Scalar) -> list[float]:
    if isinstance(knob, Choice):
        return [-1.0 if value is None else float(value == option) for option in knob.options]
    if value is None:
        return [-1.0]
    low, high, at = float(knob.low), float(knob.high), float(value)
    if knob.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return [(at - low) / (high - low)]


def _correlation(one: Floats, other: Floats) -> float:
    from scipy.stats import spearmanr

    if min(len(np.unique(one)), len(np.unique(other))) < 2:
        return 0.0
    return float(spearmanr(one, other).statistic)
