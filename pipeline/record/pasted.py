"""The command that a study was recorded by last, as it runs where it is read: for the screen of who
has the record. What is handed on has `published` commands.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.record.events import Session

NAMED = ("--data", "--study", "--warm-start")  # flags whose value may be a path
FILES = (".py", ".json")  # a study that is one
ONCE = ("--fresh", "--resume", "--dry-run")  # --fresh would begin anew, beside what is there


def from_here(session: Session, mlruns: Path) -> str:
    """Its own words, so that it goes on; but for paths that were seen from another folder, and for
    `mlruns`, where the record lies now.
    """
    try:
        words = shlex.split(session.command)
    except ValueError:  # as an edited ledger may have it
        return session.command
    made = [w for w in _moved(words, session.place.get("cwd", "")) if w not in ONCE]
    if not _leads_to(mlruns, words, session.place):
        flag = [i for i, word in enumerate(made) if word.split("=")[0] == "--mlruns"]
        gone = {*flag, *(i + 1 for i in flag if "=" not in made[i])}
        made = [word for i, word in enumerate(made) if i not in gone]
        made.append(f"--mlruns={mlruns.resolve()}")
    return session.command if made == words else shlex.join(made)


def _moved(words: Sequence[str], cwd: str) -> Iterator[str]:
    """The words, where paths that are there as seen from `cwd` are seen from the root."""
    elsewhere = bool(cwd) and cwd != os.getcwd()
    before = ""
    for word in words:
        flag, equals, value = word.partition("=")
        if not (equals and flag in NAMED):
            flag, value = before, word
        path = os.path.join(cwd, value)
        is_path = flag != "--study" or value.endswith(FILES)
        if elsewhere and flag in NAMED and is_path and os.path.exists(path):
            yield f"{flag}={path}" if equals and word != value else path
        else:
            yield word
        before = word


def _leads_to(mlruns: Path, words: Sequence[str], place: dict[str, str]) -> bool:
    """Whether the words, given here, mean this folder; those without the flag mean the one that
    they meant; True where that is not known.
    """
    given = ["", *words]
    found = [b for a, b in zip(given, words, strict=False) if a == "--mlruns"]
    found += [word.partition("=")[2] for word in words if word.startswith("--mlruns=")]
    if not found and not (place.get("cwd") and place.get("mlruns")):
        return True
    meant = found[-1] if found else os.path.relpath(place["mlruns"], place["cwd"])
    return Path(meant).resolve() == mlruns.resolve()
