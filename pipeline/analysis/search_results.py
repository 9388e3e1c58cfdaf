"""What a Record says of its search, as the figures and the text need it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pipeline.analysis.range_ends import ends
from pipeline.frozen import Scalar, flatten
from pipeline.record.record import LEVELS, Record, Run
from pipeline.study.judged import Judged
from pipeline.study.study import Study


@dataclass(frozen=True)
class Search:
    """The search's trials. `rungs` are numbered from the cheapest; `epochs_at` are those of the
    baseline's schedule.
    """

    planned: int
    proposed: int  # trials asked for so far, repeats of an earlier configuration included
    trials: tuple[Run, ...]
    ranked: tuple[Run, ...]  # those with a value, as `Record.ranked_trials`
    epochs_at: tuple[int, ...]
    num_rungs: int
    best: Run | None
    stayed: Run | None  # the trial that the race left
    edges: tuple[str, ...]
    worth: Callable[[Run, int], float]  # as `Record.worth`
    judged: Judged  # what ranks them, of val
    leveled: bool  # whether that is the mean over several epochs, where there are enough

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(STATUS[run.status] for run in self.trials)

    def reached(self, rung: int) -> int:
        return sum(rung in run.rungs for run in self.trials)


STATUS = {
    "complete": "complete",
    "stopped": "stopped",
    "paused": "waiting",
    "new": "unfinished",
    "running": "unfinished",
    "diverged": "diverged",
    "failed": "failed",
}


def read_search(record: Record, study: Study) -> Search:
    """The search of `record`, its best trial, and the knobs that lie at an end of their range: of
    the trial that the race left, where there was one, which is its best configuration.
    """
    budget = study.search
    best, stayed = record.best_trial(), record.stayed() if record.has_raced else None
    leads = stayed or best
    return Search(
        planned=budget.num_trials,
        proposed=len(record.trial_keys),
        trials=tuple(record.trials()),
        ranked=tuple(record.ranked_trials()),
        epochs_at=budget.ladder.stops(study.baseline.epochs),
        num_rungs=budget.ladder.num_rungs,
        best=best,
        stayed=stayed,
        edges=tuple(end.text for end in ends(study.space, leads.knobs)) if leads else (),
        worth=record.worth,
        judged=Judged.of(study.baseline),
        leveled=record.header.format >= LEVELS,
    )


def flat_config(run: Run) -> dict[str, Scalar]:
    return dict(flatten(run.config))
