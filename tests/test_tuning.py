"""Arms with searches of their own: what each may tune, equal budgets, and that nothing depends on
interruptions.
"""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from pipeline.engine.queue import Plan
from pipeline.errors import UserError
from pipeline.record.event_form import read
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.session.cli import options, parser
from pipeline.session.dry_run import preview
from pipeline.session.resolve import chosen
from pipeline.study.designs import Arms, Factorial
from pipeline.study.space import Choice, Float, Int, Space
from pipeline.study.study import Study
from pipeline.study.tuning import FIRST_SPLIT, Fixed, PerArm, Replicated, nuisance
from tests.driver import Worker, drive, facts, open_plan
from tests.records import lines
from tests.studies import small_study
from tests.test_plan import impatient, prefixes, telling, trouble

SPACE = Space(
    knobs={"model.dropout": Float(low=0.0, high=0.5), "batch_size": Choice(options=(16, 32))},
    branches={
        "optimizer": {
            "sgd": {
                "lr": Float(low=1e-3, high=0.3, log=True),
                "momentum": Float(low=0.5, high=0.98),
            },
            "adam": {"lr": Float(low=1e-4, high=1e-2, log=True)},
        }
    },
)
PER_ARM, REPLICATED = PerArm(num_trials=4), Replicated(num_trials=5)


def tuned_study(tuning=PER_ARM, *, arms=None, **fields) -> Study:
    """A baseline and one with augmentation; rungs at epochs 2 and 4."""
    study = small_study(
        **{"epochs": 4, "num_trials": 3, "reduction": 2, "num_rungs": 2, "space": SPACE, **fields}
    )
    design = Arms(arms=arms or {"baseline": {}, "strong": {"augment.strength": 1.0}})
    ablation = study.ablation.model_copy(update={"tuning": tuning, "design": design})
    return study.model_copy(update={"ablation": ablation})


def searches_of(record: Record, arm: str) -> dict[str, list[str]]:
    return {
        name: keys
        for name, keys in record.searches.items()
        if name.partition("#")[0] == f"arm:{arm}"
    }


def everything(record: Record) -> tuple[object, ...]:
    """What must not depend on interruptions, the arms' searches included."""
    shared = {
        key: (run.status, run.rungs, run.number, run.search, run.replicate)
        for key, run in record.runs.items()
    }
    return facts(record), record.searches, shared


def check_whole(folder: Path, record: Record, study: Study, *, searched: bool = True) -> None:
    """What holds for every finished study with tuned arms; where the arms alone were trained, a
    trial of the study's own search may wait at its rung.
    """
    assert Record.of(read_events(folder)) == record
    epochs = Counter(
        (e["run"], e["metrics"]["epoch"]) for e in lines(folder) if e["type"] == "epoch"
    )
    assert set(epochs.values()) == {1}
    waits = {run.key for run in record.trials() if run.status == "paused" and not searched}
    ended = ("complete", "stopped", "diverged")
    assert all(run.status in ended or run.key in waits for run in record.runs.values())
    for target in study.targets():
        keys = record.searches[target.name]
        assert len(keys) == target.num_trials
        assert record.runs[keys[0]].config == target.config.model_dump(mode="json")
        best = record.best_trial(target.name)
        wanted = range(1, study.ablation.replicates + 1) if not target.serves else [target.serves]
        runs = {run.replicate: run for run in record.arms()[target.arm]}
        assert best is not None
        assert best.key in keys
        assert all(runs[replicate].config == best.config for replicate in wanted)


# ---- what an arm may tune


def names(space: Space | None) -> set[str]:
    return set(space.paths()) if space else set()


def test_what_any_arm_sets_is_searched_in_none():
    study = tuned_study(
        arms={"baseline": {}, "dropout": {"model.dropout": 0.3}, "batch": {"batch_size": 16}}
    )
    optimizer = {
        "optimizer.name",
        "optimizer.sgd.lr",
        "optimizer.sgd.momentum",
        "optimizer.adam.lr",
    }
    assert {arm: names(space) for arm, (_, space) in study.spaces().items()} == dict.fromkeys(
        ("baseline", "dropout", "batch"), optimizer
    )


def test_of_a_part_that_an_arm_sets_each_arm_tunes_its_own_variants_fields():
    study = tuned_study(
        arms={
            "baseline": {},
            "sgd": {"optimizer.name": "sgd"},
            "rms": {"optimizer.name": "rmsprop"},
        }
    )
    rest = {"model.dropout", "batch_size"}
    found = {arm: names(space) for arm, (_, space) in study.spaces().items()}
    assert found == {
        "baseline": rest | {"optimizer.lr"},
        "sgd": rest | {"optimizer.lr", "optimizer.momentum"},
        "rms": rest,
    }
    assert study.spaces()["sgd"][1].knobs["optimizer.lr"].high == 0.3
    assert study.spaces()["baseline"][1].knobs["optimizer.lr"].high == 1e-2


