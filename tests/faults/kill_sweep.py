"""`kill -9` at 20 instants over the whole life of a command, then the same command: it ends as if
nothing had happened.

    python -m tests.faults.kill_sweep [--workers 1 2] [--instants 20] [--more "--against params"]

Each instant has a home of its own. Looked at: runs, their configs, every number of every epoch,
rungs, tests (with one worker, whose order is fixed, against the undisturbed twin's; with several,
those of the arms), epochs held twice, what MLflow shows (runs, points, none RUNNING), folders and
processes left behind.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import commands

STUDY = (
    "--study",
    "hw3",
    "--trials",
    4,
    "--epochs",
    3,
    "--replicates",
    2,
    "--set",
    "model.width=4",
)
Study = Sequence[object]
RUNS = "SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'"
POINTS = "SELECT count(*) FROM metrics"
RUNNING = "SELECT count(*) FROM runs WHERE status = 'RUNNING'"
MOST_COMMANDS = 3
GONE_SECONDS = 20  # for the last processes of a killed command to be gone


@dataclass(frozen=True)
class End:
    """What a home is like in the end."""

    runs: dict[str, Any]
    repeated: int
    mlflow: tuple[int, int]
    running: int
    scratch: tuple[str, ...]

    @classmethod
    def of(cls, home: Path) -> "End":
        counts = [commands.mlflow_rows(home, query)[0][0] for query in (RUNS, POINTS, RUNNING)]
        scratch = tuple(
            str(p.relative_to(home))
            for p in home.rglob("*")
            if p.name.endswith((".tmp", ".new", ".out"))
        )
        found = commands.results(home)
        return cls(
            found, commands.repeated_epochs(home), (counts[0], counts[1]), counts[2], scratch
        )

    def of_arms(self) -> dict[str, Any]:
        return {key: run for key, run in self.runs.items() if run[0] == "arm"}


def children(root: int) -> list[int]:
    """All processes below `root`, from /proc."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(words[1]), []).append(int(path.parent.name))
    found, todo = [], [root]
    while todo:
        todo += (below := parents.get(todo.pop(), []))
        found += below
    return found


def killed(home: Path, study: Study, workers: int, seconds: float) -> str:
    """Kill the command after so long; returns what was going on."""
    process = commands.start("search", *study, "--workers", workers, home=home)
    try:
        process.wait(seconds)
        return f"had ended with {process.returncode}"
    except Exception:  # it is still at work, as it should be
        pass
    below = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + GONE_SECONDS
    while (
        left := [pid for pid in below if Path(f"/proc/{pid}").exists()]
    ) and time.monotonic() < deadline:
        time.sleep(0.1)
    return f"{commands.num_lines(home)} lines" + (
        f", LEFT: {', '.join(map(name, left))}" if left else ""
    )


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def compare(end: End, twin: End, workers: int) -> list[str]:
    """What is not as it should be."""
    ours, theirs = (end.runs, twin.runs) if workers == 1 else (end.of_arms(), twin.of_arms())
    found = [f"{len(theirs.keys() - ours.keys())} runs lost"] if theirs.keys() - ours.keys() else []
    found += (
        [f"{len(ours.keys() - theirs.keys())} runs too many"] if ours.keys() - theirs.keys() else []
    )
    differing = [key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
    found += [f"{len(differing)} runs differ"] if differing else []
    found += [f"{end.repeated} epochs twice"] if end.repeated else []
    if workers == 1 and end.mlflow != twin.mlflow:
        found.append(f"MLflow has {end.mlflow} runs and points, the twin {twin.mlflow}")
    found += [f"{end.running} RUNNING in MLflow"] if end.running else []
    return found + [f"left behind: {', '.join(end.scratch)}"] * bool(end.scratch)


def sweep(root: Path, study: Study, workers: int, instants: int) -> int:
    """All instants with this many workers; returns how many ended otherwise than undisturbed."""
    calm = root / f"calm{workers}"
    begun = time.monotonic()
    code = commands.run("search", *study, "--workers", workers, home=calm)
    life = time.monotonic() - begun
    twin = End.of(calm)
    print(
        f"{workers} workers, undisturbed: exit {code}, {life:.1f} s, {len(twin.runs)} runs, MLflow "
        f"{twin.mlflow}",
        flush=True,
    )
    bad = int(code != 0)
    for number in range(1, instants + 1):
        at = life * (number - 0.5) / instants
        home = root / f"killed{workers}-{number}"
        what = killed(home, study, workers, at)
        codes: list[int] = []
        while len(codes) < MOST_COMMANDS and 0 not in codes:
            codes.append(commands.run("search", *study, "--workers", workers, home=home))
        faults = (
            compare(End.of(home), twin, workers)
            + [f"exit {codes}"] * (codes != [0])
            + ["LEFT"] * ("LEFT" in what)
        )
        bad += bool(faults)
        words = "; ".join(faults) or "as undisturbed"
        print(f"{workers} workers, killed at {at:5.1f} s ({what}): {words}", flush=True)
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--instants", type=int, default=20)
    parser.add_argument("--more", type=shlex.split, default=[], help="flags of the command")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = (*STUDY, *args.more)
        bad = sum(sweep(Path(folder), study, workers, args.instants) for workers in args.workers)
    print(f"{bad} of {len(args.workers) * args.instants} ended otherwise than undisturbed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
