"""Listing: names, labels and parts of a set of pictures, before anything is decoded."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from pipeline.counts import plural
from pipeline.data.taken import Taken, counted
from pipeline.errors import UserError, printable

TRAIN, VALID, TEST = 0, 1, 2
PARTS = ("train", "valid", "test")
UNKNOWN = -1
NUMBER = re.compile(r"([+-]?[0-9]{1,18})(\.[0-9]+)?")
WHOLE = re.compile(r"[0-9]{1,18}")
SCIENTIFIC = re.compile(
    r"[+-]?[0-9]\.[0-9]+e[+-][0-9]{2}"
)  # as NumPy writes tables; an id would hardly be such
BLANKS = frozenset(
    ("-", "--", "?", "??", ".", "-1", "n/a", "na", "nan", "null", "nil", "none", "missing", "tbd")
)
BLANKS |= {"unknown", "unlabeled", "unlabelled", "unclassified", "undefined"}
RULES = (
    3  # by which pictures are found and decoded; raise it whenever the same files may give others
)
FIRST_RULES = 2  # of the oldest records that are still read
FULL_DEPTH = 65_535  # the largest value of 16 bits


class BadPicture(Exception):
    """A picture that cannot be used; its message is the reason."""


@dataclass(frozen=True)
class Reading:
    """How a set is read. `rules`: today's, or those that a record was made by; `top`: the value
    that pictures of 16 bits have white at, one for the whole set."""

    rules: int = RULES
    top: int = FULL_DEPTH


@dataclass(frozen=True)
class Listing:
    """The pictures of a dataset, sorted by file name; `labels`, `parts`, `stamps` run parallel to
    `files`.

    `files` are paths relative to `root` with `/` (they may hold any bytes a file system allows:
    show them with `printable`). `labels` index `classes`, -1 = unknown. `parts`: 0 train, 1 valid,
    2 test. `stamps`: (bytes, modification time in ns). `taken`: what was taken, and by what rule.
    `written`: how the set itself writes each class as a label, where that is not its name;
    `columns`: of its table, of the files and of the labels. `groups`: the subject that each picture
    shows, '' = none of which others are known; empty where nobody said.
    """

    root: Path | None
    title: str
    layout: str
    files: tuple[str, ...]
    labels: tuple[int, ...]
    parts: tuple[int, ...]
    stamps: tuple[tuple[int, int], ...]
    classes: tuple[str, ...]
    taken: Taken
    warnings: tuple[str, ...]
    written: tuple[str, ...] = ()
    columns: tuple[str, str] | None = None
    groups: tuple[str, ...] = ()

    @property
    def ignored(self) -> dict[str, int]:
        """What was left out by rule → how many."""
        return dict(self.taken.left_out)


def in_order(names: Iterable[str]) -> list[str]:
    """The names of classes in the order that their labels count in: numbers by value, then words by
    letters.
    """
    return sorted(
        names,
        key=lambda name: (
            (0, Decimal(name), name) if NUMBER.fullmatch(name) else (1, Decimal(0), name)
        ),
    )


def plain(label: str) -> str:
    """A label without the zeros that a table of floats gives it: `3.0` is 3."""
    if SCIENTIFIC.fullmatch(label) and Decimal(label) % 1 == 0:
        label = f"{Decimal(label):f}"
    match = NUMBER.fullmatch(label)
    return match[1] if match and not (match[2] or "").strip(".0") else label


def as_recorded(listing: Listing, classes: Sequence[str]) -> Listing:
    """The listing with its classes as an earlier record has them, where they are the same ones: in
    another order ('10' before '2' in earlier ones), or 3.0 for 3. Its labels follow, so that they
    mean what they meant."""
    codes = {plain(name): code for code, name in enumerate(classes)}
    if len(codes) != len(classes) or codes.keys() != set(listing.classes):
        return listing
    labels = (
        label if label == UNKNOWN else codes[listing.classes[label]] for label in listing.labels
    )
    nums = {codes[name]: num for name, num in listing.taken.classes}
    taken = replace(
        listing.taken, classes=tuple((name, nums[code]) for code, name in enumerate(classes))
    )
    by_name = dict(zip(listing.classes, listing.written, strict=False))
    written = tuple(by_name[plain(name)] for name in classes) if by_name else ()
    return replace(
        listing, classes=tuple(classes), labels=tuple(labels), taken=taken, written=written
    )


def require_distinct(
    where: str, names: Sequence[str], lines: Mapping[str, int] | None = None
) -> None:
    """Raise UserError where two classes have the same name but for case, spaces, zeros (7, 007) or
    Unicode form; `lines`: where they stand."""
    folded: dict[str, str] = {}
    for name in names:
        key = " ".join(unicodedata.normalize("NFC", name).casefold().split())
        twin = folded.setdefault(str(int(plain(key))) if WHOLE.fullmatch(plain(key)) else key, name)
        if twin is not name:
            shown = [
                f"'{own}'" + (f" (line {lines[own]})" if lines else "") for own in (twin, name)
            ]
            raise UserError(
                f"{where}: classes {' and '.join(shown)} have the same name but for case, spaces, "
                "zeros or Unicode form"
            )


def warn_blanks(taken: Taken, way: str) -> list[str]:
    """What is to be said where a class beside others is called as one writes that there is no
    label; `way`: of leaving its pictures out."""
    num = dict(taken.classes)
    found = [
        name for name in num if name.strip().casefold() in BLANKS and num.keys() != {"-1", "1"}
    ]
    shown = ", ".join(f"'{printable(name, 40)}' ({num[name]:,})" for name in found[:10])
    told = "classes that are called as if there were no label, and are classes like the others"
    return (
        [f"{told}: {shown}; to leave their pictures out, {way}"]
        if 0 < len(found) < len(num)
        else []
    )


def small_classes(pictures: Iterable[tuple[str, int]], minimum: int) -> dict[str, int]:
    """Of (class or '', part) of every picture: the classes of fewer than `minimum` training
    pictures → how many.
    """
    rows = Counter(pictures)
    return {
        name: rows[name, TRAIN]
        for name in in_order({name for name, _ in rows} - {""})
        if rows[name, TRAIN] < minimum
    }


def warn_small(small: Mapping[str, int], minimum: int) -> list[str]:
    """What is to be said where classes were left out for their size."""
    shown = [f"'{printable(name, 60)}' ({num})" for name, num in small.items()]
    listed = ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if shown[10:] else "")
    told = (
        f"classes of fewer than {plural(minimum, 'training picture')} are left out "
        "(dataset.min_pictures)"
    )
    return [f"{told}: {listed}"] if small else []


def check_counts(
    where: str,
    labels: Sequence[int],
    parts: Sequence[int],
    classes: Sequence[str],
    *,
    few: str = "",
    hint: str = "",
) -> None:
    """Raise UserError, with the counts, unless there is something to learn and something to
    validate on.

    Needed: two classes, two training pictures in each, one labelled validation picture. `few` and
    `hint` say what else may be done where some classes are too small, or there are not two.
    """
    counts = Counter(zip(parts, labels, strict=True))
    if len(classes) < 2:
        only = (
            f"class '{printable(classes[0])}' with {_counts(counts, 0)}"
            if classes
            else "no class at all"
        )
        raise UserError(f"{where}: a classification needs at least 2 classes, found {only}{hint}")
    short = [c for c in range(len(classes)) if counts[TRAIN, c] < 2]
    if short:
        shown = "; ".join(
            f"'{printable(classes[c], 60)}': {_counts(counts, c)}" for c in short[:10]
        )
        more = f"; and {len(short) - 10} more" if len(short) > 10 else ""
        raise UserError(
            f"{where}: {len(short)} of {len(classes)} classes "
            f"{'has' if len(short) == 1 else 'have'} fewer than 2 training pictures: "
            f"{shown}{more}; add pictures or remove the class from every part{few}{hint}"
        )
    if not sum(counts[VALID, c] for c in range(len(classes))):
        num_train = sum(counts[TRAIN, c] for c in range(len(classes)))
        raise UserError(
            f"{where}: no validation pictures ({plural(num_train, 'training picture')} in "
            f"{len(classes)} classes): their folder is empty, or there is none and every class is "
            "too small (fewer than 4) to cut some off"
        )


def describe(ignored: dict[str, int]) -> str:
    """`3 hidden files, 1 other file type`, the most frequent first."""
    ranked = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(counted(num, kind) for kind, num in ranked) or "nothing"


def _counts(counts: Counter[tuple[int, int]], label: int) -> str:
    return ", ".join(f"{name} {counts[part, label]}" for part, name in enumerate(PARTS))


def num_kept(num: int, share: float) -> int:
    """How many of `num` pictures a share is; one at least, where there are any."""
    return min(num, max(1, math.ceil(round(share * num, 9))))
