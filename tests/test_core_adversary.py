"""Attacks against what is known in closed form, training on clean and changed pictures, and the
robust accuracy of finished models.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from records import Scribe, make_study, with_arms
from scans import SMALL, digits, numbers
from segments import order_of, work
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.adversary import attack
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.finished.robust import robust_acc
from pipeline.core.objective import Objective
from pipeline.core.pictures import Pictures
from pipeline.core.regularize import Adversary, Attack
from pipeline.core.train import Inputs, evaluate_best, robust_acc_of_best, train
from pipeline.data.cache import open_data, prepare
from pipeline.data.datasets import Digits
from pipeline.data.splits import Split, splits
from pipeline.errors import UserError
from pipeline.report.compose import read, texts
from pipeline.report.sections.own_metrics import own_metrics
from tests import commands

CPU = torch.device("cpu")
PIXELS = Pixels((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), device=CPU)


class TwoClasses(nn.Module):
    """The gradient of a picture's cross entropy has the sign of the other class's weights less its
    own's, wherever the picture is: its worst place in the box is a corner.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(3 * 8 * 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(1))
        return out

    def worst(self, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        """Normalised pictures at that corner, from uint8."""
        weights = self.layer.weight.detach().view(2, 3, 8, 8)
        away = (weights[1 - labels] - weights[labels]).sign()
        moved = (images / 255 + epsilon * away).clamp(0, 1)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
        return (moved - mean) / std


def some(num: int = 200) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randint(0, 256, (num, 3, 8, 8), dtype=torch.uint8), torch.arange(num) % 2


@pytest.mark.parametrize("epsilon", [2 / 255, 0.1])
def test_an_attack_on_a_linear_model_finds_the_worst_place(epsilon: float) -> None:
    (images, labels), model = some(), TwoClasses()
    how = Attack(epsilon=epsilon, alpha=epsilon / 4, steps=8)  # twice epsilon, from wherever
    found = attack(how, model, PIXELS(images), labels, PIXELS, dtype=torch.float32)
    assert torch.allclose(found, model.worst(images, labels, epsilon), atol=1e-5)


def test_robust_accuracy_of_a_linear_model_is_that_of_its_worst_pictures() -> None:
    (images, _), model = some(), TwoClasses()
    labels = model(PIXELS(images)).argmax(1)
    labels[:20] = 1 - labels[:20]  # wrong as they are
    split = Split(images.numpy(), labels.numpy(), np.arange(len(labels)))
    found = []
    for epsilon in (1e-4, 2 / 255, 8 / 255, 0.1):
        worst = model.worst(images, labels, epsilon)
        expected = (model(worst).argmax(1) == labels).float().mean().item()
        how = Attack(epsilon=epsilon, alpha=epsilon / 4, steps=8)
        found.append(robust_acc(how, model, Pictures(split, CPU), PIXELS, seed=0))
        assert found[-1] == pytest.approx(expected)
    assert found == sorted(found, reverse=True)
    assert 0.9 >= found[0] > found[2] > 0


def test_an_attack_leaves_a_finished_model_finished() -> None:
    model, (images, labels) = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).eval(), some(4)
    attack(Attack(epsilon=0.1), model, PIXELS(images), labels, PIXELS, dtype=torch.float32)
    assert not model.training


PLAIN = SMALL.override({"epochs": 2, "model.norm": "none"})


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("loss", [{}, {"loss.hardest": 0.5}])
def test_the_loss_is_the_share_of_the_clean_and_the_rest_of_the_changed(
    share: float, loss: dict[str, Any]
) -> None:
    knobs = {"adversary.epsilon": 0.1, "adversary.clean_share": share, **loss}
    config, pixels = PLAIN.override(knobs), Pixels((0.3,), (0.37,), device=CPU)
    inputs = digits()
    torch.manual_seed(1)
    model = config.model.build(1, 8, 10).train()
    x, labels = pixels(torch.from_numpy(inputs.train.images[:32].copy())), torch.arange(32) % 10
    torch.manual_seed(2)
    objective = Objective(config, model, model, pixels, dtype=torch.float32)
    value = objective(x, labels)
    gradients = torch.autograd.grad(value, list(model.parameters()))
    torch.manual_seed(2)
    changed = attack(config.adversary, model, x, labels, pixels, dtype=torch.float32)
    each = [functional.cross_entropy(model(one), labels, reduction="none") for one in (x, changed)]
    num = 16 if loss else 32
    clean, other = (values.sort(descending=True).values[:num].mean() for values in each)
    expected = share * clean + (1 - share) * other
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for got, right in zip(
        gradients, torch.autograd.grad(expected, list(model.parameters())), strict=True
    ):
        assert torch.allclose(got, right, atol=1e-6)


