"""The race of a search's best trials: who stays, what becomes of it, what is said."""

import contextlib
import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.results import read_ablation
from pipeline.analysis.stats import judge
from pipeline.core.config import TrainConfig
from pipeline.core.identity import FIRST_RACE, Seeds
from pipeline.engine.failures import TooManyFailures
from pipeline.engine.race import ROUNDS, Racer, decided, laps, pick, racers, stay
from pipeline.errors import UserError
from pipeline.record.record import Record, Run
from pipeline.report.compose import FIGURES, document, read, texts
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.report.sections.race import BESIDE, LAST, curse
from pipeline.report.sections.sentences import CHOSEN, points
from pipeline.session.options import Options
from pipeline.session.resolve import chosen, resolve
from pipeline.study.designs import Arms
from pipeline.study.judged import Judged
from pipeline.study.questions import Question
from pipeline.study.space import Choice, Space
from pipeline.study.study import Study
from pipeline.study.tuning import RACE
from tests.driver import Worker, drive, facts, open_plan, quality
from tests.studies import small_study


def racer(number: int, *values: float | str) -> Racer:
    """A trial with race runs of these values, or of this status where it is a word."""
    found = []
    for lap, value in enumerate(values, 1):
        run = Run(f"{number}-{lap}", "trial", {"epochs": 1}, number=number, search=RACE)
        run.replicate = FIRST_RACE + lap
        run.status = "complete" if isinstance(value, float) else value  # type: ignore[assignment]
        run.rungs = {2: value} if isinstance(value, float) else {}
        found.append(run)
    return Racer(Run(str(number), "trial", {"epochs": 1}, number=number), tuple(found))


def numbers(field: tuple[Racer, ...]) -> list[int]:
    return [one.trial.number for one in field]


def open_laps(field: tuple[Racer, ...]) -> list[tuple[int, int]]:
    return [(run.number, number) for run, number in laps(field)]


def test_who_is_far_behind_is_dropped_and_who_is_near_stays() -> None:
    field = (racer(4, 0.80, 0.82), racer(7, 0.81, 0.80), racer(2, 0.50, 0.51))
    assert numbers(stay(field, 1)) == [4, 7, 2], "one run says nothing of the spread"
    assert numbers(stay(field, 2)) == [4, 7]


def test_the_interval_is_students_with_the_spread_of_all_that_are_in() -> None:
    # pooled variance 2e-4 / 2, 2 degrees of freedom: t = 4.303, half = 4.303 * 1e-2 = .04303
    for gap, left in ((0.0430, [1, 2]), (0.0431, [1])):
        ends = (0.8 - math.sqrt(0.5e-4), 0.8 + math.sqrt(0.5e-4))
        behind = tuple(value - gap for value in ends)
        assert numbers(stay((racer(1, *ends), racer(2, *behind)), 2)) == left


@pytest.mark.parametrize("how", ["diverged", "failed"])
def test_who_loses_a_run_is_out(how: str) -> None:
    field = (racer(4, 0.9, how), racer(7, 0.5, 0.5))
    assert numbers(stay(field, 2)) == [7]
    assert open_laps(field) == [(7, 3)]


def test_two_rounds_are_open_at_once_and_the_third_waits_for_both() -> None:
    field = (racer(4), racer(7))
    assert open_laps(field) == [(4, 1), (7, 1), (4, 2), (7, 2)]
    assert open_laps((racer(4, 0.8, 0.8), racer(7, 0.8, "running"))) == [(7, 2)]
    assert open_laps((racer(4, 0.8, 0.81), racer(7, 0.8, 0.79))) == [(4, 3), (7, 3)]
    assert open_laps((racer(4, 0.8, 0.81), racer(7, 0.1, 0.11))) == [(4, 3)]
    assert open_laps((racer(4, 0.8, 0.81, 0.8), racer(7, 0.8, 0.79, 0.9))) == []


