"""Ward: processes apart, for pictures whose header does not tell what they take; one that takes too
much is ended.

A process decodes one picture after the other. It is asked in a line of JSON and the file's bytes,
says what memory it needs, waits until it may have it, and answers in a line of JSON and the pixels.
"""

import contextlib
import json
import math
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.data import raster
from pipeline.data.limits import CPU_SECONDS, MEMORY, scaled
from pipeline.data.listing import BadPicture, Reading
from pipeline.errors import MachineError
from pipeline.limits import num_cores

MOST = 4  # processes; each takes 50 MB of memory before its picture
SMALL_BYTES = 96 * 2**20  # a decoder's own, stacks of its threads among them
SLACK = 1.5  # the limit of memory is a stop, not an estimate
ALONE = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX")
}
SERVE = "import sys; sys.path.insert(0, {!r}); from pipeline.data import ward; ward.serve()"
_PLACES = threading.BoundedSemaphore(min(MOST, num_cores()))
_IDLE: "queue.LifoQueue[subprocess.Popen[bytes]]" = queue.LifoQueue()


def decoded(
    raw: bytes, reading: Reading, max_megapixels: int, admit: Callable[[int], object]
) -> tuple[raster.Pixels, int]:
    """As `raster.decoded`, in another process. Raises BadPicture also where it takes too long, too
    much, or crashes, and MachineError where no process can be had."""
    with _borrowed() as process:
        assert process.stdin
        assert process.stdout
        seconds, most = (scaled(limit, max_megapixels) for limit in (CPU_SECONDS, MEMORY))
        order = {
            "reading": asdict(reading),
            "max_megapixels": max_megapixels,
            "seconds": seconds,
            "most": most,
        }
        try:
            _tell(process.stdin, order | {"num_bytes": len(raw)}, raw)
            answer = _line(process.stdout)
            if "need" in answer:
                admit(answer["need"] + len(raw))
                _tell(process.stdin, {})
                answer = _line(process.stdout)
            pixels = _take(process.stdout, answer.get("shape", (0, 0, 0)))
        except (OSError, ValueError) as error:
            raise BadPicture(_end(process, seconds)) from error
    if "bad" in answer:
        raise BadPicture(answer["bad"])
    return pixels.transpose(2, 0, 1), answer["deepest"]


@contextlib.contextmanager
def dismissed() -> Iterator[None]:
    """End the processes when their pictures are read."""
    try:
        yield
    finally:
        with contextlib.suppress(queue.Empty):
            while True:
                _IDLE.get_nowait().communicate()  # it ends with its input


@contextlib.contextmanager
def _borrowed() -> Iterator["subprocess.Popen[bytes]"]:
    with _PLACES:
        try:
            process = _IDLE.get_nowait()
        except queue.Empty:
            process = _start()
        whole = False
        try:
            yield process
            whole = True
        finally:
            if whole:
                _IDLE.put(process)
            else:
                process.kill()
                process.communicate()


def _start() -> "subprocess.Popen[bytes]":
    here = str(Path(__file__).parents[2])
    command = [sys.executable, "-P", "-c", SERVE.format(here)]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env={**os.environ, **ALONE}
        )
    except OSError as error:
        raise MachineError(
            f"no process can be started to decode pictures in: {error.strerror}"
        ) from error


def _end(process: "subprocess.Popen[bytes]", seconds: int) -> str:
    """Why a process that does not answer has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    code = process.returncode
    if code == -signal.SIGXCPU:
        return f"it takes more than {seconds} s to decode"
    return (
        f"its decoder crashes ({signal.Signals(-code).name})"
        if code and code < 0
        else "its decoder ends without a word"
    )


def _tell(file: IO[bytes], order: dict[str, Any], content: bytes | memoryview = b"") -> None:
    file.write(json.dumps(order).encode() + b"\n")
    file.write(content)
    file.flush()


def _line(file: IO[bytes]) -> dict[str, Any]:
    """Raises ValueError where nothing more comes."""
    found: dict[str, Any] = json.loads(file.readline())
    return found


def _take(file: IO[bytes], shape: Sequence[int]) -> raster.Pixels:
    """Raises ValueError where less than that comes."""
    made = np.empty(shape, np.uint8)
    left = made.reshape(-1).data
    while left:
        num = file.readinto(left)  # type: ignore[attr-defined]
        if not num:
            raise ValueError("cut short")
        left = left[num:]
    return made


def serve() -> None:
    """What a process does until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, it is for the command
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    raster.use_one_thread()
    while line := asked.readline():
        order = json.loads(line)
        raw = asked.read(order["num_bytes"])
        _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + order["seconds"])
        _allow(SMALL_BYTES + 2 * len(raw))
        answer, content = _answer(raw, order, asked, answers)
        _limit(resource.RLIMIT_DATA, resource.RLIM_INFINITY)
        _tell(answers, answer, content)


def _answer(
    raw: bytes, order: dict[str, Any], asked: IO[bytes], answers: IO[bytes]
) -> tuple[dict[str, Any], memoryview]:
    def admit(need: int) -> None:
        _limit(resource.RLIMIT_DATA, resource.RLIM_INFINITY)
        own = min(need, order["most"])
        _tell(answers, {"need": own})
        asked.readline()
        _allow(int(SLACK * own) + SMALL_BYTES)

    try:
        pixels, deepest = raster.decoded(
            raw, Reading(**order["reading"]), order["max_megapixels"], admit
        )
    except BadPicture as bad:
        return {"bad": str(bad)}, memoryview(b"")
    except MemoryError:
        return {"bad": "it takes more memory than a picture of its size may"}, memoryview(b"")
    last = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return {"shape": last.shape, "deepest": deepest}, last.data.cast("B")


def _allow(num_bytes: int) -> None:
    """That much memory more than now."""
    now = _data_bytes()
    _limit(resource.RLIMIT_DATA, now + num_bytes if now else resource.RLIM_INFINITY)


def _limit(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _data_bytes() -> int:
    """What counts for the limit of memory; 0 where the system does not say (there it is not
    limited).
    """
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as file:
        return next(
            (1024 * int(line.split()[1]) for line in file if line.startswith(b"VmData:")), 0
        )
    return 0
