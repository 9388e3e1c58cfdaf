"""Draws: all random numbers of an epoch, so that what happens to a sample depends on (seed, epoch,
its row) alone.

Not on batch size, order, device or workers. Every part reads numbers of its own, so switching one
on or off leaves the others' draws alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipeline.core.augmentation.boxes import TRIES, Array, partners
from pipeline.core.augmentation.colour import factors
from pipeline.core.augmentation.config import Amounts, Augmentation, PlainAugmentation
from pipeline.core.augmentation.noise import MAX_CHANNELS, STARTS, half_kernels, holes, runs
from pipeline.core.augmentation.operations import pick
from pipeline.core.augmentation.warp import flip_turn_crop, shears, shifts, zooms
from pipeline.core.streams import stream

BLOCK_ROWS = 65_536

Part = Literal[
    "flip_vertical", "shear", "translate", "scale", "pad_crop", "grayscale", "blur", "noise",
    "salt_pepper", "erasing", "mixing", "mixup", "cutmix", "normal", "uniform",
    "operation 0", "operation 1", "operation 2", "operation 3", "own",
]  # fmt: skip
JUMPS: dict[Part, int] = {
    "flip_vertical": 1, "shear": 2, "translate": 3, "scale": 4, "pad_crop": 5, "grayscale": 6,
    "blur": 7, "noise": 8, "salt_pepper": 9, "erasing": 10, "mixing": 11, "mixup": 12,
    "cutmix": 13, "normal": 14, "uniform": 15,
    "operation 0": 16, "operation 1": 17, "operation 2": 18, "operation 3": 19, "own": 20,
}  # fmt: skip
SLOTS: tuple[Part, ...] = ("operation 0", "operation 1", "operation 2", "operation 3")


@dataclass(frozen=True)
class Draws:
    """What happens to each of n samples; a part that is off is None.

    warp [n, 2, 3]: output -> input coordinates in [-1, 1]. flip, upend [n]: bool, used where there
    is no warp. colour [n, 3 or 4]: factors of brightness, contrast, saturation, and the hue's turn
    in full circles. codes, arguments [n, K]: the picked operations. blur [n, r + 1]: half a kernel.
    noise, salt [n, 2]: amount, and start in the pool `normal` or `uniform`, which all samples
    share. erase [n, 4]: left, top, right, bottom. own: an operation of the user's, and its seeds
    [n]. mix [n, 6]: the sample's share of the label, its
    share of a pixel outside the box, and the partner's box.
    """

    warp: Tensor | None = None
    flip: Tensor | None = None
    upend: Tensor | None = None
    colour: Tensor | None = None
    codes: Tensor | None = None
    arguments: Tensor | None = None
    blur: Tensor | None = None
    noise: Tensor | None = None
    salt: Tensor | None = None
    erase: Tensor | None = None
    mix: Tensor | None = None
    normal: Tensor | None = None
    uniform: Tensor | None = None
    seeds: Tensor | None = None
    own: PlainAugmentation | None = None

    def rows(self, rows: Tensor | slice) -> "Draws":
        """The draws of some samples."""
        shared = {"normal": self.normal, "uniform": self.uniform, "own": self.own}
        own = {name: part[rows] for name, part in self._parts() if name not in shared}
        return Draws(**own, **shared)  # type: ignore[arg-type]

    def to(self, device: torch.device) -> "Draws":
        parts = {name: part.to(device, non_blocking=True) for name, part in self._parts()}
        return Draws(**parts, own=self.own)

    def _parts(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, part) for name, part in vars(self).items() if isinstance(part, Tensor))


@dataclass(frozen=True)
class Epoch:
    """Where an epoch's random numbers come from."""

    seed: int
    number: int
    num_samples: int

    def generator(self, part: Part) -> np.random.Generator:
        """A stretch of the epoch's stream, 2**128 numbers long."""
        bits = stream(self.seed, "augment", self.number).bit_generator
        assert isinstance(bits, np.random.Philox)
        return np.random.Generator(bits.jumped(JUMPS[part]))

    def table(self, part: Part, width: int) -> Array:
        """[num_samples, width] in [0, 1)."""
        return (
            self.generator(part)
            .random((self.num_samples, width), dtype=np.float32)
            .astype(np.float64)
        )

    def blocks(self) -> Iterator[Array]:
        """The table of flip, rotation, crop and jitter in blocks of rows, which bounds the
        memory.
        """
        generator = stream(self.seed, "augment", self.number)
        for start in range(0, self.num_samples, BLOCK_ROWS):
            shape = (min(BLOCK_ROWS, self.num_samples - start), 8 + 2 * TRIES)
            yield generator.random(shape, dtype=np.float32).astype(np.float64)


