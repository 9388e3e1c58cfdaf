"""What a driver's thread does with a plan, counted from within: for `benchmarks.ceiling`."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from pipeline.engine.queue import Plan
from pipeline.record.events import Event

COLUMNS = (
    ("trials", 7),
    ("results", 9),
    ("results/s", 11),
    ("CPU ms", 8),
    ("disk ms", 9),
    ("suggestion ms", 15),
    ("bytes", 7),
    ("waiting", 9),
    ("late s", 8),
    ("MLflow/s", 10),
    ("MB", 7),
)


@dataclass(frozen=True)
class Reading:
    """What was counted so far: trials begun, results, events and bytes of the ledger, events that
    are in MLflow, suggestions; seconds: of the clock, of the driving thread's CPU, of its waiting
    for the disk, of CPU for suggestions.
    """

    trials: int = 0
    results: int = 0
    events: int = 0
    ledger: int = 0
    delivered: int = 0
    suggestions: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    disk: float = 0.0
    suggesting: float = 0.0


@dataclass(frozen=True)
class Stretch:
    """From one reading to another; at its end `waiting` events were not in MLflow, the first of
    them for `late` seconds, and the process had so much memory, in bytes.
    """

    before: Reading
    after: Reading
    waiting: int
    late: float
    memory: int

    def num(self, name: str) -> Any:
        return getattr(self.after, name) - getattr(self.before, name)

    def a_result(self, name: str) -> float:
        return float(self.num(name)) / max(1, self.num("results"))

    @property
    def rate(self) -> float:
        """Results a second."""
        return float(self.num("results") / self.num("wall"))

    @property
    def mlflow_rate(self) -> float:
        """Results a second that came to MLflow, with all that belongs to them."""
        return float(self.num("delivered") / max(1, self.num("events"))) * self.rate

    def line(self) -> str:
        suggestion = self.num("suggesting") / max(1, self.num("suggestions"))
        values = (
            f"{self.after.trials:,}",
            f"{self.num('results'):,}",
            f"{self.rate:.0f}",
            f"{1000 * self.a_result('cpu'):.2f}",
            f"{1000 * self.a_result('disk'):.2f}",
            f"{1000 * suggestion:.1f}",
            f"{self.a_result('ledger'):.0f}",
            f"{self.waiting:,}",
            f"{self.late:.0f}",
            f"{self.mlflow_rate:.0f}",
            f"{self.memory / 1e6:.0f}",
        )
        return "".join(
            f"{value:>{width}}" for value, (_, width) in zip(values, COLUMNS, strict=True)
        )


class Meter:
    """Counts what an executor's thread does with its plan, in stretches of `every` trials."""

    def __init__(self, every: int, say: Callable[[str], None]) -> None:
        self.every, self.say, self.found = every, say, list[Stretch]()

    @contextlib.contextmanager
    def following(self, plan: Plan) -> Iterator[None]:
        """Count for the block."""
        waits, hears = os.fsync, plan.ledger.listener
        self.plan, self._heard, self._times = plan, hears, dict[int, float]()
        self._results = self._suggestions = 0
        self._disk = self._suggesting = 0.0
        self._aside = [0.0, 0.0]  # seconds by the clock and of CPU
        os.fsync = self._clocked(waits)  # type: ignore[assignment]
        plan.ledger.listener = self._hear
        plan.trials.propose = self._timed(plan.trials.propose)  # type: ignore[method-assign, assignment]
        self._last = self._read()
        try:
            yield
        finally:
            self._end()
            self.ended = time.monotonic()
            os.fsync, plan.ledger.listener = waits, hears

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leave out what the block takes: a worker would do it elsewhere."""
        begun = time.perf_counter(), time.thread_time()
        yield
        self._aside[0] += time.perf_counter() - begun[0]
        self._aside[1] += time.thread_time() - begun[1]

    def step(self) -> None:
        """Call often."""
        if len(self.plan.record.trial_keys) >= self._last.trials + self.every:
            self._end()

    def _end(self) -> None:
        now = self._read()
        if now.results == self._last.results:
            return
        first = self._times.get(now.delivered)  # the first that waits: they count from 0
        late = time.time() - first if first else 0.0
        memory = psutil.Process().memory_info().rss
        self.found.append(Stretch(self._last, now, now.events - now.delivered, late, memory))
        self.say(self.found[-1].line())
        self._last = self._read()

    def _read(self) -> Reading:
        folder, ledger = self.plan.ledger.folder, self.plan.ledger.path
        try:
            delivered = int(json.loads((folder / "mlflow.json").read_text())["seq"]) + 1
        except FileNotFoundError:
            delivered = 0
        return Reading(
            trials=len(self.plan.record.trial_keys),
            results=self._results,
            events=max(self._times, default=-1) + 1,
            ledger=ledger.stat().st_size,
            delivered=delivered,
            suggestions=self._suggestions,
            wall=time.perf_counter() - self._aside[0],
            cpu=time.thread_time() - self._aside[1],
            disk=self._disk,
            suggesting=self._suggesting,
        )

    def _hear(self, event: Event) -> None:
        self._times[int(event.seq)] = event.time
        self._results += event.kind == "epoch"
        if self._heard:
            self._heard(event)

    def _clocked(self, fsync: Callable[[Any], None]) -> Callable[[Any], None]:
        own = threading.get_ident()

        def clocked(file: Any) -> None:
            begun = time.perf_counter()
            fsync(file)
            if threading.get_ident() == own:
                self._disk += time.perf_counter() - begun

        return clocked

    def _timed(self, propose: Callable[[int], Any]) -> Callable[[int], Any]:
        def timed(number: int) -> Any:
            begun = time.thread_time()
            found = propose(number)
            self._suggesting += time.thread_time() - begun
            self._suggestions += 1
            return found

        return timed
