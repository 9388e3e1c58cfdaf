"""Whole reports: what they find falsely, whether their parts contradict each other, what they find
of what is there.

Every table goes through the code that judges a study's (`pipeline.analysis.stats`); only its
estimates are computed many at a time.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.coverage.rows import Bools, Floats, Row, at_most, share
from pipeline.analysis.stats import (
    ALPHA,
    PAIRED,
    Basis,
    Contrast,
    Fit,
    Judgement,
    Rivals,
    basis,
    conclude,
    fit,
)
from pipeline.study.designs import (
    AddOneIn,
    Arms,
    Both,
    Crossed,
    Factorial,
    Fractional,
    Ladder,
    LeaveOneOut,
    Scheme,
)
from pipeline.study.questions import Question

TITLE = "Whole reports: one family, and which arm is the best"
NOTE = (
    "false: reports that name any difference, effect or best arm that is not there, or leave a "
    "best arm out; contradiction: reports of which one part denies another; found: the largest "
    "effect is; best: a best arm is named; sd of a run is 1"
)
REPLICATES = (3, 5, 10)
ROPE = 0.1
Truth = Mapping[str, float]  # arm → its true level, 0 unless named


def _factors(count: int) -> dict[str, dict[str, int]]:
    return {name: {name: 1} for name in "ABCDEF"[:count]}


ARMS: dict[int, Scheme] = {
    k: Arms(arms={name: {name: 1} if name != "r" else {} for name in "rxyzuv"[:k]}) for k in (4, 6)
}
SQUARE, CUBE = Factorial(on=_factors(2)), Factorial(on=_factors(3))
THREE_BY_TWO, THREE_BY_THREE = (
    Crossed(levels={name: {f"{name}{i}": {name: i} for i in range(n)} for name, n in sizes.items()})
    for sizes in ({"A": 3, "B": 2}, {"A": 3, "B": 3})
)
TEST, OFFICIAL = basis("resplit"), basis("official")


@dataclass(frozen=True)
class World:
    """Runs of a design's arms around `truth`, of sd `spreads` (1 unless named), correlated by `rho`
    within replicates.
    """

    name: str
    design: Scheme
    truth: Truth = field(default_factory=dict)
    spreads: Truth = field(default_factory=dict)
    rho: float = 0.0
    way: Basis = TEST
    counts: bool = True

    def scores(self, rng: np.random.Generator, num: int, n: int) -> Floats:
        arms = [arm.name for arm in self.design.expand()]
        own, shared = rng.standard_normal((num, n, len(arms))), rng.standard_normal((num, n, 1))
        weight = np.sqrt(abs(self.rho))
        mixed = (
            np.sqrt(1 - abs(self.rho)) * own + weight * shared
            if self.rho >= 0
            else _repelled(own, -self.rho)
        )
        return mixed * [self.spreads.get(arm, 1.0) for arm in arms] + [
            self.truth.get(arm, 0.0) for arm in arms
        ]


def _repelled(own: Floats, rho: float) -> Floats:
    """Columns of correlation -rho each with each."""
    num = own.shape[-1]
    return np.asarray(own @ np.linalg.cholesky((1 + rho) * np.eye(num) - rho).T)


TOPS = {"x": 5.0, "y": 5.0}
A_ALONE = {"A": 2.0, "A + B": 2.0}
WORLDS = (
    World("4 arms: nothing", ARMS[4]),
    World("4 arms: nothing, rho -.1", ARMS[4], rho=-0.1, counts=False),
    World("4 arms: nothing, rho .5", ARMS[4], rho=0.5),
    World("4 arms: nothing, sd 1 to 3", ARMS[4], spreads={"x": 2.0, "y": 3.0}),
    World("4 arms: x +2", ARMS[4], {"x": 2.0}),
    World("4 arms: x +2, rho .3", ARMS[4], {"x": 2.0}, rho=0.3),
    World("4 arms: two at the top", ARMS[4], TOPS),
    World("4 arms: same, sd 1 to 3", ARMS[4], TOPS, {"x": 3.0, "z": 2.0}),
    World("6 arms: nothing", ARMS[6]),
    World("6 arms: three at the top", ARMS[6], {**TOPS, "z": 5.0}),
    World("2x2: nothing", SQUARE),
    World("2x2: A +2", SQUARE, A_ALONE),
    World("2x2: A +5", SQUARE, {"A": 5.0, "A + B": 5.0}),
    World("2x2x2: nothing", CUBE),
    World("ladder: nothing", Ladder(on=_factors(3))),
    World("ladder: last +2", Ladder(on=_factors(3)), {"A + B + C": 2.0}),
    World("both of 2: nothing", Both(on=_factors(2))),
    World("both of 4: nothing", Both(on=_factors(4))),
    World("leave one out: nothing", LeaveOneOut(off=_factors(3))),
    World("leave one out: all needed", LeaveOneOut(off=_factors(3)), {"A + B + C": 2.0}),
    World("add one in: nothing", AddOneIn(on=_factors(3))),
    World("fraction III: nothing", Fractional(on=_factors(5), resolution="III")),
    World("2x2, val judges: nothing", SQUARE, rho=0.3, way=PAIRED),
    World("2x2, val judges: A +2", SQUARE, A_ALONE, rho=0.3, way=PAIRED),
    World("4 arms: x +2, if it were paired", ARMS[4], {"x": 2.0}, way=PAIRED, counts=False),
    World("2x2: A +2, if it were paired", SQUARE, A_ALONE, way=PAIRED, counts=False),
    World("3x2: nothing", THREE_BY_TWO),
    World("3x2: one level +2", THREE_BY_TWO, {"A1": 2.0, "A1 + B1": 2.0}),
    World("3x3: nothing", THREE_BY_THREE),
    World("3x3, val judges: nothing", THREE_BY_THREE, rho=0.3, way=PAIRED),
)


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """A quarter of `num` tables of each world and number of replicates: they are judged one by
    one.
    """
    for world in WORLDS:
        for n in REPLICATES:
            yield measure(world, n, -(-num // 4), rng)


def measure(world: World, n: int, num: int, rng: np.random.Generator) -> Row:
    tables = Tables(world, world.scores(rng, num, n))
    effect = tables.largest()
    seen: list[tuple[bool, bool, bool, bool]] = []
    for number in range(num):
        found = tables.judged(number)
        verdict = found.contrasts[effect].verdict if effect is not None else ""
        false = wrong(tables.questions, tables.arms, tables.truth, found)
        denied = contradicts(tables.questions, found)
        seen.append((false, denied, verdict in ("better", "worse"), len(found.leading) == 1))
    columns: list[Bools] = list(np.array(seen).T)
    figures = {
        "false": share(columns[0]),
        "contradiction": share(columns[1]),
        "best": share(columns[3]),
    }
    if effect is not None:
        figures["found"] = share(columns[2])
    good = at_most(figures["false"], ALPHA) and not columns[1].any()
    return Row(world.way.test, world.name, n, figures, good, world.counts)


class Tables:
    """The tables of a world with their estimates."""

    def __init__(self, world: World, scores: Floats) -> None:
        self.truth, self.way, self.n = world.truth, world.way, scores.shape[1]
        self.questions = world.design.questions()
        self.arms = [arm.name for arm in world.design.expand()]
        self.means = scores.mean(axis=1)
        self.fits = [self._fit(scores, question.weights) for question in self.questions]
        self.p = [found.p for found in self.fits]
        self.pairs = {
            (a, b): self._fit(scores, {a: 1.0, b: -1.0}).p
            for a, b in itertools.combinations(self.arms, 2)
        }
        self.compares = any(question.against for question in self.questions)

    def _fit(self, scores: Floats, weights: Mapping[str, float]) -> Fit:
        return fit(scores, np.array([weights.get(arm, 0.0) for arm in self.arms]), self.way)

    def judged(self, number: int) -> Judgement:
        """One table as the report judges it."""
        raw = [
            Contrast(
                question.name,
                question.kind,
                (0.0,) * self.n,
                0,
                float(found.delta[number]),
                sd=float(found.sd[number]),
                p=float(p[number]),
                error=float(found.error[number]),
                df=float(np.broadcast_to(found.df, p.shape)[number]),
            )
            for question, found, p in zip(self.questions, self.fits, self.p, strict=True)
        ]
        return conclude(
            raw, self.questions, ROPE, self.arms, self._rivals(number) if self.compares else None
        )

    def _rivals(self, number: int) -> Rivals:
        top = self.arms[int(self.means[number].argmax())]
        against = {
            a if b == top else b: float(p[number])
            for (a, b), p in self.pairs.items()
            if top in (a, b)
        }
        return Rivals(top, against)

    def largest(self) -> int | None:
        """The first difference or step that is really there; None where nothing is."""
        sizes = [
            abs(real(question, self.truth)) if question.against else 0.0
            for question in self.questions
        ]
        return int(np.argmax(sizes)) if max(sizes) else None


def real(question: Question, truth: Truth) -> float:
    """What a contrast truly is."""
    return sum(weight * truth.get(arm, 0.0) for arm, weight in question.weights.items())


def wrong(
    questions: Sequence[Question], arms: Sequence[str], truth: Truth, found: Judgement
) -> bool:
    """Whether a report names what is not there, or puts an arm behind that none is above."""
    for question, contrast in zip(questions, found.contrasts, strict=True):
        there = real(question, truth)
        if contrast.verdict in ("better", "worse") and (
            abs(there) < 1e-9 or (there > 0) != (contrast.delta > 0)
        ):
            return True
    level = [truth.get(arm, 0.0) for arm in arms]
    behind = [level[i] for i, arm in enumerate(arms) if found.leading and arm not in found.leading]
    best = [level[i] for i, arm in enumerate(arms) if found.leading == (arm,)]
    tied = bool(best) and level.count(best[0]) > 1
    return tied or any(low >= max(level) - 1e-9 for low in behind)


def contradicts(questions: Sequence[Question], found: Judgement) -> bool:
    """Whether one part of a report denies another: the best arm and a verdict, leading arms and a
    verdict, two verdicts.
    """
    told: dict[tuple[str, str], str] = {}
    for question, contrast in zip(questions, found.contrasts, strict=True):
        if question.against:
            told[question_arm(question), question.against] = contrast.verdict
    over = {(a, b) for (a, b), v in told.items() if v == "better"} | {
        (b, a) for (a, b), v in told.items() if v == "worse"
    }
    told |= {(b, a): {"better": "worse", "worse": "better"}.get(v, v) for (a, b), v in told.items()}
    if any(worse in found.leading for _, worse in over):
        return True
    if len(found.leading) == 1 and any(
        v != "better" for (a, _), v in told.items() if a == found.leading[0]
    ):
        return True
    chains = [(a, d) for (a, b), (c, d) in itertools.product(over, over) if b == c]
    return any(told.get(pair, "better") != "better" for pair in chains)


def question_arm(question: Question) -> str:
    """The arm of a difference or a step that is not the one it is measured from."""
    return next(arm for arm in question.weights if arm != question.against)
