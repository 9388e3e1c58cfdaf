"""The metric that governs a study: it chooses each run's best epoch, ranks trials, chooses what is
exported.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from own import MORE, folder, written
from scans import SMALL, digits, numbers, weights

from pipeline.core.checkpoints import latest
from pipeline.core.config import TrainConfig
from pipeline.core.history import best_epoch, exhausted, level
from pipeline.core.metrics import METRICS, Measure, called, sign_of, values
from pipeline.core.rehearsal import rehearse
from pipeline.core.setup import identity
from pipeline.core.train import train
from pipeline.engine.order import Segment
from pipeline.engine.queue import Plan
from pipeline.errors import UserError
from pipeline.export.selection import select
from pipeline.record.record import Record
from pipeline.study.study import Study
from tests.driver import DATA, Worker, drive, facts, open_plan, quality
from tests.studies import small_study

__all__ = ["folder"]

EVERY = pytest.mark.parametrize("metric", [member() for member in METRICS], ids=called)
NOISY = SMALL.override({"model.dropout": 0.3, "schedule.name": "cosine"})


@EVERY
def test_a_metric_chooses_the_best_epoch_and_a_run_goes_on_bit_for_bit(
    metric: Measure, tmp_path: Path
) -> None:
    name, listed = called(metric), {"metrics": [metric.name], "epochs": 5}
    config, inputs = NOISY.override(listed | {"select": name}), digits(num_train=60)
    sign = -1 if name in ("log_loss", "ece") else 1
    assert config.sign == sign_of(config.model_dump(mode="json")) == sign
    straight = train(config, inputs, seed=2, folder=tmp_path / "straight")
    chosen = max(
        straight.history, key=lambda e: (sign * e[f"val_{name}"], -e["val_loss"], -e["epoch"])
    )
    assert straight.best_epoch == chosen["epoch"]
    for stop in (2, 5):
        parts = train(config, inputs, seed=2, folder=tmp_path / "parts", stop=stop)
    assert (numbers(parts), parts.best_epoch) == (numbers(straight), straight.best_epoch)
    assert weights(tmp_path / "parts", 5) == weights(tmp_path / "straight", 5)
    found = [latest(tmp_path / way, identity(config, 2)) for way in ("parts", "straight")]
    assert all(one and one.best_epoch == straight.best_epoch for one in found)
    assert all(
        torch.equal(a, b)
        for a, b in zip(*(one.best().values() for one in found if one), strict=True)
    )
    plain = train(NOISY.override(listed), inputs, seed=2)
    assert numbers(plain) == numbers(straight), "it changes what is chosen, not what is trained"


def test_best_epoch_level_and_patience_are_read_of_what_selects() -> None:
    by = "val_macro_f1"
    history = [
        {"epoch": e, "val_acc": a, by: f, "val_loss": 1.0}
        for e, (a, f) in enumerate([(0.1, 0.2), (0.2, 0.9), (0.3, 0.5), (0.4, 0.4)], 1)
    ]
    assert (best_epoch(history), best_epoch(history, by)) == (4, 2)
    assert (level(history, 4), level(history, 4, by)) == (0.4, 0.4)
    assert (exhausted(history, 2), exhausted(history, 2, by)) == (False, True)
    assert (best_epoch(history, by, -1), exhausted(history, 3, by, -1)) == (1, True)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"select": "macro_f1"}, r"select: got 'macro_f1'; allowed: acc \(another must be one of"),
        (
            {"select": "macro_f", "metrics": ["macro_f1", "ece"]},
            r"select: got 'macro_f'; allowed: acc, macro_f1, ece; did you mean 'macro_f1'",
        ),
        ({"select": "loss"}, "select: got 'loss'; allowed: acc"),
        ({"select": "val_acc"}, "select: got 'val_acc'; allowed: acc"),
        ({"select": "top_5", "metrics": ["top_5"]}, "metrics.*unknown.*allowed"),
    ],
)
def test_what_cannot_select_is_refused_in_words(knobs: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SMALL.override(knobs)


def test_it_is_the_same_for_all_arms_and_trials() -> None:
    study = small_study().override({"baseline.metrics": ["macro_f1"]})
    one = study.override({"ablation.design.on.dropout": {"select": "macro_f1"}})
    with pytest.raises(UserError, match="arm 'dropout': select: it must be the same for all arms"):
        one.check()
    knob = {"kind": "choice", "options": ["acc", "macro_f1"]}
    tree = study.model_dump(mode="json")
    tree["space"]["knobs"]["select"] = knob
    with pytest.raises(UserError, match="space: select: it must be the same for all trials"):
        Study.parse(tree, source="x").check()
    del tree["space"]["knobs"]["select"]  # trials are never attacked
    tree["space"]["knobs"]["attack.epsilon"] = {"kind": "float", "low": 0.01, "high": 0.1}
    with pytest.raises(UserError, match=r"space: attack.epsilon: it must be the same for all"):
        Study.parse(tree, source="test").check()


def test_a_share_of_ones_own_is_refused_where_it_is_none(folder: Path) -> None:
    written(folder, "my_more.py", MORE)
    written(folder, "my_far.py", "\n\ndef my_far(logits, labels):\n    return 1.5\n")
    good = SMALL.override({"metrics": ["my_more:my_recall"], "select": "my_recall"})
    rehearse(good, channels=1, size=8, num_classes=10)
    assert train(good, digits(num_train=60), seed=1, stop=2).best_epoch
    bad = SMALL.override({"metrics": ["macro_f1", "my_far:my_far"], "select": "my_far"})
    words = r"metrics\.1 'my_far:my_far': .*my_far\.py, line 3: runs are selected by it.*got 1\.5"
    with pytest.raises(UserError, match=words):
        rehearse(bad, channels=1, size=8, num_classes=10)
    with pytest.raises(UserError, match=words):
        train(bad, digits(num_train=60), seed=1)
    shown = bad.override({"select": "macro_f1"})
    assert values(shown.metrics, torch.zeros(4, 2), torch.arange(4) % 2)["my_far"] == 1.5


class Selecting(Worker):
    """Its macro-F1 is high where its accuracy is low, and highest after two epochs of each run."""

    def _epoch(self, plan: Plan, segment: Segment, number: int) -> Any:
        def step() -> None:
            acc = self.acc(segment.config, segment.seeds.replicate)
            told = {"epoch": number, "train_loss": 1.0, "train_acc": acc, "val_loss": 1.0}
            told |= {"val_acc": acc * number / 10, "val_macro_f1": f1(acc, number)}
            plan.epoch(segment.name, told | {"lr": 1e-3, "seconds": 0.5})

        return step

    def steps(self, plan: Plan, segment: Segment) -> Any:
        finish = plan.finish

        def told(name: str, outcome: Any) -> None:
            acc = self.acc(segment.config, segment.seeds.replicate)
            own = {"test_macro_f1": f1(acc, 2)} if segment.test else {}
            early = {"best_epoch": 2} if segment.stop >= 2 else {}
            finish(name, replace(outcome, metrics=own, **early))

        *epochs, _ = super().steps(plan, segment)
        last = super().steps(plan, segment)[-1]

        def end() -> None:
            plan.finish = told  # type: ignore[method-assign]
            try:
                last()
            finally:
                plan.finish = finish  # type: ignore[method-assign]

        return [*epochs, end]


def f1(acc: float, epoch: int) -> float:
    return round((1 - acc) * (1 - 0.1 * abs(epoch - 2)), 6)


def selecting(**search: Any) -> Study:
    study = small_study(**search)
    return study.override({"baseline.metrics": ["macro_f1"], "baseline.select": "macro_f1"})


def test_rungs_race_arms_and_export_follow_it(tmp_path: Path) -> None:
    study = selecting(num_trials=6, race=2, epochs=9)
    record = drive(open_plan(tmp_path / "a", study, format=3), Selecting())
    run = next(r for r in record.trials() if 2 in r.rungs)
    assert run.rungs == {rung: run.epochs[stop - 1]["val_macro_f1"] for rung, stop in
                         enumerate((1, 3, 9))}  # fmt: skip
    assert run.best
    assert run.best["epoch"] == 2
    top = [r for r in record.trials() if 2 in r.rungs]
    assert record.best_trial() == max(top, key=lambda r: r.rungs[2])
    assert record.race
    assert record.race.candidates[0] == record.best_trial().key  # type: ignore[union-attr]
    chosen = select(record).run
    arms = {
        arm: sum(f1(quality(parsed(r.config), r.replicate), 2) for r in runs)
        for arm, runs in record.arms().items()
    }
    assert chosen.arm == max(arms, key=arms.__getitem__)
    assert chosen.metric("val_macro_f1") == max(
        r.metric("val_macro_f1") for r in record.arms()[chosen.arm]
    )
    again = drive(open_plan(tmp_path / "b", study, format=3), Selecting(), workers=1)
    assert facts(again) == facts(record)


def parsed(config: dict[str, Any]) -> TrainConfig:
    return TrainConfig.parse(config, source="test")


def test_a_trial_that_stops_early_stands_with_its_best(tmp_path: Path) -> None:
    study = selecting(num_trials=2, epochs=9).override({"baseline.patience": 1})
    plan = open_plan(tmp_path, study)
    record: Record = drive(plan, Selecting(patience=lambda _: 3))
    early = [run for run in record.trials() if run.early]
    assert early
    assert all(run.value == (2, max(e["val_macro_f1"] for e in run.epochs)) for run in early)
    assert DATA["classes"]
