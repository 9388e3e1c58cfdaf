import contextlib
import json
import math
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from scipy import stats

from pipeline.analysis.arm_summary import summary
from pipeline.engine.queue import Plan
from pipeline.frozen import flatten
from pipeline.record import events, mlflow_views, outbox
from pipeline.record.ledger import FILE, Event, Ledger, read_events
from pipeline.record.mlflow_places import FILE as STORE
from pipeline.record.mlflow_places import tracking_uri
from pipeline.record.record import Record
from pipeline.record.tracking import METRICS, Tracker, redacted
from pipeline.study.designs import Arms
from pipeline.study.study import Study
from tests.driver import DATA, Worker, open_plan, train
from tests.studies import small_study

ROOT = Path(__file__).parents[1]
ODD_NAMES = ("plain", 'it\'s; DROP "runs" -- `x` %', "é\\ñ 漢字 \u202e \n", "x" * 100)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """One store for all tests, since making its tables takes seconds; every test has an experiment
    of its own.
    """
    return tmp_path_factory.mktemp("mlruns")


@dataclass
class Session:
    """A plan whose events go to MLflow, put together as a command does it."""

    root: Path
    folder: Path
    study: Study

    def __post_init__(self) -> None:
        fresh: list[Event] = []
        self.put: Any = fresh.append
        self.plan: Plan = open_plan(
            self.folder, self.study, listener=lambda event: self.put(event), note="a note"
        )
        self.tracker = Tracker(
            self.root, self.folder, self.plan.ledger.events, self.plan.ledger.append, summary
        )
        for event in fresh:
            self.tracker.put(event)
        self.put = self.tracker.put

    def close(self, report: Path | None = None) -> str:
        problem = self.tracker.close(report)
        self.plan.ledger.close()
        return problem


def whole(root: Path, folder: Path, study: Study, worker: Worker | None = None) -> Record:
    session = Session(root, folder, study)
    train(session.plan, worker or Worker())
    assert session.close() == ""
    return Record.of(read_events(folder))


def seen(root: Path, name: str) -> dict[str, Any]:
    """All that the store holds of an experiment, by our own identity; fails where two runs claim
    the same one.
    """
    client = MlflowClient(tracking_uri(root))
    found = client.search_runs(
        [client.get_experiment_by_name(name).experiment_id], max_results=1000
    )
    names = {
        run.info.run_id: run.data.tags["pipeline.id"].removeprefix("feedc0de/") for run in found
    }
    assert max(Counter(names.values()).values()) == 1
    points: dict[str, dict[str, list[tuple[int, float, int]]]] = {key: {} for key in names}
    every = "select run_uuid, key, step, value, timestamp, is_nan from metrics order by 5, 3, 4"
    with contextlib.closing(sqlite3.connect(root / STORE)) as database:  # at once, not one by one
        for key, metric, step, value, stamp, is_nan in database.execute(every):
            if key in points:
                point = (step, math.nan if is_nan else value, stamp)
                points[key].setdefault(metric, []).append(point)
    view = {}
    for run in found:
        key, histories = names[run.info.run_id], points[run.info.run_id]
        assert histories.keys() == run.data.metrics.keys()
        tags = {tag: value for tag, value in run.data.tags.items() if tag != "mlflow.parentRunId"}
        parent = names.get(run.data.tags.get("mlflow.parentRunId", ""), "")
        view[key] = {
            "status": run.info.status,
            "parent": parent,
            "tags": tags,
            "metrics": histories,
        }
        view[key]["params"] = run.data.params
    return view


