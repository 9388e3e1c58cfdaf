"""Which recorded runs tell the sources of variance apart (see `study.variance`)."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from pipeline.record.record import Record, Run
from pipeline.study.variance import Layout

Level = tuple[Run | None, ...]
"""The runs of a level, by how many sources were drawn anew; None: not begun."""


def levels(record: Record, layout: Layout, config: dict[str, Any]) -> Iterator[Level]:
    """The levels of a layout; `config` is that of the reference as the study has it.

    A level's own run is the arm's replicate where there is one; the others have its configuration,
    which is its own where each replicate is tuned.
    """
    own = {run.replicate: run for run in record.arms().get(layout.arm, ())}
    others = defaultdict[int, list[Run]](list)
    for run in record.runs.values():
        if run.kind == "source":
            others[run.replicate].append(run)

    def find(number: int, config: dict[str, Any]) -> Run | None:
        return next((run for run in others[number] if run.config == config), None)

    for first, *more in layout.numbers():
        base = own.get(first) or find(first, config)
        made = base.config if base else config
        yield (base, *(find(number, made) for number in more))
