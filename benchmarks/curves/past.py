"""What another study has found, to begin a search with: the trials of a search on another set of
the space; or a past that misleads, which is planted.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial

from benchmarks.curves.clock import Searcher, play
from benchmarks.curves.portfolio import LENGTH, others, portfolio
from benchmarks.curves.searchers import METHODS as OTHERS
from benchmarks.curves.searchers import Rungs
from benchmarks.curves.sets import CurveSet
from pipeline.frozen import Scalar

BUDGET, WORKERS, FIRST_SEED = 25.0, 2, 100
Point = Mapping[str, Scalar]


@cache
def searched(name: str, seed: int) -> tuple[Point, ...]:
    """The trials of a whole search on a set, best first, as a record ranks them."""
    searcher = Rungs(CurveSet(name), seed)
    play(CurveSet(name), searcher, workers=WORKERS, budgets=(BUDGET,), seed=seed)
    ranked = sorted(searcher.values, key=lambda trial: searcher.values[trial], reverse=True)
    return tuple(searcher.points[trial - 1] for trial in ranked)


def past(name: str, seed: int, *, planted: bool) -> tuple[Point, ...]:
    """Of another set of the space; `planted`: of this very set, its worst trial as its best."""
    if planted:
        return searched(name, FIRST_SEED + seed)[::-1]
    known = others(name)
    return searched(known[seed % len(known)], FIRST_SEED + seed) if known else ()


def warmed(
    curves: CurveSet, seed: int, *, planted: bool, length: int = 0, num_first: int, heard: bool
) -> Searcher:
    """Ours, begun with a portfolio and with the best `num_first` of a past, whose order is
    `heard`.
    """
    known = past(curves.name, seed, planted=planted)
    begun = portfolio(others(curves.name), length) if length else ()
    return Rungs(curves, seed, first=(*begun, *known[:num_first]), past=known if heard else ())


def _methods() -> dict[str, Callable[[CurveSet, int], Searcher]]:
    found: dict[str, Callable[[CurveSet, int], Searcher]] = {}
    for length, begun in ((0, "ours"), (LENGTH, f"ours, portfolio of {LENGTH}")):
        for planted, what in ((False, "a past"), (True, "a wrong past")):
            for first, heard, how in ((1, True, ""), (0, True, ", order"), (4, False, ", 4 first")):
                found[f"{begun}, {what}{how}"] = partial(
                    warmed, planted=planted, length=length, num_first=first, heard=heard
                )
    return found


METHODS = {**OTHERS, **_methods()}
"""All that are compared: those of `searchers`, and those that begin with a past."""
