"""A real command in a container's memory limit (a cgroup, needs root): workers are killed for
memory, the study ends whole.

python -m tests.faults.out_of_memory [--gigabytes 2.5] [--workers 4]
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests import commands
from tests.records import lines

STUDY = (
    "--study",
    "hw3",
    "--trials",
    6,
    "--epochs",
    3,
    "--replicates",
    2,
    "--set",
    "model.width=4",
)


def limited(num_bytes: int) -> Path:
    """A group of its own with this limit, of either version."""
    name = f"pipeline-memory-{os.getpid()}"
    one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    group = (one if one.is_dir() else two) / name
    group.mkdir()
    (group / ("memory.limit_in_bytes" if one.is_dir() else "memory.max")).write_text(str(num_bytes))
    with contextlib.suppress(OSError):  # nor by way of swap; a kernel without it has no such file
        (group / ("memory.memsw.limit_in_bytes" if one.is_dir() else "memory.swap.max")).write_text(
            str(num_bytes if one.is_dir() else 0)
        )
    return group


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.5)
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()
    group = limited(int(args.gigabytes * 2**30))
    try:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            words = [
                sys.executable,
                "-m",
                "pipeline.search",
                *map(str, STUDY),
                "--mlruns",
                str(home),
            ]
            for flags in (["--workers", str(args.workers)],):
                enter = f'echo 0 > {group}/cgroup.procs && exec "$@"'
                done = subprocess.run(
                    ["sh", "-c", enter, "sh", *words, *flags],
                    cwd=commands.ROOT,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            told = lines(commands.folder(home))
            print("\n".join(line for line in done.stdout.splitlines() if "memory" in line))
            kinds = Counter(event["type"] for event in told)
            killed = [event["error"] for event in told if event["type"] == "fail"]
            statuses = Counter(run.status for run in commands.record(home).runs.values())
            print(
                f"exit {done.returncode}; {kinds['fail']} attempts lost: {dict(Counter(killed))}; "
                f"runs {dict(statuses)}"
            )
            print(done.stderr[-2000:])
            whole = (
                done.returncode == 0
                and not statuses["failed"]
                and commands.repeated_epochs(home) == 0
            )
            return 0 if whole and killed and all("memory" in error for error in killed) else 1
    finally:
        group.rmdir()


if __name__ == "__main__":
    sys.exit(main())
