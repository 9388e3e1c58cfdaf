"""Real commands as a user runs them, in processes of their own, and what they leave: ledger,
MLflow, report.
"""

import contextlib
import csv
import functools
import importlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.record.ledger import FILE, read_events
from pipeline.record.record import Record
from pipeline.session.cli import _ended
from tests.records import lines

ROOT = Path(__file__).parent.parent
ARMS = {"baseline": {}, "augmentation": {"augment.strength": 1.0}}
# Of where each arm costs: two arms, and few pictures left to test on and to draw planes of.
SHORT = (
    *("--study", "hw3", "--epochs", 3, "--replicates", 1, "--set", "model.width=4"),
    *("--set", "dataset.num_train=480", "--set", "dataset.num_valid=1200"),
    *("--set", f"ablation.design={json.dumps({'name': 'arms', 'arms': ARMS})}"),
)
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


HEAVY = (
    *("torch", "torch._dynamo", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.axes"),
    *("pandas", "pyarrow.parquet", "scipy.stats", "sklearn.decomposition", "sklearn.manifold"),
)
FORKS = """
import importlib, json, os, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    those, root, log, variables = json.loads(line)
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(log, os.O_WRONLY), 1)
        os.dup2(1, 2)
        os.chdir(root)
        os.environ.clear()
        os.environ.update(variables)
        sys.path.insert(0, root)
        from pipeline.session.cli import _ended
        for words in those:
            sys.argv = words
            code = _ended(importlib.import_module(words[0]).main)
            print(f"\\0{code}\\0", end="", flush=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def _forks() -> "subprocess.Popen[str]":
    """A process that has loaded what others have written, which takes seconds, and nothing of the
    package; it ends with this one.
    """
    return subprocess.Popen(
        (sys.executable, "-c", FORKS, *HEAVY),
        cwd="/",
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def in_a_row(*those: tuple[object, ...], root: Path) -> list[tuple[int, str]]:
    """Several commands of the code in `root`, (home, module, flags…) each, in one process, which is
    forked from one that has loaded torch and the like; (exit code, what it said) of each.
    """
    words = [
        [f"pipeline.{_home(module)}", *map(str, flags), "--mlruns", str(home)]
        for home, module, *flags in those
    ]
    server = _forks()
    assert server.stdin
    assert server.stdout
    variables = {**os.environ, "PYTHONPATH": str(root)}  # also for processes that it starts
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", newline="") as log:
        print(json.dumps([words, str(root), log.name, variables]), file=server.stdin, flush=True)
        code = server.stdout.readline()
        *told, rest = log.read().split("\0")
    assert code == "0\n", (told, rest)
    assert (len(told), rest) == (2 * len(those), "")
    return [(int(code), said) for said, code in zip(told[::2], told[1::2], strict=True)]


def _home(module: object) -> str:
    """Where the command's `main` is, in the package."""
    return f"{module}.__main__" if (ROOT / "pipeline" / str(module)).is_dir() else str(module)


def here(module: str, *flags: object, home: Path) -> int:
    """`run` in this process, which spares the seconds of a new one to load torch and the like: for
    commands that start no Ray (`--debug`, `report`, `export`, …).
    """
    words = [f"pipeline.{module}", *map(str, flags), "--mlruns", str(home)]
    main = importlib.import_module(f"pipeline.{_home(module)}").main
    with (
        home.with_suffix(".log").open("a") as log,
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        as_it_was(),
    ):
        sys.argv = words  # a caller that hands them over gets a process of their own
        try:
            return _ended(main)
        except SystemExit as end:  # of argparse
            return int(end.code or 0)


@contextlib.contextmanager
def as_it_was() -> Iterator[None]:
    """A command or worker sets its process up for itself; other tests keep theirs."""
    import torch

    from pipeline.core.finished import embed
    from pipeline.engine import worker

    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    variables, path, words = dict(os.environ), [*sys.path], sys.argv
    worker._warm.cache_clear()
    steps, embed.ITERATIONS = embed.ITERATIONS, 250  # t-SNE takes no fewer: planes are not judged
    try:
        yield
    finally:
        embed.ITERATIONS = steps
        worker._warm.cache_clear()
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        torch.backends.cudnn.benchmark = benchmark
        os.environ.clear()
        os.environ.update(variables)
        sys.path[:], sys.argv = path, words


def copied(root: Path) -> Path:
    """A copy of the code in `root`, to be edited; what is not keeps its compiled form."""
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
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


def kill_after(module: str, *flags: object, home: Path, epochs: int, root: Path = ROOT) -> None:
    """`kill -9` a command once its ledger has this many more epochs than now."""
    process = start(module, *flags, home=home, root=root)
    await_epochs(process, home, num_epochs(home) + epochs)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def await_epochs(process: "subprocess.Popen[Any]", home: Path, number: int) -> None:
    """Wait until the ledger of a command that goes on has this many epochs."""
    deadline = time.monotonic() + HANGS
    while num_epochs(home) < number:
        assert process.poll() is None, output(home)
        assert time.monotonic() < deadline, output(home)
        time.sleep(0.02)


def num_lines(home: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in home.glob(f"*/{FILE}"))


def num_epochs(home: Path) -> int:
    return sum(path.read_bytes().count(b'"type":"epoch"') for path in home.glob(f"*/{FILE}"))


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
