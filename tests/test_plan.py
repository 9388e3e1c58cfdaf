import shutil
from collections import Counter
from pathlib import Path

import pytest

from pipeline.core.identity import run_key
from pipeline.engine.failures import MAX_ATTEMPTS, TooManyFailures
from pipeline.engine.order import Outcome
from pipeline.errors import MachineError
from pipeline.record.ledger import FILE, FORMAT, read_events
from pipeline.record.record import Record
from pipeline.study.schedulers import SCHEDULERS, Ladder
from pipeline.study.space import Choice, Float, Int, Space
from pipeline.study.study import Study
from tests.driver import Worker, drive, facts, open_plan
from tests.records import lines
from tests.studies import small_study

FEW_POINTS = Space(
    knobs={"batch_size": Choice(options=(16, 32)), "model.dropout": Choice(options=(0.0, 0.1))}
)
SIZES = Space(knobs={"model.width": Int(low=2, high=32), "model.dropout": Float(low=0.0, high=0.5)})
WAYS = pytest.mark.parametrize("scheduler", SCHEDULERS)


def search_study(**fields) -> Study:
    """Rungs at epochs 1, 2, 4 and enough trials for the sampler to have learnt something."""
    uses = SCHEDULERS[fields.get("scheduler", "promotion")].uses
    rungs = {"reduction": 2, "num_rungs": 3} if "num_rungs" in uses else {}
    return small_study(**{"epochs": 4, "num_trials": 11, **rungs, **fields})


def trouble() -> Worker:
    """One trial in a few diverges, some runs die once or twice, none for good."""
    return Worker(
        fails=lambda config, attempts: attempts < int(config.fingerprint(), 16) % 4 % 3,
        diverges=lambda config: (
            int(config.fingerprint(), 16) % 5 == 0 and config.augment.strength == 0
        ),
    )


def impatient() -> Worker:
    """The arms with augmentation, and about half of the trials, stop after their second epoch."""

    def patience(config):
        drawn = config.model.dropout not in (0.0, 0.25)
        return 2 * (int(config.fingerprint(), 16) % 2 if drawn else config.augment.strength > 0)

    return Worker(patience=patience)


def short_of_memory() -> Worker:
    """Some runs take four parts of a batch, some trials do not fit at all."""

    def needs(config):
        drawn = config.model.dropout not in (0.0, 0.25)
        return {0: 4, 1: 1000 * drawn}.get(int(config.fingerprint(), 16) % 4, 0)

    return Worker(needs=needs)


def by_run(folder: Path, kind: str) -> Counter[str]:
    return Counter(event["run"] for event in lines(folder) if event["type"] == kind)


def check_whole(folder: Path, record: Record, study: Study) -> None:
    """What holds for every finished study, however it got there."""
    assert Record.of(read_events(folder)) == record
    assert len(record.trial_keys) == study.search.num_trials
    epochs = Counter(
        (e["run"], e["metrics"]["epoch"]) for e in lines(folder) if e["type"] == "epoch"
    )
    assert set(epochs.values()) == {1}
    for run in record.runs.values():
        assert run.status in ("complete", "stopped", "diverged", "failed")
        assert [epoch["epoch"] for epoch in run.epochs] == list(range(1, len(run.epochs) + 1))
        if run.status == "complete":
            assert len(run.epochs) == (2 if run.early else run.config["epochs"])
            assert run.num_params == 1234
    for arm, runs in record.arms().items():
        assert [run.replicate for run in runs] == list(range(1, study.ablation.replicates + 1)), arm


@WAYS
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_whole_study(tmp_path, scheduler, sampler):
    study = search_study(scheduler=scheduler, sampler=sampler)
    worker = Worker()
    record = drive(open_plan(tmp_path, study), worker)
    check_whole(tmp_path, record, study)
    assert len(set(worker.trained)) == len(worker.trained)
    statuses = Counter(run.status for run in record.trials())
    assert statuses["complete"] >= 1
    assert (statuses["stopped"] >= 1) == (scheduler != "none")
    ladder = study.search.ladder
    for run in record.trials():
        assert set(run.rungs) == set(range(ladder.first(4, run.number), max(run.rungs) + 1))
        assert len(run.epochs) == ladder.stop(4, max(run.rungs))
    assert all(
        run.status == "complete" and run.test_acc for runs in record.arms().values() for run in runs
    )
    assert record.best_trial().status == "complete"


