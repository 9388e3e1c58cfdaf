"""Tune's calls in every order that they come in: what belongs to a segment that has ended changes
nothing.
"""

import copy
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from driver import Worker, metrics, open_plan
from studies import small_study

from pipeline.engine import ray_tune
from pipeline.engine.failures import MAX_ATTEMPTS
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.order import Order, Outcome, Report
from pipeline.engine.queue import Plan
from pipeline.engine.ray_tune import Ended, Heartbeat, Searcher, Segments
from pipeline.errors import MachineError
from pipeline.machine import Resources
from pipeline.record.lease import FILE
from pipeline.record.ledger import read_events
from tests.records import lines

LATE = {
    "reached": Outcome(status="reached", best_epoch=1, num_params=1),
    "diverged": Outcome(status="diverged", error="train_loss is NaN"),
    "failed": Outcome(status="failed", error="lost", retry=True),
    "hopeless": Outcome(status="failed", error="wrong shape"),
    "machine": Outcome(status="machine", error="cannot write a checkpoint"),
}


class Tune:
    """Calls the searcher as Tune does; a trial is known by the number it was begun as."""

    def __init__(
        self, folder: Path, *, workers: int = 1, deadline: float = float("inf"), **study: Any
    ) -> None:
        # one trial: it is sent on from each of its rungs (epochs 1, 2 and 4) at once
        search = {"epochs": 4, "num_trials": 1, "reduction": 2, "num_rungs": 3, "replicates": 1}
        self.folder, self.interrupts = folder, Interrupts()
        self.plan: Plan = open_plan(folder, small_study(**{**search, **study}))
        self.segments = Segments(
            self.plan, folder / "cache", Resources(workers, 0.0), self.interrupts, deadline
        )
        self.orders: list[Order] = []

    def begin(self) -> int:
        given = self.segments.suggest(str(len(self.orders)))
        self.orders.append(Order.from_json(given["order"]))
        return len(self.orders) - 1

    def epoch(self, trial: int, number: int, *, segment_of: int | None = None) -> None:
        self._result(trial, segment_of, metrics(0.5, number))

    def outcome(
        self,
        trial: int,
        outcome: Outcome = LATE["reached"],
        *,
        segment_of: int | None = None,
    ) -> None:
        self._result(trial, segment_of, outcome)

    def reach(self, trial: int) -> None:
        """All that the trial's worker reports."""
        for number in range(self.orders[trial].reported + 1, self.orders[trial].stop + 1):
            self.epoch(trial, number)
        self.outcome(trial)

    def complete(self, trial: int, *, error: bool = False) -> None:
        self.segments.on_trial_complete(str(trial), error=error)

    def events(self, *kinds: str) -> list[str]:
        return [event.kind for event in read_events(self.folder) if event.kind in kinds]

    def _result(self, trial: int, segment_of: int | None, told: dict[str, float] | Outcome) -> None:
        order = self.orders[trial if segment_of is None else segment_of]
        self.segments.on_trial_result(str(trial), {"report": Report(order.segment, told).to_json()})


@pytest.fixture
def tune(tmp_path: Path) -> Tune:
    """Two workers, and a run that was sent on before Tune told the end of its former segment."""
    found = Tune(tmp_path, workers=2)
    found.reach(found.begin())
    found.begin()
    first, second = found.orders
    assert first.folder == second.folder
    assert first.segment != second.segment
    return found


@pytest.mark.parametrize("error", [False, True])
def test_the_end_of_a_former_trial_is_no_death_of_the_runs_new_segment(
    tune: Tune, error: bool
) -> None:
    tune.complete(0, error=error)
    tune.reach(1)
    tune.complete(1, error=error)
    assert tune.events("start", "fail", "rung") == ["start", "rung", "start", "rung"]
    assert tune.segments.error is None


def test_the_end_of_the_new_segment_is_a_death_before_and_after_the_former_ones(tune: Tune) -> None:
    tune.complete(1, error=True)
    tune.complete(0)
    assert tune.events("start", "fail") == ["start", "start", "fail"]
    tune.begin()
    tune.complete(1, error=True)
    assert tune.events("start", "fail") == ["start", "start", "fail", "start"], (
        "a death is counted once"
    )