def test_one_alone_need_not_run() -> None:
    assert open_laps((racer(4),)) == []


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_highest_mean_is_never_dropped_and_nobody_comes_back(table: list[list[float]]) -> None:
    field = tuple(racer(number, *values) for number, values in enumerate(table))
    before = numbers(field)
    for rounds in range(1, ROUNDS + 1):
        left = numbers(stay(field, rounds))
        assert set(left) <= set(before)
        top = max(before, key=lambda number: np.mean(table[number][:rounds]))
        assert left
        assert any(
            np.mean(table[one][:rounds]) >= np.mean(table[top][:rounds]) - 1e-12 for one in left
        )
        before = left


def test_a_race_has_the_searchs_split_and_chance_of_its_own() -> None:
    trial, lap, replicate = (Seeds(3, number) for number in (0, FIRST_RACE + 2, 2))
    assert (trial.drawn, lap.drawn, replicate.drawn) == (0, 0, 2)
    assert len({trial.run, lap.run, replicate.run}) == 3


def raced(folder: Path, **fields: object) -> tuple[Record, Study]:
    study = small_study(**{"num_trials": 9, "race": 3, **fields})
    return drive(open_plan(folder, study), Worker()), study


def test_who_would_race_is_known_at_every_event_of_a_study(tmp_path: Path) -> None:
    """It is reckoned anew only where a ranking may have changed."""
    holder: list[Any] = []
    different: list[str] = []
    asked: set[tuple[str, ...]] = set()

    def listen(event: Any) -> None:
        for plan in holder:
            known = plan.race._pick()
            asked.add(tuple(known))
            if known != pick(plan.record, plan.race.most):
                different.append(event.kind)

    worker = Worker(diverges=lambda config: config.batch_size == 32)
    plan = open_plan(tmp_path, small_study(num_trials=12, race=3, replicates=2), listener=listen)
    holder.append(plan)
    drive(plan, worker, workers=4)
    assert not different
    assert len(asked) > 3


def test_the_best_trials_race_and_the_one_that_stays_is_an_arm(tmp_path: Path) -> None:
    record, study = raced(tmp_path)
    assert record.race is not None
    assert record.race.candidates == [run.key for run in record.ranked_trials()[:3]]
    field = racers(record)
    assert all(len(one.values()) in (2, 3) for one in field)
    best = max(stay(field), key=lambda one: one.worth()).trial
    assert record.race.winner == best.key
    name = f"best of search (trial {best.number})"
    *designed, last = record.arms()
    assert (designed, last) == ([arm.name for arm, _ in study.arms()], name)
    assert [run.replicate for run in record.arms()[name]] == [1, 2]
    assert all(run.config == best.config for run in record.arms()[name])
    assert not {run.key for run in record.apart()}


def test_without_a_race_there_is_none(tmp_path: Path) -> None:
    record, study = raced(tmp_path, race=0)
    assert record.race is None
    assert [*record.arms()] == [arm.name for arm, _ in study.arms()]


def test_the_arms_alone_begin_no_race(tmp_path: Path) -> None:
    record = drive(open_plan(tmp_path, small_study(race=3), with_search=False), Worker())
    assert record.race is None


def test_what_is_an_arm_already_becomes_no_other(tmp_path: Path) -> None:
    study = small_study(num_trials=1, race=3)
    record = drive(open_plan(tmp_path, study), Worker())
    assert record.race is not None
    assert record.race.winner == record.trial_keys[0]
    assert [*record.arms()] == [arm.name for arm, _ in study.arms()]
    assert not record.trials(RACE), "one alone need not run"


def test_more_trials_race_anew_and_the_former_arm_is_apart(tmp_path: Path) -> None:
    record, _ = raced(tmp_path, num_trials=4)
    first = record.race
    worker = Worker()
    found = drive(open_plan(tmp_path, small_study(num_trials=30, race=3)), worker)
    assert found.race is not None
    assert first is not None
    assert found.race.winner != first.winner, "this test needs a better one among the later trials"
    assert first.arm not in found.arms()
    former = [run for run in found.apart() if run.kind == "arm"]
    assert [run.config for run in former] == [found.runs[first.winner].config] * 2
    assert len([*found.arms()]) == 5
    assert len(set(worker.trained)) == len(worker.trained)


