"""The configurations that hw3's search begins with: good together on all sets of its space.

python -m benchmarks.curves.portfolio
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from benchmarks.curves.sets import CurveSet, names
from pipeline.frozen import Scalar

LENGTH, DIGITS = 4, 2
Point = Mapping[str, Scalar]


def others(name: str) -> tuple[str, ...]:
    """The other sets of a set's space."""
    kind = name.partition("-")[2]
    return tuple(other for other in names() if other != name and other.partition("-")[2] == kind)


@cache
def portfolio(sets: tuple[str, ...], length: int = LENGTH) -> tuple[Point, ...]:
    """Recorded configurations that are good together on these sets: each next one lowers the mean
    over them of the best regret most (as in M. Wistuba et al., Sequential Model-Free
    Hyperparameter Tuning, ICDM 2015); where none does, the best of the rest.
    """
    curves = [CurveSet(name) for name in sets]
    distinct = {repr(sorted(point.items())): point for one in curves for point in one.points}
    points, chance = list(distinct.values()), np.random.default_rng(0)
    regrets = np.array(
        [[one.regret(one.curve(p, chance).truth) for p in points] for one in curves]
    ).reshape(len(curves), len(points))
    chosen: list[int] = []
    best = np.ones(len(curves))
    for _ in range(length if sets else 0):
        means = np.minimum(regrets, best[:, None]).mean(axis=0)
        means[chosen] = np.inf
        chosen.append(int(np.lexsort((regrets.mean(axis=0), means))[0]))
        best = np.minimum(best, regrets[:, chosen[-1]])
    return tuple(points[number] for number in chosen)


def rounded(point: Point) -> dict[str, Scalar]:
    """The point as a person would write it."""
    return {
        path: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
        for path, value in point.items()
    }


if __name__ == "__main__":
    for found in portfolio(tuple(name for name in names() if name.endswith("-hw3"))):
        print(rounded(found))
