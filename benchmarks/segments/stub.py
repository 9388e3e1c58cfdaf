"""A worker that trains nothing, dawdles and dies at every seam, and writes down what it did. And a
Tune that errs.

Its checkpoints are lines of the run's diary: a line is written whole or not at all, as a checkpoint
is.
"""

import functools
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.engine import ray_tune
from pipeline.engine.order import Order, Outcome
from pipeline.record import lease

DIARY, WEATHER = "diary.jsonl", "weather.json"
SEAMS = ("begun", "held", "trained", "saved", "epoch told", "judged", "let go", "outcome told")
# a death at any moment: between two segments, while the worker is made ready for the next, within
# it
TIMER = "timer"
TOLD = (SEAMS[-1], TIMER)  # where a worker dies when the driver may know all of its segment


@dataclass(frozen=True)
class Weather:
    """Chances, at each seam of each segment: of a delay of up to `longest` seconds (of a tenth of
    that in the driver, which all wait for), of a death; and, at each epoch, that the driver takes a
    worker for dead that lives. One worker dies at each seam in any case, and one is taken for dead.
    """

    seed: int
    delay: float
    longest: float
    death: float
    error: float

    def save(self, study: Path) -> None:
        (study / WEATHER).write_text(json.dumps(vars(self)))

    @classmethod
    def load(cls, study: Path) -> "Weather":
        return cls(**json.loads((study / WEATHER).read_text()))

    def draw(self, *what: object) -> random.Random:
        return random.Random(f"{self.seed} {what}")

    def dawdle(self, *what: object, share: float = 1.0) -> None:
        draw = self.draw("delay", *what)
        if draw.random() < self.delay:
            time.sleep(draw.uniform(0, share * self.longest))


class Diary:
    """What befell a run's segments, or (of the study's own folder) workers between segments."""

    def __init__(self, folder: Path, segment: str) -> None:
        self.path, self.segment = folder / DIARY, segment

    def note(self, what: str, **more: Any) -> None:
        entry = {"segment": self.segment, "what": what, "time": time.monotonic(), **more}
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps(entry).encode() + b"\n")

    def die(self, seam: str) -> None:
        self.note("died", seam=seam)
        os.kill(os.getpid(), signal.SIGKILL)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """All entries of a folder's diary, in order."""
    path = folder / DIARY
    for line in path.read_text().splitlines() if path.exists() else ():
        yield json.loads(line)


def first(study: Path, what: str) -> bool:
    """Whether nobody has asked this before, in any process."""
    try:
        (study / f"first {what}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Worker:
    """One segment in a worker process."""

    def __init__(self, order: Order) -> None:
        self.order, self.folder = order, order.folder
        self.study = self.folder.parents[1]
        self.weather, self.diary = Weather.load(self.study), Diary(self.folder, order.segment)
        self.passed = 0

    def pass_by(self, seam: str) -> None:
        """Come to a seam: perhaps late, perhaps never beyond."""
        self.passed += 1
        place = (self.order.segment, seam, self.passed)
        self.weather.dawdle(*place)
        if self._doomed(*place):
            self.diary.die(seam)

    def _doomed(self, *place: object) -> bool:
        """Whether to die here; once in a run's life, as three deaths on end would rightly end
        it.
        """
        if any(entry["what"] == "died" for entry in read(self.folder)):
            return False
        return (
            first(self.study, str(place[1]))
            or self.weather.draw("death", *place).random() < self.weather.death
        )

    def work(self, _: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
        """In the place of `pipeline.engine.worker.work`."""
        self.pass_by("begun")
        try:
            with lease.held(self.folder, self.order.segment) as own:
                self._train(own, on_epoch)
                own.check()
                self.diary.note("let go")
        except lease.LeaseLost as error:
            self.diary.note("lost")
            return Outcome(status="failed", error=str(error), retry=True)
        self.pass_by("let go")
        outcome = Outcome(status="reached", best_epoch=self.order.stop, num_params=1)
        return replace(outcome, test_loss=1.0, test_acc=0.5) if self.order.test else outcome

    def _train(self, own: lease.Lease, on_epoch: Callable[[dict[str, float]], None]) -> None:
        self.diary.note("held")
        self.pass_by("held")
        done = sum(entry["what"] == "saved" for entry in read(self.folder))
        for epoch in range(1, self.order.stop + 1):
            if epoch > done:
                self.diary.note("train", epoch=epoch)
                self.pass_by("trained")
                own.check()
                self.diary.note("saved", epoch=epoch)
                self.pass_by("saved")
            if epoch > self.order.reported:
                own.check()
                on_epoch(self._metrics(epoch))
                self.pass_by("epoch told")
                self._tarry()
        self.pass_by("judged")

    def _tarry(self) -> None:
        """Where the driver has taken this worker for dead, long enough for another one to have the
        run by then.
        """
        if any(entry["segment"] == self.order.segment for entry in read(self.study)):
            time.sleep(4 * self.weather.longest)

    def _metrics(self, epoch: int) -> dict[str, float]:
        acc = self.weather.draw("acc", self.folder.name).random() * epoch / (epoch + 1)
        losses = {"train_loss": 1 - acc, "train_acc": acc, "val_loss": 1 - acc, "val_acc": acc}
        return {"epoch": epoch, **losses, "lr": 1e-3, "seconds": 0.01}

    def leave_a_bomb(self) -> None:
        """Now and then the process dies some time after its segment, wherever it is by then."""
        if self._doomed(self.order.segment, TIMER):
            delay = self.weather.draw("fuse", self.order.segment).uniform(
                0, 2 * self.weather.longest
            )
            threading.Timer(delay, lambda: _now(self.study).die(TIMER)).start()


_present: list[Worker] = []  # the segment that this process is in


def _now(study: Path) -> Diary:
    return _present[0].diary if _present else Diary(study, "")


def stub(config: dict[str, str]) -> None:
    """In the place of `ray_tune.train_segment`."""
    worker = Worker(Order.from_json(config["order"]))
    _present.append(worker)
    ray_tune.carry_out(worker.order, worker.work)
    worker.pass_by("outcome told")
    worker.leave_a_bomb()
    _present.clear()


class Late(ray_tune.Segments):
    """A searcher that Tune's calls reach late; now and then it is told that a worker has died that
    lives.
    """

    @functools.cached_property
    def weather(self) -> Weather:
        return Weather.load(self.folder)

    def suggest(self, trial_id: str) -> Any:
        self.weather.dawdle("suggest", len(self.plan.record.runs), len(self.names), share=0.1)
        return super().suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.weather.dawdle("result", result["report"], share=0.1)
        super().on_trial_result(trial_id, result)
        name = self.names.get(trial_id, "")
        run = self.plan.live.get(name, "")
        if (
            run
            and '"outcome"' not in result["report"]
            and not self.plan.failures.attempts[run]
            and self._errs(name, result["report"])
        ):
            Diary(self.folder, name).note("taken for dead")
            super().on_trial_complete(trial_id, error=True)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self.weather.dawdle("complete", self.names.get(trial_id), share=0.1)
        super().on_trial_complete(trial_id, result, error)

    def _errs(self, *place: object) -> bool:
        return (
            first(self.folder, "error")
            or self.weather.draw("error", *place).random() < self.weather.error
        )
