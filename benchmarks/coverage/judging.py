"""Verdicts without test labels: two equal arms whose val accuracy wobbles unequally from epoch to
epoch.

The curves go through the runs of a record and what the report judges them by.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.coverage.rows import Floats, Row, at_most, share
from pipeline.analysis.scores import score
from pipeline.analysis.stats import ALPHA, NO_SPREAD, basis, fit
from pipeline.record.record import Run

TITLE = "Judged without test labels"
NOTE = (
    "false verdict: better or worse, of two equal arms; by the last epoch, as the report does, "
    "or by the one val chose"
)
EPOCHS, PICTURES = 20, 350  # of a plateau; of the val part
WOBBLES = ((0.005, 0.005), (0.015, 0.005), (0.03, 0.01))
REPLICATES = (3, 5, 10)
LIMIT = ALPHA + 0.005


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """A tenth of `num` tables for each condition: every one has hundreds of epochs."""
    way = basis("resplit", held_out=False)
    for wobble in WOBBLES:
        for n in REPLICATES:
            runs = [
                [[_run(curve) for curve in arms] for arms in table]
                for table in _plateaus(num // 10, n, wobble, rng)
            ]
            for name, judge in (("last epoch", _last), ("best epoch", _best)):
                judged = np.array(
                    [[[judge(run) for run in arms] for arms in table] for table in runs]
                )
                found = fit(judged, np.array([1.0, -1.0]), way)
                with np.errstate(
                    divide="ignore", invalid="ignore"
                ):  # without spread nothing is tested
                    wrong = share((found.error > NO_SPREAD) & (found.p < ALPHA))
                condition = f"wobble {100 * wobble[0]:g} and {100 * wobble[1]:g} points"
                good = at_most(wrong, LIMIT)
                yield Row(name, condition, n, {"false verdict": wrong}, good, counts=judge is _last)


def _plateaus(num: int, n: int, wobble: tuple[float, float], rng: np.random.Generator) -> Floats:
    """[num, n, 2 arms, epochs], val accuracies around .7: the split's own luck, the run's, the
    epoch's.
    """
    shape = (num, n, 2, EPOCHS)
    split = 0.7 + 0.01 * rng.standard_normal((num, n, 1, 1))
    level = (
        split
        + 0.005 * rng.standard_normal((num, n, 2, 1))
        + np.array(wobble)[:, None] * rng.standard_normal(shape)
    )
    return np.round(level * PICTURES) / PICTURES


def _run(curve: Floats) -> Run:
    epochs = [
        {"epoch": i, "val_acc": acc, "val_loss": 1 - acc} for i, acc in enumerate(curve.tolist(), 1)
    ]
    return Run("", "arm", {}, status="complete", epochs=epochs)


def _last(run: Run) -> float:
    return score(run, "last_val_acc")


def _best(run: Run) -> float:
    assert run.best is not None
    return run.best["val_acc"]
