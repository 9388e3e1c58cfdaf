"""Drives a Plan over a real Ledger with a worker that trains nothing: its numbers are a function of
(config, replicate).
"""

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.analysis.to_come import rows
from pipeline.core.config import TrainConfig
from pipeline.engine.order import Outcome, Segment
from pipeline.engine.queue import Plan
from pipeline.frozen import digest
from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record, Run
from pipeline.session.resolve import as_recorded
from pipeline.session.resume import grown
from pipeline.study.study import Study
from pipeline.study.tuning import RACE

DATA = {
    "title": "digits",
    "fingerprint": "0123456789abcdef",
    "classes": [str(label) for label in range(10)],
    "counts": {"train": 100, "valid": 500, "test": 1197},
    "is_food11": False,
    "channels": 1,
    "unreadable": [],
    "warnings": [],
}


def never(*_: object) -> bool:
    return False


@dataclass
class Worker:
    """`fails(config, attempts so far)` and `diverges(config)` say what goes wrong: the one in a
    segment's second epoch, the other in the run's, which such a run never gets beyond.
    `patience(config)` is the epoch after which a run stops early, or
    0. `acc(config, replicate)` is what a run reaches; drawn from both where it is left out.
    `seconds(config)`: what an epoch takes, as it says. `needs(config)`: in how many parts a batch
    must be computed to fit; where it does not, that shows in a segment's second epoch."""

    fails: Callable[[TrainConfig, int], bool] = never
    diverges: Callable[[TrainConfig], bool] = never
    patience: Callable[[TrainConfig], int] = lambda _: 0
    retry: bool = True
    acc: Callable[[TrainConfig, int], float] = lambda config, replicate: quality(config, replicate)
    seconds: Callable[[TrainConfig], float] = lambda _: 0.5
    needs: Callable[[TrainConfig], int] = lambda _: 0
    trained: list[tuple[str, int]] = field(default_factory=list)

    def run(self, plan: Plan, segment: Segment) -> None:
        """Train the segment to its end."""
        for step in self.steps(plan, segment):
            step()

    def steps(self, plan: Plan, segment: Segment) -> list[Callable[[], None]]:
        """The reports of the segment, to be called in order."""
        key = segment.run
        outcome = Outcome(status="reached", best_epoch=segment.stop, num_params=1234)
        if segment.test:
            acc = self.acc(segment.config, segment.seeds.replicate)
            outcome = replace(outcome, test_loss=0.5, test_acc=acc)
        last = segment.stop
        if 0 < self.patience(segment.config) <= segment.stop:
            outcome, last = replace(outcome, early=True), self.patience(segment.config)
        parts = max(segment.parts, segment.config.accumulate)
        if self.needs(segment.config) > parts:
            outcome, last = Outcome(status="failed", error="no memory"), segment.reported + 1
            small = 4 * parts > segment.config.batch_size
            outcome = replace(outcome, parts=0 if small else 2 * parts, infeasible=small)
        elif self.fails(segment.config, plan.record.runs[key].attempts):
            outcome = Outcome(status="failed", error="the worker process died", retry=self.retry)
            last = (
                1 if self.diverges(segment.config) else segment.reported + 1
            )  # it diverges before it could fail later
        elif self.diverges(segment.config):
            outcome, last = Outcome(status="diverged", error="train_loss is NaN at step 3"), 1
        numbers = range(segment.reported + 1, min(last, segment.stop) + 1)
        steps = [self._epoch(plan, segment, number) for number in numbers]
        return [*steps, lambda: plan.finish(segment.name, outcome)]

    def _epoch(self, plan: Plan, segment: Segment, number: int) -> Callable[[], None]:
        def step() -> None:
            self.trained.append((segment.run, number))
            reached = self.acc(segment.config, segment.seeds.replicate)
            told = metrics(reached, number) | {"seconds": self.seconds(segment.config)}
            plan.epoch(segment.name, told)

        return step


