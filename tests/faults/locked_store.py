"""Another process holds MLflow's store for a minute: training goes on, no traceback, and afterwards
everything is in it.

`python tests/faults/locked_store.py [SECONDS]`
"""

import contextlib
import sqlite3
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
    3,
    "--replicates",
    1,
    "--set",
    "model.width=4",
)


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as top:
        home = Path(top) / "mlruns"
        process = commands.start("search", *FLAGS, home=home)
        while not (home / "mlflow.db").exists() or commands.num_lines(home) < 6:
            assert process.poll() is None, commands.output(home)
            time.sleep(0.05)
        with contextlib.closing(
            sqlite3.connect(home / "mlflow.db", isolation_level=None, timeout=60)
        ) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            before, until = commands.num_lines(home), time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.2)
            grown = commands.num_lines(home) - before
            holder.execute("ROLLBACK")
        code = process.wait()
        text = commands.output(home)
        again = commands.run("search", *FLAGS, home=home)
        states = commands.mlflow_rows(home, "select distinct status from runs")
        epochs = commands.mlflow_rows(home, "select count(*) from metrics where key = 'val_acc'")[
            0
        ][0]
        trained = sum(len(run.epochs) for run in commands.record(home).runs.values())
        tracebacks = text.count("Traceback")
        print(
            f"locked {seconds:.0f} s: ledger lines meanwhile {grown}, exit {code}, tracebacks "
            f"{tracebacks}, again {again},"
        )
        print(f"MLflow: {states}, epochs {epochs} of {trained}")
        print(*(line for line in text.splitlines() if "MLflow" in line), sep="\n")
        good = (
            grown > 0
            and (code, tracebacks, again) == (0, 0, 0)
            and states == [("FINISHED",)]
            and epochs == trained
        )
        return int(not good)


if __name__ == "__main__":
    sys.exit(main())
