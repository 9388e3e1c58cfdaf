"""A real command called by a program that is not ours, while it runs: who may talk to its Ray, and
what ends and stays.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import commands
import pytest

from pipeline.engine.processes import descendants
from pipeline.machine import temp_folder

FLAGS = (*commands.SHORT, "--workers", 1, "--trials", 2, "--no-race", "-q")


class Host:
    """`tests/host.py` in the middle of its first command."""

    def __init__(self, home: Path) -> None:
        self.home = home
        words = [sys.executable, "tests/host.py", *map(str, FLAGS), "--mlruns", str(home)]
        environment = os.environ | {
            "PYTHONPATH": str(commands.ROOT),
            "RAY_ADDRESS": "10.0.0.1:6379",
            "RAY_AUTH_MODE": "disabled",
        }
        with home.with_suffix(".log").open("w") as log, commands.heard(signal.SIGINT):
            self.process = subprocess.Popen(
                words, cwd=commands.ROOT, stdout=log, stderr=log, env=environment
            )
        commands.await_epochs(self.process, home, 1)
        self.temp = temp_folder(commands.folder(home).resolve())
        self.processes = {pid: _words(pid) for pid in descendants(self.process.pid)}
        # not to end while it is looked at
        os.kill(self.pid("ray::ImplicitFunc"), signal.SIGSTOP)

    def pid(self, what: str) -> int:
        return next(pid for pid, words in self.processes.items() if what in words)

    @property
    def token(self) -> str:
        variables = Path(f"/proc/{self.pid('gcs_server')}/environ").read_bytes().split(b"\0")
        return (
            next(one for one in variables if one.startswith(b"RAY_AUTH_TOKEN="))
            .partition(b"=")[2]
            .decode()
        )


def _words(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    found = Host(tmp_path_factory.mktemp("host") / "mlruns")
    yield found
    found.process.kill()
    found.process.wait()


def test_the_token_is_in_no_command_line_and_in_no_file(host: Host) -> None:
    assert len(host.token) == 64
    assert not any(host.token in words for words in host.processes.values())
    for folder in (host.temp, host.home, host.home.with_suffix(".log")):
        found = subprocess.run(
            ("grep", "-rl", host.token, str(folder)),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
        )
        gone = [line.endswith("No such file or directory") for line in found.stderr.splitlines()]
        assert (found.stdout, all(gone)) == ("", True), found.stderr  # gone since it was listed
        assert found.returncode == 1 + any(gone)


def test_the_temporary_folder_is_for_its_owner_alone(host: Host) -> None:
    assert host.temp.stat().st_mode & 0o777 == 0o700
    assert (host.temp / "r").is_dir(), "in it what Ray opens to everybody"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_gets_nothing_of_ray(host: Host) -> None:
    (port,) = host.temp.glob("r/session_latest/gcs_server_port_*")
    found = subprocess.run(
        (sys.executable, "tests/neighbour.py", port.read_text(), str(host.temp), host.token),
        cwd=commands.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines()[:2] == [
        "owner read what workers will unpickle",
        "owner listed Ray's the folder",
    ]
    (refused,) = found.stdout.splitlines()[2:]
    assert refused.startswith("neighbour was refused: ")
    assert "InvalidAuthToken" in refused


def test_an_interrupted_command_ends_whole_and_the_next_one_goes_on_in_a_loop_in_a_thread(
    host: Host,
) -> None:
    os.kill(host.process.pid, signal.SIGINT)
    assert host.process.wait(commands.HANGS) == 0, commands.output(host.home)
    said = [
        line
        for line in commands.output(host.home).splitlines()
        if line.startswith(("first ", "second ", "changed "))
    ]
    assert said == ["first 130", "second 0"], commands.output(host.home)
    assert commands.repeated_epochs(host.home) == 0
    assert not host.temp.exists()
    assert [words for pid, words in host.processes.items() if _alive(pid, words)] == []


def _alive(pid: int, words: str) -> bool:
    try:
        return _words(pid) == words
    except OSError:
        return False
