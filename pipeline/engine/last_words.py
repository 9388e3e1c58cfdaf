"""How a segment ended, of a worker that cannot report any more: written beside its output, taken up
by the driver when the worker is gone.
"""

import contextlib
import os
from pathlib import Path

from pipeline.engine.order import Order, Outcome, Report


def leave(order: Order, outcome: Outcome) -> None:
    """Write it down, whole or not at all; a disk that refuses leaves nothing."""
    path = _path(order.output)
    scratch = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        scratch.write_text(Report(order.segment, outcome).to_json(), encoding="utf-8")
        os.replace(scratch, path)


def left(output: Path) -> Outcome | None:
    """What the worker of a segment left whose output is this; once."""
    path = _path(output)
    try:
        text = path.read_text(encoding="utf-8")
        path.unlink()
    except OSError:
        return None
    told = Report.from_json(text).told
    return told if isinstance(told, Outcome) else None


def _path(output: Path) -> Path:
    return output.with_suffix(".last.out")