def test_an_arm_that_means_something_else_has_a_run_of_its_own(root, tmp_path):
    """As has one that is called otherwise, with its numbers, though nothing is trained for it."""

    def arms(**named: float) -> Study:
        found = {name: {"model.dropout": value} for name, value in named.items()}
        design = {"name": "arms", "arms": {"baseline": {}, **found}}
        return small_study(num_trials=0).override({"ablation.design": design})

    folder = tmp_path / "grown-digits"
    whole(root, folder, arms(weak=0.1, strong=0.3))
    before = seen(root, folder.name)
    record = whole(root, folder, arms(weak=0.2, firm=0.3))
    view = seen(root, folder.name)
    for what in ("params", "metrics", "status"):
        assert view["arm:weak"][what] == before["arm:weak"][what], "what was shown stays"
    assert view["arm:weak"]["tags"]["kind"] == view["arm:strong"]["tags"]["kind"] == "former arm"
    former = [one for one in view.values() if one["tags"]["kind"] == "former replicate"]
    assert len(former) == 2
    assert all(one["tags"]["arm"] == "" for one in former)
    (weak,) = (key for key in view if key.startswith("arm:weak#"))
    for arm, key in (("weak", weak), ("firm", "arm:firm")):
        runs = record.arms()[arm]
        assert {view[run.key]["parent"] for run in runs} == {key}
        assert view[key]["metrics"]["val_acc_n"][-1][1] == len(runs) == 2
        (mean,) = (value for step, value, _ in view[key]["metrics"]["val_acc_mean"] if step == 2)
        assert mean == pytest.approx(sum(run.best["val_acc"] for run in runs) / 2)
    assert {view[run.key]["tags"]["mlflow.runName"] for run in record.arms()["firm"]} == {
        "#1 firm",
        "#2 firm",
    }
    assert view["arm:strong"]["metrics"] == before["arm:strong"]["metrics"]
    assert "ablation.design.arms.weak.model.dropout" in view["study"]["tags"]["changed"]
    assert {one["status"] for key, one in view.items() if key.startswith("arm:")} == {"FINISHED"}


def test_a_study_that_grew_before_its_first_session_is_shown(root, tmp_path):
    """The command was killed between its first two events."""
    folder, study = tmp_path / "early-digits", small_study(num_trials=0)
    with Ledger(folder) as ledger:
        tree = study.model_dump(mode="json")
        ledger.append(events.Study(id="feedc0de", study=tree, data=DATA, note=""))
    arms = {"baseline": {}, "other": {"model.dropout": 0.1}}
    grown = study.override({"ablation.design": {"name": "arms", "arms": arms}})
    record = whole(root, folder, grown)
    assert set(seen(root, folder.name)) == {"study", "arm:baseline", "arm:other", *record.runs}


def trouble() -> Worker:
    return Worker(
        fails=lambda config, _: config.optimizer.name == "sgd" and config.batch_size == 16,
        diverges=lambda config: config.optimizer.name == "sgd" and config.batch_size == 32,
        retry=False,
    )


def test_a_whole_study_as_mlflow_shows_it(root, tmp_path):
    study = small_study(epochs=4, num_trials=8, reduction=2)
    folder = tmp_path / "whole-digits"
    record = whole(root, folder, study, trouble())
    view = seen(root, folder.name)
    arms = [arm.name for arm, _ in study.arms()]
    assert set(view) == {"study", *(f"arm:{arm}" for arm in arms), *record.runs}

    assert view["study"]["parent"] == ""
    assert view["study"]["status"] == "FINISHED"
    assert view["study"]["params"] == {
        k: str(v) for k, v in flatten(study.baseline.model_dump(mode="json"))
    }
    tags = {
        "kind": "study",
        "status": "complete",
        "study": "small",
        "dataset": "digits",
        "note": "a note",
    }
    tags |= {
        "budget.search.num_trials": "8",
        "environment.python": "3",
        "mlflow.runName": folder.name,
    }
    assert tags.items() <= view["study"]["tags"].items()

    for run in record.runs.values():
        shown = view[run.key]
        assert shown["parent"] == ("study" if run.kind == "trial" else f"arm:{run.arm}")
        assert shown["params"] == {key: str(value) for key, value in flatten(run.config)}
        for name in METRICS if run.epochs else ():
            expected = [
                (epoch["epoch"], epoch[name], int(epoch["time"] * 1000)) for epoch in run.epochs
            ]
            assert shown["metrics"][name] == expected
        status, tag = {
            "complete": ("FINISHED", "complete"),
            "stopped": ("FINISHED", "pruned"),
            "diverged": ("FAILED", "diverged"),
            "failed": ("FAILED", "failed"),
        }[run.status]
        assert (shown["status"], shown["tags"]["status"]) == (status, tag)
        assert shown["tags"].get("error", "") == run.error
    assert {run.status for run in record.trials()} == {"complete", "stopped", "diverged", "failed"}
    assert {view[run.key]["tags"]["trial"] for run in record.trials()} == {
        str(number) for number in range(8)
    }

    for arm in arms:
        shown, runs = view[f"arm:{arm}"], record.arms()[arm]
        assert (shown["parent"], shown["status"], shown["tags"]["arm"]) == (
            "study",
            "FINISHED",
            arm,
        )
        for name in ("val_acc", "val_loss", "test_acc", "test_loss"):
            values = [run.metric(name) for run in runs]
            assert shown["metrics"][f"{name}_mean"][-1][:2] == (
                2,
                pytest.approx(statistics.fmean(values)),
            )
            assert f"{name}_sd" not in shown["metrics"]  # of two runs: no spread is claimed
            assert [point[:2] for point in shown["metrics"][f"{name}_n"]] == [(1, 1), (2, 2)]
        for run in runs:
            assert view[run.key]["tags"]["replicate"] == str(run.replicate)
            assert view[run.key]["metrics"]["test_acc"] == [
                (4, run.test_acc, view[run.key]["metrics"]["test_acc"][0][2])
            ]
            assert view[run.key]["metrics"]["num_params"][0][1] == 1234
            assert view[run.key]["metrics"]["best_val_acc"][0][1] == max(
                epoch["val_acc"] for epoch in run.epochs
            )


