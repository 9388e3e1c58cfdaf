"""Blur, noise and erasing.

Noise for every pixel comes from a pool of random numbers that is drawn once per epoch; a sample
reads a run of its own of it, from a random start. So it is a function of (seed, epoch, row) alone,
the same on every device, and costs a copy instead of a draw. Two samples' runs may overlap; then
the same noise stands in them at other places.
"""

import numpy as np
from torch import Tensor
from torch.nn import functional

from pipeline.core.augmentation.boxes import TRIES, Array, first_that_fits, inside

STARTS = (
    2**20
)  # places in a pool where a run can begin; whole numbers below 2**24 are exact in float32
MAX_CHANNELS = 3
AREAS, RATIOS = (0.02, 0.33), (0.3, 3.3)  # random erasing's, as in torchvision


def half_kernels(u: Array, blur: float, size: int) -> Array:
    """[n, 1] -> Gaussian weights at 0 … r pixels [n, r + 1], of a deviation of up to `blur` of the
    side, cut off at 3.
    """
    sigma = np.maximum(1e-3, (1 - u) * blur * size)  # 1 - u is never 0
    radius = min(size - 1, int(np.ceil(3 * blur * size)))
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    return weights / (2 * weights.sum(1, keepdims=True) - 1)


def blurred(x: Tensor, kernels: Tensor) -> Tensor:
    """Two passes of shifted sums: a convolution's rounding may depend on the number of samples.
    Mirrored at the border.
    """
    radius, size = kernels.shape[1] - 1, x.shape[-1]
    for dim, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        padded = functional.pad(x, padding, mode="reflect")
        x = x * kernels[:, 0, None, None, None]
        for k in range(1, radius + 1):
            pair = padded.narrow(dim, radius - k, size) + padded.narrow(dim, radius + k, size)
            x.add_(pair.mul_(kernels[:, k, None, None, None]))
    return x


def runs(u: Array, largest: float) -> Array:
    """[n, 2] in [0, 1) -> an amount of up to `largest` and where in the pool the sample's run
    begins.
    """
    return np.stack([(1 - u[:, 0]) * largest, np.floor(u[:, 1] * STARTS)], 1)


def noisy(x: Tensor, noise: Tensor, pool: Tensor) -> Tensor:
    """Gaussian noise; `noise` [n, 2]: standard deviation as a share of 255, start in the pool of
    normal numbers.
    """
    grain = _run(pool, noise[:, 1], x[0].numel()).view(x.shape)
    return grain.mul_(255 * noise[:, 0, None, None, None]).add_(x).clamp_(0, 255)


def salted(x: Tensor, salt: Tensor, pool: Tensor) -> Tensor:
    """Whole pixels made black or white; `salt` [n, 2]: their share, start in the pool of numbers in
    [0, 1).
    """
    u = _run(pool, salt[:, 1], x[0, 0].numel()).view(len(x), 1, *x.shape[2:])
    half = salt[:, 0, None, None, None] / 2
    return x.masked_fill(u < half, 0).masked_fill_(u >= 1 - half, 255)


def _run(pool: Tensor, starts: Tensor, length: int) -> Tensor:
    return pool.unfold(0, length, 1)[starts.long()]


def holes(u: Array, probability: float, size: int) -> Array:
    """[n, 3 + 2 TRIES] -> boxes [n, 4] of random erasing; an empty one where a sample is spared."""
    areas = size**2 * (AREAS[0] + (AREAS[1] - AREAS[0]) * u[:, 3 : 3 + TRIES])
    low, high = np.log(RATIOS)
    width, height, fits = first_that_fits(
        areas, np.exp(low + (high - low) * u[:, 3 + TRIES :]), size - 1
    )
    hit = fits & (u[:, 0] < probability)
    left, top = np.floor(u[:, 1] * (size - width + 1)), np.floor(u[:, 2] * (size - height + 1))
    return np.stack([left, top, left + width, top + height], 1) * hit[:, None]


def erased(x: Tensor, boxes: Tensor) -> Tensor:
    return x * (1 - inside(boxes, x.shape[-1]))