def test_a_part_of_which_an_arm_sets_a_field_keeps_its_variant():
    """Another variant would take the arm's own value away."""
    study = tuned_study(arms={"baseline": {}, "decay": {"optimizer.weight_decay": 0.1}})
    config, space = study.spaces()["decay"]
    assert names(space) == {"model.dropout", "batch_size", "optimizer.lr"}
    assert config.override({"optimizer.lr": 1e-3}).optimizer.weight_decay == 0.1
    knob = Space(
        knobs={"model.name": Choice(options=("cnn", "resnet18")), "batch_size": Int(low=8, high=16)}
    )
    assert names(nuisance(knob, config.flat(), {"model.dropout"})) == {"batch_size"}


def test_knobs_without_a_place_in_the_arms_config_and_epochs_are_left_out():
    space = Space(
        knobs={"epochs": Int(low=1, high=4), "model.plain": Choice(options=(True, False))}
    )
    study = tuned_study(space=space, arms={"baseline": {}, "resnet": {"model.name": "resnet"}})
    assert {arm: names(found) for arm, (_, found) in study.spaces().items()} == {
        "baseline": set(),
        "resnet": {"model.plain"},
    }
    assert [target.arm for target in study.targets()] == ["resnet"]


def test_the_searches_have_seeds_of_their_own_that_the_arms_share():
    for tuning in (PER_ARM, REPLICATED):
        study = tuned_study(tuning)
        seeds = {}
        for target in study.targets():
            seeds.setdefault(target.serves, set()).add(target.seed)
        assert all(len(found) == 1 for found in seeds.values())
        assert len(set.union({study.search.seed}, *seeds.values())) == 1 + len(seeds)


def test_fixed_is_the_default_and_nothing_is_searched():
    study = small_study()
    assert study.ablation.tuning == Fixed()
    assert study.targets() == ()


# ---- refusals


def test_too_few_trials_for_the_replicates_are_refused():
    with pytest.raises(
        UserError, match=r"ablation\.tuning\.num_trials.*got 5\); allowed: at least 6"
    ):
        tuned_study(REPLICATED, replicates=3).check()
    tuned_study(Replicated(num_trials=6), replicates=3).check()


def test_a_range_that_an_arm_refuses_is_refused_before_anything_runs():
    space = Space(
        branches={
            "optimizer": {
                "sgd": {"lr": Float(low=1e-3, high=0.3)},
                "adam": {"lr": Float(low=0, high=1)},
            }
        }
    )
    with pytest.raises(UserError, match=r"optimizer\.lr"):
        tuned_study(
            space=space, arms={"baseline": {}, "adamw": {"optimizer.name": "adamw"}}
        ).check()


@pytest.mark.parametrize(
    "tuning", [Fixed(), PER_ARM, Replicated(num_trials=7)], ids=lambda tuning: tuning.name
)
def test_a_policy_can_be_named_and_survives_json(tuning):
    study = tuned_study(tuning, replicates=2)
    study.check()
    assert Study.parse(study.model_dump(mode="json"), source="test") == study
    named = study.override({"ablation.tuning.name": "replicated", "ablation.tuning.num_trials": 8})
    assert named.ablation.tuning == Replicated(num_trials=8)


POLICY = ["ablation.tuning=per_arm", "ablation.tuning.num_trials=6"]
WHOLE = ['ablation.tuning={"name": "per_arm", "num_trials": 6}']


@pytest.mark.parametrize(
    "sets", [POLICY, POLICY[::-1], WHOLE], ids=["name first", "name last", "as a whole"]
)
def test_a_command_names_the_policy(sets):
    flags = parser("pipeline.ablate", "", trains=True)
    words = ["--study", "hw3", *(word for text in sets for word in ("--set", text))]
    study = chosen(options(flags, words)).study
    assert study.ablation.tuning == PerArm(num_trials=6)
    with pytest.raises(UserError, match=r"ablation\.tuning\.name: unknown.*did you mean 'per_arm'"):
        chosen(options(flags, ["--study", "hw3", "--set", "ablation.tuning=perarm"]))


def test_the_preview_tells_the_arms_searches():
    text = preview(tuned_study(), None, "", Path("mlruns/small"), with_search=False)
    assert "tuning     per_arm: 4 trials for each arm, 8 in all, about 24 epochs" in text
    assert "every arm:" in text
    assert "optimizer.sgd.momentum: 0.5 … 0.98" in text
    assert "fixed: every arm takes" in preview(
        small_study(), None, "", Path("mlruns/small"), with_search=False
    )