def test_an_arm_more_leaves_what_was_found(tmp_path: Path) -> None:
    record, study = raced(tmp_path)
    on = {**study.ablation.design.on, "batch": {"batch_size": 16}}  # type: ignore[attr-defined]
    grown = study.override({"ablation.design.on": on})
    worker = Worker()
    found = drive(open_plan(tmp_path, grown), worker)
    assert found.race == record.race
    assert [*found.arms()][-1] == [*record.arms()][-1]
    trained = {found.runs[key].arm for key, _ in worker.trained}
    assert trained
    assert [*record.arms()][-1] not in trained
    assert not any(found.runs[key].search == RACE for key, _ in worker.trained)


def test_longer_runs_are_another_search_and_another_race(tmp_path: Path) -> None:
    record, _ = raced(tmp_path)
    found = drive(open_plan(tmp_path, small_study(num_trials=9, race=3, epochs=4)), Worker())
    assert found.race is not None
    assert found.race != record.race
    config = found.runs[found.race.winner].config
    assert config["epochs"] == 4
    assert {run.config["epochs"] for runs in found.arms().values() for run in runs} == {4}
    assert len(found.arms()) == 5


@pytest.mark.parametrize(("sets", "most"), [((), 0), (("search.race=2",), 2)])
def test_a_record_of_a_version_without_races_goes_on_without_one(
    tmp_path: Path, sets: tuple[str, ...], most: int
) -> None:
    record, _ = raced(tmp_path, race=0)
    assert record.begun is not None
    tree = {key: value for key, value in record.begun.study["search"].items() if key != "race"}
    record.begun = replace(record.begun, study={**record.begun.study, "search": tree})
    options = Options("pipeline.search", "hw3", sets=sets)
    assert resolve(options, chosen(options), record).search.race == most


def test_the_report_has_the_winners_row_with_a_test_of_its_own(tmp_path: Path) -> None:
    record, _ = raced(tmp_path, replicates=4)
    ablation = read_ablation(record, record.study)
    assert ablation.found is not None
    row, contrast = ablation.found.row, ablation.found.contrast
    assert (row.n, contrast.n, contrast.family) == (4, 4, 1)
    assert [one.arm for one in ablation.rows] == [*record.arms()]
    assert [one.arm for one in ablation.designed] == [*record.arms()][:-1]
    # the design's own answers are those of a study without a race
    bare = drive(open_plan(tmp_path / "bare", small_study(num_trials=9, replicates=4)), Worker())
    other = read_ablation(bare, bare.study)
    assert ablation.contrasts == other.contrasts
    assert ablation.best == other.best
    made = document(read(record), frozenset())
    assert row.arm in repr(made.summary)
    assert CHOSEN.strip() in repr(made.summary)
    told = f"By a test of its own, {row.arm} ({points(ablation).signed(contrast.delta)}) "
    assert told in made.summary[0].text.replace("\u00a0", " ")
    assert "就其自身的检验而言，" in texts(read(record), {}, "zh")["report.md"]
    text = repr(made)
    assert "Race: the search's 3 best trials are trained again in full" in text
    assert curse(racers(record)[0], Judged()) in text
    assert f"{LAST} {BESIDE}" in text


