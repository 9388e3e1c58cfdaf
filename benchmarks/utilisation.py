"""How busy a search keeps its workers, side by side in one run: the product's command and stock Ray
Tune.

ours     `python -m pipeline.search`, its ablation cut down to two arms of very narrow networks that
no figure counts. stock    Ray Tune as it is usually wired, with its defaults: OptunaSearch,
ASHAScheduler, a function trainable in a new
         process for each trial, the default loggers, MLflowLoggerCallback on SQLite.

Both have the same training core, space, pictures (decoded beforehand), numbers of trials, workers
and epochs, first rung and reduction. Stock is spared what is not about wiring: its workers are
tuned as ours and not niced, it writes no checkpoints, makes no report and trains no arms.

Utilisation is the share of (workers x seconds) spent in epochs, between the first epoch's begin and
the last one's end (steady), and over the command's whole life (whole). It rises with the length of
an epoch; idle seconds per trial do not depend on it, but for the end of a search, when the last
trials leave workers without work.

    python -m benchmarks.utilisation [--trials 32] [--data FOLDER] [--workers N] [--set KEY=VALUE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import MachineError
from pipeline.machine import Resources, resources
from pipeline.record.folders import study_folder
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.session.cli import guarded
from pipeline.session.options import Options
from pipeline.session.resolve import chosen
from pipeline.session.values import positive
from pipeline.study.load import load_study
from pipeline.study.study import Study

LONGER = {
    "baseline.dataset.num_train": 1200,
    "baseline.dataset.num_valid": 400,
    "baseline.dataset.size": 24,
}
"""The embedded digits with epochs of about half a second, so that start-up is not measured against
next to nothing.
"""
SHORT_ARMS = {
    "name": "arms",
    "arms": {"width 4": {"model.width": 4}, "width 5": {"model.width": 5}},
}
INCOMPLETE = 3  # the product's exit code where a run diverged, which a search may


@dataclass(frozen=True)
class Side:
    """What a search did. epochs: (when the driver took it in, the seconds it took) of each; all
    times in seconds.
    """

    epochs: Sequence[tuple[float, float]]
    num_trials: int
    workers: int
    whole: float
    load: float  # of the machine, before it began

    @property
    def steady(self) -> float:
        """From the begin of the first epoch to the end of the last."""
        return max(end for end, _ in self.epochs) - min(
            end - seconds for end, seconds in self.epochs
        )

    @property
    def trained(self) -> float:
        """Worker-seconds in epochs."""
        return sum(seconds for _, seconds in self.epochs)

    def utilisation(self, window: float) -> float:
        """Share of the workers' time in `window` seconds that they trained."""
        return self.trained / (self.workers * window)

    def idle(self) -> float:
        """Worker-seconds per trial, from the first epoch to the last, in which no epoch ran."""
        return (self.workers * self.steady - self.trained) / self.num_trials


ROWS: tuple[tuple[str, Callable[[Side], float], str], ...] = (
    ("utilisation, steady", lambda side: side.utilisation(side.steady), "6.3f"),
    ("utilisation, whole", lambda side: side.utilisation(side.whole), "6.3f"),
    ("trials per hour, steady", lambda side: 3600 * side.num_trials / side.steady, "6.0f"),
    ("trials per hour, whole", lambda side: 3600 * side.num_trials / side.whole, "6.0f"),
    ("epochs per hour, steady", lambda side: 3600 * len(side.epochs) / side.steady, "6.0f"),
    ("epochs per hour, whole", lambda side: 3600 * len(side.epochs) / side.whole, "6.0f"),
    ("idle worker-seconds per trial", Side.idle, "6.2f"),
    ("seconds per epoch, mean", lambda side: side.trained / len(side.epochs), "6.3f"),
    ("seconds, steady", lambda side: side.steady, "6.1f"),
    ("seconds, whole", lambda side: side.whole, "6.1f"),
    ("trials", lambda side: side.num_trials, "6.0f"),
    ("epochs", lambda side: len(side.epochs), "6.0f"),
    ("load before", lambda side: side.load, "6.1f"),
)
RATIOS = 8  # the rows above that a ratio says something of

