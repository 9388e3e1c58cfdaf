"""Real small learners trained again and again on made-up pictures: how runs of a design depend on
each other is not assumed.

Two ridge classifiers, each run with a random fifth of its inputs left out (its seed), are compared
on Gaussian classes. The truth is theirs, from hundreds of runs: on this pool of pictures, or on
fresh pools where folds judge.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.coverage.rows import Floats, Row, share, within
from pipeline.analysis.stats import PAIRED, Basis, basis, fit

TITLE = "Designs, by real small learners"
NOTE = (
    "cover: 95 % intervals that hold what the scope names; width: of the interval, in hundredths "
    "of an accuracy; correlation: of the arms of a replicate, over many replicates"
)
INPUTS, CLASSES, POOL, TEST, FOLDS = 20, 4, 100, 400, 5
RIDGE, KEPT = (5.0, 60.0), 0.8
TRUTH, FRESH, TABLES = 400, 150, 8  # runs behind a truth, pools behind one, tables of a world
LEAST, MOST = 0.93, 0.985  # cover; the correction for folds may be on the safe side
Split = Literal["resplit", "official", "kfold"]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """A way to draw pictures, and the draws of one study: its pool, its official split, its test
    set.
    """

    rng: np.random.Generator
    means: Floats
    mix: Floats
    pool: tuple[Floats, Rows]
    test: tuple[Floats, Rows]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "World":
        means = 0.55 * rng.standard_normal((CLASSES, INPUTS))
        mix = rng.standard_normal((INPUTS, INPUTS)) / np.sqrt(INPUTS)
        return cls(
            rng, means, mix, _pictures(rng, means, mix, POOL), _pictures(rng, means, mix, TEST)
        )

    def splits(self, split: Split, num: int) -> tuple[Rows, Rows]:
        """Rows of the pool to train on and to validate on, of `num` replicates."""
        size = POOL // FOLDS
        if split == "official":
            order = np.tile(np.arange(POOL), (num, 1))
        elif split == "resplit":
            order = self.rng.permuted(np.tile(np.arange(POOL), (num, 1)), axis=1)
        else:
            rounds = self.rng.permuted(np.tile(np.arange(POOL), (-(-num // FOLDS), 1)), axis=1)
            order = np.concatenate(
                [np.roll(rounds[:, None], -size * fold, axis=2) for fold in range(FOLDS)], axis=1
            )
            order = order.reshape(-1, POOL)[:num]
        return order[:, size:], order[:, :size]

    def runs(self, split: Split, num: int, *, held_out: bool) -> Floats:
        """Accuracies [num, 2] of as many replicates."""
        x, y = self.pool
        train, val = self.splits(split, num)
        judged = (
            np.broadcast_to(self.test[0], (num, TEST, INPUTS)),
            np.broadcast_to(self.test[1], (num, TEST)),
        )
        return self._accuracies((x[train], y[train]), judged if held_out else (x[val], y[val]))

    def fresh(self, num: int) -> Floats:
        """Accuracies [num, 2] of runs on pools of their own."""
        pools = [
            _pictures(self.rng, self.means, self.mix, POOL * 4 // FOLDS + TEST) for _ in range(num)
        ]
        x, y = (np.stack(part) for part in zip(*pools, strict=True))
        return self._accuracies((x[:, TEST:], y[:, TEST:]), (x[:, :TEST], y[:, :TEST]))

    def _accuracies(self, train: tuple[Floats, Rows], judged: tuple[Floats, Rows]) -> Floats:
        return np.stack([self._accuracy(train, judged, ridge) for ridge in RIDGE], axis=-1)

    def _accuracy(
        self, train: tuple[Floats, Rows], judged: tuple[Floats, Rows], ridge: float
    ) -> Floats:
        (x, y), (tested, true) = train, judged
        kept = self.rng.random((len(x), 1, INPUTS)) < KEPT
        middle = x.mean(axis=1, keepdims=True)
        x = (x - middle) * kept
        goal = np.eye(CLASSES)[y]
        weights = np.linalg.solve(
            x.transpose(0, 2, 1) @ x + ridge * np.eye(INPUTS),
            x.transpose(0, 2, 1) @ (goal - goal.mean(axis=1, keepdims=True)),
        )
        named = ((tested - middle) * kept @ weights + goal.mean(axis=1, keepdims=True)).argmax(
            axis=-1
        )
        return np.asarray((named == true).mean(axis=-1))


def _pictures(
    rng: np.random.Generator, means: Floats, mix: Floats, num: int
) -> tuple[Floats, Rows]:
    y = rng.integers(0, CLASSES, num)
    return means[y] + rng.standard_normal((num, INPUTS)) @ mix, y


@dataclass(frozen=True)
class Condition:
    """A test on replicates that come about by `split` and are judged on the test set or on their
    own val pictures.
    """

    name: str
    split: Split
    held_out: bool
    way: Basis
    counts: bool = True


def _designs() -> Iterator[Condition]:
    splits: tuple[Split, ...] = ("resplit", "official", "kfold")
    for held_out, judge in ((True, "test"), (False, "val")):
        for split in splits:
            way = basis(split, folds=FOLDS, held_out=held_out)
            yield Condition(f"{split}, judged on {judge}", split, held_out, way)
    yield Condition("resplit, judged on test", "resplit", True, PAIRED, counts=False)
    yield Condition(
        "kfold, judged on test",
        "kfold",
        True,
        basis("kfold", folds=FOLDS, held_out=False),
        counts=False,
    )
    yield Condition("kfold, judged on val", "kfold", False, PAIRED, counts=False)


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """Of every design as many worlds as make `num` / 10 tables."""
    for condition in _designs():
        for n in (3, 5, 10):
            yield measure(condition, n, max(10, num // (10 * TABLES)), rng)


def measure(condition: Condition, n: int, num_worlds: int, rng: np.random.Generator) -> Row:
    covers, widths, correlations = [], [], []
    for _ in range(num_worlds):
        world = World.drawn(rng)
        many = world.runs(condition.split, TRUTH, held_out=condition.held_out)
        other_pools = condition.split == "kfold" and not condition.held_out
        truth = np.diff((world.fresh(FRESH) if other_pools else many).mean(axis=0)).item()
        tables = np.stack(
            [world.runs(condition.split, n, held_out=condition.held_out) for _ in range(TABLES)]
        )
        found = fit(tables, np.array([-1.0, 1.0]), condition.way)
        covers.append(float(np.mean(np.abs(found.delta - truth) <= found.half())))
        widths.append(float(np.nanmean(2 * found.half())))  # no width where a table has no spread
        correlations.append(float(np.corrcoef(many[:, 0], many[:, 1]).min()))
    figures = {
        "cover": share(np.array(covers)),
        "width": share(np.array(widths)),
        "correlation": share(np.array(correlations)),
    }
    good = within(figures["cover"], LEAST, 1.0 if condition.way.ratio else MOST)
    return Row(condition.way.test, condition.name, n, figures, good, condition.counts)
