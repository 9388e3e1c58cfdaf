"""How long what is left will take: by what was measured beforehand and by what is seen."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from pipeline.core.config import TrainConfig
from pipeline.core.costs import Cost
from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.record import Record, Run
from pipeline.study.designs import Arm

Kind = Literal["first", "arm", "trial"]
BESIDE: Mapping[Kind, float] = {"first": 1.3, "arm": 0.32, "trial": 0.05}
"""What an arm's first replicate (its test, its evidence, what is drawn of it), a later one, and a
segment of a trial take beside the epochs, in starts of a process, until it is seen.
"""
NODE_STARTS, WORKER_STARTS = 2.5, 2.5
"""From a plan to workers that are asked for, and from there to their first epoch, in starts of a
process.
"""
USUAL_START_SECONDS = 4.0  # of a process, where that is not known
MIN_TRIALS = 4  # that say what a trial's epoch takes
MIN_SEEN = 5


@dataclass(frozen=True)
class Work:
    """A replicate of an arm that is not over, and its epochs that are left."""

    arm: str
    replicate: int
    config: TrainConfig
    epochs: int


def arms_left(
    arms: Iterable[tuple[Arm, TrainConfig]], most: Mapping[str, int], record: Record
) -> Iterator[Work]:
    """Of every arm's replicates, of which it has at `most` so many, those that are not over."""
    known = {(run.arm, run.replicate): run for run in record.runs.values() if run.kind == "arm"}
    for arm, config in arms:
        for replicate in range(1, most[arm.name] + 1):
            run = known.get((arm.name, replicate))
            if run is None or run.unfinished:
                epochs = config.epochs - (len(run.epochs) if run else 0)
                yield Work(arm.name, replicate, config, epochs)


class Pace:
    """Seconds of epochs, runs and trials; `costs` as measured: fingerprint of a config → its
    cost.
    """

    def __init__(
        self, costs: Mapping[str, Cost], sample: Iterable[str] = (), start_seconds: float = 0.0
    ) -> None:
        """sample: the fingerprints of the costs that stand for the search's trials; start_seconds:
        of a process as it was measured, 0 where it was not.
        """
        self.costs, self._start = costs, start_seconds
        self._sample = [costs[key].epoch_seconds for key in sample if key in costs]
        self._seen: dict[str, list[float]] = defaultdict(list)  # fingerprint → epochs' seconds
        self._trials: dict[str, list[float]] = defaultdict(list)  # run → epochs' seconds
        self._beside: dict[Kind, list[float]] = {kind: [] for kind in BESIDE}
        self._begun: dict[
            str, tuple[float, float]
        ] = {}  # run → (its segment's start, epochs since)
        self._configs: dict[str, TrainConfig] = {}  # run → its config
        self.num_epochs, self.row = 0, 0  # finished; the last replicate that was begun anew
        self._keys: dict[int, tuple[TrainConfig, str]] = {}  # by the identity of the object

    def event(self, event: Event, record: Record) -> None:
        """Take in an event of this session (already folded into the record)."""
        match event:
            case events.Arm():
                self.row = max(self.row, event.replicate)
            case events.Start():
                self._begun[event.run] = (event.time, 0.0)
            case events.Epoch():
                self._epoch(record.runs[event.run], event.metrics["seconds"])
            case events.Rung() | events.End() if event.run in self._begun:
                started, spent = self._begun.pop(event.run)
                run = record.runs[event.run]
                kind = "trial" if run.kind == "trial" else _kind(run.replicate)
                self._beside[kind].append(max(0.0, event.time - started - spent))

    def _epoch(self, run: Run, seconds: float) -> None:
        self.num_epochs += 1
        if run.key in self._begun:
            started, spent = self._begun[run.key]
            self._begun[run.key] = (started, spent + seconds)
        if len(run.epochs) < 2:
            return  # a process's first epoch is no measure of the others
        self._seen[self._key(self.config(run))].append(seconds)
        if run.kind == "trial":
            self._trials[run.key].append(seconds)

    def config(self, run: Run) -> TrainConfig:
        """A run's config, always the same object."""
        if run.key not in self._configs:
            self._configs[run.key] = TrainConfig.parse(run.config, source=f"run {run.key}")
        return self._configs[run.key]

    @property
    def drift(self) -> float:
        """How much longer an epoch takes than was measured beforehand."""
        ratios = [
            median(seen) / self.costs[key].epoch_seconds
            for key, seen in self._seen.items()
            if key in self.costs
        ]
        return median(ratios) if ratios else 1.0

    def epoch(self, config: TrainConfig) -> float | None:
        """Seconds of an epoch of this config; of one that was neither seen nor measured those of
        the slowest one known; None where nothing is known.
        """
        key = self._key(config)
        if key in self._seen:
            return median(self._seen[key])
        if key in self.costs:
            return self.costs[key].epoch_seconds * self.drift
        known = [cost.epoch_seconds * self.drift for cost in self.costs.values()]
        return max((*known, *map(median, self._seen.values())), default=None)

    def _key(self, config: TrainConfig) -> str:
        """Its fingerprint, which takes a while to reckon."""
        if id(config) not in self._keys:
            self._keys[id(config)] = (config, config.in_force().fingerprint())
        return self._keys[id(config)][1]

    def trial_epoch(self) -> float | None:
        """Seconds of an epoch of a trial, on average."""
        if len(self._trials) >= MIN_TRIALS or (self._trials and not self._sample):
            return fmean(map(median, self._trials.values()))
        return fmean(self._sample) * self.drift if self._sample else None

    def starting(self, *, asked: bool = False) -> float:
        """Seconds from a plan to its first epoch, or from where workers were asked for; 0 once
        there is one, and where it is not known.
        """
        starts = WORKER_STARTS + NODE_STARTS * (not asked)
        return 0.0 if self.num_epochs else starts * self._start

    def beside(self, kind: Kind) -> float:
        """Seconds of a run of an arm, or of a trial's segment, beside its epochs."""
        seen = self._beside[kind][-20:]
        if len(seen) >= MIN_SEEN:  # the first ones are those of workers that start
            return median(seen)
        return BESIDE[kind] * (self._start or USUAL_START_SECONDS)

    def run(self, work: Work) -> float:
        """Seconds of what is left of a replicate."""
        key = self._key(work.config)
        final = self.costs[key].final_seconds if key in self.costs else 0.0
        beside = max(final * self.drift, self.beside(_kind(work.replicate)))
        return work.epochs * (self.epoch(work.config) or 0.0) + beside


def _kind(replicate: int) -> Kind:
    return "first" if replicate == 1 else "arm"


def wall(seconds: Iterable[float], workers: int) -> float:
    """How long runs of these lengths take, so many at once: at most, in whatever order."""
    lengths = list(seconds)
    return sum(lengths) / workers + max(lengths, default=0.0) * (1 - 1 / workers)
