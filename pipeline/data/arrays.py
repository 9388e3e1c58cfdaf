"""Arrays of pictures: how blocks of rows become a listing, and arrays of any usual form pixels."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.counts import plural
from pipeline.data.cut import cut, origins, warn_test
from pipeline.data.decode import Picture, fit
from pipeline.data.listing import FULL_DEPTH, PARTS, UNKNOWN, Listing, check_counts, in_order
from pipeline.data.raster import Pixels
from pipeline.data.taken import Source, Taken
from pipeline.errors import UserError, printable

COLOURS = (1, 3, 4)


@dataclass(frozen=True)
class Block:
    """Rows that belong to one part. part: TRAIN, VALID or TEST; labels: whole numbers, -1 =
    unknown; stamp: (bytes, modification time in ns) of the source they come from."""

    part: int
    labels: Sequence[int]
    stamp: tuple[int, int]


def list_blocks(
    root: Path | None,
    title: str,
    layout: str,
    blocks: Sequence[Block],
    classes: Sequence[str],
    shares: dict[int, float],
    warnings: Sequence[str] = (),
    *,
    named: bool = False,
) -> Listing:
    """A listing whose rows are called `train-00012`, sorted by that name; raises UserError where
    there is not enough.

    `shares`: of which parts how much is cut from train, class by class, where no block gives them;
    `named`: the classes have names besides their numbers.
    """
    ordered = sorted(blocks, key=lambda block: PARTS[block.part])
    width = max(5, *(len(str(len(block.labels))) for block in blocks))
    files = [
        f"{PARTS[block.part]}-{row:0{width}d}"
        for block in ordered
        for row in range(len(block.labels))
    ]
    labels = [int(label) for block in ordered for label in block.labels]
    parts = [block.part for block in ordered for _ in block.labels]
    given = {block.part for block in blocks if len(block.labels)}
    left = {part: share for part, share in shares.items() if part not in given and share}
    given_parts = {PARTS[part]: "given with the set" for part in given}
    notes = cut(files, labels, parts, left)
    where = f"data: {printable(root or title)}"
    check_counts(where, labels, parts, classes)
    return Listing(
        root=root,
        title=title,
        layout=layout,
        files=tuple(files),
        labels=tuple(labels),
        parts=tuple(parts),
        stamps=tuple(block.stamp for block in ordered for _ in block.labels),
        classes=tuple(printable(name, 100) for name in classes),
        written=tuple(map(str, range(len(classes)))) if named else (),
        taken=Taken.of(
            Source("given with the set", parts=given_parts | origins(left)), classes, labels, parts
        ),
        warnings=(*warnings, *notes, *warn_test(labels, parts)),
    )


def place_of(file: str) -> tuple[int, int]:
    """(part of the block, row in it) of a name that `list_blocks` gave."""
    part, _, row = file.partition("-")
    return PARTS.index(part), int(row)


def row_pixels(pixels: Pixels, deepest: int, size: int, channels: int) -> Picture:
    """The picture of one row uint8 [C, H, W]; `deepest` as of `Picture`."""
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
    return Picture(fit(pixels, size, channels), digest.hexdigest(), deepest)


def encode(
    where: str, *columns: npt.NDArray[Any], names: Sequence[str] | None
) -> tuple[list[list[int]], list[str]]:
    """(labels of each column, names of the classes). Labels may be whole numbers (-1: unknown),
    one-hot rows or words.

    `names` gives position → name; else words name themselves, in order, and numbers are their own
    names. Raises UserError.
    """
    flat = [_flat(where, column) for column in columns]
    words = any(column.dtype.kind in "US" for column in flat)
    values = [[str(v) if words else int(v) for v in column.tolist()] for column in flat]
    there = {v for column in values for v in column if v not in (UNKNOWN, "")}
    used = in_order(there) if words else sorted(there)  # type: ignore[arg-type]
    if names is not None and not words:
        if used and (used[-1] >= len(names) or used[0] < 0):  # type: ignore[operator]
            raise UserError(
                f"{where}: {plural(len(names), 'class has a name', 'classes have names')}, but the "
                f"labels are {used[0]} to {used[-1]}"
            )
        return [[int(v) for v in column] for column in values], list(names)
    codes = {value: code for code, value in enumerate(used)} | {UNKNOWN: UNKNOWN, "": UNKNOWN}
    return [[codes[v] for v in column] for column in values], [str(value) for value in used]


def _flat(where: str, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "buif" and ((labels != 0).sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "buifUS":
        raise UserError(
            f"{where}: labels must be one whole number or word for each picture, got "
            f"{labels.dtype} {labels.shape}"
        )
    if labels.dtype.kind == "f" and not (
        np.isfinite(labels).all() and (labels == labels.round()).all()
    ):
        raise UserError(f"{where}: labels must be whole numbers, got others")
    return np.char.decode(labels, "utf-8", "replace") if labels.dtype.kind == "S" else labels


def standard_shape(where: str, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """[N, C, H, W] of [N, H, W], [N, H, W, C], [N, C, H, W] or [N, H * W] of squares; raises
    UserError.
    """
    if 0 in shape[1:]:
        raise UserError(f"{where}: pictures without a pixel: {list(shape)}")
    if len(shape) == 2 and math.isqrt(shape[1]) ** 2 == shape[1] > 1:
        return shape[0], 1, math.isqrt(shape[1]), math.isqrt(shape[1])
    if len(shape) == 3:
        return shape[0], 1, shape[1], shape[2]
    if (
        len(shape) == 4
        and shape[3] in COLOURS
        and not (shape[1] in COLOURS and shape[3] > shape[1])
    ):
        return shape[0], shape[3], shape[1], shape[2]
    if len(shape) == 4 and shape[1] in COLOURS:
        return shape[0], shape[1], shape[2], shape[3]
    raise UserError(
        f"{where}: pictures must be [N, H, W], [N, H, W, C] or [N, C, H, W] with C = 1, 3 or 4, "
        f"got {list(shape)}"
    )


def check_kind(where: str, dtype: "np.dtype[Any]") -> None:
    """Raise UserError where pictures are neither whole numbers nor floats."""
    if dtype.kind not in "buif":
        raise UserError(f"{where}: pictures must be whole numbers or floats, got {dtype}")


def scale_of(where: str, *arrays: npt.NDArray[Any], deep: int = FULL_DEPTH) -> tuple[int, int]:
    """(the value that is white in all of the arrays; their largest where it is above 255, else 0):
    whole numbers to 255 or `deep`, floats in 0 … 1 or 0 … 255.

    Raises UserError where the values fit none of these.
    """
    low, high = min(a.min() for a in arrays), max(a.max() for a in arrays)
    kind = arrays[0].dtype.kind
    top = next(
        (
            top
            for top in ((1, 255) if kind == "f" else (1,) if kind == "b" else (255, deep))
            if high <= top
        ),
        0,
    )
    if kind not in "buif" or not low >= 0 or not top:  # NaN is neither
        raise UserError(
            f"{where}: values from {low} to {high} ({arrays[0].dtype}); expected: whole numbers in "
            "0 … 255 or 0 … 65,535, or floats in 0 … 1 or 0 … 255"
        )
    return top, int(high) if top > 255 else 0


def row_of(array: npt.NDArray[Any], row: int, top: int) -> Pixels:
    """uint8 [1 or 3, H, W] of one picture of an array that is not copied, in the scale whose white
    is `top`.
    """
    _, channels, height, width = standard_shape("data", array.shape)
    one = array[row]
    if array.ndim == 4 and one.shape != (channels, height, width):
        one = one.transpose(2, 0, 1)
    one = one.reshape(channels, height, width)[: 3 if channels == 4 else channels]
    return (
        one
        if one.dtype == np.uint8
        else (one.astype(np.float64) * (255 / top)).round().astype(np.uint8)
    )
