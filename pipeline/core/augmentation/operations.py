"""The operations that TrivialAugment and RandAugment pick from, with an operation and a level of
its own for every sample.

Geometric ones become a factor of the sample's warp; the others are carried out here, on float
pictures in [0, 255]. Those that look at single grey levels (posterize, solarize, equalize) round
first, as pictures of bytes would be.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.core.augmentation.boxes import Array
from pipeline.core.augmentation.colour import luma, mean_of
from pipeline.core.augmentation.config import Policy
from pipeline.core.augmentation.warp import matrices, rotations, shifts

Codes = npt.NDArray[np.int64]

STEPS = 30  # levels are 0/30 … 30/30


def _blend(x: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    return (x * factor + other * (1 - factor)).clamp_(0, 255)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, 0.0, factor)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, mean_of(luma(x))[:, None], factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, luma(x)[:, None], factor) if x.shape[1] == 3 else x


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """Against a picture smoothed by a 3x3 kernel of 1 and, in the middle, 5; the border stays."""
    across = x[:, :, :, :-2] + x[:, :, :, 1:-1] + x[:, :, :, 2:]
    around = across[:, :, :-2] + across[:, :, 1:-1] + across[:, :, 2:]
    smooth = x.clone()
    smooth[:, :, 1:-1, 1:-1] = (around + 4 * x[:, :, 1:-1, 1:-1]) / 13
    return _blend(x, smooth, factor)


def posterize(x: Tensor, quantum: Tensor) -> Tensor:
    return (x.round() / quantum).floor_() * quantum


def solarize(x: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(x.round() >= threshold, 255 - x, x)


def autocontrast(x: Tensor, _: Tensor) -> Tensor:
    """Every channel stretched to 0 … 255; a channel of one value stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    spread = high - low
    return torch.where(spread > 0, (x - low) * (255 / spread.clamp(min=1e-6)), x)


def equalize(x: Tensor, _: Tensor) -> Tensor:
    """Every channel's histogram made even, by the look-up table of PIL's ImageOps."""
    levels = x.round().long().flatten(2).flatten(0, 1)
    planes = len(levels)
    flat = levels + 256 * torch.arange(planes, device=x.device)[:, None]
    counts = torch.zeros(planes * 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(0, flat.flatten(), torch.ones_like(flat).flatten())
    counts = counts.view(planes, 256)
    last = counts.gather(1, levels.amax(1, keepdim=True))
    step = (levels.shape[1] - last) // 255
    before = counts.cumsum(1) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp_(0, 255)
    even = table.gather(1, levels).view(x.shape).to(x.dtype)
    return torch.where((step > 0).view(*x.shape[:2], 1, 1), even, x)


# the published lists, identity first
GEOMETRY = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
COLOURS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": brightness,
    "saturation": saturation,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}
NAMES = ("identity", *GEOMETRY, *COLOURS)


def pick(u: Array, policy: Policy, size: int) -> tuple[Codes, Array, Array]:
    """One operation for each of n samples, from [n, 4] in [0, 1): its code (an index of NAMES),
    argument and warp [n, 3, 3].

    Operations that have no level are done with a probability of `strength`, where it is below 1.
    """
    codes = np.floor(u[:, 0] * len(NAMES)).astype(np.int64)
    level = np.full(len(u), policy.level)
    if policy.level is None:
        level = np.minimum(1.0, policy.strength * np.floor(u[:, 1] * (STEPS + 1)) / STEPS)
    signed = np.where(u[:, 2] < 0.5, -level, level)
    spared = (codes >= NAMES.index("autocontrast")) & (u[:, 3] >= policy.strength)
    arguments = 1 + signed * policy.enhance
    posterizes, solarizes = (codes == NAMES.index(name) for name in ("posterize", "solarize"))
    arguments[posterizes] = 2.0 ** np.round(level[posterizes] * policy.bits)
    arguments[solarizes] = 256 * (1 - level[solarizes])
    return np.where(spared, 0, codes), arguments, _moves(codes, signed, policy, size)


def _moves(codes: Codes, signed: Array, policy: Policy, size: int) -> Array:
    """Shears about the upper left corner and shifts by whole pixels, as published; identities for
    other operations.
    """

    def only(name: str) -> Array:
        return np.where(codes == NAMES.index(name), signed, 0.0)

    across, down = only("shear_x") * policy.shear, only("shear_y") * policy.shear
    moves = matrices(len(codes), (0, 1, across), (0, 2, across), (1, 0, down), (1, 2, down))
    furthest = min(policy.translate[0] * size, policy.translate[1])
    pixels = np.trunc(np.stack([only("translate_x"), only("translate_y")], 1) * furthest)
    return moves @ shifts(pixels, size) @ rotations(np.radians(only("rotate") * policy.rotation))


def operated(x: Tensor, codes: Tensor, arguments: Tensor) -> Tensor:
    """Carry out `codes` [n, K] with `arguments` [n, K], one column after the other; never in
    place.
    """
    carry_out = masked if x.is_cuda else grouped
    for k in range(codes.shape[1]):
        x = carry_out(x, codes[:, k], arguments[:, k, None, None, None])
    return x


def grouped(x: Tensor, code: Tensor, argument: Tensor) -> Tensor:
    """Every operation on its own samples."""
    out = x.clone()
    for number in sorted(set(code.tolist())):
        if NAMES[number] in COLOURS:
            rows = (code == number).nonzero().flatten()
            out[rows] = COLOURS[NAMES[number]](x[rows], argument[rows])
    return out


def masked(x: Tensor, code: Tensor, argument: Tensor) -> Tensor:
    """Every operation on all samples, and a choice: for a GPU, because to look whose turn it is
    would wait for it.
    """
    out = x
    for number, name in enumerate(NAMES):
        if name in COLOURS:
            out = torch.where(
                (code == number)[:, None, None, None], COLOURS[name](x, argument), out
            )
    return out
