"""An mlruns folder may have any name, be moved and copied: its store and artifacts go with it,
nothing lands elsewhere.
"""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow import MlflowClient

from pipeline.analysis.arm_summary import summary
from pipeline.record import outbox
from pipeline.record.ledger import Ledger
from pipeline.record.mlflow_places import FILE, sqlite_file, store_uri, tracking_uri
from pipeline.record.mlflow_store import connect
from pipeline.record.mlflow_views import invitation
from pipeline.record.tracking import Tracker
from tests.driver import Worker, train
from tests.studies import small_study
from tests.test_tracking import Session, again

NAME = "small-digits"
HOSTILE = (
    "50%20x %2F?mode=ro#frag&a=b",
    'it\'s "$HOME" `id` \\x !1',
    "我的 照片 😀👩‍🔬 é",
    "-a@b:c;d|e :smile:\nline\ttab ",
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An empty store, since making its tables takes seconds."""
    top = tmp_path_factory.mktemp("made")
    root = top / HOSTILE[0] / HOSTILE[1]
    root.mkdir(parents=True)
    client = connect(store_uri(root / FILE), root, root / "mlflow.new")
    assert client.get_experiment("0").artifact_location == (root / "artifacts/0").as_uri()
    assert {path.name for path in top.rglob("*")} == {HOSTILE[0], HOSTILE[1], FILE}
    return root / FILE


def begun(made: Path, root: Path) -> Path:
    """A study in `root`, with a store, a run and a report in MLflow."""
    root.mkdir()
    shutil.copy(made, root / FILE)
    session = Session(root, root / NAME, small_study(num_trials=1, replicates=1))
    train(session.plan, Worker())
    assert session.close(report(root, "first.txt")) == ""
    return root


def report(root: Path, name: str) -> Path:
    folder = root / NAME / "report"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(name)
    return folder


def once_more(root: Path, name: str) -> None:
    """The same command again, whose report has one more file."""
    folder = report(root, name)
    with Ledger(root / NAME) as ledger:
        tracker = Tracker(root, root / NAME, ledger.events, ledger.append, summary)
        ledger.listener = tracker.put
        assert tracker.close(folder) == ""


def shown(root: Path) -> set[str]:
    """The report's files as MLflow shows and hands them out."""
    client = MlflowClient(tracking_uri(root))
    experiment = client.get_experiment_by_name(NAME)
    assert experiment.artifact_location == (root / "artifacts" / NAME).as_uri()
    runs = client.search_runs([experiment.experiment_id])
    assert all(run.info.artifact_uri.startswith(root.as_uri() + "/") for run in runs)
    (study,) = (run for run in runs if run.data.tags["kind"] == "study")
    files = {Path(item.path).name for item in client.list_artifacts(study.info.run_id, "report")}
    with TemporaryDirectory() as given:
        for name in files:
            assert (
                Path(
                    client.download_artifacts(study.info.run_id, f"report/{name}", given)
                ).read_text()
                == name
            )
    return files


@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder_of_any_name(made, tmp_path, name):
    root = begun(made, tmp_path / name)
    assert sqlite_file(tracking_uri(root)) == root / FILE
    assert shown(root) == {"first.txt"}
    assert os.listdir(tmp_path) == [name]
    words = invitation(tracking_uri(root), "1", name).partition("started by: ")[2]
    assert words.isprintable()
    echo = f"f() {{ printf '%s\\0' \"$@\"; }}; {words.replace('python -m pipeline.ui', 'f', 1)}"
    given = (
        subprocess.run(["bash", "-c", echo], capture_output=True, check=True)
        .stdout.decode()
        .split("\0")[:-1]
    )
    assert given in (["--mlruns", name], [f"--mlruns={name}"])


def test_a_moved_folder_goes_on_where_it_is(made, tmp_path):
    old = begun(made, tmp_path / "old")
    new = tmp_path / "elsewhere" / "100% new"
    new.parent.mkdir()
    old.rename(new)
    once_more(new, "second.txt")
    assert not old.exists()
    assert shown(new) == {"first.txt", "second.txt"}


def test_two_copies_do_not_write_into_each_other(made, tmp_path):
    one = begun(made, tmp_path / "one")
    two = tmp_path / "two"
    shutil.copytree(one, two)
    once_more(two, "second.txt")
    once_more(one, "third.txt")
    assert shown(two) == {"first.txt", "second.txt"}
    assert shown(one) == {"first.txt", "third.txt"}


def test_what_is_not_of_this_folder_is_left_where_it_is(made, tmp_path):
    root = begun(made, tmp_path / "mlruns")
    client = MlflowClient(tracking_uri(root))
    kept = {
        "mine": (tmp_path / "data/artifacts/other").as_uri(),
        "cloud": "s3://bucket/artifacts/cloud",
    }
    other = (
        tmp_path / "other" / "artifacts" / "theirs"
    )  # another folder's study in this store, by MLFLOW_TRACKING_URI
    other.mkdir(parents=True)
    kept["theirs"] = other.as_uri()
    for name, place in kept.items():
        client.create_experiment(name, place)
    assert again(root, root / NAME) == ""
    assert {name: client.get_experiment_by_name(name).artifact_location for name in kept} == kept


def test_the_files_of_a_store_keep_the_umask(made, tmp_path):
    before = os.umask(0o007)
    try:
        root = begun(made, tmp_path / "shared")
    finally:
        os.umask(before)
    for path in (root / "artifacts", *(root / "artifacts").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o770 if path.is_dir() else 0o660), path
