"""A limit of time, so that the table is whole when it is up: what of a plan is begun, and when the
search must end. Looked at anew before each segment.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from pipeline.core.config import TrainConfig
from pipeline.engine.pace import Pace, Work, arms_left, wall
from pipeline.engine.race import ROUNDS, pick, racers
from pipeline.engine.replicates import as_planned
from pipeline.engine.variance import works
from pipeline.record import events
from pipeline.record.record import Record
from pipeline.study.looks import looks
from pipeline.study.study import PILOT_RUNS, Study

if TYPE_CHECKING:
    from pipeline.engine.queue import Plan

LEAST_ROWS = PILOT_RUNS  # replicates of every arm that come before all else: fewer are not tested
EVERY_SECONDS = 0.5  # reckoned anew
SLACK = 1.05  # for what was reckoned too low
LOOKS = 20  # looking takes one part in so many of all time, at most
LAST_CALL = 0.5  # of the search's time: before it new trials are always begun
TABLE_SHARE = 0.75  # of all time: fewer race where the table would take more


@dataclass(frozen=True)
class Left:
    """What is left to train. works: replicates of arms, and what takes these apart, whose numbers
    are above them; num_trials, trial_epochs: of the study's search; tunings: epochs of the arms'
    own, with the replicate that each serves (0: all); num_laps: runs of the race; found_rows:
    replicates of the arm that it leads to, while that is not known; field: who would race, where
    that can be told.
    """

    study: Study
    works: tuple[Work, ...]
    num_trials: int
    trial_epochs: float
    tunings: tuple[tuple[int, float], ...]
    num_laps: int
    found_rows: int
    field: tuple[TrainConfig, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is left."""
        begun = self.num_trials or self.trial_epochs or self.tunings
        return bool(self.works or begun or self.num_laps or self.found_rows)

    @classmethod
    def of_plan(cls, plan: "Plan", pace: Pace) -> "Left":
        """Of a plan as it stands."""
        trials, race, rows = plan.trials, plan.race, 0
        num_laps = 0
        raced = plan.record.race and plan.record.race.winner and not race.due()
        nobody = plan.past_search and not pick(plan.record, 1)
        if race.most and not raced and not nobody:
            over = sum(one.ended(r) for one in racers(plan.record) for r in range(1, ROUNDS + 1))
            num_laps = max(0, laps_of(race.most) - over)
            rows = plan.study.ablation.replicates
        return cls(
            plan.study,
            (
                *arms_left(plan.replicates.arms, plan.replicates.rows.most, plan.record),
                *works(plan.record, plan.study),
            ),
            trials.num_left if trials.num_trials else 0,
            trials.left_epochs() if trials.num_trials else 0.0,
            tuple((one.target.serves, one.left_epochs()) for one in plan.searches.open),
            num_laps,
            rows,
            tuple(pace.config(plan.record.runs[key]) for key in pick(plan.record, race.most))
            if rows
            else (),
        )

    @classmethod
    def of_study(
        cls,
        study: Study,
        record: Record,
        *,
        with_search: bool,
        num_racers: int,
        most: Mapping[str, int] | None = None,
    ) -> "Left":
        """Of a study before a command begins; `most`: replicates by arm, where not as planned."""
        search = study.search
        ladder = search.ladder
        begun, asked = record.trials(), search.num_trials if with_search else 0
        num_trials = max(0, asked - len(record.searches.get("", ())))
        trial_epochs = asked * ladder.expected(study.baseline.epochs)
        tunings = (
            (target.serves, target.num_trials * ladder.expected(target.config.epochs))
            for target in study.targets()
            if target.name not in record.searches
        )
        over = not with_search or bool(record.race and record.race.winner)
        return cls(
            study,
            (
                *arms_left(study.all_arms(), most or as_planned(record, study).most, record),
                *works(record, study),
            ),
            num_trials,
            max(0.0, trial_epochs - sum(run.spent for run in begun)),
            tuple(tunings),
            0 if over else laps_of(num_racers),
            0 if over or not num_racers else study.ablation.replicates,
        )