def test_the_best_of_the_design_is_not_called_the_best_beside_a_better_winner(
    tmp_path: Path,
) -> None:
    def planted(config: TrainConfig, replicate: int) -> float:
        lift = 0.1 * (config.batch_size == 16) - 0.2 * (config.augment.strength > 0)
        luck = quality(config, replicate)
        return 0.7 + lift - 0.2 * (config.model.dropout == 0.5) + 0.02 * luck

    space = Space(knobs={"batch_size": Choice(options=(16, 32))})
    study = small_study(num_trials=6, race=2, replicates=5, space=space)
    arms = {"baseline": {}, "bad": {"model.dropout": 0.5}, "aug": {"augment.strength": 1.0}}
    ablation = study.ablation.model_copy(update={"design": Arms(arms=arms)})
    study = study.model_copy(update={"ablation": ablation})
    record = drive(open_plan(tmp_path, study), Worker(acc=planted))
    page = texts(read(record), {})["report.md"].replace("\u00a0", " ")
    assert re.search(r"By a test of its own, best of search .* is better than baseline\.", page)
    assert "Best of the design: baseline. Every other arm of it is found behind it, after" in page
    assert "Bold: arms of the design that are not found behind any other of it." in page
    assert "设计中最佳：baseline" in texts(read(record), {}, "zh")["report.md"]


def test_a_winner_of_other_epochs_is_not_compared(tmp_path: Path) -> None:
    from pipeline.study.space import Choice, Space

    space = Space(knobs={"epochs": Choice(options=(2, 4)), "batch_size": Choice(options=(16, 32))})
    record, _ = raced(tmp_path, space=space, replicates=3)
    ablation = read_ablation(record, record.study)
    if ablation.found is None:
        pytest.fail("this test needs a winner that is no arm")
    epochs = {run.config["epochs"] for run in ablation.found.row.runs}
    assert (ablation.found.contrast.verdict == "not tested") == (epochs != {3})
    assert epochs != {3}


def test_equal_configurations_show_a_curse_and_no_winner() -> None:
    """Of 40 equal configurations the three best by chance race, and the one that stays is tested on
    runs that chose nothing.
    """
    rng = np.random.default_rng(20261129)
    tables, found, optimism = 2000, 0, []
    for _ in range(tables):
        search = np.sort(rng.normal(0.6, 0.01, 40))[::-1][:3]
        field = tuple(
            racer(number, *map(float, rng.normal(0.6, 0.01, 3))) for number in range(len(search))
        )
        optimism.append(search[0] - np.mean(field[0].values(2)))
        assert stay(field)
        scores = pd.DataFrame(rng.normal(0.6, 0.01, (5, 2)), columns=["baseline", "best"])
        question = Question("best", "delta", {"best": 1.0, "baseline": -1.0}, "its own", "baseline")
        verdict = judge(scores, [question], 0.01).contrasts[0].verdict
        found += verdict in ("better", "worse")
    assert np.mean(optimism) == pytest.approx(0.0216, abs=0.001)  # the expected maximum of 40
    # 5 % and three standard errors of a share of 2,000
    assert found / tables < 0.05 + 3 * math.sqrt(0.05 * 0.95 / tables)


def test_picked_are_different_configurations(tmp_path: Path) -> None:
    record, _ = raced(tmp_path, race=20)
    keys = pick(record, 20)
    assert len(keys) == len(set(keys)) == len(record.ranked_trials())
    assert pick(record, 0) == []


def test_where_every_run_is_lost_nothing_stays(tmp_path: Path) -> None:
    study = small_study(num_trials=4, race=2)
    worker = Worker()
    plan = open_plan(tmp_path, study)
    while (segment := plan.next()) is not None:
        if segment.seeds.replicate > FIRST_RACE:
            worker = Worker(diverges=lambda _: True)
        worker.run(plan, segment)
        worker = Worker()
    assert plan.done()
    assert not plan.outstanding()
    assert plan.record.race is not None
    assert plan.record.race.winner == ""
    assert decided(plan.record) is None
    plan.ledger.close()


def test_all_of_it_is_said_in_chinese(tmp_path: Path) -> None:
    for name, fields in {"three": {}, "one": {"num_trials": 1}, "two": {"race": 2}}.items():
        record, _ = raced(tmp_path / name, replicates=3, **fields)
        findings = read(record)
        say = Translator(catalogue("zh"), [row.arm for row in findings.ablation.rows])
        translated(document(findings, FIGURES), say, title=findings.study.title)
        assert say.missed == []


