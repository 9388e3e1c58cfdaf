"""Which pictures look mislabelled: confident learning on answers of runs that did not learn from
them, and copies with two labels.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analysis.chance import learned
from pipeline.data.listing import UNKNOWN

CLEAR = 0.05  # of the usual confidence in a label: below it the label is all but ruled out
CONFUSED = 0.2  # of a class's pictures: where more are taken for one other, it is the classes

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Suspect:
    """A picture whose label the runs doubt. `row`: of the data; `p_given`, `p_believed`: the mean
    probabilities of its own class and of the believed one; `runs`: how many answered."""

    row: int
    given: int
    believed: int
    p_given: float
    p_believed: float
    runs: int


@dataclass(frozen=True)
class Side:
    """What was found in a part of the pictures, the most doubtful first, of which the first
    `num_clear` are below CLEAR. num: its pictures with a label; answered: those that a run answered
    which had not learned from them; acc: the share of these that the mean answer got right; guess:
    that of their most frequent class; learned: whether `acc` is more than guessing gives, else
    nothing is listed; confused: (given, believed) → the share of a class's pictures, where so many
    are suspects that the classes are rather alike than the labels wrong.
    """

    num: int
    answered: int = 0
    acc: float = 0.0
    guess: float = 0.0
    learned: bool = False
    suspects: tuple[Suspect, ...] = ()
    num_clear: int = 0
    confused: Mapping[tuple[int, int], float] = field(default_factory=dict)


def thresholds(probs: Floats, labels: Ints) -> Floats:
    """[K]: the mean probability of a class over the pictures labelled so, infinite where there are
    none: what is usual confidence in it (`confident` has the source)."""
    num, num_classes = probs.shape
    counts = np.bincount(labels, minlength=num_classes)
    own = probs[np.arange(num), labels].astype(np.float64)
    sums = np.bincount(labels, weights=own, minlength=num_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def confident(probs: Floats, labels: Ints) -> Ints:
    """int64 [N]: the class that each picture counts for in the confident joint, -1 = none. Where it
    is not the picture's own, the picture lies off the diagonal and is a suspect.

    probs: [N, K], rows sum to 1, of pictures that were not learned from; labels: int64 [N].

    Northcutt, Jiang, Chuang 2021, "Confident learning" (arXiv 1911.00068), equations 1 and 2: class
    j's threshold is the mean probability of j over the pictures labelled j; a picture counts for
    the likeliest of the classes whose thresholds it reaches. A class that nothing is labelled has
    no threshold, so that nothing counts for it.
    """
    reached = np.where(probs >= thresholds(probs, labels), probs, -1.0)
    return np.where(reached.max(1) >= 0, reached.argmax(1), -1)


def doubted(probs: Floats, labels: Ints) -> tuple[Ints, Ints, Floats]:
    """(rows of the suspects, the most doubtful first; the class [S] that each is believed to be;
    the probability of its label as a share of what is usual for that class [S]).

    Suspects are those of `confident` that are likelier in another class than in their own, and
    pictures whose label is all but ruled out (a share below CLEAR) for a likelier class, though
    that does not reach its threshold: where networks are sure thresholds are near 1, and half of
    what is right does not reach them. The order is by that share; of equals the first row.
    """
    usual, here = thresholds(probs, labels), np.arange(len(labels))
    shares = probs[here, labels] / np.maximum(usual[labels], np.finfo(np.float64).tiny)
    counted, likeliest = confident(probs, labels), probs.argmax(1)
    # a label that misses its own threshold may still be likelier than a class that reaches its
    off = (counted >= 0) & (probs[here, counted] > probs[here, labels])
    rows = np.flatnonzero(off | ((shares < CLEAR) & (likeliest != labels)))
    rows = rows[np.argsort(shares[rows], kind="stable")]
    return rows, np.where(off, counted, likeliest)[rows], shares[rows]


def side(rows: Ints, probs: Floats, runs: Ints, labels: Ints) -> Side:
    """What is found among `rows`, pictures of the data with a label.

    probs: [N, K], the mean over the runs that did not learn from a picture; runs: int64 [N], how
    many these are; labels: int64 [N]; all of the whole data.
    """
    seen = rows[runs[rows] > 0]
    if not len(seen):
        return Side(len(rows))
    given, answers = labels[seen], probs[seen]
    counts = np.bincount(given, minlength=probs.shape[1])
    acc = float((answers.argmax(1) == given).mean())
    guess = float(counts.max() / len(seen))
    if not learned(acc, len(seen), guess):
        return Side(len(rows), len(seen), acc, guess)
    found, believed, shares = doubted(answers, given)
    suspects = tuple(
        Suspect(
            int(seen[at]),
            int(given[at]),
            int(other),
            float(answers[at, given[at]]),
            float(answers[at, other]),
            int(runs[seen[at]]),
        )
        for at, other in zip(found.tolist(), believed.tolist(), strict=True)
    )
    pairs, nums = np.unique(np.stack([given[found], believed]), axis=1, return_counts=True)
    often = {
        (int(a), int(b)): float(num / counts[a])
        for (a, b), num in zip(pairs.T.tolist(), nums.tolist(), strict=True)
    }
    confused = {pair: share for pair, share in often.items() if share > CONFUSED}
    clear = int((shares < CLEAR).sum())
    return Side(len(rows), len(seen), acc, guess, True, suspects, clear, confused)


def alike(images: npt.NDArray[np.uint8]) -> Ints:
    """int64 [N]: the first row that holds the same picture, pixel by pixel, as networks see them.

    images: uint8 [N, C, S, S].
    """
    first: dict[bytes, int] = {}
    digests = (
        hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        for image in images
    )
    return np.array([first.setdefault(one, row) for row, one in enumerate(digests)], np.int64)


def contradicting(same: Ints, labels: Sequence[int]) -> list[tuple[int, ...]]:
    """Rows of pictures that are `alike`, and have two labels or more; of each such group all that
    have a label.
    """
    groups: dict[int, list[int]] = {}
    for row, (picture, label) in enumerate(zip(same.tolist(), labels, strict=True)):
        if label != UNKNOWN:
            groups.setdefault(picture, []).append(row)
    return [tuple(rows) for rows in groups.values() if len({labels[row] for row in rows}) > 1]
