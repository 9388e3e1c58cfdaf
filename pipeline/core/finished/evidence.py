"""What a finished run of an arm leaves behind for the report, in one small file: answers, mistakes,
embeddings.
"""

import contextlib
import hashlib
import io
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import MachineError, printable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
MAX_WRONG, MAX_SIDE, MAX_POINTS = 24, 64, 400
MAX_BYTES = 2**30  # of a member when unpacked: twenty million pictures' answers take less
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    EOFError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    MemoryError,
)  # what a file that is missing or damaged may raise
ABOUT, LAYERS = "about", ("middle", "top")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file knows


@dataclass(frozen=True)
class Judged:
    """The judged model's answers on a split, a row a picture, in the split's order.

    true, pred: int64 [N], the label and the likeliest class; true_prob, pred_prob: float32 [N],
    their probabilities.
    """

    true: Ints
    pred: Ints
    true_prob: Floats
    pred_prob: Floats


@dataclass(frozen=True)
class Wrong:
    """The pictures it got most wrong: the highest pred_prob - true_prob among the wrong ones, at
    most MAX_WRONG.

    rows: int64 [M], of `Judged`; pictures: uint8 [M, 3, S, S], S <= MAX_SIDE; files: their names
    relative to the data folder, which may hold any bytes a file system allows: show them with
    `printable`.
    """

    rows: Ints
    pictures: Bytes
    files: tuple[str, ...]


@dataclass(frozen=True)
class Embedding:
    """A layer's activations as points of a plane. layer: "middle" or "top"; module: its path in the
    network; points: float32 [P, 2], at most MAX_POINTS; true: int64 [P], the labels."""

    layer: str
    module: str
    points: Floats
    true: Ints


@dataclass(frozen=True)
class Evidence:
    """Of one run. split: "test" where test pictures have labels, else "val"; embeddings of some
    runs alone.
    """

    split: str
    judged: Judged
    wrong: Wrong
    embeddings: tuple[Embedding, ...]


def evidence_path(study_folder: Path, key: str) -> Path:
    """Where the evidence of a run lies."""
    return study_folder / "evidence" / f"{key}.npz"


def write(path: Path, evidence: Evidence) -> str:
    """`put` it; the same evidence makes the same bytes."""
    return put(path, _pack(evidence))


def put(path: Path, content: bytes) -> str:
    """Write the file as a whole or not at all, make sure that it is on disk, return its SHA-256.

    Raises MachineError where the disk refuses.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        _sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise MachineError(
            f"cannot write evidence to {printable(path)}: {error.strerror or error}"
        ) from error
    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> Evidence | None:
    """What `write` wrote; None where the file is missing, damaged or no evidence. Nothing is
    unpickled.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpack(archive)
    except UNREADABLE:
        return None


def _pack(evidence: Evidence) -> bytes:
    judged, wrong = evidence.judged, evidence.wrong
    shown = [{"layer": e.layer, "module": e.module} for e in evidence.embeddings]
    about = {
        "split": evidence.split,
        "files": wrong.files,
        "embeddings": shown,
    }  # ASCII: holds any file name
    members: dict[str, npt.NDArray[Any]] = {
        ABOUT: np.frombuffer(json.dumps(about).encode("ascii"), np.uint8),
        "true": judged.true.astype("<i8"),
        "pred": judged.pred.astype("<i8"),
        "true_prob": judged.true_prob.astype("<f4"),
        "pred_prob": judged.pred_prob.astype("<f4"),
        "rows": wrong.rows.astype("<i8"),
        "pictures": wrong.pictures.astype(np.uint8),
    }
    for number, embedding in enumerate(evidence.embeddings):
        members[f"points{number}"] = embedding.points.astype("<f4")
        members[f"labels{number}"] = embedding.true.astype("<i8")
    return packed(members)


def packed(members: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """An .npz file of these arrays, without the dates and permissions that would make two of them
    differ.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in members.items():
            plain = io.BytesIO()
            np.lib.format.write_array(
                plain, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
            )
            member = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            member.create_system = 3
            archive.writestr(member, plain.getvalue(), zipfile.ZIP_DEFLATED, 6)
    return file.getvalue()


def _unpack(archive: zipfile.ZipFile) -> Evidence:
    """Raises ValueError and others where anything is not as `_pack` makes it."""
    about = json.loads(array(archive, ABOUT, np.uint8, 1).tobytes())
    require(about["split"] in ("test", "val"))
    true, pred = (array(archive, name, np.int64, 1) for name in ("true", "pred"))
    true_prob, pred_prob = (
        array(archive, name, np.float32, 1) for name in ("true_prob", "pred_prob")
    )
    require(len(true) == len(pred) == len(true_prob) == len(pred_prob))
    require(all((part >= 0).all() for part in (true, pred)))
    require(all(((part >= 0) & (part <= 1.001)).all() for part in (true_prob, pred_prob)))
    rows, pictures = array(archive, "rows", np.int64, 1), array(archive, "pictures", np.uint8, 4)
    files = tuple(about["files"])
    require(
        len(rows) == len(pictures) == len(files) <= MAX_WRONG
        and all(isinstance(file, str) for file in files)
    )
    require(bool(((rows >= 0) & (rows < len(true))).all()))
    require(pictures.shape[1] == 3 and pictures.shape[2] == pictures.shape[3] <= MAX_SIDE)
    judged, wrong = Judged(true, pred, true_prob, pred_prob), Wrong(rows, pictures, files)
    embeddings = tuple(
        _embedding(archive, number, shown) for number, shown in enumerate(about["embeddings"])
    )
    return Evidence(about["split"], judged, wrong, embeddings)


def _embedding(archive: zipfile.ZipFile, number: int, shown: dict[str, str]) -> Embedding:
    points = array(archive, f"points{number}", np.float32, 2)
    labels = array(archive, f"labels{number}", np.int64, 1)
    require(shown["layer"] in LAYERS and isinstance(shown["module"], str))
    require(points.shape == (len(labels), 2) and len(labels) <= MAX_POINTS)
    require(bool(np.isfinite(points).all()) and bool((labels >= 0).all()))
    return Embedding(shown["layer"], shown["module"], points, labels)


def array(
    archive: zipfile.ZipFile, name: str, kind: type[np.generic], ndim: int
) -> npt.NDArray[Any]:
    """A member of what `packed` made, whose header says exactly what is there; nothing is set aside
    for what a header merely claims. Raises ValueError and others, as `UNREADABLE` lists them.
    """
    require(archive.getinfo(f"{name}.npy").file_size <= MAX_BYTES)
    file = io.BytesIO(archive.read(f"{name}.npy"))
    require(np.lib.format.read_magic(file) == (1, 0))
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    require(dtype == np.dtype(kind).newbyteorder("<") and len(shape) == ndim and not by_column)
    values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape).astype(kind)


def require(truth: bool | np.bool) -> None:
    if not truth:
        raise ValueError("not as it was written")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
