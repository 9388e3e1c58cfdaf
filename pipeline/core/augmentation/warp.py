"""Geometry: all that moves a sample's pixels is one 2x3 matrix per sample, hence one interpolation.

Matrices lead from output to input coordinates, both in [-1, 1], so what is applied to the picture
first stands leftmost.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.augmentation.boxes import TRIES, Array, first_that_fits

LOG_RATIO = math.log(4 / 3)


def flip_turn_crop(u: Array, flip: float, rotation: float, crop: float, size: int) -> Array:
    """[n, 8 + 2 TRIES] in [0, 1) -> [n, 2, 3]: flip, rotation about the centre, resized crop."""
    left, top, width, height = _crops(u, crop, size)
    sign = np.where(u[:, 0] < flip, -1.0, 1.0)
    angle = (2 * u[:, 1] - 1) * math.radians(rotation)
    cos, sin = np.cos(angle), np.sin(angle)
    scale_x, scale_y = width / size, height / size
    centre_x, centre_y = (2 * left + width) / size - 1, (2 * top + height) / size - 1
    x = [sign * cos * scale_x, -sign * sin * scale_y, sign * (cos * centre_x - sin * centre_y)]
    y = [sin * scale_x, cos * scale_y, sin * centre_x + cos * centre_y]
    return np.stack([np.stack(x, 1), np.stack(y, 1)], 1)


def _crops(u: Array, crop: float, size: int) -> tuple[Array, Array, Array, Array]:
    """Left, top, width, height of RandomResizedCrop's box: the first of ten tries that fits, else
    the whole picture.
    """
    if crop == 0:
        zero = np.zeros(len(u))
        return zero, zero, zero + size, zero + size
    areas = size**2 * (1 - crop * u[:, 8 : 8 + TRIES])
    ratios = np.exp((2 * u[:, 8 + TRIES :] - 1) * LOG_RATIO)
    width, height, fits = first_that_fits(areas, ratios, size)
    width, height = np.where(fits, width, size), np.where(fits, height, size)
    return (
        np.floor(u[:, 2] * (size - width + 1)),
        np.floor(u[:, 3] * (size - height + 1)),
        width,
        height,
    )


def matrices(num: int, *entries: tuple[int, int, Array]) -> Array:
    """[num, 3, 3]: identities but for some entries (row, column, values [num])."""
    made = np.tile(np.eye(3), (num, 1, 1))
    for row, column, values in entries:
        made[:, row, column] = values
    return made


def rotations(angle: Array) -> Array:
    """About the centre, counter-clockwise, in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return matrices(len(angle), (0, 0, cos), (0, 1, -sin), (1, 0, sin), (1, 1, cos))


def shears(u: Array, degrees: float) -> Array:
    """[n, 2] -> a shear along x and y by angles of at most `degrees`, about the centre, in
    torchvision's convention.
    """
    x, y = np.tan((2 * u - 1) * math.radians(degrees)).T
    return matrices(len(u), (0, 0, 1 + x * y), (0, 1, x), (1, 0, y))


def zooms(u: Array, scale: float) -> Array:
    """[n, 1] -> enlarged about the centre by a factor of 1 ± `scale`."""
    factor = 1 / (1 + (2 * u[:, 0] - 1) * scale)
    return matrices(len(u), (0, 0, factor), (1, 1, factor))


def shifts(pixels: Array, size: int) -> Array:
    """[n, 2]: pixels to the right and down."""
    return matrices(len(pixels), (0, 2, -2 * pixels[:, 0] / size), (1, 2, -2 * pixels[:, 1] / size))


def resample(x: Tensor, warp: Tensor) -> Tensor:
    """Float [n, C, S, S] moved by [n, 2, 3]; pixels from outside the picture are black."""
    grid = _grid(warp, x.shape[-1])
    return functional.grid_sample(
        x, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _grid(warp: Tensor, size: int) -> Tensor:
    """[n, 2, 3] -> sampling positions [n, S, S, 2], by broadcasting; (x, y) pairs are added as
    complex numbers.

    Both are for the CPU: `affine_grid` is twenty times slower there, and loops over pairs are not
    vectorised.
    """
    centres = (2 * torch.arange(size, dtype=torch.float32, device=warp.device) + 1) / size - 1
    across = warp[:, :, 0, None] * centres
    down = warp[:, :, 1, None] * centres + warp[:, :, 2, None]
    columns, rows = torch.complex(across[:, 0], across[:, 1]), torch.complex(down[:, 0], down[:, 1])
    return torch.view_as_real(columns[:, None, :] + rows[:, :, None])
