"""The processes that train one run on several devices: the worker leads, the others follow from the
same order.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.core.loop import Diverged
from pipeline.core.memory import out_of_memory
from pipeline.core.parallel import Group, joined
from pipeline.engine.last_words import leave
from pipeline.engine.order import Order, Outcome
from pipeline.engine.processes import ends_with_parent
from pipeline.errors import printable

FOLLOW = "import sys; from pipeline.engine.worker import follow; follow(*sys.argv[1:])"
PATIENCE_SECONDS = 5.0
"""How long one side may go on once the other has failed: it may be about to say why itself."""


@contextlib.contextmanager
def team(order: Order, ended: Callable[[Exception], Outcome]) -> Iterator[Group]:
    """Start the order's other processes and join them; they end with this block.

    Where one of them fails, what it says is raised here. Where this process waits for it on a
    device and hears nothing, it leaves behind what `ended` makes of the failure, and dies.
    """
    size = order.num_processes
    if size == 1:
        yield Group()
        return
    with tempfile.TemporaryDirectory(prefix="team-") as folder:
        meeting = Path(folder) / "meeting"
        followers = [_start(order, rank, meeting) for rank in range(1, size)]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5):
                if (said := _failure(followers, meeting)) and not done.wait(PATIENCE_SECONDS):
                    logging.error("the run's team: %s", said)
                    leave(order, ended(said))
                    os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
        try:
            with joined(0, size, meeting, order.device) as group:
                try:
                    yield group
                except Exception as error:
                    if said := _instead_of(error, followers, meeting):
                        raise said from error
                    raise
                finally:
                    if sys.exc_info()[0] is not None:
                        # the others wait for this one: before the group is left, which waits too
                        done.set()
                        _end(followers)
        finally:
            done.set()
            _end(followers)


def _end(followers: list[subprocess.Popen[bytes]]) -> None:
    for follower in followers:
        follower.kill()
        follower.wait()


def _instead_of(
    error: Exception, followers: list[subprocess.Popen[bytes]], meeting: Path
) -> Exception | None:
    """What another process failed for, where this one's error may be no more than its echo."""
    if not isinstance(error, RuntimeError) or out_of_memory(error):
        return None
    end = time.monotonic() + PATIENCE_SECONDS
    while not (said := _failure(followers, meeting)) and time.monotonic() < end:
        time.sleep(0.05)
    return said


def _failure(followers: list[subprocess.Popen[bytes]], meeting: Path) -> Exception | None:
    """Why a process has failed that is dead, as it says itself."""
    for rank, follower in enumerate(followers, 1):
        if follower.poll() in (None, 0):
            continue
        try:
            told = json.loads(_note(meeting, rank).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            how = f"process {rank} of the run's team died with exit code {follower.returncode}"
            return ConnectionError(how)
        return KINDS[told["kind"]](f"process {rank} of the run's team: {told['error']}")
    return None


KINDS: dict[str, type[Exception]] = {
    "memory": torch.OutOfMemoryError,
    "machine": ConnectionError,
    "other": RuntimeError,
}


def _note(meeting: Path, rank: int) -> Path:
    return meeting.with_name(f"failure-{rank}")


def _start(order: Order, rank: int, meeting: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = (order.to_json(), str(rank), str(meeting))
    return subprocess.Popen([sys.executable, "-c", FOLLOW, *words], env=environment)


@contextlib.contextmanager
def following(order: Order, rank: int, meeting: Path) -> Iterator[tuple[Order, Group]]:
    """(order, group) in a process that `team` started; it is killed together with the one that
    started it. Where it fails it says why, and dies at once: to leave the group in order, it would
    wait for those that wait for it.
    """
    ends_with_parent()
    device = f"cuda:{rank}" if order.device.startswith("cuda") else order.device
    try:
        with joined(rank, order.num_processes, meeting, device) as group:
            yield replace(order, device=device), group
    except Diverged:  # so has the leader
        os._exit(1)
    except Exception as error:
        traceback.print_exc()
        memory, machine = out_of_memory(error), isinstance(error, (OSError, MemoryError))
        kind = "memory" if memory else "machine" if machine else "other"
        text = printable(f"{type(error).__name__}: {error}", 500)
        _note(meeting, rank).write_text(json.dumps({"kind": kind, "error": text}))
        os._exit(1)
