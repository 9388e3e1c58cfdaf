"""What a set of pictures is and what is odd about it: fingerprint, title, warnings."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.data.listing import PARTS, TEST, TRAIN, VALID, Listing
from pipeline.errors import printable

NUM_FOOD11 = 16_643  # 9,866 + 3,430 + 3,347 as published (Singla et al. 2016); 10,000 + 3,643 + 3,000 in later courses
CHUNK = 256


def fingerprint(listing: Listing, rows: Sequence[int], hashes: Sequence[str], size: int, version: int) -> str:
    """16 hex digits over the content used: of each picture its name, label, part and bytes; classes, size, decoder.

    Neither times nor absolute paths enter: a copy of the folder elsewhere has the same fingerprint.
    """
    digest = hashlib.sha256(json.dumps([version, size, listing.classes]).encode())
    for row in rows:
        line = [listing.files[row], listing.labels[row], listing.parts[row], hashes[row]]
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()[:16]


def is_food11(listing: Listing) -> bool:
    """Whether the numbers of classes and of pictures are Food-11's."""
    return len(listing.classes) == 11 and len(listing.files) == NUM_FOOD11


def warn(listing: Listing, rows: Sequence[int], hashes: Sequence[str]) -> tuple[str, ...]:
    """Everything to know before believing a number: the listing's warnings, then what the pictures used show."""
    labels, parts = [listing.labels[row] for row in rows], [listing.parts[row] for row in rows]
    return (
        *listing.warnings,
        *_warn_title(listing),
        *_warn_classes(listing.classes, labels, parts),
        *_warn_copies(labels, parts, [hashes[row] for row in rows]),
    )


def channel_statistics(
    images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over the pictures `rows`, in units of 0 … 1.

    From exact integer histograms, so every machine gets the same numbers. A deviation is at least one grey level.
    """
    channels = images.shape[1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        chunk = images[rows[start : start + CHUNK]]
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[:, channel].reshape(-1), minlength=256)
    levels = np.arange(256)
    mean = (counts * levels).sum(axis=1) / counts.sum(axis=1)
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
    std = np.maximum(np.sqrt(variance), 1.0)
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _warn_title(listing: Listing) -> list[str]:
    if is_food11(listing) or not re.fullmatch(r"food[-_ ]?11", listing.title, re.IGNORECASE):
        return []
    return [
        f"the folder is called '{listing.title}', but its {len(listing.files):,} pictures in {len(listing.classes)} "
        f"classes are not Food-11's {NUM_FOOD11:,} in 11"
    ]


def _warn_classes(classes: Sequence[str], labels: Sequence[int], parts: Sequence[int]) -> list[str]:
    counts = Counter(zip(parts, labels, strict=True))
    num_train = [counts[TRAIN, c] for c in range(len(classes))]
    few = [f"'{classes[c]}' ({num})" for c, num in enumerate(num_train) if num < 10]
    absent = [f"'{name}'" for c, name in enumerate(classes) if not counts[VALID, c]]
    warnings = []
    if few:
        warnings.append(f"classes with fewer than 10 training pictures: {_some(few)}")
    if max(num_train) > 10 * min(num_train):
        warnings.append(f"imbalance: the training classes have {min(num_train)} to {max(num_train)} pictures")
    if absent:
        warnings.append(f"classes without a validation picture: {_some(absent)}")
    return warnings


def _warn_copies(labels: Sequence[int], parts: Sequence[int], hashes: Iterable[str]) -> list[str]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(hashes):
        groups[digest].append(row)
    leaked: Counter[int] = Counter()
    contradicting = 0
    for rows in groups.values():
        here = {parts[row] for row in rows}
        leaked.update(parts[row] for row in rows if len(here) > 1)
        contradicting += len(rows) if len({labels[row] for row in rows if labels[row] >= 0}) > 1 else 0
    warnings = []
    if leaked:
        shown = ", ".join(f"{leaked[part]} of {name}" for part, name in enumerate(PARTS) if leaked[part])
        worst = "test" if leaked[TEST] else "validation"
        warnings.append(f"leak: pictures with an exact copy in another part: {shown}; {worst} numbers are flattered")
    if contradicting:
        warnings.append(f"{contradicting} pictures have an exact copy with another label")
    return warnings


def _some(items: Sequence[str]) -> str:
    return ", ".join(printable(item) for item in items[:10]) + (f" and {len(items) - 10} more" if items[10:] else "")
