"""What a search with several objectives found: its front, and which points of it can be told
apart.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipeline.analysis.stats import NAN
from pipeline.engine.front import front, highest, no_dearer
from pipeline.engine.race import Noise, Racer, racers, stay
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged
from pipeline.study.objectives import Objective
from pipeline.study.study import Study

MOST_RACED = 4  # of which every pair is compared; of more the neighbours


@dataclass(frozen=True)
class Point:
    """A trial of the front. `values`: what it reached when it was trained again, `half` half the
    width of the 95 % interval of their mean (NaN where there is none); `stays`: whether the race
    left it in.
    """

    run: Run
    values: tuple[float, ...] = ()
    half: float = NAN
    stays: bool = False

    @property
    def worth(self) -> float:
        """What it had in the search."""
        return self.run.value[1] if self.run.value else NAN

    @property
    def mean(self) -> float:
        return fmean(self.values) if self.values else NAN


@dataclass(frozen=True)
class Pair:
    """Two raced points, the better mean first; `half` as that of their difference."""

    ahead: Point
    behind: Point
    half: float

    @property
    def difference(self) -> float:
        """Of the means."""
        return self.ahead.mean - self.behind.mean

    @property
    def alike(self) -> bool:
        """Whether the interval of their difference holds 0."""
        return abs(self.difference) <= self.half

    @property
    def in_vain(self) -> bool:
        """Whether the second costs no less."""
        return no_dearer(self.ahead.run, self.behind.run)


@dataclass(frozen=True)
class Front:
    """`points`: the best value first; `others`: the trials at the same rung that one of them beats
    in everything; `over`: whether the race is.
    """

    objectives: tuple[Objective, ...]
    judged: Judged
    points: tuple[Point, ...]
    others: tuple[Run, ...]
    pairs: tuple[Pair, ...]
    rung: int
    num_rungs: int
    baseline: Run | None
    over: bool


def read_front(record: Record, study: Study) -> Front | None:
    """None where the search has one objective, or no trial has a value."""
    runs, objectives = front(record), study.search.objectives
    if not objectives or not runs:
        return None
    field = racers(record)
    raced = _raced(field)
    points = tuple(raced.get(run.key, Point(run)) for run in runs)
    known, there = {run.key for run in runs}, highest(record)
    return Front(
        objectives,
        Judged.of(study.baseline),
        points,
        tuple(run for run in there if run.key not in known),
        _pairs([point for point in raced.values() if point.half == point.half], field),
        max(runs[0].rungs),
        study.search.ladder.num_rungs,
        next((run for run in there if run.number == 0), None),
        bool(record.race and record.race.winner),
    )


def _raced(field: Sequence[Racer]) -> dict[str, Point]:
    several = [one for one in field if len(one.values()) > 1]
    left = {one.trial.key for one in stay(field)}
    noise = Noise.of([one.values() for one in several]) if several else None
    return {
        one.trial.key: Point(
            one.trial,
            one.values(),
            noise.half(len(one.values())) if noise and one in several else NAN,
            one.trial.key in left,
        )
        for one in field
    }


def _pairs(points: Sequence[Point], field: Sequence[Racer]) -> tuple[Pair, ...]:
    """Of the points with an interval, by their means."""
    if len(points) < 2:
        return ()
    noise = Noise.of([one.values() for one in field if len(one.values()) > 1])
    ordered = sorted(points, key=lambda point: -point.run.sign * point.mean)
    every = len(ordered) <= MOST_RACED
    pairs = itertools.combinations(ordered, 2) if every else itertools.pairwise(ordered)
    return tuple(
        Pair(one, other, noise.half(len(one.values), len(other.values))) for one, other in pairs
    )
