"""Archive: a study's folder as one compressed file, read back before anything is said or moved."""

import contextlib
import glob
import hashlib
import os
import secrets
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.doctor.spare import leftovers
from pipeline.errors import MachineError, UserError, printable
from pipeline.record import lease, lock
from pipeline.record.ledger import alone, moved_aside

SUFFIX, LEVEL = ".tar.gz", 3  # weights hardly get smaller, however long one tries
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Archived:
    """path: of the file; aside: where the study's folder is now; num_bytes: of the file, of what:
    of the files in it; missed: how many links that lead nowhere, pipes and the like are not in it.
    """

    path: Path
    aside: Path
    num_files: int
    num_bytes: int
    of_bytes: int
    missed: int


def archive(folder: Path, *, with_checkpoints: bool) -> Archived:
    """Write `folder` to a file of its name beside it, compare that with what was read, and move the
    folder aside.

    Raises UserError where there is such a file or the folder is a link, MachineError where the
    study is in use or the disk refuses: the folder is then as it was, and no file is left.
    """
    if folder.is_symlink():
        raise UserError(
            f"{printable(folder)}: a link; name the folder that it leads to, "
            f"{printable(os.path.realpath(folder))}"
        )
    target = folder.with_name(f"{folder.name}{SUFFIX}")
    if os.path.lexists(target):
        raise UserError(
            f"{printable(target)}: is there already; move it elsewhere to archive the study anew"
        )
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with alone(folder):
        for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}"):
            left.unlink(missing_ok=True)  # of an archiving of this study that was killed
        try:
            digests, of_bytes = _write(folder, scratch, with_checkpoints=with_checkpoints)
            _compare(scratch, digests)
            num_bytes = scratch.stat().st_size
            scratch.rename(target)
            missed = _missed(folder, digests, with_checkpoints=with_checkpoints)
            aside = _aside(folder, target)
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            why = getattr(error, "strerror", None) or error
            raise MachineError(
                f"{printable(target)}: cannot be written: {why}; the study is as it was"
            ) from error
        finally:
            scratch.unlink(missing_ok=True)
    return Archived(target, aside, len(digests), num_bytes, of_bytes, missed)


def _aside(folder: Path, target: Path) -> Path:
    try:
        return moved_aside(folder)
    except OSError:
        target.unlink()
        raise


def _write(folder: Path, path: Path, *, with_checkpoints: bool) -> tuple[dict[str, str], int]:
    """(name in the archive → SHA-256, bytes of them all); owners are left out, links followed."""
    digests: dict[str, str] = {}
    of_bytes = 0
    with path.open("xb") as raw:
        with tarfile.open(
            fileobj=raw, mode="w:gz", compresslevel=LEVEL, dereference=True
        ) as packed:
            for file in _files(folder, with_checkpoints=with_checkpoints):
                name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
                with file.open("rb") as source:
                    about = packed.gettarinfo(arcname=name, fileobj=source)
                    about.uid = about.gid = 0
                    about.uname = about.gname = ""
                    seen = _Read(source)
                    packed.addfile(about, seen)
                digests[name] = seen.digest.hexdigest()
                of_bytes += about.size
        raw.flush()
        os.fsync(raw.fileno())
    return digests, of_bytes


def _files(folder: Path, *, with_checkpoints: bool) -> Iterator[Path]:
    """What the record is made of, in order: all but locks, leases and what killed commands left."""
    left = {*leftovers(folder)}
    without = "" if with_checkpoints else os.path.realpath(folder / CHECKPOINTS)
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if here / name not in left
            and not _is_below(here, here / name)  # a circle of links
            and not (without and Path(os.path.realpath(here / name)).is_relative_to(without))
        )
        for name in sorted(names):
            spare = here / name in left or (here, name) == (folder, lock.FILE)
            leased = name == lease.FILE and here.parent == folder / CHECKPOINTS
            if not (spare or leased) and (here / name).is_file():
                yield here / name


def _is_below(here: Path, there: Path) -> bool:
    """Whether the folder `there` holds `here`, by links."""
    return Path(os.path.realpath(here)).is_relative_to(os.path.realpath(there))


def _missed(folder: Path, digests: dict[str, str], *, with_checkpoints: bool) -> int:
    """How many things of the folder are no files, so that they are not in the archive. Raises
    TarError where a file of the record's own folders is not.
    """
    missed = 0
    left = {*leftovers(folder)}
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if here / name not in left]
        if not with_checkpoints and here == folder and CHECKPOINTS in folders:
            folders.remove(CHECKPOINTS)
        for name in names:
            file = here / name
            if f"{folder.name}/{file.relative_to(folder).as_posix()}" in digests:
                continue
            if file.is_file() and file not in left and name not in (lock.FILE, lease.FILE):
                raise tarfile.ReadError(f"{printable(file)} is not in it")
            missed += not file.is_file()
    return missed


def _compare(path: Path, digests: dict[str, str]) -> None:
    """Raises TarError where the file does not hold just what was read."""
    found: dict[str, str] = {}
    with tarfile.open(path, mode="r:gz") as packed:
        for about in packed:
            with contextlib.closing(_content(packed, about)) as content:
                found[about.name] = hashlib.file_digest(content, "sha256").hexdigest()
    if found != digests:
        raise tarfile.ReadError("what was read back is not what was written")


def _content(packed: tarfile.TarFile, about: tarfile.TarInfo) -> Any:
    content = packed.extractfile(about)
    if content is None:
        raise tarfile.ReadError(f"{about.name}: no file")
    return content


class _Read:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.digest.update(content)
        return content