def test_a_late_epoch_of_a_former_segment_is_not_the_new_ones(tune: Tune) -> None:
    tune.epoch(0, 2)
    assert tune.events("epoch") == ["epoch"]
    tune.epoch(1, 2)
    assert tune.events("epoch") == ["epoch", "epoch"]


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_a_late_outcome_of_a_former_segment_is_not_the_new_ones(tune: Tune, late: Outcome) -> None:
    before = copy.deepcopy(tune.plan.record.runs)
    tune.outcome(0, late)
    assert tune.segments.error is None
    assert tune.plan.record.runs == before
    tune.reach(1)
    assert tune.events("start", "rung", "fail", "end") == ["start", "rung", "start", "rung"]


def test_what_a_workers_former_thread_reports_into_its_next_trial_counts_for_neither(
    tune: Tune,
) -> None:
    tune.epoch(1, 2, segment_of=0)
    tune.outcome(1, LATE["machine"], segment_of=0)
    assert tune.events("epoch", "fail") == ["epoch"]
    tune.reach(1)
    assert tune.events("epoch", "rung") == ["epoch", "rung", "epoch", "rung"]


def test_results_after_the_end_of_their_trial_change_nothing(tune: Tune) -> None:
    tune.complete(1, error=True)
    tune.epoch(1, 2)
    tune.reach(1)
    assert tune.segments.error is None
    assert tune.events("epoch", "rung", "fail") == ["epoch", "rung", "fail"]


def test_a_segment_has_a_name_and_the_lease_before_its_worker_hears_of_it(tmp_path: Path) -> None:
    found = Tune(tmp_path)
    names = set()
    for _ in range(3):
        trial = found.begin()
        order = found.orders[trial]
        assert (order.folder / FILE).read_text() == order.segment
        names.add(order.segment)
        found.complete(trial)
    found.plan.ledger.close()
    later = Tune(tmp_path)
    later.begin()
    assert len({*names, later.orders[0].segment}) == 4, "of an earlier command's worker too"


def test_a_lease_that_cannot_be_given_ends_the_command(tmp_path: Path) -> None:
    found = Tune(tmp_path)
    (tmp_path / "checkpoints").touch()
    assert found.segments.suggest("0") == Searcher.FINISHED
    assert isinstance(found.segments.error, MachineError)


def test_a_heartbeat_that_fails_ends_the_command_with_its_own_words(tmp_path: Path) -> None:
    """A study's folder that is gone is seen there, where no event comes; Tune would bury it."""
    found = Tune(tmp_path / "study")
    found.begin()
    heart = Heartbeat(found.segments, found.plan.ledger.step)
    heart.on_step_end(trials=[])
    assert not found.segments.stopping
    shutil.rmtree(tmp_path / "study")
    found.plan.ledger._next_look = 0.0
    with pytest.raises(Ended):
        heart.on_step_end(trials=[])
    assert found.segments.stopping
    assert "has been removed" in str(found.segments.error)


def test_no_more_segments_are_out_than_there_are_workers(tmp_path: Path) -> None:
    found = Tune(tmp_path, workers=2, num_trials=6)
    first, _ = found.begin(), found.begin()
    assert found.segments.suggest("x") is None
    found.reach(first)
    assert found.segments.suggest("x") is None, (
        "the worker of a reported segment is not free before Tune says so"
    )
    found.complete(first)
    found.begin()


@pytest.mark.parametrize("way", ["signal", "deadline"])
def test_a_worker_that_ends_with_the_command_is_no_failure(tmp_path: Path, way: str) -> None:
    """A signal to the whole group of processes takes the workers first."""
    found = Tune(tmp_path)
    trial = found.begin()
    if way == "signal":
        found.interrupts.signal = 15
    else:
        found.segments.deadline = 0.0
    found.complete(trial, error=True)
    assert found.events("start", "fail") == ["start"]


