"""What can be vouched for of a damaged ledger: the events that were written, less those that build
on what is lost.

A line with a single wrong byte is given back by its checksum. A lost one may have been any event:
so at each gap in the numbers every run that had not ended for good is cut: it stands as it stood
before the gap, and its later events are left out. Runs that began later are whole. Trials are
numbered: after a lost one no later trial of its search is kept. Arms that were tuned by a search of
their own and had not begun are left out too, since the search may lack a trial. All that is left
out is trained again, or taken from its checkpoint.
"""

import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.identity import as_today
from pipeline.errors import MachineError, printable
from pipeline.record import events as kinds
from pipeline.record.event_form import read, written
from pipeline.record.events import Event, Line, Repair
from pipeline.record.ledger import take_back
from pipeline.record.lines import FILE, require_format, restored, seal, sound_lines, unseal
from pipeline.record.lock import Lock, free, open_plain
from pipeline.record.record import Record
from pipeline.record.revision import place, searches
from pipeline.record.runs import Run, todays
from pipeline.study.study import EQUAL, Study
from pipeline.study.tuning import RACE

MLFLOW_STATE = "mlflow.json"  # how far MLflow was told, by the numbers of the damaged ledger


@dataclass
class Salvage:
    """The sound part of a ledger's lines, in new numbers, and what it lacks."""

    record: Record = field(default_factory=Record)
    events: list[Line] = field(default_factory=list)  # with all their fields, known here or not
    unreadable: int = 0  # lines whose checksum does not hold, or that are no event
    restored: int = 0  # lines with a single wrong byte, which the checksum gives back
    missing: int = 0  # numbers below the highest that no sound line has
    left_out: Counter[str] = field(
        default_factory=Counter
    )  # type → sound events that build on what is lost
    kept_in: str = ""  # the damaged file's name today
    _cut: set[str] = field(default_factory=set)  # runs that had not ended when something was lost
    _tuned: set[str] = field(default_factory=set)  # arms that have a search of their own
    _gap: bool = False

    @classmethod
    def of(cls, path: Path) -> "Salvage":
        """Read a damaged ledger, which stays as it is; raises MachineError where nothing of it can
        be vouched for.
        """
        found = cls()
        events, forked = found._read(path)
        if 0 not in events or events[0]["type"] != "study":
            raise MachineError(
                f"{printable(path)}: its first event, which says what was studied on which "
                "pictures, is lost, and nothing can be vouched for without it; nothing has been "
                "changed. Restore the file from a backup, or begin anew with --fresh, which moves "
                "all of it aside"
            )
        require_format(events[0], path)
        before = -1
        for seq, event in sorted(events.items()):
            if seq != before + 1:
                found.missing += seq - before - 1
                found._lose()
            before = seq
            if seq >= forked or not found._keeps(event):
                found.left_out[event["type"]] += 1
        return found

    def _read(self, path: Path) -> tuple[dict[int, Line], float]:
        """The sound events by number, and the number at which two writers part: what comes then is
        neither's for sure.
        """
        events: dict[int, Line] = {}
        hurt: list[bytes] = []
        forked = float("inf")
        with open_plain(path, os.O_RDONLY) as raw, open(raw.fileno(), "rb", closefd=False) as file:
            for line in file:
                event = unseal(line)
                if event is None or event["seq"] < 0:
                    hurt.append(line)
                elif events.setdefault(event["seq"], event) != event:
                    forked = min(forked, event["seq"])
        end = max(events, default=-1) + len(hurt)
        for line in hurt:
            event = restored(line)
            if event is not None and event["seq"] not in events and event["seq"] <= end:
                events[event["seq"]] = event
                self.restored += 1
        self.unreadable = len(hurt) - self.restored
        return events, forked

    def _lose(self) -> None:
        runs = self.record.runs.values()
        self._cut |= {run.key for run in runs if run.status != "complete" and not run.given_up}
        self._gap = True

    def _stands(self, event: Event, line: Line) -> bool:
        """Whether all that the event builds on is kept."""
        runs = self.record.runs
        match event:
            case kinds.Study():
                return not self.events
            case kinds.Race():
                return {*event.candidates, event.winner} - {""} <= {*self.record.trial_keys}
            case kinds.Trial() if event.search == RACE:
                raced = self.record.race.candidates if self.record.race else []
                trials = [runs[key].config for key in raced]
                return event.run not in runs and todays(event.config) in trials
            case kinds.Trial() | kinds.Twin():
                self._tuned |= {event.arm} - {""}
                if event.trial != len(self.record.searches.get(event.search, ())):
                    return False
                if self._gap and not _asked_for(self.record, event):
                    return False
                if isinstance(event, kinds.Trial):
                    return event.run not in runs
                return self._as_then(event, told=line.get("sent", ...))
            case kinds.Arm() | kinds.Source():
                tuned = event.arm in self._tuned and not self.record.arms().get(event.arm)
                known = runs.get(event.run)
                fresh = known is None or known.config == todays(event.config)
                return fresh and not (self._gap and (tuned or not _asked_for(self.record, event)))
            case kinds.Start() | kinds.Epoch() | kinds.Rung() | kinds.Fail() | kinds.End():
                return event.run in runs and event.run not in self._cut
        return True

    def _as_then(self, twin: kinds.Twin, *, told: object) -> bool:
        """Whether the run that a trial repeats stands as it stood when that was written."""
        run = self.record.runs[twin.run]
        sent = None if run.rung in run.rungs else run.rung
        then = (dict(twin.values), twin.diverged)
        return then == (run.rungs, run.worst) and told in (sent, ...)

    def _keeps(self, line: Line) -> bool:
        """Renumber and fold an event whose ground is kept; one that is sealed and no event of a
        study is damage too.
        """
        numbered = {**line, "seq": len(self.events)}
        event = read(numbered)
        try:
            if not self._stands(event, line):
                return False
            self.record.apply(event)
        except (MachineError, LookupError, TypeError, ValueError):
            self._lose()
            return False
        self.events.append(numbered)
        return True

    def note(self) -> Line:
        """The event that tells of the repair."""
        told = Repair(
            seq=len(self.events),
            time=round(time.time(), 3),
            restored=self.restored,
            unreadable=self.unreadable,
            missing=self.missing,
            left_out=dict(sorted(self.left_out.items())),
            file=self.kept_in,
        )
        return written(told)


