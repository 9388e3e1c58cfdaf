"""Contrasts of an ablation table: estimates with intervals, Holm, equivalence, verdicts, the best set. Pure.

Input everywhere is `scores`: a DataFrame, one row a replicate, one column an arm, accuracies in [0, 1], NaN where a
replicate has no result. A replicate that lacks one arm is dropped from the contrasts that need this arm, and counted;
where replicates are not paired (`Basis`) nothing needs dropping.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.questions import Alias, Kind, Levels, Question, differences, factorial_questions
from pipeline.stats.student import (
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
    holm,
    noncentrality,
)

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "not tested"]

NO_SPREAD = 1e-12  # differences that vary less than this vary by rounding alone


@dataclass(frozen=True)
class Contrast:
    """An answered question, in accuracy; numbers that n replicates cannot give are NaN.

    `low` and `high` are the 95 % interval of this contrast alone, from its standard `error` and `df`; the verdict follows
    `p_holm`, which accounts for the `family` of contrasts tested together, called `family_name`. `mde` is the smallest true
    difference found with 80 % power at the Bonferroni level of that family, given the spread seen here. `values` are the
    contrast replicate by replicate; of unpaired arms, in the order of their results, while `delta` is of all of
    them. `scope` is what the interval speaks about; `beyond` the same contrast as it stands for other pictures of this kind,
    None where that is not known.
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
    error: float = NAN
    df: float = NAN
    family_name: str = ""
    against: str = ""
    aliases: tuple[Alias, ...] = ()
    test: Test = "paired t"
    scope: Scope = PAIRED.scope
    beyond: "Contrast | None" = None

    @property
    def only_here(self) -> bool:
        """Whether the verdict holds for these very pictures, and is open for others of their kind."""
        return self.beyond is not None and self.verdict != self.beyond.verdict

    @property
    def n(self) -> int:
        """Replicates; of unpaired arms, those of the arm that has fewest."""
        return len(self.values)

    @property
    def paired(self) -> bool:
        """Whether `values` are differences within replicates; else who stands with whom in them is chance."""
        return self.test != "Welch's t"


def estimate(scores: pd.DataFrame, question: Question, basis: Basis = PAIRED) -> Contrast:
    """One contrast on its own: mean, sd (ddof 1), 95 % Student interval and two-sided p, without correction or verdict.

    Below 3 replicates: the values only. Where every replicate gives the same difference nothing is tested either.
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
        delta=NAN if not n else float(values.mean() if paired else np.nanmean(table, axis=0) @ weights),
        family_name=question.family,
        against=question.against,
        aliases=question.aliases,
        test=basis.test,
        scope=basis.scope,
    )
    if n < MIN_REPLICATES:
        few = f"only {n} replicate{'s' * (n != 1)}" if n else "no replicate has all the arms it needs"
        return replace(bare, reason=few)
    # within replicates also where they are not paired: runs that agree one by one are the same runs
    if len(whole) >= MIN_REPLICATES and (whole @ weights).std(ddof=1) <= NO_SPREAD:
        zero = abs((whole @ weights).mean()) <= NO_SPREAD
        same = "every difference is exactly 0" if zero else "every replicate gives the same difference"
        return replace(
            bare,
            sd=0.0,
            reason=f"{same} (no variance)",
        )
    found = fit(whole if paired else table, weights, basis)
    if found.error <= NO_SPREAD:
        return replace(bare, sd=0.0, reason="no arm varies over its replicates")
    return _filled(bare, found)


def _aligned(table: Floats) -> Floats:
    """The results of every arm in their order, holes closed, as many rows as the shortest column has."""
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


def answer(scores: pd.DataFrame, questions: Sequence[Question], rope: float, basis: Basis = PAIRED) -> tuple[Contrast, ...]:
    """The contrasts, Holm-corrected within each family of the questions, each with its verdict; in the order asked.

    `rope` is the margin of no practical interest.
    """
    return conclude([estimate(scores, question, basis) for question in questions], questions, rope)


def conclude(raw: Sequence[Contrast], questions: Sequence[Question], rope: float) -> tuple[Contrast, ...]:
    """What follows from estimates."""
    answers = list(raw)
    for family in dict.fromkeys(question.family for question in questions):
        members = [i for i, question in enumerate(questions) if question.family == family]
        adjusted = holm([raw[i].p for i in members])
        size = int((~np.isnan(adjusted)).sum())
        for i, p_holm in zip(members, map(float, adjusted), strict=True):
            if not math.isnan(p_holm):
                mde = noncentrality(raw[i].df, ALPHA / size) * raw[i].error
                judged = replace(raw[i], p_holm=p_holm, mde=mde, family=size)
                answers[i] = replace(judged, verdict=_verdict(judged, rope))
    return tuple(answers)


def deltas(scores: pd.DataFrame, reference: str, rope: float, basis: Basis = PAIRED) -> tuple[Contrast, ...]:
    """Every other arm minus the reference, as one family, in the order of the columns."""
    return answer(scores, differences(map(str, scores.columns), reference), rope, basis)


def effects(scores: pd.DataFrame, levels: Levels, rope: float, basis: Basis = PAIRED) -> tuple[Contrast, ...]:
    """Main effects and two-way interactions of a full 2^k factorial (k >= 2), as one family; else nothing."""
    return answer(scores, factorial_questions(levels), rope, basis)


def best_set(scores: pd.DataFrame, basis: Basis = PAIRED, barred: Collection[str] = ()) -> tuple[str, ...]:
    """The arms that cannot be told from the one with the highest mean (Holm, 5 %), in column order.

    An arm that could not be tested against the top cannot be told from it either. Those `barred` may be in the set, but are
    not the one that the others are held against. Empty where no other arm has 3 results.
    """
    counts = scores.notna().sum()
    rivals = scores.loc[:, (counts >= MIN_REPLICATES) & ~scores.columns.isin(list(barred))]
    if rivals.empty:
        return ()
    top = str(rivals.mean().idxmax())
    others = [arm for arm in scores.columns if arm != top and counts[arm]]
    tests = [estimate(scores, Question(arm, "delta", {top: 1.0, arm: -1.0}), basis) for arm in others]
    worse = {
        test.name for test, p in zip(tests, holm([test.p for test in tests]), strict=True) if p < ALPHA and test.delta > 0
    }
    return tuple(arm for arm in scores.columns if arm == top or (arm in others and arm not in worse))


def by_family(contrasts: Sequence[Contrast]) -> Mapping[str, tuple[Contrast, ...]]:
    """Family → its contrasts, in their order."""
    names = dict.fromkeys(contrast.family_name for contrast in contrasts)
    return {name: tuple(c for c in contrasts if c.family_name == name) for name in names}


def _verdict(contrast: Contrast, rope: float) -> Verdict:
    if contrast.p_holm < ALPHA:
        return "better" if contrast.delta > 0 else "worse"
    numbers = (contrast.delta, contrast.sd, contrast.error, contrast.df)
    return "equivalent" if Fit(*map(np.asarray, numbers)).within(rope) else "inconclusive"