def draw(
    augment: Augmentation, *, seed: int, epoch: int, num_samples: int, size: int
) -> Draws | None:
    """The draws of an epoch, one row per sample of the train split; None where nothing is on."""
    amounts, policy, source = augment.amounts(), augment.policy(), Epoch(seed, epoch, num_samples)
    own = _own(source, augment)
    if not any(amounts) and policy is None and not own:
        return None
    moves = _moves(source, amounts, size)
    parts = _noise(source, amounts, size) | _mixing(source, amounts, size)
    if policy is not None:
        tables = [source.table(part, 4) for part in SLOTS[: policy.num_ops]]
        codes, arguments, matrices = zip(*(pick(u, policy, size) for u in tables), strict=True)
        moves += matrices
        parts |= {
            "codes": torch.from_numpy(np.stack(codes, 1)),
            "arguments": _tensor(np.stack(arguments, 1)),
        }
    return Draws(**parts, **own, **_warp_and_colour(source, amounts, moves, size))  # type: ignore[arg-type]


def _own(source: Epoch, augment: Augmentation) -> dict[str, object]:
    if not isinstance(augment, PlainAugmentation) or augment.strength == 0:
        return {}
    seeds = source.generator("own").integers(2**62, size=source.num_samples)
    return {"seeds": torch.from_numpy(seeds), "own": augment}


def _moves(source: Epoch, amounts: Amounts, size: int) -> list[Array]:
    """[n, 3, 3] each, as `warp` has them, in the order in which they happen to a picture."""
    moves = []
    if amounts.shear > 0:
        moves.append(shears(source.table("shear", 2), amounts.shear))
    if amounts.scale > 0:
        moves.append(zooms(source.table("scale", 1), amounts.scale))
    if amounts.translate > 0:
        moves.append(
            shifts((2 * source.table("translate", 2) - 1) * amounts.translate * size, size)
        )
    if amounts.pad_crop > 0:
        border = round(amounts.pad_crop * size)
        moves.append(
            shifts(np.floor(source.table("pad_crop", 2) * (2 * border + 1)) - border, size)
        )
    return moves


def _warp_and_colour(
    source: Epoch, amounts: Amounts, moves: list[Array], size: int
) -> dict[str, Tensor]:
    warped = amounts.rotation > 0 or amounts.crop > 0 or bool(moves)
    warps, flips, colours = [], [], []
    for u in (
        source.blocks()
        if warped or amounts.flip > 0 or amounts.jitter > 0 or amounts.grayscale > 0
        else ()
    ):
        flips.append(u[:, 0] < amounts.flip)
        warps.append(flip_turn_crop(u, amounts.flip, amounts.rotation, amounts.crop, size))
        colours.append(factors(u[:, 4:8], amounts.jitter))
    parts: dict[str, Tensor] = {}
    if amounts.flip > 0:
        parts["flip"] = torch.from_numpy(np.concatenate(flips))
    if amounts.flip_vertical > 0:
        parts["upend"] = torch.from_numpy(
            source.table("flip_vertical", 1)[:, 0] < amounts.flip_vertical
        )
    if warped:
        warp = np.concatenate(warps)
        if (upend := parts.pop("upend", None)) is not None:
            warp[upend.numpy(), 1] *= -1
        for move in moves:
            warp = warp @ move
        parts = {"warp": _tensor(warp)}
    if amounts.jitter > 0 or amounts.grayscale > 0:
        colour = np.concatenate(colours)
        if amounts.grayscale > 0:
            colour[source.table("grayscale", 1)[:, 0] < amounts.grayscale, 2] = 0
        parts["colour"] = _tensor(
            colour if amounts.jitter > 0 else colour[:, :3]
        )  # without jitter no hue turns
    return parts


def _noise(source: Epoch, amounts: Amounts, size: int) -> dict[str, Tensor]:
    parts: dict[str, Tensor] = {}
    if amounts.blur > 0:
        parts["blur"] = _tensor(half_kernels(source.table("blur", 1), amounts.blur, size))
    if amounts.noise > 0:
        parts["noise"] = _tensor(runs(source.table("noise", 2), amounts.noise))
        num = STARTS + MAX_CHANNELS * size**2
        parts["normal"] = torch.from_numpy(
            source.generator("normal").standard_normal(num, dtype=np.float32)
        )
    if amounts.salt_pepper > 0:
        parts["salt"] = _tensor(runs(source.table("salt_pepper", 2), amounts.salt_pepper))
        parts["uniform"] = torch.from_numpy(
            source.generator("uniform").random(STARTS + size**2, dtype=np.float32)
        )
    if amounts.erasing > 0:
        parts["erase"] = _tensor(
            holes(source.table("erasing", 3 + 2 * TRIES), amounts.erasing, size)
        )
    return parts


def _mixing(source: Epoch, amounts: Amounts, size: int) -> dict[str, Tensor]:
    """Mixup's weights and cutmix's boxes; with both on, a coin decides for every sample."""
    if amounts.mixup == 0 and amounts.cutmix == 0:
        return {}
    num = source.num_samples
    mix = np.zeros((num, 6))
    if amounts.mixup > 0:
        mix[:, 0] = mix[:, 1] = source.generator("mixup").beta(amounts.mixup, amounts.mixup, num)
    if amounts.cutmix > 0:
        share = source.generator("cutmix").beta(amounts.cutmix, amounts.cutmix, num)
        u = source.table("mixing", 3)
        cut = u[:, 2] < 0.5 if amounts.mixup > 0 else np.full(num, True)
        mix[cut] = partners(share, u[:, :2], size)[cut]
    return {"mix": _tensor(mix)}


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
