"""What the ledger says against what the stub workers wrote down."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.segments.stub import TOLD, read
from pipeline.engine.order import checkpoint_folder
from pipeline.record import events
from pipeline.record.ledger import read_events
from pipeline.record.record import Record

Entries = list[dict[str, Any]]
FAULTS = (
    "false_deaths",
    "unnoticed_deaths",
    "handed_out_twice",
    "trained_twice",
    "two_writers",
    "lost_runs",
    "idle_workers",
)


@dataclass(frozen=True)
class Audit:
    """Of one session. taken_for_dead: workers that live, which the driver was told had died;
    idle_workers: that never had a segment while the others had one."""

    segments: int
    epochs: int
    deaths: int
    taken_for_dead: int
    leases_lost: int
    false_deaths: int
    unnoticed_deaths: int
    handed_out_twice: int
    trained_twice: int
    two_writers: int
    lost_runs: int
    idle_workers: int

    @property
    def whole(self) -> bool:
        return not any(getattr(self, fault) for fault in FAULTS)


def audit(study: Path, num_trials: int, num_arms: int, workers: int) -> Audit:
    """Read a study that was trained by stub workers."""
    recorded = list(read_events(study))
    record = Record.of(recorded)
    diaries = {key: list(read(checkpoint_folder(study, key))) for key in record.runs}
    entries = [entry for diary in diaries.values() for entry in diary]
    own = list(read(study))
    failed, started, twice, most = handed_out(recorded)
    died = {e["segment"] for e in entries if e["what"] == "died"}
    mistaken = {e["segment"] for e in own if e["what"] == "taken for dead"}
    between = sum(e["what"] == "died" for e in own)
    begun = {e["segment"] for e in entries}
    never_begun = sum(name not in begun for name in failed)
    early = {e["segment"] for e in entries if e["what"] == "died" and e["seam"] not in TOLD}
    return Audit(
        segments=len(started),
        epochs=sum(isinstance(event, events.Epoch) for event in recorded),
        deaths=sum(e["what"] == "died" for e in [*entries, *own]),
        taken_for_dead=len(mistaken),
        leases_lost=sum(e["what"] == "lost" for e in entries),
        # a worker that died between two segments takes the next one with it before that has begun
        false_deaths=len(failed & begun - died - mistaken) + max(0, never_begun - between),
        unnoticed_deaths=len(early - failed),
        handed_out_twice=twice,
        trained_twice=sum(map(trained_twice, diaries.values())),
        two_writers=sum(map(two_writers, diaries.values())),
        lost_runs=lost(record, num_trials, num_arms),
        idle_workers=workers - most,
    )


def handed_out(recorded: Iterable[events.Event]) -> tuple[set[str], set[str], int, int]:
    """(segments that failed, all segments, how many were handed out while another of the run was
    out, most out at once).
    """
    study, live, failed, started, twice, most = "", {}, set(), set(), 0, 0
    for event in recorded:
        match event:
            case events.Study():
                study = event.id
            case events.Start():
                twice += event.run in live
                live[event.run] = f"{study}.{event.seq}"
                started.add(live[event.run])
                most = max(most, len(live))
            case events.Rung() | events.End() | events.Fail():
                name = live.pop(event.run, None)
                if isinstance(event, events.Fail) and name is not None:
                    failed.add(name)
    return failed, started, twice, most


def trained_twice(diary: Entries) -> int:
    """Epochs saved more than once, and those begun again though the worker before neither died nor
    lost the lease.
    """
    over = {e["segment"] for e in diary if e["what"] in ("died", "lost")}
    saved = [e["epoch"] for e in diary if e["what"] == "saved"]
    tries: dict[int, list[str]] = defaultdict(list)
    for entry in diary:
        if entry["what"] == "train":
            tries[entry["epoch"]].append(entry["segment"])
    return (
        len(saved)
        - len(set(saved))
        + sum(name not in over for names in tries.values() for name in names[:-1])
    )


def two_writers(diary: Entries) -> int:
    """Segments that came to the run's folder before the one before had left it."""
    spans: dict[str, list[float]] = defaultdict(list)
    for entry in diary:
        if entry["what"] in ("held", "train", "saved", "let go"):
            spans[entry["segment"]].append(entry["time"])
    ordered = sorted((min(times), max(times)) for times in spans.values())
    return sum(later[0] < earlier[1] for earlier, later in pairwise(ordered))


def lost(record: Record, num_trials: int, num_arms: int) -> int:
    """Runs that are missing, did not end well, or have a gap in their epochs."""
    arms = [run for runs in record.arms().values() for run in runs]
    missing = num_trials - len(record.trial_keys) + num_arms - len(arms)
    broken = sum(
        run.status not in ("complete", "stopped")
        or [epoch["epoch"] for epoch in run.epochs] != list(range(1, len(run.epochs) + 1))
        or (run.kind == "arm" and len(run.epochs) != run.config["epochs"])
        for run in record.runs.values()
    )
    return missing + broken
