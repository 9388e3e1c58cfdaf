"""Regularizers of the training step: off changes nothing, on does what its source says, and a run
goes on bit for bit.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scans import SMALL, digits, numbers, weights
from torch import nn
from torch.nn import functional

from pipeline.core.adversary import attack
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.average import averaged
from pipeline.core.evaluate import predict
from pipeline.core.history import exhausted
from pipeline.core.objective import Teacher, distance
from pipeline.core.pictures import Pictures
from pipeline.core.pseudo import pseudo_labels, with_pseudo_labels
from pipeline.core.regularize import Adversary, Distill
from pipeline.core.setup import build_pixels
from pipeline.core.train import Inputs, train
from pipeline.data.listing import UNKNOWN
from pipeline.data.splits import Split
from pipeline.errors import UserError

CPU = torch.device("cpu")


def semi_supervised(num_unlabeled: int = 200) -> Inputs:
    """100 labeled scans, and as many unlabeled ones as asked for, whose labels are hidden."""
    inputs = digits(num_train=100 + num_unlabeled, num_val=60)
    hidden, shown = inputs.train.index[:num_unlabeled], inputs.train.index[num_unlabeled:]
    labels = inputs.train.labels.copy()
    labels[hidden] = UNKNOWN
    images = inputs.train.images
    return replace(
        inputs, train=Split(images, labels, shown), unlabeled=Split(images, labels, hidden)
    )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    train(
        SMALL.override({"model.width": 8, "epochs": 8}),
        digits(num_train=300),
        seed=5,
        folder=folder,
    )
    return folder


REGULARIZERS: dict[str, dict[str, Any]] = {
    "dropout": {"model.dropout": 0.3},
    "weight decay": {"optimizer.weight_decay": 0.1},
    "clipping": {"clip_norm": 0.01},
    "average": {"ema": 0.9},
    "mixup": {"augment.strength": 1.0, "augment.mixup": 0.4},
    "cutmix": {"augment.strength": 1.0, "augment.cutmix": 1.0},
    "erasing": {"augment.strength": 1.0, "augment.erasing": 0.5},
    "smoothing": {"loss.smoothing": 0.1},
    "class weights": {"loss.balanced": True},
    "hard examples": {"loss.hardest": 0.5},
    "adversary": {"adversary.epsilon": 8 / 255},
    "pseudo-labels": {"pseudo.threshold": 0.5, "pseudo.start": 2},
    "distillation": {"distill.teacher": "set by the test"},
    "accumulation": {"accumulate": 3},
}
PLAIN = SMALL.override({"model.width": 8, "epochs": 4, "optimizer.lr": 5e-3, "batch_size": 16})


@pytest.mark.parametrize("name", REGULARIZERS)
def test_every_regularizer_acts_and_goes_on_bit_for_bit(
    name: str, teacher: Path, tmp_path: Path
) -> None:
    knobs = REGULARIZERS[name] | (
        {"distill.teacher": str(teacher)} if name == "distillation" else {}
    )
    config, inputs = PLAIN.override(knobs), semi_supervised()
    straight = train(config, inputs, seed=1, folder=tmp_path / "straight")
    for stop in (1, 3, 4):
        parts = train(config, inputs, seed=1, folder=tmp_path / "parts", stop=stop)
    assert numbers(parts) == numbers(straight)
    assert weights(tmp_path / "parts", 4) == weights(tmp_path / "straight", 4)
    assert numbers(straight) != numbers(train(PLAIN, inputs, seed=1))
    assert straight.history[-1]["train_loss"] < straight.history[0]["train_loss"]


class Linear(nn.Module):
    """A network whose adversary is known: the gradient's sign is that of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x.flatten(1))
        return out


