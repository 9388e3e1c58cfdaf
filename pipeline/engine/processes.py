"""The processes that this one started, and those that they started: found, and ended at once. And
this one's garbage.
"""

import contextlib
import gc
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence

AFTERWARDS = 'read -r _; for group; do kill -s KILL -- "-$group"; done 2> /dev/null'
_waiting: list["subprocess.Popen[bytes]"] = []


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = list(children.get(pid, ()))
    for one in found:
        found += children.get(one, ())
    return found


def end_descendants() -> None:
    """Kill all that this process started; what cannot be killed any more is dead already.

    The children are halted first: a process that dies alone leaves those it is starting to nobody.
    """
    own = os.getpid()
    children = [child for child, parent in _parents() if parent == own]
    for number, pids in ((signal.SIGSTOP, children), (signal.SIGKILL, None)):
        for pid in descendants(own) if pids is None else pids:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
    for child in children:
        with contextlib.suppress(OSError):
            os.waitpid(child, 0)


def outlive_none(groups: Sequence[int]) -> None:
    """However this process ends, these groups of processes are ended after it: by a shell that
    waits for the end of a pipe. `end_descendants` ends it with the others.
    """
    if os.name != "posix":
        return
    words = ("/bin/sh", "-c", AFTERWARDS, "outlive-none", *map(str, groups))
    waiting = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _waiting.append(waiting)  # so that its pipe is closed with this process and not before


@contextlib.contextmanager
def without_garbage() -> Iterator[None]:
    """Objects that hold each other and nobody else holds are freed before the block, and in it none
    are, in any thread.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _parents() -> list[tuple[int, int]]:
    """(process, its parent) of all that can be seen."""
    if not os.path.exists("/proc/self/stat"):  # macOS
        lines = subprocess.run(
            ("ps", "-A", "-o", "pid=,ppid="), capture_output=True, text=True, check=False
        ).stdout
        return [(int(pid), int(parent)) for pid, parent in map(str.split, lines.splitlines())]
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            found.append((int(name), int(file.read().rpartition(b")")[2].split()[1])))
    return found
