"""Synthetic studies for tests: written through a real Ledger, read back as a Record."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipeline.core.augmentation.config import Notes
from pipeline.core.config import TrainConfig
from pipeline.core.optimizers import Adam
from pipeline.data.datasets import Folder
from pipeline.record import events
from pipeline.record.event_form import written
from pipeline.record.events import Event, Line, Unread
from pipeline.record.ledger import Ledger, read_events
from pipeline.record.record import Record
from pipeline.study.designs import Arms, Factorial
from pipeline.study.space import Choice, Float, Space
from pipeline.study.study import Ablation, Search, Study

COMMAND = "python -m pipeline.search --study demo --data food-11"
VERSIONS = {
    "python": "3.11.2",
    "torch": "2.15",
    "ray": "2.60",
    "optuna": "5.0",
    "mlflow": "3.17",
    "torchvision": "0.29",
}
EFFECTS = {"baseline": 0.60, "ResNet": 0.632, "augmentation": 0.52, "ResNet + augmentation": 0.615}


def make_study(
    *,
    replicates: int = 5,
    num_trials: int = 40,
    epochs: int = 9,
    title: str = "Demo: residual network and augmentation",
) -> Study:
    """The 2x2 of a residual network and augmentation, with a small conditional search space."""
    factors = {"ResNet": {"model.name": "resnet18"}, "augmentation": {"augment.strength": 1.0}}
    return Study(
        name="demo",
        title=title,
        baseline=TrainConfig(
            dataset=Folder(size=32), optimizer=Adam(), augment=Notes(), epochs=epochs
        ),
        space=Space(
            knobs={
                "model.dropout": Float(low=0.0, high=0.5),
                "batch_size": Choice(options=(32, 64, 128)),
            },
            branches={
                "optimizer": {
                    "sgd": {
                        "lr": Float(low=1e-3, high=0.3, log=True),
                        "momentum": Float(low=0.5, high=0.98),
                    },
                    "adam": {"lr": Float(low=1e-5, high=1e-2, log=True)},
                }
            },
        ),
        search=Search(num_trials=num_trials, race=0),
        ablation=Ablation(design=Factorial(on=factors), replicates=replicates),
    )


def with_arms(study: Study, arms: dict[str, dict[str, Any]]) -> Study:
    """`study` with arms named one by one."""
    return study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": Arms(arms=arms)})}
    )


@dataclass
class Scribe:
    """Writes the events of a study into `folder`, in the order a real run writes them."""

    folder: Path
    study: Study
    note: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    best: dict[str, tuple[float, float, int]] = field(
        default_factory=dict
    )  # run → its best epoch, as Run.best ranks

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder)
        data: dict[str, Any] = {
            "title": "Food-11",
            "fingerprint": "3f2a9c0d11e4b8aa",
            "classes": ["bread", "dairy", "dessert", "egg"],
            "counts": {"train": 800, "valid": 200, "test": 300},
            "is_food11": True,
            "unreadable": [],
            "warnings": [],
            "channels": 3,
        }
        tree = self.study.model_dump(mode="json")
        self.ledger.append(events.Study(study=tree, data=data | self.data, note=self.note))

    def session(self, command: str = COMMAND, commit: str = "0123abcd4567", **budget: int) -> None:
        asked = {
            "search.num_trials": self.study.search.num_trials,
            "ablation.replicates": self.study.ablation.replicates,
        }
        machine = {"device": "cpu", "cpus": 2, "name": "workstation"}
        budget = asked | budget
        self.ledger.append(
            events.Session(
                command=command,
                versions=VERSIONS,
                commit=commit,
                machine=machine,
                budget=budget,
                workers=2,
            )
        )

    def epochs(self, run: str, count: int, top: float, first: int = 1) -> float:
        """`count` epochs that rise towards the accuracy `top`; returns the last val_acc."""
        val_acc = 0.0
        for epoch in range(first, first + count):
            rise = 1 - float(np.exp(-0.45 * epoch))
            val_acc = float(np.clip(top * rise + self.rng.normal(0, 0.008), 0.001, 0.999))
            metrics = {
                "epoch": epoch,
                "train_loss": round(1.6 * (1 - 0.8 * rise), 5),
                "train_acc": round(min(0.99, (top + 0.08) * rise), 5),
                "val_loss": round(
                    2.2 * (1 - 0.6 * rise * top) + float(self.rng.normal(0, 0.01)), 5
                ),
                "val_acc": round(val_acc, 5),
                "lr": 3e-4,
                "seconds": 2.5,
            }
            self.ledger.append(events.Epoch(run=run, metrics=metrics))
            rank = (-float(metrics["val_acc"]), float(metrics["val_loss"]), epoch)
            self.best[run] = min(self.best.get(run, rank), rank)
        return round(val_acc, 5)

    def arm(
        self,
        arm: str,
        replicate: int,
        acc: float | None = None,
        *,
        status: str = "complete",
        epochs: int | None = None,
        **end: Any,
    ) -> str:
        """One replicate of an arm with test accuracy `acc`; status 'running' leaves it without an
        end.

        `epochs` plans another number of them than the baseline, as studies could before this was
        refused.
        """
        configs = {a.name: config for a, config in self.study.arms()}
        run = f"arm-{list(configs).index(arm)}-r{replicate}"
        epochs = self.study.baseline.epochs if epochs is None else epochs
        config = configs[arm].model_dump(mode="json") | {"epochs": epochs}
        self.ledger.append(events.Arm(run=run, arm=arm, replicate=replicate, config=config))
        self.ledger.append(events.Start(run=run, rung=-1))
        acc = EFFECTS.get(arm, 0.6) if acc is None else acc
        self.epochs(run, epochs if status == "complete" else 2, acc)
        if status == "running":
            return run
        fields: dict[str, Any] = {
            "status": status,
            "num_params": 11_200_000 if "ResNet" in arm else 4_100_000,
        }
        if status == "complete":
            fields |= {
                "best_epoch": self.best[run][2],
                "test_loss": 1.9 - acc,
                "test_acc": round(acc, 6),
            }
        else:
            fields |= {
                "error": "train_loss is NaN at step 17" if status == "diverged" else "worker died"
            }
        self.ledger.append(events.End(run=run, **(fields | end)))
        return run

    def arms(self, spread: float = 0.009, *, without: tuple[tuple[str, int], ...] = ()) -> None:
        """Every arm × replicate of the plan but those in `without`."""
        for replicate in range(1, self.study.ablation.replicates + 1):
            split = float(self.rng.normal(0, spread / 2))
            for arm, _ in self.study.arms():
                acc = EFFECTS.get(arm.name, 0.6) + split + float(self.rng.normal(0, spread))
                if (arm.name, replicate) not in without:
                    self.arm(arm.name, replicate, acc)

    def trials(self, count: int | None = None) -> None:
        """A search by rungs of a third each: most trials stop, one diverges, the rest are
        complete.
        """
        count = self.study.search.num_trials if count is None else count
        steps = [
            max(1, self.study.baseline.epochs // 9),
            max(2, self.study.baseline.epochs // 3),
            self.study.baseline.epochs,
        ]
        for number in range(count):
            knobs = self._knobs(number)
            config = self.study.baseline.override(knobs).model_dump(mode="json")
            run = f"trial-{number}"
            self.ledger.append(
                events.Trial(run=run, trial=number, config=config, knobs=knobs, asked=None)
            )
            if number == 5:
                self.ledger.append(events.Start(run=run, rung=0))
                self.ledger.append(
                    events.End(run=run, status="diverged", error="train_loss is inf at step 3")
                )
                continue
            top = 0.5 + 0.15 * float(self.rng.random())
            done, reach = 0, 3 if top > 0.6 else 2 if top > 0.56 else 1
            for rung in range(reach):
                self.ledger.append(events.Start(run=run, rung=rung))
                value = self.epochs(run, steps[rung] - done, top, done + 1)
                done = steps[rung]
                self.ledger.append(events.Rung(run=run, rung=rung, value=value))
            status = "complete" if reach == 3 else "stopped"
            self.ledger.append(
                events.End(run=run, status=status, best_epoch=done, num_params=4_100_000)
            )

    def _knobs(self, number: int) -> dict[str, Any]:
        if number == 0:
            return {
                "model.dropout": 0.0,
                "batch_size": 64,
                "optimizer.name": "adam",
                "optimizer.lr": 3e-4,
            }
        lr = float(10 ** self.rng.uniform(-3, -0.6))
        knobs: dict[str, Any] = {
            "model.dropout": round(float(self.rng.uniform(0, 0.5)), 4),
            "batch_size": 64,
        }
        if self.rng.random() < 0.5:
            return knobs | {"optimizer.name": "sgd", "optimizer.lr": lr, "optimizer.momentum": 0.9}
        return knobs | {"optimizer.name": "adam", "optimizer.lr": lr / 100}

    def record(self) -> Record:
        """Close the ledger and read it back."""
        self.ledger.close()
        return Record.of(read_events(self.folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """An event of no study, for tests of what any event goes through."""

    kind: ClassVar[str] = "note"
    value: object = None


def lines(folder: Path) -> list[Line]:
    """The events of a ledger as JSON says them."""
    return [
        event.line if isinstance(event, Unread) else written(event) for event in read_events(folder)
    ]


def full_record(folder: Path, **kwargs: Any) -> Record:
    """A finished study: search and arms, everything complete but one diverged trial."""
    scribe = Scribe(folder, make_study(**kwargs))
    scribe.session()
    scribe.trials()
    scribe.arms()
    return scribe.record()
