"""Tuning curve: the best value to expect of so many random trials."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from pipeline.analysis.rung_sample import MIN_TRIALS
from pipeline.analysis.search_results import Search
from pipeline.record.record import Run
from pipeline.study.study import Study

NUM_POINTS, NUM_RESAMPLES = 60, 200


@dataclass(frozen=True)
class Tuning:
    """Of `num_trials` random trials at `rung`: for each budget the expected best, with a pointwise
    90 % bootstrap band.

    Budgets end at half the trials: beyond, the curve is little more than the single best value
    seen.
    """

    rung: int
    num_rungs: int
    num_trials: int
    num_diverged: int
    budgets: tuple[int, ...]
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def read_tuning(search: Search, study: Study) -> Tuning | None:
    """None unless the trials are an independent sample: the random sampler's, at the highest rung
    that all of them reached.

    Diverged trials count as 0, of a metric that is no share as the worst value that was seen, for
    their budget was spent; failed and unfinished ones are left out.
    """
    if study.search.sampler != "random":
        return None
    drawn = [run for run in search.trials if run.asked is not None]
    diverged = [run for run in drawn if run.status == "diverged"]
    valued = [run for run in drawn if run.rungs and run.status != "diverged"]
    common = _common(valued)
    if common is None or len(valued) + len(diverged) < MIN_TRIALS:
        return None
    judged = search.judged
    known = [judged.sign * run.rungs[common] for run in valued]
    worst = 0.0 if judged.is_share else min(known)
    values = np.sort([worst] * len(diverged) + known)
    budgets = np.unique(np.geomspace(1, len(values) // 2, NUM_POINTS).round().astype(int))
    rng = np.random.default_rng(len(values))
    resampled = np.sort(rng.choice(values, (NUM_RESAMPLES, len(values))), axis=1)
    low, high = np.percentile([expected_best(row, budgets) for row in resampled], (5, 95), axis=0)
    low, high = (low, high) if judged.sign > 0 else (high, low)
    curves = [
        tuple(judged.sign * float(value) for value in curve)
        for curve in (expected_best(values, budgets), low, high)
    ]
    return Tuning(
        common, search.num_rungs, len(values), len(diverged), tuple(map(int, budgets)), *curves
    )


def expected_best(
    values: "np.ndarray[Any, np.dtype[np.float64]]", budgets: Iterable[int]
) -> list[float]:
    """E[max of n] over all n-subsets of the sorted `values`, for each budget n <= N: sum of v_(i)
    C(i-1, n-1) / C(N, n).

    The unbiased estimator; the one that draws with replacement is biased low (R. Tang et al.,
    "Showing Your Work Doesn't Always Work", ACL 2020, arXiv 2004.13705).
    """
    num = len(values)
    found = []
    for n in budgets:
        i = np.arange(n, num + 1)
        logs = (
            gammaln(i)
            - gammaln(n)
            - gammaln(i - n + 1)
            - (gammaln(num + 1) - gammaln(n + 1) - gammaln(num - n + 1))
        )
        found.append(float(np.exp(logs) @ values[n - 1 :]))
    return found


def _common(runs: Sequence[Run]) -> int | None:
    """The highest rung at which every run has a finite value."""
    shared = (
        set.intersection(*({r for r, v in run.rungs.items() if math.isfinite(v)} for run in runs))
        if runs
        else set()
    )
    return max(shared, default=None)
