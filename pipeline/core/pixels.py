"""From uint8 pictures to the network's input: augmentation per sample, carried out in batch, and normalisation.

Flip, rotation and resized crop are one 2x3 warp per sample, hence one interpolation; brightness, contrast and saturation
are one linear map of the colours per sample; hue is turned in HSV without branches. The random numbers are drawn for a
whole epoch, so that what happens to a sample depends on (seed, epoch, its row) alone: not on batch size or device.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.augment import Amounts, Augment
from pipeline.core.streams import stream

Array = npt.NDArray[np.float64]

GREY = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as in torchvision
TRIES = 10
LOG_RATIO = math.log(4 / 3)
BLOCK_ROWS = 65_536
CHUNK_VALUES = 4 * 3 * 128 * 128  # float32 values whose intermediate results stay in a core's cache


@dataclass(frozen=True)
class Draws:
    """What happens to each of n samples; a part that is off is None.

    warp [n, 2, 3]: output -> input coordinates in [-1, 1]. flip [n]: bool, used where there is no warp.
    colour [n, 4]: factors of brightness, contrast, saturation, and the hue's turn in full circles.
    """

    warp: Tensor | None
    flip: Tensor | None
    colour: Tensor | None

    def rows(self, rows: Tensor | slice) -> "Draws":
        """The draws of some samples."""
        return Draws(*(None if part is None else part[rows] for part in (self.warp, self.flip, self.colour)))

    def to(self, device: torch.device) -> "Draws":
        parts = (self.warp, self.flip, self.colour)
        return Draws(*(None if part is None else part.to(device, non_blocking=True) for part in parts))


def draw(augment: Augment, *, seed: int, epoch: int, num_samples: int, size: int) -> Draws | None:
    """The draws of an epoch, one row per sample of the train split; None where nothing is on.

    A part's random numbers have columns of their own: switching one part on or off leaves the others' draws alone.
    """
    amounts = augment.amounts()
    if not any(amounts):
        return None
    generator = stream(seed, "augment", epoch)
    warps, flips, colours = [], [], []
    for start in range(0, num_samples, BLOCK_ROWS):
        table = generator.random((min(BLOCK_ROWS, num_samples - start), 8 + 2 * TRIES), dtype=np.float32)
        u = table.astype(np.float64)
        flips.append(u[:, 0] < amounts.flip)
        warps.append(_warp(u, amounts, size))
        colours.append(_factors(u[:, 4:8], amounts.jitter))
    warped = amounts.rotation > 0 or amounts.crop > 0
    return Draws(
        warp=_tensor(warps) if warped else None,
        flip=torch.from_numpy(np.concatenate(flips)) if amounts.flip > 0 and not warped else None,
        colour=_tensor(colours) if amounts.jitter > 0 else None,
    )


def _tensor(blocks: list[Array]) -> Tensor:
    return torch.from_numpy(np.concatenate(blocks).astype(np.float32))


def _factors(u: Array, jitter: float) -> Array:
    """[n, 4] in [0, 1) -> factors in 1 ± jitter and a turn in ± jitter (at most half a circle)."""
    spread = (2 * u - 1) * np.array([jitter, jitter, jitter, min(0.5, jitter)])
    return spread + np.array([1.0, 1.0, 1.0, 0.0])


def _warp(u: Array, amounts: Amounts, size: int) -> Array:
    """[n, 2, 3]: crop first, then rotation about the centre, then flip (output -> input is the way back)."""
    left, top, width, height = _boxes(u, amounts.crop, size)
    sign = np.where(u[:, 0] < amounts.flip, -1.0, 1.0)
    angle = (2 * u[:, 1] - 1) * math.radians(amounts.rotation)
    cos, sin = np.cos(angle), np.sin(angle)
    scale_x, scale_y = width / size, height / size
    centre_x, centre_y = (2 * left + width) / size - 1, (2 * top + height) / size - 1
    x = [sign * cos * scale_x, -sign * sin * scale_y, sign * (cos * centre_x - sin * centre_y)]
    y = [sin * scale_x, cos * scale_y, sin * centre_x + cos * centre_y]
    return np.stack([np.stack(x, 1), np.stack(y, 1)], 1)


def _boxes(u: Array, crop: float, size: int) -> tuple[Array, Array, Array, Array]:
    """Left, top, width, height of RandomResizedCrop's box: the first of ten tries that fits, else the whole picture."""
    if crop == 0:
        zero = np.zeros(len(u))
        return zero, zero, zero + size, zero + size
    area = size**2 * (1 - crop * u[:, 8 : 8 + TRIES])
    ratio = np.exp((2 * u[:, 8 + TRIES :] - 1) * LOG_RATIO)
    widths, heights = np.round(np.sqrt(area * ratio)), np.round(np.sqrt(area / ratio))
    fits = (widths >= 1) & (widths <= size) & (heights >= 1) & (heights <= size)
    rows, first = np.arange(len(u)), fits.argmax(1)
    width = np.where(fits.any(1), widths[rows, first], size)
    height = np.where(fits.any(1), heights[rows, first], size)
    return np.floor(u[:, 2] * (size - width + 1)), np.floor(u[:, 3] * (size - height + 1)), width, height


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
        out = torch.empty(images.shape, dtype=self.dtype, device=images.device, memory_format=self.format)
        values = images[0].numel()
        chunk = len(images) if images.is_cuda else max(1, CHUNK_VALUES // values)
        for start in range(0, len(images), chunk):
            part = slice(start, start + chunk)
            x = images[part].to(torch.float32)
            if draws is not None:
                x = augmented(x, draws.rows(part))
            # two steps, dtype and then layout: one that does both is slower
            out[part] = x.mul_(self.scale).add_(self.shift).to(self.dtype)
        return out


def augmented(x: Tensor, draws: Draws) -> Tensor:
    """Float [n, C, S, S] in [0, 255] -> the same, augmented; pixels from outside the picture are black."""
    if draws.warp is not None:
        grid = _grid(draws.warp, x.shape[-1])
        x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    elif draws.flip is not None:
        x = torch.where(draws.flip[:, None, None, None], x.flip(3), x)
    if draws.colour is not None:
        x = _recolour(x, draws.colour)
        if x.shape[1] == 3:
            x = _turn_hue(x, draws.colour[:, 3, None, None])
    return x


def _grid(warp: Tensor, size: int) -> Tensor:
    """[n, 2, 3] -> sampling positions [n, S, S, 2], by broadcasting; (x, y) pairs are added as complex numbers.

    Both are for the CPU: `affine_grid` is twenty times slower there, and loops over pairs are not vectorised.
    """
    centres = (2 * torch.arange(size, dtype=torch.float32, device=warp.device) + 1) / size - 1
    across = warp[:, :, 0, None] * centres
    down = warp[:, :, 1, None] * centres + warp[:, :, 2, None]
    columns, rows = torch.complex(across[:, 0], across[:, 1]), torch.complex(down[:, 0], down[:, 1])
    return torch.view_as_real(columns[:, None, :] + rows[:, :, None])


def _recolour(x: Tensor, colour: Tensor) -> Tensor:
    """Brightness, contrast and saturation of torchvision's ColorJitter; they commute but for clamping.

    With b, c, s the factors, g the grey picture and m its mean: b·c·s·x + b·c·(1 - s)·g + b·(1 - c)·m. Written with
    products and sums only: a matrix product's rounding may depend on the number of samples.
    """
    brightness, contrast, saturation = (colour[:, k, None, None] for k in range(3))
    grey = x[:, 0]
    if x.shape[1] == 3:
        grey = x[:, 0] * GREY[0] + x[:, 1] * GREY[1] + x[:, 2] * GREY[2]
    mean = grey.sum(2).sum(1)[:, None, None] / grey[0].numel()
    both = brightness * contrast
    offset = brightness * (1 - contrast) * mean
    if x.shape[1] != 3:
        return (x * both[:, None] + offset[:, None]).clamp_(0, 255)
    grey = grey.mul_(both * (1 - saturation)).add_(offset)
    return (x * (both * saturation)[:, None]).add_(grey[:, None]).clamp_(0, 255)


def _turn_hue(x: Tensor, turn: Tensor) -> Tensor:
    """The HSV hue turned by `turn` [n, 1, 1] full circles; value and saturation stay."""
    red, green, blue = x.unbind(1)
    low, high = x.amin(1), x.amax(1)
    chroma = high - low
    # weights 0 and 1 instead of `torch.where`, which is not vectorised on a CPU; blue's is 1 less the other two
    is_red = (red - high).sign_().add_(1)
    is_green = (green - high).sign_().add_(1).mul_(1 - is_red)
    if_blue = red - green
    if_red = (green - blue).sub_(if_blue)
    if_green = (blue - red).sub_(if_blue)
    sixths = if_blue.add_(if_red.mul_(is_red)).add_(if_green.mul_(is_green))
    sixths.mul_(chroma.clamp(min=1e-6).reciprocal_()).add_(4 + 6 * turn)
    sixths.sub_(is_red, alpha=4).sub_(is_green, alpha=2)
    sixths.sub_((sixths * (1 / 6)).floor_(), alpha=6)
    out = torch.empty_like(x)
    torch.sub(sixths, 3, out=out[:, 0]).abs_().sub_(1)
    torch.sub(sixths, 2, out=out[:, 1]).abs_().neg_().add_(2)
    torch.sub(sixths, 4, out=out[:, 2]).abs_().neg_().add_(2)
    return out.clamp_(0, 1).mul_(chroma[:, None]).add_(low[:, None])
