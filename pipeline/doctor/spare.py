"""Spare: what a study's folder holds that nobody needs, and what may go at a price that is named.

Without a price: nothing that a report, an export, `labels`, `doctor`, or going on in any way reads.
What the search's trials left has one: a trial's model may be exported, and a trial that was stopped
at a rung may be sent on by a larger budget. Where the study has grown, its former trials may be
taken over, and stay. Model files that a study in the same folder learns from, known by name or by
what is in them, always stay, and so does whatever the pipeline did not write. Nothing is looked for
through links.
"""

import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.identity import REDRAWN
from pipeline.counts import plural
from pipeline.engine.order import checkpoint_folder
from pipeline.errors import MachineError, UserError, printable
from pipeline.record import pruned
from pipeline.record.ledger import FILE, alone, read_events
from pipeline.record.record import Record
from pipeline.record.runs import Run
from pipeline.study.tuning import RACE

OLD_SECONDS = 3600.0  # of what a command that was killed left: a younger one may be at work
NAMED = re.compile(rb"([0-9a-f]{16})/+(?:\./+)*epoch_|checkpoints[/.]+([0-9a-f]{16})")
CONTENT = re.compile(rb'"([0-9a-f]{64})"')
OURS = re.compile(r"\.?epoch_\d+(\.tmp)?|lease")  # what is in a run's folder of checkpoints
META = "meta.json"
WITHIN = ("state.safetensors", "best.safetensors", META, f"{META}.tmp")  # and in one of these
CHECKPOINTS, GONE = "checkpoints", ".pruned."


@dataclass(frozen=True)
class Spare:
    """Files that may go together. kind: for programs; what: in words; price: what cannot be done
    any more, "" where nothing is lost; runs: whose checkpoints they are; num_bytes: what they take
    on disk, a file with several names once.
    """

    kind: str
    what: str
    price: str
    paths: tuple[Path, ...]
    runs: tuple[str, ...]
    num_files: int
    num_bytes: int


def spares(folder: Path, record: Record) -> list[Spare]:
    """What there is of a study, those without a price first. Changes nothing.

    Raises UserError where its checkpoints are behind a link: others may share them.
    """
    for place in (folder, folder / CHECKPOINTS):
        if place.is_symlink():
            raise UserError(
                f"{printable(place)}: a link to {printable(os.path.realpath(place))}, which "
                "another record may share: nothing behind it is removed"
            )
    runs, named = record.runs.values(), _named(folder.resolve().parent)
    found = [
        _checkpoints(folder, named, runs, kind, is_one, words, price)
        for kind, (is_one, words, price) in _kinds(record).items()
    ]
    found.insert(3, _spare("leftovers", "{} that a killed command left", "", leftovers(folder)))
    return [one for one in found if one.paths]


def remove(folder: Path, *, search: bool) -> list[Spare]:
    """Remove what has no price, with `search` also what the search's trials left; returns what is
    gone.

    Raises MachineError where the study is in use or the disk refuses: what is then left can be
    removed by another try.
    """
    with alone(folder):
        record = Record.of(read_events(folder))
        try:
            going = [one for one in spares(folder, record) if search or not one.price]
            if runs := [run for one in going for run in one.runs]:
                pruned.note(folder, runs, sum(one.num_bytes for one in going))
            for path in (path for one in going for path in one.paths):
                _remove(path)
        except OSError as error:
            raise MachineError(
                f"{printable(folder)}: cannot be pruned: {error.strerror or error}; what is gone "
                "was spare, the same command removes the rest"
            ) from error
    return going


Kinds = dict[str, tuple[Callable[[Run], bool], str, str]]


def _kinds(record: Record) -> Kinds:
    """Kind → (which runs are of it, what their checkpoints are called, at what price they go)."""
    stays = {run.key for run in (record.best_trial(), record.stayed()) if run is not None}
    if record.revisions:  # another search may take any of them over, and call it its best
        stays |= {run.key for run in record.runs.values() if _trial(run)}
    waiting = [run for run in record.runs.values() if _trial(run) and run.status == "stopped"]
    epochs = sum(len(run.epochs) for run in waiting)
    again = (
        "a larger --trials that sends one of them on trains its first epochs again "
        f"({plural(epochs, 'epoch')} in all), and `export --trial` of them is refused"
    )
    return {
        "lost": (
            lambda run: run.given_up,
            "checkpoints of {} that diverged, or do not fit the device's memory",
            "",
        ),
        "race": (
            lambda run: run.status == "complete" and run.kind == "trial" and run.search == RACE,
            "model files of {} of a race, whose winner is an arm with runs of its own",
            "",
        ),
        "sources": (
            lambda run: (
                run.status == "complete" and run.kind == "source" and run.replicate >= REDRAWN
            ),
            "model files of {} that took the ± apart",
            "",
        ),
        "trials": (
            lambda run: _trial(run) and run.status == "complete" and run.key not in stays,
            "model files of {}: trials that are complete, all but the best",
            "`export --trial` of them is refused",
        ),
        "stopped": (
            lambda run: _trial(run) and run.status == "stopped" and run.key not in stays,
            "checkpoints of {}: trials that were stopped at a rung",
            again,
        ),
    }


