"""The pilot: the first replicates of the reference, and what their spread says that the ablation
will be able to find.
"""

import functools
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import median, stdev
from typing import Any

from pipeline.analysis.chance import nothing_learned
from pipeline.counts import duration, plural
from pipeline.errors import printable
from pipeline.record.events import Pilot
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged
from pipeline.study.looks import LOOKS, SHARES, last_look
from pipeline.study.questions import Question
from pipeline.study.study import PILOT_RUNS, Study

CONFIDENCE = 0.85
"""One-sided, that runs spread no more than is planned for: four of five pilots keep their word,
also of skewed runs.
"""
MOST = 1000  # replicates
STEPS = (5, 3, 2, 1)


def due(study: Study, record: Record, ahead: Callable[[], dict[str, Any]]) -> Pilot | None:
    """What the pilot found, once its runs are complete and where it has not been written; else
    None.

    Nothing where results were there before the plan was, or where one of its runs has no result.
    """
    if record.pilot or not record.plans or record.plans[0].after_results:
        return None
    runs = _runs(study, record)
    if _used(study) < PILOT_RUNS or len(runs) < PILOT_RUNS:
        return None
    tested = all(run.test_acc is not None for run in runs)
    metric = Judged.of(study.baseline, held_out=tested).column
    values = [value for run in runs if (value := run.metric(metric)) is not None]
    if len(values) < PILOT_RUNS:
        return None
    from pipeline.analysis.stats import upper_sd  # scipy takes a second to import

    sd = stdev(values)
    upper = upper_sd(sd, len(values), CONFIDENCE)
    seconds, _ = seconds_per_epoch(study, record)
    assert seconds is not None
    return Pilot(
        arm=runs[0].arm,
        metric=metric,
        runs=len(values),
        sd=sd,
        sd_upper=upper,
        confidence=CONFIDENCE,
        seconds_per_epoch=round(seconds, 4),
        replicates=_used(study),
        detectable=detectable(study, upper, metric),
        replicates_for=replicates_for(study, upper, metric),
        expected=ahead(),
    )


def detectable(study: Study, sd: float, metric: str) -> list[dict[str, Any]]:
    """For each group of questions the smallest true effect that its test finds with 80 % power,
    alone and among all.

    `sd` is that of a run of any arm, and arms are taken as independent: an estimate of weights w
    has the sd of a run times
    |w|, which is sqrt(2) for a difference of two arms. Shared splits correlate arms and make it
    smaller.
    """
    from pipeline.analysis.stats import ALPHA, MIN_REPLICATES  # scipy takes a second to import

    n = _used(study)
    if n < MIN_REPLICATES:
        return []
    found = []
    for family, asked in _families(study).items():
        size = _size(study)
        alone, corrected = (
            _smallest(study, asked, n, metric, alpha) * sd for alpha in (ALPHA, ALPHA / size)
        )
        found.append({"family": family, "size": size, "alone": alone, "corrected": corrected})
    return found


def replicates_for(study: Study, sd: float, metric: str) -> list[dict[str, Any]]:
    """How many replicates find about half and about a quarter of what the planned ones do, in the
    first family.

    `replicates` is None where more than 1,000 would be needed.
    """
    from pipeline.analysis.stats import ALPHA, MIN_REPLICATES  # scipy takes a second to import

    n, asked = _used(study), next(iter(_families(study).values()), [])
    if n < MIN_REPLICATES or not asked or not sd:
        return []
    seen = _smallest(study, asked, n, metric, ALPHA / _size(study)) * sd

    def found(replicates: int, size: float) -> bool:
        return _smallest(study, asked, replicates, metric, ALPHA / _size(study)) * sd <= size

    numbers = LOOKS if study.ablation.until_answered else range(MOST + 1)
    wanted = []
    for size in (_round(seen / 2), _round(seen / 4)):
        enough, begin = found(MOST, size), numbers.index(n)
        number = (
            numbers[bisect_left(numbers, True, lo=begin, key=lambda many: found(many, size))]
            if enough
            else None
        )
        wanted.append({"size": size, "replicates": number})
    return wanted


def _used(study: Study) -> int:
    """The replicates that count at most."""
    most = study.ablation.replicates
    return last_look(most) if study.ablation.until_answered else most


def _families(study: Study) -> dict[str, list[Question]]:
    questions = [
        question for question in study.ablation.design.questions() if question.kind != "shapley"
    ]  # not tested
    names = dict.fromkeys(question.family for question in questions)
    return {name: [question for question in questions if question.family == name] for name in names}


def _size(study: Study) -> int:
    """How many tests the report corrects for."""
    from pipeline.analysis.stats import Family  # scipy takes a second to import

    asked = [question for questions in _families(study).values() for question in questions]
    return Family.of(asked, [arm.name for arm, _ in study.arms()]).size


def _smallest(study: Study, asked: Sequence[Question], n: int, metric: str, alpha: float) -> float:
    """The effect that `n` replicates find with 80 % power, in sd of a run; of the question that
    takes most. Where they are a look, by that one alone.
    """
    from pipeline.analysis.stats import (
        basis,
        noncentrality,
        planned_df,
    )  # scipy takes a second to import

    way = basis(
        study.baseline.split, folds=study.baseline.folds, held_out=metric.startswith("test_")
    )
    weights = [tuple(question.weights.values()) for question in asked]
    alpha *= SHARES[n] if study.ablation.until_answered else 1.0
    return max(
        noncentrality(planned_df(way.test, n, w), alpha)
        * math.hypot(*w)
        * math.sqrt(1 / n + way.ratio)
        for w in set(weights)
    )


