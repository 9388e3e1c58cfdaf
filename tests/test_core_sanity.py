import itertools
import math

import numpy as np
import pytest
import torch
from scans import digits
from torch import Tensor, nn, optim
from torch.nn import functional

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.models import CNN, ResNet18
from pipeline.core.pictures import Pictures, cut
from pipeline.doctor.curvature import Curvature, Extremes, curvature, lanczos
from pipeline.doctor.sanity import (
    BLOWN_UP,
    counted_activations,
    gradient_norms,
    initial_loss,
    lr_range_test,
    overfit_one_batch,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batches() -> list[tuple[Tensor, Tensor]]:
    """Twenty batches of 32 real scans."""
    inputs = digits(num_train=640, num_val=10)
    pictures, pixels = Pictures(inputs.train, CPU), Pixels(inputs.mean, inputs.std, device=CPU)
    order = np.random.default_rng(0).permutation(640)
    return [(pixels(images), labels) for _, images, labels in pictures.batches(order, cut(640, 32))]


def network(**knobs: object) -> nn.Module:
    torch.manual_seed(0)
    return CNN(width=8, **knobs).build(1, 8, 10)  # type: ignore[arg-type]


def adam(model: nn.Module) -> optim.Optimizer:
    return optim.Adam(model.parameters(), lr=1e-3)


def test_a_fresh_network_knows_nothing(batches: list[tuple[Tensor, Tensor]]) -> None:
    assert initial_loss(network(), *batches[0]) == pytest.approx(math.log(10), abs=0.1)
    loud = network()
    with torch.no_grad():
        loud[-1].weight.mul_(100)  # type: ignore[index, union-attr, operator]
    assert initial_loss(loud, *batches[0]) > 2 * math.log(10)


def test_one_batch_is_learned_by_heart_and_the_network_stays_as_it_was(
    batches: list[tuple[Tensor, Tensor]],
) -> None:
    model = network(dropout=0.8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = overfit_one_batch(model, *batches[0], adam)
    assert losses[-1] < 0.01
    assert losses[0] == pytest.approx(initial_loss(model, *batches[0]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_what_cannot_learn_is_seen(batches: list[tuple[Tensor, Tensor]]) -> None:
    x, labels = batches[0]
    stuck = overfit_one_batch(network(), torch.zeros_like(x), labels, adam, num_steps=50)
    assert len(stuck) == 50
    assert stuck[-1] > 1
    wild = overfit_one_batch(
        network(norm="none"), x, labels, lambda model: optim.SGD(model.parameters(), lr=1e4)
    )
    assert not math.isfinite(wild[-1])
    assert len(overfit_one_batch(network(), x, labels, adam, max_seconds=0.0)) == 1


def test_a_range_test_finds_the_rate_of_a_known_bowl() -> None:
    """On 2 |w|² gradient descent with rate r multiplies the weights by 1 - 4 r: beyond r = 1 / 2
    they grow.
    """

    class Bowl(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, -1.0]))

        def forward(self, x: Tensor) -> Tensor:
            # cross entropy of these logits is 2·|w|² for class 0
            loss = 2 * self.weight.square().sum()
            return torch.stack([torch.zeros(()), torch.log(torch.expm1(loss))]).expand(len(x), 2)

    test = lr_range_test(
        Bowl(),
        [(torch.zeros(1), torch.zeros(1, dtype=torch.long))],
        lambda m: optim.SGD(m.parameters(), lr=1.0),
    )
    assert test.lowest is not None
    assert test.suggestion is not None
    assert 0.1 < test.lowest < 3
    assert test.blows_up is not None
    assert 0.5 < test.blows_up < 10
    assert test.suggestion < test.lowest / 5
    ratios = [b / a for a, b in itertools.pairwise(test.rates)]
    assert test.rates[0] == 1e-6
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


def test_a_range_test_on_pictures(batches: list[tuple[Tensor, Tensor]]) -> None:
    test = lr_range_test(network(), batches, adam)
    assert test.suggestion is not None
    assert 1e-5 < test.suggestion < 1e-2
    assert min(test.losses) < 0.8 * test.losses[0]
    sgd = lr_range_test(
        network(norm="none"), batches, lambda m: optim.SGD(m.parameters(), lr=1.0), high=1e5
    )
    assert sgd.blows_up is not None
    assert len(sgd.rates) < 100
    assert max(sgd.losses[:-1]) <= BLOWN_UP * sgd.losses[0]
    assert len(lr_range_test(network(), batches, adam, max_seconds=0.0).rates) == 1


def test_a_range_test_keeps_what_a_group_has_more(batches: list[tuple[Tensor, Tensor]]) -> None:
    def eightfold(model: nn.Module) -> optim.Optimizer:
        return optim.Adam([{"params": [*model.parameters()], "lr_scale": 8.0}], lr=1.0)

    low = 2.0**-18
    own = lr_range_test(network(), batches, eightfold, low=low, high=1.0, num_steps=30)
    same = lr_range_test(network(), batches, adam, low=8 * low, high=8.0, num_steps=30)
    assert own.losses == same.losses
    assert [8 * rate for rate in own.rates] == list(same.rates)


def test_a_rate_that_never_lowers_the_loss_is_not_suggested(
    batches: list[tuple[Tensor, Tensor]],
) -> None:
    x, labels = batches[0]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    frozen = lr_range_test(
        model, [(x, labels)], lambda m: optim.SGD(m.parameters(), lr=1.0), low=1e-30, high=1e-29
    )
    assert frozen.suggestion is None
    assert frozen.blows_up is None


def test_gradients_of_a_sound_network_have_no_flag(batches: list[tuple[Tensor, Tensor]]) -> None:
    for model in (network(), ResNet18(width=4).build(1, 8, 10)):
        found = gradient_norms(model, *batches[0])
        assert len(found) == sum(p.ndim >= 2 for p in model.parameters())
        assert not [gradient for gradient in found if gradient.flag]


def test_gradients_are_those_of_backward(batches: list[tuple[Tensor, Tensor]]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    functional.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    (found,) = gradient_norms(model, *batches[0])
    assert (found.layer, found.flag) == ("1", "")
    assert model[1].weight.grad is not None
    assert isinstance(model[1].weight.grad, Tensor)
    assert found.rms == pytest.approx(model[1].weight.grad.square().mean().sqrt().item())


def test_vanishing_exploding_and_missing_gradients_are_named(
    batches: list[tuple[Tensor, Tensor]],
) -> None:
    x, labels = batches[0]
    deep = [layer for _ in range(12) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
    torch.manual_seed(0)
    vanishing = gradient_norms(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *deep, nn.Linear(16, 10)), x, labels
    )
    assert vanishing[0].flag == "vanishing"
    assert vanishing[-1].flag == ""
    loud = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    with torch.no_grad():
        for p in loud.parameters():
            p.mul_(500)
    assert gradient_norms(loud, x, labels)[0].flag == "exploding"
    dead = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    nn.init.constant_(dead[1].bias, -1e6)
    assert [gradient.flag for gradient in gradient_norms(dead, x, labels)] == ["none", "none"]


def test_activations_are_counted_once() -> None:
    layer = nn.Linear(8, 4)
    x = torch.randn(16, 8)
    with counted_activations() as sizes:
        y = layer(x)
        (y.square() + y.sin()).sum()
    # the input, and the layer's output that two functions keep
    assert sum(sizes) == 16 * 8 * 4 + 16 * 4 * 4


@pytest.mark.parametrize("size", [1, 5, 40])
def test_lanczos_finds_a_known_spectrum(size: int) -> None:
    values = (
        torch.linspace(-2.0, 7.0, size, dtype=torch.float64)
        if size > 1
        else torch.tensor([3.0], dtype=torch.float64)
    )
    basis, _ = torch.linalg.qr(
        torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    )
    matrix = basis @ torch.diag(values) @ basis.t()
    found = lanczos(lambda v: matrix @ v, torch.zeros(size, dtype=torch.float64), num_steps=100)
    assert found.num_steps <= size
    assert (found.bottom, found.top) == pytest.approx((values[0].item(), values[-1].item()))
    assert max(found.top_residual, found.bottom_residual) < 1e-6


def test_ritz_values_lie_inside_and_their_residuals_hold() -> None:
    values = torch.linspace(-2, 7, 300, dtype=torch.float64)
    few = [lanczos(lambda v: values * v, values, num_steps=n) for n in (3, 10, 30)]
    for found in few:
        assert values[0] <= found.bottom + 1e-9
        assert found.top <= values[-1] + 1e-9
        assert (values - found.top).abs().min() <= found.top_residual + 1e-9
        assert (values - found.bottom).abs().min() <= found.bottom_residual + 1e-9
    assert few[0].top < few[1].top < few[2].top
    assert lanczos(torch.zeros_like, values, num_steps=5) == Extremes(0.0, 0.0, 0.0, 0.0, 1)


def hessian(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The explicit matrix, row by row."""
    params = list(model.parameters())
    grads = torch.autograd.grad(
        functional.cross_entropy(model(x), labels), params, create_graph=True
    )
    flat = torch.cat([grad.flatten() for grad in grads])
    rows = [torch.autograd.grad(value, params, retain_graph=True) for value in flat]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def test_extremes_are_those_of_the_explicit_hessian(batches: list[tuple[Tensor, Tensor]]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2), nn.Tanh(), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 10)
    )
    model = model.double()
    x, labels = batches[0][0].double(), batches[0][1]
    before = model[2].running_mean.clone()  # type: ignore[union-attr, operator]
    expected = torch.linalg.eigvalsh(hessian(model.eval(), x, labels))
    found = curvature(model.train(), x, labels, num_steps=80)
    assert found.extremes.top == pytest.approx(expected[-1].item(), rel=1e-6)
    assert found.extremes.bottom == pytest.approx(expected[0].item(), rel=1e-4)
    assert expected[0] < 0
    assert found.is_saddle
    assert found.verdict.startswith("no end point")
    assert "; negative curvature; " in found.verdict
    assert f"{found.extremes.bottom:.3g}" in found.verdict
    assert model.training
    assert torch.equal(model[2].running_mean, before)  # type: ignore[union-attr, arg-type]


def test_a_convex_problem_ends_in_a_minimum_once_it_has_been_solved(
    batches: list[tuple[Tensor, Tensor]],
) -> None:
    x, labels = batches[0]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    begun = curvature(model, x, labels, num_steps=40)
    assert not begun.is_saddle
    assert begun.extremes.top > 0
    assert begun.verdict.startswith("no end point")
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200)

    def closure() -> Tensor:
        """With a little decay, without which the loss has no minimum but an infimum."""
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), labels) + 0.01 * model[1].weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    ended = Curvature(begun.extremes, 0.01 * begun.gradient_norm, begun.loss)
    assert ended.verdict.startswith("minimum")
    assert curvature(model, x, labels, num_steps=40).gain < begun.gain / 10


def test_a_saddle_is_where_training_rests_and_the_curvature_is_negative() -> None:
    assert Curvature(Extremes(10.0, -2.0, 0.0, 0.0, 30), 0.01, 0.2).verdict.startswith("saddle")
    assert Curvature(Extremes(10.0, -2.0, 0.0, 0.0, 30), 3.0, 0.2).verdict.startswith(
        "no end point"
    )


def test_noise_is_not_taken_for_a_saddle() -> None:
    def at(bottom: float) -> Curvature:
        return Curvature(Extremes(10.0, bottom, 0.0, 0.0, 30), 0.1, 0.2)

    assert not at(-1e-5).is_saddle
    assert at(-0.1).is_saddle


def test_attention_has_a_second_derivative_too() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(8, 24)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x.flatten(1, 2)).view(len(x), 8, 1, 24).transpose(1, 2).chunk(3, -1)
            return functional.scaled_dot_product_attention(q, k, v).mean((1, 2))

    found = curvature(Attention(), torch.randn(4, 1, 8, 8), torch.arange(4), num_steps=5)
    assert math.isfinite(found.extremes.top)
