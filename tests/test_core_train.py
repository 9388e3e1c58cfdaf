from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from scans import SMALL, digits, numbers, weights

from pipeline.core import precision
from pipeline.core.history import best_epoch
from pipeline.core.models import CNN
from pipeline.core.train import Diverged, evaluate_best, resolve_precision, train


def test_a_long_enough_run_generalises() -> None:
    config = SMALL.override({"model.width": 8, "epochs": 9, "schedule.name": "cosine"})
    last = train(config, digits(num_train=600, num_val=300), seed=0).history[-1]
    assert last["val_acc"] > 0.9
    assert last["train_acc"] > 0.95


def test_history_has_the_agreed_keys_and_ranges() -> None:
    config = SMALL.override({"schedule.name": "cosine", "epochs": 2})
    inputs = digits()
    result = train(config, inputs, seed=0)
    keys = {"epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr", "grad_norm"}
    keys.add("seconds")
    assert [set(epoch) for epoch in result.history] == [keys, keys]
    assert [epoch["epoch"] for epoch in result.history] == [1, 2]
    assert all(0 <= epoch[key] <= 1 for epoch in result.history for key in ("train_acc", "val_acc"))
    assert all(
        epoch["val_acc"] * 60 == pytest.approx(round(epoch["val_acc"] * 60))
        for epoch in result.history
    )
    # 100 samples in batches of 32 are 4 steps: the last of each epoch are steps 3 and 7 of 8
    rates = [config.optimizer.lr * config.schedule.factor(step, 8) for step in (3, 7)]
    assert [epoch["lr"] for epoch in result.history] == rates
    assert result.num_params == sum(p.numel() for p in config.model.build(1, 8, 10).parameters())
    assert result.seconds == sum(epoch["seconds"] for epoch in result.history) > 0


def test_seeds_decide_everything() -> None:
    inputs = digits()
    config = SMALL.override({"epochs": 1})
    assert numbers(train(config, inputs, seed=3)) == numbers(train(config, inputs, seed=3))
    assert numbers(train(config, inputs, seed=3)) != numbers(train(config, inputs, seed=4))


def test_a_trial_leaves_no_trace_for_the_next_nor_for_the_caller(tmp_path: Path) -> None:
    inputs = digits()
    b = SMALL.override({"model.dropout": 0.3, "augment.strength": 2.0, "epochs": 2})
    others = [
        {
            "model.name": "resnet18",
            "model.width": 4,
            "optimizer.name": "rmsprop",
            "optimizer.momentum": 0.9,
        },
        {"model.width": 12, "optimizer.name": "sgd", "schedule.name": "cosine", "batch_size": 7},
    ]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    alone = train(b, inputs, seed=0, folder=tmp_path / "alone")
    for i, knobs in enumerate(others):
        train(SMALL.override(knobs | {"epochs": 1, "model.dropout": 0.5}), inputs, seed=9)
        after = train(b, inputs, seed=0, folder=tmp_path / f"after{i}")
        assert numbers(after) == numbers(alone)
        assert weights(tmp_path / f"after{i}", 2) == weights(tmp_path / "alone", 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_best_epoch_breaks_ties_by_loss_and_then_by_age() -> None:
    rows = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.8), (0.6, 0.1)]
    history = tuple(
        {"epoch": i + 1, "val_acc": acc, "val_loss": loss} for i, (acc, loss) in enumerate(rows)
    )
    assert [best_epoch(history[:k]) for k in range(1, 6)] == [1, 2, 3, 3, 3]


def test_evaluate_best_is_the_best_epochs_own_evaluation(tmp_path: Path) -> None:
    inputs = digits()
    config = SMALL.override({"optimizer.lr": 0.02, "epochs": 6})
    result = train(config, inputs, seed=0, folder=tmp_path)
    best = result.history[result.best_epoch - 1]
    assert result.best_epoch < 6, (
        "the best epoch should not be the last, or this test shows nothing"
    )
    found = evaluate_best(config, inputs.val, inputs, seed=0, folder=tmp_path).facts
    assert found == {"loss": best["val_loss"], "acc": best["val_acc"]}
    with pytest.raises(FileNotFoundError):
        evaluate_best(config, inputs.val, inputs, seed=7, folder=tmp_path / "nothing")


