"""The depot: on the command's machine, what nodes that do not see its disk ask for files, and give
theirs back to. It hands out what the command itself has offered, by key, and the newest checkpoint
of a run to the segment that holds the run; nobody else writes. Knows nothing of Ray.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.checkpoints import (
    BEST,
    DAMAGED,
    KEEP,
    META,
    STATE,
    check,
    digest,
    epochs,
    link,
    settle,
)
from pipeline.core.finished.evidence import evidence_path
from pipeline.engine.order import checkpoint_folder
from pipeline.engine.run_log import output_path
from pipeline.errors import MachineError, printable
from pipeline.record.lease import Lease, held

CHUNK = 4 * 2**20  # bytes on the way at once: they pass through Ray's store, which may be small
FOR_ALL = ("pictures", "code")
EPOCH = re.compile(r"epoch_\d{4,}")
NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Piece:
    """A file that a node needs. kind: pictures, code, given (a file as the study names it), torch
    or hub (published weights, by their place in a library's cache), checkpoint.
    """

    kind: str
    name: str
    num_bytes: int
    sha256: str

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.name}"


class Depot:
    """Of one command, whose study lies in `folder`. Raises MachineError where the command's disk
    refuses, and LeaseLost where a run is no longer the segment's that asks.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._offered: dict[str, tuple[Path, Piece]] = {}
        self._nodes: dict[str, str] = {}

    def offer(self, paths: Mapping[str, str]) -> list[dict[str, Any]]:
        """Hand these files out from here on, by key; returns them as pieces."""
        for key, given in paths.items():
            kind, _, name = key.partition("/")
            path = Path(given)
            with _disk(path):
                piece = Piece(kind, name, path.stat().st_size, digest(path))
            self._offered[key] = (path, piece)
        return self.pieces(paths)

    def pieces(self, named: Iterable[str]) -> list[dict[str, Any]]:
        """What every run needs, of all that is offered, and these."""
        named = {*named}
        found = (piece for _, piece in self._offered.values())
        return [asdict(one) for one in found if one.kind in FOR_ALL or one.key in named]

    def read(self, key: str, start: int) -> bytes:
        """A chunk of an offered file; raises KeyError for any other."""
        return _chunk(self._offered[key][0], start)

    def begin(self, segment: str, run: str, node: str) -> list[dict[str, Any]]:
        """The files of the run's newest whole checkpoint, once whoever wrote there has let go; the
        segment is on `node`.
        """
        self._nodes[segment] = node
        with self._mine(segment, run):
            for folder in reversed(epochs(self._run(run))):
                if pieces := _whole(folder):
                    return [asdict(piece) for piece in pieces]
        return []

    def node(self, segment: str) -> str:
        """The node that the segment is on; "" where it began on none."""
        return self._nodes.get(segment, "")

    def read_checkpoint(self, segment: str, run: str, name: str, start: int) -> bytes:
        """A chunk of a file that `begin` named."""
        with self._mine(segment, run):
            return _chunk(self._run(run) / _inside(name), start)

    def write(self, segment: str, run: str, name: str, start: int, chunk: bytes) -> None:
        """A chunk of a file of a checkpoint, which `commit` puts in its place."""
        epoch, file = _inside(name).parts
        with self._mine(segment, run) as lease, _disk(self._run(run)):
            path = self._stage(segment, run, epoch) / file
            path.parent.mkdir(exist_ok=True)
            with path.open("r+b" if start else "wb") as there:
                there.seek(start)
                there.truncate()
                there.write(chunk)
            lease.check()

    def lacks(self, segment: str, run: str, epoch: str, hashes: Mapping[str, str]) -> list[str]:
        """Which files of a new checkpoint have to be sent: not those that the one before has. What
        an earlier try has left is gone.
        """
        with self._mine(segment, run), _disk(self._run(run)):
            stage = self._stage(segment, run, epoch)
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
            for before in epochs(self._run(run))[-1:]:
                for piece in _whole(before):
                    _, _, file = piece.name.partition("/")
                    if hashes.get(file) == piece.sha256:
                        link(before / file, stage / file)
            return [file for file in hashes if not (stage / file).exists()]

    def commit(self, segment: str, run: str, epoch: str) -> None:
        """Put a checkpoint in its place whose files have all come; raises ConnectionError where one
        is not whole.
        """
        with self._mine(segment, run) as lease, _disk(self._run(run)):
            stage, final = self._stage(segment, run, epoch), self._run(run) / epoch
            if not _whole(stage):
                raise ConnectionError(f"{epoch} of run {run} did not arrive whole")
            meta_mode = (stage / META).stat().st_mode & 0o777
            for name in (STATE, BEST):
                with contextlib.suppress(FileNotFoundError):
                    (stage / name).chmod(meta_mode)
            lease.check()
            shutil.rmtree(final, ignore_errors=True)
            os.replace(stage, final)
            for old in epochs(self._run(run))[:-KEEP]:
                shutil.rmtree(old, ignore_errors=True)

    def settle(self, segment: str, run: str, complete: bool) -> None:
        """See `checkpoints.settle`."""
        with self._mine(segment, run):
            settle(self._run(run), complete=complete)

    def evidence(self, segment: str, run: str, content: bytes) -> None:
        """The run's evidence."""
        path = evidence_path(self.folder, run)
        with self._mine(segment, run), _disk(path):
            path.parent.mkdir(exist_ok=True)
            scratch = path.with_name(f".{path.name}.tmp")
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)

    def output(self, segment: str, content: bytes) -> None:
        """What the segment's worker has printed; a disk that refuses takes nothing."""
        path = self._output(segment)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    def has_output(self, segment: str) -> bool:
        """Whether that is still there."""
        return self._output(segment).exists()

    def _output(self, segment: str) -> Path:
        return output_path(self.folder, _plain(segment))

    def _run(self, run: str) -> Path:
        return checkpoint_folder(self.folder, _plain(run))

    def _stage(self, segment: str, run: str, epoch: str) -> Path:
        if not EPOCH.fullmatch(epoch):
            raise ValueError(f"no checkpoint is called {printable(epoch)}")
        return self._run(run) / f".{epoch}.{_plain(segment)}.tmp"  # `latest` removes leftovers

    @contextlib.contextmanager
    def _mine(self, segment: str, run: str) -> Iterator[Lease]:
        """The run's folder, locked for a moment: only for the segment that it was handed to."""
        with held(self._run(run), _plain(segment)) as lease:
            yield lease


