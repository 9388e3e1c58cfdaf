"""What to train next: the trials of the search rung by rung, then every arm's replicates. Rebuilt from the ledger alone.

The plan deals in segments: a piece of one run, from where it stands to an epoch. A worker that dies loses at most the
segment's epochs since its last checkpoint, and the segment is handed out again.
"""

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import TrainConfig
from pipeline.errors import MachineError, PipelineError
from pipeline.ledger import Ledger
from pipeline.record import Record, Run, run_key
from pipeline.study import Study
from pipeline.trials import Trials

FACTS = ("best_epoch", "num_params", "test_loss", "test_acc", "final", "early")
MAX_ATTEMPTS = 3
MAX_FAILED_IN_A_ROW = 3


class TooManyFailures(PipelineError):
    """Different runs failed one after another: the fault is not one configuration's."""

    exit_code = 3


@dataclass(frozen=True)
class Segment:
    """Work for one worker: train `config` up to epoch `stop`; epochs up to `reported` are in the ledger already."""

    run: str
    config: TrainConfig
    replicate: int
    seed: int
    stop: int
    reported: int
    test: bool


class Plan:
    """Hands out segments and takes in what workers report; every decision is in the ledger before it takes effect."""

    def __init__(self, study: Study, ledger: Ledger, record: Record, *, core_version: int, with_search: bool) -> None:
        """`record` must be kept up to date by the ledger's listener. `with_search` False trains the arms only."""
        self.study, self.ledger, self.record = study, ledger, record
        self.arms = study.arms()
        self.core_version = core_version
        self.trials = Trials(study, record, study.search.num_trials if with_search else 0)
        self.search_deadline = float("inf")
        self.live: set[str] = set()
        self.failed_in_a_row: list[str] = []
        for event in ledger.events:
            self.trials.replay(event)
        self.attempts: Counter[str] = Counter()
        self.again = deque(r.key for r in record.runs.values() if r.unfinished and self._wanted(r, with_search))
        self.todo = deque(self._missing_arms())

    def next(self) -> Segment | None:
        """The next segment; None where all that is left waits for a running segment (or nothing is left: see `done`)."""
        if self.again:
            return self._begin(self.record.runs[self.again.popleft()])
        # past its share of the time the search gives way to the arms, and takes up what they leave
        searching = time.monotonic() < self.search_deadline or not self.todo
        segment = self._next_trial() if searching and self.trials.num_trials > 0 else None
        if segment is None and self.todo:
            segment = self._begin(self.record.runs[self._new_arm(*self.todo.popleft())])
        return segment

    def done(self) -> bool:
        """Whether all that was handed out has ended and nothing waits to be; call after `next` gave None."""
        return not self.live and not self.again and not self.todo

    def outstanding(self) -> bool:
        """Whether anything planned is left to train, time limits aside; changes nothing."""
        return not self.done() or self.trials.outstanding()

    def epoch(self, key: str, metrics: Mapping[str, float]) -> None:
        """A worker finished an epoch."""
        if metrics["epoch"] == len(self.record.runs[key].epochs) + 1:
            self.ledger.append("epoch", run=key, metrics=dict(metrics))

    def finish(self, key: str, outcome: Mapping[str, Any]) -> None:
        """A segment ended: `outcome["status"]` is reached, diverged, failed (with `error` and `retry`) or machine.

        Raises MachineError in the last case (the run goes on another time), and TooManyFailures.
        """
        if outcome["status"] == "machine":
            raise MachineError(outcome["error"])
        run = self.record.runs[key]
        self.live.discard(key)
        if outcome["status"] == "failed":
            self._fail(run, outcome["error"], retry=outcome["retry"])
            return
        self.failed_in_a_row.clear()
        facts = {name: outcome[name] for name in FACTS if name in outcome}
        if outcome["status"] == "diverged":
            self._end(run, "diverged", error=outcome["error"], **facts)
            if run.kind == "trial":
                self.trials.diverged(run)
            return
        early = outcome.get("early", False)
        if run.kind == "trial":
            self._reach(run, early=early)
        if early or len(run.epochs) >= run.config["epochs"]:
            self._end(run, "complete", **facts)

    def _reach(self, run: Run, *, early: bool) -> None:
        """Record the rung that a trial was sent to; one that stopped early stands there and above with its best."""
        ladder = self.trials.ladder
        for rung in range(run.rung, ladder.num_rungs if early else run.rung + 1):
            if rung not in run.rungs:
                stop = ladder.stop(run.config["epochs"], rung)
                value = max(e["val_acc"] for e in run.epochs) if early else run.epochs[stop - 1]["val_acc"]
                self.ledger.append("rung", run=run.key, rung=rung, value=value, **({"early": True} if early else {}))
                self.trials.reached(run, rung, value)

    def close_search(self) -> None:
        """Mark the trials that wait at a rung for good as stopped; a later, larger budget may still promote them.

        Not where the arms alone were trained: the search may have been interrupted before.
        """
        for run in self.record.trials():
            if run.status == "paused" and self.trials.num_trials:
                self.ledger.append("end", run=run.key, status="stopped")

    def total_epochs(self) -> tuple[float, int]:
        """Epochs that the whole plan takes: (of the search, expected; of the arms)."""
        arms = sum(config.epochs for _, config in self.arms) * self.study.ablation.replicates
        return self.trials.num_trials * self.trials.ladder.expected(self.study.baseline.epochs), arms

    def remaining_epochs(self) -> tuple[float, int]:
        """What is left of `total_epochs`; 0 for the search where no trial can be begun or sent on."""
        search, arms = self.total_epochs()
        search -= sum(_spent(run) for run in self.record.trials())
        done = sum(_spent(run) for runs in self.record.arms().values() for run in runs if self._wanted(run, False))
        return max(search, 1.0) if self.trials.outstanding() else 0.0, max(arms - done, 0)

    def _wanted(self, run: Run, with_search: bool) -> bool:
        if run.kind == "trial":
            return with_search
        return any(run.arm == arm.name for arm, _ in self.arms) and run.replicate <= self.study.ablation.replicates

    def _seed(self, replicate: int) -> int:
        return self.study.search.seed * 1_000_003 + replicate

    def _key(self, config: TrainConfig, replicate: int) -> str:
        return run_key(config, self.record.data["fingerprint"], replicate, self._seed(replicate), self.core_version)

    def _next_trial(self) -> Segment | None:
        while True:
            promoted = self.trials.promote()
            if promoted is not None:
                return self._begin(*promoted)
            if self.trials.all_begun:
                return None
            key = self._new_trial(len(self.record.trial_keys))
            if key is not None:
                return self._begin(self.record.runs[key])

    def _new_trial(self, number: int) -> str | None:
        """The key of the next trial's run; None where the sampler repeated itself: the trial takes its twin's values."""
        knobs, asked = self.trials.propose(number)
        config = self.study.baseline.override(knobs if number else {}, source=f"trial {number}")
        key = self._key(config, 0)
        facts = {"run": key, "trial": number, "knobs": knobs, "asked": asked}
        twin = self.record.runs.get(key)
        if twin is None:
            self.ledger.append("trial", **facts, config=config.model_dump(mode="json"))
            return key
        values, diverged = sorted(twin.rungs.items()), twin.status == "diverged"
        self.ledger.append("twin", **facts, values=values, diverged=diverged)
        self.trials.twin(number, twin, values, diverged=diverged)
        return None

    def _missing_arms(self) -> list[tuple[str, int, TrainConfig]]:
        """(arm, replicate, config) not recorded yet, replicate by replicate so that a stop leaves complete rows."""
        wanted = [(r, arm, config) for r in range(1, self.study.ablation.replicates + 1) for arm, config in self.arms]
        return [(arm.name, r, config) for r, arm, config in wanted if self._key(config, r) not in self.record.runs]

    def _new_arm(self, arm: str, replicate: int, config: TrainConfig) -> str:
        key = self._key(config, replicate)
        self.ledger.append("arm", run=key, arm=arm, replicate=replicate, config=config.model_dump(mode="json"))
        return key

    def _begin(self, run: Run, rung: int | None = None) -> Segment:
        """Send a run on to `rung` (default: where it was being sent; arms have no rungs)."""
        config = TrainConfig.parse(run.config, source=f"run {run.key}")
        ladder = self.trials.ladder
        rung = max(run.rung, ladder.first(config.epochs)) if rung is None else rung
        stop = ladder.stop(config.epochs, rung)
        if run.kind == "arm":
            rung, stop = -1, config.epochs
        self.ledger.append("start", run=run.key, rung=rung)
        self.live.add(run.key)
        reported, test = len(run.epochs), run.kind == "arm"
        return Segment(run.key, config, run.replicate, self._seed(run.replicate), stop, reported, test)

    def _fail(self, run: Run, error: str, *, retry: bool) -> None:
        self.ledger.append("fail", run=run.key, error=error)
        self.attempts[run.key] += 1
        if retry and self.attempts[run.key] < MAX_ATTEMPTS:
            self.again.append(run.key)
            return
        self._end(run, "failed", error=error)
        self.failed_in_a_row.append(run.key)
        if len(self.failed_in_a_row) >= MAX_FAILED_IN_A_ROW:
            raise TooManyFailures(
                f"{MAX_FAILED_IN_A_ROW} different runs failed one after another, the last one with: {error}; "
                f"what is done is kept, the same command goes on from here"
            )

    def _end(self, run: Run, status: str, **fields: Any) -> None:
        self.ledger.append("end", run=run.key, status=status, **fields)


def _spent(run: Run) -> int:
    """Epochs that a run no longer takes: all of them once it has ended for good, however early."""
    ended = run.early or (run.kind == "arm" and run.status in ("complete", "diverged", "failed"))
    return int(run.config["epochs"]) if ended else len(run.epochs)


def checkpoint_folder(study_folder: Path, key: str) -> Path:
    """Where a run keeps its checkpoints."""
    return study_folder / "checkpoints" / key