def _round(size: float) -> float:
    """The largest of 1, 2, 3, 5, 10, 20, … (points, or tenths of them) that is no larger."""
    power = math.floor(math.log10(size))
    return next(
        round(step * 10.0**power, 9) for step in STEPS if step * 10.0**power <= size * (1 + 1e-9)
    )


def seconds_per_epoch(study: Study, record: Record) -> tuple[float | None, str]:
    """(median seconds of an epoch, of which runs): of the arms where some are recorded, else of the
    trials.
    """
    arms = [run for runs in record.arms().values() for run in runs]
    for runs, name in ((arms, "arms so far"), (record.trials(), "trials")):
        seconds = [epoch["seconds"] for run in runs for epoch in run.epochs]
        if seconds:
            only = {run.arm for run in runs if run.epochs}
            return median(seconds), f"pilot, {study.arms()[0][0].name}" if only == {
                study.arms()[0][0].name
            } else name
    return None, ""


def said(pilot: Pilot, record: Record) -> str:
    """What the record's pilot found, in words."""
    return sentence(pilot, _judged(pilot, record), blind=is_blind(pilot, record))


def is_blind(pilot: Pilot, record: Record) -> bool:
    """Whether its runs learned nothing, so that their spread is that of guesses."""
    own = record.arms().get(pilot.arm, [])
    runs = [run for run in own if run.replicate <= pilot.runs and run.status == "complete"]
    return nothing_learned(runs, record.data, _judged(pilot, record))


def _judged(pilot: Pilot, record: Record) -> Judged:
    return Judged.of(record.study.baseline, held_out=pilot.metric.startswith("test_"))


def sentence(pilot: Pilot, judged: Judged, *, blind: bool = False) -> str:
    """In words for a reader: what can be found, how many replicates to use, from what; how long the
    rest takes. `blind`: its runs learned nothing, so that their spread is that of guesses.
    """
    arm, n = printable(pilot.arm, 60), pilot.replicates
    sized = functools.partial(_sized, judged)
    runs = f"{plural(pilot.runs, 'run')} of {arm} have sd {sized(pilot.sd)}"
    texts = []
    if blind:
        texts.append(
            f"guessing explains {plural(pilot.runs, 'run')} of {arm}: what "
            f"{plural(n, 'replicate')} can see is not known"
        )
    elif not pilot.sd:
        texts.append(
            f"{plural(pilot.runs, 'run')} of {arm} have the same value: what "
            f"{plural(n, 'replicate')} can see is not known"
        )
    for first in pilot.detectable[:1] if pilot.sd and not blind else ():
        over = f" after correction over {first['size']}" if first["size"] > 1 else ""
        if pilot.sd_upper is not None:
            least = _up(first["corrected"])
            possible = least < 1 or not judged.is_share
            seen = f"differences of {sized(least)} or more" if possible else "no difference"
            texts.append(f"with {plural(n, 'replicate')} you can see {seen}")
            for wanted in pilot.replicates_for:
                number = (
                    f"{wanted['replicates']:,}" if wanted["replicates"] else f"more than {MOST:,}"
                )
                texts[0] += f"; for {sized(wanted['size'])} use {number}"
            texts.append(f"To see is to find in 80 % of studies{over}")
            texts.append(
                f"{runs}; so few tell little, and up to {_points(judged, pilot.sd_upper)} is "
                "allowed for"
            )
        else:  # a version that took the sd of three runs for the truth
            texts.append(runs)
            texts.append(
                f"If that were the truth, {plural(n, 'replicate')} would find a difference of "
                f"{sized(first['corrected'])} with 80 % power{over}"
            )
    texts = texts or [runs]
    ahead = pilot.expected
    if ahead["epochs_left"]:
        texts.append(
            f"About {duration(ahead['hours'] * 3600)} of training alone, at the pace so far, for "
            f"the {plural(ahead['epochs_left'], 'epoch')} left of the arms"
        )
    return f"pilot: {'. '.join(texts)}."


def _points(judged: Judged, share: float) -> str:
    return f"{float(f'{judged.scale * share:.2g}'):g}"


def _sized(judged: Judged, share: float) -> str:
    """`1 point`, `2.5 points`; `0.025` of what is no share."""
    size = _points(judged, share)
    return f"{size} point{'s' * (size != '1')}" if judged.is_share else size


def _up(share: float) -> float:
    """The next larger one with the two digits that are shown: rounded down it would promise more
    than was found.
    """
    unit = 10.0 ** (math.floor(math.log10(share)) - 1) if share > 0 else 1.0
    return math.ceil(share / unit - 1e-9) * unit


def _runs(study: Study, record: Record) -> list[Run]:
    """The complete ones among the reference's first replicates."""
    reference = study.arms()[0][0].name
    runs = record.arms().get(reference, [])
    return [
        run
        for run in runs
        if run.replicate <= PILOT_RUNS and run.status == "complete" and run.epochs
    ]
