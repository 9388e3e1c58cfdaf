"""What layers learn by, by their depth: rates that fall towards the input, and a body that is held
still at first; and the momentum of batch norms.
"""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from scans import SMALL, digits, numbers, weights
from studies import small_study
from test_core_batch_size import NOTHING, data
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.core.config import TrainConfig
from pipeline.core.depth import Body, depths
from pipeline.core.optimizers import OPTIMIZERS
from pipeline.core.parallel import Group
from pipeline.core.train import train
from pipeline.core.trainer import Trainer
from pipeline.core.transfer import Transfer
from pipeline.doctor.network import Patient, _rates
from pipeline.errors import UserError
from pipeline.session.preflight import require_inputs
from pipeline.study.ranges import Choice, Float
from pipeline.study.space import Space

CPU = torch.device("cpu")
PLAIN = {
    "optimizer.name": "sgd",
    "optimizer.lr": 0.01,
    "optimizer.momentum": 0.0,
    "optimizer.weight_decay": 0.0,
    "batch_size": 1024,  # more than there are: an epoch is a step
}
DECAY = Transfer(layer_decay=0.5)
BY_NAME = {kind.model_fields["name"].default: kind for kind in OPTIMIZERS}


def trainer(config: TrainConfig, **given: Any) -> Trainer:
    return Trainer(config, digits(**given), seed=0, folder=None, device=CPU, group=Group())


def scales(model: nn.Module) -> dict[str, float]:
    """Of the first module of each depth, and the head's."""
    parts = depths(DECAY, model, num_classes=10)
    ids = [id(p) for part in parts for p in part.params]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    return {part.names[0]: part.scale for part in parts}


@pytest.mark.parametrize(
    ("knobs", "stages", "first"),
    [
        ({"name": "resnet18", "width": 4}, 9, None),
        ({"name": "cnn", "width": 4}, 7, None),
        ({"name": "vit", "patch_size": 8}, None, None),
        ({"name": "timm", "arch": "resnet10t"}, 5, "conv1"),
        ({"name": "timm", "arch": "vit_tiny_patch16_224"}, 13, "patch_embed"),
        ({"name": "timm", "arch": "convnext_atto"}, 5, "stem"),
        ({"name": "mobilenet"}, None, None),
    ],
    ids=lambda value: value["name"] + value.get("arch", "") if isinstance(value, dict) else None,
)
def test_every_stage_has_the_next_ones_rate_times_the_decay(
    knobs: dict[str, Any], stages: int | None, first: str | None
) -> None:
    """And every parameter one rate, whether the network is ours or of a library."""
    config = SMALL.override({f"model.{name}": value for name, value in knobs.items()})
    size = 224 if "vit_tiny" in knobs.get("arch", "") else 32
    found = scales(config.network(3, size, 10))
    num = len(found) - 1
    assert stages in (None, num)
    assert num >= 4
    assert list(found.values()) == [*(0.5**k for k in range(num, 0, -1)), 1.0]
    assert first in (None, next(iter(found)))


def test_positions_of_a_vision_transformer_are_of_the_first_depth() -> None:
    config = SMALL.override({"model.name": "timm", "model.arch": "vit_tiny_patch16_224"})
    model = config.network(3, 224, 10)
    first = {id(p) for p in depths(DECAY, model, num_classes=10)[0].params}
    named = dict(model.named_parameters())
    assert id(named["pos_embed"]) in first
    assert id(named["cls_token"]) in first


