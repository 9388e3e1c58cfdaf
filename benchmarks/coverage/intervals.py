"""Intervals and families of one design, each test on the replicates that it is chosen for.

Accuracies of the eight arms of a 2x2x2 factorial are drawn around equal means; the design's own
questions are answered by `pipeline.analysis.stats`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.coverage.rows import Floats, Row, at_most, share, within
from pipeline.analysis.stats import ALPHA, PAIRED, Basis, Family, Fit, basis, fit, step_down
from pipeline.study.designs import Factorial
from pipeline.study.questions import Kind, Question

TITLE = "Intervals and families of a 2x2x2 factorial"
NOTE = (
    "cover: 95 % intervals that hold the truth; family error: a table in which at least one "
    "difference that is not there is found; false equivalent: a true difference of exactly the "
    "margin"
)
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]  # numbers of mean 0 and sd 1

DESIGN = Factorial(on={name: {name: 1} for name in "ABC"})
ARMS = [arm.name for arm in DESIGN.expand()]
KINDS: tuple[Kind, ...] = ("delta", "main", "interaction", "shapley")
REPLICATES = (3, 5, 10)
COVER = (0.94, 0.965)
MARGIN = 2.0  # in sd of a run
UNEQUAL = (1.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0)


@dataclass(frozen=True)
class Condition:
    """How the runs of one replicate vary: their distribution, the arms' sd, the correlation of arms
    and of replicates.
    """

    name: str
    draw: Draw
    spreads: Sequence[float] = (1.0,) * len(ARMS)
    arms_share: float = 0.0
    replicates_share: float = 0.0
    counts: bool = True  # towards the goal

    def scores(self, rng: np.random.Generator, num: int, n: int) -> Floats:
        """[num, n, arms], truth 0"""
        own = self.draw(rng, (num, n, len(ARMS)))
        replicate = self.draw(rng, (num, n, 1)) if self.arms_share else np.zeros(1)
        pool = self.draw(rng, (num, 1, len(ARMS))) if self.replicates_share else np.zeros(1)
        rest = math.sqrt(1 - self.arms_share - self.replicates_share)
        mixed = (
            rest * own
            + math.sqrt(self.arms_share) * replicate
            + math.sqrt(self.replicates_share) * pool
        )
        return mixed * np.array(self.spreads)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Gamma with its long tail to the left, as accuracies near the top have it; skewness -1."""
    return (4 - rng.gamma(4.0, 1.0, shape)) / 2


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Student with 5 degrees of freedom, excess kurtosis 6."""
    return rng.standard_t(5, shape) / math.sqrt(5 / 3)


def collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """One run in twelve falls by eight of the others' sd."""
    share, depth = 1 / 12, 8.0
    fallen = rng.random(shape) < share
    return (rng.standard_normal(shape) - depth * fallen + depth * share) / math.sqrt(
        1 + depth**2 * share * (1 - share)
    )


CONDITIONS: tuple[tuple[Basis, tuple[Condition, ...]], ...] = (
    (
        PAIRED,
        (
            Condition("normal", normal),
            Condition("skewed", skewed),
            Condition("heavy tails", heavy),
            Condition("sd 1 to 3", normal, UNEQUAL),
            Condition("correlation .5", normal, arms_share=0.5),
            Condition("correlation .9", normal, arms_share=0.9),
            Condition("skewed, sd 1 to 3", skewed, UNEQUAL, counts=False),
            Condition("1 in 12 collapses", collapsing, counts=False),
        ),
    ),
    (
        basis("official"),
        (
            Condition("normal", normal),
            Condition("skewed", skewed, counts=False),
            Condition("heavy tails", heavy, counts=False),
            Condition("sd 1 to 3", normal, UNEQUAL),
            Condition("correlation .5", normal, arms_share=0.5, counts=False),
        ),
    ),
    (
        basis("kfold", folds=5, held_out=False),
        (
            Condition("folds, correlation .2", normal, replicates_share=0.2),
            Condition("same, sd 1 to 3", normal, UNEQUAL, replicates_share=0.2),
            Condition("independent", normal, counts=False),
        ),
    ),
)


def measure(condition: Condition, plan: Basis, n: int, num: int, rng: np.random.Generator) -> Row:
    """`num` tables of one condition."""
    scores = condition.scores(rng, num, n)
    questions = DESIGN.questions()
    fits = [fit(scores, weights_of(question), plan) for question in questions]
    missed = [np.abs(found.delta) > found.half() for found in fits]
    figures = {}
    for kind in KINDS:
        held = np.stack(
            [~m for m, question in zip(missed, questions, strict=True) if question.kind == kind]
        )
        figures[f"cover: {kind}"] = share(held.mean(axis=0))
    good = all(within(cover, *COVER) for cover in figures.values())
    asked = [
        (found.p, question)
        for found, question in zip(fits, questions, strict=True)
        if question.kind != "shapley"
    ]
    family = Family.of([question for _, question in asked], ARMS)
    adjusted, _ = step_down(np.stack([p for p, _ in asked], axis=-1), np.full(num, np.nan), family)
    figures["family error"] = share(np.asarray((adjusted < ALPHA).any(axis=-1)))
    edge = fits[0]
    edge = Fit(edge.delta + MARGIN, edge.sd, edge.error, edge.df)
    figures['false "equivalent"'] = share(edge.within(MARGIN))
    good &= at_most(figures["family error"], ALPHA) and at_most(
        figures['false "equivalent"'], ALPHA
    )
    return Row(plan.test, condition.name, n, figures, good, condition.counts)


def weights_of(question: Question) -> Floats:
    return np.array([question.weights.get(arm, 0.0) for arm in ARMS])


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """`num` tables for each condition and number of replicates."""
    for plan, conditions in CONDITIONS:
        for condition in conditions:
            for n in REPLICATES:
                yield measure(condition, plan, n, num, rng)
