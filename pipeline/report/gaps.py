"""What an ablation table lacks: planned runs without a result, arms that were not compared with the best one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.record import Run
from pipeline.stats import MIN_REPLICATES, Basis, Question, estimate

ENDS = {"stopped": "stopped early", "diverged": "diverged"}


@dataclass(frozen=True)
class Hole:
    """A planned run of an arm without a result."""

    arm: str
    replicate: int
    why: str


def holes(runs: Mapping[str, Sequence[Run]], planned: int) -> tuple[Hole, ...]:
    """Where the table has nothing to show of a plan of `planned` replicates.

    A diverged run is a result of its arm (and counted as such) as long as another run of the arm is complete: an arm that
    always diverged has no number, and is as open as one that never ran.
    """
    found = []
    for arm, arm_runs in runs.items():
        known = {run.replicate: run for run in arm_runs}
        hopeless = not any(map(has_numbers, arm_runs))
        for replicate in range(1, planned + 1):
            run = known.get(replicate)
            if run is None or (not has_numbers(run) and (run.status != "diverged" or hopeless)):
                found.append(Hole(arm, replicate, _why(run)))
    return tuple(found)


def has_numbers(run: Run) -> bool:
    return run.status == "complete" and bool(run.epochs)


def reasons(runs: Sequence[Run]) -> str:
    """Why an arm of these runs has no result at all, in a word or two."""
    return ", ".join(sorted({run.status if run.status == "failed" else _why(run) for run in runs})) or "not run"


def uncompared(scores: pd.DataFrame, empty: Mapping[str, str], basis: Basis) -> dict[str, str]:
    """Arm → why it was not compared with the highest mean; `empty` names the arms without a result, and why.

    The highest mean is that of `pipeline.stats.best_set`, among arms with at least 3 results; where there is none, nothing
    was compared and the mapping is empty.
    """
    rivals = scores.loc[:, scores.notna().sum() >= MIN_REPLICATES]
    if rivals.empty:
        return {}
    top = str(rivals.mean().idxmax())
    found = dict(empty)
    for arm in scores.columns:
        if arm != top and arm not in empty:
            test = estimate(scores, Question(arm, "delta", {top: 1.0, arm: -1.0}), basis)
            if math.isnan(test.p):
                found[arm] = test.reason.split(" (")[0]
    return {arm: found[arm] for arm in scores.columns if arm in found}


def _why(run: Run | None) -> str:
    if run is None or run.status == "complete":
        return "not run"
    if run.status == "failed":
        return f"failed: {run.error}"
    return ENDS.get(run.status, "not finished")
