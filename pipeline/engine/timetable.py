"""A limit of time, so that the table is whole when it is up: what of a plan is begun, and when the
search must end. Looked at anew before each segment.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.engine.pace import Pace, Work, arms_left, wall
from pipeline.engine.race import ROUNDS, racers
from pipeline.record.record import Record
from pipeline.study.study import PILOT_RUNS, Study

if TYPE_CHECKING:
    from pipeline.engine.queue import Plan

LEAST_ROWS = PILOT_RUNS  # replicates of every arm that come before all else: fewer are not tested
EVERY_SECONDS = 0.5  # reckoned anew
LAST_CALL = 0.5  # of the search's time: before it new trials are always begun
TABLE_SHARE = 0.75  # of all time: fewer race where the table would take more


@dataclass(frozen=True)
class Left:
    """What is left to train. works: replicates of arms; num_trials, trial_epochs: of the study's
    search; tuning_epochs: of the arms' own; num_laps: runs of the race; found_rows: replicates of
    the arm that it leads to, while that is not known.
    """

    study: Study
    works: tuple[Work, ...]
    num_trials: int
    trial_epochs: float
    tuning_epochs: float
    num_laps: int
    found_rows: int

    @classmethod
    def of_plan(cls, plan: "Plan") -> "Left":
        """Of a plan as it stands."""
        trials, race, rows = plan.trials, plan.race, 0
        num_laps = 0
        if race.most and not (plan.record.race and plan.record.race.winner and not race.due()):
            over = sum(one.ended(r) for one in racers(plan.record) for r in range(1, ROUNDS + 1))
            num_laps = max(0, laps_of(race.most) - over)
            rows = plan.study.ablation.replicates
        return cls(
            plan.study,
            tuple(arms_left(plan.arms, plan.study.ablation.replicates, plan.record)),
            trials.num_left if trials.num_trials else 0,
            trials.left_epochs() if trials.num_trials else 0.0,
            sum(search.left_epochs() for search in plan.searches.open),
            num_laps,
            rows,
        )

    @classmethod
    def of_study(
        cls, study: Study, record: Record, *, with_search: bool, num_racers: int
    ) -> "Left":
        """Of a study before a command begins."""
        search = study.search
        ladder = search.ladder
        begun, asked = record.trials(), search.num_trials if with_search else 0
        num_trials = max(0, asked - len(record.searches.get("", ())))
        trial_epochs = asked * ladder.expected(study.baseline.epochs)
        tuning = [
            target.num_trials * ladder.expected(target.config.epochs)
            for target in study.targets()
            if target.name not in record.searches
        ]
        over = not with_search or bool(record.race and record.race.winner)
        return cls(
            study,
            tuple(arms_left(study.all_arms(), study.ablation.replicates, record)),
            num_trials,
            max(0.0, trial_epochs - sum(run.spent for run in begun)),
            sum(tuning),
            0 if over else laps_of(num_racers),
            0 if over or not num_racers else study.ablation.replicates,
        )


def laps_of(num_racers: int) -> int:
    """Runs of a race, at most; one alone need not run."""
    return num_racers * ROUNDS if num_racers > 1 else 0


@dataclass(frozen=True)
class Shares:
    """Seconds, in so many runs at once, of what is left: the search; what the table needs (race,
    LEAST_ROWS replicates of every arm); the replicates beyond.
    """

    search: float
    table: float
    beyond: float

    @classmethod
    def of(cls, left: Left, pace: Pace, workers: int, rows: int = LEAST_ROWS) -> "Shares":
        """By the pace; `rows`: the replicates that the table needs."""
        base = left.study.baseline
        trial = pace.trial_epoch() or pace.epoch(base) or 0.0
        lap, found = (base.epochs * trial + pace.beside(kind) for kind in ("trial", "arm"))
        table = [pace.run(work) for work in left.works if work.replicate <= rows]
        table += [lap] * left.num_laps + [found] * min(left.found_rows, rows)
        beyond = sum(pace.run(work) for work in left.works if work.replicate > rows)
        beyond += found * max(0, left.found_rows - rows)
        search = left.trial_epochs * trial + left.num_trials * pace.beside("trial")
        tuning = left.tuning_epochs * trial
        return cls(search / workers, wall(table, workers) + tuning / workers, beyond / workers)

    @property
    def total(self) -> float:
        return self.search + self.table + self.beyond

    def of_search(self, time_left: float) -> float:
        """The search's part of the time that is left; what it takes, where that is enough for all,
        and its part of what is over.
        """
        part = time_left * self.search / self.total if self.total else 0.0
        return max(0.0, min(part, time_left - self.table))


class Timetable:
    """Sets what a plan may begin: the search's end, how many race, how many rows of replicates."""

    def __init__(
        self,
        pace: Pace,
        *,
        workers: int,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """deadline: when the last run must be over, in the clock's seconds."""
        self.pace, self.workers, self.deadline, self.clock = pace, workers, deadline, clock
        self._looked = float("-inf")
        self._begin = self._search_end = -1.0

    def look(self, plan: "Plan") -> None:
        """Set the plan's limits by what is known now."""
        now = self.clock()
        known = self.pace.trial_epoch() or self.pace.epoch(plan.study.baseline)
        if now - self._looked < EVERY_SECONDS or known is None:
            return
        self._looked = now
        searching = plan.trials.num_trials > 0 and not plan.trials.over(plan.busy())
        left = self._with_racers(plan, now, searching=searching)
        if self._begin < 0:
            self._begin = now
            self._search_end = now + self._shares(left).of_search(self.deadline - now)
        plan.last_row = self._rows(plan, left, max(now, self._search_end) if searching else now)
        # what whole rows leave of the time is the search's
        end = self.deadline - self._shares(left, plan.last_row).table
        plan.past_search = now >= end
        if plan.trials.num_left:
            # no new trial is begun where one could not be trained to its end any more
            half = self._begin + LAST_CALL * (end - self._begin)
            full = known * plan.study.baseline.epochs
            plan.trials.closed = now >= max(half, end - full)

    def _shares(self, left: Left, rows: int = LEAST_ROWS) -> Shares:
        return Shares.of(left, self.pace, self.workers, rows)

    def _with_racers(self, plan: "Plan", now: float, *, searching: bool) -> Left:
        """What is left, where as many race as the table has time for; beside a search that has
        hardly begun, as many as leave it a part of the time.
        """
        race, left = plan.race, Left.of_plan(plan)
        if race.record.race is not None and not race.due():
            return left
        share = TABLE_SHARE if searching and self._begin < 0 else 1.0
        if not searching and race.most < race.asked:
            race.most = race.asked
            left = Left.of_plan(plan)
        while race.most and self._shares(left).table > share * (self.deadline - now):
            race.most -= 1
            left = Left.of_plan(plan)
        return left

    def _rows(self, plan: "Plan", left: Left, begins: float) -> int:
        """As many replicates of every arm as can all be over in time, where their time begins
        then.
        """
        begun = [run.replicate for run in plan.record.runs.values() if run.kind == "arm"]
        least = max((LEAST_ROWS, *begun))
        more = range(least + 1, plan.study.ablation.replicates + 1)
        return least + bisect_right(
            more, self.deadline - begins, key=lambda rows: self._shares(left, rows).table
        )