def test_where_arms_are_tuned_there_is_no_race(tmp_path: Path) -> None:
    """Their searches have winners of their own, which may be the same configuration."""
    tuned = {"ablation.tuning": {"name": "per_arm", "num_trials": 3}}
    record = drive(open_plan(tmp_path, small_study(race=3).override(tuned)), Worker())
    assert record.race is None


def test_a_record_of_a_version_with_fewer_fields_is_reported(tmp_path: Path) -> None:
    record, _ = raced(tmp_path, replicates=3)
    assert record.begun is not None
    baseline = {k: v for k, v in record.begun.study["baseline"].items() if k != "metrics"}
    record.begun = replace(record.begun, study={**record.begun.study, "baseline": baseline})
    found = read_ablation(record, record.study).found
    assert found is not None
    assert found.contrast.n == 3


def test_no_arm_may_be_called_as_what_a_search_finds() -> None:
    on = {"best of search (trial 6)": {"batch_size": 16}}
    with pytest.raises(UserError, match=r"what a search finds is called so; give the arm another"):
        small_study().override({"ablation.design.on": on}).check()


def arms_of(*arms: dict[str, Any]) -> dict[str, Any]:
    return {"name": "arms", "arms": {f"arm {i}": one for i, one in enumerate(arms)}}


def test_a_winner_that_is_an_arm_already_stays_one_when_that_arm_leaves(tmp_path: Path) -> None:
    record, study = raced(tmp_path)
    assert record.race is not None
    knobs = record.race.overrides
    whole = study.override({"ablation.design": arms_of({}, knobs, {"model.dropout": 0.1})})
    also = drive(open_plan(tmp_path / "also", whole), Worker())
    assert [*also.arms()] == ["arm 0", "arm 1", "arm 2"]
    assert "Its configuration is that of the arm arm 1." in repr(document(read(also), frozenset()))
    less = study.override({"ablation.design": arms_of({}, {"model.dropout": 0.1})})
    worker = Worker()
    found = drive(open_plan(tmp_path / "also", less), worker)
    assert [*found.arms()] == ["arm 0", "arm 1", record.race.arm]
    assert len(found.arms()[record.race.arm]) == 2
    assert not [key for key, _ in worker.trained if found.runs[key].arm == record.race.arm]


def test_the_baseline_that_wins_and_is_no_arm_becomes_one(tmp_path: Path) -> None:
    study = small_study(num_trials=1, race=1, replicates=2)
    design = arms_of({"model.dropout": 0.1}, {"model.dropout": 0.2})
    record = drive(open_plan(tmp_path, study.override({"ablation.design": design})), Worker())
    assert [*record.arms()][-1] == "best of search (trial 0)"
    assert [run.config for run in record.arms()["best of search (trial 0)"]] == [
        study.baseline.model_dump(mode="json")
    ] * 2


def test_laps_that_the_machine_lost_are_tried_again(tmp_path: Path) -> None:
    study = small_study(num_trials=6, race=3)
    expected = drive(open_plan(tmp_path / "whole", study), Worker())
    plan, broken = open_plan(tmp_path / "broken", study), Worker(fails=lambda *_: True, retry=False)
    with contextlib.suppress(TooManyFailures):
        while (segment := plan.next()) is not None:
            (broken if segment.seeds.replicate > FIRST_RACE else Worker()).run(plan, segment)
    assert [run.status for run in plan.record.trials(RACE)] == ["failed"] * 3
    assert "It is not over." in repr(document(read(plan.record), frozenset()))
    plan.ledger.close()
    assert facts(drive(open_plan(tmp_path / "broken", study), Worker())) == facts(expected)


def test_a_race_that_loses_all_leaves_what_an_earlier_one_had_found(tmp_path: Path) -> None:
    record, _ = raced(tmp_path, num_trials=4)
    assert record.race is not None
    plan = open_plan(tmp_path, small_study(num_trials=30, race=3))
    lossy = Worker(diverges=lambda _: True)
    while (segment := plan.next()) is not None:
        (lossy if segment.seeds.replicate > FIRST_RACE else Worker()).run(plan, segment)
    plan.ledger.close()
    text = repr(document(read(plan.record), frozenset()))
    assert f"every run was lost. The arm {record.race.arm} is of an earlier race." in text


