"""Ray's start: a second try without what the first one left, none without the token, and only the
processes that are of use.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest

SCRIPT = """
import contextlib, subprocess, sys
from pathlib import Path
from pipeline.engine import ray_node as node
from pipeline.engine.interrupts import Interrupts
from pipeline.machine import Resources

fails, folder, early = int(sys.argv[1]), Path(sys.argv[2]), "early" in sys.argv
started = []

def init(**options):
    ray = Path(options["_temp_dir"])
    assert not ray.exists()
    ray.mkdir()
    started.append(subprocess.Popen(["sleep", "1000"]))
    if len(started) <= fails:
        raise Exception("The current node timed out during startup.")
    is_up.append(True)

is_up = []
node.ray.init = init
node.ray.is_initialized = lambda: bool(is_up)
held = folder, Resources(workers=1, gpus_per_trial=0), Interrupts()
with node.beforehand(*held) if early else contextlib.nullcontext():
    if early:
        print("early", [process.poll() for process in started])
    try:
        with node.running(*held) as temp:
            print("runs", [process.poll() for process in started])
            assert temp.is_dir()
        assert not temp.exists()
    except Exception as error:
        print(error)
print("left", [process.wait() for process in started])
"""


GAVE_UP = (
    "Ray did not start in two tries, as on a machine that is too busy or short of memory "
    "(The current node timed out during startup); nothing is lost, the same command goes on"
)


def start(fails: int, folder: Path, *more: str) -> list[str]:
    folder.mkdir()
    words = (sys.executable, "-c", SCRIPT, str(fails), str(folder), *more)
    environment = os.environ | {"PYTHONPATH": str(commands.ROOT)}
    return subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_ray_is_started_a_second_time_without_what_the_first_try_left(tmp_path: Path) -> None:
    ended = "0"  # reaped by whoever ended it
    assert start(1, tmp_path / "once") == [f"runs [{ended}, None]", f"left [{ended}, {ended}]"]
    assert start(2, tmp_path / "twice") == [GAVE_UP, f"left [{ended}, {ended}]"]


def test_ray_that_was_started_beforehand_is_the_one_that_runs(tmp_path: Path) -> None:
    assert start(0, tmp_path / "up", "early") == ["early [None]", "runs [None]", "left [0]"]
    later = [f"early {[0] * 2}", f"runs {[0] * 2 + [None]}", f"left {[0] * 3}"]
    assert start(2, tmp_path / "down", "early") == later, "where it did not start, once more"


def test_workers_load_the_package_that_the_command_runs_and_no_other_that_is_installed(
    tmp_path: Path,
) -> None:
    (tmp_path / "pipeline").symlink_to(commands.ROOT / "pipeline")  # a second copy of the sources
    code = """
import subprocess, sys
from pathlib import Path
from pipeline.engine import ray_node as node
from pipeline.engine.interrupts import Interrupts
from pipeline.machine import Resources

def init(**_):
    code = "import pipeline, sys; print(pipeline.__file__)"
    subprocess.run((sys.executable, "-c", code), cwd="/", check=True)

node.ray.init = init
with node.running(Path("study").absolute(), Resources(1, 0), Interrupts()):
    pass
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = subprocess.run(
        (sys.executable, "-c", code),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"{tmp_path}/pipeline/__init__.py\n"


def test_ray_that_was_imported_before_without_a_token_is_not_started(tmp_path: Path) -> None:
    code = f"""
import os
os.environ["RAY_AUTH_MODE"] = "disabled"
import ray
from pathlib import Path
from pipeline.engine import ray_node as node
from pipeline.engine.interrupts import Interrupts
from pipeline.machine import Resources
with node.running(Path({str(tmp_path)!r}), Resources(1, 0), Interrupts()):
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
import sys, time
from pathlib import Path
import psutil
from pipeline.engine import ray_node as node
from pipeline.engine import ray_tune
from pipeline.engine.interrupts import Interrupts
from pipeline.machine import Resources
from ray.util import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Among

num_gpus = int(sys.argv[2])

def told():
    return {p.pid: " ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)}

class Worker:
    def pid(self):
        import os
        return os.getpid()

with node.running(Path(sys.argv[1]), Resources(2, num_gpus / 2, num_gpus), Interrupts()):
    print(node.ray.cluster_resources().get("GPU"))
    deadline = time.monotonic() + 120
    while len(begun := {p for p, words in told().items() if words.startswith("ray::IDLE")}) < 2:
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
    held = placement_group([{"CPU": 1}, {"CPU": 1}])  # as Tune does
    assert held.wait(60)
    time.sleep(2)  # longer than Ray keeps those that no core is free for
    chosen = ray_tune.class_cache._ActorClassCache().get(Worker)
    actor = chosen.options(num_cpus=1, scheduling_strategy=Among(held)).remote()
    print(node.ray.get(actor.pid.remote()) in begun)
    print([words for words in told().values() if "monitor.py" in words or "dashboard.py" in words])
"""


@pytest.mark.parametrize("num_gpus", [0, 2])
def test_ray_has_the_gpus_it_is_told_of_and_the_workers_that_it_began_are_used(
    num_gpus: int, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONPATH": str(commands.ROOT)}
    found = subprocess.run(
        (sys.executable, "-c", SPARING, str(tmp_path), str(num_gpus)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=commands.HANGS,
    )
    told = "2.0" if num_gpus else "None"
    assert found.stdout.splitlines() == [told, "True", "[]"], found.stderr


@pytest.mark.parametrize(
    ("visible", "share", "given"),
    [
        ("GPU-8932f937,MIG-GPU-5ae5/1/0", 0.5, 2 * [{"GPU-8932f937"}, {"MIG-GPU-5ae5/1/0"}]),
        ("1,2,4,7", 2.0, [{"1", "2"}, {"4", "7"}]),
    ],
    ids=["shares of GPUs by name", "several GPUs a run"],
)
def test_each_run_gets_gpus_of_those_that_are_visible_and_shares_none_but_by_its_share(
    visible: str, share: float, given: list[set[str]], tmp_path: Path
) -> None:
    """Also in a job of Slurm, whose variables Ray and torch know."""
    slurm = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_STEP_GPUS": "0,1,2,3"}
    slurm |= {"SLURM_NTASKS": "4", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NUM_NODES": "2"}
    environment = {**os.environ, **slurm, "PYTHONPATH": str(commands.ROOT)}
    environment["CUDA_VISIBLE_DEVICES"] = visible
    num_gpus = len(visible.split(","))
    words = (tmp_path / "study", num_gpus, share, len(given))
    found = subprocess.run(
        (sys.executable, "-m", "tests.placement", *map(str, words)),
        cwd=commands.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=commands.HANGS,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    together = (tmp_path / "study" / "together").iterdir()
    seen = [set(path.read_text().split(",")) for path in together]
    assert sorted(map(sorted, seen)) == sorted(map(sorted, given))
