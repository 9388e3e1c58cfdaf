"""Ray Tune as the executor: segments of a plan onto GPUs and cores, in workers that stay warm.

Tune's own snapshots, loggers, schedulers and `Tuner.restore` are not used: the ledger is the truth
(docs/architecture.md).
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.counts import plural
from pipeline.engine import (
    ray_node,
    run_log,
)  # ray_node before ray: it makes the environment that ray reads on import
from pipeline.engine.cards import Cards, named
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.last_words import left
from pipeline.engine.order import Order, Outcome, Report, Segment, checkpoint_folder
from pipeline.engine.queue import Plan
from pipeline.engine.ray_segment import carry_out, train_segment
from pipeline.errors import MachineError, PipelineError, printable
from pipeline.limits import num_killed_for_memory
from pipeline.machine import Resources
from pipeline.record import lease

# isort: split
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

__all__ = ["Ended", "Heartbeat", "Segments", "carry_out", "run", "train", "train_segment"]

# Tune would hand each worker a few variables that all inherit from here: an environment of its own,
# for which the workers that Ray has begun meanwhile are of no use, and others are begun.
class_cache.DEFAULT_ENV_VARS.clear()
class_cache.ENV_VARS_TO_PROPAGATE.clear()

ANSWER_SECONDS = 300.0  # a worker's packages may lie on a slow disk that many read at once
MOST_TRIALS = 1000
"""Tune's trials in one go: it keeps folders and state of each, and writes them all down at the
end.
"""


class Segments(Searcher):
    """Hands the plan's segments out as short Tune trials. Errors are kept in `error`, since Tune
    would bury them.

    A run's next segment may be out before Tune has told the end of its last one: so nothing here
    goes by runs.
    """

    def __init__(
        self, plan: Plan, data: Path, resources: Resources, interrupts: Interrupts, deadline: float
    ) -> None:
        super().__init__(metric=None, mode=None)
        self.plan, self.data, self.resources, self.interrupts, self.deadline = (
            plan,
            data,
            resources,
            interrupts,
            deadline,
        )
        self.folder = plan.ledger.folder.resolve()
        self.error: Exception | None = None
        self.names: dict[str, str] = {}  # Tune trial that has not ended → its segment
        self.cards, self.held = Cards(), set[str]()  # held: of these trials, those that hold a card
        self.given_all = False  # Tune begins no trial any more
        self.trials: dict[str, Any] = {}
        self.num_given = 0
        self.num_killed, self.unexplained = num_killed_for_memory(), 0

    @property
    def stopping(self) -> bool:
        """Whether the whole run ends, by a signal, at the deadline or for an error of ours: no
        segment dies of that.
        """
        return (
            time.monotonic() >= self.deadline
            or bool(self.interrupts.signal)
            or self.error is not None
        )

    def suggest(self, trial_id: str) -> Any:
        if self.full:
            self.given_all = True
            return Searcher.FINISHED
        if len(self.names) >= self.resources.workers:
            return None
        segment = self._guarded(self._hand_out)
        if segment is None:
            self.given_all = bool(self.error) or self.plan.done()
            return Searcher.FINISHED if self.given_all else None
        self.names[trial_id] = segment.name
        self.num_given += 1
        shunned = tuple(self.cards.shunned)
        order = segment.order(self.folder, self.data, self.resources, shunned)
        return self._guarded(lambda: self._told(order)) or Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        report = Report.from_json(result["report"])
        told = report.told
        if isinstance(told, Outcome):
            if told.held:
                self.held.add(trial_id)
            self._guarded(lambda: self._finish(report.segment, told))
        else:
            self._guarded(lambda: self.plan.epoch(report.segment, told))

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        name = self.names.pop(trial_id, "")
        self.held.discard(trial_id)
        # where all stops it is to be continued, not failed; and it may have told its end itself
        if not self.stopping and name in self.plan.live:
            self._salvage(name)
            words = left(run_log.output_path(self.folder, name))
            self._guarded(lambda: self._finish(name, words or self._death(trial_id)))

    def _salvage(self, segment: str) -> None:
        """Bring here what a worker that is gone has left elsewhere."""

    def renew(self) -> None:
        """Be ready for a new set of Tune's trials: of a segment whose end was not told, the worker
        is gone.
        """
        for trial_id in list(self.names):
            self.on_trial_complete(trial_id)
        self.trials, self.num_given, self.given_all = {}, 0, False

    @property
    def full(self) -> bool:
        """Whether Tune has had all the trials that it may have in one go."""
        return self.num_given >= MOST_TRIALS

    def settle(self, trials: list[Any]) -> None:
        """Take in the ends that Tune does not tell: of a worker that cannot be made ready for its
        next segment.
        """
        self.trials |= {trial.trial_id: trial for trial in trials[len(self.trials) :]}
        for trial_id in [
            one for one in self.names if one in self.trials and self.trials[one].is_finished()
        ]:
            self.on_trial_complete(trial_id)
        if self.given_all and self.names.keys() <= self.held:
            for trial_id in self.held:  # Tune waits for no one else
                run_log.discard(run_log.output_path(self.folder, self.names[trial_id]))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _guarded(self, action: Callable[[], Any]) -> Any:
        if self.error is None:
            try:
                return action()
            except Exception as error:
                self.error = error
        return None

    def _finish(self, segment: str, outcome: Outcome) -> None:
        """Raises as `Plan.finish`, and MachineError where no GPU is left."""
        if segment in self.plan.live:
            outcome = self.cards.take(self.plan.live[segment], outcome)
        self.plan.finish(segment, outcome)
        if len(self.held) >= self.resources.workers:
            gone = ", ".join(map(named, self.cards.shunned))
            raise MachineError(
                f"no GPU is left to train on: {gone} lost process after process, with errors that "
                "logs/ has; nothing is lost, the same command goes on once they are sound"
            )

    def _told(self, order: Order) -> dict[str, str]:
        """What a worker is told; as JSON: Tune repeats a config, flattened, in every result."""
        return {"order": order.to_json()}

    def _death(self, trial_id: str) -> Outcome:  # noqa: ARG002
        """The outcome of a segment whose worker is gone. Where memory was short, fewer work from
        here on.
        """
        before, self.num_killed = self.num_killed, num_killed_for_memory()
        self.unexplained += self.num_killed - before
        if self.unexplained <= 0:
            return Outcome(status="failed", error="the worker process died", retry=True)
        self.unexplained -= 1
        workers = self.resources.workers
        self.resources = replace(self.resources, workers=max(1, workers - 1))
        fewer = f"from here on {plural(workers - 1, 'run')} at the same time"
        error = (
            "the worker process was killed for want of memory; "
            f"{fewer if workers > 1 else 'no other was at work'}"
        )
        return Outcome(status="failed", error=error, retry=True, blameless=workers > 1)

    def _hand_out(self) -> Segment | None:
        segment = self.plan.next()
        if segment is not None:
            lease.grant(checkpoint_folder(self.folder, segment.run), segment.name)
        return segment


class InTurn(FIFOScheduler):
    """First come, first served, as Tune's own, which looks at every trial there ever was each
    time.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        pending = [
            trial for trial in tune_controller.get_live_trials() if trial.status == Trial.PENDING
        ]
        return min(pending, key=lambda trial: (len(trial.trial_id), trial.trial_id), default=None)


