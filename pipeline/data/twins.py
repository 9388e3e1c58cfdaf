"""Twins: pictures that look the same although their files differ (saved again, resized, slightly
changed).
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

MAX_BITS = 2  # of 64 in which two hashes may differ
MAX_DIFFERENCE = (
    5.0  # root mean square over a grid of GRID x GRID, brightness apart, in grey levels of 255 …
)
# … and as a share of the pictures' own deviation: handwritten ones of two people reach 0.11
MAX_RELATIVE = 0.1
MAX_SHIFT = 8.0  # in brightness, grey levels
GRID = 16  # fine enough to tell pictures apart, coarse enough for JPEG noise to vanish
MIN_CONTRAST = (
    6.0  # deviation of the pixels in grey levels: flatter pictures have no hash worth comparing
)
# of one choice of bands; beyond, the pictures are alike by nature and the rest is not looked at
MAX_PAIRS = 300_000
NUM_BANDS = 5
CHUNK = 512

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]


def near_identical(images: Images) -> list[tuple[int, int]]:
    """Pairs of rows (a < b) of uint8 [N, C, S, S] that look the same, sorted.

    Candidates have difference hashes of 64 bits (each says whether a cell of a 9 x 8 grid is darker
    than the next; N. Krawetz 2013, "Kind of Like That") at most MAX_BITS apart: of NUM_BANDS bands
    at least NUM_BANDS - MAX_BITS are then equal, so equal keys find all of them. They are confirmed
    by the difference of finer grids, channel by channel: photographs saved again as JPEG of quality
    30 or halved in size differ by 3 to 4 grey levels. The square weighs a small part that differs
    much (another print on the same shirt, another stroke) more than noise all over.
    """
    grids, deviations = _grids(images)
    rows = np.flatnonzero(deviations >= MIN_CONTRAST)
    bits = (grids[rows, :, 1:] > grids[rows, :, :-1]).reshape(len(rows), 64)
    cells = grids[rows].reshape(len(rows), 72)
    means = cells.mean(axis=1)
    cells -= means[:, None]
    limits = np.minimum(MAX_DIFFERENCE, MAX_RELATIVE * deviations[rows])
    found: list[Ints] = []
    for left, right in _candidates(bits, means):
        limit = np.minimum(limits[left], limits[right])
        near = (bits[left] != bits[right]).sum(axis=1) <= MAX_BITS
        near[near] = ((cells[left[near]] - cells[right[near]]) ** 2).mean(axis=1) <= (
            1.5 * limit[near]
        ) ** 2
        found.append(np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1)[near])
    pairs = np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)
    limit = limits[pairs].min(axis=1)
    pairs = rows[pairs]
    return [(int(a), int(b)) for a, b in pairs[_differences(images, pairs) <= limit]]


def _differences(images: Images, pairs: Ints) -> Floats:
    """Root mean square of the difference of each pair's pictures on a grid, their difference in
    brightness taken out.
    """
    areas = _areas(images.shape[-1], min(GRID, images.shape[-1]))
    result = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), CHUNK):
        left, right = (images[rows].astype(np.float32) for rows in pairs[start : start + CHUNK].T)
        grid = areas @ (left - right) @ areas.T
        result[start : start + CHUNK] = grid.std(axis=(1, 2, 3))
    return result


def _grids(images: Images) -> tuple[Floats, Floats]:
    """(mean grey level of each cell of a 9 x 8 grid [N, 8, 9], deviation of the pixels [N])."""
    size = images.shape[-1]
    down, across = _areas(size, 8), _areas(size, 9)
    grids, deviations = np.empty((len(images), 8, 9), np.float32), np.empty(len(images), np.float32)
    for start in range(0, len(images), CHUNK):
        grey = images[start : start + CHUNK].mean(axis=1, dtype=np.float32)
        grids[start : start + CHUNK] = down @ grey @ across.T
        deviations[start : start + CHUNK] = grey.std(axis=(1, 2))
    return grids, deviations


def _areas(size: int, num: int) -> Floats:
    """[num, size]: the weight of each pixel in the mean of each of `num` equal intervals."""
    edges = np.linspace(0, size, num + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (overlap.clip(0) * num / size).astype(np.float32)


def _candidates(bits: npt.NDArray[np.bool_], means: Floats) -> Iterator[tuple[Ints, Ints]]:
    """Pairs that agree in NUM_BANDS - MAX_BITS bands and whose mean levels allow them to be
    twins.
    """
    bands = np.array_split(np.arange(bits.shape[1]), NUM_BANDS)
    for kept in combinations(range(NUM_BANDS), NUM_BANDS - MAX_BITS):
        chosen = np.concatenate([bands[band] for band in kept])
        keys = bits[:, chosen] @ (np.uint64(1) << np.arange(len(chosen), dtype=np.uint64))
        order = np.lexsort((means, keys))
        keys, sorted_means = keys[order], means[order]
        here = np.arange(len(order))
        num_pairs = 0
        for step in range(1, len(order)):
            here = here[here + step < len(order)]
            there = (
                here + step
            )  # along a run of one key the means grow: who is too far away now stays so
            here = here[
                (keys[here] == keys[there])
                & (sorted_means[there] - sorted_means[here] <= MAX_SHIFT)
            ]
            num_pairs += len(here)
            if not len(here) or num_pairs > MAX_PAIRS:
                break
            yield order[here], order[here + step]
