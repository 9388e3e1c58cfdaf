from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.core.checkpoints import dump_optimizer, load_optimizer
from pipeline.core.optimizers import LAMB, OPTIMIZERS, SGD, Adagrad, Adam, Lion, Optimizer, RMSprop


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_weight_decay_spares_biases_and_norms(config: Any) -> None:
    model = network()
    optimizer = config(weight_decay=0.25).build(model)
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decays == {id(p): 0.25 if p.ndim > 1 else 0.0 for p in model.parameters()}
    assert all(group["lr"] == config().lr for group in optimizer.param_groups)


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_weight_decay_shrinks_only_weights(config: Any) -> None:
    """With zero gradients nothing but the decay moves a parameter."""
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = config(lr=1e-3, weight_decay=0.1).build(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        assert (p.detach().norm() < old.norm()) == (p.ndim > 1)
        assert torch.equal(p.detach(), old) == (p.ndim <= 1)


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_fast_kernels_give_the_plain_ones_numbers(config: Any) -> None:
    fast, plain = network(), network()
    optimizers = [config(lr=0.01, weight_decay=0.01).build(model) for model in (fast, plain)]
    for group in optimizers[1].param_groups:
        group |= {"foreach": False} | ({"fused": False} if "fused" in group else {})
    assert optimizers[0].param_groups[0].get("fused") or optimizers[0].param_groups[0]["foreach"]
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for a, b in zip(fast.parameters(), plain.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [c for c in OPTIMIZERS if "momentum" in c.model_fields])
def test_momentum_is_passed_on(config: Any) -> None:
    assert {g["momentum"] for g in config(momentum=0.7).build(network()).param_groups} == {0.7}


def test_nesterov_needs_momentum() -> None:
    assert SGD(nesterov=True).build(network()).param_groups[0]["nesterov"]
    with pytest.raises(ValidationError, match="nesterov needs momentum"):
        SGD(nesterov=True, momentum=0)


@pytest.mark.parametrize("config", [c for c in OPTIMIZERS if "beta1" in c.model_fields])
def test_betas_are_passed_on(config: Any) -> None:
    assert {g["betas"] for g in config(beta1=0.7, beta2=0.8).build(network()).param_groups} == {
        (0.7, 0.8)
    }


def test_alpha_is_passed_on() -> None:
    assert {g["alpha"] for g in RMSprop(alpha=0.9).build(network()).param_groups} == {0.9}


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_json_round_trip(config: Any) -> None:
    own = config(lr=0.5, weight_decay=0.25)
    made: object = TypeAdapter(Optimizer).validate_json(own.model_dump_json())
    assert made == own
    assert config.__doc__
    assert "weight decay" in config.__doc__.lower()


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_frozen_weights_are_left_alone(config: Any) -> None:
    model = network()
    next(model.children()).requires_grad_(False)
    optimizer = config().build(model)
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert own == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_a_network_without_norms_and_biases_has_one_group(config: Any) -> None:
    model = nn.Linear(3, 2, bias=False)
    optimizer = config(weight_decay=0.5).build(model)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5]


def train(model: nn.Module, optimizer: Any, steps: range) -> None:
    for number in steps:
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (number + 1)
        x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad(set_to_none=True)
        model(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("config", OPTIMIZERS)
def test_three_steps_and_three_more_from_disk_are_six(
    config: Any, layout: torch.memory_format, tmp_path: Path
) -> None:
    def fresh(seed: int) -> tuple[nn.Module, Any]:
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3),
            nn.Flatten(),
            nn.Linear(64, 3),
        ]
        model = nn.Sequential(*layers).to(memory_format=layout)
        return model, config(weight_decay=0.01).build(model)

    straight, optimizer = fresh(0)
    train(straight, optimizer, range(6))
    half, stopped = fresh(0)
    train(half, stopped, range(3))
    tensors, scalars = dump_optimizer(stopped)
    save_file(tensors, tmp_path / "state")
    resumed, again = fresh(1)
    resumed.load_state_dict(half.state_dict())
    load_optimizer(again, load_file(tmp_path / "state"), scalars)
    assert_same(dump_optimizer(again)[0], tensors)
    train(resumed, again, range(3, 6))
    for (name, a), b in zip(
        straight.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    assert_same(dump_optimizer(again)[0], dump_optimizer(optimizer)[0])


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert value.dtype is theirs[key].dtype
        assert torch.equal(value, theirs[key]), key


def test_lamb_takes_steps_as_long_as_the_weights_and_adams_on_norms_and_biases() -> None:
    """Also without weight decay; and a gradient of any size goes in whole, as into Adam: clipping
    is done elsewhere.
    """
    model, other = network(), network()
    before = [p.detach().clone() for p in model.parameters()]
    lamb, adam = LAMB(lr=0.01, weight_decay=0).build(model), Adam(lr=0.01).build(other)
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 100.0):
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=generator) * scale
            b.grad = a.grad.clone()
        for optimizer in (lamb, adam):
            optimizer.step()
        if scale == 1:
            moves = zip(model.parameters(), before, strict=True)
            lengths = [((p - old).norm() / old.norm()).item() for p, old in moves if p.ndim > 1]
            assert lengths == pytest.approx([0.01] * 2, rel=1e-4)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        if a.ndim == 1:
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_lion_moves_every_weight_by_the_learning_rate() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = Lion(lr=0.01, weight_decay=0).build(model)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close((p - old).abs(), torch.full_like(p, 0.01), atol=1e-6, rtol=0)


def test_adagrads_steps_shrink_with_the_square_root_of_the_count() -> None:
    model = nn.Linear(2, 2, bias=False)
    optimizer = Adagrad(lr=0.1).build(model)
    lengths = []
    for _ in range(9):
        before = model.weight.detach().clone()
        model.weight.grad = torch.ones(2, 2)
        optimizer.step()
        lengths.append((model.weight - before).abs().mean().item())
    assert lengths == pytest.approx([0.1 / (i + 1) ** 0.5 for i in range(9)], rel=1e-4)
