"""What every member of every union must do: take any size, learn, survive JSON and a crash, name
its source.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from scans import SMALL, digits, numbers

from pipeline.core.augmentation.config import AUGMENTS
from pipeline.core.config import TrainConfig
from pipeline.core.finished.final import COMPRESSIONS
from pipeline.core.losses import LOSSES
from pipeline.core.models import MODELS
from pipeline.core.optimizers import OPTIMIZERS
from pipeline.core.schedules import SCHEDULES
from pipeline.core.setup import build_pixels
from pipeline.core.train import evaluate_best, train
from pipeline.data.datasets import DATASETS
from pipeline.testing import rules


def name_of(member: Any) -> str:
    name: str = member.model_fields["name"].default
    return name


def every(members: tuple[Any, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("member", members, ids=name_of)


NARROW: dict[str, dict[str, Any]] = {
    "lenet": {"model.width": 6},
    "nin": {"model.width": 16},
    "mlp": {"model.width": 64},
    "dense_blocks": {"model.growth_rate": 8, "model.block_layers": 2},
    "shufflenet": {"model.variant": "x0.5"},
    "mobilenet": {"model.variant": "v3_small"},
    "vit": {"model.patch_size": 8},
    "timm": {"model.arch": "test_resnet.r160_in1k"},
}
RATES = {"sgd": 0.02, "adagrad": 0.02, "nadam": 2e-3, "lion": 1e-3, "mse": 3e-3}


def narrow(member: Any, **knobs: Any) -> TrainConfig:
    """The member in a run small enough for a test."""
    name = name_of(member)
    config = SMALL.override({"batch_size": 16, "optimizer.lr": 3e-3, "model.name": name})
    if "width" in member.model_fields:
        config = config.override({"model.width": 8})
    return config.override(NARROW.get(name, {}) | knobs)


@every(MODELS)
@pytest.mark.parametrize(
    ("size", "channels", "num_classes"),
    [(28, 1, 2), (28, 3, 176), (32, 3, 176), (64, 1, 2), (128, 1, 2), (224, 3, 176)],
)
def test_a_network_takes_every_size_and_number_of_classes(
    member: Any, size: int, channels: int, num_classes: int
) -> None:
    """As it is by default; on the meta device, which knows shapes alone. What channels and classes
    change, the first and the last layer, is the same at every size.
    """
    with torch.device("meta"):
        rules.gives_logits(member(), channels, size, num_classes)


@every(MODELS)
def test_a_network_gives_every_parameter_a_gradient(member: Any) -> None:
    torch.manual_seed(0)
    rules.gives_gradients(narrow(member).model.build(1, 28, 5), torch.randn(4, 1, 28, 28))


@every(MODELS)
def test_the_seed_decides_a_networks_weights(member: Any) -> None:
    rules.seed_decides(lambda: narrow(member).model.build(1, 28, 3))


@every(MODELS)
def test_dropout_acts_and_zero_draws_no_numbers(member: Any) -> None:
    config = narrow(member).model

    def outputs(p: float) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = config.override({"dropout": p}).build(1, 28, 3).train()
        x = torch.randn(4, 1, 28, 28)
        return [model(x).detach() for _ in range(2)]

    assert torch.equal(*outputs(0.0))
    assert not torch.equal(*outputs(0.5))


@every(MODELS)
def test_a_network_sees_pictures_at_the_side_asked_for(member: Any) -> None:
    """Its weights are those of the side; smaller pictures are made without aliasing."""
    config, x = narrow(member, **{"model.dropout": 0.0}), torch.rand(2, 1, 48, 48)
    for side in (32, 64):
        torch.manual_seed(0)
        plain = config.model.build(1, side, 5).eval()
        torch.manual_seed(0)
        found = config.override({"input_size": side}).network(1, 48, 5).eval()
        assert found.state_dict().keys() == plain.state_dict().keys()
        seen = torch.nn.functional.interpolate(
            x, size=(side, side), mode="bilinear", antialias=side < 48
        )
        assert torch.equal(found(x), plain(seen))
    own, as_given = (build(1, 48, 5) for build in (config.model.build, config.network))
    assert len(own._forward_pre_hooks) == len(as_given._forward_pre_hooks)


RATE = {"lenet": 0.01, "vgg": 1e-3, "alexnet": 1e-3, "nin": 1e-3, "vit": 1e-3, "convnext": 1e-3}


@every(MODELS)
def test_a_network_learns_real_pictures(member: Any) -> None:
    config = narrow(
        member, **{"model.dropout": 0.0, "optimizer.lr": RATE.get(name_of(member), 3e-3)}
    )
    inputs = digits(num_train=16, channels=3, size=32)
    torch.manual_seed(0)
    model = config.model.build(3, 32, 10).train()
    optimizer = config.optimizer.build(model)
    x = build_pixels(config, inputs, torch.device("cpu"), torch.float32)(
        torch.tensor(inputs.train.images[inputs.train.index])
    )
    labels = torch.tensor(inputs.train.labels[inputs.train.index])
    losses: list[float] = []
    while len(losses) < 25 and not (losses and losses[-1] < 0.7 * losses[0]):
        loss = config.loss.value(model(x), labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.7 * losses[0], losses


@every(MODELS)
def test_a_network_goes_on_bit_for_bit(member: Any, tmp_path: Path) -> None:
    config = narrow(
        member, **{"dataset.size": 32, "epochs": 2, "precision": "fp32", "model.dropout": 0.2}
    )
    rules.goes_on(config, digits(num_train=24, num_val=8, channels=3, size=32), tmp_path)


PARTS = [("optimizer", m) for m in OPTIMIZERS] + [("schedule", m) for m in SCHEDULES]
PARTS += [("loss", m) for m in LOSSES] + [("augment", m) for m in AUGMENTS]


@pytest.mark.parametrize(
    ("part", "member"), PARTS, ids=lambda value: value if isinstance(value, str) else name_of(value)
)
def test_a_part_learns_real_pictures_and_goes_on_bit_for_bit(
    part: str, member: Any, tmp_path: Path
) -> None:
    name = name_of(member)
    knobs: dict[str, Any] = {
        "model.width": 8,
        "model.dropout": 0.1,
        "epochs": 6,
        "batch_size": 16,
        f"{part}.name": name,
    }
    knobs["optimizer.lr"] = RATES.get(name, 0.01)
    if part == "augment":
        knobs |= {"augment.strength": 0.5}
    losses = rules.goes_on(SMALL.override(knobs), digits(num_train=160), tmp_path)
    assert min(losses) < 0.75 * losses[0], losses


@every(AUGMENTS)
def test_augmentation_of_strength_0_is_none(member: Any) -> None:
    rules.is_off_at_strength_0(SMALL.override({"augment.name": name_of(member)}), digits())


@every(AUGMENTS)
def test_augmentation_follows_from_seed_and_epoch(member: Any) -> None:
    rules.draws_by_seed(member(strength=1.0), torch.tensor(digits().train.images[:20]))


@every(LOSSES)
def test_a_loss_is_one_number_and_lower_where_answers_are_right(member: Any) -> None:
    rules.is_a_loss(member())


@every(SCHEDULES)
def test_a_schedule_follows_from_the_progress(member: Any) -> None:
    rules.is_a_schedule(lambda step: member().factor(step, 100, [1.0, 0.9]), range(101))


@every(COMPRESSIONS)
def test_compression_is_of_the_finished_model_alone(member: Any, tmp_path: Path) -> None:
    inputs = digits()
    config = SMALL.override({"final.compress.name": name_of(member)})
    assert numbers(train(config, inputs, seed=0, folder=tmp_path)) == numbers(
        train(SMALL, inputs, seed=0)
    )
    facts = evaluate_best(config, inputs.val, inputs, seed=0, folder=tmp_path).facts
    plain = config.final.is_plain
    assert 0 <= facts["acc"] <= 1
    assert facts.get("size_bytes", 0) < facts.get("plain_size_bytes", 1)
    assert plain or facts["plain_acc"] == max(
        e["val_acc"] for e in train(SMALL, inputs, seed=0).history
    )


ALL = [
    ("model", MODELS),
    ("optimizer", OPTIMIZERS),
    ("schedule", SCHEDULES),
    ("loss", LOSSES),
    ("augment", AUGMENTS),
]
ALL += [("final.compress", COMPRESSIONS), ("dataset", DATASETS)]
EACH = [pytest.param(part, m, id=f"{part}-{name_of(m)}") for part, members in ALL for m in members]


@pytest.mark.parametrize(("part", "member"), EACH)
def test_a_member_survives_json_and_the_command_line(part: str, member: Any) -> None:
    config = TrainConfig().override({f"{part}.name": name_of(member)})
    rules.survives_json(config)
    assert config.flat()[f"{part}.name"] == name_of(member)


SOURCE = re.compile(
    r"arXiv \d{4}\.\d{4,5}|doi \S+|\b(19|20)\d\d\b|course|timm|torchvision|MNIST|Hugging "
    r"Face|scikit-learn"
)
PLAIN = {"none", "constant", "folder", "csv", "npz", "half"}  # nothing that anybody published


@pytest.mark.parametrize(("part", "member"), EACH)
def test_a_member_names_its_source(part: str, member: Any) -> None:
    text = " ".join(
        cls.__doc__ or "" for cls in member.__mro__ if cls.__module__.startswith("pipeline.")
    )
    assert member.__doc__, f"{part} {name_of(member)} says nothing"
    assert SOURCE.search(text) or name_of(member) in PLAIN
