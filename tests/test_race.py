"""The race of a search's best trials: who stays, what becomes of it, what is said."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.results import read_ablation
from pipeline.analysis.stats import judge
from pipeline.core.identity import FIRST_RACE, Seeds
from pipeline.engine.race import ROUNDS, Racer, decided, laps, pick, racers, stay
from pipeline.record.record import Record, Run
from pipeline.report.compose import FIGURES, document, read
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.report.sections.race import BELOW, curse
from pipeline.report.sections.sentences import CHOSEN
from pipeline.session.options import Options
from pipeline.session.resolve import chosen, resolve
from pipeline.study.questions import Question
from pipeline.study.study import Study
from pipeline.study.tuning import RACE
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study

pytestmark = pytest.mark.usefixtures("quick_disk")


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


def test_the_best_trials_race_and_the_one_that_stays_is_an_arm(tmp_path: Path) -> None:
    record, study = raced(tmp_path)
    assert record.race is not None
    assert record.race.candidates == [run.key for run in record.ranked_trials()[:3]]
    field = racers(record)
    assert all(len(one.values()) in (2, 3) for one in field)
    best = max(stay(field), key=lambda one: one.mean).trial
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
    assert (record.race.arm, record.race.overrides) == ("baseline", {})
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
    assert row.arm not in ablation.scores
    assert [one.arm for one in ablation.table.rows] == [*record.arms()]
    # the design's own answers are those of a study without a race
    bare = drive(open_plan(tmp_path / "bare", small_study(num_trials=9, replicates=4)), Worker())
    other = read_ablation(bare, bare.study)
    assert ablation.contrasts == other.contrasts
    assert ablation.best == other.best
    made = document(read(record), frozenset())
    assert row.arm in repr(made.summary)
    assert CHOSEN.strip() in repr(made.summary)
    text = repr(made)
    assert "Race: the search's 3 best trials were trained again in full" in text
    assert curse(racers(record)[0]) in text
    assert BELOW in text


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
    assert decided(plan.record, study) is None
    plan.ledger.close()


def test_all_of_it_is_said_in_chinese(tmp_path: Path) -> None:
    for name, fields in {"three": {}, "one": {"num_trials": 1}, "two": {"race": 2}}.items():
        record, _ = raced(tmp_path / name, replicates=3, **fields)
        findings = read(record)
        say = Translator(catalogue("zh"), [row.arm for row in findings.ablation.table.rows])
        translated(document(findings, FIGURES), say, title=findings.study.title)
        assert say.missed == []
