"""The rules themselves, of configs and what they build."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.core.augmentation.config import Augmentation
from pipeline.core.augmentation.pixels import Pixels, draw
from pipeline.core.checkpoints import BEST, epochs
from pipeline.core.config import TrainConfig
from pipeline.core.losses import Criterion
from pipeline.core.models.base import Network
from pipeline.core.train import Inputs, train
from pipeline.counts import plural
from pipeline.testing.scans import numbers


def survives_json(config: TrainConfig) -> None:
    """What the ledger keeps of a config gives it back."""
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config, (
        "the config that is read back from its JSON is another one"
    )


def gives_logits(network: Network, channels: int, size: int, num_classes: int) -> None:
    """Of pictures of this shape; on the meta device where the caller is in it."""
    model = network.build(channels, size, num_classes).eval()
    shape = tuple(model(torch.zeros(2, channels, size, size)).shape)
    assert shape == (2, num_classes), (
        f"of 2 pictures [{channels}, {size}, {size}] and {plural(num_classes, 'class', 'classes')} "
        f"it gives {shape}"
    )


def gives_gradients(model: nn.Module, x: Tensor) -> None:
    """Every parameter has a finite gradient."""
    model(x).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, f"{name} has no gradient: nothing depends on it"
        assert torch.isfinite(p.grad).all(), f"the gradient of {name} is not finite"


def seed_decides(build: Callable[[], nn.Module]) -> None:
    """Weights are drawn from torch's global seed, and from nothing else."""

    def state(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build().parameters())

    assert torch.equal(state(1), state(1)), "built twice with one seed, its weights differ"
    assert not torch.equal(state(1), state(2)), "its weights do not depend on torch's seed"


def goes_on(config: TrainConfig, inputs: Inputs, folder: Path) -> list[float]:
    """A run that crashed in between ends with the same numbers and the same weights; returns its
    training losses.
    """
    straight, crashed = folder / "straight", folder / "crashed"
    middle = config.epochs // 2

    def copy(epoch: dict[str, float]) -> None:
        if epoch["epoch"] == middle:
            shutil.copytree(straight, crashed)

    first = train(config, inputs, seed=1, folder=straight, on_epoch=copy)
    again = train(config, inputs, seed=1, folder=crashed)
    assert numbers(again) == numbers(first), "after a crash the numbers are others"
    assert _state(crashed) == _state(straight), "after a crash the weights are others"
    return [epoch["train_loss"] for epoch in first.history]


def _state(folder: Path) -> dict[str, bytes]:
    newest = epochs(folder)[-1]
    files = [path for path in sorted(newest.glob("*.safetensors")) if path.name != BEST]
    tensors = [(k, v) for path in files for k, v in load_file(path).items()]
    return {name: value.contiguous().numpy().tobytes() for name, value in tensors}


def is_off_at_strength_0(config: TrainConfig, inputs: Inputs) -> None:
    """An augmentation of strength 0 is bitwise none."""
    plain = config.override({"augment": {"name": "notes", "strength": 0.0}})
    off = config.override({"augment.strength": 0.0})
    assert numbers(train(off, inputs, seed=0)) == numbers(train(plain, inputs, seed=0)), (
        "at strength 0 it changes the training"
    )


def draws_by_seed(augment: Augmentation, images: Tensor) -> None:
    """The same pictures for one seed and epoch, others for the next; the shape is kept."""
    channels, size = images.shape[1], images.shape[-1]
    pixels = Pixels((0.0,) * channels, (1.0,) * channels, device=torch.device("cpu"))

    def seen(seed: int, epoch: int) -> Tensor:
        found = draw(augment, seed=seed, epoch=epoch, num_samples=len(images), size=size)
        assert found is not None, "nothing is on"
        return pixels(images, found)

    one = seen(1, 1)
    assert torch.isfinite(one).all(), "its pictures are not finite"
    assert torch.equal(one, seen(1, 1)), "one seed and epoch give different pictures"
    assert not torch.equal(one, seen(1, 2)), "each epoch has the same pictures"
    assert not torch.equal(one, seen(2, 1)), "each seed has the same pictures"


def is_a_loss(loss: Criterion, num_classes: int = 5) -> None:
    """One finite number of labels and of shares, the same twice, with a gradient, and lower where
    the answers are right.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(8) % num_classes
    shares = nn.functional.one_hot(labels, num_classes).float()
    logits = torch.randn(8, num_classes, generator=generator, requires_grad=True)
    for targets in (labels, shares):
        value = loss.value(logits, targets)
        assert value.ndim == 0, f"it gives shape {tuple(value.shape)}, not one number"
        assert torch.isfinite(value), f"it gives {value.item()}"
        assert torch.equal(value, loss.value(logits, targets)), "called twice, it differs"
        value.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all(), "its gradient is not finite"
    right, wrong = 4 * shares, 4 * shares.roll(1, 1)
    assert loss.value(right, labels) < loss.value(wrong, labels), "right answers are no better"


def is_a_schedule(factors: Callable[[float], float], steps: Iterable[float]) -> None:
    """Numbers from 0 on, the same for the same progress."""
    places = list(steps)
    found = [factors(place) for place in places]
    assert all(0 <= factor < float("inf") for factor in found), f"factors {found}"
    assert found == [factors(place) for place in places], "called twice, it differs"
    assert max(found) > 0, "all factors are 0: nothing would be learned"
