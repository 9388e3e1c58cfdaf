"""The decode-once cache: every picture decoded a single time into one uint8 file that all workers
map.

`<cache>/<key>/images.u8` holds raw uint8 [N, C, S, S]; `meta.json` everything else, with its own
checksum. The key hashes the dataset config and the names, sizes and times of the files, so a
changed folder is decoded anew; where the times alone have changed, the files' bytes are compared,
and what is there already is used (`shelf.py`).
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data import build
from pipeline.data.checks import fingerprint
from pipeline.data.datasets import PictureSet
from pipeline.data.listing import (
    FIRST_RULES,
    PARTS,
    RULES,
    TRAIN,
    UNKNOWN,
    BadPicture,
    Listing,
    Reading,
    as_recorded,
)
from pipeline.data.shelf import ALIKE, IMAGES, META, hold, locked, parcels, share
from pipeline.data.taken import Taken
from pipeline.errors import MachineError, UserError, printable
from pipeline.own.parts import source_digest

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Unreadable:
    """A picture that was left out."""

    file: str
    reason: str


@dataclass(frozen=True)
class Data:
    """A decoded dataset, mapped from the cache; rows are sorted by file name.

    images: uint8 [N, C, S, S] read-only; labels: int64 [N], -1 = unknown; parts: int8 [N], 0 train,
    1 valid, 2 test; mean, std: per channel over train with a label, in units of 0 … 1; counts:
    pictures in train, valid, test (with and without label) and, where there are any, unlabeled:
    training pictures without a label, not counted in train; taken: what was taken, and by what
    rule; fingerprint: 16 hex digits of the content. `files` may hold any bytes a file system
    allows: show them with `printable`. reading: how its pictures were found and decoded. written,
    columns: how labels and tables of this set are written, as of `Listing`. groups: int64 [N],
    equal for pictures of one subject, None where nobody said.
    """

    path: Path
    images: np.memmap[Any, np.dtype[np.uint8]]
    labels: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int8]
    files: tuple[str, ...]
    classes: tuple[str, ...]
    title: str
    fingerprint: str
    unreadable: tuple[Unreadable, ...]
    counts: dict[str, int]
    is_food11: bool
    warnings: tuple[str, ...]
    copies: dict[str, int]  # as `checks.copies` counts them
    mean: tuple[float, ...]
    std: tuple[float, ...]
    taken: Taken
    reading: Reading
    written: tuple[str, ...]
    columns: tuple[str, str] | None
    groups: npt.NDArray[np.int64] | None = None


class Damaged(MachineError):
    """A cache that is missing, truncated or altered."""


def prepare(
    dataset: PictureSet,
    root: Path | None,
    cache: Path,
    on_progress: Progress | None = None,
    *,
    recorded: Mapping[str, Any] | None = None,
) -> Data:
    """Scan, decode into `cache` if that was not done before, and open.

    `recorded`: what the ledger keeps of these pictures. The order of its classes is kept where they
    are the same; and where today's rules of reading do not give its fingerprint, but the first
    rules do, the pictures are read by those. Two processes that ask for the same pictures decode
    them once (file lock). `on_progress(done, total)` is called from the calling thread. `mean` and
    `std` come from the official train part and serve every replicate: where train and validation
    are drawn again, some pictures that validate had a small part in the normalisation, the same for
    every arm. Raises UserError (pictures or folder) and MachineError (disk).
    """
    classes = recorded["classes"] if recorded else ()
    for rules in (RULES, FIRST_RULES) if recorded else ():
        with contextlib.suppress(UserError):
            data = _prepare(dataset.read_by(Reading(rules)), root, cache, on_progress, classes)
            if recorded and data.fingerprint == recorded["fingerprint"]:
                return data
    return _prepare(dataset, root, cache, on_progress, classes)


def _prepare(
    dataset: PictureSet,
    root: Path | None,
    cache: Path,
    on_progress: Progress | None,
    classes: Sequence[str],
) -> Data:
    """By the dataset's own rules."""
    try:
        listing = as_recorded(dataset.scan(root), classes)
        path = cache / _key(dataset, listing)
        with contextlib.suppress(Damaged):
            return open_data(path)
        with locked(path):
            try:
                return open_data(path)
            except Damaged:
                alike = _key(dataset, listing, times=False)
                if not _recognised(dataset, listing, path, alike):
                    build.build(dataset, listing, path, alike, on_progress)
            return open_data(path)
    finally:
        dataset.close()


