"""MLflow trouble: what passes by itself is promised, what does not is told with its way on, what
can be mended is.
"""

import contextlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow import __file__ as mlflow_file

from pipeline.analysis.arm_summary import summary
from pipeline.record import events, outbox
from pipeline.record.ledger import FILE as LEDGER
from pipeline.record.ledger import Ledger, read_events
from pipeline.record.lines import seal
from pipeline.record.mlflow_places import FILE, tracking_uri
from pipeline.record.mlflow_trouble import explain, redacted, refused
from pipeline.record.record import Record
from pipeline.record.tracking import Tracker
from tests.records import lines
from tests.studies import small_study
from tests.test_tracking import seen, whole

HEALS = "Nothing is lost: the ledger has it all, and the next command on this study sends the rest"
STAYS = "This does not pass by itself: "


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture(scope="module")
def made(tmp_path_factory, _empty_store) -> Path:
    """A finished study in a store, made once: each test has it at a place of its own."""
    root = tmp_path_factory.mktemp("made") / "mlruns"
    root.mkdir()
    shutil.copy(_empty_store(), root / FILE)
    whole(root, root / "small-digits", small_study(num_trials=1, replicates=1))
    return root


@pytest.fixture
def study(made, tmp_path) -> Path:
    """It, as if made where it lies: every place that was written down is the new one."""
    root = Path(shutil.copytree(made, tmp_path / "mlruns"))
    folder, places = root / "small-digits", (str(made), str(root))
    told = json.loads(json.dumps(lines(folder)).replace(*places))
    (folder / LEDGER).write_bytes(b"".join(seal(line) for line in told))
    for file in folder.glob("*.json"):
        file.write_text(file.read_text().replace(*places))
    with contextlib.closing(sqlite3.connect(root / FILE)) as database, database:
        for column in ("experiments SET artifact_location", "runs SET artifact_uri"):
            name = column.split()[-1]
            database.execute(f"UPDATE {column} = replace({name}, ?, ?)", places)
        assert places[0] not in "\n".join(database.iterdump())
    return folder


def again(folder: Path) -> tuple[list[str], str]:
    """The same command once more: what it told before its end, and at its end."""
    told: list[str] = []
    with Ledger(folder) as ledger:
        tracker = Tracker(folder.parent, folder, ledger.events, ledger.append, summary, told.append)
        ledger.listener = tracker.put
        ledger.append(events.Finish(status="complete"))
        tracker.flush()
        return list(told), tracker.close()


def client_of(folder: Path) -> tuple[MlflowClient, str]:
    client = MlflowClient(tracking_uri(folder.parent))
    return client, client.get_experiment_by_name(folder.name).experiment_id


def test_a_deleted_experiment_is_restored_with_its_runs(study):
    before = seen(study.parent, study.name)
    client, experiment = client_of(study)
    client.delete_experiment(experiment)
    told, problem = again(study)
    assert problem == ""
    assert told == [
        "MLflow's experiment 'small-digits' had been deleted, and was restored: this study is in it"
    ]
    assert set(seen(study.parent, study.name)) == set(before)


def test_deleted_runs_are_restored(study):
    before = seen(study.parent, study.name)
    client, experiment = client_of(study)
    deleted = [
        run.info.run_id
        for run in client.search_runs([experiment])
        if run.data.tags["kind"] in ("study", "replicate")
    ]
    for run_id in deleted:
        client.delete_run(run_id)
    told, problem = again(study)
    assert problem == ""
    assert told == [
        f"runs of this study that had been deleted in MLflow were restored: {len(deleted)}"
    ]
    assert set(seen(study.parent, study.name)) == set(before)


def test_a_renamed_experiment_is_still_this_studys(study):
    client, experiment = client_of(study)
    client.rename_experiment(experiment, "my favourite")
    assert again(study) == ([], "")
    assert [found.name for found in client.search_experiments()] == ["my favourite", "Default"]
    assert client.get_experiment(experiment).name == "my favourite"


def test_runs_that_are_gone_for_good_are_sent_again(study):
    """As after `mlflow gc`."""
    before = seen(study.parent, study.name)
    with sqlite3.connect(study.parent / FILE) as database:
        (gone,) = database.execute(
            "SELECT run_uuid FROM tags WHERE key = 'pipeline.id' AND value LIKE '%/arm:%'"
        ).fetchone()
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (gone,))
    told, problem = again(study)
    assert (len(told), problem) == (1, "")
    assert "sent there again" in told[0]
    after = seen(study.parent, study.name)
    assert set(after) == set(before)
    assert {key: run["metrics"] for key, run in after.items()} == {
        key: run["metrics"] for key, run in before.items()
    }
    assert again(study) == ([], "")