@WAYS
def test_the_baseline_is_trial_0_and_the_arms_come_after_the_search(tmp_path, scheduler):
    study = search_study(scheduler=scheduler)
    record = drive(open_plan(tmp_path, study), Worker())
    assert record.trials()[0].config == study.baseline.model_dump(mode="json")
    kinds = [
        record.runs[event["run"]].kind for event in lines(tmp_path) if event["type"] == "start"
    ]
    assert kinds == sorted(kinds, reverse=True)
    order = [(e["replicate"], e["arm"]) for e in lines(tmp_path) if e["type"] == "arm"]
    reference, *others = [arm.name for arm, _ in study.arms()]
    assert order == [(1, reference), (2, reference), *((r, arm) for r in (1, 2) for arm in others)]


@pytest.mark.parametrize(("format", "epochs"), [(FORMAT, 2), (2, 1)])
def test_a_trial_is_worth_its_level_at_a_rung(tmp_path, format, epochs):
    """Of 18 epochs the last two; in ledgers from before there were levels the last one alone."""
    study = search_study(num_trials=3, epochs=18, replicates=1)
    record = drive(open_plan(tmp_path, study, format=format), Worker())
    for run in record.trials():
        for rung, value in run.rungs.items():
            stop = study.search.ladder.stop(18, rung)
            last = [e["val_acc"] for e in run.epochs[:stop]][-(epochs if stop == 18 else 1) :]
            assert value == pytest.approx(sum(last) / len(last))
    complete = [run for run in record.trials() if run.status == "complete"]
    assert complete
    assert all(run.value == (2, run.rungs[2]) for run in complete)


def test_the_best_of_a_rung_go_on(tmp_path):
    record = drive(open_plan(tmp_path, search_study()), Worker())
    for rung in range(2):
        reached = [run for run in record.trials() if rung in run.rungs]
        sent = [run for run in reached if rung + 1 in run.rungs]
        left = [run for run in reached if rung + 1 not in run.rungs]
        assert len(sent) >= len(reached) // 2
        assert max(run.rungs[rung] for run in left) <= max(run.rungs[rung] for run in sent)


def test_the_replicates_of_all_arms_share_seeds_and_no_two_replicates_do(tmp_path):
    study = search_study(num_trials=1)
    plan, seeds = open_plan(tmp_path, study), {}
    worker = Worker()
    while (segment := plan.next()) is not None:
        seeds.setdefault(segment.seeds.replicate, set()).add(segment.seeds.run)
        assert segment.test == (segment.seeds.replicate > 0)
        worker.run(plan, segment)
    plan.ledger.close()
    assert set(seeds) == {0, 1, 2}
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 3


def prefixes(folder: Path, target: Path) -> list[Path]:
    """A study folder for every number of events that a killed process may have left."""
    lines = (folder / FILE).read_bytes().splitlines(keepends=True)
    made = []
    for count in range(len(lines)):
        made.append(target / f"{count:04d}")
        made[-1].mkdir(parents=True)
        (made[-1] / FILE).write_bytes(b"".join(lines[:count]))
    return made


def telling(folder: Path, target: Path, every: int) -> list[Path]:
    """Of all `prefixes`, every so-manyth, and those that end between two kinds of events which
    follow each other there for the first time: a kill is like another between the same.
    """
    seen: set[tuple[str, str]] = set()
    kinds = ["", *(event["type"] for event in lines(folder))]
    chosen = []
    for number, killed in enumerate(prefixes(folder, target)):
        pair = (kinds[number], kinds[number + 1])
        if pair not in seen or number % every == 0:
            chosen.append(killed)
        seen.add(pair)
    return chosen


