"""The files of a report in its folder: put in place as a whole, compared with what they should be,
the stale removed.

files.txt lists them with their checksums, as `sha256sum -c files.txt` reads them. What is not
listed is somebody else's and never touched.
"""

import contextlib
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.errors import MachineError

LIST = "files.txt"
STRANGE = "not of this report"
Files = Mapping[str, bytes]  # name relative to the folder → content


def listed(files: Files) -> dict[str, bytes]:
    """The files and their list."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in sorted(files.items())
    ]
    return {LIST: "".join(lines).encode(), **files}


def replace_all(folder: Path, files: Files) -> tuple[Path, ...]:
    """Write every file beside its place, then put them in place one after another, the last one
    last.

    Then files of the last report that this one has no more are removed, unless they were changed
    since.
    """
    waiting: list[tuple[Path, Path]] = []
    try:
        old = _recorded(folder)
        for name, content in files.items():
            waiting.append((_beside(folder / name, content), folder / name))
        for ready, target in waiting:
            os.replace(ready, target)
        for name in old.keys() - files.keys():
            if _checksum(folder / name) == old[name]:
                (folder / name).unlink()
    except OSError as error:
        raise MachineError(f"{folder}: cannot write the report: {error.strerror}") from error
    finally:
        for ready, _ in waiting:
            with contextlib.suppress(OSError):
                ready.unlink()
    return tuple(target for _, target in waiting)


def keep_changed(folder: Path, name: str) -> Path | None:
    """Where a file of the list was changed since it was written, as somebody's notes in a table
    are: move it beside its place, and say where; else None.
    """
    here = folder / name
    if not here.is_file() or _checksum(here) == _recorded(folder).get(name):
        return None
    numbers = (here.with_name(f"{here.stem}.changed{n}{here.suffix}") for n in itertools.count(1))
    beside = next(place for place in numbers if not os.path.lexists(place))
    try:
        here.rename(beside)
    except OSError as error:
        raise MachineError(f"{folder}: cannot write the report: {error.strerror}") from error
    return beside


def differences(folder: Path, files: Files) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) of each file in `folder` that is not as in `files`, missing, or none of
    them.
    """
    try:
        found = {
            str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()
        }
        for name in sorted(found.keys() | files.keys()):
            if name not in found:
                yield name, "missing"
            elif name not in files:
                yield name, STRANGE
            elif found[name].read_bytes() != files[name]:
                yield name, "differs"
    except OSError as error:
        raise MachineError(f"{folder}: cannot read the report: {error.strerror}") from error


def _beside(target: Path, content: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(
        f".{target.name}.{secrets.token_hex(4)}"
    )  # not by tempfile, whose files are the user's alone
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return beside


def _recorded(folder: Path) -> dict[str, str]:
    """Name → checksum by the list in `folder`; names that lead out of it are left out."""
    try:
        text = (folder / LIST).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    lines = (re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in text.splitlines())
    found = {line[2]: line[1] for line in lines if line}
    home = folder.resolve()
    return {
        name: checksum
        for name, checksum in found.items()
        if (folder / name).resolve().is_relative_to(home)
    }


def _checksum(path: Path) -> str:
    """Of a plain file; nothing else has one."""
    return (
        hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file() and not path.is_symlink()
        else ""
    )
