"""Build a cache: decode on all cores into a folder beside it, then rename; a killed build leaves
nothing valid.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.counts import plural
from pipeline.data import ward
from pipeline.data.checks import channel_statistics, copies, fingerprint, is_food11, warn
from pipeline.data.datasets import PictureSet
from pipeline.data.dealt import codes
from pipeline.data.decode import depth_of
from pipeline.data.listing import (
    FIRST_RULES,
    FULL_DEPTH,
    TRAIN,
    UNKNOWN,
    BadPicture,
    Listing,
    Reading,
    check_counts,
)
from pipeline.data.raster import IN_BYTE, IN_ONE
from pipeline.data.shelf import ALIKE, IMAGES, META, UNFINISHED
from pipeline.data.twins import near_identical
from pipeline.errors import MachineError, UserError, printable
from pipeline.limits import num_cores

CHUNK = 32  # pictures a task: small ones take less time than handing over a task
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Decoded:
    """Of a picture that is in the cache its hash and `deepest` as of `Picture`, of another the
    reason.
    """

    digest: str = ""
    deepest: int = 0
    reason: str = ""


def checksum(meta: dict[str, Any]) -> str:
    """SHA-256 of the meta data in its stored form."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def build(
    dataset: PictureSet, listing: Listing, path: Path, alike: str, on_progress: Progress | None
) -> None:
    """Decode `listing` into the folder `path` (the caller holds its lock); `alike` is the key
    without the times.

    Raises UserError where more pictures than `max_unreadable` cannot be read or a class loses too
    many, MachineError where the disk does not take it.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    num_bytes = len(listing.files) * dataset.channels * dataset.size**2
    shutil.rmtree(
        unfinished, ignore_errors=True
    )  # of a killed build: we hold the lock, nobody else writes there
    try:
        unfinished.mkdir()
        with open(unfinished / IMAGES, "w+b") as file:
            if hasattr(
                os, "posix_fallocate"
            ):  # a full disk shows now, not after minutes of decoding
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            dataset, hashes, reasons, notes = _decode_scaled(
                dataset, listing, file.fileno(), on_progress
            )
            _check_unreadable(dataset, listing, reasons)
            rows = [row for row in range(len(listing.files)) if row not in reasons]
            _close_gaps(file.fileno(), rows, num_bytes // len(listing.files))
            os.fsync(file.fileno())
        (unfinished / ALIKE).write_text(alike, encoding="ascii")
        _write_meta(dataset, listing, unfinished, rows, hashes, reasons, notes)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        free = shutil.disk_usage(path.parent).free
        raise MachineError(
            f"cache {printable(path.parent)}: cannot write {num_bytes / 1e6:,.1f} MB of decoded "
            f"pictures: {error.strerror} ({free / 1e6:,.1f} MB free there)"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _decode_scaled(
    dataset: PictureSet, listing: Listing, descriptor: int, on_progress: Progress | None
) -> tuple[PictureSet, list[str], dict[int, str], list[str]]:
    """Write each picture at its row; where pictures of 16 bits use less of them, again, at the
    depth that all of them use.

    Returns the set as it was read, the hash of every file, by row why some could not be read, and
    what is to be said.
    """
    found = _decode_all(dataset, listing, range(len(listing.files)), descriptor, on_progress)
    deep = [row for row, one in found.items() if one.deepest > 0]
    top = depth_of(max((found[row].deepest for row in deep), default=FULL_DEPTH))
    notes = _float_scales(listing, found)
    if dataset.reading.rules > FIRST_RULES and top < FULL_DEPTH:
        dataset = dataset.read_by(Reading(top=top))
        found |= _decode_all(dataset, listing, deep, descriptor, on_progress)
        notes.append(
            plural(len(deep), "picture of 16 bits uses", "pictures of 16 bits use")
            + (
                f" no more than {top.bit_length()} of them: scaled so that {top:,} is white, in "
                "all of them"
            )
        )
    elif top == FULL_DEPTH and 2 * (
        low := sum(found[row].deepest <= FULL_DEPTH // 16 for row in deep)
    ) > len(deep):
        notes.append(
            f"{low} of {len(deep)} pictures of 16 bits {'uses' if low == 1 else 'use'} no more "
            f"than 12 of them and {'is' if low == 1 else 'are'} dark, since others use more (the "
            "brightest: "
            f"{printable(listing.files[max(deep, key=lambda row: found[row].deepest)], 60)})"
        )
    reasons = {row: one.reason for row, one in found.items() if one.reason}
    return dataset, [one.digest for one in found.values()], reasons, notes


def _float_scales(listing: Listing, found: Mapping[int, Decoded]) -> list[str]:
    """What is to be said where pictures of floats come in both scales: a nearly black one of 0 …
    255 looks like 0 … 1.
    """
    in_one, in_byte = (
        [row for row, one in found.items() if one.deepest == kind] for kind in (IN_ONE, IN_BYTE)
    )
    if not (in_one and in_byte):
        return []
    lie = plural(len(in_one), "picture of floats lies", "pictures of floats lie")
    first = printable(listing.files[in_one[0]], 60)
    return [
        f"{lie} in 0 … 1 and {len(in_byte):,} in 0 … 255, each brightened by its own scale: where "
        f"all are meant in 0 … 255, the first are nearly black (as {first}); save them as 8 or 16 "
        "bits"
    ]


def _decode_all(
    dataset: PictureSet,
    listing: Listing,
    rows: Sequence[int],
    descriptor: int,
    on_progress: Progress | None,
) -> dict[int, Decoded]:
    """Write the pictures of `rows` at their rows; returns what was found at each."""
    done: dict[int, Decoded] = {}
    over: list[bool] = []

    def decode(start: int) -> list[Decoded]:
        return [
            _decode_one(dataset, listing, row, descriptor)
            for row in rows[start : start + CHUNK]
            if not over
        ]

    with decoding(resized=dataset.resized) as pool:
        try:
            for results in pool.map(decode, range(0, len(rows), CHUNK)):
                done.update(zip(rows[len(done) :], results, strict=False))
                if on_progress:
                    on_progress(len(done), len(rows))
        finally:  # after Ctrl-C, or where the disk is full: do not decode the rest first
            over.append(True)
            pool.shutdown(cancel_futures=True)
    return done


def _decode_one(dataset: PictureSet, listing: Listing, row: int, descriptor: int) -> Decoded:
    """Write one picture at its row."""
    try:
        pixels, digest, deepest = dataset.read(listing, row)
    except BadPicture as bad:
        _let_go(bad)
        return Decoded(reason=str(bad))
    # Not through a memory map: where the disk is full that ends the process with SIGBUS.
    if os.pwrite(descriptor, pixels.tobytes(), row * pixels.nbytes) != pixels.nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return Decoded(digest, deepest)


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of an error hold: they refer to it and it to them, so that pictures of
    hundreds of MB would stay until Python looks for such circles.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _check_unreadable(dataset: PictureSet, listing: Listing, reasons: dict[int, str]) -> None:
    where = f"data: {printable(listing.root or listing.title)}"
    total = len(listing.files)
    allowed = dataset.num_unreadable_allowed(total)
    if len(reasons) > allowed:
        shown = "".join(
            f"\n  {printable(listing.files[row])}: {why}" for row, why in list(reasons.items())[:10]
        )
        more = f"\n  and {len(reasons) - 10} more" if len(reasons) > 10 else ""
        raise UserError(
            f"{where}: {len(reasons):,} of {plural(total, 'picture')} cannot be read; allowed by "
            f"dataset.max_unreadable={getattr(dataset, 'max_unreadable', 0):g}: "
            f"{allowed} (take them out, or raise it){shown}{more}"
        )
    if reasons:
        kept = [row for row in range(total) if row not in reasons]
        left = f"{where} without {plural(len(reasons), 'unreadable picture')}"
        check_counts(
            left,
            [listing.labels[r] for r in kept],
            [listing.parts[r] for r in kept],
            listing.classes,
        )


def _close_gaps(descriptor: int, rows: list[int], num_bytes: int) -> None:
    """Move the rows that were read together, in place, and cut the rest off."""
    for place, row in enumerate(rows):
        if place != row:
            os.pwrite(
                descriptor, os.pread(descriptor, num_bytes, row * num_bytes), place * num_bytes
            )
    os.ftruncate(descriptor, len(rows) * num_bytes)


def _write_meta(
    dataset: PictureSet,
    listing: Listing,
    folder: Path,
    rows: list[int],
    hashes: list[str],
    reasons: dict[int, str],
    scaled: list[str],
) -> None:
    shape = (len(rows), dataset.channels, dataset.size, dataset.size)
    images = np.memmap(folder / IMAGES, dtype=np.uint8, mode="r", shape=shape)
    parts, labels = ([column[row] for row in rows] for column in (listing.parts, listing.labels))
    mean, std = channel_statistics(
        images, np.flatnonzero((np.array(parts) == TRAIN) & (np.array(labels) != UNKNOWN))
    )
    alike = near_identical(images)
    notes = (*_unread(listing, reasons), *scaled, *warn(listing, rows, hashes, alike))
    meta = {
        "shape": shape,
        "labels": labels,
        "parts": parts,
        "files": [listing.files[row] for row in rows],
        "classes": listing.classes,
        "title": "Food-11" if is_food11(listing) else listing.title,
        "fingerprint": fingerprint(listing, rows, hashes, shape[1:], dataset.reading.top),
        "unreadable": [(listing.files[row], reason) for row, reason in reasons.items()],
        "is_food11": is_food11(listing),
        "warnings": notes,
        "copies": copies(parts, [hashes[row] for row in rows], alike),
        "mean": mean,
        "std": std,
        "taken": listing.taken.dump(),
        "reading": asdict(dataset.reading),
        "written": listing.written or listing.classes,
        "columns": listing.columns,
        "groups": codes([listing.groups[row] for row in rows]).tolist() if listing.groups else [],
    }
    with open(folder / META, "w", encoding="ascii") as file:
        json.dump({"sha256": checksum(meta), "meta": meta}, file)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(folder)


def _unread(listing: Listing, reasons: dict[int, str]) -> Iterator[str]:
    for first in list(reasons)[:1]:
        told = plural(
            len(reasons), "picture could not be read and is", "pictures could not be read and are"
        )
        yield f"{told} left out (the first: {printable(listing.files[first])}: {reasons[first]})"


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def decoding(*, resized: bool = True) -> Iterator[ThreadPoolExecutor]:
    """Threads to read pictures in: one a core is all there is to gain, others within an operation
    get in their way; torch has none unless pictures are `resized`.
    """
    with (
        _one_thread() if resized else contextlib.nullcontext(),
        warnings.catch_warnings(),
        ward.dismissed(),
        ThreadPoolExecutor(num_cores()) as pool,
    ):
        # our own cap is lower and names the file
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # of damaged meta data; whether the pixels can be read decides
        warnings.filterwarnings("ignore", module="PIL")
        yield pool


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch  # slow to import, and a cache that is there does not need it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
