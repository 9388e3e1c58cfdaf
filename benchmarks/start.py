"""How long a command takes to begin: from its start to the first epoch that it tells of, its
pictures decoded already.

The embedded digits, small networks; rounds of the command and of a process that does nothing but
import what any such command must (torch, Ray Tune, MLflow) take turns, so that their ratio says
what is ours whatever the machine has to do besides. CPU seconds are of all processes of the
command, Ray's among them, up to that epoch.

    python -m benchmarks.start [--rounds 5] [--workers 2]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from pipeline.session.values import positive

IMPORTS = "import torch, mlflow; from ray import tune"
SMALL = ("--trials", "4", "--epochs", "3", "--no-race", "--set", "model.width=4")
LEDGERS, EPOCH = "*/ledger.jsonl", b'"type":"epoch"'
LOOK_SECONDS = 0.05


def begin(home: Path, workers: int) -> tuple[float, float]:
    """(seconds, CPU seconds) of the command up to its first epoch; it is ended then."""
    words = [sys.executable, "-m", "pipeline.search", "--study", "hw3", "--mlruns", str(home)]
    words += ["--workers", str(workers), *SMALL]
    for ledger in home.glob(LEDGERS):  # of the round before; the pictures stay
        shutil.rmtree(ledger.parent)
    began = time.monotonic()
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=quiet, stderr=quiet, env=dict(os.environ)) as process:
        spent: dict[int, float] = {}
        while not any(EPOCH in path.read_bytes() for path in home.glob(LEDGERS)):
            if process.poll() is not None:
                raise SystemExit(f"the command ended before its first epoch: {process.returncode}")
            _add(spent, process.pid)
            time.sleep(LOOK_SECONDS)
        seconds = time.monotonic() - began
        process.terminate()
    return seconds, sum(spent.values())


def _add(spent: dict[int, float], pid: int) -> None:
    """CPU seconds of the process and all that it has started, also of those that are gone."""
    root = psutil.Process(pid)
    for one in (root, *root.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        spent[one.pid] = times.user + times.system


def import_alone() -> float:
    """Seconds of the imports that no such command can do without."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.monotonic() - began


def main(argv: Sequence[str] | None = None) -> int:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument("--rounds", type=positive, default=5)
    flags.add_argument("--workers", type=positive, default=2)
    asked = flags.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rounds = []
        for number in range(asked.rounds + 1):  # the first decodes, and warms the disk
            seconds, cpu = begin(Path(folder), asked.workers)
            alone = import_alone()
            if number:
                rounds.append((seconds, cpu, seconds / alone))
                print(
                    f"round {number}: first epoch after {seconds:.1f} s ({cpu:.1f} CPU s), "
                    f"{seconds / alone:.1f} times the {alone:.1f} s of imports alone",
                    flush=True,
                )
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    print(
        f"median of {asked.rounds}: {medians[0]:.1f} s, {medians[1]:.1f} CPU s, "
        f"{medians[2]:.1f} times the imports; {os.cpu_count()} cores, {asked.workers} workers"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