def _whole(folder: Path) -> list[Piece]:
    """The files of a checkpoint by what its meta data say; none where it is not whole."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if meta.pop("check") != check(meta):
            return []
        found = {name: digest(folder / name) for name in meta["sha256"]}
        if found != meta["sha256"] or not found.keys() <= {STATE, BEST}:
            return []
        found[META] = digest(folder / META)
        return [
            Piece("checkpoint", f"{folder.name}/{name}", (folder / name).stat().st_size, sha256)
            for name, sha256 in found.items()
        ]
    except (*DAMAGED, OSError):
        return []


def _inside(name: str) -> Path:
    """The place of a checkpoint's file in its run's folder."""
    epoch, _, file = name.partition("/")
    if not EPOCH.fullmatch(epoch) or file not in (STATE, BEST, META):
        raise ValueError(f"no file of a checkpoint is called {printable(name)}")
    return Path(epoch, file)


def _plain(name: str) -> str:
    if not NAME.fullmatch(name) or name.startswith("."):
        raise ValueError(f"no run or segment is called {printable(name)}")
    return name


def _chunk(path: Path, start: int) -> bytes:
    with _disk(path), path.open("rb") as file:
        file.seek(start)
        return file.read(CHUNK)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise MachineError(f"{printable(path)}: {error.strerror or error}") from error
