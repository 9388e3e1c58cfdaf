"""The plain executor: segments of a plan one after another, in this very process, for a debugger
and for tests.

What a run prints, its traceback included, goes where this process prints. A stop takes effect at
the end of an epoch.
"""

import math
import os
import pdb
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.engine import run_log
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.order import checkpoint_folder
from pipeline.engine.queue import Plan
from pipeline.engine.worker import work
from pipeline.machine import Resources
from pipeline.record import lease


class Ended(BaseException):
    """The whole run ends: not an Exception, which would be the segment's failure."""


def run(
    plan: Plan,
    resources: Resources,
    data: Path,
    *,
    interrupts: Interrupts,
    deadline: float = float("inf"),
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """See `Executor`."""
    folder = plan.ledger.folder.resolve()
    run_log.clear(folder)

    class Debugger(pdb.Pdb):
        def set_quit(self) -> None:
            interrupts.signal = signal.SIGINT  # as Ctrl-C does: the run is gone on with
            raise Ended

    def stop_here(*_: object, **__: object) -> None:
        Debugger().set_trace(sys._getframe(1))

    def step() -> None:
        on_step()
        if interrupts.signal or time.monotonic() >= deadline:
            raise Ended

    before, taken = sys.breakpointhook, _smallest_are_zero()
    if "PYTHONBREAKPOINT" not in os.environ:  # else it is the user's own debugger, or none
        sys.breakpointhook = stop_here
    try:
        step()
        while (segment := plan.next()) is not None:
            name = segment.name

            def on_epoch(metrics: dict[str, float], name: str = name) -> None:
                plan.epoch(name, metrics)
                step()

            lease.grant(checkpoint_folder(folder, segment.run), name)
            plan.finish(name, work(segment.order(folder, data, resources), on_epoch))
            step()
    except Ended:
        pass
    finally:
        sys.breakpointhook = before
        if not taken:  # training takes them for it, and this thread is the caller's
            torch.set_flush_denormal(False)


def _smallest_are_zero() -> bool:
    """Whether this thread takes the smallest numbers for 0."""
    return math.ulp(0.0) * float(1) == 0.0
