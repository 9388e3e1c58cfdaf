"""Real commands ended by signals, alone and twice, in every phase: `python -m
tests.faults.signals`.

For each: the exit code, the seconds from the (last) signal to the exit, what of the command's
processes lives 3 seconds after that, whether its temporary folder and a half-made cache are gone,
what MLflow thinks is running; and in the end whether the same command goes on and completes,
without an epoch trained twice. Run it on an idle machine for the seconds.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import commands  # noqa: E402
from pictures import save  # noqa: E402

from pipeline.engine.processes import descendants  # noqa: E402
from pipeline.machine import temp_folder  # noqa: E402

DIGITS = (
    "--study",
    "hw3",
    "--workers",
    2,
    "--epochs",
    4,
    "--trials",
    4,
    "--replicates",
    2,
    "--set",
    "model.width=4",
)
LONG = (
    "--study",
    "hw3",
    "--workers",
    1,
    "--epochs",
    2,
    "--trials",
    1,
    "--replicates",
    1,
    "--set",
    "model.width=64",
)
MOST_SECONDS = {signal.SIGTERM: 8.0, signal.SIGINT: 10.0, signal.SIGHUP: 8.0}


def main() -> int:
    bad = 0
    print(
        f"{'phase':12} {'signal':8} {'code':>4} {'seconds':>7} {'alive':>5} {'left':>4} "
        f"{'running':>7}"
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        pictures = large_pictures(root / "pictures")
        phases = {
            "decoding": ((*LONG, "--data", pictures, "--set", "dataset.size=128"), decoding),
            "Ray starts": (DIGITS, lambda home: commands.num_lines(home) >= 2),
            "training": (DIGITS, lambda home: commands.num_lines(home) >= 10),
            "long epoch": ((*LONG, "--data", pictures, "--set", "dataset.size=128"), started),
        }
        for phase, (flags, ready) in phases.items():
            for number, times in (*((number, 1) for number in MOST_SECONDS), (signal.SIGTERM, 2)):
                home = root / f"{phase} {number.name} {times}".replace(" ", "-")
                bad += not one(phase, flags, home, ready, number, times)
                if flags == DIGITS and number == signal.SIGTERM:
                    bad += not goes_on(home)
    print("sound" if not bad else f"{bad} unsound")
    return int(bad > 0)


def goes_on(home: Path) -> bool:
    """Whether the same command completes, without an epoch trained twice."""
    code = commands.run("search", *DIGITS, home=home)
    repeated = commands.repeated_epochs(home)
    print(
        f"{'':12} the same command: exit {code}, {repeated} epochs repeated, {running(home)} runs "
        "running",
        flush=True,
    )
    return code == repeated == running(home) == 0


def one(
    phase: str,
    flags: tuple[object, ...],
    home: Path,
    ready: Callable[[Path], bool],
    number: signal.Signals,
    times: int,
) -> bool:
    """Begin the command, end it in this phase, print a row."""
    with commands.heard(number):
        process = commands.start("search", *flags, home=home)
    while not ready(home):
        if process.poll() is not None:
            print(f"{phase}: ended by itself: {commands.output(home)[-2000:]}")
            return False
        time.sleep(0.02)
    time.sleep(4.0 if phase == "long epoch" else 0.3)
    started_by_it = [process.pid, *descendants(process.pid)]
    for _ in range(times):
        sent = time.monotonic()
        os.kill(process.pid, number)
        time.sleep(0.3 if times > 1 else 0.0)
    code = process.wait(commands.HANGS)
    took = time.monotonic() - sent
    time.sleep(max(0.0, 3.0 - took if times > 1 else 3.0))
    alive = sum(lives(pid) for pid in started_by_it)
    folders = list(home.glob("*/ledger.jsonl"))
    left = 0
    if times == 1:  # else the next command clears up
        left += sum(path.name.endswith(".unfinished") for path in home.rglob("*"))
        left += sum(temp_folder(path.parent.resolve()).exists() for path in folders)
    told = running(home) if times == 1 else 0
    label = f"{number.name}{' x2' if times > 1 else ''}"
    print(f"{phase:12} {label:8} {code:4} {took:7.1f} {alive:5} {left:4} {told:7}", flush=True)
    return (
        code == 128 + number
        and took <= MOST_SECONDS[number]
        and not alive
        and not left
        and not told
    )


def decoding(home: Path) -> bool:
    return any(home.glob("cache/*.unfinished"))


def started(home: Path) -> bool:
    return any(
        '"type":"start"' in path.read_text().replace(" ", "")
        for path in home.glob("*/ledger.jsonl")
    )


def running(home: Path) -> int:
    if not (home / "mlflow.db").exists():
        return 0
    return commands.mlflow_rows(home, "select count(*) from runs where status = 'RUNNING'")[0][0]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def large_pictures(folder: Path) -> Path:
    """So many that decoding them takes seconds."""
    save(folder / "one.jpg", size=(2400, 2400))
    content = (folder / "one.jpg").read_bytes()
    (folder / "one.jpg").unlink()
    for name in ("bread", "egg"):
        (folder / name).mkdir()
        for number in range(250):
            (folder / name / f"{number}.jpg").write_bytes(
                content + f"{name}{number}".encode()
            )  # no two the same
    return folder


if __name__ == "__main__":
    sys.exit(main())
