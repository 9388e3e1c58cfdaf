"""A limit of time: what is measured beforehand, what fits, and a table that is whole when it is up.
Time is played: an epoch takes what its configuration says.
"""

import heapq
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.config import TrainConfig
from pipeline.core.costs import Cost, Shape
from pipeline.counts import duration
from pipeline.engine.measure import measured
from pipeline.engine.pace import Pace, Work, wall
from pipeline.engine.queue import Plan
from pipeline.engine.timetable import LEAST_ROWS, Left, Shares, Timetable
from pipeline.machine import Resources
from pipeline.record import events
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report.compose import document, read
from pipeline.session import forecast
from pipeline.session.forecast import Forecast, given_up, shape
from pipeline.study.load import load_study
from pipeline.study.study import Study
from pipeline.study.tuning import RACE, Replicated
from tests import commands
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study
from tests.test_tuning import tuned_study

DIGITS = Shape(channels=1, size=8, num_classes=10, num_train=100, num_val=80, num_test=90)


def key(config: TrainConfig) -> str:
    return config.in_force().fingerprint()


def paced(study: Study, seconds: Callable[[TrainConfig], float]) -> Pace:
    """A pace by a measurement of the arms alone."""
    arms = [config for _, config in study.all_arms()]
    return Pace({key(c): Cost(seconds(c), 0.0, 1000) for c in arms}, [key(arms[0])])


def play(
    folder: Path, study: Study, limit: float, worker: Worker, pace: Pace, *, workers: int
) -> tuple[Plan, float]:
    """(the plan, when it was over) of a command with this limit, in played seconds."""
    now, plans = 0.0, list[Plan]()
    plan = open_plan(
        folder, study, listener=lambda e: (plans and pace.event(e, plans[0].record)) or None
    )
    plans.append(plan)
    plan.look = Timetable(pace, workers=workers, deadline=limit, clock=lambda: now).look
    order, live = itertools.count(), list[tuple[float, int, list[Callable[[], None]], float]]()
    while True:
        while len(live) < workers and (segment := plan.next()) is not None:
            takes = worker.seconds(segment.config)
            heapq.heappush(live, (now + takes, next(order), worker.steps(plan, segment), takes))
        if not live:
            break
        now, _, (step, *left), takes = heapq.heappop(live)
        step()
        if left:  # the end of a segment takes no time of its own
            heapq.heappush(live, (now + takes * (len(left) > 1), next(order), left, takes))
    assert plan.done()
    plan.ledger.close()
    return plan, now


def rows(plan: Plan) -> set[int]:
    return {sum(not run.unfinished for run in runs) for runs in plan.record.arms().values()}


def test_with_time_for_everything_everything_is_trained(tmp_path: Path) -> None:
    study = small_study(num_trials=9, replicates=5, race=3)
    pace = paced(study, lambda _: 1.0)
    plan, _ = play(tmp_path, study, 1e6, Worker(seconds=lambda _: 1.0), pace, workers=2)
    assert not plan.outstanding()
    assert rows(plan) == {5}
    assert len(plan.record.trial_keys) == 9
    assert given_up(plan, pace) == ""


