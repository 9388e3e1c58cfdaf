"""What the models of an arm confuse, counted: confusion, per-class rates, calibration, collapse.
Pure.

A split is judged once a replicate, so counts over replicates are counts of answers, not of
pictures.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from pipeline.core.finished.evidence import Judged
from pipeline.core.metrics import calibration_error

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

UNBALANCED = 1.5  # largest to smallest class, from which accuracy alone hides the small classes
COLLAPSED = (
    0.75  # of the pictures of other classes, were they all given to one class beyond its own
)


@dataclass(frozen=True)
class Tally:
    """The answers of one run. `codes` are true × num_classes + pred of the pairs that occur,
    `counts` how often.
    """

    replicate: int
    codes: Ints
    counts: Ints
    ece: float

    def confusion(self, num_classes: int) -> Ints:
        """[true, pred]"""
        dense = np.zeros(num_classes * num_classes, np.int64)
        dense[self.codes] = self.counts
        return dense.reshape(num_classes, num_classes)


def tally(judged: Judged, num_classes: int, replicate: int) -> Tally:
    """Count the answers of one run. Raises ValueError where a label is none of the classes."""
    if not len(judged.true):
        raise ValueError("no picture was judged")
    for labels in (judged.true, judged.pred):
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(f"a label is outside 0 … {num_classes - 1}")
    right = judged.pred == judged.true
    counts = np.bincount(judged.true * num_classes + judged.pred)
    codes = np.flatnonzero(counts)
    return Tally(replicate, codes, counts[codes], calibration_error(judged.pred_prob, right))


@dataclass(frozen=True)
class Confusion:
    """True and predicted class, the answers so given, their share of the true class, the replicates
    with any.
    """

    true: int
    pred: int
    count: int
    share: float
    replicates: int


@dataclass(frozen=True)
class Classes:
    """The replicates of one arm. Rates are [replicate, class]; NaN where nothing was there to be
    counted.
    """

    num_classes: int
    tallies: tuple[Tally, ...]

    @cached_property
    def confusion(self) -> Ints:
        """Summed over replicates, [true, pred]."""
        total = np.zeros((self.num_classes, self.num_classes), np.int64)
        for one in self.tallies:
            total += one.confusion(self.num_classes)
        return total

    @cached_property
    def shares(self) -> Floats:
        """Rows of `confusion` as shares of the true class; NaN for a class without pictures."""
        return _ratio(self.confusion, self.confusion.sum(1, keepdims=True))

    @cached_property
    def support(self) -> Ints:
        """Pictures of each class, [replicate, class]."""
        return self._counted[0]

    @cached_property
    def predicted(self) -> Ints:
        """Answers that named each class, [replicate, class]."""
        return self._counted[1]

    @cached_property
    def recall(self) -> Floats:
        return _ratio(self._counted[2], self.support)

    @cached_property
    def precision(self) -> Floats:
        return _ratio(self._counted[2], self.predicted)

    @cached_property
    def f1(self) -> Floats:
        """2 TP / (2 TP + FP + FN): 0, not missing, for a class that was never named."""
        return _ratio(2 * self._counted[2], self.support + self.predicted)

    @cached_property
    def accuracy(self) -> Floats:
        """[replicate]"""
        return _ratio(self._counted[2].sum(1), self.support.sum(1))

    @cached_property
    def balanced_accuracy(self) -> Floats:
        """Mean recall of the classes that have pictures, [replicate]."""
        return np.nanmean(self.recall, axis=1)

    @cached_property
    def macro_f1(self) -> Floats:
        """Mean F1 of the classes that have pictures, [replicate]."""
        return np.nanmean(np.where(self.support > 0, self.f1, np.nan), axis=1)

    @property
    def ece(self) -> Floats:
        return np.array([one.ece for one in self.tallies])

    @property
    def imbalance(self) -> float:
        """Pictures of the largest class over those of the smallest that has any."""
        present = self.support.sum(0)[self.support.sum(0) > 0]
        return float(present.max() / present.min())

    @property
    def worst(self) -> int:
        """The class of lowest mean recall; the first of equals."""
        return int(np.nanargmin(mean(self.recall)))

    @cached_property
    def favourite(self) -> tuple[int, float]:
        """The class named most often over all replicates, and its share of all answers."""
        named = self.predicted.sum(0)
        return int(named.argmax()), float(named.max() / named.sum())

    @cached_property
    def collapsed(self) -> tuple[tuple[int, int, float], ...]:
        """(replicate, class, share of the answers) of the replicates that answer little else than
        one class.

        The share is set against the class's own: (share − frequency) / (1 − frequency) above 0.75.
        """
        found = []
        for one, named, support in zip(self.tallies, self.predicted, self.support, strict=True):
            top = int(named.argmax())
            share, frequency = named[top] / named.sum(), support[top] / support.sum()
            if frequency < 1 and (share - frequency) / (1 - frequency) > COLLAPSED:
                found.append((one.replicate, top, float(share)))
        return tuple(found)

    def interval(self, label: int, rates: Floats, sizes: Ints) -> tuple[float, float]:
        """95 % Wilson interval of the mean rate of a class at the pictures of one replicate (the
        fewest of any).

        Every replicate judges the same pictures, so their sum is not that many pictures. NaN
        without any.
        """
        size, rate = int(sizes[:, label].min()), mean(rates)[label]
        return wilson(float(rate), size)

    def largest(self, limit: int = 5) -> tuple[Confusion, ...]:
        """The confusions with most answers, the most first."""
        found = []
        for true, pred in self._pairs()[:limit]:
            count, share = int(self.confusion[true, pred]), float(self.shares[true, pred])
            found.append(Confusion(true, pred, count, share, self._seen(true, pred)))
        return tuple(found)

    def most_confused(self, limit: int) -> list[int]:
        """The classes of the largest confusions, in their order; without enough of these, filled up
        with the first.
        """
        labels = dict.fromkeys(
            label for pair in self._pairs()[: self.num_classes * limit] for label in pair
        )
        return sorted(list(labels | dict.fromkeys(range(self.num_classes)))[:limit])

    def _pairs(self) -> list[tuple[int, int]]:
        """(true, pred) of every confusion, by the number of answers."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        return [divmod(code, self.num_classes) for code in order.tolist()]

    def _seen(self, true: int, pred: int) -> int:
        code = true * self.num_classes + pred
        return sum(bool(np.isin(code, one.codes)) for one in self.tallies)

    @cached_property
    def _counted(self) -> Ints:
        """[support | predicted | right, replicate, class]"""
        counted = np.zeros((3, len(self.tallies), self.num_classes), np.int64)
        for i, one in enumerate(self.tallies):
            true, pred = np.divmod(one.codes, self.num_classes)
            np.add.at(counted[0, i], true, one.counts)
            np.add.at(counted[1, i], pred, one.counts)
            np.add.at(counted[2, i], true[true == pred], one.counts[true == pred])
        return counted


