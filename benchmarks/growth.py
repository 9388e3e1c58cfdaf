"""Does a trial cost the driver more, the longer the search? Stub trials through the real Ray Tune,
on records of any length.

    python -m benchmarks.growth [--recorded 100 1000 10000] [--trials 100] [--workers 2] [--mlflow]

A search of so many recorded trials is gone on with: the workers train nothing, the driver does all
that it does in a search (suggestions over the space of `hw3`, rungs, ledger, progress, and with
--mlflow the projection onto a SQLite store). A line for each length, in CPU seconds of the driver:
a trial in all, a suggestion, a result. Goal: no more than 1.2 times as much a trial on the longest
record as on the shortest.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from pipeline.analysis.arm_summary import summary
from pipeline.engine import ray_tune
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.order import Order, Outcome
from pipeline.engine.queue import Plan
from pipeline.engine.trials import Trials
from pipeline.machine import Resources
from pipeline.record import events
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record
from pipeline.record.tracking import Tracker
from pipeline.session.cli import guarded
from pipeline.session.progress import Progress
from pipeline.session.values import positive
from pipeline.study.load import load_study

GOAL = 1.2
WARM_UP = 20  # trials, while workers start


@dataclass(frozen=True)
class Window:
    """CPU seconds of the driver, each on average or in the median, over some trials up to number
    `trials`.
    """

    trials: int
    a_trial: float
    a_suggestion: float
    a_result: float


def stub(config: dict[str, str]) -> None:
    """In the place of `ray_tune.train_segment`: a curve drawn from the run's name, at once."""
    ray_tune.carry_out(Order.from_json(config["order"]), pretend)


def pretend(order: Order, on_epoch: Any) -> Outcome:
    best = random.Random(order.folder.name).random()
    for epoch in range(order.reported + 1, order.stop + 1):
        acc = best * epoch / (epoch + 1)
        losses = {"train_loss": 1 - acc, "train_acc": acc, "val_loss": 1 - acc, "val_acc": acc}
        on_epoch({"epoch": epoch, **losses, "lr": 1e-3, "seconds": 0.01})
    return Outcome(status="reached", best_epoch=order.stop, num_params=1)


class Clock:
    """CPU seconds of this process from trial number `first` to `last`, by what they went on."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last, self.found = first, last, Window(0, 0.0, 0.0, 0.0)
        self._since = 0.0
        self._spent: dict[str, list[float]] = {"suggestion": [], "result": []}

    def timed(self, what: str, action: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            begun = time.thread_time()
            try:
                return action(*args, **kwargs)
            finally:
                self._spent[what].append(time.thread_time() - begun)

        return run

    def begun(self, trials: int) -> None:
        if trials == self.first:
            self._since = time.process_time()
            for seconds in self._spent.values():
                seconds.clear()
        if trials == self.last:
            whole = (time.process_time() - self._since) / (self.last - self.first)
            self.found = Window(
                trials, whole, median(self._spent["suggestion"]), median(self._spent["result"])
            )


def _no_wait(fd: Any) -> None:
    """In the place of `os.fsync`."""


def record(plan: Plan, trials: int) -> None:
    """Bring the plan to so many trials without Ray and without waiting for the disk."""
    waits, os.fsync = os.fsync, _no_wait
    try:
        while len(plan.record.trial_keys) < trials and (segment := plan.next()) is not None:
            order = segment.order(Path(), Path(), Resources(1, 0.0))
            name = segment.name
            plan.finish(name, pretend(order, lambda metrics, name=name: plan.epoch(name, metrics)))
    finally:
        os.fsync = waits


def search(folder: Path, recorded: int, trials: int, workers: int, *, mlflow: bool) -> Window:
    """Go on with a search of `recorded` trials for so many more, as a session does it, with stub
    workers.
    """
    most = recorded + WARM_UP + trials
    clock = Clock(recorded + WARM_UP, most)
    study = load_study("hw3").override(
        {"search.num_trials": most, "baseline.epochs": 9}, source="benchmark"
    )
    propose, take = Trials.propose, ray_tune.Segments.on_trial_result
    ray_tune.train_segment = stub
    Trials.propose = clock.timed("suggestion", propose)  # type: ignore[method-assign]
    ray_tune.Segments.on_trial_result = clock.timed("result", take)  # type: ignore[method-assign]
    with Ledger(folder / "growth") as ledger:
        found = Record()
        data = {
            "title": "none",
            "fingerprint": "0",
            "classes": ["0", "1"],
            "counts": {"train": 1, "valid": 1, "test": 1},
        }
        listeners: list[Any] = [found.apply]
        ledger.listener = lambda event: [listen(event) for listen in listeners]  # type: ignore[assignment]
        tracker = Tracker(folder, ledger.folder, [], ledger.append, summary) if mlflow else None
        tree = study.model_dump(mode="json")
        ledger.append(events.Study(id="growth", study=tree, data=data, note=""))
        ledger.append(events.Session(command=""))
        plan = Plan(study, ledger, found, core_version=1, with_search=True)
        plan.replicates.todo.clear()  # the arms
        record(plan, recorded)
        listeners += [tracker.put] if tracker else []
        with Progress(plan, Console(quiet=True), verbosity=-1) as progress:
            listeners.append(progress.event)
            listeners.append(
                lambda event: (
                    clock.begun(len(found.trial_keys)) if isinstance(event, events.Trial) else None
                )
            )
            ray_tune.run(
                plan,
                Resources(workers, 0.0),
                folder / "cache",
                interrupts=Interrupts(),
                on_step=progress.step,
            )
        if tracker:
            tracker.close()
    Trials.propose, ray_tune.Segments.on_trial_result = propose, take  # type: ignore[method-assign]
    return clock.found


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--recorded", type=positive, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--trials", type=positive, default=100)
    parser.add_argument("--workers", type=positive, default=2)
    parser.add_argument("--mlflow", action="store_true", help="with the projection onto MLflow")
    args = parser.parse_args(words)
    print(f"{'recorded':>9}   CPU seconds of the driver: a trial, a suggestion, a result")
    windows = []
    for recorded in args.recorded:
        with tempfile.TemporaryDirectory() as temp:
            found = search(Path(temp), recorded, args.trials, args.workers, mlflow=args.mlflow)
        windows.append(found)
        print(
            f"{recorded:9,}   {found.a_trial:.4f} {found.a_suggestion:.4f} {found.a_result:.5f}",
            flush=True,
        )
    first, last = windows[0], windows[-1]
    ratios = {
        name: getattr(last, name) / getattr(first, name)
        for name in ("a_trial", "a_suggestion", "a_result")
    }
    shown = ", ".join(f"{name.replace('_', ' ')} {ratio:.2f}x" for name, ratio in ratios.items())
    print(f"the longest against the shortest: {shown}")
    met = ratios["a_trial"] <= GOAL
    print(f"goal (a trial, at most {GOAL}x): {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    guarded(main)
