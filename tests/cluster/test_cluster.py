"""Commands on a real cluster: what they train is what one machine trains, whatever happens to its
nodes.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import commands
from tests.cluster.nodes import SETTINGS, Nodes, nodes

WORDS = ("search", *commands.SHORT, "--trials", 2, "--no-race", "--set", "search.sampler=random")
REPORTED = 2  # epochs, before something is done to the cluster
BUSY = """
import ray, sys, time
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=50)
@ray.remote(num_cpus=1)
def idle(): time.sleep(3600)
tasks = [idle.remote() for _ in range(int(sys.argv[2]))]
print("asked", flush=True)
ray.get(tasks)
"""

NOWHERE = {
    "ray://127.0.0.1:10001": "--address: got ray://127.0.0.1:10001, Ray's client",
    "127.0.0.1:1": "--address: got 127.0.0.1:1, which cannot be joined",
    "local": "--address: got local, which cannot be joined (no HOST:PORT)",
}


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Path:
    """The study, trained on this machine alone."""
    home = tmp_path_factory.mktemp("calm") / "mlruns"
    assert commands.here(*WORDS, "--debug", home=home) == 0, commands.output(home)
    return home


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Nodes]:
    shared = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)  # of a Ray of one's own, which other tests in this process had
        patch.delenv("XDG_CACHE_HOME", raising=False)  # it travels, and each node has its own
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        with nodes(shared) as found:
            yield found


def test_a_node_without_the_disk_dies_another_joins_and_nothing_is_lost(
    cluster: Nodes, calm: Path
) -> None:
    """The first node sees nothing of the command's folder, so that all comes by copies; the run
    goes on where it is seen. One that has no room for copies is left out.
    """
    home = cluster.hidden / "deaths"
    blind = cluster.start(2, blind=True)
    tight = cluster.start(3, blind=True, tight=True) if cluster.apart else ""
    process = commands.start(*WORDS, "--address", cluster.address, home=home)
    commands.await_epochs(process, home, REPORTED)
    assert [*home.glob("*/checkpoints/*/epoch_*/meta.json")]
    cluster.kill(2)
    joined = cluster.start(4, cores=2)
    assert process.wait(commands.HANGS) == 0, commands.output(home)
    said = " ".join(commands.output(home).split())
    assert f"node {blind} of the cluster is gone" in said
    assert f"node {joined} has joined the cluster: 2 runs more at once" in said
    if tight:
        assert f"1 node of the cluster ({blind}) does not see the folder --mlruns: copies" in said
        assert f"node {tight} of the cluster is left out: it does not see the folder" in said
        assert "its disk is too small" in said
        cluster.kill(3)
    _assert_same(home, calm)
    assert commands.repeated_epochs(home) <= 1
    (session,) = commands.record(home).sessions
    assert session.machine["name"].startswith("1 node of ")
    assert not [*home.glob("*/tune"), *home.parent.rglob(".seen-*"), *home.rglob(".epoch_*")]
    _await_idle(cluster)


def test_a_full_cluster_is_waited_for_and_a_killed_command_leaves_it_free(
    cluster: Nodes, calm: Path
) -> None:
    home = cluster.hidden / "waits"
    with _busy(cluster, 2):
        process = commands.start(*WORDS, "--address", cluster.address, home=home)
        _await_word(process, home, "no run has begun on the cluster yet: others may fill it")
        assert commands.num_epochs(home) == 0
    commands.await_epochs(process, home, REPORTED)
    process.kill()
    process.wait()
    _await_idle(cluster)
    words = (*WORDS, "--address", cluster.address)
    assert commands.start(*words, home=home).wait(commands.HANGS) == 0, commands.output(home)
    _assert_same(home, calm)
    _await_idle(cluster)


def test_the_time_of_a_command_is_not_spent_on_waiting_to_measure_on_a_full_cluster(
    cluster: Nodes,
) -> None:
    home = cluster.hidden / "no room"
    with _busy(cluster, 2):
        words = (*WORDS, "--address", cluster.address, "--time", "25s")
        assert commands.start(*words, home=home).wait(commands.HANGS) == 3, commands.output(home)
    said = " ".join(commands.output(home).split())
    assert "had no room to measure an epoch in" in said
    assert "time limit after" in said


def test_a_cluster_whose_head_is_gone_ends_the_command_which_goes_on_without(
    cluster: Nodes, calm: Path
) -> None:
    home = cluster.hidden / "headless"
    process = commands.start(*WORDS, "--address", cluster.address, home=home)
    commands.await_epochs(process, home, REPORTED)
    cluster.kill(1)
    assert process.wait(commands.HANGS) == 4, commands.output(home)
    said = " ".join(commands.output(home).split())
    assert "nothing is lost, the same command goes on from here" in said
    assert commands.here(*WORDS, "--debug", home=home) == 0, commands.output(home)
    _assert_same(home, calm)


def test_an_address_that_leads_nowhere_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "nowhere"
    asked = [(home, *WORDS, "--address", address) for address in NOWHERE]
    for (code, text), said in zip(
        commands.in_a_row(*asked, root=commands.ROOT), NOWHERE.values(), strict=True
    ):
        assert code == 2, text
        assert said in " ".join(text.split())
        assert "Traceback" not in text
    assert not home.exists()


def _assert_same(home: Path, calm: Path) -> None:
    """The same trials and arms, number for number as far as both have trained them: which trial is
    sent on first hangs on which came first, where there are several workers.
    """
    found, known = commands.results(home), commands.results(calm)
    assert found.keys() == known.keys()
    for key, (kind, *facts, epochs, _, best, acc, loss) in found.items():
        other = known[key]
        num = min(len(epochs), len(other[6]))
        assert num
        assert epochs[:num] == other[6][:num]
        if kind != "trial":
            assert (kind, *facts) == other[:6]
            assert (len(epochs), best, acc, loss) == (len(other[6]), *other[8:])


@contextlib.contextmanager
def _busy(cluster: Nodes, cores: int) -> Iterator[None]:
    """Somebody else's work on all cores."""
    words = [sys.executable, "-c", BUSY, cluster.address, str(cores)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | SETTINGS) as other:
        assert other.stdout
        assert other.stdout.readline() == b"asked\n"
        time.sleep(3)  # until they are there: Ray tells nobody
        try:
            yield
        finally:
            other.send_signal(signal.SIGKILL)


