"""Constraints, conditions, derived and ordered knobs of a search space: what is refused, what is
said, and what they mean to all that reads a search.
"""

from typing import get_args

import pytest
from pydantic import ValidationError

from pipeline.core.config import TrainConfig
from pipeline.core.optimizers import SGD
from pipeline.engine.sampler import MIN_VALUES, RungSampler
from pipeline.errors import UserError
from pipeline.record.revision import definitions, looked_for, place, searches
from pipeline.session.derived import derive
from pipeline.session.dry_run import preview
from pipeline.study.around import Around
from pipeline.study.samplers import Sampler
from pipeline.study.space import Choice, Float, Int, Space
from pipeline.study.study import Study
from pipeline.study.survey import check
from pipeline.study.tuning import PerArm, nuisance
from tests.driver import Worker, drive, facts, open_plan
from tests.studies import SPACE, small_study
from tests.test_plan import prefixes

BATCHES = {"batch_size": Choice(options=(4, 8, 32))}
RATE = {**BATCHES, "lr_per_64": Float(low=0.001, high=0.1, log=True)}
PER_64 = {"optimizer.lr": "lr_per_64 * batch_size / 64"}
DERIVED = Space(knobs=RATE, derived=PER_64, where=("optimizer.lr <= 0.04",))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"where": ("batch_size +",)}, "batch_size +: no expression"),
        ({"where": ("log(batch_size) > 1",)}, "did you mean 'log2'"),
        (
            {"when": {"batch": "epochs > 1"}},
            "when: no knob of that name; .*mean 'batch_size'",
        ),
        ({"when": {"batch_size": "batch_size > 4"}}, "when: batch_size waits for itself"),
        ({"derived": {"batch_size": "epochs * 2"}}, "derived: 'batch_size' is a knob, too"),
        ({"derived": {"epochs": "patience", "patience": "epochs"}}, "derived: .*wait for each"),
        (
            {"derived": {"epochs": "batch_size"}, "when": {"batch_size": "epochs > 3"}},
            "when: 'epochs' is derived",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_refused(fields, words):
    with pytest.raises(ValidationError, match=words.replace("+", r"\+")):
        Space(knobs=BATCHES, **fields)


def test_conditions_that_wait_for_each_other_are_refused():
    knobs = {**BATCHES, "accumulate": Int(low=1, high=2), "epochs": Int(low=1, high=3)}
    when = {"accumulate": "epochs > 1", "epochs": "accumulate > 1"}
    with pytest.raises(ValidationError, match="when: accumulate, epochs wait for each other"):
        Space(knobs=knobs, when=when)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"where": ("batchsize < 3",)}, "x: where: batchsize < 3: no field .*mean 'batch_size'"),
        ({"where": ("model.name == vgg",)}, r"a text needs quotes\); got 'vgg'"),
        ({"where": ("model.widht > 2",)}, "got 'model.widht'; allowed: .*mean 'model.width'"),
        ({"when": {"batch_size": "epoch > 3"}}, r"x: when.batch_size: .*did you mean 'epochs'"),
        ({"derived": {"optimizer.rate": "batch_size"}}, "x: derived.optimizer.rate: .*got"),
        (
            {"where": ("batch_size > 100",)},
            "x: nothing to search is found in it: .*where batch_size > 100",
        ),
        ({"where": ("batch_size",)}, "nothing to search is found"),
        (
            {"derived": {"epochs": "batch_size / 64"}},
            r"x: epochs: a whole number is expected.*\(derived: batch_size / 64\)",
        ),
        ({"derived": {"epochs": "batch_size / 0"}}, "derived: batch_size / 0: .*division by zero"),
    ],
)
def test_a_rule_of_nothing_is_refused_before_anything_starts(fields, words):
    with pytest.raises(UserError, match=words):
        check(Around(Space(knobs=BATCHES, **fields), TrainConfig()), source="x")


def test_a_knob_that_is_no_field_must_be_used():
    with pytest.raises(
        UserError, match="x: lr_per_64: no field of a configuration, and nothing is"
    ):
        check(Around(Space(knobs=RATE), TrainConfig()), source="x")
    check(Around(DERIVED, TrainConfig()), source="x")
    far = {**BATCHES, "lr_per_64": Choice(options=(0.01, 1e6))}
    with pytest.raises(UserError, match=r"optimizer\.lr"):
        check(Around(Space(knobs=far, derived=PER_64), TrainConfig()), source="x")


def test_what_the_pictures_are_is_not_derived():
    space = Space(knobs=BATCHES, derived={"dataset.size": "batch_size"})
    with pytest.raises(UserError, match=r"dataset\.size: it must be the same for all trials"):
        small_study(space=space).check()