DIFFERENCE = """\
What differs: ours keeps its processes from trial to trial, leaves MLflow's writes to a thread, and
promotes where stock stops. Each side's sampler chooses its own trials, so rates per hour differ
also by what those cost an epoch; utilisation and idle seconds do not."""


def main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=positive, default=32)
    parser.add_argument(
        "--data", metavar="FOLDER", help="folder of pictures (default: the embedded digits)"
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="trials at once (default: all GPUs or cores)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="sets",
        help="for both sides",
    )
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)  # the peer's own process
    args = parser.parse_args(argv)
    if args.stock:
        stock(args.stock)
        return 0
    means = resources(args.workers, None)
    with tempfile.TemporaryDirectory(prefix="utilisation-", ignore_cleanup_errors=True) as temp:
        study, data = study_of(args, Path(temp))
        cache = prepared(study, data, Path(temp))
        size = f"{study.search.num_trials} trials of up to {study.baseline.epochs} epochs"
        print(f"{size}, {means.workers} workers, {means.device}", flush=True)
        report(
            measure_ours(study, data, means, Path(temp)),
            measure_stock(study, cache, means, Path(temp)),
        )
    return 0


def study_of(args: argparse.Namespace, temp: Path) -> tuple[Study, Path | None]:
    """hw3 with the flags applied, whatever data the environment may hold; also written to
    `temp`/study.json.
    """
    study = load_study("hw3")
    if args.data is None and study.fallback is not None:
        study = study.override({**study.fallback.overrides, **LONGER}, source="fallback")
    study = study.override({"ablation.design": SHORT_ARMS, "ablation.replicates": 1}, source="arms")
    path = temp / "study.json"
    path.write_text(study.model_dump_json())
    sets = tuple(args.sets)
    asked = chosen(
        Options("pipeline.search", str(path), data=args.data, trials=args.trials, sets=sets)
    )
    path.write_text(asked.study.model_dump_json())
    return asked.study, asked.data


def prepared(study: Study, data: Path | None, temp: Path) -> Path:
    """The folder of the decoded pictures, where the product's command will look for it too."""
    from pipeline.data.cache import prepare

    return prepare(study.baseline.dataset, data, temp / "mlruns" / "cache").path


def measure_ours(study: Study, data: Path | None, means: Resources, temp: Path) -> Side:
    """Run the product's command and read its ledger."""
    flags = [
        "--study",
        f"{temp}/study.json",
        "--mlruns",
        f"{temp}/mlruns",
        "--workers",
        str(means.workers),
        "--quiet",
    ]
    if data is not None:
        flags += ["--data", str(data)]
    load, whole = (
        os.getloadavg()[0],
        timed(["pipeline.search", *flags], temp / "ours.log", allowed=(0, INCOMPLETE)),
    )
    record = Record.of(read_events(study_folder(temp / "mlruns", study, data)))
    epochs = [
        (epoch["time"], epoch["seconds"]) for trial in record.trials() for epoch in trial.epochs
    ]
    return Side(epochs, len(record.trial_keys), means.workers, whole, load)


def measure_stock(study: Study, cache: Path, means: Resources, temp: Path) -> Side:
    """Run the peer and read what it wrote down."""
    order = {
        "study": study.model_dump(mode="json"),
        "cache": str(cache.resolve()),
        "workers": means.workers,
        "device": means.device,
        "share": {"cpu": 1.0} | ({"gpu": means.gpus_per_trial} if means.gpus_per_trial else {}),
    }
    (temp / "order.json").write_text(json.dumps(order))
    flags = ["--stock", f"{temp}/order.json"]
    load, whole = (
        os.getloadavg()[0],
        timed(["benchmarks.utilisation", *flags], temp / "stock.log", allowed=(0,)),
    )
    found = json.loads((temp / "taken.json").read_text())
    return Side(found["epochs"], found["num_trials"], means.workers, whole, load)