@pytest.mark.parametrize(
    ("study", "make_worker"),
    [
        *(
            pytest.param(search_study(replicates=1, scheduler=name), Worker, id=name)
            for name in SCHEDULERS
        ),
        *(
            pytest.param(search_study(replicates=1, scheduler=name), make, id=f"{name}, {case}")
            for name in ("promotion", "hyperband", "median")
            for case, make in {"trouble": trouble, "early": impatient}.items()
        ),
        pytest.param(search_study(replicates=1), short_of_memory, id="short of memory"),
        pytest.param(search_study(replicates=2, race=3), trouble, id="race"),
        *(
            pytest.param(
                search_study(
                    replicates=1, race=3, space=SIZES, objectives=("params", "macs"), sampler=name
                ),
                trouble,
                id=f"front, {name}",
            )
            for name in ("tpe", "nsga2")
        ),
        pytest.param(
            search_study(space=FEW_POINTS, num_trials=9, replicates=1), Worker, id="twins"
        ),
        pytest.param(
            search_study(space=FEW_POINTS, num_trials=9, replicates=1),
            short_of_memory,
            id="twins, short of memory",
        ),
    ],
)
def test_a_study_killed_after_any_event_ends_as_if_it_had_not_been(tmp_path, study, make_worker):
    """Of the default one after every event, of the others after some of all kinds."""
    expected = drive(open_plan(tmp_path / "whole", study), make_worker())
    check_whole(tmp_path / "whole", expected, study)
    default = study.search == search_study(replicates=1).search and make_worker is Worker
    for folder in telling(tmp_path / "whole", tmp_path / "killed", every=1 if default else 18):
        record = drive(open_plan(folder, study), make_worker())
        assert facts(record) == facts(expected), folder.name
        check_whole(folder, record, study)
        shutil.rmtree(folder)


def test_a_study_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    study = search_study()
    expected = drive(open_plan(tmp_path / "whole", study), trouble())
    folder, worker = tmp_path / "killed", trouble()
    for _ in range(1000):
        plan = open_plan(folder, study)
        segment = plan.next()
        if segment is None:
            break
        for step in worker.steps(plan, segment)[:2]:
            step()
        plan.ledger.close()
    plan.ledger.close()
    assert facts(drive(open_plan(folder, study), worker)) == facts(expected)


@WAYS
def test_several_workers_finish_the_same_plan(tmp_path, scheduler):
    study = search_study(scheduler=scheduler)
    for seed in range(3):
        folder = tmp_path / str(seed)
        worker = trouble()
        record = drive(open_plan(folder, study), worker, workers=4, seed=seed)
        check_whole(folder, record, study)
        assert {run.status for runs in record.arms().values() for run in runs} <= {
            "complete",
            "diverged",
        }


def test_several_workers_killed_at_any_time_lose_no_run(tmp_path):
    study = search_study()
    drive(open_plan(tmp_path / "whole", study), trouble(), workers=3, seed=1)
    for folder in prefixes(tmp_path / "whole", tmp_path / "killed")[::6]:
        worker = trouble()
        record = drive(open_plan(folder, study), worker, workers=3, seed=2)
        check_whole(folder, record, study)
        assert len(set(worker.trained)) == len(worker.trained)


@WAYS
def test_a_larger_budget_goes_on_from_the_smaller_one(tmp_path, scheduler):
    small = search_study(scheduler=scheduler, num_trials=6, replicates=2)
    large = search_study(scheduler=scheduler, num_trials=10, replicates=3)
    worker = Worker()
    before = facts(drive(open_plan(tmp_path, small), worker))
    record = drive(open_plan(tmp_path, large), worker)
    check_whole(tmp_path, record, large)
    assert len(set(worker.trained)) == len(worker.trained)
    trials, arms = facts(record)
    assert {number: trials[number][:2] for number in before[0]} == {
        number: found[:2] for number, found in before[0].items()
    }
    assert {name: arms[name] for name in before[1]} == before[1]
    assert len(arms) == 3 * 4
    assert record.study == large


