"""What addresses are told of a command, by a receiver that is there, and what is never told."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.config import TrainConfig
from pipeline.engine.interrupts import Interrupted, Interrupts
from pipeline.errors import MachineError, UserError
from pipeline.record import events
from pipeline.session import news
from pipeline.session.cli import options as asked
from pipeline.session.cli import parser
from pipeline.session.guest import call
from pipeline.session.news import News, announced
from pipeline.session.options import NOTIFY, Options, parted
from pipeline.study.space import Float, Space
from tests import commands
from tests.driver import Worker, open_plan, train
from tests.studies import small_study
from tests.test_in_process import FEW

pytest.importorskip("apprise", reason="pip install '.[notify]'")
SECRET = "hunter2"


class Receiver:
    """A server on this machine that keeps what it is told."""

    def __init__(self) -> None:
        told: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.told = told
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.server.server_port}/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [one["title"].partition(f" on {socket.gethostname()}: ")[2] for one in self.told]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a receiver that takes what it is told, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield f"json://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a study whose second trial is better than its first, the baseline, which learns
    nothing.
    """
    space = Space(knobs={"optimizer.lr": Float(low=1e-10, high=0.1, log=True)})
    small = small_study(
        space=space, first=({"optimizer.lr": 0.01},), scheduler="none", num_trials=2, epochs=2
    )
    few = {f"baseline.dataset.{name}": value for name, value in FEW.items()}
    arms = {"ablation.design": {"name": "arms", "arms": commands.ARMS}, "ablation.replicates": 1}
    small = small.override(few | arms | {"baseline.optimizer.lr": 1e-9})
    (tmp_path / "study.json").write_text(small.model_dump_json())
    return tmp_path / "mlruns"


def search(home: Path, *flags: object) -> int:
    study = ("--study", home.with_name("study.json"), "--debug")
    return commands.here("search", *study, *flags, home=home)


def closed() -> str:
    """An address where nobody is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"json://user:{SECRET}@127.0.0.1:{port}"


def test_how_it_ended_and_a_new_best_are_told_and_no_secret_is_kept(
    home: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Receiver()
    monkeypatch.setenv(NOTIFY, f"{other.url} {receiver.url}")
    assert search(home, "--notify", receiver.url, f"--notify={closed()}") == 0
    monkeypatch.delenv(NOTIFY)
    assert receiver.titles == other.titles == ["new best", "complete"]
    best, end = receiver.told
    assert best["title"].startswith(f"{commands.folder(home).name} on ")
    assert best["message"].startswith("trial 1: val_acc 0.")
    assert "optimizer.lr = 0.01" in best["message"]
    assert [best["type"], end["type"]] == ["info", "success"]
    assert end["message"].startswith("complete after")
    assert "A small study" in end["message"], "the report's answer"
    said = " ".join(commands.output(home).split())
    assert said.count("did not take a message") == 1
    assert "warning: --notify: json://… did not take a message" in said
    (session,) = commands.record(home).sessions
    assert "--notify" not in session.command
    assert session.command.endswith(f"--debug --mlruns {home}")
    for path in home.parent.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path

    assert search(home, "--seed", 5, "--notify", receiver.url) == 2
    assert receiver.titles[2:] == ["failed (exit 2)"]
    assert "recorded with other settings" in receiver.told[2]["message"]
    assert receiver.told[2]["type"] == "failure"
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        (f"jsn://user:{SECRET}@x", r"--notify: an address is of no kind .*did you mean 'json'"),
        (f"{SECRET}://x", "--notify: an address is of no kind that apprise knows"),
        (f"tgram://{SECRET}", "--notify: tgram://… is no address of its kind"),
        (SECRET, "--notify: an address without ://"),
        ("", "--notify: an address without ://"),
    ],
)
def test_an_address_that_is_none_is_an_error_before_anything(
    url: str, wrong: str, home: Path
) -> None:
    with pytest.raises(UserError, match=wrong) as raised:
        News.of(Options("pipeline.search", "hw3", notify=(url,)))
    assert SECRET not in str(raised.value)
    if url:
        assert search(home, "--notify", url) == 2
        assert search(home, "--notify", url, "--dry-run") == 2
        assert SECRET not in commands.output(home)
        assert not home.exists()


def test_the_environment_is_named_where_its_address_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(NOTIFY, "jsn://x")
    with pytest.raises(UserError, match=f"^{NOTIFY}: an address is of no kind"):
        News.of(Options("pipeline.search", "hw3"))
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UserError, match=r"needs the package apprise: pip install '\.\[notify\]'"):
        News.of(Options("pipeline.search", "hw3"))
    monkeypatch.delenv(NOTIFY)
    assert not News.of(Options("pipeline.search", "hw3")).addresses, "and nobody asked for it"


def test_who_never_answers_holds_up_nothing(
    silent: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "PATIENCE_SECONDS", 0.5)
    begun = time.monotonic()
    options = Options("pipeline.search", "hw3", notify=(silent,))
    with announced(options, Interrupts()) as told:
        assert told.ended(0) == 0
    assert time.monotonic() - begun < 4, "less than it waits for an answer"
    assert "did not take a message" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("json://h", "json://…"),
        ("JSON://h", "json://…"),
        (f"https://discord.com/api/webhooks/000000000000000000/{SECRET * 10}", "https://…"),
        (f"{SECRET} json://h", "an address"),
        (f"{SECRET},json://h", "an address"),
    ],
)
def test_of_an_address_only_a_kind_that_is_known_is_shown(url: str, name: str) -> None:
    assert news.Address(url, "--notify").name == name


TRICKLE = """
import sys
from pipeline import search
from pipeline.session import news, session
from pipeline.session.cli import guarded