def quality(config: TrainConfig, replicate: int) -> float:
    """What the run reaches in the end, in [0.3, 0.9]."""
    tree = config.model_dump(mode="json")
    # fields that came later: what tests were written on stays
    if tree["train_share"] == 1:
        del tree["train_share"]
    if tree["input_size"] == 0:
        del tree["input_size"]
    if tree["attack"]["epsilon"] == 0:
        del tree["attack"]
    if tree["adversary"]["clean_share"] == 0:
        del tree["adversary"]["clean_share"]
    if tree["transfer"]["head_lr"] == 1:
        del tree["transfer"]["head_lr"]
    if tree["transfer"]["layer_decay"] == 1:
        del tree["transfer"]["layer_decay"]
    if tree["transfer"]["freeze_epochs"] == 0:
        del tree["transfer"]["freeze_epochs"]
    if tree["bn_momentum"] == 0:
        del tree["bn_momentum"]
    if tree["members"] == 1:
        del tree["members"]
    drawn = hashlib.sha256(f"{digest(tree)} {replicate}".encode()).digest()
    return round(0.3 + 0.6 * int.from_bytes(drawn[:4]) / 2**32, 6)


def metrics(reached: float, epoch: int) -> dict[str, float]:
    acc = round(reached * (1 - math.exp(-epoch)), 6)
    return {
        "epoch": epoch,
        "train_loss": 1 - acc,
        "train_acc": acc,
        "val_loss": 1.1 - acc,
        "val_acc": acc,
        "lr": 1e-3,
        "seconds": 0.5,
    }


def open_plan(
    folder: Path,
    study: Study,
    *,
    with_search: bool = True,
    listener: Callable[[Event], object] = never,
    note: str = "",
    format: int = 1,
) -> Plan:
    """Open the ledger in `folder` as a session does; a new one is of this format."""
    ledger = Ledger(folder)
    record = Record.of(ledger.events)

    def listen(event: Event) -> None:
        record.apply(event)
        listener(event)

    ledger.listener = listen
    study = as_recorded(record, study)
    if not record.begun:
        tree = study.model_dump(mode="json")
        ledger.append(events.Study(id="feedc0de", study=tree, data=DATA, note=note, format=format))
    elif lines := grown(record, study):
        tree = study.model_dump(mode="json")
        ledger.append(events.Revision(study=tree, changed=lines))
    flat = study.flat()
    names = ("search.num_trials", "ablation.replicates", "ablation.rope")
    budget = {key: flat[key] for key in (*names, "ablation.until_answered")}
    ledger.append(
        events.Session(
            command="test",
            versions={"python": "3"},
            commit="",
            machine={},
            workers=1,
            budget=budget,
        )
    )
    return Plan(study, ledger, record, core_version=1, with_search=with_search, ahead=rows)


def drive(plan: Plan, worker: Worker, *, workers: int = 1, seed: int = 0) -> Record:
    """Train everything, mark the end, close the ledger, give the record."""
    try:
        train(plan, worker, workers=workers, seed=seed)
    finally:
        plan.ledger.close()
    return plan.record


def train(plan: Plan, worker: Worker, *, workers: int = 1, seed: int = 0) -> None:
    """Train everything, `workers` segments at a time in an order drawn from `seed`, and mark the
    end.
    """
    draw = random.Random(seed)
    live: dict[str, list[Callable[[], None]]] = {}
    while True:
        while len(live) < workers and (segment := plan.next()) is not None:
            assert segment.run not in live, "handed out while it is being trained"
            live[segment.run] = worker.steps(plan, segment)
        if not live:
            break
        run = draw.choice(list(live))
        step, *left = live.pop(run)
        step()
        live |= {run: left} if left else {}
    assert plan.done()
    plan.close_search()
    plan.ledger.append(events.Finish(status="complete"))


def facts(record: Record) -> tuple[dict[Any, Any], dict[tuple[str, int], Any]]:
    """All that must not depend on interruptions: (trials by number, and those of a race by its
    round, too; arms by name and replicate).
    """
    trials = {
        number: (key, *_facts(record.runs[key])) for number, key in enumerate(record.trial_keys)
    }
    arms = {
        (run.arm, run.replicate): (run.key, *_facts(run))
        for runs in record.arms().values()
        for run in runs
    }
    raced = {(run.number, run.replicate): (run.key, *_facts(run)) for run in record.trials(RACE)}
    return trials | raced, arms


def _facts(run: Run) -> tuple[Any, ...]:
    epochs = [
        {name: value for name, value in epoch.items() if name != "time"} for epoch in run.epochs
    ]
    return (
        run.config,
        run.knobs,
        run.asked,
        run.status,
        run.rungs,
        epochs,
        run.best_epoch,
        run.num_params,
        run.test_acc,
    )
