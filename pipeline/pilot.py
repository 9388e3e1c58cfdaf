"""The pilot: the first replicates of the reference, and what their spread says that the ablation will be able to find."""

import math
from collections.abc import Mapping
from statistics import median, stdev
from typing import Any

from pipeline.errors import printable
from pipeline.record import Record, Run
from pipeline.study import Study

PILOT_RUNS = 3


def due(study: Study, record: Record) -> dict[str, Any] | None:
    """What the pilot found, once its runs are complete and where it has not been written; else None.

    Nothing where results were there before the plan was, or where one of its runs has no result.
    """
    if record.pilot or not record.plans or record.plans[0]["after_results"]:
        return None
    runs = _runs(study, record)
    if study.ablation.replicates < PILOT_RUNS or len(runs) < PILOT_RUNS:
        return None
    metric = "test_acc" if all(run.test_acc is not None for run in runs) else "last_val_acc"
    values = [value for run in runs if (value := run.metric(metric)) is not None]
    if len(values) < PILOT_RUNS:
        return None
    sd = stdev(values)
    seconds, _ = seconds_per_epoch(study, record)
    assert seconds is not None
    return {
        "arm": runs[0].arm,
        "metric": metric,
        "runs": len(values),
        "sd": sd,
        "sd_range": spread_range(sd, len(values)),
        "seconds_per_epoch": round(seconds, 4),
        "replicates": study.ablation.replicates,
        "assumes": "independent arms of equal spread: sd of a difference = sqrt(2) sd of a run",
        "detectable": detectable(study, sd, metric),
    }


def detectable(study: Study, sd: float, metric: str) -> list[dict[str, Any]]:
    """For each family of questions the smallest true effect that its test finds with 80 % power, of one and of all in it.

    `sd` is that of a run of any arm, and arms are taken as independent: an estimate of weights w has the sd of a run times
    |w|, which is sqrt(2) for a difference of two arms. Shared splits correlate arms and make it smaller.
    """
    from pipeline.stats import ALPHA, MIN_REPLICATES, basis, noncentrality  # scipy takes a second to import

    base, n = study.baseline, study.ablation.replicates
    if n < MIN_REPLICATES:
        return []
    way = basis(base.split, folds=base.folds, held_out=metric == "test_acc")
    questions = study.ablation.design.questions()
    found = []
    for family in dict.fromkeys(question.family for question in questions):
        asked = [question for question in questions if question.family == family]
        length = max(math.hypot(*question.weights.values()) for question in asked)
        num_arms = max(len(question.weights) for question in asked)
        df = n - 1 if way.test != "Welch's t" else num_arms * (n - 1)
        error = sd * length * math.sqrt(1 / n + way.ratio)
        alone, corrected = (noncentrality(df, alpha) * error for alpha in (ALPHA, ALPHA / len(asked)))
        found.append({"family": family, "size": len(asked), "alone": alone, "corrected": corrected})
    return found


def spread_range(sd: float, n: int) -> list[float]:
    """The 95 % interval of a standard deviation estimated from `n` normal values (chi square)."""
    from scipy import stats  # takes a second to import

    return [sd * math.sqrt((n - 1) / float(stats.chi2.ppf(share, n - 1))) for share in (0.975, 0.025)]


def seconds_per_epoch(study: Study, record: Record) -> tuple[float | None, str]:
    """(median seconds of an epoch, of which runs): of the arms where some are recorded, else of the trials."""
    arms = [run for runs in record.arms().values() for run in runs]
    for runs, name in ((arms, "arms so far"), (record.trials(), "trials")):
        seconds = [epoch["seconds"] for run in runs for epoch in run.epochs]
        if seconds:
            only = {run.arm for run in runs if run.epochs}
            return median(seconds), f"pilot, {study.arms()[0][0].name}" if only == {study.arms()[0][0].name} else name
    return None, ""


def sentence(pilot: Mapping[str, Any]) -> str:
    """One line: the spread, what can be found, how long the rest takes."""
    low, high = (100 * value for value in pilot["sd_range"])
    arm = printable(pilot["arm"], 60)
    text = f"pilot: sd {100 * pilot['sd']:.2g} points over {pilot['runs']} runs of {arm}"
    text += f" (95 % interval {low:.2g} to {high:.2g})"
    for first in pilot["detectable"][:1]:
        text += (
            f"; with {pilot['replicates']} replicates a true difference of {100 * first['alone']:.2g} points or more will "
            "be found with at least 80 % power"
        )
        if first["size"] > 1:
            text += f", of {100 * first['corrected']:.2g} after correction over {first['size']}"
        text += f" ({pilot['assumes']})"
    ahead = pilot["expected"]
    if ahead["epochs_left"]:
        text += f"; about {duration(ahead['hours'] * 3600)} for the {ahead['epochs_left']} epochs left of the arms"
    return text


def duration(seconds: float) -> str:
    """`45 s`, `20 min`, `3.5 h`"""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _runs(study: Study, record: Record) -> list[Run]:
    """The complete ones among the reference's first replicates."""
    reference = study.arms()[0][0].name
    runs = record.arms().get(reference, [])
    return [run for run in runs if run.replicate <= PILOT_RUNS and run.status == "complete" and run.epochs]
