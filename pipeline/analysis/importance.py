"""What mattered in a search: importance of its knobs, from its recorded trials at one rung.

A statement about this space, after these epochs, among these trials: what separates their values,
not what would help elsewhere. Values of different rungs are never pooled, for what decides the
first epochs need not decide the last.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.analysis.rung_sample import MIN_TRIALS, Sample, place
from pipeline.study.ranges import Choice, Float

if TYPE_CHECKING:
    from pipeline.analysis.optuna_importance import Point

NUM_RESAMPLES = 40
MAX_RESAMPLED = 200
"""Trials in a resample; of more trials it takes so many (m-out-of-n bootstrap: intervals come out
wider, not narrower).
"""
NUM_TREES, NUM_TREES_RESAMPLED = 64, 8
"""The forest of the estimate; a resample's is small, and what that adds to its spread widens the
interval.
"""
COVERED, FLOOR = (2.5, 97.5), 95.0
DUMMY = Float(low=0.0, high=1.0)
Scores = tuple[Mapping[str, float], Mapping[str, float]]  # by PED-ANOVA, by fANOVA


@dataclass(frozen=True)
class Share:
    """A knob's part of the importance of all knobs, in [0, 1], with a 95 % bootstrap interval over
    trials.

    In every resample a random knob takes part that is in force in the same trials; `floor` is the
    95th percentile of its share. NaN: no signal at all.
    """

    share: float
    low: float
    high: float
    floor: float

    @property
    def clear(self) -> bool:
        """Whether the whole interval lies above the noise floor."""
        return self.low > self.floor


@dataclass(frozen=True)
class KnobImportance:
    """`ped_anova` takes every knob of the space, under its qualified name. `fanova` is None for one
    that some trials lack; instead, a field that all variants of a part have as a range (each
    optimizer's lr) enters by its place in its own range, under `path (in its own range)`, and is
    None for `ped_anova`.
    """

    name: str
    num_trials: int  # in which the knob is in force
    ped_anova: Share | None
    fanova: Share | None

    @property
    def clear(self) -> tuple[str, ...]:
        """The measures by which the knob is above noise."""
        measures = {"PED-ANOVA": self.ped_anova, "fANOVA": self.fanova}
        return tuple(name for name, share in measures.items() if share is not None and share.clear)


@dataclass(frozen=True)
class Importance:
    """`knobs`: those above noise first, then by their PED-ANOVA share, those without one by that of
    fANOVA, largest first.

    `quantile`: the part of the trials that PED-ANOVA counts as the best.
    """

    sample: Sample
    quantile: float
    knobs: tuple[KnobImportance, ...]


def measure(sample: Sample) -> Importance:
    """Importance of every knob; the same trials give the same numbers. Raises ValueError below
    MIN_TRIALS trials.
    """
    # optuna takes a second to import, and most reports of few trials do without
    from pipeline.analysis.optuna_importance import Clone

    num_trials = len(sample.trials)
    if not sample.enough:
        raise ValueError(f"importance needs {MIN_TRIALS} trials at one rung, got {num_trials}")
    own, values = [trial.point for trial in sample.trials], [trial.worth for trial in sample.trials]
    points = _unified(own, sample.paths)
    rng = np.random.default_rng(_seed(points, values))
    quantile = min(0.5, max(0.1, 10 / num_trials))
    groups = {
        name: tuple(name in point for point in points) for name in sorted(set().union(*points))
    }
    known = sorted(set().union(*own)), [name for name, inside in groups.items() if all(inside)]
    dummies = {
        group: f"dummy {number}"
        for number, group in enumerate(sorted(set(groups.values()), reverse=True))
    }

    def scores(chosen: "Sequence[Point]", reached: Sequence[float], num_trees: int) -> Scores:
        clone = Clone(chosen, reached)
        return clone.ped_anova(quantile), clone.fanova(
            num_trees=num_trees, seed=int(rng.integers(2**31))
        )

    estimate = scores(points, values, NUM_TREES)
    drawn = []
    for _ in range(NUM_RESAMPLES):
        taken = rng.integers(num_trials, size=min(num_trials, MAX_RESAMPLED)).tolist()
        marked = {i: dict(points[i]) for i in taken}
        for group, dummy in dummies.items():
            for i, number in zip(marked, rng.random(len(marked)).tolist(), strict=True):
                if group[i]:
                    marked[i][dummy] = (DUMMY, number)
        drawn.append(
            scores([marked[i] for i in taken], [values[i] for i in taken], NUM_TREES_RESAMPLED)
        )
    knobs = []
    for name, group in groups.items():
        shares = [
            _share(estimate[i], [scored[i] for scored in drawn], name, dummies[group], known[i])
            if name in known[i]
            else None
            for i in (0, 1)
        ]
        knobs.append(KnobImportance(name, sum(group), *shares))
    return Importance(sample, quantile, tuple(sorted(knobs, key=_order)))


def _seed(points: "Sequence[Point]", values: Sequence[float]) -> int:
    """From the content, so that a report says the same whenever it is written."""
    content = [
        [value, sorted((name, str(scalar)) for name, (_, scalar) in p.items())]
        for p, value in zip(points, values, strict=True)
    ]
    return int.from_bytes(hashlib.sha256(json.dumps(content).encode()).digest()[:8])


def _unified(points: "Sequence[Point]", paths: Mapping[str, str]) -> "list[Point]":
    """The points, and by their place in their own range the numeric fields that some variant or
    other gives every trial.
    """
    places = [
        {
            paths[name]: place(knob, x)
            for name, (knob, x) in point.items()
            if paths[name] != name and not isinstance(knob, Choice)
        }
        for point in points
    ]
    always = set.intersection(*map(set, places)) - {
        paths[name] for name in set.intersection(*map(set, points))
    }
    return [
        {**point, **{f"{path} (in its own range)": (DUMMY, at[path]) for path in sorted(always)}}
        for point, at in zip(points, places, strict=True)
    ]


def _share(
    estimate: Mapping[str, float],
    drawn: Sequence[Mapping[str, float]],
    name: str,
    dummy: str,
    names: Sequence[str],
) -> Share:
    """Of what the knobs `names` have together, in the resamples with the dummy; one without any
    signal is left out.

    A resample in which no trial has the knob gives it nothing.
    """
    whole = math.fsum(estimate.get(other, 0.0) for other in names)
    parts = []
    for scored in drawn:
        together = math.fsum(scored.get(other, 0.0) for other in (*names, dummy))
        if together > 0:
            parts.append((scored.get(name, 0.0) / together, scored.get(dummy, 0.0) / together))
    if not whole > 0 or not parts:
        return Share(math.nan, math.nan, math.nan, math.nan)
    share, (real, random) = estimate.get(name, 0.0) / whole, zip(*parts, strict=True)
    low, high = np.percentile(real, COVERED)
    numbers = (
        share,
        min(share, float(low)),
        max(share, float(high)),
        float(np.percentile(random, FLOOR)),
    )
    return Share(*(round(number, 6) for number in numbers))  # the last bits differ between machines


def _order(knob: KnobImportance) -> tuple[bool, float, str]:
    """A share of few trials may be large by chance: what is not above its noise floor leads no
    table.
    """
    share = knob.ped_anova or knob.fanova
    return (
        not knob.clear,
        0.0 if share is None or math.isnan(share.share) else -share.share,
        knob.name,
    )