def mend(folder: Path) -> Salvage | None:
    """Put the sound part of a study's ledger in its place, the damaged file beside it; None where
    it is sound already.

    Raises MachineError where the study is in use, where nothing can be vouched for, or the disk
    refuses; all is as it was.
    """
    path = folder / FILE
    try:
        with Lock(folder) as lock, open_plain(path, os.O_RDWR) as damaged:
            lock.also(damaged)
            if _is_sound(path):
                return None
            found = Salvage.of(path)
            take_back(folder)
            beside = free(path, "damaged")
            found.kept_in = beside.name
            _put(path, beside, b"".join(map(seal, [*found.events, found.note()])))
            if (folder / MLFLOW_STATE).exists():
                (folder / MLFLOW_STATE).rename(free(folder / MLFLOW_STATE, "damaged"))
            return found
    except OSError as error:
        raise MachineError(f"{printable(path)}: cannot be used: {error.strerror}") from error


def _is_sound(path: Path) -> bool:
    try:
        lines = list(sound_lines(path))
        Record.of(read(line) for line, _ in lines)
    except MachineError:
        return False
    return sum(len(raw) for _, raw in lines) == path.stat().st_size


def _put(path: Path, beside: Path, content: bytes) -> None:
    """Copy `path` to `beside` and give it this content; at every moment a whole file is in its
    place.
    """
    scratch = free(path, "new")
    try:
        with scratch.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Record.of(read(line) for line, _ in sound_lines(scratch))
        shutil.copy2(path, beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _asked_for(record: Record, event: kinds.Arm | kinds.Source | kinds.Trial | kinds.Twin) -> bool:
    """Whether the study as it was then, for all that is known, asks for this run: what is lost may
    be that it had grown.
    """
    study = as_today(Study, record.asked)
    if isinstance(event, kinds.Arm | kinds.Source):
        taken = (run.key for runs in record.arms().values() for run in runs if _same(run, event))
        config = {arm.name: config for arm, config in study.all_arms()}.get(event.arm)
        if config is None or any(key != event.run for key in taken):
            return False
        made, tuned = todays(event.config), study.ablation.tuning.name != "fixed"
        own = config.model_dump(mode="json")
        return all(made[part] == own[part] for part in (EQUAL if tuned else own))
    target = next((one for one in searches(study) if one.name == event.search), None)
    if target is None:
        return False
    tree = record.runs[event.run].config if isinstance(event, kinds.Twin) else todays(event.config)
    if event.trial == 0:
        return tree == target.config.model_dump(mode="json")
    return place(Run(event.run, "trial", tree), target.config, target.space) is not None


def _same(run: Run, event: kinds.Arm | kinds.Source) -> bool:
    return (run.arm, run.replicate) == (event.arm, event.replicate)
