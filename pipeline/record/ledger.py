"""The study's own record: one append-only file, every line fsynced, the truth everything else is
rebuilt from.

One process writes at a time (see `lock`). A torn or hurt last line, which a power cut leaves, is
cut off on opening and kept beside; damage anywhere else is refused, never skipped
(`pipeline.repair` keeps what is sound).
"""

import contextlib
import errno
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar

from pipeline.counts import plural
from pipeline.errors import MachineError, printable
from pipeline.record import lease
from pipeline.record import lock as locks
from pipeline.record.event_form import read, written
from pipeline.record.events import Event
from pipeline.record.lines import FILE, FORMAT, seal, sound_lines
from pipeline.record.lock import Lock, free, open_plain

__all__ = ["FILE", "FORMAT", "Event", "Ledger", "alone", "moved_aside", "read_events", "set_aside"]

ASIDE = re.compile(r"\.old\d+$")  # as `set_aside` calls what it moves
LOOK_SECONDS = 2.0
Happened = TypeVar("Happened", bound=Event)


class Ledger:
    """The writer. Opening takes the study's lock; `append` returns once the event is on disk."""

    def __init__(self, folder: Path, listener: Callable[[Event], None] | None = None) -> None:
        """Open or create the ledger in `folder`; raises MachineError where another process has it
        or it is damaged.

        A torn or hurt last line is cut with a warning.
        """
        self.folder, self.path, self.listener = folder, folder / FILE, listener
        self.lock = Lock(folder)
        self._mutex = threading.Lock()
        self._trouble, self._next_look = "", 0.0
        self._bytes = bytearray()  # what the file must hold
        self.events: list[Event] = []
        try:
            self._file = open_plain(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self.lock.also(self._file)
            for line, raw in sound_lines(self.path):
                self.events.append(read(line))
                self._bytes += raw
            self._cut_tail()
        except OSError as error:
            self._leave()
            raise MachineError(
                f"{printable(self.path)}: cannot be used: {error.strerror}"
            ) from error
        except BaseException:
            self._leave()
            raise
        self._seq = len(self.events)
        self._touched = os.fstat(self._file.fileno()).st_mtime_ns

    def append(self, event: Happened) -> Happened:
        """Write one event and fsync it; returns it with its number and its time.

        Raises MachineError where the disk refuses, and the file is as it was; also where it is no
        longer what this ledger has written: see `check`.

        Safe from several threads; the listener sees the events one at a time, in order, and may not
        append.
        """
        with self._mutex:
            event = replace(event, seq=self._seq, time=round(time.time(), 3))
            line = seal(written(event))
            self._require_own()
            try:
                if self._file.write(line) != len(
                    line
                ):  # a disk that fills up takes a part, without an error
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._file.fileno())
                self._touched = os.fstat(self._file.fileno()).st_mtime_ns
            except OSError as error:
                with contextlib.suppress(OSError):  # what cannot be taken back is a torn line
                    os.ftruncate(self._file.fileno(), len(self._bytes))
                raise MachineError(
                    f"{printable(self.path)}: cannot write: {error.strerror}"
                ) from error
            self._seq += 1
            self._bytes += line
            if self.listener:
                self.listener(event)
        return event

    def step(self) -> None:
        """Call often: looks every few seconds whether the file is still there, where nothing is
        written for long.
        """
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self.check()

    def check(self) -> None:
        """Raise MachineError where the file was removed, moved, replaced, cut, edited or written to
        by another process.

        What is lost on disk by that is written anew from memory, at its place or, where another
        file lies there, beside it.
        """
        with self._mutex:
            self._require_own()

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._leave()

    def withdraw(self) -> bool:
        """Close a ledger; where it has no event, take back what opening made, and what others put
        there stays.

        Returns whether nothing is left of the folder.
        """
        unused = not self._bytes
        if unused:
            with contextlib.suppress(OSError):
                if os.path.samestat(self.path.lstat(), os.fstat(self._file.fileno())):
                    self.path.unlink()
                (self.folder / locks.FILE).unlink()
                self.folder.rmdir()
        self._leave()
        return unused and not self.folder.exists()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _leave(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        self.lock.close()

    def _require_own(self) -> None:
        self.lock.check()
        if not self._trouble:
            self._trouble = self._changed()
        if self._trouble:
            raise MachineError(self._trouble)

    def _changed(self) -> str:
        """What has become of the file behind our back, in words; "" where nothing has."""
        name = printable(self.path)
        try:
            own = os.fstat(self._file.fileno())
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if os.path.samestat(self.path.lstat(), own):
                    if (own.st_size, own.st_mtime_ns) == (len(self._bytes), self._touched):
                        return ""
                    found = os.pread(self._file.fileno(), len(self._bytes) + 1, 0)
                    self._touched = own.st_mtime_ns
                    if found == self._bytes:  # touched, no more
                        return ""
                    if found[:-1] == self._bytes:
                        return (
                            f"{name} has been written to by another process while this command "
                            "ran, which ends here"
                        )
                    return (
                        f"{name} has been cut or edited while this command ran, which ends "
                        f"here; {self._rescued()}"
                    )
            where = _now_at(self._file)
        except OSError as error:
            return (
                f"{name} cannot be reached any more: {error.strerror}; once it can be, the same "
                "command goes on"
            )
        if own.st_nlink and where and own.st_size == len(self._bytes):
            return (
                f"{name} has been moved, or its disk unmounted, while this command ran, which ends "
                f"here; it is whole, {where}: put it back to go on"
            )
        return (
            f"{name} has been removed or replaced while this command ran, which ends here; "
            f"{self._rescued()}"
        )

    def _rescued(self) -> str:
        """Write all that was recorded to where no file is; says where, and how to go on."""
        if not self._bytes:
            return "nothing had been recorded: the same command begins anew"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.path if not os.path.lexists(self.path) else free(self.path, "rescued")
            _write(path, bytes(self._bytes))
        except OSError as error:
            return f"and what was recorded cannot be written anew: {error.strerror}"
        written = (
            f"{plural(self._seq, 'event')} of it have been written anew from memory to "
            f"{printable(path)}"
        )
        if path != self.path:
            return f"{written}; to go on from them, move that file to the place of the other"
        return (
            f"{written}: the same command goes on from them, without the checkpoints and "
            "reports that are gone"
        )

    def _cut_tail(self) -> None:
        """Cut what follows the last sound line, and keep it beside."""
        tail = self._file.seek(0, os.SEEK_END) - len(self._bytes)
        if not tail:
            return
        beside = free(self.path, "cut")
        with open_plain(self.path, os.O_RDONLY) as source, beside.open("xb") as target:
            source.seek(len(self._bytes))
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        self._file.truncate(len(self._bytes))
        os.fsync(self._file.fileno())
        sys.stderr.write(
            f"warning: {printable(self.path)}: its last line was not written whole; it is cut off "
            f"after {plural(len(self.events), 'sound event')}, and its {tail:,} bytes are kept in "
            f"{beside.name}\n"
        )


def read_events(folder: Path) -> Iterator[Event]:
    """All whole events in order, without the lock; a torn or hurt last line is left out.

    Raises MachineError where the file cannot be read, a line before the last is damaged or a
    sequence number is missing, UserError where a newer version of the code wrote it.
    """
    try:
        for line, _ in sound_lines(folder / FILE):
            yield read(line)
    except OSError as error:
        raise MachineError(
            f"{printable(folder / FILE)}: cannot be read: {error.strerror}"
        ) from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a recorded study that no command has in use, its runs taken back from all workers.

    A worker of a killed command may outlive it for seconds: raises MachineError where one goes on
    for longer.
    """
    with Lock(folder) as lock, contextlib.ExitStack() as stack:
        if (folder / FILE).is_file():
            lock.also(
                stack.enter_context(open_plain(folder / FILE, os.O_RDWR))
            )  # network disks ask for it
        take_back(folder)
        yield


def set_aside(folder: Path) -> Path:
    """Move a recorded study out of the way, unless it is in use (see `alone`); returns where it is
    now.
    """
    with alone(folder):
        return moved_aside(folder)


def moved_aside(folder: Path) -> Path:
    """The same of a study that is held."""
    aside = free(folder, "old")
    folder.rename(aside)
    return aside


def take_back(folder: Path) -> None:
    """Take all runs back from workers that outlive a killed command."""
    for path in folder.glob(f"checkpoints/*/{lease.FILE}"):
        lease.revoke(path.parent)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _now_at(file: IO[bytes]) -> str:
    """Where an open file lies that was moved, in words; "" where it lies nowhere."""
    try:
        where = os.readlink(f"/proc/self/fd/{file.fileno()}")
    except OSError:
        return "elsewhere"  # no such file system: its number of links must say it
    gone = where.endswith(" (deleted)") or Path(where).name.startswith(
        ".nfs"
    )  # which network disks keep for us alone
    return "" if gone else f"now {printable(where)}"
