"""Who trains the segments of a plan."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.engine.interrupts import Interrupts
from pipeline.engine.queue import Plan
from pipeline.machine import Resources


class Executor(Protocol):
    """A module is one: `ray_tune`, `in_process`."""

    def run(
        self,
        plan: Plan,
        resources: Resources,
        data: Path,
        *,
        interrupts: Interrupts,
        deadline: float = float("inf"),
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Train all that `plan` hands out on the pictures in cache folder `data`; `on_step` is
        called often.

        Returns when the plan is done, when a signal came, or when `deadline` (monotonic seconds)
        has passed. Raises MachineError where the machine does not allow it, and whatever the plan
        raises.
        """
