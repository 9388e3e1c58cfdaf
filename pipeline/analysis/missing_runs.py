"""What an ablation table lacks: planned runs without a result, arms that were not compared with the
best one.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from pipeline.analysis.stats import MIN_REPLICATES, NO_SPREAD, Basis, Contrast, Question, estimate
from pipeline.record.record import Run

NOT_RUN = "not run"
ENDS = {"stopped": "stopped early", "diverged": "diverged"}


@dataclass(frozen=True)
class Hole:
    """A planned run of an arm without a result."""

    arm: str
    replicate: int
    why: str


def holes(
    runs: Mapping[str, Sequence[Run]],
    planned: Mapping[str, int],
    untuned: Mapping[tuple[str, int], str] = MappingProxyType({}),
) -> tuple[Hole, ...]:
    """Where the table has nothing to show of a plan, arm → `planned` replicates; `untuned`: why
    some could not be begun.

    A diverged run is a result of its arm (and counted as such) as long as another run of the arm is
    complete: an arm that always diverged has no number, and is as open as one that never ran.
    """
    found = []
    for arm, arm_runs in runs.items():
        known = {run.replicate: run for run in arm_runs}
        hopeless = not any(map(has_numbers, arm_runs))
        for replicate in range(1, planned[arm] + 1):
            run = known.get(replicate)
            if run is None or (not has_numbers(run) and (run.status != "diverged" or hopeless)):
                found.append(Hole(arm, replicate, _why(run, untuned.get((arm, replicate)))))
    return tuple(found)


def last_rows(found: Sequence[Hole], num_arms: int, planned: int) -> int:
    """How many of the last replicates no arm has been run for, as where time was short; 0 where
    none was run at all.
    """
    lost = Counter(hole.replicate for hole in found if hole.why == NOT_RUN)
    rows = 0
    while rows < planned and lost[planned - rows] == num_arms:
        rows += 1
    return rows % planned


def has_numbers(run: Run) -> bool:
    return run.status == "complete" and bool(run.epochs)


def reasons(runs: Sequence[Run], untuned: str | None = None) -> str:
    """Why an arm of these runs has no result at all, in a word or two; `untuned`: why none could be
    begun.
    """
    return ", ".join(
        sorted({run.status if run.status == "failed" else _why(run) for run in runs})
    ) or _why(None, untuned)


def uncompared(
    scores: pd.DataFrame, empty: Mapping[str, str], basis: Basis, barred: Collection[str] = ()
) -> dict[str, str]:
    """Arm → why it was not compared with the best mean; `empty` names the arms without a result,
    and why. Of `scores` the higher are the better.

    The highest mean is that of `pipeline.analysis.stats.best_set`, among arms with at least 3
    results that are not `barred`; where there is none, nothing was compared and the mapping is
    empty. An arm whose every run equals that of the highest mean is not named either.
    """
    rivals = scores.loc[
        :, (scores.notna().sum() >= MIN_REPLICATES) & ~scores.columns.isin(list(barred))
    ]
    if rivals.empty:
        return {}
    top = str(rivals.mean().idxmax())
    found = dict(empty)
    for arm in scores.columns:
        if arm != top and arm not in empty:
            test = estimate(scores, Question(arm, "delta", {top: 1.0, arm: -1.0}), basis)
            if math.isnan(test.p) and not _same(test):
                found[arm] = test.reason.split(" (")[0]
    return {arm: found[arm] for arm in scores.columns if arm in found}


def _same(test: Contrast) -> bool:
    """Whether an arm equals another run by run: it shares its place, and there is nothing to
    compare.
    """
    return test.sd == 0 and abs(test.delta) <= NO_SPREAD


def cause(run: Run) -> str:
    """What a failed run ended by, and where its log is."""
    return run.error + (f"; see {run.log} in the study's folder" if run.log else "")


def _why(run: Run | None, untuned: str | None = None) -> str:
    if run is None or run.status == "complete":
        return untuned or NOT_RUN
    if run.status == "failed":
        return f"failed: {cause(run)}"
    return ENDS.get(run.status, "not finished")