def _await_word(process: "subprocess.Popen[str]", home: Path, word: str) -> None:
    deadline = time.monotonic() + commands.HANGS
    while word not in " ".join(commands.output(home).split()):
        assert process.poll() is None, commands.output(home)
        assert time.monotonic() < deadline, commands.output(home)
        time.sleep(0.2)


def _await_idle(cluster: Nodes) -> None:
    """Ray's own account, which it renews every few seconds: nothing of a command is left."""
    deadline = time.monotonic() + commands.HANGS
    while not cluster.idle():
        assert time.monotonic() < deadline, cluster.status()
        time.sleep(1)


SRUN = """#!/bin/bash
# The job's nodes are all this machine: what is to run on N of them is begun N times, in the end
# all at once, and ended with the job.
num=1
while [ "${1#--}" != "$1" ]; do
  case $1 in --ntasks=*) num=${1#--ntasks=};; esac
  shift
done
trap 'kill $(jobs -p)' TERM
for _ in $(seq "$num"); do "$@" & done
wait
"""


def test_the_script_for_slurm_runs_a_study_on_the_nodes_of_a_job(
    calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    text = (commands.ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", text, re.DOTALL)
    words = " ".join(map(shlex.quote, map(str, WORDS[1:])))
    assert "--study hw3" in script
    script = script.replace("--study hw3", words).replace("--time 7h30m", "--time 1h")
    (tmp_path / "job.sh").write_text(script)
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    home, programs = tmp_path / "mlruns", f"{tmp_path}:{Path(sys.executable).parent}"
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NNODES": "3", "SLURM_CPUS_PER_TASK": "1"}
    job |= {"MLRUNS": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}
    job |= {"PYTHONPATH": str(commands.ROOT)}
    done = subprocess.run(
        ["bash", str(tmp_path / "job.sh")],
        cwd=tmp_path,
        env=os.environ | SETTINGS | job,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _assert_same(home, calm)
    (session,) = commands.record(home).sessions
    assert session.workers in (1, 2, 3)  # as many of the nodes as had joined when it began
    assert session.machine["device"] == "cpu"
