"""The ferry: what a node that does not see the command's disk keeps of it in a folder of its own,
and what it gives back. Knows nothing of Ray.

Decoded pictures are kept for the next command, the newest few; all else goes with the command.
"""

import contextlib
import fcntl
import hashlib
import importlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

from pipeline.core.finished.evidence import evidence_path
from pipeline.data.shelf import LOCK, UNFINISHED, locked, parcels, take_off
from pipeline.engine import run_log
from pipeline.engine.depot import Piece
from pipeline.engine.order import Order, checkpoint_folder
from pipeline.errors import MachineError, UserError, printable
from pipeline.limits import size
from pipeline.own.at_hand import stand_in

KEPT = 3  # decoded sets of pictures, the newest
SPARE_BYTES = 2**30  # left free beside the pictures, for checkpoints
LIBRARIES = {"torch": "TORCH_HOME", "hub": "HF_HOME"}


class Ask(Protocol):
    """Calls a method of the depot by its name."""

    def __call__(self, method: str, *words: Any) -> Any: ...


@dataclass(frozen=True)
class Cargo:
    """What runs of a command need on a node that does not see its disk. session: the command's own
    name; pictures: the name of their cache.
    """

    session: str
    pictures: str
    pieces: tuple[Piece, ...]

    def of(self, *kinds: str) -> list[Piece]:
        return [piece for piece in self.pieces if piece.kind in kinds]


@dataclass(frozen=True)
class Aboard:
    """Where a cargo lies on this node: the folder of this command's own, the pictures."""

    folder: Path
    pictures: Path

    def local(self, order: Order) -> Order:
        """The order as it is carried out here."""
        home = work_folder(self.folder, order.segment)
        run = order.folder.name
        return replace(
            order,
            folder=checkpoint_folder(home, run),
            evidence=evidence_path(home, run),
            output=run_log.output_path(home, order.segment),
            data=self.pictures,
        )


_held: dict[Path, IO[bytes]] = {}  # by this process, as long as it lives


def home() -> Path:
    """This user's folder on the node, for nobody else. Raises MachineError where there can be
    none.
    """
    name, told = f"pipeline-{os.getuid()}-copies", []
    usual = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for parent in filter(os.path.isabs, (usual, tempfile.gettempdir())):
        path = Path(parent) / name
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise PermissionError(0, "it is somebody else's")
            path.chmod(0o700)
            with tempfile.TemporaryFile(dir=path):
                return path
        except OSError as error:
            told.append(f"{printable(path)}: {error.strerror}")
    raise MachineError(
        "it does not see the folder --mlruns, and there is no place for copies "
        f"({'; '.join(told) or 'no folder is absolute'})"
    )


def require_room(folder: Path, needed: int = 0) -> None:
    """Raise MachineError where the disk of this folder does not hold so many bytes of pictures."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        pictures = f"copies of the pictures take {size(needed)}, and " if needed else ""
        raise MachineError(
            f"it does not see the folder --mlruns, and for copies its disk is too small: "
            f"{printable(folder)} has {size(free)} free; {pictures}{size(SPARE_BYTES)} is left to "
            "checkpoints"
        )


def load(cargo: Cargo, ask: Ask) -> Aboard:
    """Have the cargo on this node and hold it as long as this process lives; what is there already
    is not fetched again. Raises MachineError where the disk is too small or refuses, UserError
    where a file is no longer what was offered.
    """
    try:
        folder = _session(home(), cargo.session)
        with _alone(folder / "fetch"):
            for piece in cargo.of("code", "given", *LIBRARIES):
                fetched(piece, _place(folder, piece), ask)
        return Aboard(folder, _pictures(folder, cargo, ask))
    except OSError as error:
        raise refused(error) from error


def use(cargo: Cargo, aboard: Aboard) -> None:
    """Let this process, and all that it starts, find the user's code and files in the cargo."""
    code = str(aboard.folder / "code")
    if code not in sys.path:
        sys.path.insert(0, code)  # before a folder at the command's place, which may be an old one
    importlib.invalidate_caches()
    stand_in({piece.name: _place(aboard.folder, piece) for piece in cargo.of("given")})
    for kind, variable in LIBRARIES.items():
        if cargo.of(kind):
            os.environ[variable] = str(aboard.folder / kind)


