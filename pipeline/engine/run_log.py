"""What a failed run leaves to find the fault by: what was trained, how far it came, the traceback,
what its worker printed.

A worker's output goes to a file of the segment's own while it works, so that it is there however
the worker ends; where the segment failed, the driver moves it into the run's log, an entry an
attempt.
"""

import contextlib
import faulthandler
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.record.record import Run
from pipeline.screen import Steady

MAX_BYTES = 64 * 1024
"""What is kept of a segment's output: its end."""
MAX_LOG_BYTES, MAX_OUTPUT_BYTES = 2**20, 2**24


def log_path(study_folder: Path, key: str) -> Path:
    """Where the log of a run lies that has failed."""
    return study_folder / "logs" / f"{key}.txt"


def output_path(study_folder: Path, segment: str) -> Path:
    """Where what a worker prints goes while it trains `segment`."""
    return study_folder / "logs" / f".{segment}.out"


@contextlib.contextmanager
def captured(path: Path) -> Iterator[None]:
    """Let all that this process prints, its libraries and a crash of the interpreter included, go
    to `path`.

    A file that cannot be opened is no reason to train nothing: then the output goes where it went.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError:
        yield
        return
    before = [os.dup(number) for number in (1, 2)]
    _flush()
    for number in (1, 2):
        os.dup2(file.fileno(), number)
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(file)
    try:
        steady = Steady(
            file
        )  # a full disk is for the checkpoint to tell, not for a library that prints
        with contextlib.redirect_stdout(steady), contextlib.redirect_stderr(steady):
            yield
    finally:
        faulthandler.disable()
        for number, was in zip((1, 2), before, strict=True):
            os.dup2(was, number)
            os.close(was)
        if was_enabled:
            faulthandler.enable(2)
        with contextlib.suppress(OSError):
            file.close()


def bound(path: Path) -> None:
    """Keep the end alone of what a worker has printed, where that is much."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_OUTPUT_BYTES:
            printed = _tail(path)
            os.truncate(path, 0)  # it is written at its end, wherever that is
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(printed)


def discard(path: Path) -> None:
    """Remove the output of a segment that has not failed."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def clear(study_folder: Path) -> None:
    """Remove what workers of a killed command left."""
    for path in (study_folder / "logs").glob(".*.out"):
        discard(path)


def facts(run: Run, error: str, attempt: int) -> dict[str, Any]:
    """What an entry says of the run."""
    place = (
        {"trial": run.number}
        if run.kind == "trial"
        else {"arm": run.arm, "replicate": run.replicate}
    )
    return {
        **place,
        "error": error,
        "attempt": attempt,
        "config": run.config,
        "epochs recorded": len(run.epochs),
        "the last": run.epochs[-1] if run.epochs else None,
    }


def write(study_folder: Path, key: str, segment: str, facts: Mapping[str, Any]) -> str:
    """Enter a failed segment into the run's log, `facts` a line each; returns the log's name
    relative to the study's folder.

    '' where it cannot be written: a log is no reason to lose more.
    """
    output, log = output_path(study_folder, segment), log_path(study_folder, key)
    lines = [
        f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in facts.items()
    ]
    head = f"==== run {key}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n" + "\n".join(lines)
    try:
        log.parent.mkdir(exist_ok=True)
        printed = _tail(output)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{head}\nits worker printed{':' if printed else ' nothing'}\n{printed}\n")
        _shorten(log)
    except OSError:
        return ""
    discard(output)
    return log.relative_to(study_folder).as_posix()


def _shorten(log: Path) -> None:
    """Of a run that fails again and again the last attempts are kept."""
    if log.stat().st_size > MAX_LOG_BYTES:
        scratch = log.with_suffix(".new")
        scratch.write_text(_tail(log, MAX_LOG_BYTES // 2), "utf-8", "backslashreplace")
        os.replace(scratch, log)


def _tail(path: Path, most: int = MAX_BYTES) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most))
        text = file.read().decode("utf-8", "backslashreplace")
    return ("…" if size > most else "") + text


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