def test_what_is_short_of_time_is_given_up_in_order_and_said(tmp_path: Path) -> None:
    """Trials and replicates beyond three before the race, the race before the table."""
    # what a sampler with a model proposes hangs on the processor
    study = small_study(num_trials=60, replicates=9, race=3, sampler="random")
    seen = []
    for number, limit in enumerate((170.0, 80.0, 40.0)):
        pace, worker = paced(study, lambda _: 1.0), Worker(seconds=lambda _: 1.0)
        plan, end = play(tmp_path / str(number), study, limit, worker, pace, workers=1)
        assert end <= limit
        assert plan.outstanding()
        seen.append((max(rows(plan)), len(plan.record.arms()), len(plan.record.trials(RACE))))
        assert len(rows(plan)) == 1, "no arm has more replicates than another"
        assert "of 60 trials" in given_up(plan, pace)
        begun = plan.record.race
        cut = f"a race of 3 ({len(begun.candidates) if begun else 'none'} instead)"
        assert (cut in given_up(plan, pace)) == (begun is None or len(begun.candidates) < 3)
        if begun:
            plan.race.most = 0  # as a late look at the time may leave it: those that raced did
            assert (cut in given_up(plan, pace)) == (len(begun.candidates) < 3)
            assert "none instead" not in given_up(plan, pace)
        assert f"replicates {plan.last_row + 1} to 9 of every arm" in given_up(plan, pace)
    assert seen[0][0] > LEAST_ROWS
    assert seen[0][1:] == (5, 9), "the race is whole, and what stayed is an arm"
    assert seen[1][:2] == (LEAST_ROWS, 5), "fewer race, or one alone, which need not run"
    assert seen[1][2] < 9
    assert seen[2] == (LEAST_ROWS, 4, 0)


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    factor=st.floats(0.7, 1.3),
    limit=st.floats(45, 400),
    workers=st.integers(1, 3),
    replicates=st.integers(3, 6),
)
def test_the_table_is_whole_when_the_time_is_up(
    factor: float,
    limit: float,
    workers: int,
    replicates: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Also where epochs take other than was measured, and arms and trials unlike times."""

    def seconds(config: TrainConfig) -> float:
        return 0.5 + config.augment.strength / 2 + config.model.dropout

    study = small_study(num_trials=40, replicates=replicates, race=3)
    pace, worker = paced(study, seconds), Worker(seconds=lambda c: factor * seconds(c))
    folder = tmp_path_factory.mktemp("played")
    enough = (
        Shares.of(
            Left.of_study(study, Record(), with_search=True, num_racers=0),
            paced(study, lambda c: 1.3 * seconds(c)),
            workers,
        ).table
        < limit
    )
    plan, end = play(folder, study, limit, worker, pace, workers=workers)
    if enough:
        assert end <= 1.1 * limit
        assert len(rows(plan)) == 1
        assert min(rows(plan)) >= LEAST_ROWS


@pytest.mark.parametrize("slower", [3.0, 8.0])
def test_a_machine_that_gets_busy_takes_nothing_from_the_table(
    slower: float, tmp_path: Path
) -> None:
    """What tests need of every arm comes before the search: a load that grew after it left holes
    where its end had been reckoned by epochs of a quiet machine.
    """
    study = small_study(num_trials=60, replicates=9, race=3, sampler="random")
    quiet = iter([1.0] * 30)  # runs of arms and segments of trials
    pace, worker = paced(study, lambda _: 1.0), Worker(seconds=lambda _: next(quiet, slower))
    plan, end = play(tmp_path, study, 120.0, worker, pace, workers=1)
    arms = {arm.name for arm, _ in study.arms()}
    done = [sum(not run.unfinished for run in plan.record.arms()[name]) for name in arms]
    assert min(done) >= LEAST_ROWS
    assert end <= 120.0 + 3 * slower, "but for the run that was under way when it got slower"
    assert "times as long as was measured beforehand" in given_up(plan, pace)


def test_where_there_is_no_time_for_the_table_replicates_come_row_by_row(tmp_path: Path) -> None:
    """And not the pilot before the others: of one arm's three replicates nothing follows."""
    study, worker = small_study(num_trials=9, replicates=5, race=3), Worker()
    plan, _ = play(tmp_path, study, 9.0, worker, paced(study, lambda _: 0.5), workers=1)
    done = [sum(not run.unfinished for run in runs) for runs in plan.record.arms().values()]
    assert max(done) - min(done) <= 1
    assert sum(done) > 4


def test_what_is_given_up_is_what_the_table_lacks(tmp_path: Path) -> None:
    """Arm by arm, and as many runs as the report calls missing."""
    study = small_study(num_trials=0, replicates=5)
    for number, limit in enumerate((4.0, 9.0, 13.0, 22.0)):
        pace = paced(study, lambda _: 0.5)
        plan, _ = play(tmp_path / str(number), study, limit, Worker(), pace, workers=1)
        found = read(plan.record).ablation
        lost = f"{len(found.holes)} of {found.num_planned} runs of arms: "
        assert given_up(plan, pace).startswith(lost if found.holes else "nothing is lacking")
    plan = open_plan(tmp_path / "rows", study)
    plan.by_rows = True
    names, worker = [arm.name for arm, _ in plan.replicates.arms], Worker()
    for _ in range(6):
        segment = plan.next()
        assert segment is not None
        worker.run(plan, segment)
    plan.ledger.close()
    assert given_up(plan, None) == (
        f"14 of 20 runs of arms: replicate 2 of {names[2]}, {names[3]}, "
        "replicates 3 to 5 of every arm"
    )


def test_what_a_limit_left_of_looks_and_of_a_search_that_had_begun_is_said(tmp_path: Path) -> None:
    study = small_study(num_trials=3, replicates=9, race=2)
    study = study.override({"ablation.until_answered": True}, source="test")
    plan = open_plan(tmp_path, study)
    for _ in range(3):
        segment = plan.next()
        assert segment is not None
        Worker().run(plan, segment)
    said = given_up(plan, None)
    plan.ledger.close()
    assert said.startswith("the last epochs of trials, a race of 2, 12 of 12 runs of arms: ")
    assert said.endswith("replicates 1 to 3 of every arm, looks beyond 3 replicates")


def test_a_limit_in_which_nothing_was_done_is_called_too_short(tmp_path: Path) -> None:
    study = small_study(num_trials=2)
    plan = open_plan(tmp_path, study)
    said = given_up(plan, Pace({}))
    plan.ledger.close()
    assert said == "all of it: no epoch was finished in that time, so give it more"


def test_looking_again_and_again_keeps_nothing_more(tmp_path: Path) -> None:
    study = small_study(num_trials=12, replicates=4, race=3)
    pace = paced(study, lambda _: 1.0)
    plan, _ = play(tmp_path, study, 1e6, Worker(seconds=lambda _: 1.0), pace, workers=2)
    assert len(pace._keys) <= len(plan.record.runs) + 2 * len(plan.replicates.arms)


def test_a_second_command_goes_on_where_the_first_ran_out_of_time(tmp_path: Path) -> None:
    study, worker = small_study(num_trials=20, replicates=4, race=3), Worker()
    plan, _ = play(tmp_path, study, 25.0, worker, paced(study, lambda _: 0.5), workers=2)
    assert plan.outstanding()
    plan, _ = play(tmp_path, study, 1e6, worker, paced(study, lambda _: 0.5), workers=2)
    assert not plan.outstanding()
    assert rows(plan) == {4}
    assert len(plan.record.trial_keys) == 20
    assert len(set(worker.trained)) == len(worker.trained)


def test_a_forecast_says_what_fits() -> None:
    study = small_study(num_trials=40, replicates=5, race=3)
    forecast = Forecast(study, Record(), paced(study, lambda _: 10.0), 1, True)

    def limit(seconds: float) -> str:
        return dict(forecast.lines(seconds, seconds))["limit"]

    assert limit(36_000).endswith("enough for all of it")
    few = limit(700)
    assert few.startswith("11 min 40 s, 11 min 40 s of it for training: enough for about ")
    assert few.endswith("of 40 trials, a race of 1, 3 of 5 replicates of every arm")
    none = limit(300)
    assert "not enough for 3 replicates of every arm" in none
    assert "--epochs 1 would fit" in none
    done = Forecast(study, Record(), Pace({}), 1, True)
    ((what, said),) = done.lines(60, 60)
    assert what == "time"
    assert said.startswith("not known: no epoch could be measured beforehand;")
    assert said.endswith("python -m pipeline.doctor says why")


def test_smaller_pictures_are_named_where_few_epochs_would_fit() -> None:
    """They cost by their area."""
    study = load_study("hw3")
    forecast = Forecast(study, Record(), paced(study, lambda _: 200.0), 2, False)
    table = Shares.of(
        Left.of_study(study, Record(), with_search=False, num_racers=0), forecast.pace, 2
    ).table

    def fit(times: float) -> str:
        """What is said where the table takes so many times what there is."""
        told = dict(forecast.lines(table / times, table / times))["limit"]
        return told.partition("has gone on for longer")[2]

    assert fit(1.5) == "; --epochs 15 would fit"
    assert fit(6) == "; --set dataset.size=64 --epochs 15 may fit: try it with --dry-run"
    assert fit(40) == "; --set dataset.size=32 --epochs 9 may fit: try it with --dry-run"
    assert fit(1e5) == ""


def test_the_start_of_workers_takes_its_part_of_a_limit(tmp_path: Path) -> None:
    """As long as a process was seen to start, some times over, until there is a first epoch."""
    study = small_study(num_trials=40, replicates=5, race=3)
    costs, keys = paced(study, lambda _: 1.0).costs, [key(study.baseline)]
    pace = Pace(costs, keys, start_seconds=10.0)
    said = dict(Forecast(study, Record(), pace, 1, True).lines(300.0, 300.0))["limit"]
    assert said.startswith(f"5 min 00 s, {duration(300 - pace.starting())} of it for training")
    begun = {}
    for start in (0.0, 10.0):
        pace = Pace(costs, keys, start)
        plan = open_plan(tmp_path / str(start), study)
        Timetable(pace, workers=1, deadline=110.0, clock=lambda: 0.0).look(plan)
        begun[start] = plan.by_rows
        plan.ledger.close()
    assert begun == {0.0: False, 10.0: True}, "what is left after the start is the table's"


def test_what_is_seen_counts_for_more_than_what_was_measured(tmp_path: Path) -> None:
    """Drift of one configuration is taken for that of all; a process's first epoch says nothing."""
    study = small_study(num_trials=0, replicates=1)
    (_, base), (_, other), *_ = study.arms()
    pace, plans = paced(study, lambda _: 1.0), list[Plan]()
    plan = open_plan(
        tmp_path, study, listener=lambda e: (plans and pace.event(e, plans[0].record)) or None
    )
    plans.append(plan)
    first = plan.next()
    assert first is not None
    assert first.config == base
    told = iter((90.0, 3.0, 3.0))
    Worker(seconds=lambda _: next(told)).run(plan, first)
    plan.ledger.close()
    assert pace.epoch(base) == 3.0
    assert pace.drift == 3.0
    assert pace.epoch(other) == 3.0
    assert pace.run(Work("other", 2, other, 2)) == pytest.approx(6.0 + pace.beside("arm"))


def test_runs_at_once_take_no_longer_than_is_reckoned() -> None:
    assert wall([4, 1, 1], 2) == 5
    assert wall([], 2) == 0
    assert wall([3], 2) == 3


def test_what_cannot_be_built_is_not_measured_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes of their own, by the training core."""
    own = "import torch\n\nclass Net(torch.nn.Module):\n    def __init__(self, num_classes: int):\n"
    (tmp_path / "never_built.py").write_text(own + "        raise RuntimeError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    small = {"dataset": {"name": "digits"}, "batch_size": 32}
    good = TrainConfig.model_validate({**small, "model": {"name": "cnn", "width": 4}})
    bad = TrainConfig.model_validate({**small, "model": {"name": "never_built:Net"}})
    found = measured((bad, good), DIGITS, Resources(1, 0.0), most_seconds=2.0)
    assert found.costs.keys() == {key(good)}
    assert found.start_seconds > 0
    cost = found.costs[key(good)]
    assert cost.epoch_seconds > 0
    assert cost.final_seconds > 0
    assert cost.num_bytes > 4 * 1000


@pytest.mark.parametrize("split", ["official", "kfold"])
def test_an_epoch_is_over_what_is_trained_and_selected_on(split: str) -> None:
    study = small_study().override({"baseline.split": split, "baseline.folds": 4}, source="test")
    labels, parts = [0, 1, -1, 0, 1, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0, 1, 1, 1, 2]
    found = shape(study, labels, parts, 2)
    assert (found.num_train, found.num_val) == ((5, 3) if split == "official" else (6, 2))
    assert (found.num_test, found.num_classes, found.size) == (1, 2, 8)


def test_a_dry_run_says_how_long_and_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.search import main

    def dry(*more: str) -> str:
        """What it says, measured for a second or two in processes of their own."""
        flags = ["--study", "hw3", "--dry-run", "--epochs", "2", *more]
        monkeypatch.setattr(sys, "argv", ["search", *flags])
        assert main() == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOOD11", raising=False)
    for name in ("MOST_SECONDS", "DRY_SECONDS"):
        monkeypatch.setattr(forecast, name, 2.0)
    told = dry("--workers", "2", "--time", "10h")
    assert re.search(
        r"^time +about .* of training for all that is left, 2 runs at once", told, re.M
    )
    assert re.search(r"^disk +about [0-9.]+ MB", told, re.M)
    words = " ".join(told.split())
    assert re.search(
        r"limit 10 h 00 min, 9 h \d+ min of it for training: enough for all of it", words
    )
    assert not list(tmp_path.iterdir())
    told = dry("--workers", "1")
    assert re.search(r"^time +about .* of training for all that is left, 1 run at once", told, re.M)
    assert "\nlimit " not in told
    assert told.index("plan.md would say") < told.index("\nmeasuring ") < told.index("\ntime ")
    assert told.endswith("\ndry run: nothing was trained or written\n")


def test_an_arm_of_which_nothing_is_measured_is_named() -> None:
    study = small_study(num_trials=0)
    arms = study.all_arms()
    cost = Cost(1.0, 0.1, 100)
    costs = {config.in_force().fingerprint(): cost for _, config in arms[1:]}
    said = dict(Forecast(study, Record(), Pace(costs), 2, with_search=False).lines(None, 0.0))
    assert f"reckoned like the slowest: {arms[0][0].name}. " in said["warning"]
    costs[arms[0][1].in_force().fingerprint()] = cost
    assert "warning" not in dict(
        Forecast(study, Record(), Pace(costs), 2, with_search=False).lines(None, 0.0)
    )


def test_what_a_network_prints_spoils_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = (
        "import os, sys, torch\n\nclass Chatty(torch.nn.Module):\n"
        "    def __init__(self, num_classes: int):\n        super().__init__()\n"
        "        print('3')\n        os.write(1, b'null\\n\\xff\\n{}\\n')\n"
        "        self.head = torch.nn.Linear(64, num_classes)\n\n"
        "    def forward(self, x):\n        return self.head(x.flatten(1))\n"
    )
    (tmp_path / "chatty_net.py").write_text(own)
    monkeypatch.syspath_prepend(str(tmp_path))
    tree = {"dataset": {"name": "digits"}, "model": {"name": "chatty_net:Chatty"}}
    config = TrainConfig.model_validate(tree)
    found = measured([config], DIGITS, Resources(1, 0.0), most_seconds=2.0)
    assert found.costs.keys() == {key(config)}


def test_a_race_that_was_cut_for_time_is_no_complete_study(tmp_path: Path) -> None:
    study = small_study(num_trials=6, replicates=3, race=3)
    plan = open_plan(tmp_path, study)
    plan.race.most = 1
    worker = Worker()
    while (segment := plan.next()) is not None:
        worker.run(plan, segment)
    assert plan.record.race is not None
    assert len(plan.record.race.candidates) == 1
    assert plan.outstanding()
    assert "a race of 3 (1 instead)" in given_up(plan, None)
    text = " ".join(repr(document(read(plan.record), frozenset())).split())
    assert "2 more were to race." in text
    plan.ledger.close()
    record = drive(open_plan(tmp_path, study), worker)
    assert len(record.race.candidates) == 3
    assert len(set(worker.trained)) == len(worker.trained)


def test_searches_of_replicates_that_have_no_time_are_not_begun(tmp_path: Path) -> None:
    study = tuned_study(Replicated(num_trials=6), num_trials=0)
    plan = open_plan(tmp_path, study)
    plan.last_row = 1
    worker = Worker()
    while (segment := plan.next()) is not None:
        worker.run(plan, segment)
    assert plan.done()
    assert {run.search.rpartition("#")[2] for run in plan.record.runs.values() if run.search} == {
        "1"
    }
    assert rows(plan) == {1}
    plan.ledger.close()


def test_a_limit_that_is_over_before_anything_is_trained_is_kept(tmp_path: Path) -> None:
    study = tmp_path / "study.json"
    study.write_text(small_study(num_trials=2).model_dump_json())
    code = commands.here(
        "search", "--study", study, "--debug", "--time", "0.5", home=tmp_path / "m"
    )
    assert code == 3, "not whole"
    told = list(read_events(tmp_path / "m" / "small-digits"))
    assert not [event for event in told if event.kind in ("start", "epoch")]
    assert [e.status for e in told if isinstance(e, events.Finish)] == ["time limit"]
