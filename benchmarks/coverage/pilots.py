"""What the pilot promises: three runs of the reference, and the differences that the ablation is
then said to see.

Many pilots are drawn, and the product says what each promises. What the ablation finds is simulated
apart: one arm of four differs, and the four are judged by the product's test with Holm's
correction.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.coverage.intervals import Draw, heavy, normal, skewed
from benchmarks.coverage.rows import SLACK, Floats, Row, share
from pipeline.analysis.pilot import CONFIDENCE, detectable
from pipeline.analysis.stats import ALPHA, POWER, Basis, Family, basis, fit, step_down, upper_sd
from pipeline.study.load import load_study
from pipeline.study.study import PILOT_RUNS, Study

TITLE = "The pilot's promise"
NOTE = (
    "kept: pilots at whose promised size the power is at least 80 %; mean power: that at the "
    "promised sizes"
)
ARMS = 4
REPLICATES = (3, 5, 10, 40)
SD = 0.02  # of a run
GRID = np.linspace(1.0, 16.0, 61)  # true differences, in standard errors of a difference
CONDITIONS: tuple[tuple[str, Draw, float, Sequence[float], bool], ...] = (
    ("normal", normal, 0.0, (1.0,) * ARMS, True),
    ("correlation .2", normal, 0.2, (1.0,) * ARMS, True),
    ("skewed", skewed, 0.0, (1.0,) * ARMS, True),
    ("heavy tails", heavy, 0.0, (1.0,) * ARMS, True),
    ("the others' sd 1.5", normal, 0.0, (1.0, 1.5, 1.5, 1.5), False),
)


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """`num` pilots and `num` ablations for each condition and number of replicates."""
    study = load_study("hw3").override({"baseline.split": "resplit"})
    way = basis("resplit")
    for name, draw, shared, spreads, counts in CONDITIONS:
        sds = SD * draw(rng, (num, PILOT_RUNS)).std(axis=1, ddof=1)
        for n in REPLICATES:
            least = _found(study, draw, shared, spreads, n, num // 4, way, rng)
            promised = _promised(study, n) * sds
            power = np.interp(promised, *least)
            figures = {"kept": share(power >= POWER), "mean power": share(power)}
            good = figures["kept"][0] >= POWER - SLACK * figures["kept"][1]
            yield Row(way.test, name, n, figures, good, counts)


def _promised(study: Study, n: int) -> float:
    """What the product promises `n` replicates to see, by the sd of the pilot."""
    planned = study.override({"ablation.replicates": n})
    return float(
        detectable(planned, upper_sd(1.0, PILOT_RUNS, CONFIDENCE), "test_acc")[0]["corrected"]
    )


def _found(
    study: Study,
    draw: Draw,
    shared: float,
    spreads: Sequence[float],
    n: int,
    num: int,
    way: Basis,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """(true differences between the reference and one of three arms, how often each is found); the
    others equal it.
    """
    own, split = draw(rng, (num, n, ARMS)), draw(rng, (num, n, 1))
    scores = SD * (np.sqrt(1 - shared) * own + np.sqrt(shared) * split) * np.array(spreads)
    arms = [arm.name for arm, _ in study.arms()]
    questions = [
        question for question in study.ablation.design.questions() if question.kind != "shapley"
    ]
    weights = [np.array([question.weights.get(arm, 0.0) for arm in arms]) for question in questions]
    family = Family.of(questions, arms)
    sizes = GRID * SD * np.sqrt(2 / n)
    found = []
    for size in sizes:
        moved = scores + size * np.eye(ARMS)[1]
        p = np.stack([fit(moved, w, way).p for w in weights], axis=-1)
        adjusted, _ = step_down(p, np.full(num, np.nan), family)
        found.append((adjusted[:, 0] < ALPHA).mean())
    return sizes, np.maximum.accumulate(found)
