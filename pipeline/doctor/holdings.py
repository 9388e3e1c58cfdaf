"""Holdings: the caches of pictures under mlruns, what they take, and which studies they serve."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.counts import plural
from pipeline.data.shelf import ALIKE, META, Parcel, parcels, take_off
from pipeline.doctor.findings import Finding
from pipeline.errors import MachineError, printable
from pipeline.limits import size
from pipeline.record.events import Study
from pipeline.record.ledger import FILE, read_events


@dataclass(frozen=True)
class Holding:
    """A cache. users: the folders of the recorded studies whose pictures it holds; why: it serves
    none, in words.
    """

    parcel: Parcel
    content: str
    users: tuple[str, ...]
    why: str = ""


def holdings(mlruns: Path) -> list[Holding]:
    """All caches, the newest first; of several of the same pictures the newest that can be told
    again serves.

    Raises MachineError where a record cannot be read: what it uses is not known then.
    """
    users = _users(mlruns)
    found = [(parcel, *_content(parcel)) for parcel in parcels(mlruns / "cache")]
    best: dict[str, Path] = {}
    for parcel, _, fingerprint in sorted(found, key=lambda one: not (one[0].path / ALIKE).exists()):
        best.setdefault(fingerprint, parcel.path)
    return [
        Holding(parcel, content, tuple(users[fingerprint]))
        if fingerprint in users and best[fingerprint] == parcel.path
        else Holding(parcel, content, (), _why(fingerprint, fingerprint in users))
        for parcel, content, fingerprint in found
    ]


def findings(held: Iterable[Holding]) -> Iterator[Finding]:
    """Of each cache its size and who uses it."""
    for one in held:
        said = (
            f"used by {', '.join(printable(user) for user in one.users)}" if one.users else one.why
        )
        yield Finding(size(one.parcel.num_bytes), f"{one.content}: {said}")


def remove(held: Iterable[Holding]) -> str:
    """Remove what serves no study and is held by no running command; says what that freed."""
    gone, busy = list[Holding](), 0
    for one in held:
        if not one.users:
            if take_off(one.parcel.path):
                gone.append(one)
            else:
                busy += 1
    said = (
        f"freed {size(sum(one.parcel.num_bytes for one in gone))}: {plural(len(gone), 'cache')} "
        "removed"
    )
    return said + (f"; {plural(busy, 'other')} in use by a running command" if busy else "")


def _users(mlruns: Path) -> defaultdict[str, list[str]]:
    """Fingerprint of pictures → names of the folders of the studies that were recorded on them."""
    users = defaultdict[str, list[str]](list)
    for folder in sorted(path for path in mlruns.iterdir() if path.is_dir()):
        try:
            (folder / FILE).lstat()
        except FileNotFoundError:
            continue
        except (
            OSError
        ) as error:  # another user's, closed to others: a search of the folder would pass over it
            raise MachineError(f"{printable(folder)}: cannot be read: {error.strerror}") from error
        for event in read_events(folder):
            if isinstance(event, Study):
                users[event.data["fingerprint"]].append(folder.name)
                break
    return users


def _content(parcel: Parcel) -> tuple[str, str]:
    """(what a cache holds, in words; its fingerprint, '' where it is not whole)."""
    try:
        meta = json.loads((parcel.path / META).read_text(encoding="ascii"))["meta"]
        num, channels, side, _ = meta["shape"]
        words = f"{plural(num, 'picture')} of {side}x{side}, {plural(channels, 'channel')}"
        return f"{printable(meta['title'], 60)}, {words}", str(meta["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return parcel.path.name, ""


def _why(fingerprint: str, used: bool) -> str:
    if not fingerprint:
        return "left by a build that was ended, or damaged"
    return "the same pictures as in a newer one" if used else "no recorded study uses it"
