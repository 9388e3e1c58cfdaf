"""Several objectives at once: which points no other beats. Higher is better in all. Pure."""

import math
from collections.abc import Mapping, Sequence

Point = Sequence[float]


def covers(one: Point, other: Point) -> bool:
    """Whether `one` is as good as `other` in everything."""
    return all(a >= b for a, b in zip(one, other, strict=True))


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is as good as `other` in everything and better in something."""
    return covers(one, other) and any(a > b for a, b in zip(one, other, strict=True))


def front(points: Mapping[int, Point]) -> list[int]:
    """Those that none dominates, by their first value, the best first; equal ones are all in."""
    found: list[int] = []
    # who dominates a point comes before it, and so does one of the front that does
    for number in _ordered(points):
        if not any(dominates(points[kept], points[number]) for kept in found):
            found.append(number)
    return found


def best(points: Mapping[int, Point], count: int) -> list[int]:
    """The best `count`: front after front, of the last one that has room those in the sparsest
    places (the crowding distance of K. Deb et al., "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", IEEE Trans. Evol. Comput. 2002). Of equal ones that of the best
    first value, then the first by number.
    """
    left, found = dict(points), list[int]()
    while left and len(found) < count:
        own = front(left)
        if len(found) + len(own) > count:
            space = crowding({number: points[number] for number in own})
            own = sorted(own, key=lambda number: -space[number])
        found += own[: count - len(found)]
        left = {number: left[number] for number in left.keys() - set(own)}
    return found


def crowding(points: Mapping[int, Point]) -> dict[int, float]:
    """How far apart the neighbours of each point lie, as a share of the range in each objective;
    endless at the ends.
    """
    found = dict.fromkeys(sorted(points), 0.0)
    for axis in range(len(next(iter(points.values()), ()))):
        row = sorted(points, key=lambda number: (points[number][axis], number))
        values = [points[number][axis] for number in row]
        width = values[-1] - values[0]
        found[row[0]] = found[row[-1]] = math.inf
        for place in range(1, len(row) - 1) if width else ():
            found[row[place]] += (values[place + 1] - values[place - 1]) / width
    return found


def _ordered(points: Mapping[int, Point]) -> list[int]:
    return sorted(points, key=lambda number: ([-value for value in points[number]], number))
