"""From a config and its pictures to what is trained: network, normalisation, identity."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.core import CORE_VERSION
from pipeline.core.augmentation.pixels import Pixels, imagenet
from pipeline.core.config import TrainConfig
from pipeline.core.finished.artifact import Artifact
from pipeline.core.identity import Identity
from pipeline.core.members import build
from pipeline.core.mixed_precision import has_tf32
from pipeline.core.skips import skip_before
from pipeline.core.weights import normalisation
from pipeline.data.cache import Data
from pipeline.data.splits import Split, Splits
from pipeline.errors import UserError


@dataclass(frozen=True)
class Inputs:
    """What train() gets to see; never test. `mean` and `std` per channel, of pictures scaled to [0,
    1].
    """

    train: Split
    val: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unlabeled: Split | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Data, parts: Splits) -> "Inputs":
        """Of the whole set and what a run sees of it."""
        return cls(
            parts.train,
            parts.val,
            len(data.classes),
            data.mean,
            data.std,
            parts.unlabeled,
            data.classes,
        )


def identity(config: TrainConfig, seed: int) -> Identity:
    """What a run's checkpoints must agree with."""
    return Identity(config, seed, CORE_VERSION)


def build_model(
    config: TrainConfig,
    inputs: Inputs,
    device: torch.device,
    *,
    pretrained: bool,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """The network in the shape that `transfer` gives it, laid out to compute in `dtype`; with the
    weights it starts from if `pretrained`.
    """
    _, channels, size, _ = inputs.train.images.shape
    model = build(
        config, channels, size, inputs.num_classes, classes=inputs.classes, load=pretrained
    ).to(device)
    if config.bn_momentum:
        set_momentum(model, config.bn_momentum)
    if _channels_last(inputs, device, dtype):
        model = model.to(memory_format=torch.channels_last)
        if device.type == "cpu":
            skip_before(model)
    return model


def set_momentum(model: nn.Module, momentum: float) -> None:
    """Of every batch norm that is trained. Raises UserError where there is none."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and "train" not in vars(m)]
    if not norms:
        raise UserError(
            f"bn_momentum: got {momentum:g}, and the network has no batch norm that is trained: "
            "leave it at 0"
        )
    for norm in norms:
        norm.momentum = momentum


def describe(config: TrainConfig, inputs: Inputs) -> Artifact:
    """What the run's model file says of itself."""
    _, channels, size, _ = inputs.train.images.shape
    return Artifact(
        config, channels, size, inputs.num_classes, *_statistics(config, inputs), inputs.classes
    )


def _statistics(config: TrainConfig, inputs: Inputs) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) per channel that pictures are normalised by; grey pictures take the mean of three
    channels' values.
    """
    channels = len(inputs.mean)
    if config.normalize == "imagenet":
        return imagenet(channels)
    source = (
        normalisation(config.transfer, config.model, channels=channels)
        if config.normalize == "auto"
        else None
    )
    return source or (inputs.mean, inputs.std)


def build_pixels(
    config: TrainConfig, inputs: Inputs, device: torch.device, dtype: torch.dtype
) -> Pixels:
    """From uint8 pictures to the network's input."""
    mean, std = _statistics(config, inputs)
    last = _channels_last(inputs, device, dtype)
    return Pixels(mean, std, device=device, dtype=dtype, channels_last=last)


def _channels_last(inputs: Inputs, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the layout pays: its convolutions are faster, but not on small or grey pictures, nor
    where a GPU has no tensor cores for them.
    """
    _, channels, size, _ = inputs.train.images.shape
    pays = device.type != "cuda" or dtype != torch.float32 or has_tf32(device)
    return channels == 3 and size >= 32 and pays
