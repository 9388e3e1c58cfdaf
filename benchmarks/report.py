"""How long the report of a large study takes, from its ledger to the last file, and whether that is
linear in its runs.

    python -m benchmarks.report [--runs 1000] [--rounds 3] [--arms 35] [--no-large]

A recorded study is made up: three tenths of the runs are trials of a search over the space of hw3,
the rest the arms of an ablation and their replicates, 30 epochs each, with the predictions of 500
test pictures in 10 classes. Then everything that `python -m pipeline.report` does is done, in this
one process: read the ledger, judge, draw, write. Stages are in wall seconds of the best round;
"CPU" is that of the process and moves less with what else the machine does, so the two sizes are
compared by it. Exit status: 0 if the goal is met (1,000 runs within 10 s; ten times the runs within
11 times the CPU seconds; a page below 5 MB), 1 if not.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.record.ledger import FILE, read_events
from pipeline.record.lines import seal
from pipeline.record.record import Record
from pipeline.report import compose, frame_files, write_report
from pipeline.report.figures import draw as figures
from pipeline.report.formats import terminal
from pipeline.session.values import positive
from pipeline.study.load import load_study
from pipeline.study.schedulers import Ladder
from pipeline.study.study import Study

GOAL_SECONDS, GOAL_RATIO, GOAL_PAGE = 10.0, 11.0, 5e6
NUM_LARGE = 10  # times the runs of the small study
TRIALS = 0.3  # of all runs
NUM_EPOCHS, NUM_PICTURES, NUM_CLASSES = 30, 500, 10
STAGES: dict[str, tuple[Any, str]] = {
    "judge": (compose, "read"),
    "figures": (figures, "draw_all"),
    "pages": (compose, "texts"),
    "frames": (frame_files, "files"),
    "screen": (terminal, "render"),
}


@dataclass(frozen=True)
class Timed:
    """Wall seconds by stage, the CPU seconds of them all, bytes of the page."""

    stages: dict[str, float]
    cpu: float
    page: int

    @property
    def wall(self) -> float:
        return sum(self.stages.values())


class Drawn:
    """A random point of a space, asked for as an Optuna trial is."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def suggest_float(
        self,
        name: str,  # noqa: ARG002
        low: float,
        high: float,
        *,
        step: float | None = None,  # noqa: ARG002
        log: bool,
    ) -> float:
        return float(
            np.exp(self.rng.uniform(np.log(low), np.log(high)))
            if log
            else self.rng.uniform(low, high)
        )

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:  # noqa: ARG002
        return round(self.suggest_float(name, low, high, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ARG002
        return choices[int(self.rng.integers(len(choices)))]


class Scribe:
    """Writes the ledger of a made-up study, without the fsync of each line that a real one is made
    with.
    """

    def __init__(self, folder: Path, num_runs: int, num_arms: int) -> None:
        self.folder, self.rng, self.seq = folder, np.random.default_rng(num_runs), 0
        self.num_trials = round(TRIALS * num_runs)
        self.replicates = max(1, (num_runs - self.num_trials) // num_arms)
        self.study = study_of(self.num_trials, num_arms, self.replicates)

    def write(self) -> None:
        with (self.folder / FILE).open("wb") as self.file:
            self._begin()
            for number in range(self.num_trials):
                self._trial(number)
            configs = [
                (arm.name, config.model_dump(mode="json")) for arm, config in self.study.arms()
            ]
            for replicate in range(1, self.replicates + 1):
                for place, (arm, config) in enumerate(configs):
                    self._arm(f"a{place}-{replicate}", arm, place, replicate, config)

    def _append(self, kind: str, **fields: Any) -> None:
        event = {"seq": self.seq, "time": 1.7e9 + self.seq, "type": kind, **fields}
        self.file.write(seal(event))
        self.seq += 1

    def _begin(self) -> None:
        classes = [f"class {i}" for i in range(NUM_CLASSES)]
        counts = {"train": 9000, "valid": 1000, "test": NUM_PICTURES}
        data = {
            "title": "made-up",
            "fingerprint": "0" * 16,
            "classes": classes,
            "counts": counts,
            "channels": 3,
        }
        self._append("study", study=self.study.model_dump(mode="json"), data=data, note="")
        asked = {"search.num_trials": self.num_trials, "ablation.replicates": self.replicates}
        machine = {"device": "cpu", "cpus": 2, "name": "none"}
        self._append(
            "session",
            command="none",
            versions={},
            commit="0" * 12,
            machine=machine,
            budget=asked,
            workers=2,
        )

    def _trial(self, number: int) -> None:
        knobs = self.study.space.suggest(Drawn(self.rng))
        config = self.study.baseline.override(knobs).model_dump(mode="json")
        run, top = f"t{number}", float(self.rng.beta(6, 4))
        self._append("trial", run=run, trial=number, config=config, knobs=knobs, asked=0)
        done = 0
        for rung, stop in enumerate(Ladder.halving(3, 3).stops(NUM_EPOCHS)):
            self._append("start", run=run, rung=rung)
            epochs = self._epochs(run, done + 1, stop, top)
            self._append("rung", run=run, rung=rung, value=epochs[-1]["val_acc"])
            done = stop
        self._append("end", run=run, status="complete", best_epoch=NUM_EPOCHS, num_params=4_000_000)

    def _arm(self, run: str, arm: str, place: int, replicate: int, config: dict[str, Any]) -> None:
        self._append("arm", run=run, arm=arm, replicate=replicate, config=config)
        self._append("start", run=run, rung=-1)
        acc = 0.6 + 0.003 * (place % 7) + float(self.rng.normal(0, 0.01))
        epochs = self._epochs(run, 1, NUM_EPOCHS, acc)
        best = min(epochs, key=lambda epoch: (-epoch["val_acc"], epoch["val_loss"], epoch["epoch"]))
        end = {
            "best_epoch": int(best["epoch"]),
            "num_params": 4_000_000,
            "num_macs": 10**8,
            "num_train": 9000,
        }
        self._append(
            "end",
            run=run,
            status="complete",
            test_acc=acc,
            test_loss=1.6 - acc,
            **end,
            **self._judged(run, acc),
        )

    def _epochs(self, run: str, first: int, last: int, top: float) -> list[dict[str, float]]:
        epochs = []
        for epoch in range(first, last + 1):
            rise = 1 - np.exp(-0.2 * epoch)
            noise = self.rng.normal(0, 0.01, 4)
            values = np.round(
                (
                    1.8 - rise + noise[0],
                    top * rise + noise[1],
                    2 - rise + noise[2],
                    top * rise + noise[3],
                ),
                6,
            )
            metrics = dict(
                zip(
                    ("train_loss", "train_acc", "val_loss", "val_acc"),
                    map(float, values),
                    strict=True,
                )
            )
            epochs.append({"epoch": epoch, **metrics, "lr": 3e-4, "seconds": 2.5})
            self._append("epoch", run=run, metrics=epochs[-1])
        return epochs

    def _judged(self, run: str, acc: float) -> dict[str, str]:
        """The predictions of a run, as the product keeps them beside the ledger."""
        from pipeline.core.finished.evidence import Evidence, Judged, Wrong, evidence_path, write

        true = np.arange(NUM_PICTURES) % NUM_CLASSES
        right = self.rng.random(NUM_PICTURES) < acc
        pred = np.where(right, true, self.rng.integers(0, NUM_CLASSES, NUM_PICTURES))
        probs = self.rng.random((2, NUM_PICTURES)).astype(np.float32)
        rows = np.flatnonzero(pred != true)[:24]
        pictures = np.repeat(
            self.rng.integers(0, 256, (len(rows), 3, 4, 4), dtype=np.uint8), 12, 2
        ).repeat(12, 3)
        wrong = Wrong(rows, pictures, tuple(f"test/{row}.jpg" for row in rows))
        evidence = Evidence("test", Judged(true, pred, probs[0], probs[1]), wrong, ())
        return {"evidence": write(evidence_path(self.folder, run), evidence)}


def study_of(num_trials: int, num_arms: int, replicates: int) -> Study:
    """hw3's baseline and space with arms that differ in their dropout."""
    arms: dict[str, dict[str, float]] = {"baseline": {}} | {
        f"dropout {i / 1000:g}": {"model.dropout": i / 1000} for i in range(1, num_arms)
    }
    budgets = {
        "search.num_trials": num_trials,
        "search.sampler": "random",
        "ablation.replicates": replicates,
    }
    design = {"name": "arms", "arms": arms}
    return load_study("hw3").override(
        {"ablation.design": design, "baseline.precision": "fp32", **budgets}
    )


def measure(folder: Path, rounds: int) -> Timed:
    """The best of so many rounds."""
    return min((_round(folder) for _ in range(rounds)), key=lambda timed: timed.wall)


def _round(folder: Path) -> Timed:
    stages = {"ledger": 0.0}
    with contextlib.ExitStack() as stack:
        for name, (module, function) in STAGES.items():
            stack.enter_context(clocked(module, function, name, stages))
        begun, cpu = time.perf_counter(), time.process_time()
        record = Record.of(read_events(folder))
        stages["ledger"] = time.perf_counter() - begun
        write_report(record, folder / "report")
        whole, cpu = time.perf_counter() - begun, time.process_time() - cpu
    stages["disk"] = whole - sum(stages.values())
    return Timed(stages, cpu, (folder / "report" / "report.html").stat().st_size)


@contextlib.contextmanager
def clocked(module: Any, function: str, name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Add up what `module.function` takes as long as this lasts."""
    plain: Callable[..., Any] = getattr(module, function)
    seconds[name] = 0.0

    def clocked(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        found = plain(*args, **kwargs)
        found = list(found) if isinstance(found, Iterator) else found
        seconds[name] += time.perf_counter() - begun
        return found

    setattr(module, function, clocked)
    try:
        yield
    finally:
        setattr(module, function, plain)


def report(found: dict[int, Timed]) -> bool:
    """Print a line a study and whether the goals are met."""
    titles = (*next(iter(found.values())).stages, "whole", "CPU", "page (MB)")
    print(f"{'runs':>8}" + "".join(f"{title:>11}" for title in titles))
    for num_runs, timed in found.items():
        print(
            f"{num_runs:8,}"
            + "".join(
                f"{x:11.2f}"
                for x in (*timed.stages.values(), timed.wall, timed.cpu, timed.page / 1e6)
            )
        )
    small, large = min(found), max(found)
    met = found[small].wall <= GOAL_SECONDS and all(
        timed.page < GOAL_PAGE for timed in found.values()
    )
    goal = (
        f"{small:,} runs in {found[small].wall:.1f} s (goal {GOAL_SECONDS:g}), page below "
        f"{GOAL_PAGE / 1e6:g} MB"
    )
    if large > small:
        ratio = found[large].cpu / found[small].cpu
        met = met and ratio <= GOAL_RATIO * large / small / NUM_LARGE
        goal += (
            f"; {large / small:g} times the runs: {ratio:.1f} times the CPU seconds (goal "
            f"{GOAL_RATIO:g})"
        )
    print(f"goal {'met' if met else 'MISSED'}: {goal}")
    return met


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="How long does a report take?"
    )
    parser.add_argument(
        "--runs", type=positive, default=1000, help="runs of the small study (default: 1000)"
    )
    parser.add_argument(
        "--arms", type=positive, default=35, help="arms of the ablation (default: 35)"
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=3,
        help="of the small study; the best counts (default: 3)",
    )
    parser.add_argument(
        "--no-large", action="store_true", help="leave the study of ten times the runs out"
    )
    given = parser.parse_args(argv)
    found = {}
    for num_runs in (given.runs,) if given.no_large else (given.runs, NUM_LARGE * given.runs):
        with tempfile.TemporaryDirectory(prefix="report-") as temp:
            folder = Path(temp) / "study"
            folder.mkdir()
            Scribe(folder, num_runs, given.arms).write()
            found[num_runs] = measure(folder, given.rounds if num_runs == given.runs else 1)
    return 0 if report(found) else 1


if __name__ == "__main__":
    sys.exit(main())
