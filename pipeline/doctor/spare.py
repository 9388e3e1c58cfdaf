"""Spare: what a study's folder holds that nobody needs, and what may go at a price that is named.

Without a price: nothing that a report, an export, `labels`, `doctor`, or going on in any way reads.
What the search's trials left has one: a trial's model may be exported, and a trial that was stopped
at a rung may be sent on by a larger budget. Model files that a study here names, as of a teacher,
always stay.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.identity import REDRAWN
from pipeline.counts import plural
from pipeline.engine.order import checkpoint_folder
from pipeline.errors import MachineError, printable
from pipeline.record import pruned
from pipeline.record.ledger import FILE, alone, read_events
from pipeline.record.record import Record
from pipeline.record.runs import Run
from pipeline.study.tuning import RACE

OLD_SECONDS = 3600.0  # of what a command that was killed left: a younger one may be at work
NAMED = re.compile(rb"checkpoints/([0-9a-f]{16})")
BESIDE = re.compile(r"\..+\.[0-9a-f]{8}")  # as a report's file is called before it is in its place
GONE = ".pruned."


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
    """What there is of a study, those without a price first. Changes nothing."""
    runs, named = record.runs.values(), _named(folder.parent)
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
        going = [one for one in spares(folder, record) if search or not one.price]
        try:
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
    there = {key: path for key, path in places.items() if path.is_dir() and not path.is_symlink()}
    what = words.replace("{}", plural(len(there), "run"))
    return _spare(kind, what, price, there.values(), tuple(there))


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
    """Runs whose folder of checkpoints some record here names, as that of a teacher."""
    return {
        key.decode()
        for path in mlruns.glob(f"*/{FILE}")
        if path.is_file()
        for key in NAMED.findall(path.read_bytes())
    }


def leftovers(folder: Path) -> Iterator[Path]:
    """What commands that were killed left half written, and nobody's later than an hour ago."""
    found = [
        *folder.glob("checkpoints/*/.epoch_*.tmp"),
        *folder.glob("checkpoints/*/epoch_*/meta.json.tmp"),
        *folder.glob(f"checkpoints/{GONE}*"),
        *folder.glob("evidence/.*.npz.tmp"),
        *folder.glob("logs/.*.out"),
        *folder.glob("logs/*.new"),
    ]
    for pages in (*folder.glob("report*"), *folder.glob("labels*")):
        found += [path for path in pages.rglob(".*") if BESIDE.fullmatch(path.name)]
    if (folder / "export").is_dir():  # else one of these may be the last export, half replaced
        found += [path for path in folder.glob(".export.*") if BESIDE.fullmatch(path.name)]
    now = time.time()
    for path in found:
        if now - path.lstat().st_mtime > OLD_SECONDS:
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