def test_arms_can_be_grouped_and_their_comparison_is_saved(root, tmp_path):
    study = small_study(num_trials=1, replicates=3)
    folder = tmp_path / "grouped-digits"
    record = whole(root, folder, study)
    client, view = MlflowClient(tracking_uri(root)), seen(root, folder.name)
    arms = [arm for arm, _ in study.arms()]
    keys = {frozenset(view[f"arm:{arm.name}"]["tags"]) for arm in arms}
    keys |= {frozenset(view[run.key]["tags"]) for runs in record.arms().values() for run in runs}
    assert len(keys) == 1
    for arm in arms:
        tags = view[f"arm:{arm.name}"]["tags"]
        assert {name: tags[f"factor.{name}"] for name in arm.levels} == {
            name: "on" if on else "off" for name, on in arm.levels.items()
        }
        values = [run.test_acc for run in record.arms()[arm.name]]
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        metrics = view[f"arm:{arm.name}"]["metrics"]
        assert metrics["test_acc_sd"][-1][1] == pytest.approx(statistics.stdev(values))
        assert [metrics[f"test_acc_ci95_{end}"][-1][1] for end in ("low", "high")] == pytest.approx(
            [low, high]
        )
    saved = client.get_experiment_by_name(folder.name).tags[mlflow_views.VIEW_TAG]
    state = json.loads(saved)
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "arm"}]
    assert state["orderByKey"] == "metrics.`test_acc`"
    found = client.search_runs(
        [client.get_experiment_by_name(folder.name).experiment_id], state["searchFilter"]
    )
    assert len(found) == 3 * len(arms)


def test_the_trials_of_an_arms_own_search_lie_under_the_arm(root, tmp_path):
    study = small_study(num_trials=2).override(
        {"ablation.tuning.name": "per_arm", "ablation.tuning.num_trials": 2}
    )
    folder = tmp_path / "tuned-digits"
    record = whole(root, folder, study)
    view = seen(root, folder.name)
    for arm, _ in study.arms():
        for run in record.trials(f"arm:{arm.name}"):
            shown = view[run.key]
            own = (
                "" if run.key in record.trial_keys else f"arm:{arm.name}"
            )  # the baseline is the study's own trial 0 too
            assert (shown["parent"], shown["tags"]["search"]) == (own or "study", own)
            assert shown["tags"]["arm"] == ("" if not own else arm.name)
    assert len(view) == 1 + 4 + len(record.runs)
    assert again(root, folder) == ""
    assert seen(root, folder.name) == view


