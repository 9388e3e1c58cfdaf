"""What a set of pictures is and what is odd about it: fingerprint, title, warnings."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.counts import plural
from pipeline.data.groups import warn_few, warn_parted
from pipeline.data.listing import FIRST_RULES, FULL_DEPTH, PARTS, TEST, TRAIN, VALID, Listing
from pipeline.errors import printable

# 9,866 + 3,430 + 3,347 as published (Singla et al. 2016); 10,000 + 3,643 + 3,000 in later courses
NUM_FOOD11 = 16_643
CHUNK = 256
EXAMPLES = 10  # pairs of pictures that are named
Pair = tuple[int, int]
GROUPABLE = ("classes", "name", "hw3", "csv")  # layouts of files, whose paths may say a subject


def fingerprint(
    listing: Listing, rows: Sequence[int], hashes: Sequence[str], shape: Sequence[int], top: int
) -> str:
    """16 hex digits over the content used: of each picture its name, label, part and bytes;
    classes, shape, scale.

    Neither times nor absolute paths enter: a copy of the folder elsewhere has the same fingerprint.
    Nor do the rules by which pictures are found: where today's find and decode what the first did,
    a record of then still fits.
    """
    scale = [] if top == FULL_DEPTH else [top]
    digest = hashlib.sha256(json.dumps([FIRST_RULES, *shape, listing.classes, *scale]).encode())
    for row in rows:
        line = [listing.files[row], listing.labels[row], listing.parts[row], hashes[row]]
        line += [listing.groups[row]] if listing.groups else []
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()[:16]


def is_food11(listing: Listing) -> bool:
    """Whether the numbers of classes and of pictures are Food-11's."""
    return len(listing.classes) == 11 and len(listing.files) == NUM_FOOD11


def warn(
    listing: Listing, rows: Sequence[int], hashes: Sequence[str], alike: Iterable[Pair]
) -> tuple[str, ...]:
    """Everything to know before believing a number: the listing's warnings, then what the pictures
    used show.

    `alike` are the pairs of places in `rows` whose pictures look the same.
    """
    labels, parts = [listing.labels[row] for row in rows], [listing.parts[row] for row in rows]
    files, used = [listing.files[row] for row in rows], [hashes[row] for row in rows]
    grouped = bool(listing.groups) if listing.layout in GROUPABLE else None
    return (
        *listing.warnings,
        *_warn_title(listing),
        *_warn_classes(listing.classes, labels, parts),
        *_warn_copies(files, labels, parts, used),
        *_warn_twins(files, labels, parts, used, alike, grouped),
        *(_warn_groups([listing.groups[row] for row in rows], labels, parts) if grouped else ()),
    )


def _warn_groups(groups: Sequence[str], labels: Sequence[int], parts: Sequence[int]) -> list[str]:
    return [*warn_parted(groups, parts), *warn_few(groups, labels, parts)]


def copies(parts: Sequence[int], hashes: Sequence[str], alike: Iterable[Pair]) -> dict[str, int]:
    """How many pictures have a copy, of the same bytes or look, where it flatters: val in train,
    test in train or val.

    `pool`: of train and val together those with one among them, which a new train/val split may
    part.
    """
    first: dict[str, int] = {}
    same = [(first.setdefault(digest, row), row) for row, digest in enumerate(hashes)]
    seen: defaultdict[int, set[int]] = defaultdict(set)
    for a, b in (*same, *alike):
        if a != b:
            seen[a].add(parts[b])
            seen[b].add(parts[a])
    has = [(parts[row], there) for row, there in seen.items()]
    return {
        "valid": sum(part == VALID and TRAIN in there for part, there in has),
        "test": sum(part == TEST and bool(there & {TRAIN, VALID}) for part, there in has),
        "pool": sum(part != TEST and bool(there & {TRAIN, VALID}) for part, there in has),
    }