# ---- the searches


@pytest.mark.parametrize(
    "study",
    [
        pytest.param(tuned_study(), id="per_arm"),
        pytest.param(tuned_study(REPLICATED), id="replicated"),
        pytest.param(tuned_study(scheduler="stopping", sampler="random"), id="stopping"),
    ],
)
@pytest.mark.parametrize("with_search", [True, False])
def test_every_arm_has_its_own_search_of_the_same_size(tmp_path, study, with_search):
    worker = Worker()
    plan = open_plan(tmp_path, study, with_search=with_search)
    planned = sum(plan.total_epochs())
    record = drive(plan, worker)
    check_whole(tmp_path, record, study)
    assert len(set(worker.trained)) == len(worker.trained) <= planned * 1.3
    arms = [run for runs in record.arms().values() for run in runs]
    assert {run.status for run in arms} == {"complete"}
    assert all(run.test_acc is None for run in record.runs.values() if run.kind == "trial")
    assert len(record.trials()) == (3 if with_search else 0)
    plan = open_plan(tmp_path, study, with_search=with_search)
    assert not plan.outstanding()
    assert plan.remaining_epochs() == (0.0, 0)
    plan.ledger.close()


def test_mini_studies_have_splits_of_their_own(tmp_path):
    study = tuned_study(Replicated(num_trials=7), replicates=3)
    plan, seeds = open_plan(tmp_path, study, with_search=False), {}
    worker = Worker()
    while (segment := plan.next()) is not None:
        seeds.setdefault(segment.seeds.replicate, set()).add(segment.seeds.run)
        worker.run(plan, segment)
    plan.ledger.close()
    assert set(seeds) == {1, 2, 3, FIRST_SPLIT + 1, FIRST_SPLIT + 2, FIRST_SPLIT + 3}
    assert len(set.union(*seeds.values())) == 6
    assert [len(keys) for keys in searches_of(plan.record, "strong").values()] == [2, 2, 2]
    configs = {str(run.config) for run in plan.record.arms()["strong"]}
    assert len(configs) > 1, "each replicate has the best of its own search"


@pytest.mark.parametrize(
    ("study", "make_worker", "every"),
    [
        pytest.param(tuned_study(), Worker, 1, id="per_arm"),
        pytest.param(tuned_study(REPLICATED, num_trials=0), Worker, 4, id="replicated"),
        pytest.param(tuned_study(scheduler="stopping"), trouble, 8, id="trouble"),
        pytest.param(tuned_study(), impatient, 9, id="early"),
        pytest.param(tuned_study(scheduler="hyperband"), trouble, 9, id="hyperband"),
        pytest.param(
            tuned_study(space=Space(knobs={"batch_size": Choice(options=(16, 32))}), num_trials=5),
            Worker,
            4,
            id="twins",
        ),
    ],
)
def test_a_study_killed_after_any_event_ends_as_if_it_had_not_been(
    tmp_path, study, make_worker, every
):
    expected = drive(open_plan(tmp_path / "whole", study), make_worker())
    if make_worker is Worker:
        check_whole(tmp_path / "whole", expected, study)
    for folder in telling(tmp_path / "whole", tmp_path / "killed", every):
        record = drive(open_plan(folder, study), make_worker())
        assert everything(record) == everything(expected), folder.name
        shutil.rmtree(folder)


@pytest.mark.parametrize("tuning", [PER_ARM, REPLICATED], ids=lambda tuning: tuning.name)
def test_several_workers_killed_at_any_time_finish_the_same_plan(tmp_path, tuning):
    study = tuned_study(tuning)
    drive(open_plan(tmp_path / "whole", study), Worker(), workers=3, seed=1)
    for number, folder in enumerate(prefixes(tmp_path / "whole", tmp_path / "killed")[::4]):
        record = drive(open_plan(folder, study), Worker(), workers=3, seed=number)
        check_whole(folder, record, study)


def test_what_two_searches_propose_is_trained_once_and_counts_in_both(tmp_path):
    study, worker = tuned_study(), Worker()
    record = drive(open_plan(tmp_path, study), worker)
    own, arms = record.searches[""], record.searches["arm:baseline"]
    assert own[0] == arms[0], "the baseline is trial 0 of both"
    twin = next(e for e in lines(tmp_path) if e["type"] == "twin")
    assert (twin["search"], twin["trial"]) == ("arm:baseline", 0)
    assert record.runs[own[0]].search == ""
    assert record.trials("arm:baseline")[0].search == "arm:baseline"
    assert len(set(worker.trained)) == len(worker.trained)


