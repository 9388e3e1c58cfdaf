"""Disks that fill up while a study runs: told by its first cause, without a traceback, soon;
nothing is lost. Needs root.

`python tests/faults/full_disk.py [MEGABYTES ...]` mounts small file systems in memory for mlruns,
one after another.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]
import commands  # noqa: E402

FLAGS = (
    "--study",
    "hw3",
    "--workers",
    1,
    "--epochs",
    2,
    "--trials",
    2,
    "--replicates",
    1,
    "--set",
    "model.width=4",
)
LIMIT_SECONDS = 20.0
SIZES = (0.1, 0.6, 1.2, 1.6, 2.4)


def fill(home: Path, megabytes: float) -> tuple[int, float]:
    """(exit code, seconds from the last thing that could be written to the end) of a command on so
    small a disk.
    """
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={round(megabytes * 1024)}k", "tmpfs", home],
        check=True,
    )
    code = commands.start("search", *FLAGS, home=home).wait()
    return code, time.time() - max(path.lstat().st_mtime for path in home.rglob("*"))


def main() -> int:
    bad = 0
    print(
        f"{'MB':>5} {'exit':>4} {'seconds':>8} {'tracebacks':>10} {'then':>5} {'MLflow':>7}  "
        "message"
    )
    for megabytes in map(float, sys.argv[1:] or SIZES):
        with tempfile.TemporaryDirectory() as top:
            home = Path(top) / "mlruns"
            home.mkdir()
            try:
                code, seconds = fill(home, megabytes)
                text = commands.output(home)
                errors = [line for line in text.splitlines() if line.startswith("error:")]
                subprocess.run(["mount", "-o", "remount,size=64m", home], check=True)
                then = commands.run("search", *FLAGS, home=home)
                states = commands.mlflow_rows(home, "select distinct status from runs")
                known = commands.mlflow_rows(
                    home, "select count(*) from tags where key = 'pipeline.id'"
                )[0][0]
            finally:
                subprocess.run(["umount", "-l", home], check=False)
            whole = states == [("FINISHED",)] and known > 0
            said = errors[0] if errors else text[-200:]
            good = (
                code == 4
                and seconds < LIMIT_SECONDS
                and "Traceback" not in text
                and len(errors) == 1
                and then == 0
                and whole
            )
            bad += not good
            shown = (
                f"{megabytes:>5} {code:>4} {seconds:>8.1f} {text.count('Traceback'):>10} "
                f"{then:>5} {whole!s:>7}"
            )
            print(f"{shown}  {said} {'' if good else 'BAD'}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
