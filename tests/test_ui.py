"""The UI's command: to whom it opens the results, and that it refuses in words."""

import http.client
import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import ui
from pipeline.errors import MachineError, PipelineError, UserError
from pipeline.record.mlflow_places import FILE, store_uri
from pipeline.record.mlflow_store import connect

HOME = "127.0.0.1"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mlruns")
    connect(store_uri(root / FILE), root, root / "mlflow.new")
    return root


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind((HOME, 0))
        return int(probe.getsockname()[1])


class Started(Exception):
    """In the place of the server, with its command and environment."""


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    def start(_: str, command: list[str], environment: dict[str, str]) -> None:
        raise Started(command, environment)

    monkeypatch.setattr(os, "execve", start)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def started(*flags: object) -> tuple[dict[str, str], dict[str, str]]:
    """(MLflow's flags, its environment)."""
    with pytest.raises(Started) as caught:
        ui.main([str(flag) for flag in flags])
    command, environment = caught.value.args
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    return dict(zip(command[4::2], command[5::2], strict=True)), environment


def test_it_answers_to_this_machines_own_names_alone_and_says_who_can_reach_it(
    made, port, capsys, monkeypatch
):
    monkeypatch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "*")
    flags, environment = started("--mlruns", made, "--port", port)
    assert flags["--allowed-hosts"] == f"{HOME}:{port},localhost:{port}"
    assert (flags["--host"], flags["--port"]) == (HOME, str(port))
    assert flags["--backend-store-uri"] == store_uri(made / FILE)
    assert flags["--uvicorn-opts"] == "--http pipeline.record.mlflow_viewer:Viewer"
    assert flags["--artifacts-destination"] == (made / "artifacts").as_uri()
    assert "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE" not in environment
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" not in environment
    assert "warning: it has no password: every user of this machine" in capsys.readouterr().out


def test_other_machines_are_let_in_by_a_flag_alone(made, port, capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but its own")
        own = probe.getsockname()[0]
    with pytest.raises(UserError, match="add --remote"):
        ui.main(["--mlruns", str(made), "--port", str(port), "--host", own])
    flags, _ = started("--mlruns", made, "--port", port, "--host", own, "--remote")
    assert flags["--host"] == own
    assert flags["--allowed-hosts"] == f"{own}:{port}"
    assert flags["--cors-allowed-origins"] == f"http://{own}:{port}"
    assert f"whoever can reach http://{own}:{port}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--host", "0.0.0.0", "--remote"], "--host: 0.0.0.0 is every address"),
        (["--host", "::", "--remote"], "--host: :: is every address"),
        (["--host", HOME, "--remote"], "leave out --remote"),
        (["--host", "no such.host"], "--host: no such.host is not known"),
        (["--host", "a" * 300], "is not known"),
        (["--mlruns", "/nonexistent/x\ny"], r"no results yet in /nonexistent/x\ny"),
    ],
)
def test_what_is_refused(made, port, flags, words):
    with pytest.raises(UserError) as caught:
        ui.main(["--mlruns", str(made), "--port", str(port), *flags])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "5000.0", "x", "٣"])
def test_a_port_is_a_port(made, text):
    with pytest.raises(SystemExit) as caught:
        ui.main(["--mlruns", str(made), f"--port={text}"])
    assert caught.value.code == 2


def test_a_port_that_is_taken(made, port):
    with socket.socket() as other:
        other.bind((HOME, port))
        other.listen()
        with pytest.raises(MachineError, match=f"--port: {port} cannot be had on {HOME}"):
            ui.main(["--mlruns", str(made), "--port", str(port)])


@pytest.mark.parametrize(
    "uri",
    ["file:///x", "./mlruns", "databricks", "sqlite:////nonexistent/x.db", "nonsense://u:s3cret@x"],
)
def test_a_store_of_the_environment_that_cannot_be_shown(made, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI") as caught:
        ui.main(["--mlruns", str(made)])
    assert "s3cret" not in str(caught.value)


def test_a_store_that_is_none(made, tmp_path, port):
    (tmp_path / FILE).write_bytes(b"x" * 5000)
    with pytest.raises(PipelineError, match="is damaged"):
        ui.main(["--mlruns", str(tmp_path), "--port", str(port)])
    shutil.copy(made / FILE, tmp_path / FILE)
    started("--mlruns", tmp_path, "--port", port)


def test_mlflows_assistant_is_closed_and_all_else_is_not():
    """uvicorn with the protocol of the UI's command, asked for real."""
    import uvicorn

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    server = uvicorn.Server(
        uvicorn.Config(
            app, port=0, http="pipeline.record.mlflow_viewer:Viewer", log_level="critical"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    (port,) = (sock.getsockname()[1] for part in server.servers for sock in part.sockets)
    statuses = {}
    closed = [
        f"/ajax-api/3.0/mlflow/{name}" for name in ("assistant/config", "%61ssistant/message")
    ]
    for path in ("/", "/api/2.0/mlflow/runs/search", *closed):
        for method in ("GET", "PUT", "POST"):
            connection = http.client.HTTPConnection(HOME, port)
            connection.request(method, path, body=b"{}")
            statuses.setdefault(path, set()).add(connection.getresponse().status)
            connection.close()
    server.should_exit = True
    thread.join()
    assert list(statuses.values()) == [{200}, {200}, {403}, {403}]