news.PATIENCE_SECONDS = 0.5
print("this is not lost", end="")
if "hw3" in sys.argv:
    session._conduct = lambda *_, **__: 1 / 0
guarded(search.main)
"""


@pytest.fixture
def trickling() -> Iterator[str]:
    """The address of a receiver whose answer never ends: a byte of it now and then."""
    over = threading.Event()

    def answer(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while not over.wait(0.5):
                client.sendall(b"x")

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield f"json://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("study", "code", "wrong"),
    [("no such study", 2, "no study of that name"), ("hw3", 1, "ZeroDivisionError")],
)
def test_a_command_ends_though_an_answer_does_not(
    study: str, code: int, wrong: str, trickling: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        (sys.executable, "-c", TRICKLE, "--study", study, "--mlruns", tmp_path / "x"),
        env={**os.environ, "PYTHONPATH": str(commands.ROOT), NOTIFY: trickling},
        capture_output=True,
        text=True,
        timeout=commands.HANGS / 20,
        check=False,
    )
    said = " ".join(ended.stderr.split())
    assert ended.returncode == code, said
    assert ended.stdout == "this is not lost"
    assert "json://… did not take a message" in said
    assert wrong in said


def test_what_a_command_begins_does_not_inherit_the_addresses(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTIFY, receiver.url)
    for dry_run in (False, True):
        options = Options("pipeline.search", "hw3", dry_run=dry_run)
        with announced(options, Interrupts()):
            assert (NOTIFY in os.environ) == dry_run
        assert os.environ[NOTIFY] == receiver.url, "for the next command of a notebook"


def test_an_address_is_no_word_that_a_cluster_lists(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--study", "hw3", "--address", "auto", "--notify", f"json://{SECRET}")
    with pytest.raises(SystemExit) as end:
        asked(parser("pipeline.search", "x", trains=True), words)
    said = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 2
    assert "error: --notify: its address would stand in the cluster's list of jobs" in said
    assert f"set {NOTIFY} instead" in said
    assert SECRET not in said
    assert asked(parser("pipeline.search", "x", trains=True), words[:4]).address == "auto"


@pytest.mark.parametrize(
    ("error", "title", "kind"),
    [
        (MachineError("the disk is full"), "failed (exit 4)", "failure"),
        (Interrupted(15), "interrupted (exit 143)", "warning"),
        (ZeroDivisionError("by zero"), "failed (exit 1)", "failure"),
    ],
    ids=str,
)
def test_every_end_by_an_error_is_told(
    error: BaseException, title: str, kind: str, receiver: Receiver
) -> None:
    options = Options("pipeline.search", "hw3", notify=(receiver.url,))
    with pytest.raises(type(error)), announced(options, Interrupts()):
        raise error
    assert receiver.titles == [title]
    assert receiver.told[0]["type"] == kind
    assert str(error) in receiver.told[0]["message"]


@pytest.mark.parametrize(
    ("code", "status", "title"),
    [
        (3, "time limit", "time limit (exit 3)"),
        (3, "complete", "finished, and something is missing (exit 3)"),
        (130, "interrupted", "interrupted (exit 130)"),
    ],
)
def test_an_end_that_is_not_complete_is_told(
    code: int, status: str, title: str, receiver: Receiver
) -> None:
    options = Options("pipeline.search", "hw3", notify=(receiver.url,))
    with announced(options, Interrupts()) as told:
        told.status = status
        told.hear("\n".join(map(str, range(100))))
        assert told.ended(code) == code
    assert receiver.titles == [title]
    assert receiver.told[0]["message"].splitlines()[-1] == "… 76 lines more"


def test_of_many_new_bests_the_newest_is_told_when_it_is_time(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Trials that get better one after another."""
    told = News.of(Options("pipeline.search", "hw3", notify=(receiver.url,)))
    study = small_study(num_trials=6, scheduler="none", epochs=2)
    followers: list[Any] = []

    def listen(event: events.Event) -> None:
        for follow in followers:
            follow(event)
        told.step()

    plan = open_plan(tmp_path / "x", study, listener=listen)
    followers.append(told.follow(plan.record))
    reached: dict[str, float] = {}

    def better(config: TrainConfig, _: int) -> float:
        return reached.setdefault(config.fingerprint(), (len(reached) + 1) / 100)

    train(plan, Worker(acc=better))
    plan.ledger.close()
    told._next_best = 0.0  # ten minutes later
    told.step()
    told.close(Interrupts())
    assert [one["message"].partition(":")[0] for one in receiver.told] == ["trial 1", "trial 5"]
    best = plan.record.best_trial()
    assert best is not None
    assert best.number == 5


def test_addresses_are_no_words_that_others_can_read(receiver: Receiver) -> None:
    words = ["--study", "x", "--notify", "a://b", "-q", "--notify=c://d"]
    assert parted(words) == (["--study", "x", "-q"], ["a://b", "c://d"])
    options = Options("pipeline.search", "x", notify=(receiver.url,))
    assert SECRET not in repr(options) + " ".join(options.words())
    with pytest.raises(UserError, match="no study of that name"):
        call("pipeline.search", ["--study", "no such study", f"--notify={receiver.url}"])
    assert receiver.titles == ["failed (exit 2)"]
    assert receiver.told[0]["title"].startswith("no such study on ")
