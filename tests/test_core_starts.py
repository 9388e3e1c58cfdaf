"""The scaled sigmoid against its formula, and first draws of weights against what defines them."""

import math

import pytest
import torch
from scans import SMALL, digits
from torch import nn

from pipeline.core.blocks import ScaledSigmoid, initialise
from pipeline.core.train import train

LAYERS = (nn.Conv2d(16, 24, 3), nn.Conv2d(64, 8, 1), nn.Linear(300, 40), nn.Linear(40, 300))


def drawn(layer: nn.Module, how: str) -> torch.Tensor:
    """The weights as a matrix with a row an output."""
    torch.manual_seed(0)
    initialise(layer, how)
    assert not layer.get_parameter("bias").any()
    return layer.get_parameter("weight").detach().flatten(1)


def test_the_scaled_sigmoid_is_twice_tanh_of_the_half() -> None:
    x = torch.linspace(-20, 20, 401, dtype=torch.float64, requires_grad=True)
    y = ScaledSigmoid()(x)
    assert torch.allclose(y, 2 * torch.tanh(x / 2))
    assert torch.allclose(y, 4 / (1 + (-x).exp()) - 2)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope[200] == 1, "at 0, as tanh's"


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_an_orthogonal_draw_keeps_lengths_but_for_hes_factor(layer: nn.Module) -> None:
    weights = drawn(layer, "orthogonal")
    rows, columns = weights.shape
    product = weights @ weights.T if rows <= columns else weights.T @ weights
    assert torch.allclose(product, 2 * torch.eye(min(rows, columns)), atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_lecuns_draw_has_the_variance_of_one_over_the_inputs(layer: nn.Module) -> None:
    weights = drawn(layer, "lecun")
    error = 4 * math.sqrt(2 / weights.numel())  # four deviations of a sample's variance
    assert weights.var().item() * weights.shape[1] == pytest.approx(1, abs=error)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_truncated_normal_ends_at_two_deviations(layer: nn.Module) -> None:
    weights = drawn(layer, "trunc_normal") / 0.02
    assert weights.abs().max() <= 2
    # of a standard normal within two: 1 - 4 phi(2) / (2 Phi(2) - 1)
    inside = math.erf(math.sqrt(2))
    variance = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / inside
    assert weights.var().item() == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize("init", ["lecun", "orthogonal", "trunc_normal"])
def test_they_train_from_pictures_and_are_built_without_memory(init: str) -> None:
    knobs = {"model.init": init, "model.activation": "scaled_sigmoid", "optimizer.lr": 0.01}
    config = SMALL.override(knobs | {"epochs": 8})  # so small a draw begins slowly
    result = train(config, digits(), seed=0)
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    with torch.device("meta"):
        config.model.build(1, 8, 10)
