"""How often the intervals and verdicts of the ablation table are right, by simulation of the code that makes them.

    python -m benchmarks.coverage

Accuracies of the eight arms of a 2x2x2 factorial are drawn around equal means; the design's own questions are answered by
`pipeline.stats`. A cover is the share of 95 % intervals that hold the truth, in percent; a family error is a table in which
Holm's correction lets at least one difference that is not there pass; a false "equivalent" is a true difference of exactly
the margin called equivalent. Behind ± is the Monte-Carlo standard error. Each test is simulated for what it is chosen for:
paired t for replicates with splits of their own, Welch's for seeds on one split, the corrected t for overlapping folds,
whose correlation is that of Nadeau & Bengio 2003. Rows in brackets are shown alone: worse than the goal asks, or a test
where the plan would choose another. Exit status: 0 if the goal is met (cover 94 to 96.5 %, both errors at most 5 %, each
within three standard errors), 1 if not.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.designs import Factorial
from pipeline.questions import Kind, Question
from pipeline.stats import ALPHA, PAIRED, Basis, Fit, basis, fit, holm

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]  # numbers of mean 0 and sd 1

DESIGN = Factorial(on={name: {name: 1} for name in "ABC"})
ARMS = [arm.name for arm in DESIGN.expand()]
KINDS: tuple[Kind, ...] = ("delta", "main", "interaction", "shapley")
REPLICATES = (3, 5, 10)
COVER = (0.94, 0.965)
SLACK = 3  # standard errors of the simulation
MARGIN = 2.0  # in sd of a run
UNEQUAL = (1.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0)


@dataclass(frozen=True)
class Condition:
    """How the runs of one replicate vary: their distribution, the arms' sd, the correlation of arms and of replicates."""

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
        mixed = rest * own + math.sqrt(self.arms_share) * replicate + math.sqrt(self.replicates_share) * pool
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
    return (rng.standard_normal(shape) - depth * fallen + depth * share) / math.sqrt(1 + depth**2 * share * (1 - share))


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
        basis("kfold", folds=5),
        (
            Condition("folds, correlation .2", normal, replicates_share=0.2),
            Condition("same, sd 1 to 3", normal, UNEQUAL, replicates_share=0.2),
            Condition("independent", normal, counts=False),
        ),
    ),
)


@dataclass(frozen=True)
class Row:
    """Shares of one condition at n replicates, each with its Monte-Carlo standard error."""

    test: str
    condition: str
    n: int
    counts: bool
    cover: dict[Kind, tuple[float, float]]
    family_error: tuple[float, float]
    false_equivalent: tuple[float, float]

    @property
    def good(self) -> bool:
        low, high = COVER
        covered = all(low - SLACK * error <= share <= high + SLACK * error for share, error in self.cover.values())
        errors = (self.family_error, self.false_equivalent)
        return covered and all(share <= ALPHA + SLACK * error for share, error in errors)


def measure(condition: Condition, plan: Basis, n: int, num: int, rng: np.random.Generator) -> Row:
    """`num` tables of one condition."""
    scores = condition.scores(rng, num, n)
    questions = DESIGN.questions()
    fits = [fit(scores, weights_of(question), plan) for question in questions]
    missed = [np.abs(found.delta) > found.half() for found in fits]
    cover = {}
    for kind in KINDS:
        held = np.stack([~m for m, question in zip(missed, questions, strict=True) if question.kind == kind])
        cover[kind] = share(held.mean(axis=0))
    families = dict.fromkeys(question.family for question in questions)
    wrong = []
    for family in families:
        p = [found.p for found, question in zip(fits, questions, strict=True) if question.family == family]
        wrong.append(np.asarray((holm(np.stack(p, axis=-1)) < ALPHA).any(axis=-1)))
    edge = fits[0]
    edge = Fit(edge.delta + MARGIN, edge.sd, edge.error, edge.df)
    worst = max((share(errors) for errors in wrong), key=lambda found: found[0])
    return Row(plan.test, condition.name, n, condition.counts, cover, worst, share(edge.within(MARGIN)))


def weights_of(question: Question) -> Floats:
    return np.array([question.weights.get(arm, 0.0) for arm in ARMS])


def share(found: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(mean, its standard error)"""
    return float(found.mean()), float(found.std() / math.sqrt(len(found)))


def simulate(num: int, seed: int) -> Iterator[Row]:
    rng = np.random.default_rng(seed)
    for plan, conditions in CONDITIONS:
        for condition in conditions:
            for n in REPLICATES:
                yield measure(condition, plan, n, num, rng)


def report(rows: Sequence[Row]) -> str:
    """The table, tests apart; what does not count towards the goal in brackets."""
    titles = [*(f"cover: {kind}" for kind in KINDS), "family error", 'false "equivalent"']
    lines = [f"{'test':12}{'condition':24}{'n':>3}  " + "".join(f"{title:>21}" for title in titles)]
    for row in rows:
        name = row.condition if row.counts else f"({row.condition})"
        cells = (*row.cover.values(), row.family_error, row.false_equivalent)
        text = "".join(f"{100 * mean:14.2f} ± {100 * error:4.2f}" for mean, error in cells)
        lines.append(f"{row.test:12}{name:24}{row.n:>3}  {text}{'  <- off' if row.counts and not row.good else ''}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description="Are the intervals right?")
    parser.add_argument("--tables", type=int, default=20_000, help="simulated tables a row (default: 20000)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    rows = list(simulate(given.tables, given.seed))
    print(report(rows))
    met = all(row.good for row in rows if row.counts)
    print(f"goal {'met' if met else 'MISSED'}: cover {COVER[0]:.1%} to {COVER[1]:.1%}, errors at most {ALPHA:.0%}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
