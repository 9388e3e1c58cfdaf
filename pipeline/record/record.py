"""What a study's ledger says, folded into runs: the one reading that the search, the tracker and
the report share.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.core.config import TrainConfig
from pipeline.core.history import best_epoch
from pipeline.core.identity import as_today
from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.lines import no_event
from pipeline.record.sources import Code
from pipeline.study.study import Study

Status = Literal["new", "running", "paused", "stopped", "complete", "diverged", "failed"]


def todays(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config with all fields of today's classes, so that runs of several versions can be
    compared.
    """
    return _todays(json.dumps(config))


@functools.lru_cache(maxsize=1024)
def _todays(config: str) -> dict[str, Any]:
    return as_today(TrainConfig, json.loads(config)).model_dump(mode="json")


@dataclass
class Run:
    """One training run: a trial of a search, or one replicate of an arm. The trials of an arm's
    search name the arm too.
    """

    key: str
    kind: Literal["trial", "arm"]
    config: dict[str, Any]
    number: int = -1  # trials count from 0, the baseline; arms have -1
    knobs: dict[str, Any] = field(default_factory=dict)
    asked: int | None = None  # the rung whose sampler proposed the trial
    search: str = ""  # the search that a trial was begun for; "" is the study's own
    arm: str = ""
    replicate: int = 0  # arms use replicates 1 … n, trials 0 or one above all of these
    status: Status = "new"
    rung: int = -1  # the rung it was last sent to
    epochs: list[dict[str, float]] = field(default_factory=list)  # epochs[i]["epoch"] == i + 1
    rungs: dict[int, float] = field(default_factory=dict)  # rung → val_acc at that rung
    best_epoch: int = 0
    num_params: int = 0
    num_macs: int = 0  # multiply-accumulates of one picture's forward pass; 0: not recorded
    num_train: int = 0  # training pictures; 0: not recorded
    test_loss: float | None = None
    test_acc: float | None = None
    final: dict[str, Any] = field(
        default_factory=dict
    )  # of a finished model that was compressed or averaged over views
    metrics: dict[str, float] = field(default_factory=dict)  # of the user's own, beside test_acc
    early: bool = False  # its patience ran out
    attempts: int = 0  # failures so far
    error: str = ""
    log: str = ""  # what a failure left, relative to the study's folder
    evidence: str = ""  # SHA-256 of the file that it left for the report (see `evidence`)
    ended_seq: int = -1
    mlflow_id: str = ""
    data: str = ""  # fingerprint of the pictures it was trained on; '' and 0: not recorded
    core_version: int = 0
    code: list[str] = field(
        default_factory=list
    )  # what it was trained by, of `Record.code`; empty: not recorded

    @property
    def seconds(self) -> float:
        return sum(epoch["seconds"] for epoch in self.epochs)

    @property
    def best(self) -> dict[str, float] | None:
        """The metrics of the best epoch (see `core.history`)."""
        return self.epochs[best_epoch(self.epochs) - 1] if self.epochs else None

    @property
    def unfinished(self) -> bool:
        """Whether a new session takes it up: interrupted, failed (the cause may be mended), or a
        trial that has reached the top rung but was killed before that was written."""
        at_top = self.status == "paused" and (
            self.early or len(self.epochs) >= self.config["epochs"]
        )
        return self.status in ("new", "running", "failed") or at_top

    def metric(self, name: str) -> float | None:
        """A result under the common vocabulary: test_* as recorded, last_* at the last epoch, the
        rest at the best; None where missing.

        Of a model that was changed after training, val_* at the best epoch are those of the model
        as changed.
        """
        if name.startswith("last_"):
            return self.epochs[-1][name.removeprefix("last_")] if self.epochs else None
        if name == "test_loss":
            return self.test_loss
        if name == "test_acc":
            return self.test_acc
        for found in (self.final, self.metrics):
            if name in found:
                return float(found[name])
        return self.best.get(name) if self.best else None


