"""What a search knows: who waits at which rung, and what the sampler has been told. Rebuilt from
the ledger's events.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable

from pipeline.core.config import TrainConfig
from pipeline.engine.sampler import RungSampler
from pipeline.frozen import Scalar
from pipeline.record import events
from pipeline.record.record import Record, Run
from pipeline.record.revision import place
from pipeline.study.around import Around
from pipeline.study.schedulers import SCHEDULERS
from pipeline.study.study import Search
from pipeline.study.tuning import Target


class Trials:
    """Scheduler and sampler of a search, kept in step. `record` is kept up to date by the ledger's
    listener.

    A run may have been begun for another search; here it counts as the trial that proposed it. The
    search of an arm looks for one configuration: it has no objective but the metric.
    """

    def __init__(self, target: Target, search: Search, record: Record) -> None:
        self.target, self.record, self.num_trials = target, record, target.num_trials
        self._sign = target.config.sign  # scheduler and sampler are told: higher is better
        self.around, self.objectives = Around(target.space, target.config), search.objectives
        self._against = () if target.name else search.objectives
        self.scheduler = SCHEDULERS[search.scheduler](
            reduction=search.reduction, num_rungs=search.num_rungs
        )
        self.ladder = self.scheduler.ladder
        self.sampler = RungSampler(
            target.space,
            kind=search.sampler,
            seed=target.seed,
            num_rungs=self.ladder.num_rungs,
            config=target.config,
            begins=1 + len(target.first),
            num_costs=len(self._against),
            past=target.past,
        )
        self.closed = False  # no new trial is begun, for want of time
        self._former = deque(record.runs[key] for key in record.former.get(target.name, ()))
        self.numbers: dict[str, int] = {}  # run → the trial that it is here
        self._twins: dict[str, list[int]] = defaultdict(
            list
        )  # run → later trials of the same configuration

    @property
    def num_begun(self) -> int:
        return len(self.record.searches.get(self.target.name, ()))

    @property
    def num_left(self) -> int:
        """Trials that are not begun."""
        return max(0, self.num_trials - self.num_begun)

    @property
    def all_begun(self) -> bool:
        """Whether no new trial will be proposed."""
        return self.closed or not self.num_left

    def promote(self) -> tuple[Run, int] | None:
        """(run, next rung) of the waiting trial to send on now, marked as gone; None where a new
        trial is better.
        """
        promoted = self.scheduler.next(closing=self.all_begun)
        if promoted is None:
            return None
        return self.record.runs[self.record.searches[self.target.name][promoted[0]]], promoted[1]

    def outstanding(self) -> bool:
        """Whether a trial could be begun or sent on, want of time aside; changes nothing."""
        return self.num_trials > 0 and bool(self.num_left or self._goes_on())

    def over(self, busy: Collection[str]) -> bool:
        """Whether nothing is left to do, where `busy` are the runs being trained or about to be."""
        left = not self.all_begun or self._goes_on()
        return not (self.num_trials and left) and not any(key in self.numbers for key in busy)

    def _goes_on(self) -> bool:
        """Whether a waiting trial is sent on, no new one being begun."""
        return self.scheduler.has_next(closing=True)

    def expected_epochs(self) -> float:
        """Epochs that the whole search takes."""
        return self.num_trials * self.ladder.expected(self.target.config.epochs)

    def left_epochs(self) -> float:
        """Of `expected_epochs`, what is left; 0 where no trial can be begun or sent on."""
        left = self.expected_epochs() - sum(
            run.spent for run in self.record.trials(self.target.name)
        )
        return max(left, 1.0) if self.outstanding() else 0.0

    def propose(self, number: int) -> tuple[dict[str, Scalar], int | None]:
        """(knobs, the rung that proposed them) of trial `number`; nobody proposes trial 0, which
        is the target's own, and those that are to come first.
        """
        if number > len(self.target.first):
            return self.sampler.ask(number)
        knobs = (
            dict(self.target.first[number - 1])
            if number
            else self.around.point(self.target.config.flat()) or {}
        )
        self.sampler.replay(number, knobs, None)
        return knobs, None

    def take_over(self) -> tuple[dict[str, Scalar], None] | None:
        """As `propose`, of the next run from before the study has grown that this search could have
        proposed; None where there is none left.
        """
        taken = self.record.searches.get(self.target.name, ())
        while self._former and len(taken) > len(self.target.first):
            run = self._former.popleft()
            if run.key in taken or run.replicate != self.target.replicate:
                continue
            knobs = place(run, self.target.config, self.target.space)
            if knobs is not None:
                self.sampler.replay(self.num_begun, knobs, None)
                return knobs, None
        return None

    def costs(self, config: TrainConfig) -> dict[str, int]:
        """What is known of a network before it is trained, where the study has such objectives."""
        if not self.objectives:
            return {}
        from pipeline.core.finished.weigh import costs  # torch takes seconds to import

        data, size = self.record.data, config.dataset.size
        return costs(config, self.objectives, data["channels"], size, len(data["classes"]))

    def begin(self, number: int, run: Run) -> None:
        """Trial `number` is `run`, which is new."""
        self.numbers[run.key] = number
        self.scheduler.price(number, self._costs(run))

    def _costs(self, run: Run) -> list[int]:
        return [run.costs[name] for name in self._against]

    def twin(
        self,
        number: int,
        run: Run,
        values: Iterable[tuple[int, float]],
        *,
        diverged: bool,
        sent: int | None,
    ) -> None:
        """Trial `number` proposes `run`'s configuration again: it takes the values it has by now,
        and those to come.

        `sent`: the rung that the run is on its way to. One that was begun for another search stands
        in the rungs here too.
        """
        known = dict(values)
        first = self.numbers.setdefault(run.key, number) == number
        if first:
            self.scheduler.price(number, self._costs(run))
        else:
            self._twins[run.key].append(number)
        for rung, value in sorted(known.items()):
            self._tell(number, rung, value, run)
            if first:
                self.scheduler.record(number, rung, self._sign * value)
        if diverged:
            self.sampler.diverge(number, run.rung)
            if first:
                self.scheduler.diverge(number, run.rung)
        elif first and sent is not None:
            self.sent(run, sent)

    def first(self, run: Run) -> int:
        """The rung at which `run` is first judged, whatever search it was begun for."""
        return self.ladder.first(run.config["epochs"], run.number)

    def sent(self, run: Run, rung: int) -> None:
        """`run` is on its way to `rung`."""
        if rung > self.first(run):
            self.scheduler.promoted(self.numbers[run.key], rung - 1)

    def reached(self, run: Run, rung: int, value: float) -> None:
        """`run` is worth this at `rung`; so are its twins."""
        number = self.numbers[run.key]
        self.scheduler.record(number, rung, self._sign * value)
        for one in (number, *self._twins[run.key]):
            self._tell(one, rung, value, run)

    def _tell(self, number: int, rung: int, value: float, run: Run) -> None:
        self.sampler.tell(number, rung, self._sign * value, self._costs(run))

    def diverged(self, run: Run) -> None:
        """`run` diverged on its way to the rung it was sent to, or cannot be trained here."""
        number = self.numbers[run.key]
        self.scheduler.diverge(number, run.rung)
        for one in (number, *self._twins[run.key]):
            self.sampler.diverge(one, run.rung)

    def replay(self, event: events.Event, run: Run) -> None:
        """Bring scheduler and sampler to where they stood after this event of `run` (already folded
        into the record).
        """
        match event:
            case events.Rung():
                self.reached(run, event.rung, event.value)
            case events.Start():
                self.sent(run, event.rung)
            case events.End(status="diverged"):
                self.diverged(run)
            case events.End(infeasible=True) if run.kind == "trial":
                self.diverged(run)
