"""Pulse: how a study that may be running is going, as its ledger shows it from outside."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.analysis.preregistration import raced
from pipeline.analysis.wording import Points
from pipeline.counts import duration, plural
from pipeline.doctor.recorded import Recorded, as_json, best_line, lines, seen
from pipeline.engine.race import outstanding
from pipeline.errors import MachineError, PipelineError, printable
from pipeline.record import events
from pipeline.record.record import Record, Run
from pipeline.session.so_far import epochs_left, trials_over

MIN_EPOCHS, MOST_EPOCHS = 6, 200  # of the command that runs, by which the pace is reckoned


@dataclass(frozen=True)
class Pulse:
    """`recorded`: as `pipeline.studies` shows it. epochs_left: about, but for what `uncounted`
    names; seconds_left: of them at the pace of the command that runs, None where nobody runs it or
    its pace is not known yet. best_trial: '' where there is none; its number is one run's, and
    chose it. event: seconds since 1970 of the last one. error: the last.
    """

    recorded: Recorded
    num_epochs: int = 0
    epochs_left: int = 0
    uncounted: tuple[str, ...] = ()
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
        """As plain data, null for what there is not."""
        own = asdict(self)
        del own["recorded"]
        missing = {key: own[key] or None for key in ("best_trial", "event", "error")}
        return as_json(self.recorded) | own | missing


def pulse(folder: Path) -> Pulse:
    """Of a study's folder; nothing is locked or written. Raises MachineError where there is no
    ledger (any more).
    """
    try:
        found, told = seen(folder)
    except FileNotFoundError:
        raise MachineError(
            f"{printable(folder)}: its record is not there any more: it was moved or removed; "
            "python -m pipeline.studies lists those there are"
        ) from None
    try:
        return _of(found, told, Record.of(told)) if told else Pulse(found)
    except (PipelineError, OSError, LookupError, TypeError, ValueError):
        return Pulse(found)


def _of(found: Recorded, told: Sequence[events.Event], record: Record) -> Pulse:
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
        tuple(_uncounted(record)) if found.state != "complete" else (),
        None if pace is None else left * pace,
        "" if best is None else _said(best, record, found),
        told[-1].time,
        sum(run.status == "diverged" for run in runs),
        sum(run.status == "failed" for run in runs),
        errors[-1].error if errors else "",
    )


def _uncounted(record: Record) -> Iterator[str]:
    """What may take epochs that nobody can foresee."""
    if not record.searches.get(""):
        return
    over = len(record.searches[""]) >= record.study.search.num_trials and trials_over(record)
    if not over:
        yield "trials already begun"
    if (most := raced(record.study)) and (not over or outstanding(record, most)):
        yield "a race"


def _pace(told: Sequence[events.Event]) -> float | None:
    """Seconds from one epoch to the next, of all runs at once, in the last session. A time between
    two that is longer than all others together is none of the pace: a machine that slept, a clock
    that was set; one that was set back counts for 0.
    """
    times: list[float] = []
    for event in told:
        if isinstance(event, events.Session):
            times.clear()
        elif isinstance(event, events.Epoch):
            times.append(event.time)
    times = times[-MOST_EPOCHS:]
    if len(times) < MIN_EPOCHS:
        return None
    gaps = [max(0.0, later - sooner) for sooner, later in pairwise(times)]
    if max(gaps) > sum(gaps) / 2:
        gaps.remove(max(gaps))
    return sum(gaps) / len(gaps)


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
    if one.uncounted:
        left += f"; not counted: what {' and '.join(one.uncounted)} may take"
    yield "epochs", left
    if one.best_trial:
        yield "best trial", one.best_trial
    yield from best_line(found)
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
