"""The findings of a whole report as one family: at most 5 % of reports name a difference, an effect
or a best arm falsely.

Step-down of Holm 1979 with the counts of Shaffer 1986 (J. Amer. Statist. Assoc. 81): a p-value is
held against 5 % over as many contrasts as can all be zero once so many are not. Of a 2x2's six that
is 6, then 3, not 5: where one effect is real, at most three of the others are nothing. Contrasts
that are multiples of one another count once.

That one arm is the best of all is one claim more, with the largest p-value of the highest mean
against each other arm: to choose the highest mean by the same data needs no correction beyond
(Gutmann & Maymin 1987, Ann. Statist. 15). As that p-value is no smaller than that of any difference
shown, an arm found best is found better in every one of them.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.analysis.stats.student import Floats
from pipeline.study.questions import Question

# contrasts of which all sets are gone through (2x2x2); beyond, as many can be zero as are left
LARGEST = 13
TINY = 1e-6
Pair = frozenset[str]
Row = tuple[float, ...]


@dataclass(frozen=True)
class Family:
    """`columns`: of each question the number of its contrast, among those that are no multiples of
    one another.

    By the number of contrasts found so far: `alone` is how many others can be zero at once,
    `beside` how many claims can then be false while it is open which arm is the best. `apart` are
    the pairs of arms that no question compares.
    """

    columns: tuple[int, ...]
    alone: tuple[int, ...]
    beside: tuple[int, ...]
    apart: frozenset[Pair]

    @property
    def size(self) -> int:
        """Claims that the first p-value is held against."""
        return self.beside[0]

    @classmethod
    def of(cls, questions: Sequence[Question], arms: Sequence[str]) -> "Family":
        """Of the questions that are tested; `arms` are those that could be the best, if any
        question compares two.
        """
        arms = arms if any(map(pair_of, questions)) else ()
        names = list(
            dict.fromkeys((*arms, *(arm for question in questions for arm in question.weights)))
        )
        rows = [
            _direction([question.weights.get(arm, 0.0) for arm in names]) for question in questions
        ]
        distinct = tuple(dict.fromkeys(rows))
        columns = tuple(distinct.index(row) for row in rows)
        asked = {
            pair: column
            for question, column in zip(questions, columns, strict=True)
            if (pair := pair_of(question))
        }
        apart = frozenset(map(frozenset, itertools.combinations(arms, 2))) - asked.keys()
        alone, beside = _counts(distinct, frozenset(_shields(asked, apart)))
        return cls(columns, alone, beside, apart)


def pair_of(question: Question) -> Pair | None:
    """The two arms that a question compares; None where it asks for something else."""
    return frozenset(question.weights) if sorted(question.weights.values()) == [-1.0, 1.0] else None


def step_down(p_values: Floats, best: Floats, family: Family) -> tuple[Floats, Floats]:
    """p-values [..., M] of the questions and [...] of the best arm, adjusted; NaN: not tested, for
    all tables alike.
    """
    num = len(family.alone) - 1
    p = np.full((*p_values.shape[:-1], num + 1), np.nan)
    p[..., list(family.columns)] = p_values
    p[..., num] = best
    left = np.where(np.isnan(p), np.inf, p)
    adjusted, floor = np.full_like(p, np.nan), np.zeros(p.shape[:-1])
    counts = np.array([family.beside, family.alone])
    for _ in range(num + 1):
        at = left.argmin(axis=-1)[..., None]  # of equal ones the best arm comes last
        settled = np.isinf(left[..., num]).astype(int)
        found = np.isinf(left[..., :num]).sum(axis=-1)
        smallest = np.take_along_axis(left, at, axis=-1)[..., 0]
        floor = np.maximum(floor, np.minimum(np.maximum(counts[settled, found], 1) * smallest, 1.0))
        before = np.take_along_axis(adjusted, at, axis=-1)[..., 0]
        np.put_along_axis(
            adjusted, at, np.where(np.isinf(smallest), before, floor)[..., None], axis=-1
        )
        np.put_along_axis(left, at, np.inf, axis=-1)
    return adjusted[..., list(family.columns)], adjusted[..., num]


def _direction(weights: Sequence[float]) -> Row:
    """The same for weights that are multiples of one another."""
    length = math.hypot(*weights)
    sign = next(math.copysign(1.0, weight) for weight in weights if abs(weight) > TINY)
    return tuple(round(sign * weight / length, 9) + 0.0 for weight in weights)


def _shields(asked: dict[Pair, int], apart: frozenset[Pair]) -> set[frozenset[int]]:
    """For each pair of arms that no question compares: the contrasts that must be real for one to
    be called best falsely.

    It is so called only where every question finds it better than what it is compared with, and
    then so is its equal.
    """
    beside: dict[str, set[str]] = {}
    for a, b in map(sorted, asked):
        beside.setdefault(a, set()).add(b)
        beside.setdefault(b, set()).add(a)
    found = set()
    for arm, equal in itertools.chain.from_iterable(
        itertools.permutations(sorted(pair)) for pair in apart
    ):
        pairs = (frozenset((side, other)) for other in beside.get(arm, ()) for side in (arm, equal))
        found.add(frozenset(asked[pair] for pair in pairs if pair in asked))
    return found


@lru_cache(maxsize=256)
def _counts(
    rows: tuple[Row, ...], shields: frozenset[frozenset[int]]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`alone` and `beside` of a family of these contrasts."""
    num = len(rows)
    if not num:
        return (0,), (int(bool(shields)),)
    if num > LARGEST:
        alone = [num - found for found in range(num + 1)]
        most = max((num - len(shield) for shield in shields), default=-1)
        beside = [max(free, 1 + min(free, most)) for free in alone]
        return tuple(alone), tuple(beside)
    zero = _together(np.array(rows).reshape(num, -1))
    sizes = zero.sum(axis=1)
    free = [sizes[~zero[:, sorted(shield)].any(axis=1)] for shield in shields]
    exposed = np.unique(np.concatenate(free)) if free else np.array([-1])
    alone = [int(sizes[sizes <= num - found].max()) for found in range(num + 1)]
    beside = [
        max(count, 1 + int(exposed[exposed <= num - r].max())) for r, count in enumerate(alone)
    ]
    return tuple(alone), tuple(beside)


def _together(rows: Floats) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Every set of contrasts that can be exactly those that are zero: all that follow from one of
    their subsets.
    """
    num = len(rows)
    masks = (np.arange(2**num)[:, None] >> np.arange(num) & 1).astype(bool)
    found = []
    for part in np.array_split(masks, max(1, len(masks) // 1024)):
        _, values, axes = np.linalg.svd(part[:, :, None] * rows, full_matrices=False)
        shadow = ((axes * (values > TINY)[:, :, None]) @ rows.T) ** 2
        found.append(shadow.sum(axis=1) > 1 - TINY)
    return np.unique(np.concatenate(found), axis=0)