def _trial(run: Run) -> bool:
    return run.kind == "trial" and run.search != RACE


def _checkpoints(
    folder: Path,
    named: set[str],
    runs: Iterable[Run],
    kind: str,
    is_one: Callable[[Run], bool],
    words: str,
    price: str,
) -> Spare:
    places = {
        run.key: checkpoint_folder(folder, run.key)
        for run in runs
        if is_one(run) and run.key not in named
    }
    there = {
        key: ours
        for key, path in places.items()
        if path.is_dir() and not path.is_symlink() and (ours := _ours(path, named))
    }
    what = words.replace("{}", plural(len(there), "run"))
    return _spare(kind, what, price, itertools.chain(*there.values()), tuple(there))


def _ours(path: Path, named: set[str]) -> list[Path]:
    """What may go of a run's folder: itself, or where something else is in it, what is not; nothing
    where some study learns from what is in one of its files.
    """
    inside = list(path.iterdir())
    ours = [one for one in inside if OURS.fullmatch(one.name) and _is_plain(one)]
    if named & {str(digest) for one in ours for digest in _digests(one)}:
        return []
    return [path] if len(ours) == len(inside) else ours


def _is_plain(one: Path) -> bool:
    """Whether it is a file, or a folder of what checkpoints consist of; no link."""
    if one.is_symlink() or not one.is_dir():
        return one.is_file() and not one.is_symlink()
    return all(file.name in WITHIN and not file.is_dir() for file in one.iterdir())


def _digests(checkpoint: Path) -> Collection[str]:
    """SHA-256 of its files, as its meta data say."""
    try:
        found = json.loads((checkpoint / META).read_text(encoding="utf-8"))["sha256"].values()
        return tuple(map(str, found))
    except (OSError, ValueError, LookupError, AttributeError):
        return ()


def _spare(
    kind: str, what: str, price: str, paths: Iterable[Path], runs: tuple[str, ...] = ()
) -> Spare:
    paths = tuple(paths)
    sizes: dict[tuple[int, int], int] = {}
    num_files = 0
    for path in paths:
        for file in _files(path):
            found = file.lstat()
            sizes[found.st_dev, found.st_ino] = found.st_size
            num_files += 1
    what = what.replace("{}", plural(num_files, "file"))
    return Spare(kind, what, price, paths, runs, num_files, sum(sizes.values()))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir() or path.is_symlink():
        yield path
        return
    for place, _, names in os.walk(path):
        yield from (Path(place) / name for name in names)


def _named(mlruns: Path) -> set[str]:
    """What the records in the same folder learn from: runs whose checkpoints they name, and
    SHA-256 of files that they read.
    """
    found = set[str]()
    for path in mlruns.glob(f"*/{FILE}"):
        if path.is_file():
            text = path.read_bytes()
            found |= {key.decode() for keys in NAMED.findall(text) for key in keys if key}
            found |= {digest.decode() for digest in CONTENT.findall(text)}
    return found


def leftovers(folder: Path) -> Iterator[Path]:
    """What commands that were killed left half written, and nobody's later than an hour ago."""
    patterns = {
        CHECKPOINTS: (f"{GONE}*", f"*/{GONE}*", "*/.epoch_*.tmp", f"*/epoch_*/{META}.tmp"),
        "evidence": (".*.npz.tmp",),
    }
    now = time.time()
    for name, own in patterns.items():
        if (folder / name).is_symlink():
            continue
        for path in itertools.chain(*map((folder / name).glob, own)):
            linked = (
                path.is_symlink() or path.parent.is_symlink() or path.parent.parent.is_symlink()
            )
            is_gone = path.name.startswith(GONE)  # of a prune: whoever holds the study is none
            if not linked and (is_gone or now - path.lstat().st_mtime > OLD_SECONDS):
                yield path


def _remove(path: Path) -> None:
    """A folder first by its name, so that one half removed is never taken for a checkpoint."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith("."):
        gone = path.with_name(f"{GONE}{path.name}")
        shutil.rmtree(gone, ignore_errors=True)
        path = path.rename(gone)
    shutil.rmtree(path)