def test_a_finished_study_has_nothing_left_to_do(tmp_path):
    study = search_study()
    drive(open_plan(tmp_path, study), trouble())
    worker = Worker()
    plan = open_plan(tmp_path, study)
    assert plan.done()
    assert not plan.outstanding()
    drive(plan, worker)
    assert worker.trained == []


def test_a_smaller_budget_takes_nothing_back(tmp_path):
    worker = Worker()
    before = facts(drive(open_plan(tmp_path, search_study()), worker))
    after = facts(drive(open_plan(tmp_path, search_study(num_trials=3, replicates=1)), worker))
    assert after == before


def test_the_arms_alone_and_the_search_afterwards(tmp_path):
    study, worker = search_study(), Worker()
    plan = open_plan(tmp_path, study, with_search=False)
    assert plan.total_epochs() == (0, 4 * 2 * 4)
    record = drive(plan, worker)
    assert record.trials() == []
    arms = facts(record)[1]
    assert len(arms) == 8
    record = drive(open_plan(tmp_path, study), worker)
    assert facts(record)[1] == arms
    assert facts(record)[0] == facts(drive(open_plan(tmp_path / "other", study), Worker()))[0]
    assert len(set(worker.trained)) == len(worker.trained)


def test_a_search_interrupted_by_the_arms_goes_on(tmp_path):
    study, worker = search_study(), Worker()
    plan = open_plan(tmp_path, study)
    for _ in range(7):
        worker.run(plan, plan.next())
    worker.steps(plan, plan.next())[0]()
    plan.ledger.close()
    between = drive(open_plan(tmp_path, study, with_search=False), worker)
    assert "stopped" not in {run.status for run in between.trials()}, "the search is not over"
    record = drive(open_plan(tmp_path, study), worker)
    check_whole(tmp_path, record, study)
    assert len(set(worker.trained)) == len(worker.trained)


def test_after_the_searchs_time_the_arms_begin_and_the_search_takes_what_they_leave(tmp_path):
    plan, worker = open_plan(tmp_path, search_study()), Worker()
    worker.run(plan, plan.next())
    plan.past_search = True
    record = drive(plan, worker)
    begun = [run.kind for run in record.runs.values()]
    assert begun == ["trial", *["arm"] * 8, *["trial"] * (len(record.trials()) - 1)]
    check_whole(tmp_path, record, search_study())
    assert not plan.outstanding()


def test_asking_what_is_outstanding_changes_nothing(tmp_path):
    study, worker = search_study(), Worker()
    plan = open_plan(tmp_path / "asked", study)
    while (segment := plan.next()) is not None:
        assert plan.outstanding()
        written = (tmp_path / "asked" / "ledger.jsonl").read_bytes()
        plan.remaining_epochs()
        assert (tmp_path / "asked" / "ledger.jsonl").read_bytes() == written
        worker.run(plan, segment)
    assert not plan.outstanding()
    assert plan.remaining_epochs() == (0.0, 0)
    plan.close_search()
    plan.ledger.close()
    asked = Record.of(read_events(tmp_path / "asked"))
    assert facts(asked) == facts(drive(open_plan(tmp_path / "plain", study), Worker()))


def test_the_time_that_arms_are_spared_is_the_searchs(tmp_path):
    plan = open_plan(tmp_path, search_study(), with_search=False)
    drive(plan, Worker())
    more = open_plan(tmp_path, search_study())
    search, arms = more.remaining_epochs()
    assert arms == 0
    assert search == pytest.approx(more.total_epochs()[0])
    more.ledger.close()


def test_a_configuration_proposed_twice_is_trained_once(tmp_path):
    study = search_study(space=FEW_POINTS, num_trials=9)
    worker = Worker()
    record = drive(open_plan(tmp_path, study), worker)
    assert len(record.trial_keys) == 9
    assert len(record.trials()) <= 4
    assert by_run(tmp_path, "twin").total() == 9 - len(record.trials())
    assert len(set(worker.trained)) == len(worker.trained)
    assert [run.number for run in record.trials()] == sorted(run.number for run in record.trials())