def test_train_loss_is_taken_on_a_fixed_part_of_train_without_augmentation(tmp_path: Path) -> None:
    """Where val is as large as train the part is all of it, in eval mode."""
    inputs = digits(num_train=60, num_val=60)
    config = SMALL.override({"augment.strength": 3.0, "model.dropout": 0.5, "epochs": 1})
    result = train(config, inputs, seed=0, folder=tmp_path)
    found = evaluate_best(config, inputs.train, inputs, seed=0, folder=tmp_path).facts
    assert (result.history[0]["train_loss"], result.history[0]["train_acc"]) == pytest.approx(
        (found["loss"], found["acc"])
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_colour_pictures_in_both_precisions_go_on_bit_for_bit(
    precision: Literal["fp32", "bf16"], tmp_path: Path
) -> None:
    """Channels-last weights and optimizer state keep their layout through a checkpoint."""
    inputs = digits(num_train=24, num_val=12, channels=3, size=32)
    knobs = {
        "precision": precision,
        "dataset.size": 32,
        "batch_size": 8,
        "augment.strength": 1.0,
        "epochs": 2,
    }
    config = SMALL.override(knobs)
    straight = train(config, inputs, seed=0, folder=tmp_path / "straight")
    train(config, inputs, seed=0, folder=tmp_path / "parts", stop=1)
    assert numbers(train(config, inputs, seed=0, folder=tmp_path / "parts")) == numbers(straight)
    assert weights(tmp_path / "parts", 2) == weights(tmp_path / "straight", 2)


def test_precision_changes_the_numbers_a_little() -> None:
    inputs = digits(num_train=24, num_val=12, channels=3, size=32)
    losses = [
        train(SMALL.override({"precision": precision, "epochs": 1}), inputs, seed=0).history[0][
            "val_loss"
        ]
        for precision in ("fp32", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_auto_precision_is_fp32_on_small_pictures_and_explicit_wins() -> None:
    assert resolve_precision(SMALL, "cpu") == "fp32"
    assert resolve_precision(SMALL.override({"precision": "bf16"}), "cpu") == "bf16"
    large = SMALL.override({"dataset.size": 32})
    fast = torch.cpu._is_avx512_bf16_supported()
    assert resolve_precision(large, "cpu") == ("bf16" if fast else "fp32")


@pytest.mark.parametrize(
    ("told", "asks"),
    [
        ("processor : 0\nflags : fpu avx2\n", False),
        ("processor : 0\nflags : fpu avx2 avx512_bf16\n", True),
        ("processor : 0\nFeatures : fp asimd bf16\n", True),
        (None, True),
    ],
)
def test_torch_is_asked_for_bf16_where_linux_does_not_rule_it_out(
    told: str | None, asks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: not asked.append(True))
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    large = SMALL.override({"dataset.size": 32})
    assert resolve_precision(large, "cpu") == ("bf16" if asks else "fp32")
    assert bool(asked) == asks


def test_a_batch_size_beyond_the_train_split_is_the_whole_split() -> None:
    inputs = digits(num_train=33)
    large, exact = (
        train(SMALL.override({"batch_size": n, "epochs": 1}), inputs, seed=0) for n in (4096, 33)
    )
    assert numbers(large) == numbers(exact)


def test_divergence_names_its_place() -> None:
    config = SMALL.override(
        {"optimizer.name": "sgd", "optimizer.lr": 100.0, "clip_norm": 0.0, "epochs": 50}
    )
    with pytest.raises(Diverged) as error:
        train(config, digits(), seed=0)
    assert error.value.epoch >= 1
    assert error.value.what in {"train_loss", "val_loss"}
    assert str(error.value.epoch) in str(error.value)


def test_an_evaluation_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    """Normalised by a tiny standard deviation, pictures other than the trained ones overflow."""
    inputs = digits()
    images = inputs.train.images.copy()
    images[inputs.train.index] = 0
    broken = replace(inputs, train=replace(inputs.train, images=images), mean=(0.0,), std=(1e-39,))
    with pytest.raises(Diverged) as error:
        train(SMALL, broken, seed=0, folder=tmp_path)
    assert (error.value.epoch, error.value.step, error.value.what) == (1, 0, "val_loss")
    assert not list(tmp_path.glob("epoch_*"))


def test_the_model_is_built_for_the_pictures() -> None:
    result = train(SMALL.override({"epochs": 1}), digits(size=16), seed=0)
    assert result.num_params == sum(p.numel() for p in CNN(width=4).build(1, 16, 10).parameters())
