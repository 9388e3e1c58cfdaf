"""The trials of a search at one rung: what can be compared with each other, and what must be left
out.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.frozen import Scalar
from pipeline.record.record import Run
from pipeline.study.ranges import Choice, Range
from pipeline.study.schedulers import Ladder
from pipeline.study.study import Study

MIN_TRIALS = 20
"""With fewer at a rung, nothing is said about knobs."""


@dataclass(frozen=True)
class Observed:
    """A trial with a value at the sample's rung. `point`: qualified name → (range, value)."""

    run: Run
    point: Mapping[str, tuple[Range, Scalar]]
    value: float

    @property
    def worth(self) -> float:
        """The value's place in an order, the higher the better."""
        return self.run.sign * self.value


@dataclass(frozen=True)
class Sample:
    """The trials of one rung. `epochs`: where that rung lies, more than one where trials differ in
    length.
    """

    rung: int
    num_rungs: int
    epochs: tuple[int, ...]
    trials: tuple[Observed, ...]
    excluded: Mapping[str, int]  # reason → trials
    paths: Mapping[
        str, str
    ]  # qualified name → path in the config, the same for all variants of a part

    @property
    def enough(self) -> bool:
        return len(self.trials) >= MIN_TRIALS

    @property
    def total(self) -> int:
        return len(self.trials) + sum(self.excluded.values())

    @cached_property
    def agreement(self) -> tuple[float, int] | None:
        """(Spearman's correlation with the rung below, trials it was computed on); None for the
        first rung or no spread.
        """
        return self._correlation(self.rung - 1)

    @cached_property
    def ahead(self) -> tuple[float, int] | None:
        """The same with the rung above: whether what is seen here holds on longer training, among
        those that had it.
        """
        return self._correlation(self.rung + 1)

    def _correlation(self, rung: int) -> tuple[float, int] | None:
        pairs = [
            (t.run.rungs[rung], t.value)
            for t in self.trials
            if math.isfinite(t.run.rungs.get(rung, math.nan))
        ]
        if len(pairs) < MIN_TRIALS // 2 or any(
            len(set(column)) < 2 for column in zip(*pairs, strict=True)
        ):
            return None
        from scipy import stats  # takes a moment to import

        return float(stats.spearmanr(*zip(*pairs, strict=True)).statistic), len(pairs)


def choose(trials: Sequence[Run], study: Study) -> Sample:
    """The highest rung with MIN_TRIALS trials; where there is none, the one with the most (see
    `Sample.enough`).
    """
    ladder = study.search.ladder
    fullest: Sample | None = None
    for rung in reversed(range(ladder.num_rungs)):
        sample = _sample(trials, study, ladder, rung)
        if sample.enough:
            return sample
        if fullest is None or len(sample.trials) > len(fullest.trials):
            fullest = sample
    assert fullest is not None, "a search has a rung"
    return fullest


def place(knob: Range, scalar: Scalar) -> float:
    """Where the value lies in its range, 0 … 1; log ranges in decades, options in their order."""
    if isinstance(knob, Choice):
        return (
            knob.options.index(scalar) / (len(knob.options) - 1) if len(knob.options) > 1 else 0.5
        )
    assert isinstance(scalar, (int, float))
    low, high, x = float(knob.low), float(knob.high), float(scalar)
    if knob.log:
        low, high, x = math.log(low), math.log(high), math.log(x)
    return min(1.0, max(0.0, (x - low) / (high - low)))


def _sample(trials: Sequence[Run], study: Study, ladder: Ladder, rung: int) -> Sample:
    observed, excluded = [], Counter[str]()
    for run in trials:
        if rung not in run.rungs:
            excluded[_absence(run, ladder, rung)] += 1
        elif (point := _point(run, study)) is None:
            excluded["outside the space"] += 1
        elif not math.isfinite(run.rungs[rung]):
            excluded["without a finite value there"] += 1
        else:
            observed.append(Observed(run, point, run.rungs[rung]))
    longest = {int(trial.run.config["epochs"]) for trial in observed}
    epochs = tuple(
        sorted({ladder.stop(length, rung) for length in longest if ladder.first(length) <= rung})
    )
    return Sample(
        rung,
        ladder.num_rungs,
        epochs,
        tuple(observed),
        dict(excluded.most_common()),
        study.space.paths(),
    )


def _point(run: Run, study: Study) -> dict[str, tuple[Range, Scalar]] | None:
    try:
        active = study.space.active(run.knobs)
    except KeyError:
        return None
    return active if all(knob.contains(value) for knob, value in active.values()) else None


def _absence(run: Run, ladder: Ladder, rung: int) -> str:
    """Why a trial has no value at `rung`."""
    if run.status in ("diverged", "failed"):
        return f"{run.status} before it"
    if rung < ladder.first(int(run.config["epochs"])):
        return "too short to be judged there"
    if rung < min(run.rungs, default=rung):
        return "of a bracket that begins above it"
    return "unfinished" if run.status in ("new", "running") else "stopped or waiting below it"
