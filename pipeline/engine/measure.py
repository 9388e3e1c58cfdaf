"""What runs will cost, measured before any is trained: as many at once as runs go, since
they slow each other down.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pipeline.core.config import TrainConfig
from pipeline.core.costs import Cost, Shape
from pipeline.engine.processes import ends_with_parent
from pipeline.machine import Resources

SERVE = "from pipeline.engine.measure import serve; serve()"
START_SECONDS = 60.0  # of a process, torch's import included, on a machine that is busy


@dataclass
class Measured:
    """Fingerprint of a config → what it costs; seconds from the call for a process until it could
    train, 0 where none got so far.
    """

    costs: dict[str, Cost] = field(default_factory=dict)
    start_seconds: float = 0.0

    def read(self, text: str) -> None:
        """Take in what a process said, but for a line that was cut off."""
        for line in text.splitlines():
            with suppress(ValueError, TypeError, LookupError):
                tree: dict[str, Any] = dict(json.loads(line))
                if "start_seconds" in tree:
                    self.start_seconds = max(self.start_seconds, float(tree["start_seconds"]))
                else:
                    key = tree.pop("config")
                    self.costs[key] = Cost(**tree)


class Measure(Protocol):
    """`measured`, or what does the same elsewhere."""

    def __call__(
        self,
        configs: Iterable[TrainConfig],
        shape: Shape,
        means: Resources,
        *,
        most_seconds: float,
    ) -> Measured: ...


def measured(
    configs: Iterable[TrainConfig], shape: Shape, means: Resources, *, most_seconds: float
) -> Measured:
    """What the configs cost. Of those that cannot be built, and that were not reached in about
    `most_seconds`, nothing.
    """
    distinct = {config.in_force().fingerprint(): config for config in configs}
    shares = [
        dict(list(distinct.items())[place :: means.workers]) for place in range(means.workers)
    ]
    processes = [
        _start(share, shape, means, most_seconds / max(1, len(share))) for share in shares if share
    ]
    deadline = time.monotonic() + START_SECONDS + most_seconds
    found = Measured()
    try:
        for process in processes:
            try:
                text, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                text, _ = process.communicate()
            found.read(text)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return found


def _start(
    share: Mapping[str, TrainConfig], shape: Shape, means: Resources, most_seconds: float
) -> "subprocess.Popen[str]":
    order = {
        "configs": {key: config.model_dump(mode="json") for key, config in share.items()},
        "shape": asdict(shape),
        "device": means.device,
        "most_seconds": most_seconds,
        "called": time.time(),
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        env=environment | {"OMP_NUM_THREADS": "1"},
        text=True,
        errors="replace",
    )
    assert process.stdin
    with suppress(OSError):  # it ended at once: nothing is measured
        process.stdin.write(json.dumps(order))
        process.stdin.close()
    process.stdin = None  # its order is whole, so that it begins now, beside the others
    return process


def serve() -> None:
    """In a process of its own: say how long it took to start, measure what comes in, and say what
    each costs in a line.

    What networks and their libraries print goes elsewhere than those lines.
    """
    ends_with_parent()
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.load(sys.stdin)  # before torch is imported: who started it waits for that
    from pipeline.core.process import tune_process
    from pipeline.core.stopwatch import time_epoch

    shape = Shape(**order["shape"])
    tune_process()
    started = {"start_seconds": max(0.0, time.time() - order["called"])}
    print(json.dumps(started), file=told, flush=True)
    configs = list(order["configs"].items())
    for key, tree in (*configs[:1], *configs):  # a process's first steps are no measure of others
        try:
            config = TrainConfig.parse(tree, source="measure")
            cost = time_epoch(
                config, shape, device=order["device"], most_seconds=order["most_seconds"]
            )
        except Exception:  # what it trains says so itself, with its config
            logging.warning("not measured", exc_info=True)
            continue
        print(json.dumps({"config": key} | asdict(cost)), file=told, flush=True)