@dataclass
class Record:
    """A study as recorded."""

    begun: events.Study | None = None  # the first event; None: nothing is recorded
    sessions: list[events.Session] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    arm_names: list[str] = field(default_factory=list)  # of the study's design, in its order
    mlflow_ids: dict[str, str] = field(default_factory=dict)  # "uri|what" → run id
    plans: list[events.Plan] = field(
        default_factory=list
    )  # what was planned, and how that changed; empty in older records
    pilot: events.Pilot | None = None
    code: dict[str, Code] = field(default_factory=dict)
    repairs: list[events.Repair] = field(default_factory=list)  # what was lost of a damaged ledger
    mlflow_experiments: dict[str, str] = field(
        default_factory=dict
    )  # uri → id of the study's experiment there
    # search → runs by number; a configuration proposed twice keeps its first run, whichever search
    # that was begun for
    searches: dict[str, list[str]] = field(default_factory=lambda: {"": []})
    _adopted: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=dict
    )  # search → run begun elsewhere → its place

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

    def _begin(self, event: Event) -> None:
        match event:
            case events.Trial():
                self._trial(event)
            case events.Twin():
                self._twin(event)
            case events.Arm():
                self._arm(event)
            case events.Code():
                self.code[event.id] = event.parts
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
                self.begun = event
                self.arm_names = [arm.name for arm in study.ablation.design.expand()]
            case events.Session():
                self.sessions.append(event)
            case events.Plan():
                self.plans.append(event)
            case events.Pilot():
                self.pilot = event
            case events.Repair():
                self.repairs.append(event)
            case events.Finish():
                pass  # nothing about the runs
            case _:
                raise TypeError(f"an event of kind {type(event).__name__}")

    @property
    def header(self) -> events.Study:
        """The first event: study, data, note, versions. Raises LookupError where nothing is
        recorded.
        """
        if self.begun is None:
            raise LookupError("nothing is recorded")
        return self.begun

    @property
    def study(self) -> Study:
        """The study of the newest session: the header's, with the budgets that were asked for
        last.
        """
        study = as_today(Study, self.header.study)
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
    def trial_keys(self) -> list[str]:
        """The runs of the study's own search by number."""
        return self.searches[""]

    def trials(self, search: str = "") -> list[Run]:
        """The trials of a search in order of their numbers.

        One that was begun for another search is a copy, with the number and knobs that it has in
        this one.
        """
        keys, adopted = dict.fromkeys(self.searches.get(search, ())), self._adopted.get(search, {})
        return [
            replace(self.runs[key], **adopted[key]) if key in adopted else self.runs[key]
            for key in keys
        ]

    def arms(self) -> dict[str, list[Run]]:
        """Arm → its runs in order of replicates, arms in the order of the study's design."""
        table: dict[str, list[Run]] = {name: [] for name in self.arm_names}
        for run in self.runs.values():
            if run.kind == "arm":
                table.setdefault(run.arm, []).append(run)
        return {arm: sorted(runs, key=lambda run: run.replicate) for arm, runs in table.items()}

    def best_trial(self, search: str = "") -> Run | None:
        """The trial with the highest val_acc among those that went furthest; ties go to the earlier
        trial.
        """
        ranked = [
            run
            for run in self.trials(search)
            if run.rungs and run.status not in ("diverged", "failed")
        ]
        return max(
            ranked,
            key=lambda run: (max(run.rungs), run.rungs[max(run.rungs)], -run.number),
            default=None,
        )

    def _trial(self, event: events.Trial) -> None:
        run = Run(
            event.run,
            "trial",
            todays(event.config),
            number=event.trial,
            knobs=event.knobs,
            asked=event.asked,
            search=event.search,
            arm=event.arm,
            replicate=event.replicate,
        )
        self.runs[run.key] = run
        self.searches.setdefault(run.search, []).append(run.key)

    def _twin(self, event: events.Twin) -> None:
        key, search = event.run, event.search
        keys = self.searches.setdefault(search, [])
        if self.runs[key].search != search and key not in keys:
            place = {"number": event.trial, "knobs": event.knobs, "asked": event.asked}
            place |= {"search": search, "arm": event.arm}
            self._adopted.setdefault(search, {})[key] = place
        keys.append(key)

    def _arm(self, event: events.Arm) -> None:
        self.runs[event.run] = Run(
            event.run,
            "arm",
            todays(event.config),
            arm=event.arm,
            replicate=event.replicate,
            data=event.data,
            core_version=event.core_version,
        )

    def _start(self, event: events.Start) -> None:
        run = self.runs[event.run]
        if event.code not in ("", *run.code):
            run.code.append(event.code)
        run.status, run.rung, run.error = "running", event.rung, ""

    def _epoch(self, event: events.Epoch) -> None:
        run, metrics = self.runs[event.run], event.metrics
        if metrics["epoch"] == len(run.epochs) + 1:
            run.epochs.append({**metrics, "time": event.time})

    def _rung(self, event: events.Rung) -> None:
        run = self.runs[event.run]
        run.rungs[event.rung] = event.value
        run.status, run.early = "paused", event.early

    def _end(self, event: events.End) -> None:
        run = self.runs[event.run]
        run.status, run.error, run.ended_seq = event.status, event.error, event.seq
        for name in ("best_epoch", "num_params", "num_macs", "num_train", "evidence"):
            setattr(run, name, getattr(event, name) or getattr(run, name))
        run.test_loss, run.test_acc = event.test_loss, event.test_acc
        run.final, run.early = event.final, event.early or run.early
        run.metrics = event.metrics

    def _mlflow(self, event: events.Mlflow) -> None:
        self.mlflow_ids[f"{event.uri}|{event.what}"] = event.id
        if event.experiment:
            self.mlflow_experiments[event.uri] = event.experiment
        if event.what in self.runs:
            self.runs[event.what].mlflow_id = event.id
