"""Real commands as in a bare container (needs root): /dev/shm of 64 MB, 256 open files, no HOME, a
user nobody knows.

python -m tests.faults.bare_container [--workers 2]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import commands

STUDY = ("--study", "hw3")
BUDGET = ("--trials", "4", "--epochs", "2", "--replicates", "1", "--set", "model.width=4")
SMALL = "mount -t tmpfs -o size=64m tmpfs /dev/shm && ulimit -n 256 && exec "
NOBODY = "unshare --user --map-user=54321 --map-group=54321 "


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", default="2")
    args = parser.parse_args()
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(commands.ROOT)}
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        for words in (
            ("search", *STUDY, *BUDGET, "--workers", args.workers),
            ("search", *STUDY, *BUDGET, "--workers", args.workers),
            ("report", *STUDY),
            ("doctor", *STUDY),
            ("export", *STUDY, "--no-onnx"),
        ):
            command = (
                sys.executable,
                "-m",
                f"pipeline.{words[0]}",
                *words[1:],
                "--mlruns",
                str(home),
            )
            whole = ("unshare", "--mount", "sh", "-c", f'{SMALL}{NOBODY}"$@"', "sh", *command)
            done = subprocess.run(
                whole,
                cwd=commands.ROOT,
                env=variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=900,
            )
            wrong = done.returncode != 0 or "Traceback" in done.stderr + done.stdout
            bad += wrong
            print(
                f"{words[0]}: exit {done.returncode}"
                + (f"\n{done.stdout[-1500:]}{done.stderr[-1500:]}" if wrong else "")
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