def stops(study: Study) -> Sequence[int]:
    """The numbers of replicates that a table may end with: any, or where it is judged by looks
    those of a look.
    """
    most = study.ablation.replicates
    return looks(most) if study.ablation.until_answered else range(1, most + 1)


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
        field = [pace.epoch(config) or trial for config in left.field] or [trial]
        lap = base.epochs * fmean(field) + pace.beside("trial")
        found = base.epochs * max(field) + pace.beside("arm")
        table = [pace.run(work) for work in left.works if work.replicate <= rows]
        table += [lap] * left.num_laps + [found] * min(left.found_rows, rows)
        # one after another, however many go at once: two rounds at least, then an arm of its own
        chain = 2 * lap * (left.num_laps > 0) + found * (left.found_rows > 0)
        beyond = sum(pace.run(work) for work in left.works if work.replicate > rows)
        beyond += found * max(0, left.found_rows - rows)
        search = left.trial_epochs * trial + left.num_trials * pace.beside("trial")
        tuned = sum(epochs for serves, epochs in left.tunings if serves <= rows) * trial
        beyond += sum(epochs for serves, epochs in left.tunings if serves > rows) * trial
        return cls(
            max(search / workers, base.epochs * trial * (left.num_trials > 0)),
            SLACK * (max(wall(table, workers), chain) + tuned / workers),
            beyond / workers,
        )

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
        self._looked, self._every = float("-inf"), EVERY_SECONDS
        self._begin = self._search_end = self._called = -1.0
        self._race: events.Race | None = None  # when it first looked

    def look(self, plan: "Plan") -> None:
        """Set the plan's limits by what is known now."""
        now = self.clock()
        known = self.pace.trial_epoch() or self.pace.epoch(plan.study.baseline)
        if now - self._looked < self._every or known is None:
            return
        self._looked, began = now, time.monotonic()
        if self._called < 0:
            self._called, self._race = now, plan.record.race
            # whatever the machine is busy with later, the table has what its tests need; and the
            # search's share of the time is reckoned by epochs that were trained here
            plan.first_rows = plan.last_row = min(LEAST_ROWS, plan.last_row)
        # nothing is trained before that
        now = max(now, self._called + self.pace.starting(asked=True))
        over = plan.past_search or plan.trials.over(plan.busy())
        searching = plan.trials.num_trials > 0 and not over
        left = self._with_racers(plan, now, searching=searching)
        if searching and plan.rows_wait():
            plan.by_rows = self._end(plan, left) < now
        else:
            if self._begin < 0:
                self._begin = now
                self._search_end = now + self._shares(left).of_search(self.deadline - now)
            begins = max(now, self._search_end) if searching else now
            plan.last_row = self._rows(plan, left, begins)
            self._end_search(plan, left, now, known)
        self._every = max(EVERY_SECONDS, LOOKS * (time.monotonic() - began))

    def _end_search(self, plan: "Plan", left: Left, now: float, epoch: float) -> None:
        """Say whether new trials, and segments of trials, may still begin: not where they could not
        end in time.
        """
        end = self._end(plan, left)
        plan.by_rows = end < now  # holes cannot be helped: then let them be of whole replicates
        half = self._begin + LAST_CALL * (end - self._begin)
        full, shares = epoch * plan.study.baseline.epochs, plan.trials.ladder.shares
        longest = full * float(shares[-1] - shares[-2] if len(shares) > 1 else 1)
        # what follows the search: there is no way back
        begun = plan.past_search and self.pace.row > plan.first_rows
        plan.past_search = begun or now >= max(half, end - longest)
        if plan.trials.num_left:
            raced = plan.record.race is not self._race
            plan.trials.closed = begun or raced or now >= max(half, end - full)

    def _end(self, plan: "Plan", left: Left) -> float:
        """Of the search: what whole rows leave of the time is its own."""
        return self.deadline - self._shares(left, plan.last_row).table

    def _shares(self, left: Left, rows: int = LEAST_ROWS) -> Shares:
        return Shares.of(left, self.pace, self.workers, rows)

    def _with_racers(self, plan: "Plan", now: float, *, searching: bool) -> Left:
        """What is left, where as many race as the table has time for; beside a search that has
        hardly begun, as many as leave it a part of the time.
        """
        race, left = plan.race, Left.of_plan(plan, self.pace)
        if race.record.race is not None and not race.due():
            return left
        begins = searching and self._begin < 0
        share = TABLE_SHARE if begins else 1.0
        if (begins or not searching) and race.most < race.asked:
            race.most = race.asked
            left = Left.of_plan(plan, self.pace)
        while race.most and self._shares(left).table > share * (self.deadline - now):
            race.most -= 1
            left = Left.of_plan(plan, self.pace)
        return left

    def _rows(self, plan: "Plan", left: Left, begins: float) -> int:
        """As many replicates of every arm as can all be over in time, where their time begins
        then.
        """
        begun = {arm.name: 0 for arm, _ in plan.replicates.arms}
        for run in plan.record.runs.values():
            if run.kind == "arm" and run.arm in begun:
                begun[run.arm] = max(begun[run.arm], run.replicate)
        least = max(LEAST_ROWS, self.pace.row, min(begun.values()))
        more = [rows for rows in stops(plan.study) if rows > least]
        fit = bisect_right(
            more, self.deadline - begins, key=lambda rows: self._shares(left, rows).table
        )
        return more[fit - 1] if fit else least