def test_batch_norm_takes_clean_and_changed_pictures_together() -> None:
    config = SMALL.override({"adversary.epsilon": 0.1, "adversary.clean_share": 0.5})
    model = nn.Sequential(nn.BatchNorm2d(1, momentum=1.0), nn.Flatten(), nn.Linear(64, 10)).train()
    pixels = Pixels((0.3,), (0.37,), device=CPU)
    x, labels = pixels(torch.from_numpy(digits().train.images[:8].copy())), torch.arange(8)
    torch.manual_seed(2)
    changed = attack(config.adversary, model, x, labels, pixels, dtype=torch.float32)
    torch.manual_seed(2)
    Objective(config, model, model, pixels, dtype=torch.float32)(x, labels)
    (norm, *_) = model
    assert norm.running_mean.item() == pytest.approx(
        torch.cat([x, changed]).mean().item(), rel=1e-4
    )


def test_a_clean_share_trains_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    config = SMALL.override({"adversary.epsilon": 0.05, "adversary.clean_share": 0.5, "epochs": 2})
    straight = train(config, digits(), seed=1)
    for stop in (1, 2):
        parts = train(config, digits(), seed=1, folder=tmp_path, stop=stop)
    assert numbers(parts) == numbers(straight)
    alone = config.override({"adversary.clean_share": 0.0})
    assert numbers(straight) != numbers(train(alone, digits(), seed=1))


def test_a_finished_arm_is_attacked_as_trained_and_otherwise_nothing_changes(
    tmp_path: Path,
) -> None:
    cache = prepare(Digits(num_train=200, num_valid=1200), None, tmp_path / "cache").path
    config = SMALL.override({"dataset.num_train": 200, "dataset.num_valid": 1200, "epochs": 2})
    how = {"attack.epsilon": 0.1, "attack.steps": 3}
    orders = [
        order_of(one, tmp_path / str(number), cache)
        for number, one in enumerate((config, config.override(how)))
    ]
    with commands.as_it_was():
        plain, attacked = (work(order, lambda _: None) for order in orders)
    assert plain.metrics == {}
    assert replace(attacked, metrics={}, evidence="") == replace(plain, evidence="")
    assert attacked.metrics.keys() == {"val_robust_acc", "test_robust_acc"}
    data = open_data(cache)
    parts = splits(data, 1, "resplit", seed=0)
    assert parts.test is not None
    inputs = Inputs.of(data, parts)
    for split, name in ((parts.val, "val_robust_acc"), (parts.test, "test_robust_acc")):
        place: dict[str, Any] = {"seed": orders[1].seeds.run, "folder": orders[1].folder}
        assert attacked.metrics[name] == robust_acc_of_best(
            orders[1].config, split, inputs, **place
        )
        acc = evaluate_best(orders[1].config, split, inputs, **place).facts["acc"]
        assert attacked.metrics[name] < acc


def test_what_attacks_finished_models_is_the_same_for_all_arms() -> None:
    study = with_arms(make_study(), {"baseline": {}, "attacked": {"attack.epsilon": 0.1}})
    with pytest.raises(UserError, match=r"attack: it must be the same for all arms"):
        study.arms()
    assert make_study().override({"baseline.attack.epsilon": 0.1}).arms()


def test_a_metric_cannot_be_called_as_the_attack_is() -> None:
    assert SMALL.further == ()
    attacked = SMALL.override({"metrics": ["macro_f1"], "attack.epsilon": 0.1})
    assert attacked.further[-2:] == ("val_robust_acc", "test_robust_acc")
    assert Adversary().steps == 3, "of training, as before it could be of anything else"


def test_a_report_shows_robust_accuracies_and_tests_nothing_by_them(tmp_path: Path) -> None:
    study = make_study(num_trials=0, replicates=3).override({"baseline.attack.epsilon": 8 / 255})
    book = Scribe(tmp_path / "study", study)
    book.session()
    for replicate in (1, 2, 3):
        for number, (arm, _) in enumerate(study.arms()):
            acc = 0.6 + 0.02 * number + 0.001 * replicate**2
            own = {"val_robust_acc": acc - 0.3, "test_robust_acc": acc - 0.4}
            book.arm(arm.name, replicate, acc, metrics=own)
    found = read(book.record(), tmp_path / "study")
    page = texts(found, {})["report.md"]
    assert "each pixel by at most 8/255 (steps: 20, each of 2/255)" in page
    assert r"test robust\_acc (%)" in page
    assert "| 30.5 ± 0.4 (3) | 20.5 ± 0.4 (3) |" in page, "written as accuracies are"
    assert "test robust_acc from 20.5 % (baseline) to 26.5 %" in page.replace("\\", "")
    assert "steps together are shorter" not in page
    weak = study.override({"baseline.attack.steps": 3})
    assert "steps together are shorter" in own_metrics(found.ablation, weak).caption
    assert "Nothing is selected or tested by them." in page
    other = texts(found, {}, "zh")["report.md"]
    assert "每个像素至多改动8/255" in other.replace(" ", "")
    assert "Robust acc" not in other
    assert " % (" in page
    assert " % (" not in other.replace("(%)", "")
