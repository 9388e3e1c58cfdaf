"""Recorded: the studies under mlruns, how far each is, and what it takes on disk."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.analysis.expense import Expense, digits, expense, hours
from pipeline.analysis.preregistration import raced
from pipeline.analysis.scores import Scored
from pipeline.analysis.wording import Points
from pipeline.counts import plural
from pipeline.engine.race import outstanding
from pipeline.engine.variance import works
from pipeline.errors import PipelineError, printable
from pipeline.limits import size
from pipeline.record.about import About
from pipeline.record.ledger import ASIDE, FILE, Event, read_events
from pipeline.record.lock import holder
from pipeline.record.record import Record
from pipeline.session.resume import recorded_command
from pipeline.session.so_far import arms_done, trials_over
from pipeline.study.judged import Judged

NOTHING, NO_WORD = Expense(), About()


@dataclass(frozen=True)
class ArmFacts:
    """An arm: its replicates with a result, their mean in the metric's own unit, None where there
    is none, and what all that it trained took.
    """

    name: str
    replicates: int
    mean: float | None
    took: Expense = NOTHING


@dataclass(frozen=True)
class Recorded:
    """A study's folder. state: running, complete, waiting (the same command goes on), moved aside
    (by --fresh or `remove`) or unreadable; `by`: who runs it, or why it cannot be read; changed: of
    its ledger, in seconds since 1970.
    `best`: the arm of the best mean, '' where there is none; ended: how its last command did (see
    `events.Finish`), '' where it said nothing.
    """

    name: str
    state: str
    by: str
    num_bytes: int
    changed: float
    title: str = ""
    pictures: str = ""
    num_trials: int = 0
    planned_trials: int = 0
    num_runs: int = 0
    planned_runs: int = 0
    judged: Judged | None = None
    best: str = ""
    arms: tuple[ArmFacts, ...] = ()
    command: str = ""
    ended: str = ""
    took: Expense = NOTHING
    about: About = NO_WORD


def recorded(mlruns: Path) -> list[Recorded]:
    """All of them, those that changed last first."""
    found = []
    for path in mlruns.glob(f"*/{FILE}"):
        with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
            found.append(read(path.parent))
    return sorted(found, key=lambda one: (-one.changed, one.name))


def read(folder: Path) -> Recorded:
    """What is recorded in a study's folder; nothing is locked or written. Raises FileNotFoundError
    where there is no ledger.
    """
    return seen(folder)[0]


def seen(folder: Path) -> tuple[Recorded, tuple[Event, ...]]:
    """The same, and the events that say so: none where they cannot be read, or no study has begun
    in them.
    """
    changed = (folder / FILE).stat().st_mtime
    owner, num_bytes = holder(folder), _num_bytes(folder)
    try:
        events = tuple(read_events(folder))
        record = Record.of(events)
        if record.begun is None:
            raise PipelineError("nothing is recorded yet")
        return _of(folder, record, str(owner or ""), num_bytes, changed), events
    except (PipelineError, OSError, LookupError, TypeError, ValueError) as error:
        why = str(owner) if owner else printable(error, 300)
        state = "running" if owner else "unreadable"
        return Recorded(folder.name, state, why, num_bytes, changed), ()


def _of(folder: Path, record: Record, owner: str, num_bytes: int, changed: float) -> Recorded:
    study = record.study
    scored = Scored.of(record, study)
    arms = record.arms()
    means = {
        arm.name: list(scored.column(arms.get(arm.name, ())).values())
        for arm, _ in study.all_arms()
    }
    facts = tuple(
        ArmFacts(arm, len(own), fmean(own) if own else None, expense(record, arms.get(arm, ())))
        for arm, own in means.items()
    )
    known = {one.name: one.mean for one in facts if one.mean is not None}
    best = max(known, key=lambda arm: scored.judged.sign * known[arm], default="")
    done, most = arms_done(record, study)
    # the trials of the study's own search count where one was begun: `ablate` asks for none
    num_trials = len(record.searches.get("", ()))
    planned = study.search.num_trials if num_trials else 0
    over = done >= most and num_trials >= planned and trials_over(record)
    waits = (num_trials > 0 and outstanding(record, raced(study))) or any(works(record, study))
    state = "running" if owner else "complete" if over and not waits else "waiting"
    state = "moved aside" if ASIDE.search(folder.name) and not owner else state
    return Recorded(
        folder.name,
        state,
        owner,
        num_bytes,
        changed,
        study.title,
        f"{record.data['title']} ({sum(record.data['counts'].values()):,})",
        num_trials,
        planned,
        done,
        most,
        scored.judged,
        best,
        facts,
        recorded_command(record, folder).removeprefix("recorded by: "),
        record.ended,
        expense(record, record.runs.values()),
        record.about,
    )


def as_json(one: Recorded) -> dict[str, Any]:
    """As plain data, null for what there is not; means in the metric's own unit, shares of 1."""
    judged = one.judged.column if one.judged else None
    return asdict(one) | {"judged": judged, "best": one.best or None}


def lines(one: Recorded) -> Iterator[tuple[str, str]]:
    """(what, in words): a study in a few lines."""
    when = datetime.fromtimestamp(one.changed).astimezone().strftime("%Y-%m-%d %H:%M")
    by = f", {one.by}" if one.by else ""
    if one.state == "waiting":
        by = f" for its command to go on (the last one: {one.ended or 'ended without a word'})"
    yield "state", f"{one.state}{by}; changed {when}, {size(one.num_bytes)}"
    if not one.title:
        return
    yield "study", one.title
    trials = f"{one.num_trials:,} of {plural(one.planned_trials, 'trial')}, " * bool(one.num_trials)
    runs = (
        f"{one.num_runs:,} of {plural(one.planned_runs, 'run')} of {plural(len(one.arms), 'arm')}"
    )
    yield "recorded", f"{trials}{runs}, on {one.pictures}"
    if one.took.num_runs:
        yield "took", spent(one.took)
    for what, text in one.about.rows():
        yield what.removeprefix("MLflow "), text


def mean_of(one: Recorded, arm: str) -> str:
    """The mean of an arm, and of how many replicates."""
    found = next(own for own in one.arms if own.name == arm)
    if one.judged is None or found.mean is None:
        return "no result"
    shown = Points.of(one.judged).level(found.mean)
    return f"{one.judged.short} {shown} ({plural(found.replicates, 'replicate')})"


def spent(took: Expense) -> str:
    """Hours, and money where there is a price."""
    return hours(took) + (f", {digits(took.money)} at its price" if took.money is not None else "")


def best_line(one: Recorded) -> Iterator[tuple[str, str]]:
    """(what, in words): the arm of the best mean, and how many share it; nothing where there is
    none.
    """
    if not one.best or one.judged is None:
        return
    means = {arm.name: arm.mean for arm in one.arms}
    others = sum(mean == means[one.best] for mean in means.values()) - 1
    also = f"; {plural(others, 'other arm has', 'other arms have')} the same" if others else ""
    yield f"{one.judged.most} mean", f"{printable(one.best)}, {mean_of(one, one.best)}{also}"


def arm_lines(one: Recorded) -> Iterator[str]:
    """Every arm with its replicates and their mean."""
    if one.judged is None:
        return
    for arm in one.arms:
        took = f", {spent(arm.took)}" if arm.took.num_runs else ""
        yield f"{printable(arm.name)}: {mean_of(one, arm.name)}{took}"


def _num_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:  # it is being replaced
                continue
    return total