def test_runs_that_take_replicates_apart_are_none_of_the_arm_until_they_are(root, tmp_path):
    folder = tmp_path / "apart-digits"
    study = small_study(num_trials=0, replicates=2).override({"ablation.variance": 3})
    record = whole(root, folder, study)
    view = seen(root, folder.name)
    own = {key: run for key, run in record.runs.items() if run.kind == "source"}
    assert len(own) == 7
    assert {view[key]["tags"]["kind"] for key in own} == {"source"}
    assert {view[key]["parent"] for key in own} == {"arm:baseline"}
    assert view["arm:baseline"]["metrics"]["val_acc_n"][-1][1] == 2
    (third,) = (key for key, run in own.items() if run.replicate == 3)
    whole(root, folder, study.override({"ablation.replicates": 3}))
    view = seen(root, folder.name)
    assert view[third]["tags"]["kind"] == "replicate"
    assert view[third]["tags"]["mlflow.runName"] == "#3 baseline"
    assert (view[third]["status"], view[third]["tags"]["status"]) == ("FINISHED", "complete")
    assert view["arm:baseline"]["metrics"]["val_acc_n"][-1][1] == 3
    assert again(root, folder) == ""
    assert seen(root, folder.name) == view


def test_the_line_that_invites_to_compare():
    uri = "sqlite:////somewhere/mlflow.db"
    line = mlflow_views.invitation(uri, "7", "out")
    assert "UI: http://127.0.0.1:5000/#/experiments/7/runs?viewStateShareKey=arms" in line
    assert line.endswith(": python -m pipeline.ui --mlruns out")
    assert mlflow_views.invitation(uri, "7", "-x").endswith(" --mlruns=-x")
    assert "https://lab:5000/#/experiments/7/" in mlflow_views.invitation(
        "https://lab:5000/", "7", ""
    )
    assert mlflow_views.invitation(uri, "", "").endswith(
        "http://127.0.0.1:5000/ once it is started by: python -m pipeline.ui"
    )


def again(root: Path, folder: Path) -> str:
    """A process that has nothing to train, only to send what is owed."""
    with Ledger(folder) as ledger:
        tracker = Tracker(root, folder, ledger.events, ledger.append, summary)
        ledger.listener = tracker.put
        return tracker.close()


def test_sending_everything_again_changes_nothing(root, tmp_path):
    study = small_study(num_trials=5)
    folder = tmp_path / "again-digits"
    whole(root, folder, study, trouble())
    before = seen(root, folder.name)
    for _ in range(2):
        (folder / "mlflow.json").unlink()
        assert again(root, folder) == ""
        assert seen(root, folder.name) == before
    assert again(root, folder) == ""
    assert seen(root, folder.name) == before


def test_a_run_that_went_on_since_the_last_delivery_is_written_once(root, tmp_path, monkeypatch):
    """Each call is a transaction of the store: of a backlog a run takes few, however many events
    it has.
    """
    calls: Counter[str] = Counter()

    def counted(real):
        def call(self, run_id, *args, **kwargs):
            calls[run_id] += 1
            return real(self, run_id, *args, **kwargs)

        return call

    for name in ("log_batch", "update_run", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 60.0)  # all in one delivery, at the end
    folder = tmp_path / "written-digits"
    record = whole(root, folder, small_study(epochs=9, num_trials=9))
    view = seen(root, folder.name)
    assert {view[run.key]["tags"]["status"] for run in record.trials()} == {"complete", "pruned"}
    for run in record.runs.values():
        assert calls[run.mlflow_id] == 2, "its numbers with its tags, its end"


def test_runs_that_the_ledger_does_not_know_are_found_by_their_tag(root, tmp_path):
    """As after a kill between MLflow's answer and the ledger's line, for every single run at once;
    names of all kinds.
    """
    arms = Arms(arms={name: {"model.dropout": i / 10} for i, name in enumerate(ODD_NAMES)})
    study = small_study(num_trials=2)
    study = study.override({"ablation": study.ablation.override({"design": arms, "replicates": 1})})
    folder = tmp_path / "lost-digits"
    whole(root, folder, study)
    before = seen(root, folder.name)
    assert {f"arm:{name}".replace("'", "") for name in ODD_NAMES} < set(before)
    told = list(read_events(folder))
    (folder / FILE).unlink()
    (folder / "mlflow.json").unlink()
    with Ledger(folder) as ledger:
        for event in told:
            if event.kind != "mlflow":
                ledger.append(event)
    assert again(root, folder) == ""
    after = seen(root, folder.name)
    assert set(after) == set(before)
    assert {key: run["parent"] for key, run in after.items()} == {
        key: run["parent"] for key, run in before.items()
    }
    ids = Record.of(read_events(folder)).mlflow_ids
    assert len(ids) == len(before)


