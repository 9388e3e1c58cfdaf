"""What is never drawn: combinations that the configuration refuses; whatever proposes."""

import functools
import json
from typing import get_args

import hypothesis
import pytest
from hypothesis import strategies as st

from pipeline.core.config import TrainConfig
from pipeline.core.models.resnet import ResNet
from pipeline.engine.sampler import MIN_VALUES, RungSampler
from pipeline.errors import UserError
from pipeline.report.compose import FIGURES, document, read
from pipeline.session.dry_run import preview
from pipeline.study.around import Around
from pipeline.study.drawn import grid
from pipeline.study.expression import parse
from pipeline.study.samplers import Sampler
from pipeline.study.space import Choice, Float, Int, Space
from pipeline.study.survey import check, example, never_drawn
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study

CONFIG = TrainConfig(model=ResNet())
ILLEGAL = Space(
    knobs={
        "model.plain": Choice(options=(True, False)),
        "model.shortcut": Choice(options=("A", "B", "C")),
        "batch_size": Choice(options=(4, 8, 32)),
        "accumulate": Int(low=1, high=4),
    }
)
WHERE = Space(
    knobs={
        "batch_size": Choice(options=(4, 8, 32)),
        "model.width": Int(low=8, high=32, step=8),
        "model.shortcut": Choice(options=("A", "B")),
    },
    where=(
        "batch_size * model.width <= 256",
        "not (model.shortcut == 'A' and batch_size in (4, 8)) and model.name == 'resnet'",
        "optimizer.momentum > 1",  # no field of this optimizer
    ),
)
WHEN = Space(
    knobs={
        "model.dropout": Choice(options=(0.1, 0.2)),
        "accumulate": Choice(options=(1, 2)),
        "batch_size": Choice(options=(4, 8, 32)),
    },
    branches={"optimizer": {"sgd": {"momentum": Choice(options=(0.1, 0.5))}, "adam": {}}},
    when={
        "model.dropout": "accumulate == 2 and optimizer.lr < 1",
        "accumulate": "batch_size >= 8",
        "optimizer.sgd.momentum": "batch_size == 32",
    },
)
DERIVED = Space(
    knobs={
        "batch_size": Choice(options=(4, 8, 32)),
        "lr_per_64": Choice(options=(0.01, 0.1, 0.4)),
        "width_per_lr": Choice(options=(100, 200)),
    },
    derived={
        "model.width": "max(2, round(width_per_lr * optimizer.lr))",
        "optimizer.lr": "lr_per_64 * batch_size / 64",
    },
    where=("optimizer.lr < 0.1", "lr_per_64 * width_per_lr <= 40"),
)
ORDERED = Space(
    knobs={
        "model.plain": Choice(options=(True, False)),
        "model.shortcut": Choice(options=("C", "B", "A"), ordered=True),
        "batch_size": Choice(options=(4, 8, 32), ordered=True),
    }
)
ALL = Space(
    knobs={
        **ORDERED.knobs,
        "accumulate": Choice(options=(1, 2, 4), ordered=True),
        "lr_per_64": Choice(options=(0.01, 0.1)),
    },
    branches=WHEN.branches,
    where=("batch_size * model.width <= 256", "optimizer.lr < 0.04"),
    when={"accumulate": "batch_size >= 8", "optimizer.sgd.momentum": "accumulate == 2"},
    derived={"optimizer.lr": "lr_per_64 * batch_size / 64"},
)
SPACES = {
    "illegal": ILLEGAL,
    "where": WHERE,
    "when": WHEN,
    "derived": DERIVED,
    "ordered": ORDERED,
    "all": ALL,
}
EVERY_SPACE = pytest.mark.parametrize("name", SPACES)
KINDS = pytest.mark.parametrize("kind", get_args(Sampler))


def make(space: Space, kind: str, seed: int = 0, config: TrainConfig = CONFIG) -> RungSampler:
    return RungSampler(space, kind=kind, seed=seed, num_rungs=1, config=config)


def searched(sampler: RungSampler, number: int) -> list[dict]:
    """The points of so many trials, each worth the more the larger its batches."""
    points = []
    for trial in range(1, number):
        knobs, _ = sampler.ask(trial)
        sampler.tell(trial, 0, float(knobs.get("batch_size", 0)))
        points.append(knobs)
    return points


@functools.cache
def known(name: str, kind: str) -> list[dict]:
    """The points of a search of one of `SPACES`: of trials after those that are drawn at random, of
    which each takes a Gaussian process a third of a second.
    """
    return searched(make(SPACES[name], kind), MIN_VALUES + 4 if kind == "gp" else 40)


def said(point: dict) -> str:
    return json.dumps(point, sort_keys=True)


@EVERY_SPACE
@KINDS
def test_every_point_is_legal_and_is_read_back(name, kind):
    space = SPACES[name]
    around = Around(space, CONFIG)
    refused = any(around.refusal(point) for point in grid(around))
    assert refused or space is WHEN, "there is something to avoid"
    for knobs in known(name, kind):
        assert not around.refusal(knobs)
        config = around.made(knobs)
        fields = {**config.flat(), **knobs}
        assert not around.violated(fields)
        for slot in space.slots():
            if slot.name in space.when and slot.open(knobs):
                holds = parse(space.when[slot.name]).holds(fields)
                assert holds == (slot.path in knobs)
                assert holds or fields[slot.path] == around.flat({**knobs})[slot.path]
        for path, text in space.derived.items():
            assert fields[path] == parse(text).value(fields)
        assert all(knob.contains(value) for knob, value in space.active(knobs).values())
        assert around.point(config.flat(), knobs) == knobs
        assert around.complete(knobs, source="test") == knobs