@pytest.mark.parametrize("epsilon", [0.001, 4 / 255, 0.3])
def test_an_adversary_keeps_its_bounds_in_pixels_and_raises_the_loss(epsilon: float) -> None:
    torch.manual_seed(0)
    pixels = Pixels((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), device=CPU)
    images, labels = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8), torch.arange(6) % 4
    model = Linear().train()
    x = pixels(images)
    changed = attack(
        Adversary(epsilon=epsilon, alpha=epsilon / 2, steps=5),
        model,
        x,
        labels,
        pixels,
        dtype=torch.float32,
    )
    back = (changed - pixels.shift) / pixels.scale / 255
    assert back.min() >= -1e-6
    assert back.max() <= 1 + 1e-6
    assert (back - images / 255).abs().max() <= epsilon + 1e-6
    assert (back - images / 255).abs().mean() > epsilon / 4
    assert functional.cross_entropy(model(changed), labels) > functional.cross_entropy(
        model(x), labels
    )
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_an_attack_leaves_the_running_statistics_alone() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3)
    ).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = Pixels((0.5,), (0.5,), device=CPU)
    x = pixels(torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8))
    attack(
        Adversary(epsilon=0.1),
        model,
        x,
        torch.zeros(4, dtype=torch.int64),
        pixels,
        dtype=torch.float32,
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_distance_to_the_teacher_is_zero_at_the_teacher_and_matches_its_definition() -> None:
    torch.manual_seed(0)
    student, taught = torch.randn(5, 7), torch.randn(5, 7)
    for t in (1.0, 4.0):
        distill = Distill(temperature=t)
        assert distance(distill, taught, taught).item() == pytest.approx(0, abs=1e-6)
        p, q = (taught / t).softmax(1), (student / t).softmax(1)
        expected = t * t * (p * (p / q).log()).sum(1).mean()
        assert distance(distill, student, taught).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_teacher_sees_the_pictures_normalised_as_it_learnt_them() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    own, other = (
        Pixels((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), device=CPU),
        Pixels((0.1,) * 3, (0.9,) * 3, device=CPU),
    )
    model = Linear()
    teacher = Teacher(model, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert torch.allclose(teacher.logits(other(images), other), model(own(images)), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: str(path / "nowhere"), "no such file"),
        (lambda _: __file__, "not a model file of a finished run"),
    ],
)
def test_a_teacher_that_is_none_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    config = PLAIN.override({"distill.teacher": change(tmp_path)})
    with pytest.raises(UserError, match=rf"^distill\.teacher: .*{message}"):
        train(config, digits(), seed=0)


def test_a_teacher_of_other_pictures_is_refused(teacher: Path) -> None:
    with pytest.raises(
        UserError, match=r"1 channels, 8 px, 10 classes; 1 channels, 16 px, 10 classes"
    ):
        train(PLAIN.override({"distill.teacher": str(teacher)}), digits(size=16), seed=0)


def test_the_average_follows_by_a_rising_decay() -> None:
    model = nn.Linear(3, 2)
    follower = averaged(model, 0.3)
    expected = None
    for n in range(8):
        torch.manual_seed(n)
        nn.init.normal_(model.weight)
        follower.update_parameters(model)
        share = 1 - min(0.3, (1 + n) / (10 + n))
        weight = model.weight.detach()
        expected = weight.clone() if expected is None else expected + share * (weight - expected)
        assert torch.allclose(follower.module.weight, expected, atol=1e-6)


def test_the_average_is_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    config, inputs = PLAIN.override({"ema": 0.95}), digits()
    result = train(config, inputs, seed=0, folder=tmp_path)
    state = load_file(tmp_path / "epoch_0004" / "state.safetensors")
    best = load_file(tmp_path / "epoch_0004" / "best.safetensors")
    assert result.best_epoch == 4, "only then are the two to be compared"
    assert all(torch.equal(best[name], state[f"average.module.{name}"]) for name in best)
    assert any(not torch.equal(best[name], state[f"model.{name}"]) for name in best)
    model = config.model.build(1, 8, 10)
    model.load_state_dict(best)
    pictures = Pictures(inputs.val, CPU)
    logits = predict(
        model, pictures, build_pixels(config, inputs, CPU, torch.float32), dtype=torch.float32
    )
    assert (logits.argmax(1) == pictures.labels).float().mean().item() == pytest.approx(
        result.history[-1]["val_acc"]
    )