class Trial:
    """What the searcher looks at of a Tune trial."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id, self.over = trial_id, False

    def is_finished(self) -> bool:
        return self.over


def test_an_end_that_tune_does_not_tell_is_seen_all_the_same(tmp_path: Path) -> None:
    """Of a worker that could not be made ready: its segment would be waited for for ever."""
    found = Tune(tmp_path)
    trials = [Trial(str(found.begin()))]
    found.segments.settle(trials)
    assert found.events("fail") == []
    trials[0].over = True
    found.segments.settle(trials)
    found.segments.settle(trials)
    assert found.events("fail") == ["fail"]
    trials.append(Trial(str(found.begin())))
    found.segments.settle(trials)
    found.reach(1)
    found.complete(1)
    assert found.events("start", "fail", "rung") == ["start", "fail", "start", "rung"]


def test_a_run_is_given_up_for_what_one_segment_does_not_for_what_all_did(tmp_path: Path) -> None:
    found = Tune(tmp_path)
    for _ in range(3):
        for _ in range(MAX_ATTEMPTS - 1):
            found.complete(found.begin(), error=True)
        trial = found.begin()
        found.reach(trial)
        found.complete(trial)
    assert Counter(found.events("fail", "rung", "end")) == {"fail": 6, "rung": 3, "end": 1}
    (run,) = found.plan.record.trials()
    assert run.status == "complete"
    for _ in range(MAX_ATTEMPTS):
        found.complete(found.begin(), error=True)
    assert found.plan.record.runs[next(reversed(found.plan.record.runs))].status == "failed"


def test_workers_without_tune_are_told_apart_by_segment_too(tmp_path: Path) -> None:
    plan, worker = (
        open_plan(tmp_path, small_study(epochs=4, num_trials=1, reduction=2, num_rungs=3)),
        Worker(),
    )
    first = plan.next()
    assert first is not None
    late = worker.steps(plan, first)
    worker.run(plan, first)
    second = plan.next()
    assert second is not None
    for step in late:
        step()
    assert plan.live == {second.name: second.run}


def test_workers_that_are_killed_for_memory_are_counted_out_and_no_run_is_blamed(
    tmp_path: Path, monkeypatch
) -> None:
    killed = iter([2, 2, 2, 3])
    found = Tune(tmp_path, workers=3, num_trials=6)
    found.segments.num_killed = 0
    monkeypatch.setattr(ray_tune, "num_killed_for_memory", lambda: next(killed))
    trials = [found.begin() for _ in range(3)]
    for trial in trials:
        found.complete(trial, error=True)
    errors = [event["error"] for event in lines(tmp_path) if event["type"] == "fail"]
    assert errors == [
        "the worker process was killed for want of memory; from here on 2 runs at the same time",
        "the worker process was killed for want of memory; from here on 1 run at the same time",
        "the worker process died",
    ]
    assert found.segments.resources.workers == 1
    assert sorted(found.plan.failures.attempts.values()) == [0, 0, 1]
    last = found.begin()
    found.complete(last, error=True)
    assert found.segments.resources.workers == 1
    assert "no other was at work" in lines(tmp_path)[-1]["error"]
    assert sum(found.plan.failures.attempts.values()) == 2


def test_tune_has_so_many_trials_and_then_begins_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ray_tune, "MOST_TRIALS", 2)
    found = Tune(tmp_path, workers=2, num_trials=3)
    first, second = found.begin(), found.begin()
    for trial in (first, second):
        found.reach(trial)
    found.complete(first)
    assert found.segments.suggest("x") == Searcher.FINISHED
    assert found.segments.full
    found.segments.renew()  # the second one's end was never told
    assert not found.segments.full
    assert not found.segments.names
    found.begin()
    assert not [event for event in lines(tmp_path) if event["type"] == "fail"]


def test_a_ray_that_gives_no_worker_ends_the_command_and_one_that_gave_one_never_does(
    tmp_path: Path, monkeypatch
) -> None:
    pending = SimpleNamespace(status="PENDING", trial_id="0", is_finished=lambda: False)
    running = SimpleNamespace(status="RUNNING", trial_id="0", is_finished=lambda: False)
    found = Tune(tmp_path)
    found.begin()
    beat = Heartbeat(found.segments, lambda: None)
    beat.on_step_end(trials=[pending])
    assert found.segments.error is None, "it has minutes"
    monkeypatch.setattr(ray_tune, "ANSWER_SECONDS", -1.0)
    beat.on_step_end(trials=[running])
    beat.on_step_end(trials=[pending])
    assert found.segments.error is None
    with pytest.raises(Ended):
        Heartbeat(found.segments, lambda: None).on_step_end(trials=[pending])
    assert isinstance(found.segments.error, MachineError)
    assert "has given no worker" in str(found.segments.error)