def timed(words: list[str], log: Path, *, allowed: tuple[int, ...]) -> float:
    """Seconds that `python -m words` takes; raises MachineError with its last lines where it
    fails.
    """
    # no telemetry, no token in the home folder, no nice 15, nothing sent to somebody's tracking
    # server
    env = os.environ | {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",
    }
    env.pop("MLFLOW_TRACKING_URI", None)
    begun = time.monotonic()
    with log.open("wb") as file:
        code = subprocess.run(
            [sys.executable, "-m", *words], stdout=file, stderr=file, env=env
        ).returncode
    whole = time.monotonic() - begun
    if code not in allowed:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise MachineError(f"{words[0]} ended with exit code {code}:\n{last}")
    return whole


def stock(path: Path) -> None:
    """The peer: carries out the order in `path` and writes its epochs to taken.json beside it."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    order = json.loads(path.read_text())
    study = Study.parse(order["study"], source="order")
    search, max_epochs = study.search, study.baseline.epochs
    first_rung = search.ladder.stops(max_epochs)[0]
    epochs: list[tuple[float, float]] = []

    class Taken(tune.Callback):
        """When the driver takes an epoch in, as the ledger of ours says it."""

        def on_trial_result(self, result: dict[str, Any], **_: Any) -> None:
            epochs.append((time.time(), result["seconds"]))

    ray.init(num_cpus=order["workers"], _temp_dir=str(path.parent / "ray"))
    results = tune.Tuner(
        tune.with_resources(
            trainable(study, Path(order["cache"]), order["device"]), order["share"]
        ),
        tune_config=tune.TuneConfig(
            metric="val_acc",
            mode="max",
            num_samples=search.num_trials,
            search_alg=OptunaSearch(
                study.space.suggest, metric="val_acc", mode="max"
            ),  # define by run
            scheduler=ASHAScheduler(
                max_t=max_epochs, grace_period=first_rung, reduction_factor=search.reduction
            ),
        ),
        run_config=tune.RunConfig(
            storage_path=str(path.parent / "results"),
            callbacks=[
                Taken(),
                MLflowLoggerCallback(f"sqlite:///{path.parent}/stock.db", experiment_name="stock"),
            ],
        ),
    ).fit()
    ray.shutdown()
    path.with_name("taken.json").write_text(
        json.dumps({"epochs": epochs, "num_trials": len(results)})
    )


def trainable(study: Study, cache: Path, device: str) -> Callable[[dict[str, Any]], None]:
    """The function that people hand to Tune: a trial from its first epoch to wherever ASHA ends
    it.
    """

    def train_trial(config: dict[str, Any]) -> None:
        from ray import tune

        from pipeline.core.train import Inputs, train, tune_process
        from pipeline.data.cache import open_data
        from pipeline.data.splits import splits

        tune_process()
        data = open_data(cache)
        chosen = study.baseline.override(study.space.point(config) or {})
        parts = splits(data, 0, chosen.split)
        inputs = Inputs(parts.train, parts.val, len(data.classes), data.mean, data.std)
        train(
            chosen,
            inputs,
            seed=study.search.seed,
            on_epoch=lambda epoch: tune.report(dict(epoch)),
            device=device,
        )

    return train_trial


def report(ours: Side, other: Side) -> None:
    print(f"{'':32s} {'ours':>8s} {'stock':>8s} {'ours / stock':>14s}")
    for row, (name, value, form) in enumerate(ROWS):
        left, right = value(ours), value(other)
        ratio = f"{left / right:14.2f}" if row < RATIOS and right else ""
        print(f"{name:32s} {left:>8{form[1:]}} {right:>8{form[1:]}} {ratio}".rstrip())
    print(DIFFERENCE)


if __name__ == "__main__":
    guarded(main)
