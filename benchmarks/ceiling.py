"""How many workers one driver can serve: a whole search command, whose workers train nothing.

    python -m benchmarks.ceiling [--trials 1000] [--workers 256] [--every 1000] [--ray]

The command is the real one: suggestions over the space of hw3 (on the digits), rungs, the ledger
with its fsync of each event, the block on a terminal, the projection onto MLflow's SQLite store,
the report. Only who trains is another: an executor that answers at once, as so many workers would,
in the order of a clock of its own, with curves that a planted rule and the run's name make. So
the driver is always busy, and the results (epochs) that it takes in a second are its ceiling.
--ray: through the real Ray Tune instead, by as many worker processes, which train nothing either.

A line for each --every trials: results a second; milliseconds for a result, by CPU of the thread
that drives and waiting for the disk; milliseconds of CPU for a suggestion; bytes of the ledger for
a result; events that wait for MLflow, since when, and the results a second that it took in; memory.
What a trial costs is shared among its results, about seven.
"""

import argparse
import contextlib
import heapq
import io
import math
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.meter import COLUMNS, Meter, Stretch
from benchmarks.report import clocked
from benchmarks.utilisation import SHORT_ARMS
from pipeline import report
from pipeline.engine import run_log
from pipeline.engine.executor import Executor
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.order import Order, Outcome, Report, checkpoint_folder
from pipeline.engine.queue import Plan
from pipeline.errors import MachineError
from pipeline.machine import Resources
from pipeline.record import lease
from pipeline.session import session
from pipeline.session.cli import guarded
from pipeline.session.crew import Crew
from pipeline.session.options import Options
from pipeline.session.values import positive
from pipeline.study.load import load_study

EPOCHS = (1, 10, 60)  # seconds of the epochs that the last lines speak of
ENDED = (0, 3)  # exit codes of a command that came to its end
BEST_LR = -3.0  # the planted rule: log10 of the learning rate that goes farthest


class Crowd:
    """An executor of as many workers as it is given: who is done next follows from their epochs'
    seconds, drawn from the runs' names; nobody waits for them.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def run(
        self,
        plan: Plan,
        resources: Resources,
        data: Path,
        *,
        interrupts: Interrupts,
        deadline: float = float("inf"),
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """See `Executor`."""
        folder = plan.ledger.folder.resolve()
        run_log.clear(folder)
        # a heap: (when, number, seconds of an epoch, what it tells) of each worker's segment
        work: list[tuple[float, int, float, Iterator[str]]] = []
        now, number = 0.0, 0
        with self.meter.following(plan):
            while not interrupts.signal and time.monotonic() < deadline:
                while len(work) < resources.workers and (segment := plan.next()) is not None:
                    lease.grant(checkpoint_folder(folder, segment.run), segment.name)
                    order = segment.order(folder, data, resources)
                    order.to_json()  # as it goes to a worker
                    with self.meter.aside():
                        number, pace = number + 1, seconds(order)
                        told = [Report(order.segment, one).to_json() for one in told_of(order)]
                        heapq.heappush(work, (now + pace, number, pace, iter(told)))
                if not work:
                    break
                now, place, pace, reports = heapq.heappop(work)
                report = Report.from_json(next(reports))
                if isinstance(report.told, Outcome):
                    plan.finish(report.segment, report.told)
                else:
                    plan.epoch(report.segment, report.told)
                    heapq.heappush(work, (now + pace, place, pace, reports))
                on_step()
                self.meter.step()


class Tuned:
    """Ray Tune as the executor, with workers that train nothing."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def run(
        self,
        plan: Plan,
        resources: Resources,
        data: Path,
        *,
        interrupts: Interrupts,
        deadline: float = float("inf"),
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """See `Executor`."""
        from pipeline.engine import ray_tune

        def step() -> None:
            on_step()
            self.meter.step()

        trained, ray_tune.train_segment = ray_tune.train_segment, stub
        held = plan, resources, data
        try:
            with self.meter.following(plan):
                ray_tune.run(*held, interrupts=interrupts, deadline=deadline, on_step=step)
        finally:
            ray_tune.train_segment = trained


def stub(config: dict[str, str]) -> None:
    """In the place of `ray_tune.train_segment`."""
    from pipeline.engine import ray_tune

    ray_tune.carry_out(Order.from_json(config["order"]), pretended)


