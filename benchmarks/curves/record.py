"""Record a set of learning curves by the product itself, to try searches on without training.

    python -m benchmarks.curves.record --set clothing-hw3 --data FOLDER --mlruns FOLDER

A random search without rungs trains every configuration to its end; then every fourth of them is
trained again by an arm, with other initial weights and another order of pictures: what the two
differ by is noise. The same command goes on after a stop. What it leaves is SET.parquet in this
folder, a row a run.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import pipeline
from pipeline.search_spaces.hw3 import SMALL

NUM_TRIALS, EPOCHS, EVERY = 160, 27, 4
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """What a set is recorded with: a shipped study, whether its pictures are a folder's, and what
    differs from it.
    """

    study: str
    sets: dict[str, Any] = field(default_factory=dict)
    folder: bool = True


PHOTOS = {"space": SMALL.model_dump(mode="json"), "dataset.size": 24, "model.width": 8}
SETS = {
    "digits-hw3": Recipe("hw3", folder=False),
    "digits-lenet": Recipe("lenet_tuning", folder=False),
    "clothing-hw3": Recipe("hw3", PHOTOS),
    "grocery-hw3": Recipe("hw3", PHOTOS),
    "trashnet-hw3": Recipe("hw3", PHOTOS),
    "mnist-lenet": Recipe("lenet_tuning", {"dataset.name": "npz"}),
}


def record(name: str, data: str | None, mlruns: str, workers: int) -> Path:
    """Train what is missing of the set and write its file."""
    recipe = SETS[name]
    common = dict(recipe.sets) | {"name": f"curves-{name}", "split": "official"}
    common |= {"search.sampler": "random", "search.num_rungs": 1, "search.race": 0}
    folder = Path(mlruns) / f"curves-{name}-{Path(data).name if data else 'digits'}"
    # an ablation has two arms at least; the search alone is of interest at first
    other = {"batch_size": 64} if "lenet" in name else {"augment.strength": 1.0}
    arms: dict[str, dict[str, Any]] = {"baseline": {}, "other": other}
    outcome = None
    while outcome is None or "other" in arms:
        begun = pipeline.open_record(folder).record if (folder / "ledger.jsonl").exists() else None
        trials = begun.trials() if begun else []
        if sum(run.status in ("complete", "diverged") for run in trials) == NUM_TRIALS:
            arms = {f"trial {run.number}": run.knobs for run in trials if not run.number % EVERY}
        design = {"ablation.design": {"name": "arms", "arms": arms}}
        outcome = pipeline.search(
            recipe.study,
            data=data,
            mlruns=mlruns,
            sets={**common, **design},
            trials=NUM_TRIALS,
            epochs=EPOCHS,
            replicates=1,
            workers=workers,
            verbosity=-1,
        )
        if not outcome.complete:  # interrupted, or a run failed: the same command goes on
            raise SystemExit(outcome.exit_code)
    path = HERE / f"{name}.parquet"
    _frame(outcome.record.record, arms).to_parquet(path, index=False)
    return path


def _frame(record: Any, arms: dict[str, dict[str, Any]]) -> pd.DataFrame:
    runs = [(run.number, 0, run) for run in record.trials()]
    again = record.arms()
    runs += [(int(arm.split()[1]), 1, run) for arm in arms for run in again[arm]]
    knobs = {run.number: run.knobs for run in record.trials()}
    rows = [
        {
            "trial": number,
            "seed": seed,
            "status": run.status,
            "knobs": json.dumps(knobs[number]),
            "val_acc": [epoch["val_acc"] for epoch in run.epochs],
            "val_loss": [epoch["val_loss"] for epoch in run.epochs],
            "seconds": [epoch["seconds"] for epoch in run.epochs],
            "test_acc": run.test_acc,
            "num_params": run.num_params,
        }
        for number, seed, run in runs
    ]
    return pd.DataFrame(rows)


def main(argv: Sequence[str] | None = None) -> int:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.curves.record", description=__doc__)
    flags.add_argument("--set", required=True, choices=SETS, dest="name")
    flags.add_argument("--data", help="folder of pictures of the sets that need one")
    flags.add_argument("--mlruns", default="mlruns")
    flags.add_argument("--workers", type=int, default=2)
    asked = flags.parse_args(argv)
    if SETS[asked.name].folder and asked.data is None:
        flags.error(f"--data: {asked.name} needs its folder of pictures")
    print(record(asked.name, asked.data, asked.mlruns, asked.workers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
