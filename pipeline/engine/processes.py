"""The processes that this one started, and those that they started: found, and ended at once. And
this one's garbage.
"""

import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Container, Iterator
from typing import Any

PR_SET_PDEATHSIG = 1
AFTERWARDS = """
while read -r group; do groups="$groups -$group"; done
kill -s KILL -- $groups
[ -n "$(printenv "$1")" ] || exit
for path in $(printenv "$1" | grep -lsaFf - /proc/[0-9]*/environ); do
  pid=${path#/proc/}; pid=${pid%/environ}
  [ "$pid" = $$ ] || kill -s KILL "$pid"
done
"""


def ends_with_parent() -> None:
    """Let the kernel end this process together with the one that started it, where it can."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(pid: int, but: Container[int] = ()) -> list[int]:
    """The processes below `pid`, children before grandchildren; not these, nor what is below
    them.
    """
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        if child not in but:
            children.setdefault(parent, []).append(child)
    found = list(children.get(pid, ()))
    for one in found:
        found += children.get(one, ())
    return found


def end_descendants(but: Container[int] = ()) -> None:
    """Kill all that this process started, but these and what is below them; what cannot be killed
    any more is dead already.

    The children are halted first: a process that dies alone leaves those it is starting to nobody.
    """
    own = os.getpid()
    children = [child for child, parent in _parents() if parent == own and child not in but]
    for number, pids in ((signal.SIGSTOP, children), (signal.SIGKILL, None)):
        for pid in descendants(own, but) if pids is None else pids:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
    for child in children:
        with contextlib.suppress(OSError):
            os.waitpid(child, 0)


def outlived_by_none(mark: str) -> Callable[..., "subprocess.Popen[bytes]"]:
    """`subprocess.Popen` whose processes, each with a group of its own, end after this one, however
    this one ends: by a shell that hears of them, and waits for the end of its pipe. So do those
    that they have started, where they can be seen: by what the environment variable `mark` holds,
    which is this process's secret. `end_descendants` ends the shell with the others.
    """
    silence = subprocess.DEVNULL
    words = ("/bin/sh", "-c", AFTERWARDS, "afterwards", mark)
    shell = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=silence,
        stderr=silence,
        env=dict(os.environ),  # the real one may be moved by another thread ("Bad address")
        start_new_session=True,
    )

    def start(*args: Any, **rest: Any) -> "subprocess.Popen[bytes]":
        begun = subprocess.Popen(*args, **rest, process_group=0)
        assert shell.stdin is not None
        with contextlib.suppress(OSError):
            shell.stdin.write(f"{begun.pid}\n".encode())
            shell.stdin.flush()
        return begun

    return start


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
