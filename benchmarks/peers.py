"""Trials an hour: the product's command beside the ways in which people wire such a search, side by
side in one run.

ours        `python -m pipeline.search`, its ablation cut down to two arms of a run each; from an
            empty folder, and once more (`again`) where its pictures are decoded already.
ray tune    as its tutorials wire it: OptunaSearch, ASHAScheduler, a function for a trial, Ray's
            MLflow callback on SQLite.
optuna      two processes (as many as workers) on one SQLite file: TPE, the median pruner, MLflow
            logged by hand.
syne tune   its local backend with ASHA, where the package is installed.

All have the same photos, network, epochs, numbers of trials and workers, and draw learning rate,
weight decay and batch size from the same ranges. The others train by the course's notebook: PIL
decodes in every epoch, torchvision's transforms, a DataLoader. Whole commands are timed, with their
start, so short searches flatter nobody but those that start fast.

    python -m benchmarks.peers [--trials 16] [--epochs 3] [--size 32] [--pictures 400]
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.loop import NUM_CLASSES, Photos, notebook_cnn, photos
from benchmarks.utilisation import INCOMPLETE, timed
from pipeline.session.cli import guarded
from pipeline.session.values import positive
from pipeline.study.load import load_study

LR, DECAY, BATCHES = (5e-5, 5e-3), (1e-6, 1e-3), (16, 32, 64)
SPACE = {
    "knobs": {
        "optimizer.lr": {"kind": "float", "low": LR[0], "high": LR[1], "log": True},
        "optimizer.weight_decay": {"kind": "float", "low": DECAY[0], "high": DECAY[1], "log": True},
        "batch_size": {"kind": "choice", "options": list(BATCHES)},
    }
}
ARMS = {"name": "arms", "arms": {"all": {}, "other": {"optimizer.lr": 1e-3}}}
Report = Callable[[int, float], None]  # (epoch, validation accuracy)


def notebook_trial(order: dict[str, Any], knobs: dict[str, Any], report: Report) -> None:
    """A trial as the course's notebook trains one; `report` may end it by an exception."""
    torch.set_num_threads(1)
    paths = sorted(Path(order["photos"]).rglob("*.jpg"))
    cut = len(paths) * 3 // 4
    train = DataLoader(
        Photos(paths[:cut], order["size"]), batch_size=int(knobs["batch_size"]), shuffle=True
    )
    valid = DataLoader(Photos(paths[cut:], order["size"]), batch_size=64)
    model = notebook_cnn(order["size"])
    optimizer = torch.optim.Adam(
        model.parameters(), lr=knobs["lr"], weight_decay=knobs["weight_decay"]
    )
    for epoch in range(1, order["epochs"] + 1):
        model.train()
        for images, labels in train:
            loss = functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=10)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum(int((model(x).argmax(-1) == y).sum()) for x, y in valid)
        report(epoch, right / (len(paths) - cut))


def ray_tune(order: dict[str, Any]) -> None:
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def trial(config: dict[str, Any]) -> None:
        notebook_trial(order, config, lambda _, acc: tune.report({"val_acc": acc}))

    ray.init(num_cpus=order["workers"], _temp_dir=f"{order['temp']}/ray")
    tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={
            "lr": tune.loguniform(*LR),
            "weight_decay": tune.loguniform(*DECAY),
            "batch_size": tune.choice(BATCHES),
        },
        tune_config=tune.TuneConfig(
            metric="val_acc",
            mode="max",
            num_samples=order["trials"],
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(max_t=order["epochs"], grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            storage_path=f"{order['temp']}/results",
            callbacks=[
                MLflowLoggerCallback(f"sqlite:///{order['temp']}/ray.db", experiment_name="peer")
            ],
        ),
    ).fit()
    ray.shutdown()


def optuna_all(order: dict[str, Any]) -> None:
    import optuna

    optuna.create_study(
        storage=f"sqlite:///{order['temp']}/optuna.db", study_name="peer", direction="maximize"
    )
    words = [sys.executable, "-m", "benchmarks.peers", "--peer", "optuna_one", order["path"]]
    both = [subprocess.Popen(words) for _ in range(order["workers"])]
    if any([process.wait() for process in both]):
        raise SystemExit("a process of Optuna's failed")


