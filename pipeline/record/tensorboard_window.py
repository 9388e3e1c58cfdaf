"""Every run's epochs as TensorBoard's event files, a folder for each run: a projection of the
ledger, as MLflow is.

What a run's files hold is read before they are added to, so a projection that was killed goes on
and repeats nothing; what it left torn ends that file, and the rest goes to another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.folders import slug
from pipeline.record.record import Record, Run

NAME = "events.out.tfevents."


class TensorBoardWindow:
    """A receiver of an outbox."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._record = folder, Record()
        self._files: dict[str, Path] = {}  # run → what this process writes
        self._known: dict[str, set[int]] = {}  # run → epochs that are there
        self._looked = False

    def take(self, event: Event) -> None:
        """As `outbox.Receiver`."""
        self._record.apply(event)

    def send(self, owed: list[Event], *, last: bool) -> None:
        """As `outbox.Receiver`."""
        del last
        keys = {event.run for event in owed if isinstance(event, events.Epoch)}
        for key in keys if self._looked else self._record.runs:  # whatever was sent, once
            try:
                self._send(self._record.runs[key])
            except Exception:
                self._known.pop(key, None)
                raise
        self._looked = True

    def _send(self, run: Run) -> None:
        if not run.epochs:
            return
        if run.key not in self._known:
            place = self._place(run)
            place.mkdir(parents=True, exist_ok=True)
            self._known[run.key] = set(_steps(place))
            number = len(list(place.glob(f"{NAME}*")))
            self._files[run.key] = place / f"{NAME}{number:06d}"
        left = [epoch for epoch in run.epochs if int(epoch["epoch"]) not in self._known[run.key]]
        if left:
            _append(self._files[run.key], left)
            self._known[run.key] |= {int(epoch["epoch"]) for epoch in left}

    def _place(self, run: Run) -> Path:
        """The run's folder, called after what it was when its first epoch was sent."""
        there = next(iter(sorted(self._folder.glob(f"*.{run.key}"))), None)
        if run.kind == "trial":
            label = f"trial-{run.number:03d}" + f"-{slug(run.search)}" * bool(run.search)
        else:
            label = f"{slug(run.arm or 'former arm')}-{run.replicate}"
        return there or self._folder / f"{label}.{run.key}"


def _steps(place: Path) -> Iterator[int]:
    """The epochs that whole records of the files speak of."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for file in sorted(place.glob(f"{NAME}*")):
        for found in EventFileLoader(str(file)).Load():
            if found.summary.value:
                yield found.step


def _append(file: Path, epochs: list[dict[str, float]]) -> None:
    """A record for each epoch, with all its numbers: it is there whole or not at all."""
    from tensorboard.compat.proto.event_pb2 import Event as Record_
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    begins = not file.exists()
    with file.open("ab") as raw:
        writer: Any = RecordWriter(raw)
        if begins:
            first = Record_(wall_time=epochs[0]["time"], file_version="brain.Event:2")
            writer.write(first.SerializeToString())
        for epoch in epochs:
            values = [
                Summary.Value(tag=name, simple_value=value)
                for name, value in epoch.items()
                if name not in ("epoch", "time")
            ]
            one = Record_(wall_time=epoch["time"], step=int(epoch["epoch"]))
            one.summary.CopyFrom(Summary(value=values))
            writer.write(one.SerializeToString())
