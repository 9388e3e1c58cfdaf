"""The replicates of the arms: how many each is to have, and which are still to be begun."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.core.config import TrainConfig
from pipeline.engine.race import ENDED
from pipeline.record.record import Record, Run
from pipeline.study.looks import Rows
from pipeline.study.study import PILOT_RUNS, Study

if TYPE_CHECKING:
    from pipeline.engine.searches import Searches

Ahead = Callable[[Record, Study], Rows]
"""How many replicates each arm is to have; follows from the record alone."""


def as_planned(_: Record, study: Study) -> Rows:
    """As many as the study says, of every arm."""
    rows = {arm.name: study.ablation.replicates for arm, _ in study.all_arms()}
    return Rows(rows, rows)


class Replicates:
    """Those of a plan; `record` is kept up to date by the ledger's listener."""

    def __init__(self, study: Study, record: Record, searches: "Searches", ahead: Ahead) -> None:
        self.record, self.searches, self.ahead = record, searches, ahead
        self.know(study)

    def know(self, study: Study) -> None:
        """Take in the study with the arms that it has now."""
        self.study, self.arms = study, study.all_arms()
        self._look()

    def ended(self) -> bool:
        """After runs have ended: whether arms are to have more replicates now, as the look that was
        waited for leaves questions open.
        """
        if not self.study.ablation.until_answered or not self._all_over():
            return False
        self._look()
        return bool(self.todo)

    def wanted(self, run: Run) -> bool:
        """Whether a run of an arm, which has begun, is one that the arm may need."""
        return run.replicate <= self.rows.most.get(run.arm, 0)

    def epochs(self) -> int:
        """What they all take, those included that depend on questions that may be answered
        before.
        """
        return sum(config.epochs * self.rows.most[arm.name] for arm, config in self.arms)

    def spent(self) -> int:
        """Of these epochs, those that are not to be trained any more."""
        return sum(
            run.spent for runs in self.record.arms().values() for run in runs if self.wanted(run)
        )

    def config_of(self, arm: str, replicate: int) -> TrainConfig | None:
        """What to begin the replicate with, which is then no more to be begun; None as long as that
        is not known.
        """
        config = self.searches.config(arm, replicate)
        if config is not None or self.searches.hopeless(arm, replicate):
            self.todo.remove((arm, replicate))
        return config

    def _look(self) -> None:
        """Set `rows`, and `todo`: (arm, replicate) not recorded yet, the pilot, then replicate by
        replicate so that a stop leaves whole rows.
        """
        self.rows = self.ahead(self.record, self.study)
        self._looked = len(self._over())
        first = self.arms[0][0].name
        wanted = [
            (r, arm.name)
            for r in range(1, max(self.rows.now.values(), default=0) + 1)
            for arm, _ in self.arms
            if r <= self.rows.now[arm.name]
        ]
        wanted.sort(key=lambda run: run[1] != first or run[0] > PILOT_RUNS)
        known = {(run.replicate, run.arm) for run in self.record.runs.values() if run.kind == "arm"}
        self.todo = deque[tuple[str, int]](
            (arm, r)
            for r, arm in wanted
            if (r, arm) not in known and not self.searches.hopeless(arm, r)
        )

    def _over(self) -> set[tuple[str, int]]:
        """(arm, replicate) of what has ended, or cannot be begun."""
        ended = {
            (run.arm, run.replicate)
            for run in self.record.runs.values()
            if run.kind == "arm" and run.status in ENDED
        }
        wanted = {(a.name, r) for a, _ in self.arms for r in range(1, self.rows.now[a.name] + 1)}
        return {run for run in wanted if run in ended or self.searches.hopeless(*run)}

    def _all_over(self) -> bool:
        """Whether every replicate is over that the arms are to have so far, and was not when it was
        looked last.
        """
        num_over = len(self._over())
        return self._looked < num_over == sum(self.rows.now[arm.name] for arm, _ in self.arms)
