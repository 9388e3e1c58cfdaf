"""Does a trial cost the driver more, the longer the search? Thousands of stub trials through the real Ray Tune.

    python -m benchmarks.growth [--trials 10000] [--workers 2] [--window 100] [--mlflow]

The workers train nothing; the driver does all that it does in a search: suggestions over the space of `hw3`, rungs, ledger,
progress, and with --mlflow the projection onto a SQLite store. A line for each window of trials, each CPU seconds of the
driver: a trial in all, a suggestion, a result. Goal: no more than 1.2 times as much in the last window as in the one that
begins at 100 trials.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from pipeline import runner
from pipeline.cli import guarded, positive
from pipeline.interrupts import Interrupts
from pipeline.ledger import Ledger
from pipeline.machine import Resources
from pipeline.plan import Plan
from pipeline.progress import Progress
from pipeline.record import Record
from pipeline.study import Study, load_study
from pipeline.tracking import Tracker
from pipeline.trials import Trials

GOAL = 1.2
FIRST = 100  # trials recorded before the window that the last is compared with


@dataclass(frozen=True)
class Window:
    """CPU seconds of the driver over some trials, up to trial number `trials`."""

    trials: int
    a_trial: float
    a_suggestion: float
    a_result: float


def stub(config: dict[str, str]) -> None:
    """In the place of `runner.train_segment`: a curve drawn from the run's name, at once."""
    runner.carry_out(json.loads(config["order"]), pretend)


def pretend(order: dict[str, Any], on_epoch: Any) -> dict[str, Any]:
    best = random.Random(order["folder"]).random()
    for epoch in range(order["reported"] + 1, order["stop"] + 1):
        acc = best * epoch / (epoch + 1)
        losses = {"train_loss": 1 - acc, "train_acc": acc, "val_loss": 1 - acc, "val_acc": acc}
        on_epoch({"epoch": epoch, **losses, "lr": 1e-3, "seconds": 0.01})
    return {"status": "reached", "best_epoch": order["stop"], "num_params": 1}


class Clock:
    """CPU seconds of this process, by what they went on; a window is closed every `window` trials."""

    def __init__(self, window: int) -> None:
        self.window, self.windows = window, list[Window]()
        self._last = time.process_time()
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
        if trials % self.window or not trials:
            return
        now = time.process_time()
        spent = {what: median(seconds) for what, seconds in self._spent.items()}
        found = Window(trials, (now - self._last) / self.window, spent["suggestion"], spent["result"])
        self.windows.append(found)
        print(f"{trials:6} trials: {found.a_trial:.4f} {found.a_suggestion:.4f} {found.a_result:.5f}", flush=True)
        self._last = now
        for seconds in self._spent.values():
            seconds.clear()


def search(folder: Path, study: Study, workers: int, clock: Clock, *, mlflow: bool) -> None:
    """The search alone, as a session does it, with stub workers."""
    runner.train_segment = stub
    Trials.propose = clock.timed("suggestion", Trials.propose)  # type: ignore[method-assign]
    runner.Segments.on_trial_result = clock.timed("result", runner.Segments.on_trial_result)  # type: ignore[method-assign]
    with Ledger(folder / "growth") as ledger:
        record = Record()
        data = {"title": "none", "fingerprint": "0", "classes": ["0", "1"], "counts": {"train": 1, "valid": 1, "test": 1}}
        listeners: list[Any] = [record.apply]
        ledger.listener = lambda event: [listen(event) for listen in listeners]  # type: ignore[assignment]
        tracker = Tracker(folder, ledger.folder, [], ledger.append) if mlflow else None
        listeners += [tracker.put] if tracker else []
        ledger.append("study", id="growth", study=study.model_dump(mode="json"), data=data, note="")
        ledger.append("session", budget={}, versions={}, machine={}, commit="")
        plan = Plan(study, ledger, record, core_version=1, with_search=True)
        plan.todo.clear()  # the arms
        with Progress(plan, Console(quiet=True), verbosity=-1) as progress:
            listeners.append(progress.event)
            listeners.append(lambda event: clock.begun(len(record.trial_keys)) if event["type"] == "trial" else None)
            runner.run(plan, Resources(workers, 0.0), folder / "cache", interrupts=Interrupts(), on_step=progress.step)
        if tracker:
            tracker.close()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=positive, default=10_000)
    parser.add_argument("--workers", type=positive, default=2)
    parser.add_argument("--window", type=positive, default=100)
    parser.add_argument("--mlflow", action="store_true", help="with the projection onto MLflow")
    args = parser.parse_args(words)
    study = load_study("hw3").override({"search.num_trials": args.trials, "baseline.epochs": 9}, source="benchmark")
    clock = Clock(args.window)
    print(f"{'':14} CPU seconds of the driver: a trial, a suggestion, a result")
    with tempfile.TemporaryDirectory() as temp:
        search(Path(temp), study, args.workers, clock, mlflow=args.mlflow)
    first = next((one for one in clock.windows if one.trials > FIRST), None)
    if first is None:
        sys.exit(f"at least {FIRST + args.window} trials are needed for a comparison")
    last = clock.windows[-1]
    ratios = {name: getattr(last, name) / getattr(first, name) for name in ("a_trial", "a_suggestion", "a_result")}
    shown = ", ".join(f"{name.replace('_', ' ')} {ratio:.2f}x" for name, ratio in ratios.items())
    print(f"{last.trials} trials against {first.trials}: {shown}")
    met = ratios["a_trial"] <= GOAL
    print(f"goal (a trial, at most {GOAL}x): {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    guarded(main)
