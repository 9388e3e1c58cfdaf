"""Contrasts of an ablation table: estimates with their intervals, each on its own. Pure.

Input everywhere is `scores`: a DataFrame, one row a replicate, one column an arm, accuracies in [0,
1], NaN where a replicate has no result. A replicate that lacks one arm is dropped from the
contrasts that need this arm, and counted; where replicates are not paired (`Basis`) nothing needs
dropping.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.analysis.stats.student import (
    ALPHA,
    MIN_REPLICATES,
    NAN,
    PAIRED,
    Basis,
    Fit,
    Floats,
    Scope,
    Test,
    fit,
    noncentrality,
)
from pipeline.counts import plural
from pipeline.study.looks import SHARES
from pipeline.study.questions import Alias, Kind, Question

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "not tested"]

NO_SPREAD = 1e-12  # differences that vary less than this vary by rounding alone


@dataclass(frozen=True)
class Contrast:
    """An answered question, in accuracy; numbers that n replicates cannot give are NaN.

    `low` and `high` are the 95 % interval of this contrast alone, from its standard `error` and
    `df`; the verdict follows `p_holm`, which accounts for the `family` of all that the report
    tests, by its size (0: not tested). `family_name` is the group that it is shown in. `values` are
    the contrast replicate by replicate; of unpaired arms, in the order of their results, while
    `delta` is of all of them. `scope` is what the interval speaks about; `beyond` the same contrast
    as it stands for other pictures of this kind, None where that is not known.

    Of a table that is judged by looks (`stats.looks`) `look` is how many replicates its last one
    had, which the numbers are of; the interval then has the level of the look, and `p` is that of
    all of them. `settled` is the look from which on the verdict is no more open (0: it is), `even`
    whether an earlier one found the arms equivalent.
    """

    name: str
    kind: Kind
    values: tuple[float, ...]
    dropped: int
    delta: float
    sd: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    p_holm: float = NAN
    family: int = 0
    verdict: Verdict = "not tested"
    reason: str = ""
    error: float = NAN
    df: float = NAN
    family_name: str = ""
    against: str = ""
    aliases: tuple[Alias, ...] = ()
    test: Test = "paired t"
    scope: Scope = PAIRED.scope
    beyond: "Contrast | None" = None
    look: int = 0
    settled: int = 0
    even: bool = False
    sign: int = 1  # -1 where less is better: the numbers are in the metric's own unit

    def turned(self, sign: int) -> "Contrast":
        """The contrast of what the more is the better, in the unit of a metric of which `sign`
        times the value is that.
        """
        if sign > 0:
            return self
        values = tuple(-value for value in self.values)
        low, high = -self.high, -self.low
        return replace(self, values=values, delta=-self.delta, low=low, high=high, sign=sign)

    @property
    def only_here(self) -> bool:
        """Whether the verdict holds for these very pictures, and is open for others of their
        kind.
        """
        return self.beyond is not None and self.verdict != self.beyond.verdict

    @property
    def n(self) -> int:
        """Replicates; of unpaired arms, those of the arm that has fewest."""
        return len(self.values)

    @cached_property
    def mde(self) -> float:
        """The smallest true difference found with 80 % power at the Bonferroni level of the family,
        at this spread.
        """
        if not self.family:
            return NAN
        return noncentrality(self.df, ALPHA * self.share / self.family) * self.error

    @property
    def share(self) -> float:
        """How much of the error its interval may spend: of a look that look's share."""
        return SHARES[self.look] if self.look else 1.0

    @property
    def fit(self) -> Fit:
        """Its numbers."""
        return Fit(*map(np.asarray, (self.delta, self.sd, self.error, self.df)))

    @property
    def paired(self) -> bool:
        """Whether `values` are differences within replicates; else who stands with whom in them is
        chance.
        """
        return self.test != "Welch's t"


def estimate(scores: pd.DataFrame, question: Question, basis: Basis = PAIRED) -> Contrast:
    """One contrast on its own: mean, sd (ddof 1), 95 % Student interval and two-sided p, without
    correction or verdict.

    Below 3 replicates: the values only. Where every replicate gives the same difference nothing is
    tested either.
    """
    weights = np.array(list(question.weights.values()))
    table = scores[list(question.weights)].to_numpy(dtype=float)
    whole = table[~np.isnan(table).any(axis=1)]
    paired = basis.test != "Welch's t"
    values = whole @ weights if paired else _aligned(table) @ weights
    n = len(values)
    bare = Contrast(
        name=question.name,
        kind=question.kind,
        values=tuple(map(float, values)),
        dropped=len(table) - len(whole) if paired else 0,
        delta=NAN
        if not n
        else float(values.mean() if paired else np.nanmean(table, axis=0) @ weights),
        family_name=question.family,
        against=question.against,
        aliases=question.aliases,
        test=basis.test,
        scope=basis.scope,
    )
    if n < MIN_REPLICATES:
        few = f"only {plural(n, 'replicate')}" if n else "no replicate has all the arms it needs"
        return replace(bare, reason=few)
    # within replicates also where they are not paired: runs that agree one by one are the same runs
    if len(whole) >= MIN_REPLICATES and (whole @ weights).std(ddof=1) <= NO_SPREAD:
        zero = abs((whole @ weights).mean()) <= NO_SPREAD
        same = (
            "every difference is exactly 0" if zero else "every replicate gives the same difference"
        )
        return replace(
            bare,
            sd=0.0,
            reason=f"{same} (no variance)",
        )
    found = fit(whole if paired else table, weights, basis)
    if found.error <= NO_SPREAD:
        return replace(bare, sd=0.0, reason="no arm varies over its replicates")
    return _filled(bare, found)


def replicates_to_find(contrast: Contrast, size: float, ratio: float, most: int) -> int | None:
    """The fewest replicates, more than the contrast has and at most `most`, of which its test finds
    a true difference of this size with 80 % power; of a table that is judged by looks, at one look.

    None where `most` do not. The spread seen is taken for the truth, also where it differs by arm:
    degrees of freedom and variance grow from what they are. `ratio` as in `Basis`.
    """

    def found(n: int) -> bool:
        share = SHARES[n] if contrast.look else 1.0
        df = contrast.df * (n - 1) / (contrast.n - 1)
        variance = contrast.error**2 * (1 / n + ratio) / (1 / contrast.n + ratio)
        return noncentrality(df, ALPHA * share / contrast.family) * math.sqrt(variance) <= size

    if contrast.look:
        return next((n for n in SHARES if contrast.n < n <= most and found(n)), None)
    numbers = range(contrast.n + 1, most + 1)
    at = bisect_left(numbers, True, key=found)
    return numbers[at] if at < len(numbers) else None


def _aligned(table: Floats) -> Floats:
    """The results of every arm in their order, holes closed, as many rows as the shortest column
    has.
    """
    columns = [column[~np.isnan(column)] for column in table.T]
    return np.stack([column[: min(map(len, columns))] for column in columns], axis=1)


def _filled(bare: Contrast, found: Fit) -> Contrast:
    delta, half = float(found.delta), float(found.half())
    return replace(
        bare,
        delta=delta,
        sd=float(found.sd),
        error=float(found.error),
        df=float(found.df),
        low=delta - half,
        high=delta + half,
        p=float(found.p),
    )
