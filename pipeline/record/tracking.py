"""MLflow as a projection of the ledger: one thread, batches, replayable.

A run is created once and its id goes into the ledger; metric points carry the ledger's own step and
time, and MLflow stores an equal point once: sending the same events again changes nothing. MLflow
being slow or away never stops training.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.record import events, mlflow_views
from pipeline.record.events import Event, Mlflow
from pipeline.record.mlflow_about import send_about
from pipeline.record.mlflow_artifacts import Artifacts
from pipeline.record.mlflow_batch import Batch
from pipeline.record.mlflow_places import sqlite_file, tracking_uri
from pipeline.record.mlflow_store import (
    connect,
    experiment_of,
    log_dataset,
    log_tags,
    restore_runs,
)
from pipeline.record.mlflow_trouble import (
    Trouble,
    Unusable,
    explain,
    is_missing,
    missing_is_no_matter,
    redacted,
    refused,
)
from pipeline.record.outbox import Anew, Outbox
from pipeline.record.record import Record, Run
from pipeline.record.revision import marks
from pipeline.study.study import Study

Summary = Callable[[str, Sequence[float], Study], dict[str, float]]
METRICS = ("train_loss", "train_acc", "val_loss", "val_acc", "lr", "seconds")


class Tracker:
    """Projects a study's events onto MLflow runs: study → trials, study → arms → replicates."""

    def __init__(
        self,
        root: Path,
        folder: Path,
        recorded: list[Event],
        append: Callable[[Mlflow], Mlflow],
        summary: Summary,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`recorded`: those in the ledger of the study in `folder`; `append` writes one to it.

        `summary`: what an arm's replicates come to, of a metric's name and their values (see
        `analysis.arm_summary`).
        `tell` is called from another thread, at once, with what must be known before the end.
        """
        self.uri = tracking_uri(root)
        self.report: Path | None = None
        self._root, self._folder, self._append, self._tell = root.resolve(), folder, append, tell
        self._record, self._summary = Record(), summary
        # up to here an earlier process may have created runs
        self._old: float = recorded[-1].seq if recorded else -1
        self._tried: set[str] = set()  # an answer that got lost may have created these
        self._batch = Batch()
        self._studies: dict[tuple[int, int], Study] = {}  # the newest, by what it was read from
        self._client: Any = None
        self._experiment = ""
        self._trouble: Trouble | None = None
        self._told: set[str] = set()
        self._marks: tuple[int, dict[str, str]] = 0, {}
        self.shown_uri = redacted(self.uri)
        self._place = str(sqlite_file(self.uri) or self.shown_uri)
        self._artifacts = Artifacts(folder, self._known)
        self._outbox = Outbox(self, folder / "mlflow.json", self.shown_uri, recorded)
        self.put, self.flush = self._outbox.put, self._outbox.flush

    def close(self, report: Path | None = None, timeout_seconds: float = 300.0) -> str:
        """Send what is left, and `report` as the study run's artifacts; what went wrong, or ''."""
        self.report = report
        problem = self._outbox.close(timeout_seconds)
        return (
            (self._trouble or Trouble(redacted(problem)[:300])).text(self._place) if problem else ""
        )

    def study_run(self) -> tuple[str, str]:
        """(experiment id, run id) of the study run, empty where MLflow was never reached."""
        return self._experiment, self._known("study")

    def take(self, event: Event) -> None:
        self._record.apply(event)
        self._artifacts.take(event)

    def send(self, owed: list[Event], *, last: bool) -> None:
        if not self._record.sessions:  # which says where to
            return
        try:
            if self._client is None:
                self._connect()
            self._send(owed, last=last)
            self._trouble = None
        except Exception as error:
            self._client = None  # what was deleted meanwhile is looked for anew
            self._batch.forget()
            if is_missing(error) and self._record.mlflow_ids:
                self._record.mlflow_ids.clear()
                self._old = math.inf  # all of them may be there, under other ids
                self._say("MLflow no longer has the runs of this study, which are sent there again")
                raise Anew from error
            self._trouble = explain(error, self.uri)
            if self._trouble.way:  # now, not after hours of training
                self._say(f"warning: {self._trouble.text(self._place)}")
            raise

    def _say(self, text: str) -> None:
        """Tell it once."""
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def _send(self, owed: list[Event], *, last: bool) -> None:
        for event in owed:
            self._project(event)
        self._batch.send(self._client)
        if last and self.report:
            self._artifacts.rest(self._client, self.report)

    def _project(self, event: Event) -> None:
        match event:
            case events.Revision() | events.Race():
                self._revise(event)
            case events.Session():
                self._session(event)
            case events.Trial() | events.Source():
                self._trial(event)
            case events.Arm():
                self._arm(event)
            case events.End():
                self._end(event)
            case events.Finish():
                self._finish(event)
            case _:
                self._progress(event)

    def _progress(self, event: Event) -> None:
        match event:
            case events.Epoch():
                own = event.metrics.keys() - {*METRICS, "epoch", "time"}
                for name in (*METRICS, *sorted(own)):
                    value, step = event.metrics[name], event.metrics["epoch"]
                    self._batch.point(self._known(event.run), name, value, event.time, int(step))
            case events.Start():
                self._batch.status(self._known(event.run), "RUNNING")
                self._batch.tags(self._known(event.run), {"status": "running"})
            case events.Rung():
                place, number = self._known(event.run), event.rung + 1
                self._batch.status(place, "SCHEDULED")
                name = f"search_{self._record.runs[event.run].selects}"
                self._batch.point(place, name, event.value, event.time, number)
                self._batch.tags(place, {"status": f"waiting at rung {number}"})
            case events.Fail():
                self._batch.tags(self._known(event.run), {"error": event.error})
                if event.log and (withheld := self._artifacts.log(self._client, event)):
                    self._say(f"warning: {explain(withheld, self.uri).text(self._place)}")

    def _connect(self) -> None:
        if trouble := refused(self.uri):
            raise Unusable(trouble.what, trouble.way)
        client = connect(self.uri, self._root, self._folder / "mlflow.new")
        where, named = (self.uri, self._root, self._folder.name), self._record.about.experiment
        self._experiment = experiment_of(client, *where, self._known("study"), self._say, named)
        restore_runs(
            client, self._experiment, self._record.begun.id if self._record.begun else "", self._say
        )
        client.set_experiment_tag(
            self._experiment, "mlflow.experimentKind", "custom_model_development"
        )  # not a chat model
        self._client = client

    def _known(self, what: str) -> str:
        return self._record.mlflow_ids.get(f"{redacted(self.uri)}|{what}", "")

    def _run_id(self, what: str, event: Event, name: str, parent: str, tags: dict[str, Any]) -> str:
        """The MLflow run for `what` (a run key, "study", or what `_arm_key` says): known, found
        again after a kill, or created.
        """
        known = self._known(what)
        if known:
            return known
        identity = f"{self._record.header.id}/{what}"
        found: list[Any] = []
        if event.seq <= self._old or what in self._tried:
            quoted = identity.replace("'", "")
            found = list(
                self._client.search_runs(
                    [self._experiment], f"tags.`pipeline.id` = '{quoted}'", max_results=1
                )
            )
        if found:
            run_id: str = found[0].info.run_id
        else:
            tags = {
                "pipeline.id": identity.replace("'", ""),
                "mlflow.runName": name,
                **mlflow_views.common_tags(self._record),
                **tags,
            }
            if parent:
                tags["mlflow.parentRunId"] = parent
            text = {key: str(value)[:5000] for key, value in tags.items()}
            self._tried.add(what)
            run_id = self._client.create_run(
                self._experiment, start_time=int(event.time * 1000), tags=text, run_name=name
            ).info.run_id
            self._batch.created(run_id)
        log_dataset(self._client, run_id, self._record.data)
        made = Mlflow(uri=redacted(self.uri), what=what, id=run_id, experiment=self._experiment)
        self._record.apply(self._append(made))
        return run_id

    def _session(self, event: events.Session) -> None:
        header = self._record.header
        tags = mlflow_views.study_tags(self._record)
        run_id = self._run_id("study", event, self._folder.name, "", tags)
        self._batch.params(run_id, header.study["baseline"])
        facts = {f"environment.{k}": v for k, v in event.versions.items()}
        facts |= {f"budget.{k}": v for k, v in event.budget.items()}
        self._batch.tags(run_id, facts | {"status": "running"})
        keys = (*self._record.runs, *map(self._arm_key, self._record.arms()))
        those = [known for known in map(self._known, keys) if known]
        send_about(self._client, self._record, event, self._experiment, run_id, those)
        self._batch.status(run_id, "RUNNING")
        # of a process that was killed; those that go on send their own start
        for run in self._record.runs.values():
            known = self._known(run.key)
            if run.status == "running" and known and event.seq <= self._old + 1:
                self._batch.status(known, "SCHEDULED")

    def _revise(self, event: events.Revision | events.Race) -> None:
        """Tag the replicates with the arms that they are of now."""
        for run in self._record.runs.values():
            known = self._known(run.key)
            if run.kind == "arm" and known:
                self._batch.tags(known, self._replicate_tags(run, event))
        if isinstance(event, events.Revision) and (study := self._known("study")):
            self._batch.tags(study, {"changed": "; ".join(event.changed)})
        for arm in self._record.arms():  # a race changes the numbers of what it found alone
            if isinstance(event, events.Revision) or arm == event.arm:
                self._arm_summary(arm, event)

    def _trial(self, event: events.Trial | events.Source) -> None:
        tags = mlflow_views.trial_tags(self._study(), event)
        parent = self._arm_run(event.arm, event) if event.arm else self._known("study")
        run_id = self._run_id(event.run, event, mlflow_views.trial_name(event), parent, tags)
        self._batch.params(run_id, event.config)
        for cost, number in self._record.runs[event.run].costs.items():
            self._batch.point(run_id, f"cost_{cost}", number, event.time, 0)

    def _arm(self, event: events.Arm) -> None:
        tags = self._replicate_tags(run := self._record.runs[event.run], event)
        parent, name = tags["mlflow.parentRunId"], tags["mlflow.runName"]
        known = self._run_id(event.run, event, name, parent, tags | {"status": "running"})
        self._batch.params(known, event.config)
        self._batch.tags(known, tags)  # it may have told sources of variance apart before
        if 0 <= run.ended_seq < event.seq:
            self._arm_summary(event.arm, event)

    def _replicate_tags(self, run: Run, event: Event) -> dict[str, Any]:
        """What a replicate is now, in the study as it has grown: of some arm, or of none."""
        parent = self._arm_run(run.arm, event) if run.arm else self._known("study")
        tags = mlflow_views.replicate_tags(self._study(), run)
        return {**tags, "mlflow.parentRunId": parent}

    def _arm_run(self, arm: str, event: Event) -> str:
        tags = mlflow_views.run_tags(self._study(), "arm", arm, {})
        return self._run_id(self._arm_key(arm), event, f"arm {arm}", self._known("study"), tags)

    def _arm_key(self, arm: str) -> str:
        """What an arm's run is known by: its name, and a mark where that named another arm before
        the study grew.
        """
        if self._marks[0] != len(self._record.forms):
            self._marks = len(self._record.forms), marks(self._record.forms)
        mark = self._marks[1].get(arm, "")
        return f"arm:{arm}#{mark}" if mark else f"arm:{arm}"

    def _end(self, event: events.End) -> None:
        run = self._record.runs[event.run]
        run_id = self._known(run.key)
        for name, value in mlflow_views.results(event, run.best or {}, run.selects).items():
            self._batch.point(run_id, name, value, event.time, len(run.epochs))
        status, tag = mlflow_views.END[event.status]
        error = {"error": event.error} if event.error else {}
        self._batch.tags(run_id, {"status": tag} | error)
        last = (
            run.epochs[-1]["time"] if event.status == "stopped" and run.epochs else event.time
        )  # not its wait
        self._batch.status(run_id, status, last)
        if run.kind == "arm" and run.arm:
            self._arm_summary(run.arm, event)

    def _finish(self, event: events.Finish) -> None:
        now = {"study", *map(self._arm_key, self._record.arms())}
        place = f"{redacted(self.uri)}|"
        for key, known in self._record.mlflow_ids.items():
            what = key.removeprefix(place)
            if key.startswith(place) and what in now:
                self._batch.tags(known, {"status": event.status})
                self._batch.status(known, "FINISHED", event.time)
            elif key.startswith(place) and what.startswith("arm:"):
                with missing_is_no_matter():
                    former = {"status": event.status, "kind": "former arm"}
                    log_tags(self._client, known, former)
                    self._client.set_terminated(known, "FINISHED", int(event.time * 1000))
        view = mlflow_views.saved_view(mlflow_views.judged(self._record))
        self._client.set_experiment_tag(self._experiment, mlflow_views.VIEW_TAG, view)
        for run in self._record.runs.values():
            if run.status == "running" and self._known(run.key):
                self._batch.status(self._known(run.key), "SCHEDULED")
                self._batch.tags(self._known(run.key), {"status": "interrupted"})

    def _arm_summary(self, arm: str, event: Event) -> None:
        """Mean, sd, interval and n of the arm so far, at best and last epochs; step = n: a replay
        changes nothing.
        """
        known = self._known(self._arm_key(arm))
        if not known:
            return
        for name, values in mlflow_views.values_of(self._record, arm, event):
            for fact, value in self._summary(name, values, self._study()).items():
                self._batch.point(known, fact, value, event.time, len(values))

    def _study(self) -> Study:
        """The record's, which is put together anew only where a session or a change has come."""
        seen = len(self._record.sessions), len(self._record.forms)
        if seen not in self._studies:
            self._studies = {seen: self._record.study}
        return self._studies[seen]
