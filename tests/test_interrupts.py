"""Signals: what the first does and what the second, who ignores one, and that nothing half made is
left.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import commands
import pytest
from pictures import class_folder

from pipeline.data.cache import prepare
from pipeline.data.datasets.folder import Folder
from pipeline.engine import interrupts as interrupts_module
from pipeline.engine.interrupts import SIGNALS, Interrupted, Interrupts, debugged
from pipeline.engine.processes import descendants, end_descendants
from pipeline.errors import UserError


def send(number: int) -> None:
    """To this process, whose handler has run when this returns."""
    os.kill(os.getpid(), number)
    time.sleep(0)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Whoever runs the tests may ignore a signal (`nohup`, `&`)."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_kept_and_the_handlers_come_back(number: int) -> None:
    with Interrupts() as interrupts:
        send(number)
        assert interrupts.signal == number
    assert all(signal.getsignal(one) == signal.SIG_DFL for one in SIGNALS)


@pytest.mark.parametrize("number", SIGNALS)
def test_decoding_ends_at_the_signal_and_leaves_nothing_half_made(
    tmp_path: Path, number: int
) -> None:
    class_folder(tmp_path / "photos", num=40)
    arguments = (Folder(size=8), tmp_path / "photos", tmp_path / "cache")
    with Interrupts(raises=True) as interrupts:
        with pytest.raises(
            Interrupted,
            match=f"^interrupted by {signal.Signals(number).name}; the same command goes on",
        ):
            prepare(*arguments, on_progress=lambda *_: send(number))
        assert interrupts.signal == number
    assert [path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"] == []
    assert len(prepare(*arguments).labels) == 120


def test_what_ignores_a_closed_terminal_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interrupts(raises=True) as interrupts:
        send(signal.SIGHUP)
        assert interrupts.signal == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_what_must_not_be_left_in_the_middle_ends_before_the_signal_is_raised() -> None:
    done: list[str] = []

    def work(interrupts: Interrupts, *, hears: bool) -> None:
        with interrupts.kept():
            if hears:
                send(signal.SIGTERM)
            done.append("whole")
            if hears:
                raise ValueError("as a thing that the signal has broken")

    with Interrupts(raises=True) as interrupts:
        work(interrupts, hears=False)
        with pytest.raises(Interrupted, match="by SIGTERM"):
            work(interrupts, hears=True)
    assert done == ["whole", "whole"]
    with Interrupts() as interrupts, interrupts.kept():
        send(signal.SIGTERM)
    assert interrupts.signal == signal.SIGTERM


def test_a_signal_leaves_processes_to_whoever_ends_them_in_their_order() -> None:
    words = (sys.executable, "-c", "input()")
    with subprocess.Popen(words, stdin=-1) as spared, subprocess.Popen(words, stdin=-1) as other:
        with Interrupts(raises=True) as interrupts:
            interrupts.spared = {spared.pid}
            with pytest.raises(Interrupted):
                send(signal.SIGTERM)
        assert (spared.poll(), other.wait()) == (None, 0), "the other is reaped"
        end_descendants()
        assert spared.wait() == 0


def test_a_long_wait_ends_where_the_signal_comes_and_is_short_after_it() -> None:
    waits: list[float] = []

    def wait(seconds: float) -> str:
        waits.append(seconds)
        if seconds > 1:
            send(signal.SIGTERM)
            raise AssertionError("goes on after the signal")
        return "told"

    with Interrupts() as interrupts:
        assert interrupts.wait(wait, 60.0, 0.5) == "told"
        assert interrupts.wait(wait, 60.0, 0.25) == "told"
    assert waits == [60.0, 0.5, 0.25]


@pytest.mark.parametrize("number", SIGNALS)
def test_one_stop_that_is_told_twice_is_one(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(interrupts_module, "ECHO_SECONDS", float("inf"))
    with Interrupts() as interrupts:
        send(number)
        send(signal.SIGTERM)
        assert interrupts.signal == number


TWICE = """
import os, signal, subprocess, sys
from pipeline.engine import interrupts
from pipeline.engine.interrupts import Interrupts
interrupts.ECHO_SECONDS = 0.0
with Interrupts():
    child = "import subprocess; subprocess.run(['sleep', '1000'])"
    subprocess.Popen([sys.executable, "-c", child])
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    print("lives")
"""


def test_the_second_signal_ends_all_that_was_started() -> None:
    words = (sys.executable, "-c", TWICE)
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(commands.ROOT)}
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        while len(descendants(process.pid)) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        started = descendants(process.pid)
        said, _ = process.communicate("go\n")
    assert (process.returncode, said) == (128 + signal.SIGTERM, "")
    while any(_runs(pid) for pid in started):
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_breakpoint_that_nobody_could_answer_is_refused_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    before = sys.breakpointhook
    said = r"test_interrupts\.py, line \d+: breakpoint"
    with debugged(False), pytest.raises(UserError, match=said):
        breakpoint()
    assert sys.breakpointhook is before
    with debugged(True):
        assert sys.breakpointhook is before
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    with debugged(False):
        breakpoint()