def channel_statistics(
    images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over the pictures `rows`, in units of 0 … 1.

    From exact integer histograms, so every machine gets the same numbers. A deviation is at least
    one grey level.
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
        f"the folder is called '{listing.title}', but its {plural(len(listing.files), 'picture')} "
        f"in {len(listing.classes)} classes are not Food-11's {NUM_FOOD11:,} in 11"
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
        warnings.append(
            f"imbalance: the training classes have {min(num_train)} to {max(num_train)} pictures"
        )
    if absent:
        warnings.append(f"classes without a validation picture: {_some(absent)}")
    untested = [f"'{name}'" for c, name in enumerate(classes) if not counts[TEST, c]]
    if 0 < len(untested) < len(classes):
        warnings.append(
            f"classes without a labelled test picture: {_some(untested)}; test numbers say nothing "
            "of them"
        )
    return warnings


def _warn_copies(
    files: Sequence[str], labels: Sequence[int], parts: Sequence[int], hashes: Iterable[str]
) -> list[str]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(hashes):
        groups[digest].append(row)
    leaked: Counter[int] = Counter()
    contradicting: list[Pair] = []
    for rows in groups.values():
        here = {parts[row] for row in rows}
        leaked.update(parts[row] for row in rows if len(here) > 1)
        known = [row for row in rows if labels[row] >= 0]
        contradicting += [(known[0], row) for row in known if labels[row] != labels[known[0]]]
    warnings = []
    if leaked:
        shown = ", ".join(
            f"{leaked[part]} of {name}" for part, name in enumerate(PARTS) if leaked[part]
        )
        worst = "test" if leaked[TEST] else "validation"
        warnings.append(
            f"leak: pictures with an exact copy in another part: {shown}; {worst} numbers are "
            "flattered"
        )
    if contradicting:
        num = len({row for pair in contradicting for row in pair})
        warnings.append(
            f"{plural(num, 'picture has', 'pictures have')} an exact copy with another label "
            f"({_examples(files, contradicting)})"
        )
    return warnings


def _warn_twins(
    files: Sequence[str],
    labels: Sequence[int],
    parts: Sequence[int],
    hashes: Sequence[str],
    pairs: Iterable[tuple[int, int]],
    grouped: bool | None,
) -> list[str]:
    """`pairs` of rows look the same; those of the same bytes have been reported already. `grouped`:
    None where nobody can say what shows one subject.
    """
    new = [(a, b) for a, b in pairs if hashes[a] != hashes[b]]
    leaking = [(a, b) for a, b in new if parts[a] != parts[b]]
    contradicting = [
        (a, b) for a, b in new if labels[a] != labels[b] and min(labels[a], labels[b]) >= 0
    ]
    warnings = []
    if leaking:
        counts = Counter(parts[row] for row in {row for pair in leaking for row in pair})
        shown = ", ".join(
            f"{counts[part]} of {name}" for part, name in enumerate(PARTS) if counts[part]
        )
        warnings.append(
            f"leak: pictures that look the same as one in another part: {shown} "
            f"({_examples(files, leaking)})"
        )
        if grouped is False:
            warnings.append(
                "if several pictures show one subject, dataset.group_pattern keeps them on one side"
            )
    if contradicting:
        num = len({row for pair in contradicting for row in pair})
        warnings.append(
            f"{plural(num, 'picture looks', 'pictures look')} the same as one with another label "
            f"({_examples(files, contradicting)})"
        )
    return warnings


def _examples(files: Sequence[str], pairs: Sequence[Pair]) -> str:
    shown = ", ".join(
        f"{printable(files[a], 60)} ~ {printable(files[b], 60)}" for a, b in pairs[:EXAMPLES]
    )
    return (
        f"{shown} and {plural(len(pairs) - EXAMPLES, 'more pair')}" if pairs[EXAMPLES:] else shown
    )


def _some(items: Sequence[str]) -> str:
    return ", ".join(printable(item) for item in items[:10]) + (
        f" and {len(items) - 10} more" if items[10:] else ""
    )