def _recognised(dataset: PictureSet, listing: Listing, path: Path, alike: str) -> bool:
    """Whether another cache holds these pictures, found at other times; its files are then those of
    `path` too.
    """
    for parcel in parcels(path.parent):
        with contextlib.suppress(MachineError, OSError):  # another process may be removing it
            if parcel.path != path and (parcel.path / ALIKE).read_text(encoding="ascii") == alike:
                data = open_data(parcel.path)
                if _holds(data, dataset.read_by(data.reading), listing) and share(
                    parcel.path, path
                ):
                    return True
    return False


def _holds(data: Data, dataset: PictureSet, listing: Listing) -> bool:
    """Whether the pictures are those of the cache by their bytes, and those that could not be read
    still cannot.
    """
    bad = {one.file: one.reason for one in data.unreadable}

    def look(row: int) -> str:
        try:
            return (
                dataset.read(listing, row).digest
                if listing.files[row] in bad
                else dataset.digest(listing, row)
            )
        except BadPicture as error:
            return str(error)

    with build.decoding(resized=dataset.resized) as pool:
        try:
            found = list(pool.map(look, range(len(listing.files))))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C: do not read the rest first
    rows = [row for row, file in enumerate(listing.files) if file not in bad]
    same = all(found[row] == bad[file] for row, file in enumerate(listing.files) if file in bad)
    return (
        same
        and fingerprint(listing, rows, found, data.images.shape[1:], data.reading.top)
        == data.fingerprint
    )


def open_data(path: Path) -> Data:
    """Map a prepared dataset; raises MachineError where the cache is missing or damaged."""
    try:
        document = json.loads((path / META).read_text(encoding="ascii"))
        meta = document["meta"]
        if build.checksum(meta) != document["sha256"]:
            raise ValueError("its checksum does not fit")
        shape = tuple(meta["shape"])
        images = _mapped(path / IMAGES, shape)
        taken, reading = Taken.parse(meta["taken"]), Reading(**meta["reading"])
        written, columns = (
            tuple(meta["written"]),
            tuple(meta["columns"]) if meta["columns"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = printable(error)
        raise Damaged(
            f"cache {printable(path)}: missing or damaged ({why}); prepare the data again"
        ) from error
    parts, labels = np.array(meta["parts"], dtype=np.int8), np.array(meta["labels"], dtype=np.int64)
    return Data(
        path=path,
        images=images,
        labels=labels,
        parts=parts,
        files=tuple(meta["files"]),
        classes=tuple(meta["classes"]),
        title=meta["title"],
        fingerprint=meta["fingerprint"],
        unreadable=tuple(Unreadable(file, reason) for file, reason in meta["unreadable"]),
        counts=counts_of(parts, labels),
        is_food11=meta["is_food11"],
        warnings=tuple(meta["warnings"]),
        copies=meta.get("copies", {}),  # not in caches of earlier versions
        mean=tuple(meta["mean"]),
        std=tuple(meta["std"]),
        taken=taken,
        reading=reading,
        written=written,
        columns=columns,
        groups=np.array(meta["groups"], dtype=np.int64) if meta.get("groups") else None,
    )


def _mapped(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.uint8]]":
    with open(path, "rb") as file:
        hold(file, path)
        size = os.fstat(file.fileno()).st_size
        if size != int(np.prod(shape)):
            raise ValueError(f"images of {size} bytes, expected {int(np.prod(shape))}")
        return np.memmap(file, dtype=np.uint8, mode="r", shape=shape)


def counts_of(parts: npt.NDArray[np.int8], labels: npt.NDArray[np.int64]) -> dict[str, int]:
    """Pictures by part, as of `Data`."""
    counts = {name: int((parts == part).sum()) for part, name in enumerate(PARTS)}
    unlabeled = int(((parts == TRAIN) & (labels == UNKNOWN)).sum())
    return (
        counts | {"train": counts["train"] - unlabeled, "unlabeled": unlabeled}
        if unlabeled
        else counts
    )


def _key(dataset: PictureSet, listing: Listing, *, times: bool = True) -> str:
    """32 hex digits: the rules, the config and all that the scan found; perhaps without the times
    of the files.
    """
    stamps = listing.stamps if times else tuple(stamp[:1] for stamp in listing.stamps)
    found = [
        dataset.reading.rules,
        # a setting of no group, of which earlier versions knew nothing, leaves their caches valid
        {
            k: v
            for k, v in dataset.model_dump(mode="json").items()
            if v or not k.startswith("group_")
        },
        listing.title,
        listing.classes,
        listing.warnings,
        list(zip(listing.files, listing.labels, listing.parts, stamps, strict=True)),
        *filter(None, [source_digest(dataset), listing.groups]),
    ]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:32]
