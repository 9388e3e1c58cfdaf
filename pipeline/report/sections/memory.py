"""Runs that were not trained quite as asked for, since their device's memory was too small."""

from collections.abc import Iterator

from pipeline.analysis.results import Ablation
from pipeline.analysis.wording import listed
from pipeline.counts import plural
from pipeline.record.record import Record


def notes(ablation: Ablation, record: Record) -> Iterator[str]:
    """Whose batches were computed in more parts than asked for, and what that changes; nothing
    where none were.
    """
    arms = []
    for row in ablation.rows:
        if cut := [run.parts for run in row.runs if run.parts]:
            of = plural(len(row.runs), "run")
            arms.append(f"{row.arm} ({len(cut)} of {of}, up to {max(cut)} parts)")
    num_trials = sum(run.kind == "trial" and run.parts > 0 for run in record.runs.values())
    if not arms and not num_trials:
        return
    trials = f"{plural(num_trials, 'trial')} of the search" if num_trials else ""
    yield (
        "Memory: batches were computed in more parts than asked for, as they, or those of runs "
        f"that take as much, did not fit the device: {listed([*arms, *filter(None, [trials])])}. "
        "A step's batch is the same, but batch norm, mixing and the choice of the hardest pictures "
        "see a part alone: where a run has them, it is not quite the one asked for."
    )