def test_pseudo_labels_are_the_sure_ones_behind_the_labeled() -> None:
    inputs = semi_supervised()
    assert inputs.unlabeled is not None
    torch.manual_seed(0)
    model = PLAIN.model.build(1, 8, 10)
    pixels = build_pixels(PLAIN, inputs, CPU, torch.float32)
    probabilities = predict(
        model, Pictures(inputs.unlabeled, CPU), pixels, dtype=torch.float32
    ).softmax(1)
    threshold = float(probabilities.max(1).values.median())
    chosen = pseudo_labels(
        Pictures(inputs.unlabeled, CPU), model, pixels, threshold=threshold, dtype=torch.float32
    )
    pictures = with_pseudo_labels(inputs.train, inputs.unlabeled, *chosen, CPU)
    sure = (probabilities.max(1).values >= threshold).numpy()
    assert 90 < sure.sum() < 110
    assert np.array_equal(
        pictures.index, np.concatenate([inputs.train.index, inputs.unlabeled.index[sure]])
    )
    assert np.array_equal(pictures.labels[100:].numpy(), probabilities.argmax(1).numpy()[sure])
    assert np.array_equal(pictures.labels[:100].numpy(), inputs.train.labels[inputs.train.index])
    assert (inputs.train.labels[inputs.unlabeled.index] == UNKNOWN).all(), (
        "the data's own labels stay as they are"
    )


def test_sure_of_nothing_trains_as_without() -> None:
    inputs = semi_supervised()
    alone = train(PLAIN, inputs, seed=0)
    assert numbers(
        train(PLAIN.override({"pseudo.threshold": 0.9999, "pseudo.start": 2}), inputs, seed=0)
    ) == numbers(alone)


def test_pseudo_labels_lay_the_schedule_out_over_epochs_not_steps() -> None:
    knobs = {"schedule.name": "cosine", "pseudo.threshold": 0.01, "pseudo.start": 2}
    result = train(PLAIN.override(knobs), semi_supervised(), seed=0)
    rates = [epoch["lr"] for epoch in result.history]
    assert all(0 <= rate <= PLAIN.optimizer.lr for rate in rates)
    assert rates[-1] < 0.05 * PLAIN.optimizer.lr


@pytest.mark.parametrize(
    ("accs", "patience", "expected"),
    [
        ([0.1, 0.2, 0.2, 0.2], 2, True),
        ([0.1, 0.2, 0.2, 0.3], 2, False),
        ([0.3], 1, False),
        ([0.3, 0.1], 1, True),
        ([0.3, 0.1, 0.1, 0.1], 0, False),
        ([], 1, False),
    ],
)
def test_patience_counts_the_epochs_since_the_best(
    accs: list[float], patience: int, expected: bool
) -> None:
    history = [{"epoch": i + 1, "val_acc": acc, "val_loss": 1.0} for i, acc in enumerate(accs)]
    assert exhausted(history, patience) is expected


def test_a_run_without_patience_left_is_complete_and_stays_so(tmp_path: Path) -> None:
    config, inputs = PLAIN.override({"epochs": 60, "optimizer.lr": 0.02, "patience": 3}), digits()
    result = train(config, inputs, seed=0, folder=tmp_path)
    assert result.complete
    assert len(result.history) == result.best_epoch + 3 < 60
    emitted: list[dict[str, float]] = []
    again = train(config, inputs, seed=0, folder=tmp_path, on_epoch=emitted.append)
    assert again == result
    assert emitted == list(result.history)
    assert not train(config, inputs, seed=0, stop=2).complete


@pytest.mark.parametrize("normalize", ["data", "imagenet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_is_the_one_asked_for(normalize: str, channels: int) -> None:
    inputs = digits(channels=channels)
    pixels = build_pixels(PLAIN.override({"normalize": normalize}), inputs, CPU, torch.float32)
    mean = -pixels.shift.flatten() / (255 * pixels.scale.flatten())
    expected = {
        ("data", 1): inputs.mean,
        ("data", 3): inputs.mean,
        ("imagenet", 1): (0.449,),
        ("imagenet", 3): (0.485, 0.456, 0.406),
    }[normalize, channels]
    assert mean.tolist() == pytest.approx(expected, abs=1e-3)
    assert math.isfinite(pixels(torch.zeros(1, channels, 4, 4, dtype=torch.uint8)).sum().item())