def test_a_dry_run_says_what_rules_do(tmp_path):
    space = Space(
        knobs={**BATCHES, "model.dropout": Float(low=0.0, high=0.5)},
        where=("batch_size * model.width <= 40", "batch_size < 100"),
        when={"model.dropout": "batch_size > 64"},
    )
    study = small_study(space=space)
    words = " ".join(preview(study, None, "", tmp_path, with_search=True).split())
    assert "model.dropout: 0 … 0.5, when batch_size > 64" in words
    assert "where: batch_size * model.width <= 40" in words
    share = int(words.split("left of the space: ")[1].split()[0])
    assert share == pytest.approx(200, abs=25)
    assert "warning: where batch_size < 100: it excludes none of 300 points" in words
    assert "warning: when batch_size > 64: it holds at none" in words
    assert (
        "the baseline does not keep: where batch_size * model.width <= 40; it is trial 0" in words
    )
    assert "= lr_per_64 * batch_size / 64" in str(DERIVED.table())


def derived_study(**fields) -> Study:
    rates = {"optimizer.lr": 0.004, "optimizer.name": "sgd"}
    study = small_study(**{"space": DERIVED, "num_trials": 8, "replicates": 1, **fields})
    return study.override({f"baseline.{path}": value for path, value in rates.items()})


def test_the_ledger_has_the_point_and_the_config_what_is_derived(tmp_path):
    study = derived_study(first=({"lr_per_64": 0.01, "batch_size": 32},), race=3)
    record = drive(open_plan(tmp_path, study), Worker())
    baseline, first, *others = record.trials()
    assert baseline.knobs == {}
    assert first.knobs == {"lr_per_64": 0.01, "batch_size": 32}
    assert first.config["optimizer"]["lr"] == 0.005
    for run in others:
        lr = run.knobs["lr_per_64"] * run.knobs["batch_size"] / 64
        assert run.config["optimizer"]["lr"] == lr <= 0.04
    assert record.race.winner
    best = record.runs[record.race.winner]
    arm = study.baseline.override(record.race.overrides)
    assert arm.model_dump(mode="json") == best.config
    assert "lr_per_64" not in record.race.overrides


def test_a_search_of_rules_that_was_killed_ends_as_if_it_had_not_been(tmp_path):
    study = derived_study(num_trials=6)
    expected = facts(drive(open_plan(tmp_path / "whole", study), Worker()))
    for folder in prefixes(tmp_path / "whole", tmp_path / "killed")[::7]:
        assert facts(drive(open_plan(folder, study), Worker())) == expected


@pytest.mark.parametrize("way", ["path", "around"])
def test_the_path_goes_by_what_the_config_has(tmp_path, way):
    study = derived_study()
    record = drive(open_plan(tmp_path, study), Worker(acc=lambda c, _: 1 - c.optimizer.lr))
    best = record.best_trial()
    assert best.number > 0
    made = derive(record, study, way)
    *_, last = [config.model_dump(mode="json") for _, config in made.arms()]
    configs = [config.model_dump(mode="json") for _, config in made.arms()]
    assert best.config in configs
    assert all("lr_per_64" not in str(arm.overrides) for arm, _ in made.arms())
    assert (last == best.config) == (way == "path")


def test_a_run_is_found_again_by_its_point():
    study = derived_study()
    around = Around(study.space, study.baseline)
    knobs = {"batch_size": 8, "lr_per_64": 0.02}

    class Ran:
        key = "x"
        config = around.made(knobs).model_dump(mode="json")

    Ran.knobs = knobs
    assert place(Ran, study.baseline, study.space) == knobs
    Ran.knobs = knobs | {"lr_per_64": 0.03}
    assert place(Ran, study.baseline, study.space) is None
    Ran.knobs = {}
    assert place(Ran, study.baseline, study.space) is None
    tighter = Space(knobs=BATCHES, where=("batch_size > 8",))
    Ran.config = study.baseline.override({"batch_size": 8}).model_dump(mode="json")
    assert place(Ran, study.baseline, Space(knobs=BATCHES)) == {"batch_size": 8}
    assert place(Ran, study.baseline, tighter) is None


WHEN = Space(
    knobs={"model.dropout": Float(low=0.1, high=0.5), **BATCHES},
    branches={"optimizer": {"sgd": {"momentum": Float(low=0.1, high=0.5)}, "adam": {}}},
    when={
        "model.dropout": "optimizer.name == 'sgd' and optimizer.momentum > 0.3",
        "optimizer.sgd.momentum": "batch_size > 4",
    },
)


