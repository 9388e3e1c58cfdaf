"""A run's metrics over time: levels, noise and slopes that one bad epoch does not move, and the
thresholds for them.
"""

import math
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.core.history import best_epoch

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rules:
    """The thresholds. They are rules of thumb: checked on made curves, not derived; "errors" are
    standard errors.

    `min_epochs` is twice `min_tail`: a tail, and as much before it to hold it against. The tail's
    slope is then a median of 6 slopes, the noise a median of 6 second differences; of fewer, chance
    alone raises flags.
    """

    min_epochs: int = 8  # of every rule that looks at a tail
    tail: float = 0.2  # share of the epochs that are the tail
    min_tail: int = 4
    noise: float = 4.0  # a rise counts from this many times the noise of an epoch
    chance_loss: float = 0.98  # of ln K: above it train loss has hardly moved
    chance_errors: float = 3.0
    train_rise: float = 0.10  # of the lowest train loss
    train_rise_nats: float = 0.02
    val_rise: float = 0.05  # of the lowest val loss
    memorized: float = 0.05  # of ln K: train loss has no way left to fall
    unhurt_errors: float = 2.0
    horizon: float = 0.10  # share of the epochs that the tail is prolonged by
    slope_errors: float = 3.0  # of the tail's slope: below it the fall may be noise
    gain: float = 0.03  # of the drop so far: a gain worth the epochs
    gap: float = 0.05
    gap_errors: float = 5.0
    short_of_best: float = 0.05  # train acc below that of the best arm
    noisy: float = 0.08  # of the lowest val loss
    early: float = 0.5  # share of the epochs
    window: float = (
        0.6  # share of the epochs that a trend is sought in where the tail is too noisy to show it
    )
    # the learning rate grows by this factor from one epoch to the next, having been as high before
    restart: float = 2.0
    lost: float = (
        0.5  # of what val acc has over chance: a run that has less in its last epochs has collapsed
    )
    dropped: float = (
        0.2  # of the highest learning rate: a fall to this within an epoch is a step down …
    )
    dropped_early: float = (
        0.3  # … and an early one before this share of the epochs, where a step schedule's first is
    )


RULES = Rules()


@dataclass(frozen=True)
class Curves:
    """A run's metrics by epoch, [E] each, all finite; `lr` is constant where it was not
    recorded.
    """

    train_loss: Values
    train_acc: Values
    val_loss: Values
    val_acc: Values
    lr: Values

    def __len__(self) -> int:
        return len(self.val_loss)

    @property
    def tail(self) -> int:
        return max(RULES.min_tail, round(RULES.tail * len(self)))

    @cached_property
    def best(self) -> int:
        """Index of the best epoch (see `core.history`)."""
        pairs = zip(self.val_acc.tolist(), self.val_loss.tolist(), strict=True)
        return best_epoch(
            [{"epoch": e, "val_acc": a, "val_loss": b} for e, (a, b) in enumerate(pairs)]
        )

    def until(self, end: int) -> "Curves":
        """The first `end` epochs."""
        return Curves(*(getattr(self, field.name)[:end] for field in fields(self)))

    @cached_property
    def settled(self) -> int:
        """How many epochs compare: those after the last warm restart do not while the learning rate
        is still high again.
        """
        low = self.lr[:-1]
        again = (self.lr[1:] >= RULES.restart * low) & (
            np.maximum.accumulate(low) >= RULES.restart * low
        )
        restarts = np.flatnonzero(again) + 1
        if not len(restarts) or self.lr[-1] < RULES.restart * self.lr[restarts[-1] - 1]:
            return len(self)
        return int(restarts[-1])

    @cached_property
    def smooth(self) -> Values:
        return smoothed(self.val_loss)

    @cached_property
    def noise(self) -> float:
        return noise(self.val_loss)


def smoothed(values: Values) -> Values:
    """Medians of 3, [E]; the last value is that of the last three epochs, so that one bad epoch is
    no rise.
    """
    inner = np.median(np.lib.stride_tricks.sliding_window_view(values, 3), axis=1)
    return np.concatenate((values[:1], inner, inner[-1:]))


def noise(values: Values) -> float:
    """Standard deviation of an epoch about its trend: the median absolute second difference of
    normal noise is 1.652 of it.

    Second differences, because a steady trend is not noise (Gasser, Sroka & Jennen-Steinmetz 1986,
    Biometrika 73).
    """
    return float(np.median(np.abs(np.diff(values, 2)))) / 1.652


def falling(values: Values, tail: int, worth: float) -> tuple[float, int]:
    """(fall per epoch, epochs it was measured over) of a trend that is clear at the end; (0, 0)
    where none is.

    The shortest stretch of epochs that could show a fall of `worth` an epoch decides: the tail
    where the noise is small, up to `Rules.window` of the epochs where it is large. A fall that has
    come to its end is not seen over so short a time.
    """
    sd, longest = noise(values), max(tail, round(RULES.window * len(values)))
    for width in range(tail, longest + 1):
        error = RULES.slope_errors * sd * math.sqrt(12 / (width * (width**2 - 1)))
        if error <= worth or width == longest:
            fall = -slope(values[-width:])
            return (fall, width) if fall >= error and fall > 0 else (0.0, 0)
    return 0.0, 0


def slope(values: Values) -> float:
    """Per epoch: the median of the slopes of all pairs (Theil 1950; Sen 1968, JASA 63)."""
    first, second = np.triu_indices(len(values), 1)
    return float(np.median((values[second] - values[first]) / (second - first)))