def test_a_store_that_was_emptied_is_filled_again(study):
    before = seen(study.parent, study.name)
    with sqlite3.connect(study.parent / FILE) as database:
        for table in (
            "metrics",
            "latest_metrics",
            "params",
            "tags",
            "inputs",
            "runs",
            "experiment_tags",
            "experiments",
        ):
            database.execute(f"DELETE FROM {table}")
    assert again(study)[1] == ""
    after = seen(study.parent, study.name)
    assert {key: run["metrics"] for key, run in after.items()} == {
        key: run["metrics"] for key, run in before.items()
    }


def revisions() -> list[str]:
    scripts = ScriptDirectory(Path(mlflow_file).parent / "store" / "db_migrations")
    return [script.revision for script in scripts.walk_revisions()]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("older", ("older MLflow", "backup", "-m mlflow db upgrade sqlite:///")),
        ("newer", ("newer MLflow", "install that MLflow", "--mlruns")),
        ("unfinished", ("no whole MLflow store", "move it away")),
        ("junk", ("is damaged", "move it away")),
        ("empty", ("is no MLflow store", "move it away")),
        ("folder", ("cannot be opened", "yours to read and write")),
    ],
)
def test_a_store_that_cannot_be_used_is_left_as_it_is(study, state, words):
    store = study.parent / FILE
    version = {"older": revisions()[1], "newer": "ffffffffffff"}.get(state)
    if state in ("older", "newer", "unfinished"):
        with sqlite3.connect(store) as database:
            database.execute("DELETE FROM alembic_version")
            if version:
                database.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    else:
        store.unlink()
        store.mkdir() if state == "folder" else store.write_bytes(
            b"no database " * 500 if state == "junk" else b""
        )
    before = store.read_bytes() if store.is_file() else b""
    told, problem = again(study)
    assert told == [f"warning: {problem}"]  # at once, and again at the end
    assert STAYS in problem
    assert problem.endswith("after that the next command on this study sends the rest")
    for word in words:
        assert word in problem
    assert (store.read_bytes() if store.is_file() else b"") == before


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("file:///somewhere/mlruns", "folder of files"),
        ("./mlruns", "folder of files"),
        ("mlruns", "folder of files"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("ftp://host/x", "no kind that MLflow knows"),
        ("http://me:[s3cret@127.0.0.1:5000", "is no address"),
        ("http://[::1:5000", "is no address"),
        ("http://h\u2100st/x", "is no address"),
        ("postgresql+nodriver://u:s3cret@127.0.0.1:9/db", "unset MLFLOW_TRACKING_URI"),
    ],
)
def test_an_address_that_never_works_is_told_before_the_training(study, uri, words, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    told, problem = again(study)
    assert told == [f"warning: {problem}"]
    assert STAYS in problem
    assert words in problem
    assert "s3cret" not in problem
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert again(study) == ([], "")


def test_a_store_of_files_that_mlflow_was_told_to_allow_is_not_refused(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert refused("file:///somewhere") is None


@pytest.fixture
def answers() -> Iterator[HTTPServer]:
    """A server that gives the status `answers.status` to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html>no</html>"
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "passes", "words"),
    [
        (401, False, "MLFLOW_TRACKING_TOKEN"),
        (403, False, "403"),
        (200, False, "address"),
        (503, True, "503"),
    ],
)
def test_what_a_server_answers(study, answers, status, passes, words, monkeypatch):
    answers.status = status
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", f"http://me:pass@word@127.0.0.1:{answers.server_port}"
    )
    told, problem = again(study)
    assert problem.endswith(HEALS) == passes
    assert (STAYS in problem) != passes
    assert bool(told) != passes
    assert words in problem
    assert "pass@word" not in problem
    assert Record.of(read_events(study)).header.id


def test_secrets_of_the_environment_and_of_addresses_are_not_shown(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken-t0ken")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40ss%2Fw@host")
    text = (
        "no t0ken-t0ken, p@ss/w nor p%40ss%2Fw; postgresql://h/db?user=me&password=s3cret&x=1 "
        "http://u:pa/ss@host:1/x"
    )
    shown = redacted(text)
    for secret in ("t0ken", "ss%2Fw", "p@ss", "s3cret", "pa/ss"):
        assert secret not in shown
    assert "user=me" in shown
    assert (
        redacted("http://host:5000/a@b sqlite:////home/a@b/x")
        == "http://host:5000/a@b sqlite:////home/a@b/x"
    )


def test_a_long_error_is_cut_where_it_matters_least():
    text = explain(RuntimeError("word " * 1000), "http://host").text("http://host")
    assert text.endswith(HEALS)
    assert len(text) < 600
