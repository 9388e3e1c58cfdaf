"""Runs that fell to what guessing gives or far below their arm, and the arms that may not lead
because of lost runs.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from pipeline.analysis.chance import Guess, learned, learned_by
from pipeline.analysis.curve_numbers import RULES
from pipeline.counts import plural
from pipeline.record.record import Run

FAR, DEVIATIONS = 0.10, 9.0
"""A run is far below its arm from both on: a share of 1, and a number of median absolute deviations
of the arm's runs.

Of normal runs with a standard deviation of 3 points at most one arm in 500 has such a run, at 3, 5
or 10 replicates. Of a metric that is no share the first is what the arm's median comes to: twice a
loss. Of a share it is at least what few pictures explain: 3 standard errors of a difference."""

AT_CHANCE, UNTOLD = "at chance", "not told from guessing"

Trained = Mapping[str, Mapping[int, bool]]
"""Arm → complete replicate → whether its training accuracy shows that it learned."""


def trained(
    runs: Mapping[str, Sequence[Run]], data: Mapping[str, Any], *, last: bool
) -> dict[str, dict[int, bool]]:
    """Of complete runs, at the epoch that they are judged at: the best one, or the `last`."""
    return {
        arm: {run.replicate: learned_by(run, data, last=last) for run in own}
        for arm, own in runs.items()
    }


def collapsed(
    scores: pd.DataFrame, guess: Guess, trained: Trained | None = None
) -> dict[str, tuple[int, ...]]:
    """Arm → its replicates at chance, where another of its runs learned, and those far below the
    others; of `scores` the higher are the better.

    A run that is `trained` is no collapsed one, whatever it scores on pictures that may be few or
    of another kind.
    """
    found = {}
    for arm in scores.columns:
        known = {int(number): float(value) for number, value in scores[arm].dropna().items()}
        own = (trained or {}).get(str(arm), {})
        middle, top = median(known.values() or [0.0]), max(known.values(), default=0.0)
        alive = guess.known and learned(top, guess.num_pictures, guess.rate)
        spread = median([abs(value - middle) for value in known.values()] or [0.0])
        far = max(_far(middle, guess), DEVIATIONS * spread) if len(known) > 2 else math.inf
        low = tuple(
            number
            for number, value in known.items()
            if not own.get(number) and ((alive and guess.explains([value])) or middle - value > far)
        )
        if low and len(low) < len(known):
            found[str(arm)] = low
    return found


def _far(middle: float, guess: Guess) -> float:
    """How far below the middle of its arm no run lies by chance. A picture is added on either side,
    so that a middle of 1 has an error, too (Agresti & Coull 1998)."""
    if not guess.is_share:
        return abs(middle)
    if not (num := guess.num_pictures):
        return FAR
    level = (middle * num + 1) / (num + 2)
    return max(FAR, RULES.chance_errors * math.sqrt(2 * level * (1 - level) / num))


def barred(
    runs: Mapping[str, Sequence[Run]],
    scores: pd.DataFrame,
    guess: Guess,
    planned: Mapping[str, int],
    trained: Trained,
) -> dict[str, str]:
    """Arm → why it can be neither bold nor best: at chance, not told from guessing though it
    learned, or with runs that were lost; arms without a result are left out.

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
    fell = collapsed(scores, guess, trained)
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
        untold = guess.explains(known.tolist())
        why = [UNTOLD if any(trained.get(arm, {}).values()) else AT_CHANCE] if untold else []
        why += [
            f"{count} of {plural(len(due), 'run')} {how}" for how, count in counts.items() if count
        ]
        if why:
            found[arm] = ", ".join(why)
    return found
