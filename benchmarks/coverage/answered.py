"""Replicates until the questions are answered: whole reports that stopped by what they had seen,
what they find falsely, and what stopping saves.

Every table goes through the code that judges a study look by look, but for those that are known to
hold nothing false before: of which nothing that is not there comes below 5 % at any look.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from benchmarks.coverage.rows import Bools, Floats, Row, at_most, share
from benchmarks.coverage.verdicts import ARMS, SQUARE, World, real, wrong
from pipeline.analysis.stats import ALPHA, PAIRED, Contrast, Judgement, basis, fit, judge
from pipeline.analysis.stats.looks import Walk
from pipeline.study.designs import Arms, Scheme
from pipeline.study.looks import SHARES, looks
from pipeline.study.questions import Question

TITLE = "Until answered: reports that stop by what they have seen"
NOTE = (
    "false: reports that name what is not there; false even: that call what lies at the margin "
    "equivalent; found: the largest effect is; fixed: by the maximum's one look; runs: trained, of "
    "the maximum's; sd of a run is 1"
)
TWO: Scheme = Arms(arms={name: {name: 1} if name != "r" else {} for name in "rx"})
FOUR = ARMS[4]
FOLDS = basis("kfold", held_out=False)
FOUND = ("better", "worse")
CHUNK, PART = 2000, 40  # tables at a time; of so many one is looked at for the rest
SAVED = 0.3  # of the runs, where every difference that is asked for is there


@dataclass(frozen=True)
class Case:
    """A world and the margin; `saves`: whether the runs saved are a goal. `most`: the maximum."""

    world: World
    rope: float = 0.1
    saves: bool = False
    most: int = 20
    questions: tuple[Question, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "questions", self.world.design.questions())


def _both(design: Scheme, truth: Mapping[str, float], name: str) -> Iterator[World]:
    yield World(name, design, truth)
    yield World(f"{name}, rho .3", design, truth, rho=0.3, way=PAIRED)


def _cases() -> Iterator[Case]:
    falls = {"x": -2.0, "y": -2.0, "z": -2.0}
    nothing = (("1x2", TWO), ("2x2", SQUARE), ("4 arms", FOUR))
    for name, design in nothing:
        yield from map(Case, _both(design, {}, f"{name}: nothing"))
        yield Case(World(f"{name}: nothing, folds", design, way=FOLDS))
        yield Case(World(f"{name}: nothing", design), most=100)
    yield from map(Case, _both(SQUARE, {"A": 2.0, "A + B": 2.0}, "2x2: A +2"))
    yield from map(Case, _both(FOUR, {"x": 2.0}, "4 arms: x +2"))
    yield from map(Case, _both(FOUR, {"x": 2.0, "y": 2.0}, "4 arms: two at the top"))
    yield Case(World("4 arms: nothing, sd 1 to 3", FOUR, spreads={"x": 2.0, "y": 3.0}))
    yield Case(World("1x2: x at the margin", TWO, {"x": 1.5}), rope=1.5)
    yield Case(World("4 arms: all at the margin", FOUR, dict.fromkeys("xyz", 1.5)), rope=1.5)
    yield Case(World("4 arms: nothing, margin 1.5", FOUR), rope=1.5)
    for most in (10, 20):
        for world in _both(TWO, {"x": 2.0}, "1x2: x +2"):
            yield Case(world, saves=most == 20, most=most)
        for world in _both(FOUR, falls, "4 arms: all -2"):
            yield Case(world, saves=most == 20, most=most)
    apart = {"A": 4.0, "B": -2.0, "A + B": -2.0}
    yield Case(World("2x2: A +4, B -2, both -2", SQUARE, apart), saves=True)


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """`num` tables of each case for what is false (a quarter of them where the maximum is 100), a
    fortieth for the rest.
    """
    for case in _cases():
        yield measure(case, num if case.most < 100 else -(-num // 4), rng)


def measure(case: Case, num: int, rng: np.random.Generator) -> Row:
    false, rest = np.zeros((num, 2)), list[tuple[float, ...]]()
    for start in range(0, num, CHUNK):
        tables = Tables(case, case.world.scores(rng, min(CHUNK, num - start), case.most))
        for number in np.flatnonzero(tables.at_risk()):
            found = tables.walked(int(number)).judged()
            false[start + number] = (
                wrong(case.questions, tables.arms, case.world.truth, found),
                _false_even(case, found),
            )
        rest += [_told(case, tables.walked(i)) for i in range(-(-len(tables.scores) // PART))]
    titles = ("false", "false even", "found", "fixed", "runs")
    columns = (*false.T, *np.array(rest).T)
    figures = {title: share(column) for title, column in zip(titles, columns, strict=True)}
    good = at_most(figures["false"], ALPHA)
    if len(case.questions) == 1:
        good &= at_most(figures["false even"], ALPHA)
    if case.saves:
        good &= at_most(figures["runs"], 1 - SAVED)
    return Row(case.world.way.test, case.world.name, case.most, figures, good, case.world.counts)


class Tables:
    """The tables of a case with their estimates at every look."""

    def __init__(self, case: Case, scores: Floats) -> None:
        self.case, self.scores = case, scores
        self.arms = [arm.name for arm in case.world.design.expand()]
        pairs = itertools.permutations(self.arms, 2)
        self.pairs = [Question(b, "delta", {a: 1.0, b: -1.0}) for a, b in pairs]
        self.fits = {
            (look, *question.weights.items()): self._fit(look, question)
            for question in (*case.questions, *self.pairs)
            for look in looks(case.most)
        }

    def _fit(self, look: int, question: Question) -> Floats:
        """delta, sd, error, df, p, half of the interval, whether it is even: [7, tables]."""
        weights = np.array([question.weights.get(arm, 0.0) for arm in self.arms])
        one, alpha = fit(self.scores[:, :look], weights, self.case.world.way), ALPHA * SHARES[look]
        even = one.within(self.case.rope, alpha)
        columns = (one.delta, one.sd, one.error, one.df, one.p, one.half(1 - alpha), even)
        return np.stack(np.broadcast_arrays(*columns))

    def at_risk(self) -> Bools:
        """Of which of them anything may be false at any look, of the design's questions or, where
        some of these are real, of any pair of arms: no p-value of the family is smaller than these,
        and no arm is put behind another where no question is found.
        """
        found = np.zeros(len(self.scores), bool)
        pairs = self.pairs if self.case.world.truth else ()
        for question in (*self.case.questions, *pairs):
            there = real(question, self.case.world.truth)
            for look in looks(self.case.most):
                delta, *_, p, _, even = self.fits[(look, *question.weights.items())]
                right = np.sign(delta) == np.sign(round(there, 9))
                found |= (p < ALPHA * SHARES[look]) & ~right
                found |= (even > 0) & (abs(there) >= self.case.rope)
        return found

    def walked(self, number: int) -> Walk:
        scores = pd.DataFrame(self.scores[number], columns=self.arms)
        walk = Estimated(scores, self.case.questions, self.case.rope, self.case.world.way)
        walk.tables, walk.number = self, number
        return walk.to(dict.fromkeys(self.arms, self.case.most), self.case.most)


class Estimated(Walk):
    """A walk over one of many tables, whose estimates are there already."""

    tables: Tables
    number: int

    def at(self, look: int, question: Question) -> Contrast:
        delta, sd, error, df, p, half, even = map(
            float, self.tables.fits[(look, *question.weights.items())][:, self.number]
        )
        return Contrast(
            question.name,
            question.kind,
            (0.0,) * look,
            0,
            delta,
            sd=sd,
            low=delta - half,
            high=delta + half,
            p=p,
            error=error,
            df=df,
            look=look,
            even=bool(even),
        )


def _told(case: Case, walk: Walk) -> tuple[float, ...]:
    """Whether the largest effect is found, whether by the fixed number; the runs trained."""
    sizes = [abs(real(question, case.world.truth)) for question in case.questions]
    at = int(np.argmax(sizes))
    fixed = judge(walk.scores, case.questions, case.rope, case.world.way).contrasts[at]
    found = walk.judged().contrasts[at]
    runs = sum(walk.rows.now.values()) / walk.scores.size
    return found.verdict in FOUND, fixed.verdict in FOUND, runs


def _false_even(case: Case, found: Judgement) -> bool:
    """Whether what lies at the margin, or beyond, is called equivalent."""
    return any(
        contrast.verdict == "equivalent" and abs(real(question, case.world.truth)) >= case.rope
        for question, contrast in zip(case.questions, found.contrasts, strict=True)
    )
