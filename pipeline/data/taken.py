"""Taken: what was taken of a set, and by what rule; shown before anything is trained, kept with
what was learnt from it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.counts import plural
from pipeline.errors import printable
from pipeline.screen import fold

FIRST = 5  # classes and folders that are named
SHOWN = {"train": "train", "valid": "validation", "test": "test"}
SINGULAR = re.compile(r"\b(picture|file|folder|link)s\b")  # its first noun is what a kind counts


def counted(num: int, kind: str) -> str:
    """`1 .db file`, `2 pictures without a label`: a number of a kind that is named in the
    plural.
    """
    kind = SINGULAR.sub(r"\1", kind, count=1) if num == 1 else kind
    return f"{num:,} {kind}"


def num_labelled(data: Mapping[str, Any], part: str) -> int:
    """Pictures of a part in a study's `data` that have a label: those that judge. Earlier versions
    did not write the number, only whether there is any, and how many had none before unreadable
    pictures were left out."""
    if "labelled" in data:
        return int(data["labelled"][part])
    if part not in data.get("most_frequent", {part: 1.0}):
        return 0
    _, bare = data.get("taken", {}).get("counts", {}).get(part, (0, 0))
    return max(0, int(data["counts"].get(part, 0)) - int(bare))


@dataclass(frozen=True)
class Source:
    """Where a layout found what. `labels`: what says the class of a picture; `files`: what says
    where it lies ('' where it was found by its folder); `parts`: part → where it comes from;
    `left_out`: what → how many; `groups`: how many subjects, and what says them ('': nothing)."""

    labels: str
    files: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    groups: str = ""


@dataclass(frozen=True)
class Taken:
    """`classes`: (name, labelled pictures) in the order of the labels; `counts`: pictures of each
    part and of those how many have no label; the rest as of `Source`."""

    classes: tuple[tuple[str, int], ...]
    counts: Mapping[str, tuple[int, int]]
    labels: str
    files: str
    parts: Mapping[str, str]
    left_out: Mapping[str, int]
    groups: str = ""

    @classmethod
    def of(
        cls, source: Source, classes: Sequence[str], labels: Sequence[int], parts: Sequence[int]
    ) -> "Taken":
        """`labels` (-1: none) and `parts` (0 train, 1 valid, 2 test) of every picture, before any
        is decoded.
        """
        num, rows = (
            Counter(labels),
            Counter(zip(parts, (label < 0 for label in labels), strict=True)),
        )
        return cls(
            tuple((name, num[code]) for code, name in enumerate(classes)),
            {
                part: (rows[code, False] + rows[code, True], rows[code, True])
                for code, part in enumerate(SHOWN)
            },
            source.labels,
            source.files,
            dict(source.parts),
            {what: number for what, number in source.left_out.items() if number},
            source.groups,
        )

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> "Taken":
        """From its form in the cache or the ledger."""
        classes = tuple((name, num) for name, num in tree["classes"])
        counts = {part: (total, bare) for part, (total, bare) in tree["counts"].items()}
        return cls(**{**tree, "classes": classes, "counts": counts})

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        tree = asdict(self)
        if not self.groups:
            del tree["groups"]  # as earlier versions wrote it
        return tree

    def lines(self) -> list[tuple[str, str]]:
        """(what, in words) for every line that is shown."""
        shown = ", ".join(f"{printable(name, 40)} ({num:,})" for name, num in self.classes[:FIRST])
        nums = [num for _, num in self.classes]
        more = (
            f", and {len(nums) - FIRST:,} more; {self.sizes()} picture{'s' * ({*nums} != {1})} each"
            if nums[FIRST:]
            else ""
        )
        made = [("classes", f"{len(nums):,}: {shown}{more}"), ("labels", self.labels)]
        made += [("files", self.files)] if self.files else []
        made += [("groups", self.groups)] if self.groups else []
        for part, name in SHOWN.items():
            total, bare = self.counts[part]
            without = f" ({bare:,} without a label)" if bare else ""
            origin = f", {self.parts[part]}" if part in self.parts else ""
            made.append((name, f"{plural(total, 'picture')}{without}{origin}" if total else "none"))
        ranked = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        return [
            *made,
            ("left out", ", ".join(counted(num, what) for what, num in ranked) or "nothing"),
        ]

    def sizes(self) -> str:
        """The labelled pictures of a class: `12 to 30`."""
        least, most = (bound(num for _, num in self.classes) for bound in (min, max))
        return f"{least:,} to {most:,}" if least < most else f"{least:,}"

    def text(self, warnings: Sequence[str] = ()) -> str:
        """The lines, then what there is to be warned of, in the width of the screen."""
        said = [*self.lines(), *(("warning", warning) for warning in warnings)]
        lines = (
            fold(printable(words, 2000), first=f"{what:<11}", then=" " * 11) for what, words in said
        )
        return "\n".join(line for own in lines for line in own)
