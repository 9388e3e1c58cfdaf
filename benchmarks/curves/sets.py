"""Recorded learning curves as a function (configuration, epoch) → validation accuracy, seconds.

A hundred extra-trees whose leaves are a few recorded runs each: what a new configuration does is
the mean of the real curves that the trees put beside it, with the wiggles of the nearest one. Upon
that comes the noise between two runs of one configuration, as the second seeds have it; what a
configuration is worth in truth is its curve's end without either. Leaves of one run would make the
luckiest run the goal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor

from pipeline.core.history import level
from pipeline.frozen import Scalar
from pipeline.search_spaces.hw3 import SMALL
from pipeline.search_spaces.lenet_tuning import SPACE as LENET
from pipeline.study.drawn import at
from pipeline.study.ranges import Choice, Float, Int, Range
from pipeline.study.space import Space

HERE = Path(__file__).parent
NUM_TREES, MIN_LEAF, SMOOTHED, NUM_SAMPLES = 100, 3, 5, 2000
Floats = np.ndarray[Any, np.dtype[Any]]
Knobs = Mapping[str, Scalar]


def names() -> list[str]:
    """The sets that are recorded."""
    return sorted(path.stem for path in HERE.glob("*.parquet"))


@dataclass(frozen=True)
class Curve:
    """A run: val_acc after each epoch, seconds up to each, the epoch at which it ends (earlier than
    the last where it diverges), and what it is worth in truth.
    """

    values: Floats
    seconds: Floats
    end: int
    truth: float

    def level(self, epoch: int) -> float:
        """What the product takes a trial to be worth at an epoch."""
        return level([{"val_acc": value} for value in self.values[:epoch]], epoch)


class CurveSet:
    """A recorded set. `y_star` is the best that is known, `y_median` that of a random
    configuration, `full_cost` the mean seconds of a full run.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.space: Space = LENET if name.endswith("lenet") else SMALL
        frame = pd.read_parquet(HERE / f"{name}.parquet")
        first = frame[(frame["seed"] == 0) & (frame["knobs"] != "{}")].sort_values("trial")
        self.num_epochs = max(map(len, first["val_acc"]))
        self.points = [json.loads(text) for text in first["knobs"]]
        self.ends = np.array([len(values) for values in first["val_acc"]])
        self.values = np.stack([_padded(values, self.num_epochs) for values in first["val_acc"]])
        self.pace = np.array([np.median(seconds) for seconds in first["seconds"]])
        self.smooth = np.apply_along_axis(_smoothed, 1, self.values)
        self.noise = self._noise(frame)
        features = np.stack([self._features(point) for point in self.points])
        self._trees = ExtraTreesRegressor(
            NUM_TREES, max_features=0.7, min_samples_leaf=MIN_LEAF, random_state=0
        )
        self._trees.fit(features, self.smooth)
        self._leaves = self._trees.apply(features)

    def curve(self, knobs: Knobs, chance: np.random.Generator) -> Curve:
        """A run of a configuration."""
        weights = self._weights(knobs)
        diverged = self.ends < self.num_epochs
        if weights[diverged].sum() > 0.5:
            like = int(np.argmax(np.where(diverged, weights, 0)))
            end, pace = int(self.ends[like]), self.pace[like]
            return Curve(
                self.values[like], float(pace) * np.arange(1, self.num_epochs + 1), end, 0.0
            )
        weights = np.where(diverged, 0, weights)
        weights /= weights.sum()
        nearest = int(weights.argmax())
        mean = weights @ self.smooth
        wiggle = self.values[nearest] - self.smooth[nearest]
        own = chance.normal(0, self.noise) * np.minimum(1, np.arange(1, self.num_epochs + 1) / 3)
        pace = float(weights @ self.pace)
        seconds = pace * np.arange(1, self.num_epochs + 1)
        return Curve(mean + wiggle + own, seconds, self.num_epochs, float(mean[-1]))

    @cached_property
    def reference(self) -> tuple[float, float, float]:
        """(y_star, y_median, full_cost), over random configurations and the recorded ones."""
        chance = np.random.default_rng(12345)
        points = [*self.points, *(self.sample(chance) for _ in range(NUM_SAMPLES))]
        runs = [self.curve(point, chance) for point in points]
        drawn = runs[len(self.points) :]
        full = [run.seconds[-1] for run in drawn if run.end == self.num_epochs]
        truths = [run.truth for run in drawn]
        return max(run.truth for run in runs), float(np.median(truths)), float(np.mean(full))

    def regret(self, truth: float) -> float:
        """0: the best that is known, 1: a random run."""
        best, median, _ = self.reference
        return float(np.clip((best - truth) / (best - median), 0, 1))

    def sample(self, chance: np.random.Generator) -> dict[str, Scalar]:
        """A random point of the space."""
        return at(self.space, lambda _: float(chance.random()))

    def _noise(self, frame: pd.DataFrame) -> float:
        """Standard deviation of a run's end between two seeds of one configuration, by the median
        of their differences: a collapse of one of them is no noise.
        """
        ends = frame[frame["status"] == "complete"].assign(
            end=lambda rows: [np.mean(values[-SMOOTHED:]) for values in rows["val_acc"]]
        )
        pairs = ends.pivot_table(index="trial", columns="seed", values="end").dropna()
        return float((pairs[1] - pairs[0]).abs().median() * 1.4826 / np.sqrt(2))

    def _weights(self, knobs: Knobs) -> Floats:
        # what `apply` of the forest does, without its 15 ms for setting up threads for one point
        row = self._features(knobs)[None].astype(np.float32)
        leaf = np.array([tree.tree_.apply(row)[0] for tree in self._trees.estimators_])
        beside = self._leaves == leaf
        return (beside / beside.sum(axis=0)).mean(axis=1)

    def _features(self, knobs: Knobs) -> Floats:
        """Every knob in [0, 1], options as indicators; -1 where a knob is not in force."""
        active = self.space.active(knobs)
        found: list[float] = []
        for name, knob in _ranges(self.space).items():
            value = active[name][1] if name in active else None
            if isinstance(knob, Choice):
                found += [-1.0 if value is None else float(value == one) for one in knob.options]
            elif isinstance(knob, Float | Int):
                low, high = float(knob.low), float(knob.high)
                number = -1.0 if value is None else float(value)
                if value is not None and knob.log:
                    low, high, number = np.log(low), np.log(high), np.log(number)
                found.append(-1.0 if value is None else (number - low) / (high - low))
        return np.array(found)


def _ranges(space: Space) -> dict[str, Range]:
    """Every range by the name that `Space.active` gives it."""
    found: dict[str, Range] = dict(space.knobs)
    for part, variants in space.branches.items():
        found[f"{part}.name"] = Choice(options=tuple(variants))
        for name, fields in variants.items():
            found |= {f"{part}.{name}.{field}": knob for field, knob in fields.items()}
    return found


def _padded(values: Any, length: int) -> Floats:
    found = np.asarray(values, dtype=float)
    return np.concatenate([found, np.full(length - len(found), found[-1] if len(found) else 0.0)])


def _smoothed(values: Floats) -> Floats:
    padded = np.pad(values, SMOOTHED // 2, mode="edge")
    return np.convolve(padded, np.ones(SMOOTHED) / SMOOTHED, mode="valid")
