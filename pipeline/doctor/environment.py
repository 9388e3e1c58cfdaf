"""Whether this machine can do the work: versions, processors, memory, disk, sockets, the right to
write.
"""

import fcntl
import importlib.metadata
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.counts import plural
from pipeline.doctor.findings import Finding
from pipeline.errors import printable
from pipeline.limits import GiB, MiB, available_bytes, size
from pipeline.machine import (
    GPU_DEVICES,
    PACKAGES,
    WORKER_BYTES,
    Resources,
    describe,
    temp_folder,
    versions,
)

MIN_DISK_BYTES, LOW_DISK_BYTES = 200 * MiB, 2 * GiB
SHARED_BYTES = 80 * MiB  # Ray's object store here
UI_PORT = 5000


def surroundings(mlruns: Path, means: Resources, wrong: str = "") -> Iterator[Finding]:
    """Look at everything that a study needs of the machine; nothing is left behind. `wrong`: why a
    GPU of it cannot be used.
    """
    yield _versions()
    yield _processors(means, wrong)
    yield _memory(means)
    yield _writable(mlruns)
    yield _disk(mlruns)
    yield _shared_memory()
    yield _loopback()
    yield _sockets(mlruns)
    yield _ui_port()


def _versions() -> Finding:
    try:
        return Finding(
            "versions", ", ".join(f"{name} {version}" for name, version in versions().items())
        )
    except importlib.metadata.PackageNotFoundError as error:
        return Finding(
            "versions", f"{error.name} is not installed; needed are {', '.join(PACKAGES)}", "error"
        )


def _processors(means: Resources, wrong: str) -> Finding:
    facts = describe(means.device)
    said = (
        f"{facts['name']}, {plural(facts['cpus'], 'CPU core')}; {plural(means.workers, 'run')} at "
        f"the same time on {means.device}"
    )
    if wrong:
        return Finding("processors", f"{said}; {wrong}", "error")
    if means.device == "cpu" and any(Path(device).exists() for device in GPU_DEVICES):
        return Finding("processors", f"{said}; there is a GPU, but torch cannot use it", "warning")
    return Finding("processors", said)


def _memory(means: Resources) -> Finding:
    free, need = available_bytes(), means.workers * WORKER_BYTES
    said = (
        f"{size(free)} free; {plural(means.workers, 'worker takes', 'workers take')} about "
        f"{size(need)} before their networks"
    )
    if free < WORKER_BYTES:
        return Finding("memory", said, "error")
    return Finding(
        "memory",
        f"{said}; use fewer --workers" if free < need else said,
        "warning" if free < need else "ok",
    )


def _writable(mlruns: Path) -> Finding:
    folder = _existing(mlruns)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"doctor")
            file.flush()
            os.fsync(file.fileno())
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding(
            "results", f"{folder}: cannot be written and locked: {error.strerror}", "error"
        )
    return Finding(
        "results",
        f"{folder} can be written and locked"
        + ("" if folder == mlruns.absolute() else f"; {mlruns} is new"),
    )


def _disk(mlruns: Path) -> Finding:
    free = shutil.disk_usage(_existing(mlruns)).free
    said = f"{size(free)} free for pictures, checkpoints and results"
    return Finding(
        "disk",
        said,
        "error" if free < MIN_DISK_BYTES else "warning" if free < LOW_DISK_BYTES else "ok",
    )


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding("shared memory", "no /dev/shm here; Ray takes files in its temporary folder")
    free = shutil.disk_usage(folder).free
    if free < SHARED_BYTES:
        return Finding(
            "shared memory", f"/dev/shm has {size(free)}, Ray takes {size(SHARED_BYTES)}", "warning"
        )
    return Finding("shared memory", f"/dev/shm has {size(free)} free")


def _loopback() -> Finding:
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=5) as there,
            server.accept()[0] as here,
        ):
            there.sendall(b"ping")
            echoed = here.recv(4) == b"ping"
    except OSError as error:
        return Finding(
            "loopback",
            f"no connection to 127.0.0.1: {error.strerror or error}; Ray cannot start",
            "error",
        )
    return Finding(
        "loopback",
        "127.0.0.1 takes connections" if echoed else "127.0.0.1 garbles",
        "ok" if echoed else "error",
    )


def _sockets(mlruns: Path) -> Finding:
    """Unix sockets in the folder that Ray will have (one beside it: nothing is created)."""
    parent = temp_folder(mlruns.resolve()).parent
    try:
        with (
            tempfile.TemporaryDirectory(dir=parent, prefix="doctor-") as folder,
            socket.socket(socket.AF_UNIX) as server,
        ):
            server.bind(str(Path(folder) / "socket"))
    except OSError as error:
        return Finding(
            "sockets",
            f"{parent}: no Unix socket can be made there: {error.strerror or error}",
            "error",
        )
    return Finding("sockets", f"Unix sockets work in {printable(parent)}")


def _ui_port() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", UI_PORT)):
            return Finding("port", f"{UI_PORT} is free for the MLflow UI")
    except OSError:
        return Finding("port", f"{UI_PORT} is taken; start the MLflow UI with another --port")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