def clear(session: str) -> None:
    """Remove what a command that is over has left here, but for pictures."""
    with contextlib.suppress(MachineError, OSError):
        folder = home() / "sessions" / session
        if folder in _held:
            _held.pop(folder).close()
        shutil.rmtree(folder, ignore_errors=True)
        _sweep(folder, Path(f"{folder}{LOCK}"))  # else its last process dies, and the next one does


def left_behind(session: str, segment: str) -> dict[str, bytes]:
    """What a worker that is gone has left of its output and last words, by name."""
    logs = run_log.output_path(work_folder(home() / "sessions" / session, segment), segment).parent
    found = {}
    for path in logs.glob(".*.out"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - run_log.MAX_BYTES))
            found[path.name] = file.read()
    shutil.rmtree(logs.parent, ignore_errors=True)
    return found


def work_folder(folder: Path, segment: str) -> Path:
    """Where a segment is carried out; as the study's folder is."""
    return folder / "work" / segment


def _session(root: Path, session: str) -> Path:
    """The command's own folder, held by this process; those that nobody holds any more go."""
    folder = root / "sessions" / session
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    while folder not in _held:
        lock = Path(f"{folder}{LOCK}")
        file = lock.open("a+b")
        fcntl.flock(file, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(file.fileno())):
                _held[folder] = file
                continue
        file.close()
    for lock in folder.parent.glob(f"*{LOCK}"):
        other = lock.with_name(lock.name.removesuffix(LOCK))
        if other != folder:
            _sweep(other, lock)
    folder.mkdir(exist_ok=True)
    return folder


def _sweep(folder: Path, lock: Path) -> None:
    """Remove a command's folder where no process holds it."""
    with contextlib.suppress(OSError), lock.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with Path(f"{path}{LOCK}").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _place(folder: Path, piece: Piece) -> Path:
    if piece.kind == "given":  # by its content, since its name may lead anywhere
        return folder / "given" / f"{piece.sha256}{''.join(Path(piece.name).suffixes[-2:])}"
    return folder / piece.kind / piece.name


def _pictures(folder: Path, cargo: Cargo, ask: Ask) -> Path:
    """The decoded pictures, whole: read through once by each command."""
    path, pieces = folder.parents[1] / "pictures" / cargo.pictures, cargo.of("pictures")
    seen = folder / "pictures-seen"
    with locked(path):
        if not (seen.exists() and all(_alike(piece, path / piece.name) for piece in pieces)):
            if not all(_is(piece, path / piece.name) for piece in pieces):
                unfinished = Path(f"{path}{UNFINISHED}")
                for former in (path, unfinished):
                    shutil.rmtree(former, ignore_errors=True)
                _make_room(path, sum(piece.num_bytes for piece in pieces))
                for piece in pieces:
                    fetched(piece, unfinished / piece.name, ask)
                unfinished.rename(path)
            seen.touch()
        os.utime(path)
    for parcel in parcels(path.parent)[KEPT:]:
        take_off(parcel.path)
    return path


def _make_room(path: Path, needed: int) -> None:
    """Take other pictures off that nobody uses, the oldest first, until there is room. Raises
    MachineError where there is none.
    """
    for parcel in reversed(parcels(path.parent)):
        if shutil.disk_usage(path.parent).free >= needed + SPARE_BYTES:
            return
        take_off(parcel.path)
    require_room(path.parent, needed)


def _alike(piece: Piece, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == piece.num_bytes


def _is(piece: Piece, path: Path) -> bool:
    if not _alike(piece, path):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == piece.sha256


def fetched(piece: Piece, path: Path, ask: Ask, method: str = "read", *whose: str) -> None:
    """Have the piece at this place, whole or not at all."""
    if _alike(piece, path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch, found, start = path.with_name(f".{path.name}.part"), hashlib.sha256(), 0
    what = piece.name if whose else piece.key
    with scratch.open("wb") as file:
        while start < piece.num_bytes and (chunk := ask(method, *whose, what, start)):
            file.write(chunk)
            found.update(chunk)
            start += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != piece.sha256:
        scratch.unlink()
        if whose:
            raise ConnectionError(f"{piece.name} of run {whose[-1]} did not arrive whole")
        raise UserError(
            f"{printable(piece.name)}: has changed since the command began; the same command goes "
            "on, or says what differs"
        )
    os.replace(scratch, path)


def refused(error: OSError) -> MachineError:
    where = f"{printable(error.filename)}: " if error.filename else ""
    return MachineError(f"{where}{error.strerror or error}")
