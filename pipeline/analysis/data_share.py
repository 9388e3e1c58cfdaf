"""What more training pictures are worth: arms that learn from parts of them."""

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.analysis.results import Ablation
from pipeline.analysis.scores import Scored
from pipeline.analysis.stats.student import MIN_REPLICATES, PAIRED, Basis, Fit, fit
from pipeline.record.record import Record
from pipeline.study.study import Study

Floats = npt.NDArray[np.float64]
Silence = Literal["", "replicates", "shares", "errors", "chance", "level", "flat", "part"]
"""Why nothing is said about more pictures than there are."""
MIN_SHARES = 3


@dataclass(frozen=True)
class Point:
    """An arm, the training pictures of its runs on average, its scores, and the worth of a doubling
    from the next smaller share up to it, None where that is not known.
    """

    arm: str
    num_train: float
    values: tuple[float, ...]
    doubling: Fit | None

    @property
    def sd(self) -> float:
        return stdev(self.values) if len(self.values) > 1 else math.nan


@dataclass(frozen=True)
class Curve:
    """Arms that are the same but for the share, the largest first. `doubling`: what the pictures
    being twice as many was worth on average over all shares; `more`: what twice as many as there
    are would be at best, were errors to fall as they did; in the unit of the metric. `guessed`:
    whether the pictures beyond a share are learnt from, too, by pseudo-labels.
    """

    points: tuple[Point, ...]
    epochs: int
    guessed: bool
    doubling: Fit | None = None
    more: float | None = None
    silence: Silence = ""


def read_curves(record: Record, study: Study, ablation: Ablation) -> tuple[Curve, ...]:
    """Of arms with several shares of the training pictures; none where nothing is compared."""
    groups = defaultdict[str, dict[float, str]](dict)
    configs = study.arms()
    for arm, config in configs:
        whole = config.model_copy(update={"train_share": 1.0})
        groups[whole.in_force().fingerprint()][config.train_share] = arm.name
    if ablation.unequal:
        return ()
    scored = Scored.of(record, study)
    return tuple(
        _curve(dict(sorted(arms.items(), reverse=True)), scored, ablation)
        for arms in groups.values()
        if len(arms) > 1
    )


def _curve(arms: dict[float, str], scored: Scored, ablation: Ablation) -> Curve:
    runs = {arm: scored.complete[arm] for arm in arms.values()}
    nums = [fmean([run.num_train for run in own]) if own else math.nan for own in runs.values()]
    table = scored.table[list(runs)].dropna().to_numpy()
    steps = np.log2(np.array(nums))
    blind = {*runs} & (ablation.untold | ablation.barred.keys())
    falling = bool((np.diff(steps) < 0).all())  # false where one is not known
    known = len(table) >= MIN_REPLICATES and falling and not blind
    basis = _basis(ablation.basis)
    points = tuple(
        Point(
            arm,
            num,
            tuple(scored.column(runs[arm]).values()),
            _worth(table[:, k : k + 2], steps[k : k + 2], basis)
            if known and k + 1 < len(nums)
            else None,
        )
        for k, (arm, num) in enumerate(zip(runs, nums, strict=True))
    )
    guessed = any(run.config["pseudo"]["threshold"] for own in runs.values() for run in own)
    epochs = max(int(run.config["epochs"]) for own in runs.values() for run in own)
    found = Curve(points, epochs, guessed)
    if blind:
        return replace(found, silence="chance")
    if len(table) < MIN_REPLICATES:
        return replace(found, silence="replicates")
    if not falling:
        return replace(found, silence="shares")
    found = replace(found, doubling=_worth(table, steps, basis))
    if max(arms) < 1:
        return replace(found, silence="part")
    return _with_more(found, table, steps, ablation)


def _with_more(found: Curve, table: Floats, steps: Floats, ablation: Ablation) -> Curve:
    """By a power law of the errors, a line through their logarithms in each replicate (Hestness et
    al. 2017, arXiv 1712.00409); not where they do not fall, or the last point shows that it bends.

    Errors that near a floor fall by less, and few shares do not show it (of floors of 8 and 15 %,
    with 3 or 4 shares and 3 to 5 replicates, up to nine in ten tables do not): so it is what could
    be gained at best, and has no interval.
    """
    judged = ablation.judged
    errors = 1 - table if judged.is_share else table
    basis = _basis(ablation.basis)
    if len(steps) < MIN_SHARES:
        return replace(found, silence="shares")
    if (errors <= 0).any():
        return replace(found, silence="errors")
    slopes, levels = _lines(np.log(errors), steps)
    fall = fit(slopes[:, None], np.ones(1), basis)
    if fall.delta + fall.half() >= 0:
        return replace(found, silence="level")
    at_most = levels + slopes * steps[0]
    rest = fit(np.log(errors)[:, :1] - at_most[:, None], np.ones(1), basis)
    if rest.delta - rest.half() > 0:
        return replace(found, silence="flat")
    here, there = np.exp(at_most), np.exp(at_most + slopes)
    gain = here - there if judged.is_share else there - here
    return replace(found, more=float(gain.mean()))


def _worth(table: Floats, steps: Floats, basis: Basis) -> Fit:
    """The mean slope against the logarithm of the number, of lines through each replicate's
    values [R, shares].
    """
    slopes, _ = _lines(table, steps)
    return fit(slopes[:, None], np.ones(1), basis)


def _lines(values: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """(slope, level at 0) of the straight line through each row of `values`."""
    centred = steps - steps.mean()
    slopes = values @ centred / (centred**2).sum()
    return slopes, values.mean(axis=1) - slopes * steps.mean()


def _basis(asked: Basis) -> Basis:
    """Shares of a replicate lie within each other, so they are compared within it."""
    return PAIRED if asked.test == "Welch's t" else asked
