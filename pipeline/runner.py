"""Ray Tune as the executor: segments of a plan onto GPUs and cores, in workers that stay warm. The only import of ray.

Tune's own snapshots, loggers, schedulers and `Tuner.restore` are not used: the ledger is the truth (docs/architecture.md).
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import MachineError
from pipeline.evidence import evidence_path
from pipeline.machine import Resources, temp_folder
from pipeline.plan import Plan, Segment, checkpoint_folder

# Read by ray on import: loopback only, no telemetry, silence, no chdir, no nice 15, no snapshots, our own signal handlers.
os.environ.update(
    {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_worker_niceness": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AUTH_MODE": "disabled",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
)

import ray
from ray import tune
from ray.tune.search import Searcher

WATCH_SECONDS = 2.0
OBJECT_STORE_BYTES = 80 * 2**20  # only dicts travel; pictures are memory-mapped


class Interrupts:
    """SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process at once."""

    def __init__(self) -> None:
        self.signal = 0

    def install(self) -> None:
        """Take the two signals over; Ray sets handlers of its own, so again after it has started."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: object) -> None:
        if self.signal:
            os._exit(128 + number)
        self.signal = number


class Segments(Searcher):
    """Hands the plan's segments out as short Tune trials. Errors are kept in `error`, since Tune would bury them."""

    def __init__(self, plan: Plan, folder: Path, data: Path, resources: Resources) -> None:
        super().__init__(metric=None, mode=None)
        self.plan, self.folder, self.data, self.resources = plan, folder, data, resources
        self.error: Exception | None = None
        self.stopping = False  # segments that Tune ends from now on are to be continued, not failed
        self.runs: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        segment = self._guarded(self.plan.next)
        if segment is None:
            return Searcher.FINISHED if self.error or self.plan.done() else None
        self.runs[trial_id] = segment.run
        return self._order(segment)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        run, event = self.runs[trial_id], json.loads(result["event"])
        if "metrics" in event:
            self._guarded(lambda: self.plan.epoch(run, event["metrics"]))
        else:
            self._guarded(lambda: self.plan.finish(run, event["outcome"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002
        run = self.runs.pop(trial_id, "")
        if run in self.plan.live and not self.stopping:
            died = {"status": "failed", "error": "the worker process died", "retry": True}
            self._guarded(lambda: self.plan.finish(run, died))

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

    def _order(self, segment: Segment) -> dict[str, str]:
        """A segment for a worker process, as JSON: Tune repeats a config, flattened, in every result."""
        order = {
            "config": segment.config.model_dump(mode="json"),
            "replicate": segment.replicate,
            "seed": segment.seed,
            "stop": segment.stop,
            "reported": segment.reported,
            "test": segment.test,
            "folder": str(checkpoint_folder(self.folder, segment.run)),
            "evidence": str(evidence_path(self.folder, segment.run)),
            "data": str(self.data),
            "device": self.resources.device,
            "num_processes": self.resources.processes,
        }
        return {"order": json.dumps(order)}


class Stop(tune.Stopper):
    """Ends the whole run on a signal, at the deadline (monotonic seconds), or after an error of ours."""

    def __init__(self, segments: Segments, interrupts: Interrupts, deadline: float) -> None:
        self.segments, self.interrupts, self.deadline = segments, interrupts, deadline

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002  (Tune calls by name)
        return False

    def stop_all(self) -> bool:
        late = time.monotonic() >= self.deadline
        self.segments.stopping = late or bool(self.interrupts.signal) or self.segments.error is not None
        return self.segments.stopping

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Heartbeat(tune.Callback):
    """Lets the progress block breathe while nothing is reported, and puts our signal handlers back after Tune's."""

    def __init__(self, interrupts: Interrupts, on_step: Callable[[], None]) -> None:
        self.interrupts, self.on_step = interrupts, on_step

    def setup(self, **_: Any) -> None:
        self.interrupts.install()

    def on_step_end(self, **_: Any) -> None:
        self.on_step()

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
    """Train all that `plan` hands out on the pictures in cache folder `data`.

    Returns when the plan is done, when a signal came, or when `deadline` (monotonic seconds) has passed.
    Raises MachineError where Ray fails, and whatever the plan raises.
    """
    folder = plan.ledger.folder.resolve()
    temp = temp_folder(folder)
    segments = Segments(plan, folder, data, resources)
    over = threading.Event()
    try:
        shutil.rmtree(temp, ignore_errors=True)  # what a killed run left
        temp.mkdir(mode=0o700, parents=True)
        _start_ray(resources, temp)
        threading.Thread(target=_watch, args=(over, interrupts), name="ray watch", daemon=True).start()
        interrupts.install()
        _tuner(segments, resources, temp, Stop(segments, interrupts, deadline), Heartbeat(interrupts, on_step)).fit()
    except Exception as error:
        if segments.error is None and not interrupts.signal:
            raise MachineError(f"Ray stopped: {type(error).__name__}: {error}; the same command goes on") from error
    finally:
        over.set()
        ray.shutdown()
        interrupts.install()
        shutil.rmtree(temp, ignore_errors=True)
    if segments.error is not None:
        raise segments.error


def _start_ray(resources: Resources, temp: Path) -> None:
    ray.init(
        address="local",
        num_cpus=resources.workers,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(temp),
    )
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # a worker's death is told by the plan


def _watch(over: threading.Event, interrupts: Interrupts) -> None:
    """Leave at once when a process of Ray itself has died: the driver would wait for it for minutes, or for ever.

    A signal to the whole process group ends Ray too: then it is the signal that ended the command.
    """
    while not over.wait(WATCH_SECONDS):
        node = ray._private.worker._global_node
        if node is not None and node.dead_processes() and not over.wait(WATCH_SECONDS):
            what = f"signal {interrupts.signal} ended Ray" if interrupts.signal else "a process of Ray died"
            sys.stderr.write(f"error: {what}; nothing is lost, the same command goes on from here\n")
            sys.stderr.flush()
            os._exit(128 + interrupts.signal if interrupts.signal else MachineError.exit_code)


def _tuner(segments: Segments, resources: Resources, temp: Path, stop: Stop, heartbeat: Heartbeat) -> tune.Tuner:
    share = {"cpu": 1.0} | ({"gpu": resources.gpus_per_trial} if resources.gpus_per_trial else {})
    return tune.Tuner(
        tune.with_resources(train_segment, share),
        tune_config=tune.TuneConfig(
            search_alg=segments, num_samples=-1, max_concurrent_trials=resources.workers, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="segments", storage_path=str(temp / "tune"), verbose=0, stop=stop, callbacks=[heartbeat]
        ),
    )


def train_segment(config: dict[str, str]) -> None:
    """What a Tune worker runs: one segment. Every epoch and, last, the outcome are reported to the driver."""
    from pipeline.worker import work  # in the worker alone: the driver needs no training core

    def report(**event: Any) -> None:
        tune.report({"event": json.dumps(event)})

    report(outcome=work(json.loads(config["order"]), on_epoch=lambda metrics: report(metrics=metrics)))
