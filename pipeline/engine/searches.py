"""The searches of a study: its own, and those that tune the arms. Which runs serve which of them,
and what came of them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable

from pipeline.core.config import TrainConfig
from pipeline.engine.trials import Trials
from pipeline.record import events
from pipeline.record.events import Event, Trial, Twin
from pipeline.record.record import Record, Run
from pipeline.study.designs import Arm
from pipeline.study.study import Study
from pipeline.study.tuning import Target


class Searches:
    """Each search has a ladder and a sampler of its own; a run that several propose is trained once
    and counts in all.

    An arm's configuration is settled once its search is over, and pinned by the first run that was
    begun with it: nothing that a shared run does later changes it. `record` is kept up to date by
    the ledger's listener.
    """

    def __init__(self, study: Study, record: Record, *, with_search: bool) -> None:
        self.record = record
        own = Target(
            "",
            study.baseline,
            study.space,
            study.search.num_trials if with_search else 0,
            study.search.seed,
            first=study.first_points() if with_search else (),
            past=study.from_past if with_search and study.search.listens else (),
        )
        self.main = Trials(own, study.search, record)
        self.arms = tuple(Trials(target, study.search, record) for target in study.targets())
        self._configs: dict[str, TrainConfig] = {}
        self.know(study.all_arms())
        self._named = {trials.target.name: trials for trials in (self.main, *self.arms)}
        self._serving = {(trials.target.arm, trials.target.serves): trials for trials in self.arms}
        self._members: dict[str, list[Trials]] = defaultdict(list)
        self._chosen: dict[
            str, TrainConfig | None
        ] = {}  # search → its best configuration; None: it found none
        for run in record.runs.values():
            trials = self._search(run.arm, run.replicate) if run.kind == "arm" else None
            if trials is not None and trials.target.name not in self._chosen:
                self._chosen[trials.target.name] = TrainConfig.parse(
                    run.config, source=f"run {run.key}"
                )

    @property
    def open(self) -> tuple[Trials, ...]:
        """The searches of arms that are not over."""
        return tuple(trials for trials in self.arms if trials.target.name not in self._chosen)

    def config(self, arm: str, replicate: int) -> TrainConfig | None:
        """What to train the replicate with; None as long as its search goes on, and where that
        found nothing.
        """
        trials = self._search(arm, replicate)
        return self._configs[arm] if trials is None else self._chosen.get(trials.target.name)

    def know(self, arms: Iterable[tuple[Arm, TrainConfig]]) -> None:
        """Take in the arms of the study with their configurations."""
        self._configs |= {arm.name: config for arm, config in arms}

    def hopeless(self, arm: str, replicate: int) -> bool:
        """Whether the search for the replicate's configuration is over and every trial of it was
        lost.
        """
        trials = self._search(arm, replicate)
        return trials is not None and self._chosen.get(trials.target.name, trials) is None

    def settle(self, busy: Collection[str]) -> None:
        """Choose the configurations of the searches that are over, where `busy` are the runs in
        training or about to be.
        """
        for trials in self.open:
            if trials.over(busy):
                best = self.record.best_trial(trials.target.name)
                name = trials.target.name
                self._chosen[name] = (
                    None
                    if best is None
                    else TrainConfig.parse(best.config, source=f"run {best.key}")
                )

    def wanted(self, run: Run) -> bool:
        """Whether a search that is not over waits for this trial."""
        return any(
            t.num_trials if t is self.main else t.target.name not in self._chosen
            for t in self._of(run)
        )

    def all_known(self, run: Run) -> bool:
        """Whether every search that the trial is part of takes part in this session."""
        own = self._of(run)
        return bool(own) and all(trials.num_trials for trials in own)

    def begin(self, trials: Trials, number: int, run: Run) -> None:
        """Trial `number` of a search is `run`, which is new."""
        trials.begin(number, run)
        self._members[run.key].append(trials)

    def twin(self, trials: Trials, event: Twin, run: Run) -> None:
        """A search proposed what `run` is trained with."""
        if run.key not in trials.numbers:
            self._members[run.key].append(trials)
        trials.twin(event.trial, run, event.values, diverged=event.diverged, sent=event.sent)

    def sent(self, run: Run, rung: int) -> None:
        """`run` is on its way to `rung`."""
        for trials in self._of(run):
            trials.sent(run, rung)

    def reached(self, run: Run, rung: int, value: float) -> None:
        """`run` is worth this at `rung`."""
        for trials in self._of(run):
            trials.reached(run, rung, value)

    def diverged(self, run: Run) -> None:
        """`run` diverged, or cannot be trained here."""
        for trials in self._of(run):
            trials.diverged(run)

    def replay(self, recorded: Iterable[Event]) -> None:
        """Bring every search to where it stood after these events (already folded into the
        record), and where it began anew as the study grew, after that.
        """
        for event in recorded:
            match event:
                case Trial() | Twin():
                    trials = self._named.get(event.search)
                    began = self.record.since.get(event.search, -1)
                    if trials is not None and event.seq > began:
                        self._propose(trials, event, self.record.runs[event.run])
                case events.Start() | events.Rung() | events.End():
                    run = self.record.runs[event.run]
                    for member in self._of(run):
                        member.replay(event, run)

    def _propose(self, trials: Trials, event: Trial | Twin, run: Run) -> None:
        trials.sampler.replay(event.trial, event.knobs, event.asked)
        if isinstance(event, Trial):
            self.begin(trials, event.trial, run)
        else:
            self.twin(trials, event, run)

    def _search(self, arm: str, replicate: int) -> Trials | None:
        return self._serving.get((arm, 0)) or self._serving.get((arm, replicate))

    def _of(self, run: Run) -> list[Trials]:
        return self._members.get(run.key, [])
