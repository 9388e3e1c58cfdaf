"""Shelf: the caches of one folder, side by side: who holds which, what may be taken off, what is
there already.

A cache is held by its images: whoever has them mapped has the kernel's shared lock on them for as
long.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import MachineError, printable

IMAGES, META = "images.u8", "meta.json"
ALIKE = "alike"  # a file: the key of the cache without the times of its pictures
UNFINISHED, LOCK = ".unfinished", ".lock"


@dataclass(frozen=True)
class Parcel:
    """A cache as it lies there. num_bytes: on the disk; of files that several caches share, only
    the newest's; made: seconds since 1970."""

    path: Path
    num_bytes: int
    made: float


def parcels(cache: Path) -> list[Parcel]:
    """All caches in the folder, also what killed builds have left, the newest first. Raises
    MachineError.
    """
    found, seen = [], set[int]()
    try:
        there = (
            [(path.stat().st_mtime, path) for path in cache.iterdir() if _is_cache(path)]
            if cache.is_dir()
            else []
        )
        for made, path in sorted(there, reverse=True):
            with contextlib.suppress(FileNotFoundError):  # removed by another process
                files = [file.stat() for file in path.iterdir()]
                size = sum(512 * file.st_blocks for file in files if file.st_ino not in seen)
                seen |= {file.st_ino for file in files}
                found.append(Parcel(path, size, made))
    except OSError as error:
        raise MachineError(f"cache {printable(cache)}: cannot be read: {error.strerror}") from error
    return found


def _is_cache(path: Path) -> bool:
    """Nothing else is ever counted or removed: a folder by the name of a key, with our files alone
    in it.
    """
    key = path.name.removesuffix(UNFINISHED)
    if len(key) != 32 or key.strip("0123456789abcdef") or path.is_symlink() or not path.is_dir():
        return False
    try:
        return {*os.listdir(path)} <= {IMAGES, META, ALIKE}
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the cache `path`, waiting for whoever builds it; without `wait`, whether it
    could be had.

    Raises MachineError where it cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _lock(Path(f"{path}{LOCK}"), wait)
    except OSError as error:
        raise MachineError(
            f"cache {printable(path.parent)}: cannot be used: {error.strerror}"
        ) from error
    with file or contextlib.nullcontext():
        yield file is not None


def _lock(path: Path, wait: bool) -> IO[str] | None:
    while True:
        file = open(path, "a")  # noqa: SIM115  (the caller closes it)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except BlockingIOError:
            file.close()
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()  # taken off with its cache, meanwhile


def hold(file: IO[bytes], path: Path) -> None:
    """Hold the opened images of a cache, as long as the file or a map of it is open; raises
    ValueError where they have been taken off meanwhile."""
    with contextlib.suppress(OSError):  # a disk without locks
        fcntl.flock(file, fcntl.LOCK_SH)
    if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
        raise ValueError("it was removed meanwhile")


def take_off(path: Path) -> bool:
    """Remove a cache and its lock; False, and nothing is done, where it is being built or held.
    Raises MachineError.
    """
    base = path.with_name(path.name.removesuffix(UNFINISHED))
    with locked(base, wait=False) as mine:
        if not mine:
            return False
        try:
            with contextlib.ExitStack() as stack:
                if (path / IMAGES).exists():
                    fcntl.flock(
                        stack.enter_context(open(path / IMAGES, "rb")),
                        fcntl.LOCK_EX | fcntl.LOCK_NB,
                    )
                gone = base.with_name(base.name + UNFINISHED)
                if path != gone:
                    shutil.rmtree(gone, ignore_errors=True)
                    path.rename(gone)  # at once: nobody opens half of it
                shutil.rmtree(gone)
            if not base.exists():
                Path(f"{base}{LOCK}").unlink()
        except BlockingIOError:
            return False
        except OSError as error:
            raise MachineError(
                f"cache {printable(path)}: cannot be removed: {error.strerror}"
            ) from error
    return True


def share(source: Path, path: Path) -> bool:
    """Make the cache `path` of the files of `source`, without copying; False where the disk cannot.
    The caller holds the lock of `path`."""
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name in (IMAGES, META, ALIKE):
            os.link(source / name, unfinished / name)
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        return False
    return True
