"""Pictures larger than memory, measured side by side in one run: pictures a second read cold in
random batches of 64.

ours     `Pictures.batches`: the kernel is told which rows the next batches need
plain    the same batches gathered from the same memory map, page fault by page fault

Writes a file of rows of 49 KB (128 x 128 RGB) and drops it from the page cache before every
measurement, so that the disk is read. Rounds are interleaved. Goal: ours / plain >= 5. What
`dropped` prints must be near 0, or the file system keeps pages in spite of the advice (memory file
systems do) and the figures say nothing.

    python -m benchmarks.memmap [--folder FOLDER] [--megabytes 1000] [--rounds 3]
"""

import argparse
import ctypes
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.core.pictures import Pictures, cut
from pipeline.data.splits import Split

SHAPE = (3, 128, 128)
BATCH = 64
NUM = {"ours": 64, "plain": 12}  # batches of a round: the plain way takes longer for fewer
Images = np.memmap[Any, np.dtype[np.uint8]]


def write(path: Path, megabytes: int) -> int:
    """Fill a file with rows that no file system can leave out; returns how many."""
    num_rows = max(BATCH * (NUM["ours"] + NUM["plain"]), megabytes * 10**6 // int(np.prod(SHAPE)))
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(0, num_rows, 100):
            file.write(rng.bytes(100 * int(np.prod(SHAPE))))
        file.truncate(num_rows * int(np.prod(SHAPE)))
        file.flush()
        os.fsync(file.fileno())
    return num_rows


def drop(path: Path) -> None:
    """Take the file out of the page cache; nothing may map it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def cached(path: Path) -> float:
    """Share of the file's pages that are in memory."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        pages = -(-len(view) // mmap.PAGESIZE)
        states = (ctypes.c_ubyte * pages)()
        start = ctypes.c_ubyte.from_buffer(view)
        ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(view)), states
        )
        del start
    return sum(state & 1 for state in states) / pages


def ours(images: Images, rows: npt.NDArray[np.int64]) -> Iterator[Any]:
    split = Split(images, np.zeros(len(images), np.int64), np.arange(len(images)))
    for _, pixels, _ in Pictures(split, torch.device("cpu")).batches(rows, cut(len(rows), BATCH)):
        yield pixels


def plain(images: Images, rows: npt.NDArray[np.int64]) -> Iterator[Any]:
    for start in range(0, len(rows), BATCH):
        yield torch.from_numpy(np.asarray(images[rows[start : start + BATCH]]))


def measure(way: str, path: Path, num_rows: int, seed: int) -> float:
    """Pictures a second, every one of them read from disk."""
    drop(path)
    rows = np.random.default_rng(seed).permutation(num_rows)[: BATCH * NUM[way]]
    images = np.memmap(path, dtype=np.uint8, mode="r", shape=(num_rows, *SHAPE))
    began = time.perf_counter()
    seen = sum(len(pixels) for pixels in {"ours": ours, "plain": plain}[way](images, rows))
    return seen / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the file is written for the time being (default: the system's)",
    )
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "images.u8"
        num_rows = write(path, args.megabytes)
        drop(path)
        print(
            f"{num_rows} rows of {np.prod(SHAPE) / 1e3:.0f} KB; still in memory once dropped: "
            f"{cached(path):.1%}"
        )
        rates: dict[str, list[float]] = {way: [] for way in NUM}
        for i in range(args.rounds):
            for way, values in rates.items():
                values.append(measure(way, path, num_rows, i + 1))
        report(rates)


def report(rates: dict[str, list[float]]) -> None:
    """Medians with their spread, and the ratio round by round."""
    for way, values in rates.items():
        print(
            f"{way:6s} {statistics.median(values):9.0f} pictures/s   {min(values):.0f} … "
            f"{max(values):.0f}"
        )
    ratios = [a / b for a, b in zip(rates["ours"], rates["plain"], strict=True)]
    print(f"ratio  {statistics.median(ratios):9.1f}   {min(ratios):.1f} … {max(ratios):.1f}")


if __name__ == "__main__":
    main()
