"""Drive stub segments through the real Ray Tune, and say what was trained twice, lost, or told
wrongly: it must be nothing.

    python -m benchmarks.segments [--trials 250] [--workers 2,4,8] [--rounds 3] [--seed 0] [--out
    FOLDER]

Each round is a search and two arms. At every seam (a segment is handed out, begun, holds its lease,
has trained, saved, told, let go; its results, its outcome and its end reach the driver; its worker
is made ready for the next) there may be a delay, and the worker may be killed; now and then the
driver is told that a worker has died that lives.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from benchmarks.segments.audit import FAULTS, Audit, audit
from benchmarks.segments.stub import Late, Weather, stub
from pipeline.core.config import TrainConfig
from pipeline.core.models import CNN
from pipeline.data.datasets import Digits
from pipeline.engine import ray_tune
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.queue import Plan
from pipeline.machine import Resources
from pipeline.record import events
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record
from pipeline.session.cli import guarded
from pipeline.study.designs import Arms
from pipeline.study.space import Float, Space
from pipeline.study.study import Ablation, Search, Study

NUM_ARMS = 2


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.segments", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--trials", type=int, default=250)
    parser.add_argument("--workers", default="2,4,8", help="numbers of workers, a round each")
    parser.add_argument("--rounds", type=int, default=3, help="of each number of workers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.3, help="chance of a delay at a seam")
    parser.add_argument(
        "--longest", type=float, default=0.5, help="seconds that a delay takes at most"
    )
    parser.add_argument("--death", type=float, default=0.002, help="chance of a death at a seam")
    parser.add_argument(
        "--error", type=float, default=0.03, help="chance, at an epoch, of a false word of a death"
    )
    parser.add_argument("--out", type=Path, help="keep the ledgers and diaries here")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temp:
        root = args.out or Path(temp)
        found = []
        for number in range(args.rounds):
            for workers in map(int, args.workers.split(",")):
                weather = Weather(
                    args.seed + number, args.delay, args.longest, args.death, args.error
                )
                found.append(
                    round_of(root / f"{workers}-{weather.seed}", workers, args.trials, weather)
                )
    total = {field.name: sum(getattr(one, field.name) for one in found) for field in fields(Audit)}
    print(json.dumps(total))
    return 0 if all(one.whole for one in found) else 3


def round_of(folder: Path, workers: int, num_trials: int, weather: Weather) -> Audit:
    """One study from begin to end; prints a line."""
    begun = time.monotonic()
    train(folder, workers, num_trials, weather)
    found = audit(folder, num_trials, NUM_ARMS, workers)
    faults = ", ".join(f"{name.replace('_', ' ')} {getattr(found, name)}" for name in FAULTS)
    counts = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in asdict(found).items()
        if name not in FAULTS
    )
    print(
        f"workers {workers}, seed {weather.seed}: {time.monotonic() - begun:.0f} s, {counts}; "
        f"{faults}",
        flush=True,
    )
    return found


def train(folder: Path, workers: int, num_trials: int, weather: Weather) -> None:
    """Train a study with stub workers, as a session does it."""
    ray_tune.train_segment, ray_tune.Segments = stub, Late  # type: ignore[misc]
    study = study_of(num_trials, weather.seed)
    with Ledger(folder) as ledger:
        record = Record.of(ledger.events)
        ledger.listener = record.apply
        data = {
            "title": "none",
            "fingerprint": "0",
            "classes": ["0", "1"],
            "counts": {"train": 1, "valid": 1, "test": 1},
        }
        tree = study.model_dump(mode="json")
        ledger.append(events.Study(id=f"stub{weather.seed}", study=tree, data=data, note=""))
        weather.save(folder)
        plan = Plan(study, ledger, record, core_version=1, with_search=True)
        ray_tune.run(plan, Resources(workers, 0.0), folder / "cache", interrupts=Interrupts())
        plan.close_search()


def study_of(num_trials: int, seed: int) -> Study:
    """Runs of nine epochs with three rungs; nothing is trained, so what they are called matters
    alone.
    """
    return Study(
        name="segments",
        title="Segments of stub workers",
        baseline=TrainConfig(dataset=Digits(num_train=100), model=CNN(width=4), epochs=9),
        space=Space(knobs={"model.dropout": Float(low=0.0, high=0.5)}),
        search=Search(num_trials=num_trials, sampler="random", race=0, seed=seed),
        ablation=Ablation(
            design=Arms(arms={"a": {"model.width": 4}, "b": {"model.width": 5}}), replicates=1
        ),
    )


if __name__ == "__main__":
    guarded(main)
