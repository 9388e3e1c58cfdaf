"""Ray that does not come up at the first try, for real: `python -m tests.faults.ray_start` (takes a
minute).

The raylet of the first try is halted as soon as it is there, so that Ray gives it up after half a
minute. The command must complete all the same, and no process of the first try may be left.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import commands  # noqa: E402

from pipeline.engine.processes import descendants  # noqa: E402

TINY = (
    "--study",
    "hw3",
    "--workers",
    1,
    "--epochs",
    1,
    "--trials",
    1,
    "--replicates",
    1,
    "--set",
    "model.width=4",
    "-q",
)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "mlruns"
        begun = time.monotonic()
        process = commands.start("search", *TINY, home=home)
        raylet = halted_raylet(process)
        first = descendants(process.pid)
        code = process.wait(commands.HANGS)
        time.sleep(1.0)
        left = [
            pid
            for pid in first
            if Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
        ]
        print(
            f"raylet {raylet} halted: exit {code} after {time.monotonic() - begun:.0f} s, left of "
            f"the first try: {left}"
        )
        if code:
            print(commands.output(home)[-3000:])
    return int(code != 0 or bool(left))


def halted_raylet(process: "subprocess.Popen[str]") -> int:
    while process.poll() is None:
        for pid in descendants(process.pid):
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet":
                    os.kill(pid, signal.SIGSTOP)
                    return pid
            except OSError:
                continue
        time.sleep(0.005)
    raise SystemExit("the command ended before Ray started")


if __name__ == "__main__":
    sys.exit(main())
