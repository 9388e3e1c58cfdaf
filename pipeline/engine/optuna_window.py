"""The study's searches as an Optuna database, for `optuna-dashboard`: a projection of the ledger,
as MLflow is. Nothing is read back: suggestions never come from here.

A trial has the number that it has in the ledger, so what is there says itself what is missing: a
projection that was killed goes on and repeats nothing. What Optuna cannot undo (a finished trial
that goes on, a space that has grown) is made anew as a whole.
"""

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.frozen import Scalar, flatten
from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.mlflow_places import store_uri
from pipeline.record.record import Record, Run
from pipeline.study.ranges import Float, Int, Range
from pipeline.study.space import Space
from pipeline.study.study import Study
from pipeline.study.tuning import RACE

STATES = {
    "complete": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
}
Values = dict[str, dict[Scalar, None]]
ALL = (events.Revision, events.Race, events.Session)  # after these any trial may be another

optuna.logging.set_verbosity(optuna.logging.ERROR)


class _Other(Exception):
    """What is there is not how what is to be there begins."""


class OptunaWindow:
    """A receiver of an outbox. `name`: of the study's own search; an arm's is named after it."""

    def __init__(self, name: str, file: Path) -> None:
        self._name, self._file = name, file
        self._record = Record()
        self._study: Study  # as it is when events are sent
        self._times: dict[str, tuple[float, float]] = {}  # run → begun, ended
        self._storage: RDBStorage | None = None
        self._there: dict[str, tuple[int, list[FrozenTrial]]] = {}  # search → its study, its trials
        self._seen: dict[str, tuple[list[str], Values]] = {}  # search → its runs, what was proposed

    def take(self, event: Event) -> None:
        """As `outbox.Receiver`."""
        self._record.apply(event)
        if isinstance(event, events.Trial | events.Arm | events.Source):
            self._times.setdefault(event.run, (event.time, event.time))
        elif isinstance(event, events.End):
            self._times[event.run] = (self._times[event.run][0], event.time)

    def send(self, owed: list[Event], *, last: bool) -> None:
        """As `outbox.Receiver`."""
        del last
        if not self._record.sessions:
            return
        if self._storage is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._storage = RDBStorage(store_uri(self._file.resolve()))
        touched = {getattr(event, "run", "") for event in owed}
        whole = any(isinstance(event, ALL) for event in owed)
        self._study = self._record.study
        if whole:
            self._seen.clear()
        try:
            for search in [name for name in self._record.searches if name != RACE]:
                self._sync(search, touched, whole=whole or search not in self._there)
        except Exception:
            self._there.clear()  # it is looked at anew
            raise

    def _sync(self, search: str, touched: set[str], *, whole: bool) -> None:
        try:
            self._bring(search, touched, whole=whole)
        except (_Other, ValueError):  # optuna's of distributions that do not go together
            assert self._storage is not None
            optuna.delete_study(study_name=self._called(search), storage=self._storage)
            del self._there[search]
            self._bring(search, touched, whole=True)

    def _bring(self, search: str, touched: set[str], *, whole: bool) -> None:
        storage, keys = self._storage, self._record.searches[search]
        assert storage is not None
        if search not in self._there:
            study = optuna.create_study(
                study_name=self._called(search),
                storage=storage,
                directions=self._directions(),
                load_if_exists=True,
            )
            if study.directions != self._directions() or len(study.trials) > len(keys):
                self._there[search] = study._study_id, []
                raise _Other
            self._there[search] = study._study_id, study.get_trials(deepcopy=False)
        place, there = self._there[search]
        if len(self._seen.get(search, ((), {}))[0]) != len(keys):
            self._seen[search] = keys.copy(), self._values(keys)
        for number, key in enumerate(keys):
            if number < len(there) and not (whole or key in touched):
                continue
            wanted = self._trial(search, self._record.runs[key], number)
            if number < len(there):
                _update(storage, there[number], wanted)
                there[number] = storage.get_trial(there[number]._trial_id)
            else:
                there.append(storage.get_trial(storage.create_new_trial(place, wanted)))

    def _called(self, search: str) -> str:
        return f"{self._name} {search}".rstrip()

    def _directions(self) -> list[StudyDirection]:
        best = StudyDirection.MAXIMIZE if self._sign > 0 else StudyDirection.MINIMIZE
        return [best, *[StudyDirection.MINIMIZE] * len(self._study.search.objectives)]

    @property
    def _sign(self) -> int:
        return self._study.baseline.sign

    def _trial(self, search: str, run: Run, number: int) -> FrozenTrial:
        params = dict(self._params(search, run))
        state = STATES.get(run.status, TrialState.RUNNING)
        value = run.value[1] if run.value else None
        costs = [float(run.costs.get(name, 0)) for name in self._study.search.objectives]
        values = None if value is None or state in (TrialState.RUNNING, TrialState.FAIL) else value
        begun, ended = self._times.get(run.key, (0.0, 0.0))
        trial = create_trial(
            state=TrialState.RUNNING,
            params={name: found for name, (_, found) in params.items()},
            distributions={name: one for name, (one, _) in params.items()},
            user_attrs={"run": run.key, "status": run.status, "epochs": len(run.epochs)},
            intermediate_values={
                int(epoch["epoch"]): float(epoch[run.selects]) for epoch in run.epochs
            },
        )
        trial.state, trial.number = state, number
        trial.values = None if values is None else [values, *costs]
        if state == TrialState.COMPLETE and trial.values is None:
            trial.state = TrialState.FAIL
        trial.datetime_start = datetime.datetime.fromtimestamp(begun)
        if state.is_finished():
            trial.datetime_complete = datetime.datetime.fromtimestamp(ended)
        return trial

    def _params(self, search: str, run: Run) -> Iterator[tuple[str, tuple[BaseDistribution, Any]]]:
        """What the search proposed of a run, each with its range."""
        seen = self._seen[search][1]
        for name, (knob, value) in active(self._study.space, run).items():
            yield name, (_distribution(knob, list(seen.get(name, {}) | {value: None})), value)

    def _values(self, keys: list[str]) -> Values:
        """What was proposed of each knob, each value once."""
        found: Values = {}
        for key in keys:
            for name, (_, value) in active(self._study.space, self._record.runs[key]).items():
                found.setdefault(name, {})[value] = None
        return found


