"""Verdicts on an ablation table: its questions answered as one family, and which arms lead. Pure.

`scores` as in `stats.contrasts`.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from pipeline.analysis.stats.contrasts import NO_SPREAD, Contrast, Verdict, estimate
from pipeline.analysis.stats.family import Family, pair_of, step_down
from pipeline.analysis.stats.student import ALPHA, MIN_REPLICATES, NAN, PAIRED, Basis
from pipeline.study.questions import Levels, Question, differences, factorial_questions

Order = dict[tuple[str, str], float]  # (better arm, worse arm) → adjusted p-value
Ask = Callable[[Question], Contrast]


@dataclass(frozen=True)
class Judgement:
    """The contrasts in the order asked, and the `leading` arms in the table's: those that no
    finding puts behind another.

    A single one is the best, and better in every contrast that compares it; `p_best` is the
    adjusted p-value of the highest mean's being above all others. `leading` is empty where no arms
    are compared, or none has 3 results; arms that could not be tested are in it. `below`: those of
    `leading` that no question compares with the highest mean, `top`, and that lie below it even
    after correction over all such pairs, where another is found behind `top`: no claim of the
    design's, but nothing leads like that. Where nothing is found such arms would be reports beyond
    the 5 % that may be wrong.
    """

    contrasts: tuple[Contrast, ...]
    leading: tuple[str, ...] = ()
    p_best: float = NAN
    top: str = ""
    below: tuple[str, ...] = ()

    def turned(self, sign: int) -> "Judgement":
        """Judged of what the more is the better, in the unit of a metric of which `sign` times the
        value is that.
        """
        return replace(self, contrasts=tuple(one.turned(sign) for one in self.contrasts))


@dataclass(frozen=True)
class Rivals:
    """Of the arms with 3 results that may lead, that of the highest mean, and the p-values of those
    tested against it.
    """

    top: str
    p: Mapping[str, float]


def judge(
    scores: pd.DataFrame,
    questions: Sequence[Question],
    rope: float,
    basis: Basis = PAIRED,
    barred: Collection[str] = (),
    *,
    sign: int = 1,
) -> Judgement:
    """All questions answered as one family (`stats.family`), each with its verdict, and the arms
    that lead.

    `rope` is the margin of no practical interest; `sign` is -1 where lower scores are better. Arms
    `barred` are not the one that others are held against. Shapley shares are estimated alone: they
    share out a gain; whether a factor does anything is what its main effect asks.
    """
    worth = sign * scores
    ask = partial(estimate, worth, basis=basis)
    return judge_by(ask, worth, questions, rope, barred).turned(sign)


def judge_by(
    ask: Ask,
    scores: pd.DataFrame,
    questions: Sequence[Question],
    rope: float,
    barred: Collection[str] = (),
) -> Judgement:
    """`judge`, where `ask` gives the estimates; the arms and their means are those of `scores`."""
    raw = list(map(ask, questions))
    rivals = _rivals(scores, ask, barred) if any(map(pair_of, questions)) else None
    arms = [str(arm) for arm in scores.columns if scores[arm].notna().any()]
    return conclude(raw, questions, rope, arms, rivals)


def conclude(
    raw: Sequence[Contrast],
    questions: Sequence[Question],
    rope: float,
    arms: Sequence[str],
    rivals: Rivals | None = None,
) -> Judgement:
    """What follows from estimates: `raw` those of the questions, `rivals` of the highest mean;
    `arms` all with results.

    Without rivals none is called the best, which the other claims gain nothing by.
    """
    tested = [
        i
        for i, contrast in enumerate(raw)
        if contrast.kind != "shapley" and not math.isnan(contrast.p)
    ]
    family = Family.of([questions[i] for i in tested], (rivals.top, *rivals.p) if rivals else arms)
    highest = max(rivals.p.values(), default=NAN) if rivals else 1.0
    adjusted, p_best = step_down(np.array([raw[i].p for i in tested]), np.array(highest), family)
    found = dict(zip(tested, map(float, adjusted), strict=True))
    num_found = len(
        {column for column, p in zip(family.columns, adjusted, strict=True) if p < ALPHA}
    )
    order = _implied(
        {
            _order(questions[i], raw[i]): p
            for i, p in found.items()
            if p < ALPHA and pair_of(questions[i])
        }
    )
    found |= {
        i: min(p, order.get(_order(questions[i], raw[i]), p))
        for i, p in found.items()
        if pair_of(questions[i])
    }
    answers = tuple(
        _judged(c, found[i], family.size, rope) if i in found else c for i, c in enumerate(raw)
    )
    if rivals is None:
        return Judgement(answers)
    unasked = _unasked(rivals, family, num_found)
    behind = {worse for _, worse in order} | set(
        _behind(rivals, order, float(p_best), family, unasked)
    )
    leading = tuple(arm for arm in arms if arm not in behind)
    led = any(better == rivals.top for better, _ in order)
    below = tuple(arm for arm in leading if led and arm in unasked)
    return Judgement(answers, leading, float(p_best), rivals.top, below)


def answer(
    scores: pd.DataFrame, questions: Sequence[Question], rope: float, basis: Basis = PAIRED
) -> tuple[Contrast, ...]:
    """The contrasts of `judge`."""
    return judge(scores, questions, rope, basis).contrasts


def deltas(
    scores: pd.DataFrame, reference: str, rope: float, basis: Basis = PAIRED
) -> tuple[Contrast, ...]:
    """Every other arm minus the reference, as one family, in the order of the columns."""
    return answer(scores, differences(map(str, scores.columns), reference), rope, basis)


def effects(
    scores: pd.DataFrame, levels: Levels, rope: float, basis: Basis = PAIRED
) -> tuple[Contrast, ...]:
    """Main effects and two-way interactions of a full 2^k factorial (k >= 2), as one family; else
    nothing.
    """
    return answer(scores, factorial_questions(levels), rope, basis)


def by_family(contrasts: Sequence[Contrast]) -> Mapping[str, tuple[Contrast, ...]]:
    """Group → its contrasts, in their order."""
    names = dict.fromkeys(contrast.family_name for contrast in contrasts)
    return {name: tuple(c for c in contrasts if c.family_name == name) for name in names}


def _rivals(scores: pd.DataFrame, ask: Ask, barred: Collection[str]) -> Rivals | None:
    able = scores.loc[:, scores.notna().sum() >= MIN_REPLICATES]
    may_lead = able.loc[:, ~able.columns.isin(list(barred))]
    if may_lead.empty:
        return None
    top = str(may_lead.mean().idxmax())
    tests = [
        ask(Question(arm, "delta", {top: 1.0, arm: -1.0})) for arm in able.columns if arm != top
    ]
    # an arm that equals the top run by run shares its place, one above is not behind; what cannot
    # be tested is no rival
    p = {
        test.name: 1.0 if test.delta <= NO_SPREAD and not math.isnan(test.delta) else test.p
        for test in tests
    }
    return Rivals(top, {arm: value for arm, value in p.items() if not math.isnan(value)})


def _order(question: Question, contrast: Contrast) -> tuple[str, str]:
    """The two arms of a pair, the one of the higher mean first."""
    high, low = sorted(question.weights, key=lambda arm: -question.weights[arm])
    return (high, low) if contrast.delta > 0 else (low, high)


def _implied(order: Order) -> Order:
    """`order` and what follows from it: an arm better than a better one is better. False only where
    a premise is.
    """
    grown = dict(order)
    while True:
        chains = [
            (a, d, max(p, q))
            for (a, b), p in grown.items()
            for (c, d), q in grown.items()
            if b == c and a != d
        ]
        new = {
            (a, d): p
            for a, d, p in sorted(chains, key=lambda chain: -chain[2])
            if p < grown.get((a, d), math.inf)
        }
        if not new:
            return grown
        grown |= new


def _unasked(rivals: Rivals, family: Family, num_found: int) -> Sequence[str]:
    """The arms that no question compares with the top, and whose p-value holds over all such pairs
    of the design, as the best arm's would have had to.
    """
    free = [arm for arm in rivals.p if frozenset((rivals.top, arm)) in family.apart]
    level = ALPHA / (len(family.apart) * family.beside[num_found]) if free else 0.0
    return [arm for arm in free if rivals.p[arm] < level]


def _behind(
    rivals: Rivals, order: Order, p_best: float, family: Family, unasked: Sequence[str]
) -> Sequence[str]:
    """The arms found behind the top beyond what the questions say: all others where it is the best.

    Else the `unasked`; like that claim, only where every question that compares the top finds it
    better.
    """
    top = rivals.top
    if p_best < ALPHA:
        return tuple(rivals.p)
    asked = [arm for arm in rivals.p if frozenset((top, arm)) not in family.apart]
    return () if any((top, arm) not in order for arm in asked) else unasked


def _judged(contrast: Contrast, p_holm: float, size: int, rope: float) -> Contrast:
    judged = replace(contrast, p_holm=p_holm, family=size)
    return replace(judged, verdict=_verdict(judged, rope))


def _verdict(contrast: Contrast, rope: float) -> Verdict:
    if contrast.p_holm < ALPHA:
        return "better" if contrast.delta > 0 else "worse"
    near = abs(contrast.delta) < rope
    even = contrast.even or (near and contrast.fit.within(rope, ALPHA * contrast.share))
    return "equivalent" if even else "inconclusive"