def test_what_was_found_counts_among_the_planned_runs(tmp_path: Path) -> None:
    study = small_study(num_trials=9, race=3, replicates=3)
    plan = open_plan(tmp_path, study)
    while (segment := plan.next()) is not None:
        of_found = plan.record.runs[segment.run].arm.startswith("best of search")
        Worker(diverges=lambda _, lost=of_found: lost).run(plan, segment)
    plan.ledger.close()
    ablation = read_ablation(plan.record, plan.record.study)
    assert ablation.found is not None
    assert {hole.arm for hole in ablation.holes} == {ablation.found.row.arm}
    text = repr(document(read(plan.record), frozenset()))
    assert "INCOMPLETE: 3 of the 15 planned runs of the ablation have no result." in text
    assert ablation.found.contrast.verdict == "not tested"


def test_the_report_claims_its_5_percent_for_the_design_alone(tmp_path: Path) -> None:
    record, _ = raced(tmp_path, replicates=4)
    text = repr(document(read(record), frozenset()))
    assert "all 6 tests of the design" in text
    assert "of this report" not in text
    assert "the test of what the search found is one more 5 %" in text
    bare = drive(open_plan(tmp_path / "bare", small_study(num_trials=9, replicates=4)), Worker())
    assert "all 6 tests of this report" in repr(document(read(bare), frozenset()))


def test_past_its_time_a_race_that_ends_hands_out_its_arm_at_once(tmp_path: Path) -> None:
    plan = open_plan(tmp_path, small_study(num_trials=6, race=3))
    plan.past_search = True
    drive(plan, Worker())
    assert not plan.outstanding()
    assert len([*plan.record.arms()]) == 5


def test_runs_of_a_race_that_is_past_are_apart(tmp_path: Path) -> None:
    raced(tmp_path)
    found = drive(open_plan(tmp_path, small_study(num_trials=9, race=3, epochs=4)), Worker())
    former = [run for run in found.apart() if run.search == RACE]
    assert former
    assert {run.config["epochs"] for run in former} == {3}


def test_what_a_search_has_when_its_time_is_up_races_and_the_table_is_whole(tmp_path: Path) -> None:
    study, worker = small_study(num_trials=30, race=3), Worker()
    plan = open_plan(tmp_path, study)
    while len(plan.record.trial_keys) < 6:
        segment = plan.next()
        assert segment is not None
        worker.run(plan, segment)
    plan.past_search = True
    order = []
    while (segment := plan.next()) is not None:
        run = plan.record.runs[segment.run]
        order.append("lap" if run.search == RACE else run.kind)
        worker.run(plan, segment)
        if order.count("trial") == 3:
            break
    kinds = [kind for kind, _ in itertools.groupby(order)]
    assert kinds == ["arm", "lap", "arm", "trial"], "the search takes what the table leaves"
    assert plan.record.race is not None
    assert plan.record.race.winner
    assert [len(runs) for runs in plan.record.arms().values()] == [2] * 5
    assert plan.outstanding()
    plan.ledger.close()
    assert len(drive(open_plan(tmp_path, study), worker).trial_keys) == 30
    assert len(set(worker.trained)) == len(worker.trained)


def test_a_flag_and_a_set_of_one_field_may_not_differ() -> None:
    """Where they are equal, as in a command that was recorded, nothing is wrong."""
    for flags, sets in (({"trials": 7}, "search.num_trials=8"), ({"race": 2}, "search.race=4")):
        with pytest.raises(UserError, match="set the same field: give one of them"):
            chosen(Options("pipeline.search", "hw3", sets=(sets,), **flags))
    same = Options("pipeline.search", "hw3", sets=("search.num_trials=8",), trials=8)
    assert chosen(same).study.search.num_trials == 8
