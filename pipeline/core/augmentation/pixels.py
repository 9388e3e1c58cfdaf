"""From uint8 pictures to the network's input: augmentation per sample, carried out in batch, and
normalisation.
"""

import torch
from torch import Tensor

from pipeline.core.augmentation.colour import jittered
from pipeline.core.augmentation.draws import Draws, draw
from pipeline.core.augmentation.noise import blurred, erased, noisy, salted
from pipeline.core.augmentation.operations import operated
from pipeline.core.augmentation.warp import resample

__all__ = ["IMAGENET", "Draws", "Pixels", "augmented", "draw", "imagenet"]

CHUNK_VALUES = 4 * 3 * 128 * 128  # float32 values whose intermediate results stay in a core's cache
IMAGENET = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # mean and deviation of red, green, blue, as in torchvision


def imagenet(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """ImageNet's mean and deviation per channel; for grey pictures the mean of the three."""
    if channels == 3:
        return IMAGENET
    mean, std = ((sum(values) / 3,) * channels for values in IMAGENET)
    return mean, std


class Pixels:
    """uint8 [B, C, S, S] -> augmented and normalised [B, C, S, S] of `dtype` on `device`."""

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        """`mean` and `std` per channel, of pictures scaled to [0, 1]."""
        scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float32)
        self.scale = scale.view(-1, 1, 1).to(device)
        self.shift = shift.view(-1, 1, 1).to(device)
        self.dtype = dtype
        self.format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor, draws: Draws | None = None) -> Tensor:
        """On a CPU in chunks that stay in cache, which changes no bit of the result."""
        out = torch.empty(
            images.shape, dtype=self.dtype, device=images.device, memory_format=self.format
        )
        values = images[0].numel()
        chunk = len(images) if images.is_cuda else max(1, CHUNK_VALUES // values)
        for start in range(0, len(images), chunk):
            part = slice(start, start + chunk)
            x = images[part].to(torch.float32)
            if draws is not None:
                own = draws.rows(part)
                x = _by_the_users(augmented(x, own), own)
            # two steps, dtype and then layout: one that does both is slower
            out[part] = x.mul_(self.scale).add_(self.shift).to(self.dtype)
        return out


def augmented(x: Tensor, draws: Draws) -> Tensor:
    """Float [n, C, S, S] in [0, 255] -> the same, augmented, never in place; mixing is done later,
    with the labels.
    """
    if draws.warp is not None:
        x = resample(x, draws.warp)
    for dim, flip in ((3, draws.flip), (2, draws.upend)):
        if flip is not None:
            x = torch.where(flip[:, None, None, None], x.flip(dim), x)
    if draws.colour is not None:
        x = jittered(x, draws.colour)
    if draws.codes is not None and draws.arguments is not None:
        x = operated(x, draws.codes, draws.arguments)
    if draws.blur is not None:
        x = blurred(x, draws.blur)
    if draws.noise is not None and draws.normal is not None:
        x = noisy(x, draws.noise, draws.normal)
    if draws.salt is not None and draws.uniform is not None:
        x = salted(x, draws.salt, draws.uniform)
    return x if draws.erase is None else erased(x, draws.erase)


def _by_the_users(x: Tensor, draws: Draws) -> Tensor:
    """After all operations of ours."""
    if draws.own is None or draws.seeds is None:
        return x
    return draws.own.applied(x, int(draws.seeds[0]))
