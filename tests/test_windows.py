"""What `--also` writes: an Optuna database and TensorBoard's files say what the ledger says, also
after a kill, and cost a study nothing where they fail.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.engine.optuna_window import OptunaWindow, active
from pipeline.errors import UserError
from pipeline.record import outbox
from pipeline.record.events import Session
from pipeline.record.ledger import read_events
from pipeline.record.mlflow_places import store_uri
from pipeline.record.outbox import Outbox, Receiver
from pipeline.record.record import Record
from pipeline.record.tensorboard_window import NAME, TensorBoardWindow
from pipeline.session.options import Options
from pipeline.session.windows import kept, wanted
from tests import commands
from tests.driver import Worker, open_plan, train
from tests.studies import small_study

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)


def trouble() -> Worker:
    return Worker(
        fails=lambda config, _: config.optimizer.name == "sgd" and config.batch_size == 16,
        diverges=lambda config: config.optimizer.name == "sgd" and config.batch_size == 32,
        retry=False,
    )


def recorded(folder: Path, num_trials: int = 8, worker: Worker | None = None) -> Record:
    """A study that is whole; called again, it has grown by trials."""
    study = small_study(epochs=4, num_trials=num_trials, reduction=2, replicates=1)
    plan = open_plan(folder, study)
    train(plan, worker or Worker())
    plan.ledger.close()
    return Record.of(read_events(folder))


def projected(folder: Path, *, keep: int | None = None) -> None:
    """Both, of the first `keep` events of the ledger (None: all) in a process that is new."""
    told = list(read_events(folder))[:keep]
    place = folder / "windows"
    place.mkdir(exist_ok=True)
    receivers: dict[str, Receiver] = {"optuna": OptunaWindow(folder.name, place / "optuna.db")}
    if importlib.util.find_spec("tensorboard"):
        receivers["tensorboard"] = TensorBoardWindow(place / "tensorboard")
    for name, receiver in receivers.items():
        box = Outbox(receiver, place / f"{name}.json", name, told)
        assert box.close() == ""


def in_optuna(folder: Path) -> list[dict[str, Any]]:
    storage = store_uri(folder / "windows" / "optuna.db")
    study = optuna.load_study(study_name=folder.name, storage=storage)
    assert study.direction.name == "MAXIMIZE"
    keys = ("state", "values", "params", "intermediate_values", "user_attrs")
    return [{key: getattr(trial, key) for key in keys} for trial in study.trials]


def require_optuna(folder: Path, record: Record) -> None:
    """Every trial of the record, once, as it stands there."""
    found = in_optuna(folder)
    assert len(found) == len(record.trial_keys)
    states = {"complete": "COMPLETE", "stopped": "PRUNED", "diverged": "FAIL", "failed": "FAIL"}
    for key, trial in zip(record.trial_keys, found, strict=True):
        run = record.runs[key]
        assert trial["state"].name == states.get(run.status, "RUNNING")
        assert trial["user_attrs"]["run"] == key
        points = active(record.study.space, run)
        assert trial["params"] == {name: value for name, (_, value) in points.items()}
        assert trial["intermediate_values"] == {
            epoch["epoch"]: epoch["val_acc"] for epoch in run.epochs
        }
        ended = run.status in ("complete", "stopped")
        assert trial["values"] == ([run.value[1]] if ended and run.value else None)


def in_tensorboard(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Run → (tag, step, value) of every record of its files, in order."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    found: dict[str, list[tuple[Any, ...]]] = {}
    for file in sorted((folder / "windows" / "tensorboard").glob(f"*/{NAME}*")):
        points = found.setdefault(file.parent.name.rpartition(".")[2], [])
        for event in loader.LegacyEventFileLoader(str(file)).Load():
            points += [(one.tag, event.step, one.simple_value) for one in event.summary.value]
    return found


def require_tensorboard(folder: Path, record: Record) -> None:
    """Every number of every epoch, once."""
    found = in_tensorboard(folder)
    assert set(found) == {key for key, run in record.runs.items() if run.epochs}
    for key, points in found.items():
        wanted = [
            (name, epoch["epoch"], pytest.approx(value, rel=1e-6))
            for epoch in record.runs[key].epochs
            for name, value in epoch.items()
            if name not in ("epoch", "time")
        ]
        assert points == wanted


def test_both_say_what_the_ledger_says_and_the_same_again(tmp_path: Path) -> None:
    folder = tmp_path / "small-digits"
    record = recorded(folder, worker=trouble())
    assert {run.status for run in record.trials()} == {"complete", "stopped", "diverged", "failed"}
    projected(folder)
    require_optuna(folder, record)
    require_tensorboard(folder, record)
    names = sorted(path.name for path in (folder / "windows" / "tensorboard").iterdir())
    assert [name for name in names if name.startswith("trial-007.")]
    assert [name for name in names if name.startswith("baseline-1.")]
    for state in (True, False):  # what is there says itself what is missing
        if state:
            for file in (folder / "windows").glob("*.json"):
                file.unlink()
        projected(folder)
        require_optuna(folder, record)
        require_tensorboard(folder, record)


def test_a_projection_that_was_cut_anywhere_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "small-digits"
    record = recorded(folder, num_trials=3)
    whole = len(list(read_events(folder)))
    for keep in (1, 2, whole // 4, whole // 2):
        projected(folder, keep=keep)
        part = Record.of(list(read_events(folder))[:keep])
        require_tensorboard(folder, part)
        if part.sessions:
            require_optuna(folder, part)
    torn = max((folder / "windows" / "tensorboard").glob(f"*/{NAME}*"))
    torn.write_bytes(torn.read_bytes()[:-7])  # the process was killed as it wrote
    projected(folder)
    require_optuna(folder, record)
    require_tensorboard(folder, record)


def test_trials_that_go_on_with_a_larger_budget_are_no_second_ones(tmp_path: Path) -> None:
    folder = tmp_path / "small-digits"
    before = recorded(folder, num_trials=4)
    projected(folder)
    require_optuna(folder, before)
    after = recorded(folder, num_trials=12)
    projected(folder)
    require_optuna(folder, after)
    require_tensorboard(folder, after)


KILLED = """
import os, sys
from pathlib import Path
from optuna.storages import RDBStorage
from pipeline.record import outbox, tensorboard_window
from tests import test_windows
outbox.FLUSH_SECONDS = 0.05
calls = iter(range(1000))
def dying(before):
    def call(*args):
        if next(calls) == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        return before(*args)
    return call
