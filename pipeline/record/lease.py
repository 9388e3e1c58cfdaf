"""A run's lease: which segment may write in the run's folder. The driver gives it, one worker at a
time holds it.

One file does both. In it stands the segment that was handed out last: a worker that comes late
finds another's name and stops. On it the worker holds the kernel's lock while it works: whatever
the driver believes, the next one begins after the last one has ended. The kernel drops the lock
with the process, however that ends.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pipeline.errors import MachineError, printable

FILE = "lease"
PATIENCE_SECONDS = 60.0  # a worker whose driver was killed lives on for seconds


class LeaseLost(Exception):
    """The run was handed to another worker, or its folder was taken away."""


class Lease:
    """What a worker holds of a run's folder for `segment`, from `held`."""

    def __init__(self, path: Path, file: IO[bytes], segment: str) -> None:
        self.path, self.file, self.segment = path, file, segment

    def check(self) -> None:
        """Call before anything is written, removed or reported; raises LeaseLost where the folder
        is no longer ours.
        """
        descriptor = self.file.fileno()
        try:
            there = os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            there = False
        if not there or os.pread(descriptor, 200, 0) != self.segment.encode():
            raise LeaseLost(f"{printable(self.path)}: the run is no longer this worker's")


def grant(folder: Path, segment: str) -> None:
    """Give the run's folder to `segment`; raises MachineError where the disk refuses.

    Written in place, since the lock is on the file: who reads half of it has lost the lease in any
    case.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(segment, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{printable(folder)}: cannot be used: {error.strerror}") from error


@contextlib.contextmanager
def held(folder: Path, segment: str) -> Iterator[Lease]:
    """Hold the run's folder for `segment`, as soon as whoever held it before has let go.

    Raises LeaseLost where it was given to another segment, TimeoutError where it is not let go in
    PATIENCE_SECONDS.
    """
    path = folder / FILE
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        raise LeaseLost(f"{printable(path)}: the run's folder was taken away") from None
    with file:
        lease, deadline = Lease(path, file, segment), time.monotonic() + PATIENCE_SECONDS
        while not _locked(file):
            lease.check()
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"another process still writes in {printable(folder)}; end it (fuser {FILE} "
                    "names it)"
                )
            time.sleep(0.05)
        lease.check()
        yield lease


def revoke(folder: Path) -> None:
    """Take the run's folder back and wait until nobody writes in it; raises MachineError where that
    takes too long.
    """
    grant(folder, "")
    try:
        with held(folder, ""):
            pass
    except TimeoutError as error:
        raise MachineError(str(error)) from None


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
