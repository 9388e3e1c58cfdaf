"""Cut: pictures for validation and testing taken from the training part, the same ones on every
machine.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from pipeline.data.listing import PARTS, TEST, TRAIN, UNKNOWN, VALID

SALT = "fixed cut"
NAMES = {VALID: "validation", TEST: "test"}


def cut(
    keys: Sequence[str],
    labels: Sequence[int],
    parts: list[int],
    shares: dict[int, float],
    groups: Sequence[str] = (),
) -> list[str]:
    """Move training pictures to the parts that `shares` names, class by class; changes `parts`,
    returns what was done.

    Chosen by a hash of the key, so the cut does not depend on the machine and hardly moves when
    pictures are added. Classes of fewer than 4 pictures stay whole; pictures without a label stay
    where they are. Where there are groups, these stay whole, and the shares are met as nearly as
    they allow.
    """
    if shares and any(groups):
        return _cut_groups(keys, labels, parts, shares, groups)
    classes: defaultdict[int, list[int]] = defaultdict(list)
    for row, (label, part) in enumerate(zip(labels, parts, strict=True)):
        if part == TRAIN and label != UNKNOWN and shares:
            classes[label].append(row)
    for rows in classes.values():
        rows.sort(key=lambda row: _lot(keys[row]))
        start = 0
        for part, share in shares.items():
            num = max(1, int(len(rows) * share + 0.5)) if len(rows) >= 4 else 0
            for row in rows[start : start + num]:
                parts[row] = part
            start += num
    return [
        (
            f"no {NAMES[part]} part: {share * 100:.0f} % of each class was cut from the training "
            "pictures"
        )
        for part, share in shares.items()
    ]


def _cut_groups(
    keys: Sequence[str],
    labels: Sequence[int],
    parts: list[int],
    shares: dict[int, float],
    groups: Sequence[str],
) -> list[str]:
    """The same by groups; what is in another part already keeps its group out of the cut."""
    import numpy as np  # no command line needs it

    from pipeline.data.dealt import codes, take

    own = [name or f"/{key}" for name, key in zip(groups, keys, strict=True)]
    elsewhere = {name for name, part in zip(own, parts, strict=True) if part != TRAIN}
    rows = np.array([row for row, name in enumerate(own) if name not in elsewhere], np.int64)
    classes = np.array(labels, np.int64)
    num_classes = max(labels, default=UNKNOWN) + 1
    learnt = classes[(np.array(parts) == TRAIN) & (classes != UNKNOWN)]
    whole = np.bincount(learnt, minlength=num_classes)
    order = {name: place for place, name in enumerate(sorted(set(own), key=_lot))}
    wanted = [np.round(whole * share).astype(np.int64) for share in shares.values()]
    names = [own[row] for row in rows]
    taken = take(classes[rows], codes(names), [order[name] for name in names], *wanted)
    said = []
    for number, part in enumerate(shares):
        for row in rows[taken == number]:
            parts[row] = part
        num = int(((taken == number) & (classes[rows] != UNKNOWN)).sum())
        cut_off = f"{100 * num / max(1, len(learnt)):.0f} % of the training pictures were cut off"
        why = f"{cut_off}, whole groups" if num else "no whole group could be cut off"
        said.append(f"no {NAMES[part]} part: {why}")
    return said


def origins(shares: dict[int, float], *, whole_groups: bool = False) -> dict[str, str]:
    """Part → how it was cut, in words."""
    if whole_groups:
        return {PARTS[part]: "cut from train, whole groups" for part in shares}
    return {
        PARTS[part]: f"cut from train: {share * 100:.0f} % of each class"
        for part, share in shares.items()
    }


def warn_test(labels: Sequence[int], parts: Sequence[int]) -> list[str]:
    """What keeps the test pictures from giving an honest number."""
    tests = [label for label, part in zip(labels, parts, strict=True) if part == TEST]
    unknown = tests.count(UNKNOWN)
    if not tests:
        return [
            "no test pictures: there is no honest test number, validation numbers were used for "
            "selection"
        ]
    if unknown == len(tests):
        bare = (
            "the only test picture has no label"
            if unknown == 1
            else f"none of the {unknown:,} test pictures has a label"
        )
        return [f"{bare}: there is no honest test number"]
    have = "has no label and counts" if unknown == 1 else "have no label and count"
    return [f"{unknown:,} of {len(tests):,} test pictures {have} for no number"] if unknown else []


def _lot(key: str) -> bytes:
    return hashlib.sha256(f"{SALT}/{key}".encode(errors="surrogateescape")).digest()
