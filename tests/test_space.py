import random

import pytest
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial
from pydantic import ValidationError

from pipeline.core.config import TrainConfig
from pipeline.core.optimizers import SGD
from pipeline.errors import UserError
from pipeline.search_spaces.hw3 import SPACE as HW3
from pipeline.study.around import Around
from pipeline.study.space import Choice, Float, Int, Space
from pipeline.study.survey import check
from tests.studies import SPACE

RANGES = (
    Float(low=0.0, high=0.5),
    Float(low=1e-4, high=1.0, log=True),
    Int(low=0, high=9),
    Int(low=1, high=64, log=True),
    Float(low=0.1, high=0.7, step=0.2),
    Int(low=8, high=64, step=8),
    Choice(options=(16, 32)),
    Choice(options=("cnn", "resnet18")),
    Choice(options=(True, False)),
)
EVERY_RANGE = pytest.mark.parametrize(
    "knob", RANGES, ids=lambda knob: f"{type(knob).__name__}: {knob.describe()}"
)
EVERY_SPACE = pytest.mark.parametrize("space", [SPACE, HW3], ids=["small", "hw3"])


class Draws:
    """A trial that draws evenly and keeps what it was asked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.asked: dict[str, object] = {}

    def suggest_float(self, name, low, high, *, step, log):
        assert log in (True, False)
        if step is None:
            return self._keep(name, self.random.uniform(low, high))
        return self._keep(name, low + step * self.random.randint(0, round((high - low) / step)))

    def suggest_int(self, name, low, high, *, step, log):
        assert log in (True, False)
        return self._keep(name, self.random.randrange(low, high + 1, step))

    def suggest_categorical(self, name, choices):
        return self._keep(name, self.random.choice(list(choices)))

    def _keep(self, name, value):
        assert name not in self.asked, "one name, one density"
        self.asked[name] = value
        return value


@EVERY_RANGE
def test_the_ends_of_a_range_belong_to_it(knob):
    assert knob.edges()
    assert all(knob.contains(edge) for edge in knob.edges())


@EVERY_RANGE
def test_what_is_drawn_lies_in_the_range(knob):
    for seed in range(20):
        assert knob.contains(knob.suggest(Draws(seed), "x"))


@EVERY_RANGE
def test_optuna_takes_every_range_with_its_ends(knob):
    for edge in knob.edges():
        trial = FixedTrial({"x": edge})
        assert knob.suggest(trial, "x") == edge
        assert isinstance(trial.distributions["x"], BaseDistribution)


@EVERY_RANGE
def test_what_no_range_holds(knob):
    for value in (None, "no such", -1, 1e9, float("nan"), [1]):
        assert not knob.contains(value)


@EVERY_RANGE
def test_a_range_goes_through_json(knob):
    assert type(knob).parse(knob.model_dump(mode="json"), source="test") == knob


def test_a_step_leaves_only_its_own_values():
    knob = Float(low=0.1, high=0.7, step=0.2)
    assert [
        value for value in (0.1, 0.2, 0.3, 0.1 + 2 * 0.2, 0.7, 0.9) if knob.contains(value)
    ] == [
        0.1,
        0.3,
        0.1 + 2 * 0.2,
        0.7,
    ]
    assert knob.describe() == "0.1 … 0.7 (step 0.2)"
    assert [value for value in range(70) if Int(low=8, high=64, step=8).contains(value)] == [
        *range(8, 65, 8)
    ]


def test_true_is_no_number():
    assert not Float(low=0, high=2).contains(True)
    assert not Int(low=0, high=2).contains(True)
    assert not Int(low=0, high=2).contains(1.5)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (Float, {"low": 1, "high": 1}, "low must be below high"),
        (Float, {"low": 2, "high": 1}, "low=2.0, high=1.0"),
        (Float, {"low": 0, "high": 1, "log": True}, "log range needs low > 0"),
        (Float, {"low": float("-inf"), "high": 1}, "finite"),
        (Int, {"low": 3, "high": 3}, "low must be below high"),
        (Int, {"low": 0, "high": 3, "log": True}, "log range needs low >= 1"),
        (Int, {"low": 0.5, "high": 3}, "integer"),
        (Float, {"low": 0, "high": 1, "step": 0.3}, "whole number of steps above low"),
        (Float, {"low": 0, "high": 1, "step": 0}, "greater than 0"),
        (Float, {"low": 0.1, "high": 1, "step": 0.3, "log": True}, "a log range has no step"),
        (Int, {"low": 1, "high": 8, "step": 2}, "whole number of steps above low"),
        (Choice, {"options": ()}, "at least 1 item"),
        (Choice, {"options": (1, 2, 1)}, "repeat"),
        (Choice, {"options": (float("nan"),)}, "finite"),
        (Space, {}, "empty"),
        (Space, {"branches": {"optimizer": {}}}, "at least one"),
        (
            Space,
            {"knobs": {"a": Int(low=1, high=2)}, "branches": {"optimizer": {}}},
            "at least one variant",
        ),
        (
            Space,
            {"knobs": {"model.name": Choice(options=("cnn",))}, "branches": {"model": {"cnn": {}}}},
            "both a knob and a branch",
        ),
    ],
)
def test_an_impossible_range_is_refused(kind, fields, words):
    with pytest.raises(ValidationError, match=words):
        kind(**fields)


@EVERY_SPACE
def test_a_point_makes_a_config_and_is_read_back_from_it(space):
    seen = set()
    for seed in range(40):
        knobs = space.suggest(Draws(seed))
        config = TrainConfig().override(knobs)
        assert space.point(config.flat()) == knobs
        seen.add(config.optimizer.name)
    assert seen == set(space.branches["optimizer"])


@EVERY_SPACE
def test_names_are_qualified_by_the_variant(space):
    table = dict(space.table())
    asked: set[str] = set()
    for seed in range(40):
        trial = Draws(seed)
        knobs = space.suggest(trial)
        asked |= trial.asked.keys()
        active = space.active(knobs)
        assert {name: value for name, (_, value) in active.items()} == trial.asked
        assert all(knob.contains(value) for knob, value in active.values())
        name = knobs["optimizer.name"]
        assert f"optimizer.{name}.lr" in trial.asked
        assert "optimizer.lr" not in trial.asked
    assert asked == set(table)


def test_a_point_outside_the_space_is_none():
    inside = TrainConfig(batch_size=32).flat()
    assert SPACE.point(inside) is not None
    assert SPACE.point(inside | {"batch_size": 64}) is None
    assert SPACE.point(inside | {"optimizer.name": "rmsprop"}) is None
    assert SPACE.point(inside | {"optimizer.lr": 0.5}) is None
    assert SPACE.point({}) is None


def test_a_point_that_lacks_a_knob_is_refused():
    with pytest.raises(KeyError):
        SPACE.active({"model.dropout": 0.1})


@EVERY_SPACE
def test_a_legal_space_passes(space):
    check(Around(space, TrainConfig()), source="test")


def test_every_illegal_end_is_named_before_anything_runs():
    space = Space(
        knobs={
            "model.dropout": Float(low=0.0, high=1.0),
            "optimizer.momentum": Float(low=0.1, high=0.2),
            "batchsize": Int(low=2, high=4),
            "epochs": Int(low=0, high=3),
        },
        branches={
            "schedule": {"cosine": {"warmup": Float(low=0.0, high=2.0)}, "cosin": {}},
            "optimiser": {"sgd": {"lr": Float(low=0.1, high=0.2)}},
        },
    )
    with pytest.raises(UserError) as caught:
        check(Around(space, TrainConfig()), source="here")
    text = str(caught.value)
    for words in (
        "here: model.dropout",
        "here: optimizer.momentum: unknown key",
        "here: batchsize: no field of a configuration, and nothing is derived of it; got",
        "did you mean 'batch_size'?",
        "here: epochs",
        "here: schedule.warmup",
        "here: schedule.name: unknown; got 'cosin'",
        "did you mean 'optimizer'?",
    ):
        assert words in text
    lines = text.splitlines()
    assert len(lines) == len(set(lines))


def test_the_ends_of_a_branch_are_checked_within_it():
    space = Space(
        branches={"optimizer": {"sgd": {"nesterov": Choice(options=(True, False))}, "adam": {}}}
    )
    check(Around(space, TrainConfig()), source="test")
    space = Space(branches={"optimizer": {"sgd": {"momentum": Float(low=0.0, high=0.9)}}})
    with pytest.raises(UserError, match="nesterov needs momentum"):
        check(Around(space, TrainConfig(optimizer=SGD(nesterov=True))), source="test")


def test_a_space_goes_through_json():
    for space in (SPACE, HW3):
        assert Space.parse(space.model_dump(mode="json"), source="test") == space
