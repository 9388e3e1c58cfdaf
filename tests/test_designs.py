import itertools

import pytest
from pydantic import ValidationError

from pipeline.config import TrainConfig
from pipeline.designs import DESIGNS, Arms, Factorial
from pipeline.study import Ablation

FACTORS = {
    "dropout": {"model.dropout": 0.25},
    "augmentation": {"augment.strength": 1.0},
    "ResNet": {"model.name": "resnet18"},
    "SGD": {"optimizer.name": "sgd", "optimizer.lr": 0.1},
}
EXAMPLES = {
    "arms": [Arms(arms={"plain": {}, **FACTORS}), Arms(arms={"b": {"epochs": 2}, "a": {}})],
    "factorial": [Factorial(on=dict(itertools.islice(FACTORS.items(), k))) for k in (1, 2, 3, 4)],
}
EVERY_DESIGN = pytest.mark.parametrize(
    "design",
    [pytest.param(example, id=f"{name}-{i}") for name, found in EXAMPLES.items() for i, example in enumerate(found)],
)


def test_every_design_has_examples_here():
    assert set(EXAMPLES) == {design.model_fields["name"].default for design in DESIGNS}


@EVERY_DESIGN
def test_arms_have_names_of_their_own_and_say_their_levels(design):
    arms = design.expand()
    assert len({arm.name for arm in arms}) == len(arms) >= 2
    assert all(arm.name for arm in arms)
    for arm in arms:
        assert tuple(arm.levels) == design.factors()
    assert design.expand() == arms


@EVERY_DESIGN
def test_every_arm_is_a_config_of_its_own(design):
    configs = [TrainConfig().override(arm.overrides) for arm in design.expand()]
    assert len({config.fingerprint() for config in configs}) == len(configs)


@EVERY_DESIGN
def test_a_design_goes_through_json_inside_a_study(design):
    ablation = Ablation(design=design)
    again = Ablation.parse(ablation.model_dump(mode="json"), source="test")
    assert again == ablation
    assert again.design.expand() == design.expand()


def test_arms_stay_as_given():
    design = Arms(arms={"b": {"epochs": 2}, "a": {}})
    assert [(arm.name, dict(arm.overrides)) for arm in design.expand()] == [("b", {"epochs": 2}), ("a", {})]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_factorial_is_complete(count):
    factors = dict(itertools.islice(FACTORS.items(), count))
    arms = Factorial(reference="none", on=factors).expand()
    assert {tuple(arm.levels.values()) for arm in arms} == set(itertools.product((False, True), repeat=count))
    assert arms[0].name == "none"
    assert not arms[0].overrides
    sizes = [sum(arm.levels.values()) for arm in arms]
    assert sizes == sorted(sizes)
    for arm in arms:
        on = [factor for factor in factors if arm.levels[factor]]
        assert arm.name == (" + ".join(on) or "none")
        assert dict(arm.overrides) == {path: value for factor in on for path, value in factors[factor].items()}


@pytest.mark.parametrize(
    ("design", "fields", "words"),
    [
        (Arms, {"arms": {"only": {}}}, "at least 2"),
        (Factorial, {"on": {}}, "at least 1"),
        (Factorial, {"on": {str(i): {f"k{i}": 1} for i in range(5)}}, "at most 4"),
        (Factorial, {"on": {"baseline": {"epochs": 2}}}, "may not be called 'baseline'"),
        (Factorial, {"on": {"a": {"x": 1, "y": 1}, "b": {"y": 2}}}, r"'a' and 'b' both set \['y'\]"),
        (Factorial, {"on": {"a": {"x": 1}, "b": {"y": 1}, "a + b": {"z": 1}}}, "two arms are called 'a \\+ b'"),
        (Factorial, {"reference": "a + b", "on": {"a": {"x": 1}, "b": {"y": 1}}}, "two arms are called 'a \\+ b'"),
        (Factorial, {"on": {"": {"x": 1}}}, "at least 1 character"),
        (Arms, {"arms": {"": {}, "b": {"epochs": 1}}}, "at least 1 character"),
    ],
)
def test_an_undefined_design_is_refused(design, fields, words):
    with pytest.raises(ValidationError, match=words):
        design(**fields)
