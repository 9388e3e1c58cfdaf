"""What the search knows: who waits at which rung, and what the sampler has been told. Rebuilt from the ledger's events."""

from collections import defaultdict
from collections.abc import Iterable

from pipeline.frozen import Scalar
from pipeline.ledger import Event
from pipeline.record import Record, Run
from pipeline.sampler import RungSampler
from pipeline.scheduler import Ladder, Promotion, Scheduler, Stopping
from pipeline.study import Study

SCHEDULERS: dict[str, type[Scheduler]] = {"promotion": Promotion, "stopping": Stopping}


class Trials:
    """Scheduler and sampler of a study, kept in step. `record` is kept up to date by the ledger's listener."""

    def __init__(self, study: Study, record: Record, num_trials: int) -> None:
        search = study.search
        self.study, self.record, self.num_trials = study, record, num_trials
        self.ladder = Ladder(search.reduction, search.num_rungs)
        self.scheduler = SCHEDULERS[search.scheduler](reduction=search.reduction, num_rungs=search.num_rungs)
        self.sampler = RungSampler(study.space, kind=search.sampler, seed=search.seed, num_rungs=search.num_rungs)
        self._twins: dict[str, list[int]] = defaultdict(list)  # run → later trials of the same configuration

    @property
    def all_begun(self) -> bool:
        """Whether no new trial will be proposed."""
        return len(self.record.trial_keys) >= self.num_trials

    def promote(self) -> tuple[Run, int] | None:
        """(run, next rung) of the waiting trial to send on now, marked as gone; None where a new trial is better."""
        promoted = self.scheduler.next(closing=self.all_begun)
        return None if promoted is None else (self.record.runs[self.record.trial_keys[promoted[0]]], promoted[1])

    def outstanding(self) -> bool:
        """Whether a trial could be begun or sent on now; changes nothing."""
        return self.num_trials > 0 and (not self.all_begun or self.scheduler.has_next(closing=True))

    def propose(self, number: int) -> tuple[dict[str, Scalar], int | None]:
        """(knobs, the rung that proposed them) of trial `number`; trial 0 is the baseline, which nobody proposes."""
        if number:
            return self.sampler.ask(number)
        knobs = self.study.space.point(self.study.baseline.flat()) or {}
        self.sampler.replay(number, knobs, None)
        return knobs, None

    def reached(self, run: Run, rung: int, value: float) -> None:
        """`run` has this val_acc at `rung`; so have its twins."""
        self.scheduler.record(run.number, rung, value)
        for number in (run.number, *self._twins[run.key]):
            self.sampler.tell(number, rung, value)

    def diverged(self, run: Run) -> None:
        """`run` diverged on its way to the rung it was sent to."""
        self.scheduler.diverge(run.number, run.rung)
        for number in (run.number, *self._twins[run.key]):
            self.sampler.diverge(number, run.rung)

    def twin(self, number: int, run: Run, values: Iterable[tuple[int, float]], *, diverged: bool) -> None:
        """Trial `number` proposes `run`'s configuration again: it takes the values it has by now, and those to come."""
        self._twins[run.key].append(number)
        for rung, value in values:
            self.sampler.tell(number, rung, value)
        if diverged:
            self.sampler.diverge(number, run.rung)

    def replay(self, event: Event) -> None:
        """Bring scheduler and sampler to where they stood after this event (already folded into the record)."""
        kind, run = event["type"], self.record.runs.get(event.get("run", ""))
        if run is None or run.kind == "arm":
            return
        if kind == "trial":
            self.sampler.replay(event["trial"], event["knobs"], event["asked"])
        elif kind == "twin":
            self.sampler.replay(event["trial"], event["knobs"], event["asked"])
            self.twin(event["trial"], run, event["values"], diverged=event["diverged"])
        elif kind == "rung":
            self.reached(run, event["rung"], event["value"])
        elif kind == "start" and event["rung"] > self.ladder.first(run.config["epochs"]):
            self.scheduler.promoted(run.number, event["rung"] - 1)
        elif kind == "end" and event["status"] == "diverged":
            self.diverged(run)
