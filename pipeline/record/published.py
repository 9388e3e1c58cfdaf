"""What may be published of a record: without home folders, user and host names, and where on a
machine anything lies.

The ledger keeps it all and is private. A report and an exported model are handed on: their paths
are relative to the folder that a command ran in or to `mlruns`, begin with `~`, or are `…/` and a
name. What is cut depends on the record alone: the same record gives the same bytes wherever it is
read.
"""

import contextlib
import functools
import getpass
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.record.events import Event
from pipeline.record.record import Record

Happened = TypeVar("Happened", bound=Event)
PART = r"[^/\s'\"`()\[\],;:|<>]+"
ADDRESS = r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"]*)"
QUOTED = r"'(?P<quoted>/[^']*)'"
BARE = rf"(?<![\w.~/…<>])(?P<bare>/{PART}(?:/{PART})*/?)"
WINDOWS = r"(?P<drive>\b[A-Za-z]:[\\/]+Users[\\/]+[^\\/\s'\"]+)"
FOUND = re.compile("|".join((ADDRESS, QUOTED, WINDOWS, BARE)))
HOME = re.compile(r"(?:/[^\s'\"]*?)?/(?:home|Users)/[^/]+(?=/|$)|/(?:var/)?root(?=/|$)")
KERNEL = ("/dev/", "/proc/", "/sys/")
LOCAL = {"sqlite": "/", "file": ""}  # schemes of addresses that are paths


def place(mlruns: Path, pictures: Path | None) -> dict[str, str]:
    """Where a command runs, for the ledger: what is to be cut from all that is published, and where
    the pictures lie.
    """
    user = cwd = ""
    with contextlib.suppress(OSError, KeyError):  # a number without a name, as in a container
        user = getpass.getuser()
    with contextlib.suppress(OSError):  # removed since
        cwd = os.getcwd()
    return {
        "cwd": cwd,
        "home": os.path.expanduser("~"),
        "mlruns": str(mlruns.resolve()),
        "pictures": str(pictures.resolve()) if pictures else "",
        "user": user,
        "host": socket.gethostname(),
    }


@dataclass(frozen=True)
class Cutter:
    """Cuts from a text what must not be published: `places` are what `place` gave. `kept`: names
    that stay as they are.
    """

    places: tuple[Mapping[str, str], ...] = ()
    kept: frozenset[str] = frozenset()

    @functools.cached_property
    def _folders(self) -> tuple[tuple[str, str], ...]:
        """(folder, what stands for it), the deeper first."""
        found: dict[str, str] = {}
        for one in self.places:
            found |= {one["home"]: "~", os.path.realpath(one["home"]): "~"}
        for one in self.places:
            found |= {one["mlruns"]: Path(one["mlruns"]).name, one["cwd"]: ""}
        return tuple(
            sorted(
                ((path, to) for path, to in found.items() if len(path) > 1),
                key=lambda pair: -len(pair[0]),
            )
        )

    @functools.cached_property
    def _names(self) -> re.Pattern[str] | None:
        """Names of users and hosts as parts of a path or an address, a host's also as a word where
        it looks like one.
        """
        users = {one["user"] for one in self.places} | {
            Path(one["home"]).name for one in self.places
        }
        hosts = {one["host"] for one in self.places} | {
            one["host"].partition(".")[0] for one in self.places
        }
        parts = [
            rf"(?<=[/@]){re.escape(name)}(?![\w-])"
            for name in sorted(users | hosts, key=len, reverse=True)
            if name
        ]
        words = [
            rf"(?<![\w.-]){re.escape(host)}(?![\w-])"
            for host in hosts
            if re.search(r"[\d.-]", host) and len(host) > 3
        ]
        firsts = [rf"(?<![\w./-]){re.escape(name)}(?=[/@])" for name in users - {""}]
        return re.compile("|".join(words + parts + firsts)) if parts else None

    def text(self, text: str) -> str:
        """`text` without them."""
        if text in self.kept or not ("/" in text or "\\" in text or self._names):
            return text
        for folder, to in self._folders:
            if folder in text:
                whole = re.compile(rf"(?<![\w.~-]){re.escape(folder)}(/+|(?![\w.-]))")
                text = whole.sub(functools.partial(_instead, to), text)
        text = FOUND.sub(self._cut, text)
        return self._names.sub("…", text) if self._names else text

    def command(self, text: str) -> str:
        """The same of a command: of the folder that `--mlruns` names from the root, the name alone
        would be another folder.
        """
        places = tuple({**one, "mlruns": ""} for one in self.places)
        return replace(self, places=places).text(text)

    def tree(self, value: Any) -> Any:
        """The same of every text in plain data; keys are names and stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.tree(item) for key, item in value.items()}
        return [self.tree(item) for item in value] if isinstance(value, list | tuple) else value

    def _cut(self, found: re.Match[str]) -> str:
        if found["scheme"]:
            scheme, rest = found["scheme"], found["rest"]
            lead = LOCAL.get(scheme.lower())  # what stands before an absolute path
            if lead is None or not rest.startswith(f"{lead}/"):
                return found[0]
            return f"{scheme}://{lead}{_short(rest[len(lead) :])}"
        if found["quoted"]:
            return f"'{_short(found['quoted'])}'"
        return "~" if found["drive"] else _short(found["bare"])


def _instead(to: str, found: re.Match[str]) -> str:
    """`to` for a folder, whose own name in it may be nothing."""
    return f"{to}/" if to and found[1] else to if to or found[1] else "."


def _short(path: str) -> str:
    """An absolute path by its home or its name alone."""
    if path.startswith(KERNEL):
        return path
    cut = HOME.sub("~", path, count=1)
    parts = [part for part in cut.split("/") if part]
    return (
        cut
        if cut.startswith("~") or len(parts) < 2 or not cut.startswith("/")
        else f"…/{parts[-1]}"
    )


def cutter(record: Record) -> Cutter:
    """For all that is published of `record`."""
    places = {
        tuple(sorted(session.place.items())): session.place
        for session in record.sessions
        if session.place
    }
    kept = frozenset((*record.arm_names, *map(str, record.data["classes"])))
    return Cutter(tuple(places.values()), kept)


def published(record: Record) -> Record:
    """A copy of `record` for readers elsewhere; whatever is said of it, in words, tables and
    figures, may be handed on.
    """
    cut = cutter(record)
    seen: dict[int, Any] = {}  # configs are shared among runs

    def tree(value: Any) -> Any:
        if id(value) not in seen:
            seen[id(value)] = cut.tree(value)
        return seen[id(value)]

    def event(found: Happened) -> Happened:
        names = (part.name for part in fields(found) if part.name != "place")
        return replace(found, **{name: cut.tree(getattr(found, name)) for name in names})

    def uri(key: str) -> str:
        store, bar, what = key.rpartition("|")
        return f"{cut.text(store)}{bar}{what}"

    return replace(
        record,
        begun=event(record.header),
        revisions=[event(revision) for revision in record.revisions],
        sessions=[
            replace(event(session), command=cut.command(session.command))
            for session in record.sessions
        ],
        plans=[event(plan) for plan in record.plans],
        pilot=event(record.pilot) if record.pilot else None,
        mlflow_ids={uri(key): run for key, run in record.mlflow_ids.items()},
        mlflow_experiments={
            cut.text(store): number for store, number in record.mlflow_experiments.items()
        },
        runs={
            key: replace(
                run, config=tree(run.config), knobs=cut.tree(run.knobs), error=cut.text(run.error)
            )
            for key, run in record.runs.items()
        },
    )
