"""What a study's ledger says, folded into runs: the one reading that the search, the tracker and
the report share.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.core.history import level
from pipeline.core.identity import as_today
from pipeline.core.metrics import sign_of
from pipeline.errors import UserError
from pipeline.record import events
from pipeline.record.about import About
from pipeline.record.events import Event
from pipeline.record.folded_runs import Places, Runs
from pipeline.record.lines import no_event
from pipeline.record.revision import begun, definitions, looked_for, names, rename, searches
from pipeline.record.runs import Run as Run
from pipeline.record.runs import todays as todays
from pipeline.record.sources import Code
from pipeline.study.study import Study
from pipeline.study.tuning import RACE, Target

LEVELS = 3  # the format of ledgers whose rungs have levels

Shelved = tuple[list[str], Places]
"""The runs of a search by number, and the places of some."""


@dataclass
class Record(Runs):
    """A study as recorded."""

    begun: events.Study | None = None  # the first event; None: nothing is recorded
    revisions: list[events.Revision] = field(default_factory=list)  # how the study has grown
    sessions: list[events.Session] = field(default_factory=list)
    arm_names: list[str] = field(default_factory=list)  # of the study's design, in its order
    mlflow_ids: dict[str, str] = field(default_factory=dict)  # "uri|what" → run id
    plans: list[events.Plan] = field(default_factory=list)  # the first; each that changed it
    pilot: events.Pilot | None = None
    race: events.Race | None = None  # the newest of the study's own search as it is now
    raced: list[str] = field(default_factory=list)  # who stayed in each race that is over
    found: dict[str, Any] | None = None  # what that led to since the study grew last
    forms: list[Study] = field(default_factory=list)  # as begun, and each time that it had changed
    code: dict[str, Code] = field(default_factory=dict)
    repairs: list[events.Repair] = field(default_factory=list)  # what was lost of a damaged ledger
    ended: str = ""  # how the last command did; of one that was killed nothing is known
    mlflow_experiments: dict[str, str] = field(default_factory=dict)  # uri → the study's there
    # search → trials from before it began anew, and the number of the event with which it did
    former: dict[str, list[str]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    _shelf: dict[str, Shelved] = field(default_factory=dict)  # what was looked for → its search
    rankings: int = 0  # rises with each event that may change how trials are ranked

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Record":
        record = cls()
        for event in events:
            record.apply(event)
        return record

    def apply(self, event: Event) -> None:
        """Fold one event in; raises MachineError where no event of a study is such, UserError where
        a newer version of the code wrote it.
        """
        try:
            self._fold(event)
            self.rankings += self._may_rank(event)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise no_event(event, error) from error

    def _fold(self, event: Event) -> None:
        match event:
            case events.Epoch():
                self._epoch(event)
            case events.Start():
                self._start(event)
            case events.Rung():
                self._rung(event)
            case events.End():
                self._end(event)
            case events.Fail():
                run = self.runs[event.run]
                run.attempts, run.error, run.log = run.attempts + 1, event.error, event.log
            case _:
                self._begin(event)

    def _may_rank(self, event: Event) -> bool:
        """Whether the event, which was folded in, may have changed how the trials of a search are
        ranked.
        """
        if isinstance(event, events.Epoch | events.Mlflow):
            return False
        run = self.runs.get(getattr(event, "run", ""))
        return run is None or (run.kind == "trial" and run.search != RACE)

    def _begin(self, event: Event) -> None:
        match event:
            case events.Trial():
                self._trial(event)
            case events.Twin():
                self._twin(event)
            case events.Arm():
                self._arm(event)
            case events.Source():
                self._source(event)
            case events.Code():
                self.code[event.id] = event.parts
            case events.Race():
                self._race(event)
            case events.Mlflow():
                self._mlflow(event)
            case events.Unread():
                raise event.error
            case _:
                self._of_session(event)

    def _of_session(self, event: Event) -> None:
        match event:
            case events.Study():
                study = as_today(Study, event.study)
                if study.baseline.sign != sign_of(event.study["baseline"]):
                    raise UserError(
                        f"metrics '{study.baseline.select}': this was recorded when more of it was "
                        "better, and its code says now that less is; nothing has been changed: put "
                        "the code back to read the record"
                    )
                self.begun = event
                self.arm_names = names(study)
                self.forms = [study]
            case events.Revision():
                self._revise(event)
            case events.Session():
                self.sessions.append(event)
                self.ended = ""
            case events.Plan():
                self.plans.append(event)
            case events.Pilot():
                self.pilot = event
            case events.Repair():
                self.repairs.append(event)
            case events.Finish():
                self.ended = event.status
            case _:
                raise TypeError(f"an event of kind {type(event).__name__}")

    @property
    def header(self) -> events.Study:
        """The first event; raises LookupError where nothing is recorded."""
        if self.begun is None:
            raise LookupError("nothing is recorded")
        return self.begun

    @property
    def asked(self) -> dict[str, Any]:
        """The resolved study as it was begun or as it has grown since, with what its search found;
        budgets aside.
        """
        tree = self.revisions[-1].study if self.revisions else self.header.study
        if self.found is None:
            return tree
        return {**tree, "ablation": {**tree["ablation"], "found": self.found}}

    @property
    def changed(self) -> float:
        """When the study became what it is, in seconds since 1970."""
        return self.revisions[-1].time if self.revisions else self.header.time

    @property
    def study(self) -> Study:
        """The study of the newest session: as it has grown, with the budgets that were asked for
        last.
        """
        study = as_today(Study, self.asked)
        budget = self.sessions[-1].budget if self.sessions else {}
        return study.override(budget, source="ledger")

    @property
    def data(self) -> dict[str, Any]:
        """title, fingerprint, classes, counts, is_food11, unreadable, warnings of the pictures."""
        return self.header.data

    @property
    def note(self) -> str:
        """What must be said wherever results are shown (the embedded default), or an empty
        string.
        """
        return self.header.note

    @property
    def about(self) -> About:
        """Who the study is for and why, as its commands said."""
        return About.of(self.sessions)

    def worth(self, run: Run, epoch: int) -> float:
        """What a trial is worth at the rung that lies at this epoch: its level there, in records
        that were begun before there were levels the epoch's own value.
        """
        leveled = self.header.format >= LEVELS
        history, by = run.epochs, run.selects
        return level(history, epoch, by) if leveled else history[epoch - 1][by]

    @property
    def trial_keys(self) -> list[str]:
        """The runs of the study's own search by number."""
        return self.searches[""]

    @property
    def has_raced(self) -> bool:
        """Whether several trials raced: one alone stays without running."""
        return self.race is not None and len(self.race.candidates) > 1

    def trials(self, search: str = "") -> list[Run]:
        """The trials of a search in order of their numbers.

        One that was begun for another search is a copy, with the number and knobs that it has in
        this one.
        """
        keys = dict.fromkeys(self.searches.get(search, ()))
        return [self.trial(key, search) for key in keys]

    def trial(self, key: str, search: str = "") -> Run:
        """One of `trials`."""
        run, place = self.runs[key], self._adopted.get(search, {}).get(key)
        return replace(run, **place) if place else run

    def arms(self) -> dict[str, list[Run]]:
        """Arm → its runs in order of replicates, arms in the order of the table."""
        table: dict[str, list[Run]] = {name: [] for name in self.arm_names}
        for run in self.runs.values():
            if run.kind == "arm" and run.arm:
                table.setdefault(run.arm, []).append(run)
        return {arm: sorted(runs, key=lambda run: run.replicate) for arm, runs in table.items()}

    def apart(self) -> list[Run]:
        """The runs that the study, which has grown, has no use for now: kept, and never mixed."""
        used = {key for name, keys in self.searches.items() if name != RACE for key in keys}
        racing = [self.runs[key].config for key in self.race.candidates] if self.race else []
        used |= {run.key for run in self.trials(RACE) if run.config in racing}
        used |= self._sources()
        return [
            run
            for run in self.runs.values()
            if (not run.arm if run.kind == "arm" else run.key not in used)
        ]

    def _sources(self) -> set[str]:
        """The runs that vary the reference as it is now."""
        found = [run for run in self.runs.values() if run.kind == "source"]
        if not found:
            return set()
        arm, config = self.study.arms()[0]
        made = [run.config for run in self.arms()[arm.name]] + [config.model_dump(mode="json")]
        return {run.key for run in found if run.config in made}

    def ranked_trials(self, search: str = "") -> list[Run]:
        """The trials with a value: who went furthest first, then by their worth at that rung; of
        equal ones the earlier.
        """
        places = []
        for run in self.trials(search):
            if run.rungs and run.status not in ("diverged", "failed"):
                rung = max(run.rungs)
                places.append((-rung, -run.sign * run.rungs[rung], run.number, run))
        places.sort(key=operator.itemgetter(0, 1, 2))
        return [run for *_, run in places]

    def best_trial(self, search: str = "") -> Run | None:
        """The first of `ranked_trials`."""
        return next(iter(self.ranked_trials(search)), None)

    def stayed(self) -> Run | None:
        """The trial that the race of the study's search left; None where it is open or was none."""
        key = self.race.winner if self.race else ""
        return next((run for run in self.trials() if run.key == key), None)

    def _revise(self, event: events.Revision) -> None:
        """A search that looks for the same goes on, one that is over stays as it was; any other
        begins anew, and takes over what is its own of the trials that it had.
        """
        before, after = as_today(Study, self.asked), as_today(Study, event.study)
        was = {looked_for(target): target.name for target in searches(before)}
        self._shelf |= {made: self._taken_off(name) for made, name in was.items()}
        for name, keys in self.searches.items():
            self.former[name] = list(dict.fromkeys((*self.former.get(name, ()), *keys)))
        if next(iter(definitions(before).values())) != next(iter(definitions(after).values())):
            self.pilot = None  # it was of another reference
        rename(self.runs.values(), before, after)
        self.revisions.append(event)
        self._become(after)
        self.found = None
        found: dict[str, Shelved] = {
            name: (keys, {}) for name, keys in self.searches.items() if name == RACE
        }
        for target in searches(after):
            made, name = looked_for(target), target.name
            if was.get(made) == name:
                found[name] = self._shelf[made]
                continue
            self.since[name] = event.seq
            self.race = self.race if name else None  # of other trials
            known, places = self._shelf.get(made, ([], {}))
            over = begun(self.runs.values(), target)
            found[name] = (known, self._named(target, known, places)) if over else ([], {})
            self.former[name] = list(dict.fromkeys((*self.former.get(name, ()), *known)))
        self.searches = {name: keys for name, (keys, _) in found.items()}
        self._adopted = {name: places for name, (_, places) in found.items()}

    def _race(self, event: events.Race) -> None:
        """A race that is over leaves an arm; what was found before is none any more."""
        self.race = event
        if not event.winner:
            return
        self.raced.append(event.winner)
        before = as_today(Study, self.asked)
        self.found = {event.arm: event.overrides}
        after = as_today(Study, self.asked)
        rename(self.runs.values(), before, after)
        self._become(after)

    def _become(self, study: Study) -> None:
        self.arm_names = names(study)
        self.forms.append(study)

    def _taken_off(self, name: str) -> Shelved:
        return list(self.searches.get(name, ())), dict(self._adopted.get(name, {}))

    def _named(self, target: Target, keys: list[str], places: Places) -> Places:
        """The places of trials in a search that was called otherwise."""
        named: Places = {}
        for key in dict.fromkeys(keys):
            run = self.runs[key]
            own = {"number": run.number, "knobs": run.knobs, "asked": run.asked}
            named[key] = places.get(key, own) | {"search": target.name, "arm": target.arm}
        return named

    def _mlflow(self, event: events.Mlflow) -> None:
        self.mlflow_ids[f"{event.uri}|{event.what}"] = event.id
        if event.experiment:
            self.mlflow_experiments[event.uri] = event.experiment
        if event.what in self.runs:
            self.runs[event.what].mlflow_id = event.id
