"""Points of a search space that no value decides: spread over it, or all there are. Each is a
function of the space, the seed and the number.
"""

import functools
import math

import numpy as np

from pipeline.frozen import Scalar
from pipeline.study.drawn import at, grid
from pipeline.study.space import Space


def spread(space: Space, seed: int, number: int) -> dict[str, Scalar]:
    """Point `number`, from 1, of a scrambled Sobol' sequence over all knobs of the space, those of
    branches included (Owen 1998, J. Complexity 14): any first 2^k of them fill it evenly.
    """
    from scipy.stats import qmc

    names = list(space.paths())
    sequence = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(seed))
    if number > 1:
        sequence.fast_forward(number - 1)
    place = dict(zip(names, sequence.random(1)[0], strict=True))
    return at(space, lambda name: min(float(place[name]), math.nextafter(1, 0)))


def all_of(space: Space, seed: int, number: int) -> dict[str, Scalar] | None:
    """Point `number`, from 1, of the whole space in an order drawn by the seed, so that a part of
    it is a sample; None beyond the last. Raises Endless as `grid` does.
    """
    points = _shuffled(space.model_dump_json(), seed)
    return points[number - 1] if number <= len(points) else None


@functools.lru_cache(maxsize=64)
def _shuffled(space: str, seed: int) -> list[dict[str, Scalar]]:
    points = list(grid(Space.model_validate_json(space)))
    order = np.random.default_rng(seed).permutation(len(points))
    return [points[place] for place in order]
