"""Pulse: how a study that may be running is going, as its ledger shows it from outside."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.analysis.wording import Points
from pipeline.counts import duration, plural
from pipeline.doctor.recorded import Recorded, as_json, lines, mean_of, read
from pipeline.errors import PipelineError, printable
from pipeline.record import events
from pipeline.record.ledger import read_events
from pipeline.record.record import Record, Run
from pipeline.session.so_far import epochs_left

MIN_EPOCHS, MOST_EPOCHS = 6, 200  # of the command that runs, by which the pace is reckoned


@dataclass(frozen=True)
class Pulse:
    """`recorded`: as `pipeline.studies` shows it. epochs_left: about, but for what trials already
    begun, and the race, may take; seconds_left: of them at the pace of the command that runs, None
    where nobody runs it or its pace is not known yet. best_trial: '' where there is none; its
    number is one run's, and chose it. event: seconds since 1970 of the last one. error: the last.
    """

    recorded: Recorded
    num_epochs: int = 0
    epochs_left: int = 0
    seconds_left: float | None = None
    best_trial: str = ""
    event: float = 0.0
    num_diverged: int = 0
    num_failed: int = 0
    error: str = ""

    @property
    def running(self) -> bool:
        return self.recorded.state == "running"

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        own = asdict(self)
        del own["recorded"]
        return as_json(self.recorded) | own


def pulse(folder: Path) -> Pulse:
    """Of a study's folder; nothing is locked or written. Raises FileNotFoundError where there is no
    ledger.
    """
    found = read(folder)
    try:
        told = list(read_events(folder))
        record = Record.of(told)
        if record.begun is None:
            return Pulse(found)
        return _of(found, told, record)
    except (PipelineError, OSError, LookupError, TypeError, ValueError):
        return Pulse(found)  # which says why it cannot be read


def _of(found: Recorded, told: list[events.Event], record: Record) -> Pulse:
    study, runs = record.study, record.runs.values()
    with_search = bool(record.searches.get(""))
    left = epochs_left(record, study, with_search=with_search)
    pace = _pace(told) if found.state == "running" else None
    best = record.best_trial()
    errors = [run for run in runs if run.error]
    return Pulse(
        found,
        sum(len(run.epochs) for run in runs),
        left,
        None if pace is None else left * pace,
        "" if best is None else _said(best, record, found),
        told[-1].time,
        sum(run.status == "diverged" for run in runs),
        sum(run.status == "failed" for run in runs),
        errors[-1].error if errors else "",
    )


def _pace(told: list[events.Event]) -> float | None:
    """Seconds from one epoch to the next, of all runs at once, in the last session."""
    times: list[float] = []
    for event in told:
        if isinstance(event, events.Session):
            times.clear()
        elif isinstance(event, events.Epoch):
            times.append(event.time)
    times = times[-MOST_EPOCHS:]
    if len(times) < MIN_EPOCHS:
        return None
    return max(0.0, times[-1] - times[0]) / (len(times) - 1)


def _said(best: Run, record: Record, found: Recorded) -> str:
    assert best.value
    rung, value = best.value
    rungs = record.study.search.ladder.num_rungs
    where = f" at rung {rung + 1} of {rungs}" if rungs > 1 else ""
    level = f"{value:.4f}" if found.judged is None else Points.of(found.judged).level(value)
    return f"number {best.number}, {best.selects} {level}{where}, one run"


def pulse_lines(one: Pulse, now: float) -> Iterator[tuple[str, str]]:
    """(what, in words); `now`: seconds since 1970."""
    found = one.recorded
    yield from lines(found)
    if not one.event:
        return
    left = f"{one.num_epochs:,} trained"
    if one.epochs_left:
        left += f", about {one.epochs_left:,} left"
    if one.seconds_left:
        left += f", {duration(one.seconds_left)} at the pace of the last ones"
    if found.num_trials and found.state != "complete":
        left += "; not counted: what trials already begun, and a race, may take"
    yield "epochs", left
    if one.best_trial:
        yield "best trial", one.best_trial
    if found.best and found.judged:
        yield f"{found.judged.most} mean", f"{printable(found.best)}, {mean_of(found, found.best)}"
    lost = [
        f"{plural(num, 'run')} {how}"
        for num, how in ((one.num_diverged, "diverged"), (one.num_failed, "failed"))
        if num
    ]
    if lost:
        last = f"; the last error: {printable(one.error, 300)}" if one.error else ""
        yield "lost", ", ".join(lost) + last
    if one.running:
        yield "last event", f"{duration(max(0.0, now - one.event))} ago"
