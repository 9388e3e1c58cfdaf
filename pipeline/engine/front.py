"""The front of a search with several objectives, and which of its points race. Pure."""

import math
from collections.abc import Iterator, Sequence

from pipeline.record.record import Record, Run

Place = tuple[float, ...]


def front(record: Record) -> list[Run]:
    """The trials at the highest rung that was reached that no other there beats: none is worth as
    much at no more of every cost. By their worth, the best first; of equal ones the earliest alone.
    Without costs the best trial.
    """
    found: list[Run] = []
    for run in highest(record):  # who beats a trial stands before it
        if not any(no_dearer(other, run) for other in found):
            found.append(run)
    return found


def highest(record: Record) -> list[Run]:
    """The trials at the highest rung that was reached, the best first."""
    ranked = [(run.value, run) for run in record.ranked_trials() if run.value]
    return [run for (rung, _), run in ranked if rung == ranked[0][0][0]]


def no_dearer(one: Run, other: Run) -> bool:
    """Whether a trial costs no more than another, whatever is counted."""
    return all(one.costs[name] <= cost for name, cost in other.costs.items())


def chosen(points: Sequence[Run], record: Record) -> Iterator[Run]:
    """The points of a front in the order in which they are raced: the one that is worth most; the
    cheapest (by the first cost) that is worth no less than the baseline, of all where that did not
    come so far; the knee; then always the one farthest from those before.

    The knee has the largest sum of its two places: by its worth, and by its costs, each from the
    worst to the best of the front. Costs count by their logarithms, several by their mean.
    """
    if not points:
        return
    places = _places(points)
    baseline = next((run for run in highest(record) if run.number == 0), None)
    enough = [run for run in points if baseline is None or not _worse(run, baseline)]
    first = next(iter(points[0].costs), "")
    cheapest = min(enough or points, key=lambda run: (run.costs.get(first, 0), run.number))
    knee = max(points, key=lambda run: (sum(places[run.key]), -run.number))
    found = list({run.key: run for run in (points[0], cheapest, knee)}.values())
    yield from found
    while left := [run for run in points if run not in found]:
        near = {
            run.key: min(math.dist(places[run.key], places[one.key]) for one in found)
            for run in left
        }
        found.append(max(left, key=lambda run: near[run.key]))
        yield found[-1]


def _worse(run: Run, other: Run) -> bool:
    return run.sign * (run.value or (0, 0.0))[1] < run.sign * (other.value or (0, 0.0))[1]


def _places(points: Sequence[Run]) -> dict[str, Place]:
    """(by worth, by costs) of each, from 0, the worst of them, to 1, the best."""
    worth = _shares([run.sign * run.value[1] for run in points if run.value])
    costs = [_shares([-math.log1p(run.costs[name]) for run in points]) for name in points[0].costs]
    return {
        run.key: (worth[n], sum(own[n] for own in costs) / max(len(costs), 1))
        for n, run in enumerate(points)
    }


def _shares(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 1.0 for value in values]