def test_a_kill_while_the_store_is_made_leaves_none(tmp_path, monkeypatch):
    monkeypatch.undo()  # it is made here, not copied
    root, folder = tmp_path / "mlruns", tmp_path / "mlruns" / "new-digits"
    code = f"""
from pathlib import Path
from tests.studies import small_study
from tests.test_tracking import Session
Session(Path({str(root)!r}), Path({str(folder)!r}), small_study(num_trials=1, replicates=1)).close()
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    scratch = folder / "mlflow.new"
    while not (scratch.exists() and scratch.stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (root / "mlflow.db").exists()
    study = small_study(num_trials=1, replicates=1)
    record = whole(root, folder, study)
    assert {run.key for run in record.runs.values()} < set(seen(root, folder.name))
    assert not list(folder.glob("mlflow.new*"))


KILLED = """
import os, sys
from pathlib import Path
from pipeline.record import outbox
outbox.FLUSH_SECONDS = 0.05
from tests.driver import Worker
from tests.studies import small_study
from tests.test_tracking import Session
session = Session(Path(sys.argv[1]), Path(sys.argv[2]), small_study(num_trials=2, replicates=1))
append = session.tracker._append
def die(event):
    if event.what not in ("study", session.plan.record.trial_keys[0]):
        os.kill(os.getpid(), 9)
    return append(event)
session.tracker._append = die
worker = Worker()
while (segment := session.plan.next()) is not None:
    worker.run(session.plan, segment)
