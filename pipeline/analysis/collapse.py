"""Runs that fell to what guessing gives or far below their arm, and the arms that may not lead
because of lost runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.analysis.curve_numbers import RULES
from pipeline.counts import plural
from pipeline.data.taken import num_labelled
from pipeline.record.record import Run

FAR, DEVIATIONS = 0.10, 9.0
"""A run is far below its arm from both on: a share of 1, and a number of median absolute deviations
of the arm's runs.

Of normal runs with a standard deviation of 3 points at most one arm in 500 has such a run, at 3, 5
or 10 replicates. Of a metric that is no share the first is what the arm's median comes to: twice a
loss."""


Part = Literal["test", "valid"]


@dataclass(frozen=True)
class Guess:
    """What naming the most frequent class gives, and below which score a run cannot be told from
    it; shares of 1. Of most metrics but accuracy no such level is known: nothing is below it.
    """

    rate: float
    limit: float
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
            return cls(math.nan, -math.inf, is_share)
        num_pictures = num_labelled(data, part)
        error = math.sqrt(rate * (1 - rate) / num_pictures) if num_pictures else 0.0
        return cls(rate, rate + RULES.chance_errors * error)

    @property
    def known(self) -> bool:
        return not math.isnan(self.rate)


def collapsed(scores: pd.DataFrame, guess: Guess) -> dict[str, tuple[int, ...]]:
    """Arm → its replicates at chance, where not all are, and those far below the others; of
    `scores` the higher are the better.
    """
    found = {}
    for arm in scores.columns:
        known = scores[arm].dropna()
        middle = known.median()
        least = FAR if guess.is_share else abs(middle)
        far = max(least, DEVIATIONS * (known - middle).abs().median()) if len(known) > 2 else np.inf
        low = known[(known < guess.limit) | (middle - known > far)]
        if len(low) and not (known < guess.limit).all():
            found[str(arm)] = tuple(map(int, low.index))
    return found


def barred(
    runs: Mapping[str, Sequence[Run]],
    scores: pd.DataFrame,
    guess: Guess,
    planned: Mapping[str, int],
) -> dict[str, str]:
    """Arm → why it can be neither bold nor best: at chance, or with runs that were lost; arms
    without a result are left out.

    A replicate is missing where another arm has a result of it: a study that stands at fewer than
    planned bars no arm. Where an arm needs fewer than others, `planned` says how many.
    """
    ended = {
        arm: {
            run.replicate: run.status
            for run in own
            if run.status in ("complete", "diverged", "failed")
        }
        for arm, own in runs.items()
    }
    begun = set[int]().union(*ended.values())
    fell = collapsed(scores, guess)
    found = {}
    for arm, statuses in ended.items():
        if not (known := scores[arm].dropna()).size:
            continue
        counts = {
            status: list(statuses.values()).count(status) for status in ("diverged", "failed")
        }
        due = {
            replicate for replicate in begun if replicate <= planned.get(arm, replicate)
        } | statuses.keys()
        counts |= {"missing": len(due) - len(statuses), "collapsed": len(fell.get(arm, ()))}
        why = ["at chance"] if known.mean() < guess.limit else []
        why += [
            f"{count} of {plural(len(due), 'run')} {how}" for how, count in counts.items() if count
        ]
        if why:
            found[arm] = ", ".join(why)
    return found
