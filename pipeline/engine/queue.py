"""What to train next: the trials of the searches rung by rung, the race of the best, the arms'
replicates, then what takes these apart. Rebuilt from the ledger alone.

The plan deals in segments: a piece of one run, from where it stands to an epoch. A worker that dies
loses at most the segment's epochs since its last checkpoint, and the segment is handed out again.
"""

from collections import deque
from collections.abc import Callable, Mapping

from pipeline.core.config import TrainConfig
from pipeline.core.identity import Keys
from pipeline.engine.failures import Failures
from pipeline.engine.order import Outcome, Segment
from pipeline.engine.race import Race
from pipeline.engine.replicates import Ahead, Replicates, as_planned
from pipeline.engine.searches import Searches
from pipeline.engine.trials import Trials
from pipeline.engine.variance import Variance
from pipeline.errors import MachineError
from pipeline.frozen import digest
from pipeline.record import events
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record, Run
from pipeline.record.sources import code
from pipeline.study.study import Study
from pipeline.study.tuning import RACE


class Plan:
    """Hands out segments and takes in what workers report; every decision is in the ledger before
    it takes effect.
    """

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        record: Record,
        *,
        core_version: int,
        with_search: bool,
        ahead: Ahead = as_planned,
    ) -> None:
        """`record` must be kept up to date by the ledger's listener. `with_search` False trains the
        arms only. `ahead` says how many replicates each has.
        """
        self.study, self.ledger, self.record = study, ledger, record
        self.core_version = core_version
        self.keys = Keys(record.data["fingerprint"], study.search.seed, core_version)
        for run in record.runs.values():
            self.keys.keep(
                run.key, TrainConfig.parse(run.config, source=f"run {run.key}"), run.replicate
            )
        self.searches = Searches(study, record, with_search=with_search)
        self.trials = self.searches.main
        self.race = Race(study, ledger, record, self.keys, with_search=with_search)
        self.variance = Variance(study, ledger, record, self.keys, self.searches)
        self.look: Callable[[Plan], object] = lambda _: None  # before each segment (see timetable)
        self.past_search = False  # of its share of the time
        self.last_row = study.ablation.replicates  # beyond, none is begun for want of time
        self.first_rows = 0  # replicates of every arm that are trained before the search
        self.raced_late = self.by_rows = False  # by_rows: no pilot before the others' replicates
        self.live: dict[str, str] = {}  # segment that has not ended → its run
        self.failures = Failures(ledger, record)
        self.searches.replay(ledger.events)
        self.replicates = Replicates(study, record, self.searches, ahead)
        self.again = deque(r.key for r in record.runs.values() if r.unfinished and self._wanted(r))
        self.searches.settle(self.again)
        self.replicates.know(study)

    def next(self) -> Segment | None:
        """The next segment; None where all that is left waits for a running segment (or nothing is
        left: see `done`).
        """
        self.look(self)
        if self.again:
            return self._begin(self.record.runs[self.again.popleft()])
        ways = [self._next_of_search, self._next_of_race, self._next_of_arms]
        if self.first_rows:
            ways.insert(0, lambda: self._next_of_arms(self.first_rows))
        if self.past_search:
            # past its share of the time the search gives way to the arms; what it has by then, if
            # anything, races once, so that the table is whole; what they leave is its own again
            self.raced_late = self.raced_late or not self.race.able()
            ways = [self._next_of_arms, self._next_of_race]
            ways += [self._next_of_search] if self.raced_late else []
        ways.append(self._next_of_variance)
        segment = next((found for way in ways if (found := way())), None)
        return self.next() if segment is None and self.again else segment

    def done(self) -> bool:
        """Whether all has ended that was handed out, nothing waits; call after `next` gave None."""
        begins = any(replicate <= self.last_row for _, replicate in self.replicates.todo)
        return not self.live and not self.again and not begins

    def rows_wait(self) -> bool:
        """Whether any of the replicates that come before the search is still to be begun."""
        todo = any(replicate <= self.first_rows for _, replicate in self.replicates.todo)
        return todo or any(one.target.serves <= self.first_rows for one in self.searches.open)

    def busy(self) -> set[str]:
        """The runs that are being trained, or are about to be."""
        return {*self.live.values(), *self.again}

    def outstanding(self) -> bool:
        """Whether anything planned is left to train, time limits aside; changes nothing."""
        waits = self.live or self.again or self.replicates.todo or self.replicates.ended()
        return bool(waits) or self._searching() or self.variance.outstanding()

    def _searching(self) -> bool:
        """Whether anything is left of the study's own search, time limits aside."""
        return self.trials.outstanding() or self.race.outstanding()

    def epoch(self, segment: str, metrics: Mapping[str, float]) -> None:
        """A worker finished an epoch of a segment; nothing where that has ended."""
        key = self.live.get(segment)
        if key is not None and metrics["epoch"] == len(self.record.runs[key].epochs) + 1:
            self.ledger.append(events.Epoch(run=key, metrics=dict(metrics)))

    def finish(self, segment: str, outcome: Outcome) -> None:
        """A segment ended; only its first end counts.

        Raises MachineError where the machine refuses (the run goes on another time), and
        TooManyFailures.
        """
        key = self.live.pop(segment, None)
        if key is None:
            return
        if outcome.status == "machine":
            raise MachineError(outcome.error)
        run = self.record.runs[key]
        if outcome.status == "failed":
            if self.failures.again(run, segment, outcome):
                self.again.append(key)
            elif run.worst and run.kind == "trial":
                self.searches.diverged(run)
            return
        self.failures.over(key)
        if outcome.status == "diverged":
            self.ledger.append(outcome.end(key, "diverged"))
            if run.kind == "trial":
                self.searches.diverged(run)
            return
        if run.kind == "trial":
            self._reach(run, early=outcome.early)
        if outcome.early or len(run.epochs) >= run.config["epochs"]:
            self.ledger.append(outcome.end(key, "complete"))

    def _reach(self, run: Run, *, early: bool) -> None:
        """Record the rung that a trial was sent to; one that stopped early stands there and above
        with its best.
        """
        ladder = self.trials.ladder
        for rung in range(run.rung, ladder.num_rungs if early else run.rung + 1):
            if rung not in run.rungs:
                stop = ladder.stop(run.config["epochs"], rung)
                best = run.best if early else None
                value = best[run.selects] if best else self.record.worth(run, stop)
                self.ledger.append(events.Rung(run=run.key, rung=rung, value=value, early=early))
                self.searches.reached(run, rung, value)

    def close_search(self) -> None:
        """Mark the trials that wait at a rung for good as stopped; a later, larger budget may still
        promote them.

        Not those of the study's own search where the arms alone were trained: it may have been
        interrupted before.
        """
        for run in self.record.runs.values():
            if run.status == "paused" and self.searches.all_known(run):
                self.ledger.append(events.End(run=run.key, status="stopped"))

    def total_epochs(self) -> tuple[float, int]:
        """Epochs that the whole plan takes: (of the search, expected; of race, arms, searches)."""
        arms = self.replicates.epochs() + self.race.left_epochs() + self._apart()[0]
        return self.trials.expected_epochs(), arms + round(
            sum(t.expected_epochs() for t in self.searches.arms)
        )

    def remaining_epochs(self) -> tuple[float, int]:
        """What is left of `total_epochs`; 0 for a search where no trial can be begun or sent on."""
        arms = self.replicates.epochs() + self.race.left_epochs() - self.replicates.spent()
        arms += self._apart()[1]
        return self.trials.left_epochs(), max(arms, 0) + round(
            sum(t.left_epochs() for t in self.searches.open)
        )

    def _apart(self) -> tuple[int, int]:
        """Epochs of what takes replicates apart: (all, left)."""
        return self.variance.epochs(self.replicates.rows.most[self.variance.layout.arm])

    def _wanted(self, run: Run) -> bool:
        if run.kind == "trial":
            race = run.search == RACE
            return self.race.wanted(run) if race else self.searches.wanted(run)
        of = self.replicates if run.kind == "arm" else self.variance
        return of.wanted(run)

    def _next_of_search(self) -> Segment | None:
        return self._next_trial(self.trials) if self.trials.num_trials else None

    def _next_of_race(self) -> Segment | None:
        """Of the race, once the search is over; where that is over too, what it found is an arm."""
        busy = self.busy()
        late = self.past_search and not self.raced_late
        rests = late and not any(key in self.trials.numbers for key in busy)
        run = self.race.next(busy) if rests or self.trials.over(busy) else None
        self.raced_late |= late and bool(self.record.race and self.record.race.winner)
        if (arms := self.record.found) not in (None, self.study.ablation.found):
            self.study = self.study.override({"ablation.found": arms}, source="race")
            self.searches.know(self.study.all_arms())
            self.replicates.know(self.study)
            return self._next_of_arms() if run is None else self._begin(run)
        return None if run is None else self._begin(run)

    def _next_of_arms(self, most: int | None = None) -> Segment | None:
        """Of the arms' searches, one after another; then of the replicates whose configuration is
        settled: up to number `most`, or all that there is time for.
        """
        most = self.last_row if most is None else min(most, self.last_row)
        for trials in self.searches.open:
            target = trials.target
            if target.serves > min(most, self.replicates.rows.now[target.arm]):
                continue
            segment = self._next_trial(trials)
            if segment is not None:
                return segment
        self.searches.settle(self.busy())
        todo = tuple(self.replicates.todo)
        for arm, replicate in sorted(todo, key=lambda run: run[1]) if self.by_rows else todo:
            if replicate > most:
                continue
            config = self.replicates.config_of(arm, replicate)
            if config is not None:
                run = self.record.runs[self._new_arm(arm, replicate, config)]
                # else it is known: of what the arm was before the study grew, or by a source
                if run.unfinished and run.key not in self.busy():
                    return self._begin(run)
        return self._next_of_arms(most) if self.replicates.ended() else None

    def _next_of_variance(self) -> Segment | None:
        """Once nothing else is left to begin."""
        if self.replicates.todo or self.searches.open or self._searching():
            return None
        run = self.variance.next()
        return None if run is None else self._begin(run)

    def _next_trial(self, trials: Trials) -> Segment | None:
        while True:
            promoted = trials.promote()
            if promoted is not None:
                return self._begin(*promoted)
            if trials.all_begun:
                return None
            key = self._new_trial(trials)
            if key is not None:
                return self._begin(self.record.runs[key])

    def _new_trial(self, trials: Trials) -> str | None:
        """The key of the next trial's run; None where that exists: the trial takes its twin's
        values.
        """
        target, number = trials.target, trials.num_begun
        found = trials.take_over() if number else None
        knobs, asked = found or trials.propose(number)
        source = f"trial {number}"
        config = trials.around.made(knobs, source=source) if number else target.config
        key = self.keys.of(config, target.replicate)
        twin = self.record.runs.get(key)
        if twin is None:
            trial = events.Trial(
                run=key,
                search=target.name,
                arm=target.arm,
                trial=number,
                knobs=knobs,
                asked=asked,
                replicate=target.replicate,
                config=config.model_dump(mode="json"),
                costs=trials.costs(config),
            )
            self.ledger.append(trial)
            self.searches.begin(trials, number, self.record.runs[key])
            return key
        event = events.Twin(
            run=key,
            search=target.name,
            arm=target.arm,
            trial=number,
            knobs=knobs,
            asked=asked,
            values=sorted(twin.rungs.items()),
            diverged=twin.worst,
            sent=None if twin.rung in twin.rungs else twin.rung,
        )
        self.searches.twin(trials, self.ledger.append(event), twin)
        left = twin.unfinished and key not in self.busy() and not twin.worst
        if left and not self.failures.attempts[key]:
            self.again.append(key)  # of a search that has no part in this session
        return None

    def _new_arm(self, arm: str, replicate: int, config: TrainConfig) -> str:
        key = self.keys.of(config, replicate)
        event = events.Arm(
            run=key,
            arm=arm,
            replicate=replicate,
            config=config.model_dump(mode="json"),
            data=self.record.data["fingerprint"],
            core_version=self.core_version,
        )
        self.ledger.append(event)
        return key

    def _begin(self, run: Run, rung: int | None = None) -> Segment:
        """Send a run on to `rung` (default: where it was being sent; arms have no rungs)."""
        config = TrainConfig.parse(run.config, source=f"run {run.key}")
        ladder = self.trials.ladder
        rung = max(run.rung, self.trials.first(run)) if rung is None else rung
        stop = ladder.stop(config.epochs, rung)
        if (test := run.kind != "trial") or run.search == RACE:
            rung, stop = -1 if test else ladder.num_rungs - 1, config.epochs
        code, parts = self._code(config), self.failures.parts(run)
        start = self.ledger.append(events.Start(run=run.key, rung=rung, code=code, parts=parts))
        self.searches.sent(run, rung)
        name = f"{self.record.header.id}.{start.seq}"
        self.live[name] = run.key
        seeds = self.keys.seeds(run.replicate)
        return Segment(name, run.key, config, seeds, stop, len(run.epochs), test, code, parts)

    def _code(self, config: TrainConfig) -> str:
        """What stands for the code that the run is trained by, which is recorded once."""
        found = code(config)
        if digest(found) not in self.record.code:
            self.ledger.append(events.Code(id=digest(found), parts=found))
        return digest(found)
