"""Trials an hour through the product's own command, with several runs on one GPU."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.bench import Bench, Facts, Wrong
from benchmarks.gpu.runs import scans
from benchmarks.utilisation import INCOMPLETE, Side, timed
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.study.load import load_study

ROUNDS_GPU, ROUNDS_CPU = (1, 4, 8, 2), (1, 2)  # runs at once; the last where time is left


def packing(bench: Bench) -> Facts:
    """The search of hw3 with its runs one by one and several at once; none fails."""
    found = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temp:
        write_study(bench, Path(temp))
        for num in ROUNDS_GPU if bench.gpu else ROUNDS_CPU:
            if bench.late:
                bench.info("packing", runs_at_once=num, trials_per_hour="none, out of time")
                continue
            side = search(bench, Path(temp), num)
            found[str(num)] = 3600 * side.num_trials / side.steady
            bench.info(
                "packing",
                runs_at_once=num,
                trials_per_hour=found[str(num)],
                epochs_per_hour=3600 * len(side.epochs) / side.steady,
                share_in_epochs=side.utilisation(side.steady),
                whole_s=side.whole,
            )
    return {"trials_per_hour": found}


def write_study(bench: Bench, temp: Path) -> None:
    """The pictures and the study in `temp`: hw3 in few, short trials, and two narrow arms."""
    sizes = bench.sizes
    parts = {"train": sizes.num, "valid": sizes.num // 8, "test": 64}
    arrays = {part: scans(num, sizes.side) for part, num in parts.items()}
    named: dict[str, Any] = {
        f"{key}_{part}": array
        for part, both in arrays.items()
        for key, array in zip("xy", both, strict=True)
    }
    np.savez(temp / "scans.npz", **named)
    design = {"a": {"model.width": 6}, "b": {"model.width": 7}}
    knobs: dict[str, Any] = {
        "baseline.dataset.name": "npz",
        "baseline.dataset.size": sizes.side,
        "baseline.dataset.channels": 3,
        "baseline.model.width": sizes.width,
        "baseline.epochs": 3,
        "search.num_trials": 12 if bench.gpu else 3,
        "ablation.replicates": 1,
        "ablation.design": {"name": "arms", "arms": design},
    }
    study = load_study("hw3").override(knobs)
    (temp / "study.json").write_text(study.model_dump_json(), encoding="utf-8")


def search(bench: Bench, temp: Path, num: int) -> Side:
    """The command with `num` runs at once, as its ledger tells it."""
    mlruns = temp / f"mlruns-{num}"
    flags = {
        "--study": temp / "study.json",
        "--data": temp,
        "--mlruns": mlruns,
        "--gpus-per-trial": 1 / num if bench.gpu else 0,
        "--workers": num,
    }
    words = [f"{flag}={value}" for flag, value in flags.items()]
    words = ["pipeline.search", *words, "--no-race", "--quiet"]
    whole = timed(words, temp / "log.txt", allowed=(0, INCOMPLETE))
    ledger = next(mlruns.glob("*/ledger.jsonl"))
    record = Record.of(read_events(ledger.parent))
    failed = [run.error for run in record.runs.values() if run.status == "failed"]
    if failed:
        raise Wrong(f"{num} at once: {'; '.join(failed)}")
    epochs = [(one["time"], one["seconds"]) for run in record.trials() for one in run.epochs]
    return Side(epochs, len(record.trial_keys), num, whole, load=0)