@EVERY_SPACE
@KINDS
def test_a_point_is_a_function_of_seed_and_trial_and_of_what_is_known(name, kind):
    space = SPACES[name]
    number = MIN_VALUES + 2 if kind == "gp" else 24
    points = known(name, kind)[: number - 1]
    sampler = make(space, kind)
    for trial, knobs in enumerate(points, 1):
        sampler.replay(trial, knobs, 0)
        sampler.tell(trial, 0, float(knobs.get("batch_size", 0)))
    again = make(space, kind)
    assert searched(again, number) == points
    assert sampler.ask(number) == again.ask(number)
    if kind != "gp":
        assert searched(make(space, kind, seed=1), number) != points


@EVERY_SPACE
def test_a_grid_is_every_legal_point_once(name):
    space = SPACES[name]
    around = Around(space, CONFIG)
    every = [said(point) for point in grid(around)]
    assert len(every) == len(set(every))
    legal = {said(point) for point in grid(around) if not around.refusal(point)}
    sampler = make(space, "grid")
    points = [said(sampler.ask(trial)[0]) for trial in range(1, len(legal) + 3)]
    assert set(points[: len(legal)]) == legal
    assert set(points[len(legal) :]) <= legal, "then at random"


def test_a_space_without_anything_illegal_proposes_what_it_did():
    space = Space(
        knobs={"batch_size": Choice(options=(4, 8, 32)), "model.width": Int(low=4, high=9)}
    )
    for kind in get_args(Sampler):
        plain = RungSampler(space, kind=kind, seed=3, num_rungs=1)
        number = MIN_VALUES + 4 if kind == "gp" else 16
        assert searched(plain, number) == searched(make(space, kind, 3), number)


def test_what_is_never_drawn_is_said_in_pairs():
    lines = never_drawn(Around(ILLEGAL, CONFIG))
    assert lines[0].startswith(
        "never drawn: model.plain=True with model.shortcut=A | C: model: plain has no shortcuts"
    )
    assert any(
        line.startswith("never drawn: batch_size=4 with accumulate=4: accumulate=4 leaves parts")
        for line in lines
    )
    assert any("drawn evenly, as: accumulate=3 leaves parts" in line for line in lines)
    left = sum(not Around(ILLEGAL, CONFIG).refusal(point) for point in grid(ILLEGAL))
    share = int(lines[-1].split()[4].replace(",", "")) / 300
    assert share == pytest.approx(left / ILLEGAL.num_points(), abs=0.05)
    fine = Space(knobs={"batch_size": Choice(options=(4, 8, 32))})
    assert never_drawn(Around(fine, CONFIG)) == []


def test_a_dry_run_says_it(tmp_path):
    study = small_study(space=ILLEGAL).override({"baseline.model": ResNet(width=4)})
    words = " ".join(preview(study, None, "", tmp_path, with_search=True).split())
    assert "never drawn: model.plain=True with model.shortcut=A | C: model: plain has no" in words
    assert "left of the space: " in words


def test_a_report_says_it(tmp_path):
    knobs = {**ILLEGAL.knobs, "model.dropout": Float(low=0.0, high=0.5)}
    space = Space(knobs=knobs, when={"model.dropout": "model.plain"}, where=("batch_size < 32",))
    study = small_study(space=space, num_trials=2).override({"baseline.model": ResNet(width=4)})
    record = drive(open_plan(tmp_path, study), Worker())
    words = str(document(read(record), FIGURES))
    assert "Never drawn, as the configuration refuses it:" in words
    assert "model.plain=True with model.shortcut=A | C: model: plain has no shortcuts" in words
    assert "0 … 0.5, when model.plain" in words
    assert "batch_size < 32" in words


def test_the_baseline_may_be_one_with_which_another_value_is_illegal():
    plain = TrainConfig(model=ResNet(plain=True))
    check(Around(ILLEGAL, plain), source="test")
    assert example(Around(ILLEGAL, plain), "model.shortcut", "A")["model.plain"] is False
    assert {p["model.shortcut"] for p in searched(make(ILLEGAL, "random", config=plain), 30)} == {
        *"ABC"
    }


def test_a_value_that_is_legal_in_no_combination_is_an_error():
    shortcuts = Choice(options=("A", "B"))
    space = Space(knobs={"model.shortcut": shortcuts, "accumulate": Int(low=1, high=2)})
    plain = TrainConfig(model=ResNet(plain=True))
    with pytest.raises(UserError, match="here: model: plain has no shortcuts, so shortcut 'A'"):
        check(Around(space, plain), source="here")
    space = Space(knobs={**ILLEGAL.knobs, "model.dropout": Float(low=0.0, high=1.0)})
    with pytest.raises(UserError, match=r"here: model.dropout: less than 1.* is expected, got 1.0"):
        check(Around(space, CONFIG), source="here")


@hypothesis.given(st.integers(32, 1024), st.integers(0, 2**31 - 1), st.integers(1, 10_000))
@hypothesis.settings(max_examples=25)
def test_whatever_the_limit_seed_and_trial_a_point_keeps_to_it(limit, seed, trial):
    text = f"batch_size * model.width <= {limit}"
    knobs = {"batch_size": Int(low=2, high=512, log=True), "model.width": Int(low=8, high=64)}
    space = Space(knobs=knobs, where=(text,))
    knobs, _ = make(space, "random", seed).ask(trial)
    assert knobs["batch_size"] * knobs["model.width"] <= limit
    assert make(space, "random", seed).ask(trial)[0] == knobs
