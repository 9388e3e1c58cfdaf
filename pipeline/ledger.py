"""The study's own record: one append-only file, every line fsynced, the truth everything else is rebuilt from.

A line is JSON with a sequence number, a time, a type, the event's own fields and, last, a CRC-32 of all that stands before
it. One process writes at a time (an `flock` that the kernel drops however the process ends). A torn last line is cut off
on opening; damage anywhere else is refused, never skipped.
"""

import errno
import fcntl
import json
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pipeline import lease
from pipeline.errors import MachineError, printable

Event = dict[str, Any]
FILE = "ledger.jsonl"
_SEAL = ',"crc":"'


class Ledger:
    """The writer. Opening takes the study's lock; `append` returns once the event is on disk."""

    def __init__(self, folder: Path, listener: Callable[[Event], None] | None = None) -> None:
        """Open or create the ledger in `folder`; raises MachineError where another process has it or it is damaged."""
        self.folder = folder
        self.listener = listener
        self._lock = take_lock(folder)
        self._mutex = threading.Lock()
        path = folder / FILE
        try:
            self.events = list(read_events(folder)) if path.exists() else []
            _cut_torn_tail(path)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            self._lock.close()
            raise MachineError(f"{printable(path)}: cannot be used: {error.strerror}") from error
        except MachineError:
            self._lock.close()
            raise
        self._seq = self.events[-1]["seq"] + 1 if self.events else 0
        self._size = self._file.seek(0, os.SEEK_END)

    def append(self, kind: str, **fields: Any) -> Event:
        """Write one event and fsync it; raises MachineError where the disk refuses, and the file is as it was.

        So it is where another process has written to it (its lock was removed by hand), or it has been removed.

        Safe from several threads; the listener sees the events one at a time, in order, and may not append.
        """
        with self._mutex:
            event: Event = {"seq": self._seq, "time": round(time.time(), 3), "type": kind, **fields}
            line = _seal(json.dumps(event, separators=(",", ":"), allow_nan=False))
            now = os.fstat(self._file.fileno())
            if now.st_size != self._size or not now.st_nlink:
                what = "has been removed" if not now.st_nlink else "has been written to by another process"
                raise MachineError(f"{printable(self.folder / FILE)} {what} while this command ran, which ends here")
            try:
                if self._file.write(line) != len(line):  # a disk that fills up takes a part, without an error
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._file.fileno())
            except OSError as error:
                os.ftruncate(self._file.fileno(), self._size)
                raise MachineError(f"{printable(self.folder / FILE)}: cannot write: {error.strerror}") from error
            self._seq += 1
            self._size += len(line)
            if self.listener:
                self.listener(event)
        return event

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(folder: Path) -> Iterator[Event]:
    """All whole events in order, without the lock; a torn last line is left out.

    Raises MachineError where a line before the last is damaged or a sequence number is missing.
    """
    path = folder / FILE
    with path.open("rb") as file:
        for number, line in enumerate(file):
            event = _unseal(line)
            if event is None and not line.endswith(b"\n"):
                return
            if event is None or event["seq"] != number:
                raise MachineError(
                    f"{path}: line {number + 1} is damaged (checksum or sequence number); nothing has been changed. "
                    f"Restore the file from a backup, or begin anew with --fresh"
                )
            yield event


def take_lock(folder: Path) -> IO[str]:
    """Lock the study folder for this process; raises MachineError naming the holder. Closing the result unlocks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = printable(file.read().strip() or "another process")
        file.close()
        raise MachineError(f"the study in {folder} is in use by {holder}; wait for it to end, or stop it") from None
    except OSError as error:
        raise MachineError(f"{printable(folder)}: cannot be used: {error.strerror}") from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    file.flush()
    return file


def set_aside(folder: Path) -> Path:
    """Move a recorded study out of the way, unless it is in use; returns where it is now.

    A worker of a killed command may outlive it for seconds: raises MachineError where one goes on for longer.
    """
    take_lock(folder).close()
    for path in folder.glob(f"checkpoints/*/{lease.FILE}"):
        lease.revoke(path.parent)
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside


def _seal(text: str) -> bytes:
    return f'{text[:-1]}{_SEAL}{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def _unseal(line: bytes) -> Event | None:
    body, mark, crc = line.decode("utf-8", "replace").rpartition(_SEAL)
    if not mark or crc[8:] != '"}\n' or f"{zlib.crc32((body + '}').encode()):08x}" != crc[:8]:
        return None
    event: Event = json.loads(body + "}")
    return event


def _cut_torn_tail(path: Path) -> None:
    """Cut an unfinished last line."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        tail_start = max(0, size - (1 << 24))
        file.seek(tail_start)
        whole = tail_start + file.read().rfind(b"\n") + 1
        if whole != size:
            file.truncate(whole)
            os.fsync(file.fileno())