def test_short_trials_have_fewer_rungs_and_share_the_last_one(tmp_path):
    space = Space(
        knobs={"epochs": Choice(options=(1, 2, 4)), "model.dropout": Float(low=0.0, high=0.5)}
    )
    study = search_study(space=space, num_trials=14)
    expected = drive(open_plan(tmp_path / "whole", study), Worker())
    firsts = {1: 2, 2: 1, 4: 0}
    assert {run.config["epochs"] for run in expected.trials()} == set(firsts)
    for run in expected.trials():
        assert min(run.rungs) == firsts[run.config["epochs"]]
        assert (run.status == "complete") == (2 in run.rungs)
    for folder in prefixes(tmp_path / "whole", tmp_path / "killed")[::7]:
        assert facts(drive(open_plan(folder, study), Worker())) == facts(expected)


def test_a_diverged_trial_ends_and_counts_as_the_worst(tmp_path):
    study = search_study()
    worker = Worker(diverges=lambda config: config.optimizer.name == "sgd")
    record = drive(open_plan(tmp_path, study), worker)
    check_whole(tmp_path, record, study)
    diverged = [run for run in record.trials() if run.status == "diverged"]
    assert {run.config["optimizer"]["name"] for run in diverged} == {"sgd"}
    assert all(run.rungs == {} and "NaN" in run.error for run in diverged)
    assert all(
        count == 1
        for key, count in by_run(tmp_path, "start").items()
        if key in {run.key for run in diverged}
    )
    assert record.best_trial().config["optimizer"]["name"] == "adam"


def test_a_worker_that_dies_is_tried_again_and_loses_no_epoch(tmp_path):
    study = search_study(num_trials=0)
    worker = Worker(
        fails=lambda config, attempts: config.augment.strength > 0 and attempts < MAX_ATTEMPTS - 1
    )
    record = drive(open_plan(tmp_path, study), worker)
    check_whole(tmp_path, record, study)
    runs = [run for runs in record.arms().values() for run in runs]
    assert {run.status for run in runs} == {"complete"}
    assert {run.attempts for run in runs} == {0, MAX_ATTEMPTS - 1}
    assert all(run.error == "" for run in runs)
    assert len(set(worker.trained)) == len(worker.trained)


@pytest.mark.parametrize(("retry", "attempts"), [(True, MAX_ATTEMPTS), (False, 1)])
def test_a_run_that_keeps_failing_is_given_up_and_the_others_go_on(tmp_path, retry, attempts):
    study = search_study(num_trials=0, replicates=1)
    worker = Worker(
        fails=lambda config, _: config.augment.strength > 0 and config.model.dropout > 0,
        retry=retry,
    )
    record = drive(open_plan(tmp_path, study), worker)
    statuses = {arm: [run.status for run in runs] for arm, runs in record.arms().items()}
    assert statuses.pop("dropout + augmentation") == ["failed"]
    assert all(found == ["complete"] for found in statuses.values())
    (failed,) = record.arms()["dropout + augmentation"]
    assert failed.attempts == attempts
    assert failed.error == "the worker process died"
    assert by_run(tmp_path, "start")[failed.key] == attempts


def test_a_run_that_does_not_fit_goes_on_in_more_parts_of_a_batch(tmp_path):
    """It knows what fits from there on, in the next session too, as do runs that take as much
    memory, and no attempt is counted.
    """
    study = search_study(num_trials=5)
    worker = Worker(needs=lambda config: 4 if config.optimizer.name == "adam" else 0)
    record = drive(open_plan(tmp_path, study), worker)
    check_whole(tmp_path, record, study)
    assert Counter(run.status for run in record.trials()).keys() <= {"complete", "stopped"}
    assert by_run(tmp_path, "fail") == {}
    assert len(set(worker.trained)) == len(worker.trained)
    parts = {}
    for event in lines(tmp_path):
        if event["type"] == "start":
            parts.setdefault(event["run"], []).append(event.get("parts", 0))
    for key, run in record.runs.items():
        small = run.config["optimizer"]["name"] != "adam"
        assert run.parts == (0 if small else 4)
        assert small or parts[key][:3] == [0, 2, 4] or parts[key][0] == 4
        assert set(parts[key][3:]) <= ({0} if small else {4}), "what is learnt holds"
        assert run.config["accumulate"] == 1, "what was asked for stays"
    assert any(len(found) > 3 and found[-1] == 4 for found in parts.values())
    assert any(found[0] == 4 for found in parts.values())
    plan = open_plan(tmp_path, search_study(num_trials=5, replicates=3))
    plan.ledger.close()
    (some,) = [run for run in plan.record.trials() if run.number == 0]
    assert plan.failures.parts(some) == 4


