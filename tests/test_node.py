"""Ray's start: a second try without what the first one left, none without the token, and only the
processes that are of use.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import commands

SCRIPT = """
import subprocess, sys
from pathlib import Path
from pipeline.engine import ray_node as node
from pipeline.engine.interrupts import Interrupts

fails, temp = int(sys.argv[1]), Path(sys.argv[2])
started = []

def init(**options):
    ray = Path(options["_temp_dir"])
    assert not ray.exists()
    ray.mkdir()
    started.append(subprocess.Popen(["sleep", "1000"]))
    if len(started) <= fails:
        raise Exception("The current node timed out during startup.")

node.ray.init = init
try:
    with node.running(1, temp, Interrupts()):
        print("runs", [process.poll() for process in started])
except Exception as error:
    print(error)
print("left", [process.wait() for process in started])
"""


GAVE_UP = (
    "Ray did not start in two tries, as on a machine that is too busy or short of memory "
    "(The current node timed out during startup); nothing is lost, the same command goes on"
)


def start(fails: int, temp: Path) -> list[str]:
    temp.mkdir()
    words = (sys.executable, "-c", SCRIPT, str(fails), str(temp))
    environment = os.environ | {"PYTHONPATH": str(commands.ROOT)}
    return subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_ray_is_started_a_second_time_without_what_the_first_try_left(tmp_path: Path) -> None:
    ended = "0"  # reaped by whoever ended it
    assert start(1, tmp_path / "once") == [f"runs [{ended}, None]", f"left [{ended}, {ended}]"]
    assert start(2, tmp_path / "twice") == [GAVE_UP, f"left [{ended}, {ended}]"]


def test_ray_that_was_imported_before_without_a_token_is_not_started(tmp_path: Path) -> None:
    code = f"""
import os
os.environ["RAY_AUTH_MODE"] = "disabled"
import ray
from pathlib import Path
from pipeline.engine import ray_node as node
from pipeline.engine.interrupts import Interrupts
with node.running(1, Path({str(tmp_path)!r}), Interrupts()):
    print("runs")
"""
    environment = os.environ | {"PYTHONPATH": str(commands.ROOT)}
    found = subprocess.run(
        (sys.executable, "-c", code), env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    assert "it would let other users of this machine in" in found.stderr


def test_no_escape_sequence_is_left_on_a_terminal_at_the_end() -> None:
    master, terminal = os.openpty()
    code = (
        "from pipeline.engine import ray_node as node\nimport "
        "colorama\ncolorama.init(strip=False)\nnode._end()\nprint('over')"
    )
    with os.fdopen(master, "rb", buffering=0) as screen:
        environment = os.environ | {"PYTHONPATH": str(commands.ROOT)}
        subprocess.run((sys.executable, "-c", code), env=environment, stdout=terminal, check=True)
        os.close(terminal)
        assert screen.read(1000) == b"over\r\n"


ENDED = """
import subprocess
from pipeline.engine.processes import outlived_by_none
start = outlived_by_none("SECRET")
own = [start(["sleep", "3600"]).pid for _ in range(2)]
# what one of them has started, with a group of its own
words = ["/bin/sh", "-c", "setsid sleep 3600 & echo $!; wait"]
theirs = int(start(words, stdout=subprocess.PIPE).stdout.readline())
print(*own, theirs, flush=True)
input()
"""


def test_what_was_started_ends_with_a_process_that_was_killed(tmp_path: Path) -> None:
    """`tests.faults.kill_sweep` looks at Ray's own."""
    environment = os.environ | {"PYTHONPATH": str(commands.ROOT), "SECRET": str(tmp_path)}
    with subprocess.Popen(
        (sys.executable, "-c", ENDED),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pids = process.stdout.readline().split()
        # a process that is just becoming another program has no words for a moment
        while not all(_runs(pid, "sleep") for pid in pids):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        deadline = time.monotonic() + commands.HANGS
        while any(_runs(pid, "sleep") for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _runs(pid: str, program: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(program.encode() + b"\0")
    except OSError:  # it has ended
        return False


SPARING = """
import shutil, sys, time
from pathlib import Path
import psutil
from pipeline.engine import ray_node as node
from pipeline.engine import ray_tune
from pipeline.engine.interrupts import Interrupts
from pipeline.machine import make_anew, temp_folder

temp = temp_folder(Path(sys.argv[1]))
make_anew(temp)

def told():
    return {p.pid: " ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)}

class Worker:
    def pid(self):
        import os
        return os.getpid()

with node.running(2, temp, Interrupts(), num_gpus=2):
    print(node.ray.cluster_resources()["GPU"])
    deadline = time.monotonic() + 120
    while len(begun := {p for p, words in told().items() if words.startswith("ray::IDLE")}) < 2:
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
    actor = ray_tune.class_cache._ActorClassCache().get(Worker).options(num_cpus=1).remote()
    print(node.ray.get(actor.pid.remote()) in begun)
    print([words for words in told().values() if "monitor.py" in words or "dashboard.py" in words])
shutil.rmtree(temp)
"""


def test_ray_has_the_gpus_it_is_told_of_and_the_workers_that_it_began_are_used(
    tmp_path: Path,
) -> None:
    environment = os.environ | {"PYTHONPATH": str(commands.ROOT)}
    found = subprocess.run(
        (sys.executable, "-c", SPARING, str(tmp_path)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=commands.HANGS,
    )
    assert found.stdout.splitlines() == ["2.0", "True", "[]"], found.stderr
