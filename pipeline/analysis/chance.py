"""What guessing gives, which results it explains, and which training accuracies show that a run
learned all the same: the one rule behind "at chance", "collapsed" and "not learning".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any, Literal

from pipeline.core.identity import Seeds
from pipeline.data.listing import num_kept
from pipeline.data.taken import num_labelled
from pipeline.record.record import Run
from pipeline.study.judged import Judged

GUESSING = 0.01
"""Guessing explains a result that it reaches in more than this share of cases."""

SLIGHT = 0.2
"""Of the way from guessing to all right: up to here an agreement is slight (Landis & Koch 1977,
Biometrics 33, of kappa), beyond it a run has learned something."""

ROUNDING = 1e-9  # what a mean of shares of pictures may lie beside its number of right answers

Part = Literal["test", "valid"]


@lru_cache(maxsize=4096)
def limit(num_pictures: int, rate: float, share: float = GUESSING) -> float:
    """The least share of right answers that guessing at `rate` reaches in at most `share` of cases:
    exact, of the binomial distribution. Above 1 where even all right may be guessed; `rate` itself
    where the number of pictures is not known.
    """
    from scipy import stats  # takes a second to import

    if not num_pictures:
        return rate
    return float(stats.binom.isf(share, num_pictures, rate) + 1) / num_pictures


def best_of(num_epochs: int, num_pictures: int, rate: float) -> float:
    """`limit` of the best of so many epochs: each may reach it by its share of the cases."""
    return limit(num_pictures, rate, GUESSING / max(1, num_epochs)) - ROUNDING


def learned(acc: float, num_pictures: int, rate: float) -> bool:
    """Whether so many pictures show that a network has left guessing behind, by more than a slight
    part of the way.
    """
    beyond = rate + SLIGHT * (1 - rate)
    return acc > beyond and acc >= limit(num_pictures, rate) - ROUNDING


def sizes(run: Run, data: Mapping[str, Any]) -> tuple[int, int]:
    """Train and val pictures of the run; `train_*` are taken on as many of the former as there are
    of the latter.
    """
    counts = data["counts"]
    train, val = int(counts["train"]), int(counts["valid"])
    if run.config.get("split") == "kfold" and Seeds(0, run.replicate).drawn > 0:
        val, train = (
            (train + val) // int(run.config["folds"]),
            train + val - (train + val) // int(run.config["folds"]),
        )
    if (share := float(run.config.get("train_share", 1))) < 1:
        train = run.num_train or max(num_kept(train, share), len(data["classes"]))
    return max(1, train), max(1, val)


def train_rate(data: Mapping[str, Any]) -> float:
    """What naming the most frequent class gives on the training pictures."""
    return float(data.get("most_frequent", {}).get("train") or 1 / len(data["classes"]))


def learned_by(run: Run, data: Mapping[str, Any], *, last: bool = False) -> bool:
    """Whether its accuracy on training pictures shows that the model that is judged has learned. Of
    one that was compressed after its training it shows nothing.
    """
    compress = run.config.get("final", {}).get("compress", {}).get("name", "none")
    return compress == "none" and trained_by(run, data, last=last)


def trained_by(run: Run, data: Mapping[str, Any], *, last: bool = False) -> bool:
    """Whether its accuracy on training pictures shows that the run learned: that of its best epoch,
    or of its `last`, as it is judged.
    """
    epoch = run.epochs[-1] if last and run.epochs else run.best
    num = min(sizes(run, data))
    return epoch is not None and learned(epoch["train_acc"], num, train_rate(data))


def nothing_learned(runs: Sequence[Run], data: Mapping[str, Any], judged: Judged) -> bool:
    """Whether guessing explains what these runs are judged by, and what they reached in training,
    too.
    """
    part: Part = "test" if judged.held_out else "valid"
    guess = Guess.of(data, part, judged.name, is_share=judged.is_share)
    values = [value for run in runs if (value := run.metric(judged.column)) is not None]
    last = not judged.held_out
    return guess.explains(values) and not any(learned_by(run, data, last=last) for run in runs)


@dataclass(frozen=True)
class Guess:
    """What naming the most frequent class gives, a share of 1, on so many pictures (0: not known).
    Of most metrics but accuracy no such level is known: nothing is explained by it.

    Mean recall is taken for a share of so many pictures as well, which it is where classes are
    equally frequent.
    """

    rate: float
    num_pictures: int = 0
    is_share: bool = True

    @classmethod
    def of(
        cls, data: Mapping[str, Any], part: Part, metric: str = "acc", *, is_share: bool = True
    ) -> "Guess":
        """Of a part of the recorded pictures. Earlier versions did not record its most frequent
        class.
        """
        rate = 1 / len(data["classes"])
        if metric == "acc":
            rate = data.get("most_frequent", {}).get(part) or rate
        elif metric != "balanced_acc":
            return cls(math.nan, is_share=is_share)
        return cls(rate, num_labelled(data, part))

    @property
    def known(self) -> bool:
        return not math.isnan(self.rate)

    def limit(self, num_runs: int = 1) -> float:
        """The least mean of so many runs that guessing does not explain: each of them guesses by
        itself, so that their pictures count as many times."""
        return limit(num_runs * self.num_pictures, self.rate) if self.known else -math.inf

    def explains(self, values: Sequence[float]) -> bool:
        """Whether guessing explains the mean of these scores."""
        return bool(values) and fmean(values) < self.limit(len(values)) - ROUNDING