session.close()
"""


def test_a_process_killed_between_mlflow_and_the_ledger_leaves_no_second_run(root, tmp_path):
    folder = tmp_path / "killed-digits"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    study = small_study(num_trials=2, replicates=1)
    left = seen(root, folder.name)
    lost = set(left) - {key.split("|")[1] for key in Record.of(read_events(folder)).mlflow_ids}
    assert len(lost) == 1
    record = whole(root, folder, study)
    view = seen(root, folder.name)
    assert set(view) == {"study", *(f"arm:{arm.name}" for arm, _ in study.arms()), *record.runs}
    for run in record.runs.values():
        assert [point[0] for point in view[run.key]["metrics"]["val_acc"]] == list(
            range(1, len(run.epochs) + 1)
        )
        assert view[run.key]["status"] == "FINISHED"


def test_a_ledger_that_refuses_a_line_leaves_no_second_run(root, tmp_path):
    folder = tmp_path / "refused-digits"
    session = Session(root, folder, small_study(num_trials=1, replicates=1))
    append, refused = session.tracker._append, []

    def full(event: events.Mlflow) -> Event:
        if event.what not in refused:
            refused.append(event.what)
            raise OSError("disk full")
        return append(event)

    session.tracker._append = full
    train(session.plan, Worker())
    until = time.monotonic() + 600
    while session.tracker._outbox._thread.is_alive() and len(refused) < 1 + 1 + 4 + 4:
        session.tracker._outbox._thread.join(0.01)
        assert time.monotonic() < until, refused
    assert session.close() == ""
    assert set(seen(root, folder.name)) == set(refused)


def test_a_larger_budget_goes_on_in_the_same_runs(root, tmp_path):
    folder = tmp_path / "larger-digits"
    whole(root, folder, small_study(num_trials=3, replicates=1, reduction=2))
    before = seen(root, folder.name)
    record = whole(root, folder, small_study(num_trials=9, replicates=3, reduction=2))
    view = seen(root, folder.name)
    assert set(before) < set(view)
    assert set(view) - set(before) == {run.key for run in record.runs.values()} - set(before)
    for key, run in before.items():
        for metric, points in run["metrics"].items():
            assert view[key]["metrics"][metric][: len(points)] == points
    for key, run in record.runs.items():
        assert view[key]["status"] == "FINISHED", run.status
    assert view["arm:baseline"]["metrics"]["val_acc_n"][-1][:2] == (3, 3)
    assert "val_acc_sd" not in before["arm:baseline"]["metrics"]
    assert view["study"]["tags"]["budget.search.num_trials"] == "9"


def test_what_an_interruption_leaves_is_shown_as_waiting(root, tmp_path):
    study = small_study(num_trials=3, replicates=1)
    folder = tmp_path / "interrupted-digits"
    session = Session(root, folder, study)
    worker = Worker()
    worker.run(session.plan, session.plan.next())
    cut = session.plan.next()
    session.plan.ledger.append(events.Finish(status="interrupted"))
    assert session.close() == ""
    view = seen(root, folder.name)
    waiting = next(key for key in view if key not in ("study", cut.run))
    assert (view[cut.run]["status"], view[cut.run]["tags"]["status"]) == (
        "SCHEDULED",
        "interrupted",
    )
    assert (view[waiting]["status"], view[waiting]["tags"]["status"]) == (
        "SCHEDULED",
        "waiting at rung 2",
    )
    assert view["study"]["tags"]["status"] == "interrupted"
    whole(root, folder, study)
    assert {run["status"] for run in seen(root, folder.name).values()} == {"FINISHED"}


def test_a_run_of_a_killed_process_does_not_stay_running(root, tmp_path):
    study = small_study(num_trials=3, replicates=1)
    folder = tmp_path / "orphan-digits"
    session = Session(root, folder, study)
    cut = session.plan.next()
    assert session.close() == ""
    assert seen(root, folder.name)[cut.run]["status"] == "RUNNING"
    session = Session(root, folder, study)
    assert session.close() == ""
    assert seen(root, folder.name)[cut.run]["status"] == "SCHEDULED"


def test_the_report_becomes_artifacts_of_the_study(root, tmp_path):
    folder, report = tmp_path / "report-digits", tmp_path / "report"
    report.mkdir()
    (report / "report.md").write_text("# done")
    session = Session(root, folder, small_study(num_trials=1, replicates=1))
    assert session.close(report) == ""
    experiment, run = session.tracker.study_run()
    client = MlflowClient(tracking_uri(root))
    assert client.get_experiment(experiment).name == folder.name
    assert [found.path for found in client.list_artifacts(run, "report")] == ["report/report.md"]
    assert Path(client.download_artifacts(run, "report/report.md")).read_text() == "# done"
    assert list((root / "artifacts" / folder.name).rglob("report.md"))


def test_a_server_that_is_away_stops_nothing_and_everything_arrives_later(
    root, tmp_path, monkeypatch
):
    study = small_study(num_trials=2, replicates=1)
    folder = tmp_path / "away-digits"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:s3cr@t@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    session = Session(root, folder, study)
    train(session.plan, Worker())
    problem = session.close()
    assert problem.startswith("MLflow at http://127.0.0.1:9: ")
    assert "Nothing is lost" in problem
    assert "s3cr" not in problem
    assert session.tracker.study_run() == ("", "")
    text = (folder / FILE).read_text()
    assert "s3cr" not in text
    assert '"type":"mlflow"' not in text
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert again(root, folder) == ""
    record = Record.of(read_events(folder))
    assert set(record.runs) < set(seen(root, folder.name))


def test_the_store_is_at_the_same_place_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    here = tracking_uri(Path("mlruns"))
    monkeypatch.chdir("below")
    assert (
        tracking_uri(Path("../mlruns"))
        == here
        == f"sqlite:///{tmp_path.resolve()}/mlruns/mlflow.db"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert tracking_uri(Path("mlruns")) == "http://server"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://host:5000", "http://host:5000"),
        ("https://user:pass@host/path", "https://host/path"),
        ("postgresql://user:p@ss@host/db", "postgresql://host/db"),
        ("http://host/a@b", "http://host/a@b"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_no_password_is_shown(uri, shown):
    assert redacted(uri) == shown