def test_layers_move_by_their_rates() -> None:
    """By plain gradient descent without decay, in one step of the same gradients."""
    moved, rates = [], dict[str, float]()
    for decay in (1.0, 0.5):
        knobs = {"transfer.layer_decay": decay, "transfer.head_lr": 3.0 if decay < 1 else 1.0}
        run = trainer(SMALL.override({**PLAIN, **knobs}))
        model = run.loop.model
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        run.loop.run_epoch(1, run.train, 1, [])
        moved.append({name: p.detach() - before[name] for name, p in model.named_parameters()})
        names = {id(p): name for name, p in model.named_parameters()}
        for group in run.loop.optimizer.param_groups:
            rates |= {names[id(p)]: group["lr"] / 0.01 for p in group["params"]}
    wanted = sorted((3.0, *(0.5**k for k in range(1, 8))))
    assert sorted({round(rate, 9) for rate in rates.values()}) == wanted
    for name, change in moved[1].items():
        torch.testing.assert_close(change, rates[name] * moved[0][name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", BY_NAME)
def test_it_goes_on_bit_for_bit_by_every_optimizer(name: str, tmp_path: Path) -> None:
    """Stopped while the body is held, and after it was let go of; with a moving average."""
    knobs = {"transfer.layer_decay": 0.7, "transfer.freeze_epochs": 2, "bn_momentum": 0.3}
    config = SMALL.override({"optimizer.name": name, "epochs": 4, "ema": 0.5, **knobs})
    straight = train(config, digits(), seed=1, folder=tmp_path / "straight")
    for stop in (1, 2, 3, 4):
        resumed = train(config, digits(), seed=1, folder=tmp_path / "cut", stop=stop)
    assert numbers(resumed) == numbers(straight)
    assert weights(tmp_path / "cut", 4) == weights(tmp_path / "straight", 4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_body_stays_as_it_was_while_it_is_held_norms_included(precision: str) -> None:
    knobs = {"transfer.freeze_epochs": 1, "optimizer.weight_decay": 0.1, "epochs": 3}
    config = SMALL.override({"optimizer.name": "sgd", "precision": precision, **knobs})
    run = trainer(config)
    model = run.loop.model
    assert run.body is not None
    (head,) = run.body.heads
    states = [{name: t.clone() for name, t in model.state_dict().items()}]
    for _ in range(2):
        run.next_epoch(lambda: None)
        states.append({name: t.clone() for name, t in model.state_dict().items()})
    first, second = (
        {name for name in a if not torch.equal(a[name], b[name])}
        for a, b in itertools.pairwise(states)
    )
    assert first == {name for name in states[0] if name.startswith(head)}
    still = set(states[0]) - second  # a norm takes away what a bias before it adds
    assert all(name.endswith(".0.bias") for name in still), still
    assert all(module.training for module in model.train().modules())


def test_what_transfer_froze_for_good_stays_so_when_the_body_is_let_go_of() -> None:
    config = SMALL.override({"transfer.train": "last", "transfer.freeze_epochs": 1})
    run = trainer(config)
    trained = {name for name, p in run.loop.model.named_parameters() if p.requires_grad}
    norms = [m for m in run.loop.model.train().modules() if isinstance(m, _BatchNorm)]
    lasting = [norm.training for norm in norms]
    body = Body.of(config.transfer, run.loop.model, num_classes=10)
    assert body is not None
    assert [body.hold(still) for still in (False, True, True)] == [False, True, False]
    held = {name for name, p in run.loop.model.named_parameters() if p.requires_grad}
    assert held == {name for name in trained if name.startswith(body.heads)} < trained
    assert body.hold(False)
    assert {name for name, p in run.loop.model.named_parameters() if p.requires_grad} == trained
    norms = [m for m in run.loop.model.train().modules() if isinstance(m, _BatchNorm)]
    assert [norm.training for norm in norms] == lasting


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"transfer.train": "head", "transfer.layer_decay": 0.5}, "so layer_decay would do"),
        ({"transfer.train": "head", "transfer.freeze_epochs": 1}, "so freeze_epochs would do"),
        ({"transfer.freeze_epochs": 5}, "leaves nothing of epochs=5"),
        ({"transfer.layer_decay": 1.5}, "at most 1"),
        ({"bn_momentum": 2.0}, "at most 1"),
    ],
)
def test_what_would_do_nothing_is_refused(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        SMALL.override(knobs)
    assert said in str(error.value)


def test_batch_norms_of_every_network_take_the_momentum() -> None:
    for model in ({}, {"model.name": "timm", "model.arch": "efficientnet_b0"}):
        run = trainer(SMALL.override({**model, "bn_momentum": 0.01}), channels=3, size=32)
        norms = [m for m in run.loop.model.modules() if isinstance(m, _BatchNorm)]
        assert {norm.momentum for norm in norms} == {0.01}
    run = trainer(SMALL)
    norms = [m for m in run.loop.model.modules() if isinstance(m, _BatchNorm)]
    assert {norm.momentum for norm in norms} == {0.1}


def test_where_no_batch_norm_is_trained_their_momentum_is_refused() -> None:
    bare = SMALL.override({"model.norm": "none", "bn_momentum": 0.01})
    with pytest.raises(
        UserError, match=r"bn_momentum: got 0\.01, and the network has no batch norm"
    ):
        trainer(bare)
    with pytest.raises(UserError, match="no batch norm that is trained"):
        trainer(SMALL.override({"transfer.train": "head", "bn_momentum": 0.01}))
    study = small_study(space=NOTHING)
    with pytest.raises(UserError, match=r"'small', baseline: bn_momentum: got 0\.01"):
        require_inputs(study.model_copy(update={"baseline": bare}), data())
    plain = bare.override({"bn_momentum": 0.0})
    knobs = {"bn_momentum": Float(low=0.01, high=0.5, log=True)}
    drawn = {"baseline": plain, "space": Space(knobs=knobs)}
    with pytest.raises(UserError, match=r"'small', space: bn_momentum: got 0\.5"):
        require_inputs(study.model_copy(update=drawn), data())
    names = Choice(options=("cnn", "alexnet"))  # of which the second has none
    drawn = {"baseline": SMALL, "space": Space(knobs={**knobs, "model.name": names})}
    with pytest.raises(UserError, match=r"'small', space, model\.name: bn_momentum: got 0\.5"):
        require_inputs(study.model_copy(update=drawn), data())


def test_the_doctor_tells_the_rates_of_all_depths() -> None:
    config = SMALL.override({**PLAIN, "transfer.layer_decay": 0.5})
    (found,) = _rates(Patient.of(config, digits(), CPU, seed=1))
    assert found.what == "rates by depth"
    assert len(found.said.split(", ")) == 8
    assert found.said.endswith(" 0.01")
    assert not list(_rates(Patient.of(SMALL, digits(), CPU, seed=1)))
