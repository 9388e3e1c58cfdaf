"""Sanity checks of a network before hours are spent on it. All work on a copy, and leave the
network as it was.

They take (model, x, labels): normalised pictures [B, C, S, S] and their classes [B], on the model's
device. Dropout is off in all of them, since it would hide what they look at.
"""

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer

MakeOptimizer = Callable[[nn.Module], Optimizer]

SMOOTHING = 0.8  # of the losses of a range test
BLOWN_UP = 3.0  # times the first loss: where a range test stops
NOISE = 1e-4  # of the first loss: what is not yet a fall
VANISHED, EXPLODED = 1e-5, 1e3


def initial_loss(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Cross entropy before the first step, in training mode (batch norm sees its batch).

    A network that knows nothing gives each of K classes 1 / K, a loss of ln K (Karpathy 2019, "A
    recipe for training neural networks").
    """
    with torch.no_grad():
        return _loss(_ready(model), x, labels).item()


def overfit_one_batch(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    optimizer: MakeOptimizer,
    *,
    num_steps: int = 200,
    target: float = 0.01,
    max_seconds: float = math.inf,
) -> list[float]:
    """Losses of step after step on one batch; ends below `target`, at a loss that is not finite, or
    at a limit.

    A network that cannot learn a handful of pictures by heart has a fault that more pictures only
    hide.
    """
    model, begin = _ready(model), time.monotonic()
    stepper, losses = optimizer(model), list[float]()
    while len(losses) < num_steps and (not losses or target <= losses[-1] < math.inf):
        losses.append(_step(model, x, labels, stepper))
        if time.monotonic() - begin > max_seconds:
            break
    return losses


@dataclass(frozen=True)
class RangeTest:
    """Learning rates that were tried, with the smoothed loss after each.

    suggestion: a tenth of the rate at which the loss falls most steeply; None where it never falls.
    lowest: the rate of the lowest loss, beyond which it rises. blows_up: the rate at which the loss
    had come to BLOWN_UP times the first, or was not finite; None where it had not.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float | None
    lowest: float | None
    blows_up: float | None


def lr_range_test(
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    optimizer: MakeOptimizer,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    num_steps: int = 100,
    max_seconds: float = math.inf,
) -> RangeTest:
    """Train on `batches` in turn while the learning rate grows exponentially from `low` to `high`
    (Smith 2017, "Cyclical learning rates for training neural networks", arXiv 1506.01186, section
    3.3).

    A group with an `lr_scale` gets that multiple of the rate. Losses are smoothed by an exponential
    mean without bias, after what made each batch harder or easier than the others before the first
    step is taken off: between batches of a few pictures it is more than learning is worth. Where
    `max_seconds` cuts the test short, what was seen counts.
    """
    model, begin = _ready(model), time.monotonic()
    at_first: list[float] = []
    for batch in batches[:num_steps]:
        with torch.no_grad():
            at_first.append(_loss(model, *batch).item())
        if time.monotonic() - begin > max_seconds / 4:
            break  # fewer batches, each more often: the test itself wants the time
    usual = sum(at_first) / len(at_first)
    harder = [loss - usual if math.isfinite(usual) else 0.0 for loss in at_first]
    stepper = optimizer(model)
    rates: list[float] = []
    losses: list[float] = []
    mean, blows_up = 0.0, None
    for step in range(num_steps):
        rate = low * (high / low) ** (step / max(1, num_steps - 1))
        for group in stepper.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        loss = _step(model, *batches[step % len(harder)], stepper)
        if not math.isfinite(loss):
            blows_up = rate
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * (loss - harder[step % len(harder)])
        rates.append(rate)
        losses.append(mean / (1 - SMOOTHING ** (step + 1)))
        if losses[-1] > BLOWN_UP * losses[0]:
            blows_up = rate
            break
        if time.monotonic() - begin > max_seconds:
            break
    lowest = rates[losses.index(min(losses))] if losses else None
    return RangeTest(tuple(rates), tuple(losses), _suggestion(rates, losses), lowest, blows_up)


def _suggestion(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """A tenth of the rate of the steepest descent, before the lowest loss; rates are evenly spaced
    in their logarithm.

    Slopes are taken over a tenth of the steps, and at least five, so that single batches do not
    decide.
    """
    if not losses:
        return None
    span = max(5, len(losses) // 10)
    lowest = losses.index(min(losses))
    falls = {end: losses[end] - losses[end - span] for end in range(span, lowest + 1)}
    steepest = min(falls, key=lambda end: falls[end], default=0)
    return (
        rates[steepest - span // 2] / 10 if falls and falls[steepest] < -NOISE * losses[0] else None
    )


@dataclass(frozen=True)
class Gradient:
    """Of one layer: root mean square of its weights' gradient, and what is wrong with it, if
    anything.
    """

    layer: str
    rms: float
    flag: str


def gradient_norms(model: nn.Module, x: Tensor, labels: Tensor) -> list[Gradient]:
    """The gradients of all kernels and matrices on one batch, from the first layer to the last.

    Flags: `vanishing` where neither the layer nor any before it gets VANISHED times what the
    largest gets (Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward
    neural networks"), `exploding` where the gradient's norm is above EXPLODED, `none` where no
    gradient arrives.
    """
    model = _ready(model)
    _loss(model, x, labels).backward()  # type: ignore[no-untyped-call]
    weights = [(name, p) for name, p in model.named_parameters() if p.requires_grad and p.ndim >= 2]
    sizes = [
        p.grad.float().square().mean().sqrt().item() if p.grad is not None else 0.0
        for _, p in weights
    ]
    found, so_far = [], 0.0
    for (name, parameter), rms in zip(weights, sizes, strict=True):
        flag, so_far = "", max(so_far, rms)
        if not math.isfinite(rms) or rms * math.sqrt(parameter.numel()) > EXPLODED:
            flag = "exploding"
        elif rms == 0:
            flag = "none"
        elif so_far < VANISHED * max(sizes):
            flag = "vanishing"
        found.append(Gradient(name.removesuffix(".weight"), rms, flag))
    return found


@contextlib.contextmanager
def counted_activations() -> Iterator[list[int]]:
    """Bytes that a forward pass inside keeps for its backward pass: appended to the list, one
    number per piece of memory.

    Parameters are kept too, as they are; memory that several operations keep counts once.
    """
    seen: dict[int, Tensor] = {}
    sizes: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen[storage.data_ptr()] = tensor  # held, so that its address is not used again
            sizes.append(storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def _ready(model: nn.Module) -> nn.Module:
    """A copy in training mode, but for dropout."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    return model


def _loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(model(x).float(), labels)


def _step(model: nn.Module, x: Tensor, labels: Tensor, optimizer: Optimizer) -> float:
    loss = _loss(model, x, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()