def test_what_fits_nowhere_is_infeasible_and_says_nothing_of_the_machine(tmp_path):
    """More of them in a row than may fail, arms too; the search takes them for what diverged."""
    study = search_study(num_trials=12)
    whole = {"adam": 1000, "sgd": 0}
    worker = Worker(needs=lambda config: whole[config.optimizer.name])
    record = drive(open_plan(tmp_path / "short", study), worker)
    lost = [run for run in record.runs.values() if run.infeasible]
    assert len(lost) > 3
    assert {run.config["optimizer"]["name"] for run in lost} == {"adam"}
    assert {(run.status, run.error, run.attempts) for run in lost} == {("failed", "no memory", 1)}
    assert all(run.worst for run in lost)
    starts = by_run(tmp_path / "short", "start")
    # the first of those that take as much memory tries all, the others what it ended with
    tries = {starts[run.key] - (run.config["batch_size"] > 16) for run in lost}
    assert tries <= {4, 1, 0}
    assert 4 in tries
    assert len(tries) > 1
    assert any(run.status == "complete" for run in record.trials())
    diverging = Worker(diverges=lambda config: whole[config.optimizer.name] > 0)
    other = drive(open_plan(tmp_path / "diverging", study), diverging)
    assert [run.knobs for run in record.trials()] == [run.knobs for run in other.trials()]


def test_the_next_command_tries_an_arm_that_did_not_fit_once_more_and_no_trial(
    tmp_path,
):
    """A search was told of the trial; the arm may be on a larger device now."""
    study = search_study(num_trials=4)
    drive(open_plan(tmp_path, study), Worker(needs=lambda _: 1000))
    worker = Worker()
    record = drive(open_plan(tmp_path, study), worker)
    assert {run.status for run in record.trials()} == {"failed"}
    assert all(run.infeasible and run.given_up for run in record.trials())
    arms = [run for runs in record.arms().values() for run in runs]
    assert {(run.status, run.infeasible, run.parts) for run in arms} == {("complete", False, 16)}
    assert Record.of(read_events(tmp_path)) == record
    assert open_plan(tmp_path, study).done()


def test_what_never_fitted_is_tried_as_it_was_asked_for_by_the_next_command(tmp_path):
    """A larger device needs no parts; what has epochs already goes on in those of their last."""
    plan = open_plan(tmp_path, search_study(), with_search=False)
    for outcome in (
        Outcome(status="failed", error="no memory", parts=16),
        Outcome(status="failed", error="no memory", infeasible=True),
    ):
        segment = plan.next()
        plan.finish(segment.name, outcome)
    assert (segment.parts, plan.record.runs[segment.run].parts) == (16, 0)
    plan.ledger.close()
    again = open_plan(tmp_path, search_study(), with_search=False)
    first = again.next()
    assert (first.run, first.parts) == (segment.run, 0)
    again.ledger.close()


def test_different_runs_failing_one_after_another_end_the_study(tmp_path):
    study = search_study()
    with pytest.raises(TooManyFailures, match="the worker process died") as caught:
        drive(open_plan(tmp_path, study), Worker(fails=lambda *_: True, retry=False))
    assert caught.value.exit_code == 3
    record = drive(open_plan(tmp_path, study), Worker())
    assert Counter(run.status for run in record.trials())["failed"] == 0
    assert {run.status for runs in record.arms().values() for run in runs} == {"complete"}