def optuna_one(order: dict[str, Any]) -> None:
    import mlflow
    import optuna
    from optuna.study import MaxTrialsCallback

    mlflow.set_tracking_uri(f"sqlite:///{order['temp']}/mlflow-{os.getpid()}.db")

    def objective(trial: optuna.Trial) -> float:
        knobs = {
            "lr": trial.suggest_float("lr", *LR, log=True),
            "weight_decay": trial.suggest_float("weight_decay", *DECAY, log=True),
            "batch_size": trial.suggest_categorical("batch_size", BATCHES),
        }
        last = [0.0]

        def report(epoch: int, acc: float) -> None:
            last[0] = acc
            mlflow.log_metric("val_acc", acc, step=epoch)
            trial.report(acc, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        with mlflow.start_run():
            mlflow.log_params(knobs)
            notebook_trial(order, knobs, report)
        return last[0]

    study = optuna.load_study(
        storage=f"sqlite:///{order['temp']}/optuna.db",
        study_name="peer",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    most = MaxTrialsCallback(order["trials"] - order["workers"] + 1, states=ended)
    study.optimize(objective, callbacks=[most])


def syne_tune(order: dict[str, Any]) -> None:
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import PythonBackend
    from syne_tune.config_space import choice, loguniform
    from syne_tune.optimizer.baselines import ASHA

    def trial(lr: float, weight_decay: float, batch_size: int, order: str) -> None:
        import json

        from syne_tune import Reporter

        from benchmarks.peers import notebook_trial

        tell = Reporter()
        knobs = {"lr": lr, "weight_decay": weight_decay, "batch_size": batch_size}
        asked = json.loads(order)
        notebook_trial(asked, knobs, lambda epoch, acc: tell(epoch=epoch, val_acc=acc))

    space = {
        "lr": loguniform(*LR),
        "weight_decay": loguniform(*DECAY),
        "batch_size": choice(list(BATCHES)),
        "order": json.dumps(order),
    }
    Tuner(
        trial_backend=PythonBackend(tune_function=trial, config_space=space),
        scheduler=ASHA(
            space,
            metric="val_acc",
            do_minimize=False,
            time_attr="epoch",
            max_t=order["epochs"],
        ),
        stop_criterion=StoppingCriterion(max_num_trials_finished=order["trials"]),
        n_workers=order["workers"],
        print_update_interval=1e9,
    ).run()


PEERS = {"ray tune": ray_tune, "optuna": optuna_all, "syne tune": syne_tune}
HIDDEN = {"optuna_one": optuna_one}


def make_photos(folder: Path, num: int) -> None:
    """The course's layout of folders, three quarters of the photos to train on."""
    for number, path in enumerate(photos(folder, num)):
        part = "training" if number < num * 3 // 4 else "validation"
        place = folder / part / f"{number % NUM_CLASSES:02d}"
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)


def measure(order: dict[str, Any]) -> dict[str, float]:
    """Side → seconds of its whole command."""
    temp = Path(order["temp"])
    study = load_study("hw3").override(
        {
            "space": SPACE,
            "search.portfolio": [],
            "ablation.design": ARMS,
            "baseline.dataset.size": order["size"],
            "baseline.augment.strength": 1.0,
        },
        source="peers",
    )
    (temp / "study.json").write_text(study.model_dump_json())
    words = ["pipeline.search", "--study", f"{temp}/study.json", "--data", order["photos"]]
    words += ["--mlruns", f"{temp}/mlruns", "--workers", str(order["workers"]), "--no-race", "-q"]
    words += ["--trials", str(order["trials"]), "--epochs", str(order["epochs"])]
    words += ["--replicates", "1"]
    found: dict[str, float] = {}

    def take(side: str, words: list[str], allowed: tuple[int, ...] = (0,)) -> None:
        load = os.getloadavg()[0]
        found[side] = timed(words, temp / f"{side.replace(' ', '-')}.log", allowed=allowed)
        print(f"{side}: {found[side]:.1f} s (load before {load:.1f})", flush=True)

    take("ours", words, (0, INCOMPLETE))
    for peer in PEERS:
        if peer == "syne tune" and importlib.util.find_spec("syne_tune") is None:
            print("syne tune: not installed, left out")
            continue
        take(peer, ["benchmarks.peers", "--peer", peer, order["path"]])
    take("again", [*words, "--fresh", "--set", "search.seed=1"], (0, INCOMPLETE))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    flags = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument("--trials", type=positive, default=16)
    flags.add_argument("--epochs", type=positive, default=3)
    flags.add_argument("--size", type=positive, default=32)
    flags.add_argument("--pictures", type=positive, default=400)
    flags.add_argument("--workers", type=positive, default=2)
    flags.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)  # in a process of its own
    asked = flags.parse_args(argv)
    if asked.peer:
        name, path = asked.peer
        (PEERS | HIDDEN)[name](json.loads(Path(path).read_text()))
        return 0
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as temp:
        order = {"temp": temp, "photos": f"{temp}/photos", "path": f"{temp}/order.json"}
        order |= {key: value for key, value in vars(asked).items() if key != "peer"}
        Path(order["photos"]).mkdir()
        began = time.monotonic()
        make_photos(Path(order["photos"]), asked.pictures)
        print(f"{asked.pictures} photos made in {time.monotonic() - began:.0f} s", flush=True)
        Path(order["path"]).write_text(json.dumps(order))
        found = measure(order)
    for side, seconds in found.items():
        line = f"{side:10s} {3600 * asked.trials / seconds:7.0f} trials/h"
        peer = "" if side in ("ours", "again") else "times as long as"
        ratios = [f"{seconds / found[one]:.1f} {peer} {one}" for one in ("ours", "again") if peer]
        print(f"{line}  {', '.join(ratios)}".rstrip())
    return 0


if __name__ == "__main__":
    guarded(main)
