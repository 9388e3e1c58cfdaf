"""What is still to come of the arms: their replicates, and how long these take."""

from statistics import median
from typing import Any

from pipeline.analysis.pilot import seconds_per_epoch
from pipeline.engine.replicates import as_planned
from pipeline.record.record import Record
from pipeline.study.looks import Rows, looks
from pipeline.study.study import Study


def rows(record: Record, study: Study) -> Rows:
    """How many replicates each arm is to have, as far as the results go that there are."""
    if not study.ablation.until_answered:
        return as_planned(record, study)
    if record.begun is None:
        arms, at = [arm.name for arm, _ in study.all_arms()], looks(study.ablation.replicates)
        ends = (at[0], at[-1]) if at else (study.ablation.replicates,) * 2
        return Rows(dict.fromkeys(arms, ends[0]), dict.fromkeys(arms, ends[1]))
    from pipeline.analysis.by_looks import Looked  # pandas and scipy take a second to import
    from pipeline.analysis.scores import Scored

    looked = Looked.of(Scored.of(record, study))
    assert looked is not None
    return looked.rows


def expected(study: Study, record: Record, workers: int) -> dict[str, Any]:
    """Hours of training still to come for the arms and their searches, at most; `hours` is None
    where nothing was measured.
    """
    seconds, source = seconds_per_epoch(study, record)
    runs, most = record.arms(), rows(record, study).most
    left, spent, reference = 0, 0.0, study.arms()[0][1]
    for arm, config in study.all_arms():
        own = runs.get(arm.name, [])
        done = {run.replicate: len(run.epochs) if run.unfinished else config.epochs for run in own}
        missing = sum(config.epochs - done.get(r, 0) for r in range(1, most[arm.name] + 1))
        known = [epoch["seconds"] for run in own for epoch in run.epochs]
        left += missing
        # an epoch of a part of the reference's pictures, or members, takes that part of its time
        part = config.train_share / reference.train_share * config.members / reference.members
        spent += missing * (median(known) if known else part * (seconds or 0.0))
    tuning = _tuning_left(study, record)
    left, spent = left + tuning, spent + tuning * (seconds or 0.0)
    if seconds is None:
        return {"epochs_left": left, "hours": None}
    pace = {"seconds_per_epoch": round(seconds, 4), "measured_on": source, "workers": workers}
    return {"epochs_left": left, "hours": round(spent / workers / 3600, 5), **pace}


def _tuning_left(study: Study, record: Record) -> int:
    """Epochs that the arms' searches are expected to take yet; one is over once a run has begun
    with what it chose.
    """
    ladder, runs = study.search.ladder, record.arms()
    left = 0.0
    for target in study.targets():
        if not any(target.serves in (0, run.replicate) for run in runs.get(target.arm, ())):
            done = sum(len(run.epochs) for run in record.trials(target.name))
            left += max(target.num_trials * ladder.expected(target.config.epochs) - done, 0)
    return round(left)
