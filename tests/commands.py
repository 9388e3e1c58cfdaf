"""Real commands as a user runs them, in processes of their own, and what they leave: ledger,
MLflow, report.
"""

import contextlib
import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.record.ledger import FILE, read_events
from pipeline.record.record import Record
from tests.records import lines

ROOT = Path(__file__).parent.parent
HANGS = 3600  # seconds: what a busy machine may take; only a command that hangs takes longer


def start(module: str, *flags: object, home: Path, root: Path = ROOT) -> "subprocess.Popen[str]":
    """Begin `python -m pipeline.MODULE` of the code in `root` writing to `home`; the output goes to
    `home`.log, appended.
    """
    words = [sys.executable, "-m", f"pipeline.{module}", *map(str, flags), "--mlruns", str(home)]
    environment = {
        k: v for k, v in os.environ.items() if k not in ("FOOD11", "MLFLOW_TRACKING_URI")
    }
    environment["PYTHONPATH"] = str(root)  # also for workers, which do not begin in this folder
    with home.with_suffix(".log").open("a") as log:
        return subprocess.Popen(words, cwd=root, stdout=log, stderr=log, text=True, env=environment)


@contextlib.contextmanager
def heard(number: int) -> Iterator[None]:
    """Processes begun in the block hear this signal, even where whoever runs the tests ignores it
    (`nohup`, `&`).
    """
    former = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, former)


def run(module: str, *flags: object, home: Path, root: Path = ROOT, seconds: float = HANGS) -> int:
    """Run a command to its end; returns its exit code."""
    process = start(module, *flags, home=home, root=root)
    try:
        return process.wait(seconds)
    finally:
        process.kill()


def copied(root: Path) -> Path:
    """A copy of the code in `root`, to be edited."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline", root / "pipeline", ignore=ignored)
    return root


def edit(path: Path, old: str, new: str) -> None:
    """Replace the one `old` in a file."""
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def output(home: Path) -> str:
    return home.with_suffix(".log").read_text()


def folder(home: Path) -> Path:
    """The one study in `home`."""
    (found,) = [path.parent for path in home.glob(f"*/{FILE}")]
    return found


def record(home: Path) -> Record:
    return Record.of(read_events(folder(home)))


def kill_after(module: str, *flags: object, home: Path, events: int, root: Path = ROOT) -> None:
    """`kill -9` a command once its ledger has this many more events than now."""
    before = num_lines(home)
    process = start(module, *flags, home=home, root=root)
    deadline = time.monotonic() + HANGS
    while num_lines(home) < before + events:
        assert process.poll() is None, output(home)
        assert time.monotonic() < deadline, output(home)
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def num_lines(home: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in home.glob(f"*/{FILE}"))


def table(home: Path, name: str) -> list[dict[str, str]]:
    with (folder(home) / "report" / "frames" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def results(home: Path) -> dict[str, Any]:
    """Run key → all that must not depend on interruptions: what was trained and every number but
    the seconds.
    """

    def numbers(epoch: dict[str, float]) -> tuple[float, ...]:
        return tuple(value for name, value in epoch.items() if name not in ("seconds", "time"))

    return {
        key: (
            *(run.kind, run.number, run.arm, run.replicate, run.status, run.config),
            *(
                [numbers(epoch) for epoch in run.epochs],
                run.rungs,
                run.best_epoch,
                run.test_acc,
                run.test_loss,
            ),
        )
        for key, run in record(home).runs.items()
    }


def repeated_epochs(home: Path) -> int:
    """Epochs that the ledger holds more than once."""
    seen = Counter(
        (e["run"], e["metrics"]["epoch"]) for e in lines(folder(home)) if e["type"] == "epoch"
    )
    return sum(count - 1 for count in seen.values())


def mlflow_rows(home: Path, query: str) -> list[Any]:
    """Rows of the tracking store itself."""
    with sqlite3.connect(home / "mlflow.db") as database:
        return database.execute(query).fetchall()