RDBStorage.create_new_trial = dying(RDBStorage.create_new_trial)
tensorboard_window._append = dying(tensorboard_window._append)
test_windows.projected(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("calls", [2, 7])  # among the first trials; among the first runs
def test_a_process_that_was_killed_leaves_nothing_twice(tmp_path: Path, calls: int) -> None:
    folder = tmp_path / "small-digits"
    record = recorded(folder, num_trials=5)
    pytest.importorskip("tensorboard")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(calls)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    projected(folder)
    require_optuna(folder, record)
    require_tensorboard(folder, record)


def test_what_also_takes_and_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted("") == ()
    assert wanted("optuna, optuna,") == ("optuna",)
    for text, told in (
        ("optunna", "--also: got 'optunna'; allowed: optuna, tensorboard, none; did you mean 'opt"),
        ("none,optuna", "--also: got none,optuna; none stands alone"),
        (" , ", "--also: got ' , '; allowed: optuna"),
    ):
        with pytest.raises(UserError) as error:
            wanted(text)
        assert str(error.value).startswith(told)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="needs the package tensorboard: pip install"):
        wanted("tensorboard")
    said = [Session(command="", also=text) for text in ("optuna", "", "none", "tensorboard", "")]
    plain, record = Options("pipeline.search", "hw3"), Record()
    found = []
    for session in said:
        record.sessions.append(session)
        found.append(kept(plain, record))
    assert found == [("optuna",), ("optuna",), (), ("tensorboard",), ("tensorboard",)]
    assert kept(Options("pipeline.search", "hw3", also="optuna"), record) == ("optuna",)


def test_a_command_writes_them_keeps_them_and_is_not_hurt_by_them(tmp_path: Path) -> None:
    home = tmp_path / "mlruns"
    flags = (*commands.SHORT, "--debug", "--no-race", "--epochs", 1)
    assert commands.here("search", *flags, "--trials", 1, "--also", "optuna", home=home) == 0
    folder = commands.folder(home)
    said = " ".join(commands.output(home).split())
    assert f"look at it in optuna: optuna-dashboard sqlite:///{folder}/windows/optuna.db" in said
    require_optuna(folder, commands.record(home))
    shutil.rmtree(folder / "windows")
    (folder / "windows" / "optuna.db").mkdir(parents=True)  # a disk that has nothing to give
    assert commands.here("search", *flags, "--trials", 2, home=home) == 0
    said = " ".join(commands.output(home).split())
    assert said.count("warning: --also optuna: ") == 1
    assert "the study goes on without it, nothing is lost, and the next command writes" in said
    (folder / "windows" / "optuna.db").rmdir()
    projected(folder)  # as the next command does
    require_optuna(folder, commands.record(home))
