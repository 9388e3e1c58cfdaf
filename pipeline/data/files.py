"""Files of a set of pictures: opened without waiting for anybody, and only where they are files."""

import os
import stat
from pathlib import Path
from typing import IO

KERNEL = ("/proc/", "/sys/", "/dev/")  # what reads like a file there is none
MEMORY = "/dev/shm/"


def of_kernel(path: str | Path) -> bool:
    """Whether a link leads to what the kernel makes up: such a file may have no end, or block
    whoever reads it.
    """
    real = f"{os.path.realpath(path)}/"
    return real.startswith(KERNEL) and not real.startswith(MEMORY)


def open_file(path: str | Path) -> IO[bytes]:
    """A file to read; raises OSError, also where it is a pipe, a device or a socket, instead of
    waiting for them.
    """
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115  (the caller closes it)
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise OSError(
            0,
            "Is a directory"
            if stat.S_ISDIR(mode)
            else "not a file, but a pipe, a device or a socket",
        )
    return file


def read_file(file: IO[bytes], most: int) -> bytes | None:
    """What a file of `open_file` holds; None where that is more than `most` bytes. What the kernel
    makes up is empty.
    """
    size = os.fstat(file.fileno()).st_size
    if size > most:
        return None
    content = file.read(size + 1) if size else b""
    return content if len(content) <= most else None
