"""Boxes in pictures, one per sample: for crops, erasing and cutmix. A box is left, top, right,
bottom in pixels.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float64]

TRIES = 10  # for a box of random area and shape that fits, as in torchvision


def first_that_fits(
    areas: Array, ratios: Array, largest: int
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """[n, TRIES] areas and ratios of width to height -> width [n], height [n], and whether any try
    fitted [n].
    """
    widths, heights = np.round(np.sqrt(areas * ratios)), np.round(np.sqrt(areas / ratios))
    fits = np.asarray((widths >= 1) & (widths <= largest) & (heights >= 1) & (heights <= largest))
    rows, first = np.arange(len(areas)), fits.argmax(1)
    return widths[rows, first], heights[rows, first], fits[rows, first]


def inside(boxes: Tensor, size: int) -> Tensor:
    """[n, 4] -> float [n, 1, size, size]: 1 in the box, 0 outside; right and bottom are outside."""
    place = torch.arange(size, dtype=torch.float32, device=boxes.device)
    left, top, right, bottom = (boxes[:, k, None] for k in range(4))
    columns, rows = (
        (place >= low) & (place < high) for low, high in ((left, right), (top, bottom))
    )
    return (rows[:, None, :, None] & columns[:, None, None, :]).to(torch.float32)


def partners(share: Array, centres: Array, size: int) -> Array:
    """Cutmix: a box about [n, 2] in [0, 1) that leaves the sample `share` [n], cut at the border.

    Returns [n, 6]: what the sample keeps of its area, hence of its label; of a pixel outside the
    box (all); the box.
    """
    half = np.floor(size * np.sqrt(1 - share))[:, None] / 2
    low, high = (np.clip(np.floor(centres * size + side), 0, size) for side in (-half, half))
    width, height = (high - low).T
    kept = 1 - width * height / size**2
    return np.column_stack([kept, np.ones_like(kept), low, high])
