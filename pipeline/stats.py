"""Statistics of an ablation table: paired contrasts with Student intervals, Holm, equivalence, verdicts. Pure.

Input everywhere is `scores`: a DataFrame, one row a replicate, one column an arm, accuracies in [0, 1], NaN where a
replicate has no result. A replicate that lacks one arm is dropped from the contrasts that need this arm, and counted.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd
from scipy import optimize, stats

Kind = Literal["delta", "main", "interaction"]
Verdict = Literal["better", "worse", "equivalent", "inconclusive", "not tested"]

ALPHA = 0.05
POWER = 0.8
MIN_REPLICATES = 3
NO_SPREAD = 1e-12  # differences that vary less than this vary by rounding alone
NAN = math.nan


@dataclass(frozen=True)
class Question:
    """A contrast to estimate: the weighted sum of arms, taken within each replicate."""

    name: str
    kind: Kind
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Contrast:
    """An answered question, in accuracy; numbers that n replicates cannot give are NaN.

    `low` and `high` are the 95 % interval of this contrast alone; the verdict follows `p_holm`, which accounts for the
    `family` of contrasts tested together. `mde` is the smallest true difference found with 80 % power at the
    Bonferroni level of that family, given the spread seen here.
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
    mde: float = NAN
    family: int = 0
    verdict: Verdict = "not tested"
    reason: str = ""

    @property
    def n(self) -> int:
        return len(self.values)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (Holm 1979); NaN (not tested) stays NaN and is not counted."""
    p = np.asarray(p_values, dtype=float)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), NAN)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


@lru_cache(maxsize=256)
def detectable(n: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true difference, in sd of the differences, that a two-sided paired t test on n replicates finds.

    From the noncentral t distribution, its far tail left out (negligible at any useful power). NaN below 3 replicates.
    """
    if n < MIN_REPLICATES:
        return NAN
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    return float(optimize.brentq(lambda d: stats.nct.sf(critical, n - 1, d * math.sqrt(n)) - power, 1e-3, 200.0))


def estimate(scores: pd.DataFrame, question: Question) -> Contrast:
    """One contrast on its own: mean, sd (ddof 1), 95 % Student interval and two-sided p, without correction or verdict.

    Exact for normal differences whatever the arms' variances and correlation. Below 3 replicates: the values only.
    """
    arms = list(question.weights)
    weights = np.array([question.weights[arm] for arm in arms])
    table = scores[arms].to_numpy(dtype=float)
    whole = ~np.isnan(table).any(axis=1)
    values = (table[whole] * weights).sum(axis=1)
    n = len(values)
    mean = float(values.mean()) if n else NAN
    bare = Contrast(question.name, question.kind, tuple(map(float, values)), int((~whole).sum()), mean)
    if n < MIN_REPLICATES:
        few = f"only {n} replicate{'s' * (n != 1)}" if n else "no replicate has all the arms it needs"
        return replace(bare, reason=few)
    sd = float(values.std(ddof=1))
    if sd <= NO_SPREAD:
        same = "every difference is exactly 0" if abs(mean) <= NO_SPREAD else "every replicate gives the same difference"
        return replace(bare, sd=0.0, reason=f"{same} (no variance): does the component change anything?")
    error = sd / math.sqrt(n)
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return replace(bare, sd=sd, low=mean - half, high=mean + half, p=p)


def answer(scores: pd.DataFrame, questions: Sequence[Question], rope: float) -> tuple[Contrast, ...]:
    """The contrasts of one family, Holm-corrected, each with its verdict. `rope` is the margin of no practical interest."""
    raw = [estimate(scores, question) for question in questions]
    family = sum(not math.isnan(contrast.p) for contrast in raw)
    answers = []
    for contrast, p_holm in zip(raw, holm([contrast.p for contrast in raw]), strict=True):
        if math.isnan(p_holm):
            answers.append(contrast)
            continue
        mde = detectable(contrast.n, ALPHA / family) * contrast.sd
        judged = replace(contrast, p_holm=p_holm, mde=mde, family=family)
        answers.append(replace(judged, verdict=_verdict(judged, rope)))
    return tuple(answers)


def deltas(scores: pd.DataFrame, reference: str, rope: float) -> tuple[Contrast, ...]:
    """Every other arm minus the reference, as one family, in the order of the columns."""
    arms = [arm for arm in scores.columns if arm != reference]
    return answer(scores, [Question(arm, "delta", {arm: 1.0, reference: -1.0}) for arm in arms], rope)


def effects(scores: pd.DataFrame, levels: Mapping[str, Mapping[str, bool]], rope: float) -> tuple[Contrast, ...]:
    """Main effects and two-way interactions of a full 2^k factorial (k >= 2), as one family; else nothing.

    A main effect is the mean of the factor's effect over all settings of the others. An interaction is how much more
    the second factor gives where the first is on than where it is off (for k = 2: both - A - B + neither).
    """
    return answer(scores, factorial_questions(levels), rope)


def factorial_questions(levels: Mapping[str, Mapping[str, bool]]) -> tuple[Question, ...]:
    """The contrasts of a full factorial; `levels` maps arm → factor → on. Empty where it is not one, or k < 2."""
    factors = tuple(next(iter(levels.values()), {}))
    k = len(factors)
    cells = {tuple(on.get(factor) for factor in factors) for on in levels.values()}
    if k < 2 or len(levels) != 2**k or cells != set(itertools.product((False, True), repeat=k)):
        return ()
    questions = []
    for factor in factors:
        weights = {arm: (1.0 if on[factor] else -1.0) / 2 ** (k - 1) for arm, on in levels.items()}
        questions.append(Question(factor, "main", weights))
    for a, b in itertools.combinations(factors, 2):
        weights = {arm: (1.0 if on[a] == on[b] else -1.0) / 2 ** (k - 2) for arm, on in levels.items()}
        questions.append(Question(f"{a} × {b}", "interaction", weights))
    return tuple(questions)


def best_set(scores: pd.DataFrame) -> tuple[str, ...]:
    """The arms that cannot be told from the one with the highest mean (paired t, Holm, 5 %), in column order.

    An arm that could not be tested against the top cannot be told from it either. Empty where no arm has 3 results.
    """
    counts = scores.notna().sum()
    rivals = scores.loc[:, counts >= MIN_REPLICATES]
    if rivals.empty:
        return ()
    top = str(rivals.mean().idxmax())
    others = [arm for arm in scores.columns if arm != top and counts[arm]]
    tests = [estimate(scores, Question(arm, "delta", {top: 1.0, arm: -1.0})) for arm in others]
    worse = {test.name for test, p in zip(tests, holm([test.p for test in tests]), strict=True) if p < ALPHA}
    return tuple(arm for arm in scores.columns if arm == top or (arm in others and arm not in worse))


def _verdict(contrast: Contrast, rope: float) -> Verdict:
    if contrast.p_holm < ALPHA:
        return "better" if contrast.delta > 0 else "worse"
    # two one-sided tests at 5 % (Schuirmann 1987): the 90 % interval lies inside the margin
    half = float(stats.t.ppf(1 - ALPHA, contrast.n - 1)) * contrast.sd / math.sqrt(contrast.n)
    return "equivalent" if abs(contrast.delta) + half < rope else "inconclusive"
