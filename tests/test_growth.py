"""A study that grows: other arms, another space, longer runs. What still means the same is used
again, what does not is kept and never mixed in.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.fairness import later_changes
from pipeline.analysis.tuning_effort import efforts
from pipeline.record.record import Record, Run
from pipeline.record.revision import place
from pipeline.record.salvage import mend
from pipeline.session.resume import tell_growth
from pipeline.session.so_far import so_far
from pipeline.study.designs import LeaveOneOut
from pipeline.study.space import Choice, Float, Space
from pipeline.study.study import Study
from tests.driver import Worker, drive, facts, open_plan
from tests.studies import SPACE, small_study

ARMS = {"dropout": {"model.dropout": 0.25}, "augmentation": {"augment.strength": 1.0}}


def with_arms(arms: dict[str, dict[str, Any]], **more: Any) -> Study:
    study = small_study(**more)
    design = {"name": "arms", "arms": {"baseline": {}, **arms}}
    return study.override({"ablation.design": design})


def with_dropout(high: float, **more: Any) -> Study:
    knobs = {**SPACE.knobs, "model.dropout": Float(low=0.0, high=high)}
    return small_study(space=Space(knobs=knobs, branches=SPACE.branches), **more)


def trained(folder: Path, study: Study) -> tuple[Record, set[str]]:
    """The record in the end, and the runs that were trained for it now."""
    worker = Worker()
    record = drive(open_plan(folder, study), worker)
    return record, {key for key, _ in worker.trained}


def with_named(arms: dict[str, dict[str, Any]]) -> Study:
    return small_study(num_trials=0).override({"ablation.design": {"name": "arms", "arms": arms}})


NETWORKS: dict[str, dict[str, Any]] = {"plain": {}, "dropped": ARMS["dropout"]}
MORE = {"strong": {"model.dropout": 0.5}}
PICTURES: dict[str, dict[str, Any]] = {"as they are": {}, "varied": ARMS["augmentation"]}


def with_levels(**levels: dict[str, dict[str, Any]]) -> Study:
    design = {"name": "crossed", "levels": levels}
    return small_study(num_trials=0).override({"ablation.design": design})


def keys(runs: list[Run]) -> list[str]:
    return [run.key for run in runs]


def test_an_arm_more_trains_its_runs_alone(tmp_path: Path) -> None:
    one, _ = trained(tmp_path, with_arms({"dropout": ARMS["dropout"]}))
    both, now = trained(tmp_path, with_arms(ARMS))
    assert now == set(keys(both.arms()["augmentation"]))
    assert keys(both.arms()["dropout"]) == keys(one.arms()["dropout"])
    assert keys(both.trials()) == keys(one.trials())
    assert both.apart() == []
    assert later_changes(both) == ("the arms were changed after results existed",)


def test_a_level_and_a_factor_more_train_what_they_add(tmp_path: Path) -> None:
    one, _ = trained(tmp_path, with_levels(network=NETWORKS))
    both, now = trained(tmp_path, with_levels(network=NETWORKS | MORE))
    assert now == set(keys(both.arms()["strong"]))
    crossed, now = trained(tmp_path, with_levels(network=NETWORKS | MORE, pictures=PICTURES))
    arms = crossed.arms()
    assert list(arms) == [
        "baseline",
        "dropped",
        "strong",
        "varied",
        "dropped + varied",
        "strong + varied",
    ]
    assert now == {key for arm, own in arms.items() if "varied" in arm for key in keys(own)}
    assert {arm: keys(arms[arm]) for arm in both.arms()} == {
        arm: keys(own) for arm, own in both.arms().items()
    }
    assert keys(arms["dropped"]) == keys(one.arms()["dropped"])
    assert crossed.apart() == []
    assert later_changes(crossed) == ("the arms were changed after results existed",)


@pytest.mark.parametrize(
    ("study", "other", "before", "after"),
    [
        (
            with_levels(network=NETWORKS, pictures=PICTURES),
            with_levels(network=dict(reversed(NETWORKS.items())), pictures=PICTURES),
            "baseline, dropped, varied, dropped + varied",
            "baseline, plain, varied, plain + varied",
        ),
        (
            with_named({"a": {}, **ARMS}),
            with_named({**ARMS, "a": {}}),
            "a, dropout, augmentation",
            "dropout, augmentation, a",
        ),
    ],
    ids=["levels", "arms"],
)
def test_the_order_that_names_a_reference_is_part_of_a_design(
    study: Study, other: Study, before: str, after: str, tmp_path: Path
) -> None:
    old, _ = trained(tmp_path, study)
    said = " ".join(tell_growth(old, other, tmp_path))
    assert f"ablation.design.order: recorded {before}, now {after}" in said
    num = len(old.runs)
    assert f"of {num} recorded runs {num} mean the same in it" in said
    new, now = trained(tmp_path, other)
    assert not now, "the same configurations, of which another is the reference"
    assert next(iter(new.arms())) == next(iter(after.split(", ")))
    assert new.study.ablation.design.expand() == other.ablation.design.expand()
    assert later_changes(new) == (
        "what the arms are measured against was changed after results existed",
    )
    assert tell_growth(new, other, tmp_path) == []


def test_what_a_growth_uses_again_and_leaves_is_said_before(tmp_path: Path) -> None:
    one, _ = trained(tmp_path, with_arms({"dropout": ARMS["dropout"]}, num_trials=0))
    for arms, used, done, left in ((ARMS, 4, 4, 6), ({"strong": {"model.dropout": 0.4}}, 2, 2, 6)):
        study = with_arms(arms, num_trials=0)
        said = " ".join(tell_growth(one, study, tmp_path))
        assert f"of 4 recorded runs {used} mean the same in it and can be used again" in said
        num_runs = 2 * (1 + len(arms))
        line = so_far(one, study, with_search=True)
        assert line == f"{done} of {num_runs} runs of arms done; " + (
            f"about {left} epochs are left" if left else "nothing is left to train"
        )
        folder = tmp_path / str(used)
        shutil.copytree(tmp_path, folder, ignore=shutil.ignore_patterns("[0-9]"))
        _, now = trained(folder, study)
        assert 3 * len(now) == left, "as was said"


def test_an_arm_is_what_it_is_whatever_it_is_called(tmp_path: Path) -> None:
    old, _ = trained(tmp_path, with_arms(ARMS))
    renamed = {"regularized": ARMS["dropout"], "augmentation": ARMS["augmentation"]}
    new, now = trained(tmp_path, with_arms(renamed))
    assert not now
    assert keys(new.arms()["regularized"]) == keys(old.arms()["dropout"])
    assert {run.arm for run in new.arms()["regularized"]} == {"regularized"}
    assert "dropout" not in new.arms()


def test_an_arm_that_was_taken_out_is_kept_and_taken_up_again(tmp_path: Path) -> None:
    whole, _ = trained(tmp_path, with_arms(ARMS))
    less, now = trained(tmp_path, with_arms({"dropout": ARMS["dropout"]}))
    assert not now
    assert list(less.arms()) == ["baseline", "dropout"]
    assert keys(less.apart()) == keys(whole.arms()["augmentation"])
    again, now = trained(tmp_path, with_arms(ARMS))
    assert not now
    assert facts(again)[1] == facts(whole)[1]


def test_an_arm_that_changed_under_its_name_is_another(tmp_path: Path) -> None:
    old, _ = trained(tmp_path, with_arms(ARMS))
    changed = {"dropout": {"model.dropout": 0.5}, "augmentation": ARMS["augmentation"]}
    new, now = trained(tmp_path, with_arms(changed))
    assert now == set(keys(new.arms()["dropout"]))
    assert not now & old.runs.keys()
    assert keys(new.apart()) == keys(old.arms()["dropout"])


@pytest.mark.parametrize("high", [0.2, 0.9])
def test_a_search_takes_over_the_trials_that_its_space_holds(high: float, tmp_path: Path) -> None:
    old, _ = trained(tmp_path, with_dropout(0.5, num_trials=8))
    study = with_dropout(high, num_trials=12)
    new, now = trained(tmp_path, study)
    inside = [run for run in old.trials() if run.config["model"]["dropout"] <= high]
    assert [run.key for run in new.trials() if run.key in old.runs] == keys(inside)
    assert len(new.trials()) == 12
    assert all(place(run, study.baseline, study.space) for run in new.trials())
    assert [run.number for run in new.trials()] == list(range(12))
    assert {*keys(new.trials())} - old.runs.keys() <= now
    assert {*keys(new.apart())} == {*keys(old.trials())} - {*keys(inside)}
    assert len(inside) < 8 or high > 0.5
    assert later_changes(new) == ()


def test_trials_that_will_be_taken_over_are_counted_before(tmp_path: Path) -> None:
    old, _ = trained(tmp_path, with_dropout(0.5, num_trials=4))
    wider = with_dropout(0.9, num_trials=6)
    num = len(old.runs)
    told = " ".join(tell_growth(old, wider, tmp_path))
    assert f"of {num} recorded runs {num} mean the same in it" in told
    line = so_far(old, wider, with_search=True)
    assert line.startswith("4 of 6 trials begun, ")
    assert line.endswith(" left, beside what trials already begun may go on for")  # it has no race
    new, _ = trained(tmp_path, wider)
    assert set(keys(old.trials())) <= set(keys(new.trials()))
    assert len(new.apart()) == 0


def test_a_knob_more_keeps_the_trials_that_had_its_default(tmp_path: Path) -> None:
    old, _ = trained(tmp_path, small_study(num_trials=4))
    knobs = {**SPACE.knobs, "augment.strength": Choice(options=(0.0, 1.0))}
    wider = small_study(num_trials=6, space=Space(knobs=knobs, branches=SPACE.branches))
    new, _ = trained(tmp_path, wider)
    assert keys(new.trials())[:4] == keys(old.trials())
    assert all(run.knobs["augment.strength"] == 0.0 for run in new.trials()[:4])
    assert all("augment.strength" in run.knobs for run in new.trials())


def test_longer_runs_stand_beside_the_short_ones_and_are_never_mixed(tmp_path: Path) -> None:
    short, _ = trained(tmp_path, small_study(epochs=3))
    long, now = trained(tmp_path, small_study(epochs=9))
    assert now == {*keys(long.trials()), *(run.key for own in long.arms().values() for run in own)}
    assert not now & short.runs.keys()
    assert {*keys(long.apart())} == short.runs.keys()
    assert "runs went from 3 to 9 epochs after results existed" in later_changes(long)
    back, now = trained(tmp_path, small_study(epochs=3))
    assert not now
    assert facts(back)[1] == facts(short)[1]
    assert keys(back.trials()) == keys(short.trials())


def test_arms_that_are_tuned_are_tuned_anew_where_the_space_has_changed(tmp_path: Path) -> None:
    tuned = {"ablation.tuning": {"name": "per_arm", "num_trials": 3}, "search.num_trials": 0}
    old, _ = trained(tmp_path, with_dropout(0.5).override(tuned))
    same, now = trained(tmp_path, with_dropout(0.5).override(tuned))
    assert not now
    assert facts(same) == facts(old)
    new, now = trained(tmp_path, with_dropout(0.9).override(tuned))
    assert not now, "a factor is no arm's to tune"
    assert facts(new) == facts(old)
    assert new.searches == old.searches
    knobs = {**SPACE.knobs, "batch_size": Choice(options=(16, 32, 64))}
    wider = small_study(space=Space(knobs=knobs, branches=SPACE.branches)).override(tuned)
    tuned_anew, _ = trained(tmp_path, wider)
    assert [len(runs) for runs in tuned_anew.arms().values()] == [2, 2, 2, 2]
    assert tuned_anew.searches.keys() == old.searches.keys()
    assert all(len(keys) == 3 for name, keys in tuned_anew.searches.items() if name)
    assert all(
        old.searches[name][0] == keys[0] for name, keys in tuned_anew.searches.items() if name
    )


def test_a_study_that_has_grown_goes_on_after_a_stop_at_any_event(tmp_path: Path) -> None:
    trained(tmp_path / "old", with_dropout(0.5, num_trials=5))
    study = with_dropout(0.3, num_trials=7).override(
        {"ablation.design": LeaveOneOut(on=ARMS).model_dump(mode="json")}
    )
    begun = (tmp_path / "old" / "ledger.jsonl").read_bytes()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "ledger.jsonl").write_bytes(begun)
    whole, _ = trained(tmp_path / "whole", study)
    lines = (tmp_path / "whole" / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    first = begun.count(b"\n")
    for stop in range(first + 1, len(lines), 7):
        folder = tmp_path / str(stop)
        folder.mkdir()
        (folder / "ledger.jsonl").write_bytes(b"".join(lines[:stop]))
        again, _ = trained(folder, study)
        assert facts(again) == facts(whole), stop


def test_another_arm_leaves_a_search_as_it_is(tmp_path: Path) -> None:
    old, _ = trained(tmp_path, with_arms({"dropout": ARMS["dropout"]}))
    plan = open_plan(tmp_path, with_arms(ARMS), with_search=False)
    new = drive(plan, Worker())
    assert facts(new)[0] == facts(old)[0]
    assert new.apart() == []
    assert new.best_trial() == old.best_trial()


def test_a_search_takes_over_its_own_trials_alone(tmp_path: Path) -> None:
    tuned = {"ablation.tuning": {"name": "per_arm", "num_trials": 3}, "search.num_trials": 0}
    trained(tmp_path, with_dropout(0.5).override(tuned))
    wider = with_dropout(0.9).override(tuned | {"search.num_trials": 6})
    new, _ = trained(tmp_path, wider)
    assert len(new.trials()) == 6
    assert len({run.config["model"]["dropout"] for run in new.trials()}) > 2


def test_the_search_of_an_arm_comes_back_with_the_arm_under_any_name(tmp_path: Path) -> None:
    tuned = {"ablation.tuning": {"name": "per_arm", "num_trials": 3}, "search.num_trials": 0}
    whole, _ = trained(tmp_path, with_arms(ARMS).override(tuned))
    trained(tmp_path, with_arms({"dropout": ARMS["dropout"]}).override(tuned))
    again = {"regularized": ARMS["dropout"], "augmentation": ARMS["augmentation"]}
    back, now = trained(tmp_path, with_arms(again).override(tuned))
    assert not now
    for was, name in (("dropout", "regularized"), ("augmentation", "augmentation")):
        trials = back.trials(f"arm:{name}")
        assert keys(trials) == keys(whole.trials(f"arm:{was}"))
        assert {(run.search, run.arm) for run in trials} == {(f"arm:{name}", name)}
        assert efforts(back, back.study)[name].num_trials == 3


def test_a_replicate_that_two_definitions_share_is_trained_once(tmp_path: Path) -> None:
    tuned = {"ablation.tuning": {"name": "per_arm", "num_trials": 3}, "search.num_trials": 0}

    def study(options: tuple[int, ...]) -> Study:
        knobs = {**SPACE.knobs, "batch_size": Choice(options=options)}
        space = Space(knobs=knobs, branches=SPACE.branches)
        return small_study(space=space).override(tuned)

    for options in ((16, 32), (16, 32, 64), (16, 32), (16, 32, 64)):
        record, now = trained(tmp_path, study(options))
        assert all(run.status == "complete" for own in record.arms().values() for run in own)
    assert not now
    assert "the space that arms are tuned in was changed after results existed" in later_changes(
        record
    )


def test_runs_of_a_study_that_grew_are_left_out_where_the_growth_is_lost(tmp_path: Path) -> None:
    trained(tmp_path, with_arms(ARMS, replicates=3))
    changed = {"dropout": {"model.dropout": 0.5}, "augmentation": ARMS["augmentation"]}
    trained(tmp_path, with_arms(changed, replicates=3))
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lost = next(i for i, line in enumerate(lines) if b'"type":"revision"' in line)
    lines[lost] = b"\0" * 40 + b"\n"
    path.write_bytes(b"".join(lines))
    mended = mend(tmp_path)
    assert [run.config["model"]["dropout"] for run in mended.record.arms()["dropout"]] == [0.25] * 3


def test_how_far_a_study_is_names_what_is_left_and_nothing_that_is_over(tmp_path: Path) -> None:
    study = small_study(num_trials=4, replicates=3, race=2, epochs=3)
    plan = open_plan(tmp_path, study)
    worker = Worker()
    for _ in range(2):
        segment = plan.next()
        assert segment is not None
        worker.run(plan, segment)
    plan.ledger.close()
    said = so_far(plan.record, study, with_search=True)
    assert said.startswith("2 of 4 trials begun, 0 of 12 runs of arms done; about ")
    assert said.endswith(" left, beside what trials already begun may go on for, and the race")
    record, _ = trained(tmp_path, study)
    runs = 3 * len(record.study.all_arms())
    over = f"{runs} of {runs} runs of arms done; nothing is left to train"
    assert so_far(record, record.study, with_search=False) == over
    assert so_far(record, record.study, with_search=True) == f"4 of 4 trials begun, {over}"
    more = record.study.override({"search.race": 3}, source="test")
    assert so_far(record, more, with_search=True).endswith("runs of arms done; the race left")