class Ended(BaseException):
    """The whole run ends: not an Exception, for which Tune would wait for its workers, up to 15
    seconds.
    """


class Heartbeat(tune.Callback):
    """Lets the progress block breathe while nothing is reported, and ends the whole run when
    `segments` says so.
    """

    def __init__(self, segments: Segments, on_step: Callable[[], None]) -> None:
        self.segments, self.on_step = segments, on_step
        self.asked, self.answered = float("inf"), False  # asked: since when a worker is waited for

    def on_step_end(self, *, trials: list[Any], **_: Any) -> None:
        self.segments.settle(trials)
        self.segments._guarded(lambda: self._require_an_answer(trials))
        self.segments._guarded(self.on_step)
        if self.segments.stopping:
            raise Ended

    def _require_an_answer(self, trials: list[Any]) -> None:
        """Raise MachineError where Ray, asked for workers, gives none: it would wait for ever."""
        self.answered = self.answered or any(trial.status != Trial.PENDING for trial in trials)
        if trials:
            self.asked = min(self.asked, time.monotonic())
        if not self.answered and time.monotonic() - self.asked > ANSWER_SECONDS:
            asked = self.segments.resources
            what = (
                f"{asked.gpus_per_trial:g} of {plural(asked.num_gpus, 'GPU')}"
                if asked.gpus_per_trial
                else "one core"
            )
            raise MachineError(
                f"Ray has given no worker in {ANSWER_SECONDS:g} s; each run asks for {what}; "
                "nothing is lost, the same command goes on"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run(
    plan: Plan,
    resources: Resources,
    data: Path,
    *,
    interrupts: Interrupts,
    deadline: float = float("inf"),
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """See `Executor`."""
    segments = Segments(plan, data, resources, interrupts, deadline)
    with explained(segments):
        run_log.clear(segments.folder)
        with ray_node.running(segments.folder, resources, interrupts) as temp:
            train(segments, temp / "tune", Heartbeat(segments, on_step))


def train(
    segments: Segments,
    storage: Path,
    heartbeat: Heartbeat,
    request: Callable[[dict[str, float]], Any] = lambda share: share,
) -> None:
    """Train all segments on the Ray that is joined. `storage`, which Tune writes in, must be seen
    by its workers; `request`: what is asked of Ray for a run, of its share.
    """
    with contextlib.suppress(Ended):
        _tuner(segments, storage, heartbeat, request).fit()
        while segments.full and not segments.stopping:
            shutil.rmtree(storage, ignore_errors=True)
            segments.renew()
            if segments.plan.outstanding():
                _tuner(segments, storage, heartbeat, request).fit()


@contextlib.contextmanager
def explained(segments: Segments) -> Iterator[None]:
    """Raises what `segments` kept from Tune, and MachineError for what Ray raises by itself."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if segments.error is None and not segments.interrupts.signal:
            said = printable(str(error).strip().partition("\n")[0].rstrip("."), 300)
            raise MachineError(
                f"Ray stopped: {type(error).__name__}: {said}; the same command goes on"
            ) from error
    if segments.error is not None:
        raise segments.error


def _tuner(
    segments: Segments,
    storage: Path,
    heartbeat: Heartbeat,
    request: Callable[[dict[str, float]], Any],
) -> tune.Tuner:
    # without it Tune, which knows nothing of the searcher's own limit, prepares one worker at a
    # time
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(segments.resources.workers)
    gpus = segments.resources.gpus_per_trial
    share = {"cpu": 1.0} | ({"gpu": gpus} if gpus else {})
    return tune.Tuner(
        tune.with_resources(train_segment, request(share)),
        tune_config=tune.TuneConfig(
            search_alg=segments, scheduler=InTurn(), num_samples=-1, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="segments", storage_path=str(storage), verbose=0, callbacks=[heartbeat]
        ),
    )
