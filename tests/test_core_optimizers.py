import itertools
import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from pipeline.core.optimizers import OPTIMIZERS, SGD
from pipeline.core.schedules import SCHEDULES, Constant, Cosine


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_weight_decay_spares_biases_and_norms(config: Any) -> None:
    model = network()
    optimizer = config(weight_decay=0.25).build(model)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
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


SHAPES = [Constant(), Cosine(), Cosine(warmup=0), Cosine(warmup=0.3, floor=0.1), Cosine(warmup=0.99)]


def test_every_schedule_is_looked_at() -> None:
    assert {type(s) for s in SHAPES} == set(SCHEDULES)


@pytest.mark.parametrize("schedule", SHAPES)
@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_factors_are_between_0_and_1_and_positive_at_first(schedule: Constant | Cosine, total: int) -> None:
    factors = [schedule.factor(step, total) for step in range(total)]
    assert all(0 <= f <= 1 for f in factors)
    assert factors[0] > 0


@pytest.mark.parametrize("schedule", SHAPES)
def test_factors_have_no_jumps(schedule: Constant | Cosine) -> None:
    factors = [schedule.factor(step, 10_000) for step in range(10_001)]
    steepest = max(math.pi / 2 / (1 - getattr(schedule, "warmup", 0)), 1 / max(1e-9, getattr(schedule, "warmup", 1)))
    assert max(abs(a - b) for a, b in itertools.pairwise(factors)) <= 1.1 * steepest / 10_000


def test_cosine_warms_up_linearly_peaks_at_one_and_ends_at_the_floor() -> None:
    schedule = Cosine(warmup=0.1, floor=0.2)
    assert [schedule.factor(step, 100) for step in (0, 4, 9)] == pytest.approx([1 / 11, 5 / 11, 10 / 11])
    assert schedule.factor(10, 100) == 1
    assert schedule.factor(55, 100) == pytest.approx(0.6)
    assert schedule.factor(100, 100) == pytest.approx(0.2)
    falling = [schedule.factor(step, 100) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("schedule", SHAPES)
def test_the_shape_scales_with_the_total(schedule: Constant | Cosine) -> None:
    assert schedule.factor(5_000, 10_000) == pytest.approx(schedule.factor(500, 1_000), abs=1e-2)
