"""A study's lock: which process may write its record, on this machine and, where the disk is a
shared one, on others.

The kernel's `flock` decides among the processes of one kernel, and goes with the process however
that ends. Some network disks keep it to each machine. So the holder also writes down who it is, and
touches the file again and again: on another machine a line that goes on beating is a process that
works, one that has stopped is what a killed process left.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import MachineError, printable

FILE = "lock"
BEAT_SECONDS = 2.0
WATCH_SECONDS = 10.0  # several beats: a busy machine skips one


@dataclass(frozen=True)
class Owner:
    """A process that holds a lock. boot, start, space: of the kernel, the process and its numbers;
    "" where not known.
    """

    pid: int
    host: str
    since: str
    boot: str
    start: str
    space: str
    inode: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, under this very kernel, whose locks it cannot escape."""
        return self.boot == _boot() if self.boot and _boot() else self.host == socket.gethostname()

    def lives(self) -> bool:
        """Whether that very process is alive; a later one with the same number is another. False
        where nobody can say.
        """
        started = _started(self.pid) if self.here and self.space == _space() else ""
        return started != "" and started == self.start


class Lock:
    """What a process holds of a study. Raises MachineError naming the holder where that is another;
    `close` lets go.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder where it is missing."""
        self.folder, self._path = folder, folder / FILE
        self._file = _locked(folder)
        self._over = threading.Event()
        self._taken = ""
        try:
            _require_left(self._file, folder)
            inode = os.fstat(self._file.fileno()).st_ino
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            self._owner = Owner(
                os.getpid(),
                socket.gethostname(),
                since,
                _boot(),
                _started(os.getpid()),
                _space(),
                inode,
            )
            self._file.truncate(0)
            os.pwrite(self._file.fileno(), json.dumps(asdict(self._owner)).encode(), 0)
        except OSError as error:
            self._file.close()
            raise MachineError(f"{printable(folder)}: cannot be used: {error.strerror}") from error
        except BaseException:
            self._file.close()
            raise
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise MachineError where a process of another machine has taken the study over."""
        if self._taken:
            raise MachineError(
                f"the study in {printable(self.folder)} was taken over by {self._taken}; this "
                "command ends here"
            )

    def also(self, file: IO[bytes]) -> None:
        """Hold another file too, which nobody removes by hand to be rid of a lock, until that is
        closed.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise in_use(self.folder, None) from None

    def close(self) -> None:
        """Let go; an end in good order leaves nobody's name."""
        if not self._file.closed:
            self._over.set()
            self._thread.join()
            with contextlib.suppress(OSError):
                if not self._taken:
                    self._file.truncate(0)
            self._file.close()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS) and not self._taken:
            with contextlib.suppress(
                OSError
            ):  # a disk that is away is told by whoever writes to it
                os.utime(self._file.fileno())
                found = _read(self._path)
                if found is not None and not found.here:
                    self._taken = printable(found)


def holder(folder: Path) -> Owner | None:
    """Who holds a study's lock now, as far as can be seen without touching it: a process that can
    be seen from here and lives, or one of another machine or container whose pulse was seen lately.
    """
    owner = _read(folder / FILE)
    if owner is None or (owner.here and owner.space == _space() != ""):
        return owner if owner and owner.lives() else None
    try:
        beat = time.time() - (folder / FILE).stat().st_mtime
    except OSError:
        return None
    return owner if abs(beat) < WATCH_SECONDS else None


def in_use(folder: Path, owner: Owner | None) -> MachineError:
    """The error for a study that another process holds."""
    holder = printable(owner) if owner else "another process"
    return MachineError(
        f"the study in {printable(folder)} is in use by {holder}; wait for it to end, or stop it"
    )


def _locked(folder: Path) -> IO[bytes]:
    """The lock's file with the kernel's lock on it, and still the one that the next process will
    open.
    """
    path = folder / FILE
    try:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            file = open_plain(path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    return file
            except BlockingIOError:
                owner = _read(path)
                file.close()
                raise in_use(folder, owner) from None
            except FileNotFoundError:
                pass
            file.close()  # whoever held it took it away when leaving
    except OSError as error:
        lockless = error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
        way_out = "; its disk knows no locks: give --mlruns a folder on another" if lockless else ""
        raise MachineError(
            f"{printable(folder)}: cannot be used: {error.strerror}{way_out}"
        ) from error


def open_plain(path: Path, flags: int) -> IO[bytes]:
    """Open a file of the record, unbuffered; raises MachineError where it is a link, a pipe, a
    folder or a device.
    """
    kinds = (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
    )
    mode = path.lstat().st_mode if os.path.lexists(path) else stat.S_IFREG
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in kinds if is_kind(mode)), "a device or socket")
        raise MachineError(
            f"{printable(path)}: is {kind} and no file; move it elsewhere (nothing has been "
            "changed)"
        )
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    return open(descriptor, "rb" if flags & os.O_ACCMODE == os.O_RDONLY else "r+b", buffering=0)


def free(path: Path, what: str) -> Path:
    """`path` with the first free number: `ledger.jsonl.cut1`."""
    number = 1
    while os.path.lexists(found := path.with_name(f"{path.name}.{what}{number}")):
        number += 1
    return found


def _require_left(file: IO[bytes], folder: Path) -> None:
    """Raise MachineError where the kernel gave the lock although the holder that is written down
    goes on.
    """
    owner = _read(folder / FILE)
    if owner is None:
        return
    if owner.here:
        if (
            owner.lives()
            and owner.pid != os.getpid()
            and owner.inode == os.fstat(file.fileno()).st_ino
        ):  # no copied folder
            raise in_use(folder, owner)
        return
    sys.stderr.write(
        f"{printable(owner)} did not end in good order: {WATCH_SECONDS:.0f} s to see whether it is "
        "at work\n"
    )
    until, before = time.monotonic() + WATCH_SECONDS, _stamp(folder)
    while time.monotonic() < until:
        time.sleep(min(0.5, WATCH_SECONDS / 4))
        if _stamp(folder) != before:
            raise MachineError(
                f"{in_use(folder, owner)}. The disk does not share locks between machines; if no "
                f"such process runs, remove {printable(folder / FILE)}"
            )


def _stamp(folder: Path) -> tuple[int, bytes]:
    """When the lock's file was last touched, and what it says; opened anew, so that a network disk
    asks its server.
    """
    with open_plain(folder / FILE, os.O_RDONLY) as file:
        return os.fstat(file.fileno()).st_mtime_ns, file.read(2000)


def _read(path: Path) -> Owner | None:
    """Who is written down; None where nobody is, or in words of an earlier version, which every
    kernel lock goes before.
    """
    try:
        with open_plain(path, os.O_RDONLY) as file:
            return Owner(**json.loads(file.read(2000)))
    except (OSError, ValueError, TypeError, RecursionError, MachineError):
        return None


def _boot() -> str:
    return _text(Path("/proc/sys/kernel/random/boot_id"))


def _space() -> str:
    """The namespace of process numbers: containers count from 1 each."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; "" where there is none, or no such file
    system.
    """
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