def test_the_arms_first_and_the_search_afterwards_share_the_baseline(tmp_path):
    study, worker = tuned_study(), Worker()
    before = drive(open_plan(tmp_path, study, with_search=False), worker)
    assert before.trials() == []
    configs = {
        (run.arm, run.replicate): run.config for runs in before.arms().values() for run in runs
    }
    record = drive(open_plan(tmp_path, study), worker)
    check_whole(tmp_path, record, study)
    assert [run.number for run in record.trials()] == [0, 1, 2]
    assert set(record.trials()[0].knobs) == set(study.space.point(study.baseline.flat()))
    assert {
        (run.arm, run.replicate): run.config for runs in record.arms().values() for run in runs
    } == configs
    assert len(set(worker.trained)) == len(worker.trained)


def test_a_run_that_an_interrupted_search_left_is_taken_up_by_an_arms(tmp_path):
    study, worker = tuned_study(), Worker()
    plan = open_plan(tmp_path, study)
    worker.steps(plan, plan.next())[0]()
    plan.ledger.close()
    assert plan.record.trials()[0].status == "running"
    record = drive(open_plan(tmp_path, study, with_search=False), worker)
    check_whole(tmp_path, record, study, searched=False)
    assert len(set(worker.trained)) == len(worker.trained)


def test_more_replicates_are_trained_with_what_was_chosen_before(tmp_path):
    study = tuned_study()
    before = drive(open_plan(tmp_path, study), Worker())
    more = study.override({"ablation.replicates": 4, "search.num_trials": 9})
    record = drive(open_plan(tmp_path, more), Worker())
    for arm, runs in record.arms().items():
        assert len(runs) == 4
        assert {str(run.config) for run in runs} == {str(before.arms()[arm][0].config)}


def test_an_arm_whose_trials_all_diverge_has_no_configuration(tmp_path):
    study = tuned_study()
    worker = Worker(diverges=lambda config: config.augment.strength > 0)
    record = drive(open_plan(tmp_path, study), worker)
    assert {arm: len(runs) for arm, runs in record.arms().items()} == {"baseline": 2, "strong": 0}
    assert record.best_trial("arm:strong") is None
    plan = open_plan(tmp_path, study)
    assert not plan.outstanding()
    plan.ledger.close()


def test_an_arm_whose_trials_all_failed_is_tried_again_by_the_next_command(tmp_path):
    study = tuned_study(num_trials=0)
    failing = Worker(fails=lambda config, _: config.augment.strength > 0, retry=False)
    study = study.override({"ablation.tuning.num_trials": 2})
    record = drive(open_plan(tmp_path, study), failing)
    assert record.arms()["strong"] == []
    record = drive(open_plan(tmp_path, study), Worker())
    check_whole(tmp_path, record, study)


def test_past_the_searchs_time_the_arms_searches_are_the_arms_work(tmp_path):
    plan, worker = open_plan(tmp_path, tuned_study()), Worker()
    plan.past_search = True
    record = drive(plan, worker)
    kinds = [(run.kind, run.search == "") for run in record.runs.values()]
    assert kinds.index(("trial", True)) > max(
        i for i, kind in enumerate(kinds) if kind != ("trial", True)
    )


def test_a_ledger_from_before_arms_were_tuned_reads_as_it_did(tmp_path):
    study = small_study(num_trials=5, space=Space(knobs={"batch_size": Choice(options=(16, 32))}))
    record = drive(open_plan(tmp_path, study), Worker())
    old = [
        {
            key: value
            for key, value in event.items()
            if key not in ("search", "sent") and (key, value) != ("arm", "")
        }
        for event in lines(tmp_path)
    ]
    old[0]["study"]["ablation"].pop("tuning")
    assert facts(Record.of(map(read, old))) == facts(record)
    assert Record.of(map(read, old)).study == study


def test_asking_a_plan_changes_nothing(tmp_path):
    study, worker = tuned_study(), Worker()
    plan: Plan = open_plan(tmp_path / "asked", study)
    while (segment := plan.next()) is not None:
        assert plan.outstanding()
        plan.remaining_epochs()
        worker.run(plan, segment)
    assert plan.remaining_epochs() == (0.0, 0)
    plan.close_search()
    plan.ledger.close()
    whole = drive(open_plan(tmp_path / "plain", study), Worker())
    assert everything(Record.of(read_events(tmp_path / "asked"))) == everything(whole)


def test_two_arms_never_end_as_one_configuration(tmp_path):
    study = tuned_study().override(
        {"ablation.design": Factorial(on={"d": {"model.dropout": 0.2}, "b": {"batch_size": 16}})}
    )
    record = drive(open_plan(tmp_path, study), Worker())
    configs = [str(runs[0].config) for runs in record.arms().values()]
    assert len(set(configs)) == 4
