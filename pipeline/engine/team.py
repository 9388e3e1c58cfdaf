"""The processes that train one run on several devices: the worker leads, the others follow from the
same order.
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.core.parallel import Group, joined
from pipeline.engine.order import Order
from pipeline.engine.processes import ends_with_parent

FOLLOW = "import sys; from pipeline.engine.worker import follow; follow(*sys.argv[1:])"


@contextlib.contextmanager
def team(order: Order) -> Iterator[Group]:
    """Start the order's other processes and join them; they end with this block.

    If one of them dies this process ends too, since it would wait for it for ever: the segment is
    then handed out again.
    """
    size = order.num_processes
    if size == 1:
        yield Group()
        return
    with tempfile.TemporaryDirectory(prefix="team-") as folder:
        meeting = Path(folder) / "meeting"
        followers = [_start(order, rank, meeting) for rank in range(1, size)]
        done = threading.Event()
        threading.Thread(target=_watch, args=(followers, done), daemon=True).start()
        try:
            with joined(0, size, meeting, order.device) as group:
                yield group
        finally:
            done.set()
            for follower in followers:
                follower.kill()
                follower.wait()


def _start(order: Order, rank: int, meeting: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = (order.to_json(), str(rank), str(meeting))
    return subprocess.Popen([sys.executable, "-c", FOLLOW, *words], env=environment)


def _watch(followers: list[subprocess.Popen[bytes]], done: threading.Event) -> None:
    while not done.wait(0.5):
        for follower in followers:
            if follower.poll() not in (None, 0) and not done.wait(
                5
            ):  # if the leader fails too, it says why
                logging.error(
                    "a process of the run's team died with exit code %s", follower.returncode
                )
                os._exit(1)


@contextlib.contextmanager
def following(order: Order, rank: int, meeting: Path) -> Iterator[tuple[Order, Group]]:
    """(order, group) in a process that `team` started; it is killed together with the one that
    started it.
    """
    ends_with_parent()
    device = f"cuda:{rank}" if order.device.startswith("cuda") else order.device
    with joined(rank, order.num_processes, meeting, device) as group:
        yield replace(order, device=device), group
