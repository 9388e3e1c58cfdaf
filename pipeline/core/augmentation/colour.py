"""Colour jitter and grayscale: brightness, contrast and saturation are one linear map per sample;
hue turns in HSV.
"""

import numpy as np
import torch
from torch import Tensor

from pipeline.core.augmentation.boxes import Array

GREY = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as in torchvision


def factors(u: Array, jitter: float) -> Array:
    """[n, 4] in [0, 1) -> factors in 1 ± jitter and a turn in ± jitter (at most half a circle)."""
    spread = (2 * u - 1) * np.array([jitter, jitter, jitter, min(0.5, jitter)])
    return spread + np.array([1.0, 1.0, 1.0, 0.0])


def luma(x: Tensor) -> Tensor:
    """[n, 3 or 1, S, S] -> the grey picture [n, S, S]; of one channel it is that channel itself,
    not a copy.
    """
    if x.shape[1] != 3:
        return x[:, 0]
    return x[:, 0] * GREY[0] + x[:, 1] * GREY[1] + x[:, 2] * GREY[2]


def mean_of(grey: Tensor) -> Tensor:
    """[n, S, S] -> the mean [n, 1, 1]; summed so that a sample's rounding does not depend on the
    number of samples.
    """
    return grey.sum(2).sum(1)[:, None, None] / grey[0].numel()


def jittered(x: Tensor, colour: Tensor) -> Tensor:
    """`colour` [n, 3 or 4]: factors of brightness, contrast, saturation, and the hue's turn in full
    circles.
    """
    x = _recolour(x, colour)
    if x.shape[1] == 3 and colour.shape[1] == 4:
        x = _turn_hue(x, colour[:, 3, None, None])
    return x


def _recolour(x: Tensor, colour: Tensor) -> Tensor:
    """Brightness, contrast and saturation of torchvision's ColorJitter; they commute but for
    clamping.

    With b, c, s the factors, g the grey picture and m its mean: b·c·s·x + b·c·(1 - s)·g + b·(1 -
    c)·m. Written with products and sums only: a matrix product's rounding may depend on the number
    of samples.
    """
    brightness, contrast, saturation = (colour[:, k, None, None] for k in range(3))
    grey = luma(x)
    both = brightness * contrast
    offset = brightness * (1 - contrast) * mean_of(grey)
    if x.shape[1] != 3:
        return (x * both[:, None] + offset[:, None]).clamp_(0, 255)
    grey = grey.mul_(both * (1 - saturation)).add_(offset)
    return (x * (both * saturation)[:, None]).add_(grey[:, None]).clamp_(0, 255)


def _turn_hue(x: Tensor, turn: Tensor) -> Tensor:
    """The HSV hue turned by `turn` [n, 1, 1] full circles; value and saturation stay."""
    red, green, blue = x.unbind(1)
    low, high = x.amin(1), x.amax(1)
    chroma = high - low
    # weights 0 and 1 instead of `torch.where`, which is not vectorised on a CPU; blue's is 1 less
    # the other two
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
