"""Components of variance from a staggered nested design, with intervals. Pure.

A level is a run and, for each source of chance, one run more in which that source and all within it
are drawn anew: run 0 is the level's own, run k shares with the others all but the k innermost
sources. So every source has about as many degrees of freedom as there are levels, where a balanced
design spends most runs on the innermost one (T. Bainbridge, "Staggered, nested designs for
estimating variance components", Industrial Quality Control 22, 1965; J. Smith and R. Beverly, "The
use and analysis of staggered nested factorial designs", Journal of Quality Technology 13, 1981).

Everything takes leading batch axes, so that a simulation runs the code that judges a study.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.analysis.stats.student import ALPHA

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Variances by source, the innermost first, then all of them together: [..., sources + 1].

    `estimate` is unbiased, and so may lie below 0; `low` and `high` are 0 where they would.
    """

    estimate: Floats
    low: Floats
    high: Floats


def components(values: Floats) -> Components:
    """Of values [..., levels, runs of a level]; at least 2 of both.

    Of a level, d_k is run k less the mean that halves run by run, m_k = (m_(k-1) + run k) / 2. Over
    levels the mean of d_k squared, and the variance of the last m, are each a chi-square, and
    expected squares are triangular in the components.
    """
    num_levels, num_runs = values.shape[-2:]
    mean, squares = values[..., 0], []
    for run in np.moveaxis(values[..., 1:], -1, 0):
        squares.append(((run - mean) ** 2).mean(axis=-1))
        mean = (mean + run) / 2
    squares.append(mean.var(axis=-1, ddof=1))
    df = np.array([*[num_levels] * (num_runs - 1), num_levels - 1])
    weights = np.linalg.inv(_expected(num_runs)).round(12)
    parts = [_interval(row, np.stack(squares, -1), df) for row in (*weights, weights.sum(axis=0))]
    estimate, low, high = (np.stack(column, -1) for column in zip(*parts, strict=True))
    return Components(estimate, low.clip(min=0), high.clip(min=0))


@lru_cache
def _expected(num_runs: int) -> Floats:
    """What each square is expected to be: [squares, components]."""
    found = np.zeros((num_runs, num_runs))
    for k in range(num_runs):
        found[k] = found[k - 1] / 4 if k else 0.0
        found[k, k] += 1
        if k < num_runs - 1:
            found[k, : k + 1] += 1
    return found


def _interval(weights: Floats, squares: Floats, df: Floats) -> tuple[Floats, Floats, Floats]:
    """(estimate, low, high) at 95 % of a sum of expected squares with one positive weight or with
    positive ones alone.

    The modified large-sample method, exact where all but one of the expected squares are 0: F.
    Graybill and C. Wang, "Confidence intervals on nonnegative linear combinations of variances",
    JASA 75, 1980, for sums; N. Ting et al., "Confidence intervals on linear combinations of
    variance components that are unrestricted in sign", Journal of Statistical Computation and
    Simulation 35, 1990, for differences (both in R. Burdick and F. Graybill, "Confidence Intervals
    on Variance Components", 1992, ch. 3).
    """
    up, down = np.flatnonzero(weights > 0), np.flatnonzero(weights < 0)
    terms, tail = squares * np.abs(weights), ALPHA / 2
    short = 1 - df / stats.chi2.isf(tail, df)
    long = df / stats.chi2.ppf(tail, df) - 1
    below = ((short * terms)[..., up] ** 2).sum(-1) + ((long * terms)[..., down] ** 2).sum(-1)
    above = ((long * terms)[..., up] ** 2).sum(-1) + ((short * terms)[..., down] ** 2).sum(-1)
    for p in up:
        for r in down:
            both = terms[..., p] * terms[..., r]
            f = stats.f.isf(tail, df[p], df[r])
            below += both * ((f - 1) ** 2 - (short[p] * f) ** 2 - long[r] ** 2) / f
            f = stats.f.ppf(tail, df[p], df[r])
            above += both * ((1 - f) ** 2 - (long[p] * f) ** 2 - short[r] ** 2) / f
    estimate = squares @ weights
    low, high = (np.sqrt(side.clip(min=0)) for side in (below, above))
    return estimate, estimate - low, estimate + high