def test_a_machine_that_fails_costs_no_run_an_attempt(tmp_path):
    study, worker = search_study(), Worker()
    plan = open_plan(tmp_path, study)
    segment = plan.next()
    with pytest.raises(MachineError, match="disk full"):
        plan.finish(segment.name, Outcome(status="machine", error="disk full"))
    plan.ledger.close()
    record = drive(open_plan(tmp_path, study), worker)
    check_whole(tmp_path, record, study)
    assert record.runs[segment.run].attempts == 0
    assert facts(record) == facts(drive(open_plan(tmp_path / "other", study), Worker()))


def test_failures_with_a_success_in_between_do_not_end_it(tmp_path):
    study = search_study(num_trials=0, replicates=3)
    worker = Worker(fails=lambda config, _: config.model.dropout > 0, retry=False)
    record = drive(open_plan(tmp_path, study), worker)
    assert Counter(run.status for runs in record.arms().values() for run in runs) == {
        "complete": 6,
        "failed": 6,
    }


def test_a_baseline_outside_the_space_is_trial_0_all_the_same(tmp_path):
    study = search_study(space=Space(knobs={"optimizer.lr": Float(low=0.5, high=0.9)}))
    record = drive(open_plan(tmp_path, study), Worker())
    check_whole(tmp_path, record, study)
    assert record.trials()[0].config == study.baseline.model_dump(mode="json")
    assert record.trials()[0].knobs == {}


def test_an_epoch_reported_twice_counts_once(tmp_path):
    plan, worker = open_plan(tmp_path, search_study()), Worker()
    segment = plan.next()
    step, *_ = worker.steps(plan, segment)
    step()
    step()
    assert len(plan.record.runs[segment.run].epochs) == 1
    plan.ledger.close()


def test_the_identity_of_a_run_holds_all_that_changes_its_result():
    config = search_study().baseline
    given = (config, "data", 1, 7, 1)
    others = [(config.override({"epochs": 9}), "data", 1, 7, 1)]
    others += [
        (config, "other", 1, 7, 1),
        (config, "data", 2, 7, 1),
        (config, "data", 1, 8, 1),
        (config, "data", 1, 7, 2),
    ]
    assert len({run_key(*case) for case in (given, *others)}) == 6
    assert run_key(*given) == run_key(*given)


def test_the_rungs_of_a_ladder():
    ladder = Ladder.halving(reduction=3, num_rungs=3)
    assert [ladder.stop(27, rung) for rung in range(ladder.first(27), 3)] == [3, 9, 27]
    assert [ladder.stop(2, rung) for rung in range(ladder.first(2), 3)] == [1, 2]
    assert (ladder.first(27), ladder.first(2), ladder.first(1)) == (0, 1, 2)
    assert ladder.expected(27) == pytest.approx(3 + 6 / 3 + 18 / 9)
    assert ladder.expected(1) == 1


def test_the_expected_cost_is_near_the_cost(tmp_path):
    expected, took = 0.0, 0
    for seed in range(5):  # which trials go on, and so the cost, is a draw
        plan, worker = (
            open_plan(tmp_path / str(seed), search_study(num_trials=40, seed=seed)),
            Worker(),
        )
        search, arms = plan.total_epochs()
        drive(plan, worker)
        searched = sum(len(run.epochs) for run in plan.record.trials())
        assert arms == len(worker.trained) - searched
        expected, took = expected + search, took + searched
    assert abs(expected - took) <= 0.2 * expected


def test_a_trial_that_stops_early_is_judged_at_every_rung_by_what_it_has(tmp_path):
    study = search_study(num_trials=12, replicates=4)
    record = drive(open_plan(tmp_path, study), impatient())
    early = [run for run in record.trials() if run.early]
    assert early
    assert len(early) < len(record.trials())
    for run in early:
        assert run.status == "complete"
        assert set(run.rungs) == set(range(min(run.rungs), study.search.num_rungs))
        assert run.rungs[study.search.num_rungs - 1] == max(
            epoch["val_acc"] for epoch in run.epochs
        )
    arms = [run for runs in record.arms().values() for run in runs]
    assert {run.early for run in arms} == {True, False}
    assert all(run.status == "complete" for run in arms)