def test_conditions_are_asked_from_the_ground_up():
    assert [slot.name for slot in WHEN.slots()] == [
        "batch_size",
        "optimizer.name",
        "optimizer.sgd.momentum",
        "model.dropout",
    ]
    around = Around(WHEN, TrainConfig(optimizer=SGD(momentum=0.9)))
    named = {"batch_size": 4, "optimizer.name": "sgd", "model.dropout": 0.2}
    assert around.complete(named, source="x") == named, "the baseline's momentum is above 0.3"
    with pytest.raises(UserError, match=r"optimizer.momentum: no knob of this point"):
        around.complete(named | {"optimizer.momentum": 0.2}, source="x")
    assert WHEN.active(named).keys() == {"batch_size", "optimizer.name", "model.dropout"}


def test_an_arm_tunes_what_its_own_values_allow():
    flat = TrainConfig(optimizer=SGD(momentum=0.4)).flat()
    fixed = nuisance(WHEN, flat, ["optimizer.name"])
    assert fixed.when == {
        "model.dropout": WHEN.when["model.dropout"],
        "optimizer.momentum": "batch_size > 4",
    }
    assert not fixed.branches
    adam = nuisance(WHEN, TrainConfig().flat(), ["optimizer.name"])
    assert dict(adam.table()) == {"batch_size": "4 | 8 | 32"}
    assert nuisance(WHEN, flat, ["batch_size"]).when.keys() == {"model.dropout"}
    few = nuisance(WHEN, flat | {"batch_size": 4}, ["batch_size", "optimizer.name"])
    assert dict(few.table()) == {"model.dropout": "0.1 … 0.5"}
    few = nuisance(
        WHEN, flat | {"batch_size": 4, "optimizer.momentum": 0.2}, ["batch_size", "optimizer.name"]
    )
    assert few is None
    derived = nuisance(DERIVED, TrainConfig().flat(), ["optimizer.lr"])
    assert dict(derived.table()) == {"batch_size": "4 | 8 | 32", "where": "optimizer.lr <= 0.04"}
    assert nuisance(DERIVED, TrainConfig().flat(), ["epochs"]) == DERIVED


def test_arms_are_tuned_by_spaces_with_rules(tmp_path):
    study = derived_study(num_trials=0).override(
        {"ablation.tuning": PerArm(num_trials=3).model_dump()}
    )
    study.check()
    record = drive(open_plan(tmp_path, study), Worker())
    for target in study.targets():
        runs = record.trials(target.name)
        assert len(record.searches[target.name]) == 3
        assert all(run.config["optimizer"]["lr"] <= 0.04 for run in runs)
    from pipeline.analysis.tuning_effort import efforts

    found = efforts(record, study)
    assert any("optimizer.lr" in effort.chosen for effort in found.values())


def test_a_space_without_rules_has_the_digests_of_former_versions():
    study = small_study()
    tree = SPACE.content()
    assert tree.keys() == {"knobs", "branches"}
    assert tree["knobs"]["batch_size"] == {"kind": "choice", "options": [16, 32]}
    assert Space.parse(tree, source="test") == SPACE
    assert len(definitions(study)) == 4
    own, *_ = searches(study)
    ruled = study.override({"space.where": ["batch_size > 16"]})
    assert looked_for(own) != looked_for(searches(ruled)[0])


def test_what_is_left_out_takes_its_condition_along():
    study = small_study(space=WHEN)
    left = study.override({"space.knobs.model.dropout": None}).space
    assert left.when.keys() == {"optimizer.sgd.momentum"}
    left = study.override(
        {"space.branches.optimizer": None, "space.when.model.dropout": None}
    ).space
    assert left.when == {}
    assert left.knobs == WHEN.knobs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((8, 4), r"ordered: numbers must rise, got \[8, 4\]; allowed: \[4, 8\]"),
        ((4, "a"), "either all numbers or all texts"),
        ((False, True), "either all numbers or all texts"),
    ],
)
def test_an_order_that_is_none_is_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        Choice(options=options, ordered=True)
    Choice(options=options)


@pytest.mark.parametrize("kind", get_args(Sampler))
def test_a_sampler_sees_ordered_options_as_the_whole_numbers_of_their_places(kind):
    options = (2, 4, 8, 16, 32)
    ordered = Space(knobs={"batch_size": Choice(options=options, ordered=True)})
    places = Space(knobs={"batch_size": Int(low=0, high=4)})
    one, other = (RungSampler(s, kind=kind, seed=0, num_rungs=1) for s in (ordered, places))
    for trial in range(1, MIN_VALUES + (3 if kind == "gp" else 12)):
        knobs, _ = one.ask(trial)
        number = options.index(knobs["batch_size"])
        assert other.ask(trial)[0] == {"batch_size": number}
        one.tell(trial, 0, number / 4)
        other.tell(trial, 0, number / 4)
    assert dict(ordered.table()) == {"batch_size": "2 | 4 | 8 | 16 | 32 (ordered)"}