def pretended(order: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
    """In the place of `worker.work`."""
    *epochs, outcome = told_of(order)
    for metrics in epochs:
        assert isinstance(metrics, dict)
        on_epoch(metrics)
    assert isinstance(outcome, Outcome)
    return outcome


def seconds(order: Order) -> float:
    """What an epoch of the run takes."""
    return random.Random(order.folder.name).lognormvariate(0.0, 0.5)


def told_of(order: Order) -> list[dict[str, float] | Outcome]:
    """All that a worker tells of a segment: the nearer the learning rate to the best one, and the
    luckier the run's name, the higher its curve.
    """
    chance, pace = random.Random(order.folder.name), seconds(order)
    lr = order.config.model_dump()["optimizer"]["lr"]
    top = 0.9 - 0.1 * min(abs(math.log10(lr) - BEST_LR), 3.0) - 0.2 * chance.random()
    told: list[dict[str, float] | Outcome] = []
    for epoch in range(1, order.stop + 1):
        acc = round(top * (1 - math.exp(-0.2 * epoch)) + chance.gauss(0, 0.01), 6)
        values = {"train_loss": 1.2 - acc, "train_acc": acc, "val_loss": 1.2 - acc, "val_acc": acc}
        told.append({"epoch": epoch, **values, "lr": lr, "seconds": pace})
    test = {"test_loss": 1.2 - top, "test_acc": top} if order.test else {}
    end = Outcome(status="reached", best_epoch=order.stop, num_params=1, **test)  # type: ignore[arg-type]
    return [*told[order.reported :], end]


class Screen(io.StringIO):
    """A terminal that keeps the last words alone."""

    def __init__(self) -> None:
        super().__init__()
        self.last = deque[str](maxlen=8)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.last.append(text)
        return len(text)


@dataclass(frozen=True)
class Found:
    """A whole command: its stretches; seconds that it took, of which after the last result, and of
    these for the report. late: whether MLflow had not taken all in when it ended.
    """

    stretches: tuple[Stretch, ...]
    whole: float
    ending: float
    report: float
    late: bool


def measure(
    trials: int, workers: int, every: int, *, ray: bool, say: Callable[[str], None]
) -> Found:
    """Run the command in this process."""
    meter = Meter(every, say)
    executor: Executor = Tuned(meter) if ray else Crowd(meter)

    @contextlib.contextmanager
    def hired(*_: Any) -> Iterator[Crew]:
        yield Crew(Resources(workers, 0.0), lambda: executor)

    study = load_study("hw3")
    assert study.fallback is not None
    study = study.override({**study.fallback.overrides, "search.num_trials": trials})
    study = study.override({"ablation.design": SHORT_ARMS, "ablation.replicates": 1})
    screen, seconds = Screen(), {"report": 0.0}
    with tempfile.TemporaryDirectory(prefix="ceiling-", ignore_cleanup_errors=True) as temp:
        (Path(temp) / "study.json").write_text(study.model_dump_json())
        options = Options("pipeline.search", f"{temp}/study.json", mlruns=f"{temp}/mlruns")
        was = vars(session)["hired"]
        vars(session)["hired"] = hired
        begun = time.monotonic()
        try:
            with (
                contextlib.redirect_stdout(screen),
                clocked(report, "write_report", "report", seconds),
            ):
                code = session.conduct(options, with_search=True)
        finally:
            vars(session)["hired"] = was
        ended = time.monotonic()
    if code not in ENDED:
        raise MachineError(f"the command ended with exit code {code}: {screen.last[-1]}")
    return Found(
        tuple(meter.found),
        ended - begun,
        ended - meter.ended,
        seconds["report"],
        "no answer" in "".join(screen.last),
    )


def summary(found: Found, *, ray: bool) -> str:
    """What it comes to, over all stretches."""
    first, last = found.stretches[0], found.stretches[-1]
    all_of_it = replace(last, before=first.before)
    by = "through Ray Tune" if ray else "without Ray's own part"
    by_cpu = 1 / max(all_of_it.a_result("cpu"), 1e-9)
    lines = [
        f"{found.whole:.0f} s in all, {found.ending:.0f} s of them after the last result (report "
        f"{found.report:.1f} s{', MLflow not done' if found.late else ''})",
        f"the driver takes {all_of_it.rate:.0f} results a second ({by}; {by_cpu:.0f} by its CPU "
        f"alone), MLflow beside it {all_of_it.mlflow_rate:.0f}",
    ]
    for rate, what in ((all_of_it.rate, "driver"), (all_of_it.mlflow_rate, "MLflow at once")):
        those = ", ".join(f"{rate * pace:,.0f} workers of {pace}-second epochs" for pace in EPOCHS)
        lines.append(f"{what}: up to {those}")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ceiling", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--trials", type=positive, default=1000)
    parser.add_argument("--workers", type=positive, default=256)
    parser.add_argument("--every", type=positive, default=1000, help="trials of a line")
    parser.add_argument("--ray", action="store_true", help="through the real Ray Tune")
    given = parser.parse_args(words)

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    out = sys.stdout
    say("".join(f"{title:>{width}}" for title, width in COLUMNS))
    found = measure(given.trials, given.workers, given.every, ray=given.ray, say=say)
    say(summary(found, ray=given.ray))
    return 0


if __name__ == "__main__":
    guarded(main)
