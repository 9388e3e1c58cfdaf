"""Points of a search space that no value decides: spread over it, or all there are. A row of them
is a function of the space, what it lies around, and the seed.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from pipeline.frozen import Scalar
from pipeline.study.around import Around
from pipeline.study.drawn import at, grid

MOST_DRAWS = 10_000
"""So many points are drawn in all for a legal one."""


def spread(around: Around, seed: int) -> Iterator[dict[str, Scalar]]:
    """A scrambled Sobol' sequence over all knobs of the space, those of branches included (Owen
    1998, J. Complexity 14): any first 2^k points of it fill the space evenly.
    """
    from scipy.stats import qmc

    names = list(around.space.paths())
    sequence = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(seed))
    while True:
        place = dict(zip(names, sequence.random(1)[0], strict=True))
        yield at(around, lambda name: min(float(place[name]), math.nextafter(1, 0)))  # noqa: B023


def all_of(around: Around, seed: int) -> Iterator[dict[str, Scalar]]:
    """The whole space in an order drawn by the seed, so that a part of it is a sample. Raises
    Endless as `grid` does.
    """
    points = list(grid(around))
    for place in np.random.default_rng(seed).permutation(len(points)):
        yield points[place]


class Legal:
    """The legal ones of a row of points, in its order."""

    def __init__(self, points: Iterator[dict[str, Scalar]], around: Around) -> None:
        self._points, self._around = points, around
        self._found: list[dict[str, Scalar]] = []

    def get(self, number: int) -> dict[str, Scalar] | None:
        """Number `number` of them, from 1; None beyond the last, and where too many in a row are
        none.
        """
        while len(self._found) < number:
            row = itertools.islice(self._points, MOST_DRAWS)
            point = next((one for one in row if not self._around.refusal(one)), None)
            if point is None:
                self._points = iter(())
                return None
            self._found.append(point)
        return dict(self._found[number - 1])