def mean(rates: Floats) -> Floats:
    """Over replicates, those without the rate left out; NaN where none has it."""
    there = ~np.isnan(rates)
    return _ratio(np.where(there, rates, 0).sum(0), there.sum(0))


def wilson(rate: float, size: int) -> tuple[float, float]:
    """95 % score interval of a share `rate` of `size` pictures (Wilson 1927); NaN where there is
    none.
    """
    if not size or math.isnan(rate):
        return math.nan, math.nan
    z = float(stats.norm.ppf(0.975))
    middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
    half = z * math.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size)) / (1 + z * z / size)
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion_rows(
    arms: Mapping[str, Classes], names: Sequence[str]
) -> Iterator[dict[str, object]]:
    """One row a pair of classes that occurs in a run: arm, replicate, true, pred, count."""
    for arm, classes in arms.items():
        for one in classes.tallies:
            for code, count in zip(one.codes.tolist(), one.counts.tolist(), strict=True):
                true, pred = divmod(code, classes.num_classes)
                yield {
                    "arm": arm,
                    "replicate": one.replicate,
                    "true": names[true],
                    "pred": names[pred],
                    "count": count,
                }


def per_class_rows(
    arms: Mapping[str, Classes], names: Sequence[str]
) -> Iterator[dict[str, object]]:
    """One row an arm, replicate and class: support, predicted, recall, precision, f1 (None where
    not defined).
    """
    for arm, classes in arms.items():
        rates = {"recall": classes.recall, "precision": classes.precision, "f1": classes.f1}
        for i, one in enumerate(classes.tallies):
            for label, name in enumerate(names):
                line: dict[str, object] = {"arm": arm, "replicate": one.replicate, "class": name}
                line |= {
                    "support": int(classes.support[i, label]),
                    "predicted": int(classes.predicted[i, label]),
                }
                line |= {
                    key: None if math.isnan(rate[i, label]) else float(rate[i, label])
                    for key, rate in rates.items()
                }
                yield line


def _ratio(above: Any, below: Any) -> Floats:
    return np.divide(
        above,
        below,
        out=np.full(np.broadcast_shapes(above.shape, below.shape), np.nan),
        where=below > 0,
    )