def active(space: Space, run: Run) -> dict[str, tuple[Range, Scalar]]:
    """Knob → (range, value) of a trial; of one that was given by less than the space has, as the
    baseline is, read off its configuration; it may lie outside the ranges.
    """
    try:
        return space.active(run.knobs)
    except KeyError:
        flat = dict(flatten(run.config))
        slots = [slot for slot in space.slots() if space.has(slot, flat, lambda _: flat)]
        return {slot.name: (slot.knob, flat[slot.path]) for slot in slots if slot.path in flat}


def _update(storage: RDBStorage, there: FrozenTrial, wanted: FrozenTrial) -> None:
    """Bring a trial to what it is by now. Raises _Other where Optuna lets it be no other."""
    if there.params != wanted.params or there.user_attrs.get("run") != wanted.user_attrs["run"]:
        raise _Other
    if there.state.is_finished():
        if (there.state, there.values) != (wanted.state, wanted.values):
            raise _Other
        return
    for step, value in wanted.intermediate_values.items():
        if step not in there.intermediate_values:
            storage.set_trial_intermediate_value(there._trial_id, step, value)
    for key, fact in wanted.user_attrs.items():
        if there.user_attrs.get(key) != fact:
            storage.set_trial_user_attr(there._trial_id, key, fact)
    if wanted.state.is_finished():
        storage.set_trial_state_values(there._trial_id, wanted.state, wanted.values)


def _distribution(knob: Range, values: list[Scalar]) -> BaseDistribution:
    """A knob's range, widened to the points that lie outside, as a baseline may."""
    if isinstance(knob, Float | Int):
        known = [float(value) for value in values if isinstance(value, int | float)]
        low, high = min(knob.low, *known), max(knob.high, *known)
        log = knob.log and low > 0
        if isinstance(knob, Float):
            return FloatDistribution(low, high, log=log)
        return IntDistribution(math.floor(low), math.ceil(high), log=log)
    return CategoricalDistribution(tuple(dict.fromkeys((*knob.options, *values))))
