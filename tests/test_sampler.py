import functools
import json
import math
import random
import subprocess
import sys
import warnings
from typing import get_args

import hypothesis
import numpy as np
import optuna
import pytest
from hypothesis import strategies as st

from pipeline.engine import sampler as module
from pipeline.engine.sampler import MIN_VALUES, NUM_BEST, NUM_LATEST, RungSampler
from pipeline.errors import UserError
from pipeline.study.drawn import Endless, at, grid, share
from pipeline.study.ranges import coded
from pipeline.study.samplers import LEARNING, Sampler, unfit
from pipeline.study.space import Choice, Float, Int, Space
from tests.studies import small_study

FLAT = Space(
    knobs={
        "optimizer.lr": Float(low=1e-4, high=1.0, log=True),
        "model.dropout": Float(low=0.0, high=0.5),
        "epochs": Int(low=3, high=30, log=True),
        "batch_size": Choice(options=(32, 64, 128)),
        "model.bias": Choice(options=(True, False)),
        "model.name": Choice(options=("cnn",)),
    }
)
BRANCHED = Space(
    knobs={"model.width": Int(low=1, high=64)},
    branches={
        "optimizer": {
            "sgd": {
                "lr": Float(low=1e-2, high=1.0, log=True),
                "momentum": Float(low=0.0, high=0.9),
            },
            "adam": {"lr": Float(low=1e-5, high=1e-2, log=True)},
            "none": {},
        }
    },
)
STEPPED = Space(
    knobs={
        "model.dropout": Float(low=0.0, high=0.5, step=0.1),
        "model.width": Int(low=8, high=64, step=8),
        "optimizer.lr": Float(low=1e-4, high=1.0, log=True),
    }
)
BY_NAME = {"flat": FLAT, "branched": BRANCHED, "stepped": STEPPED}
SPACES = pytest.mark.parametrize("name", BY_NAME)
KINDS = pytest.mark.parametrize("kind", [kind for kind in get_args(Sampler) if kind != "grid"])


def make(space: Space = FLAT, kind: str = "tpe", seed: int = 0, num_rungs: int = 3) -> RungSampler:
    return RungSampler(space, kind=kind, seed=seed, num_rungs=num_rungs)


def score(knobs: dict, rung: int) -> float:
    lr = knobs.get("optimizer.lr", 1e-4)
    return 1 / (1 + (math.log10(lr) + 1.5) ** 2) + 0.1 * rung


def outcomes(trial: int, knobs: dict) -> list[tuple]:
    """What a search would record of a trial: a tenth diverges, two in three stay at rung 0, one in
    nine reaches the top.
    """
    if trial % 10 == 7:
        return [("diverge", trial, trial % 3)]
    last = 2 if trial % 9 == 0 else 1 if trial % 3 == 0 else 0
    return [("tell", trial, rung, score(knobs, rung)) for rung in range(last + 1)]


def search(sampler: RungSampler, num_trials: int) -> list[tuple]:
    """A whole search in one process; its ledger."""
    facts: list[tuple] = [
        ("replay", 0, {"optimizer.lr": 5.0}, None)
    ]  # a baseline outside the space
    sampler.replay(*facts[0][1:])
    sampler.tell(0, 0, 0.9)
    facts.append(("tell", 0, 0, 0.9))
    for trial in range(1, num_trials):
        knobs, asked = sampler.ask(trial)
        facts.append(("replay", trial, knobs, asked))
        for call, *given in (
            outcomes(trial, knobs) if trial % 4 else []
        ):  # every fourth is still running, or was lost
            getattr(sampler, call)(*given)
            facts.append((call, *given))
    return facts


def rebuild(facts: list[tuple], space: Space, kind: str) -> RungSampler:
    sampler = make(space, kind)
    for call, *given in facts:
        getattr(sampler, call)(*given)
    return sampler


@functools.cache
def known(name: str, kind: str) -> list[tuple]:
    """The ledger of a search long enough for suggestions that are learned, of which each takes a
    Gaussian process a fifth of a second and more.
    """
    return search(make(BY_NAME[name], kind), 18 if kind == "gp" else 60)


@SPACES
@KINDS
def test_proposals_lie_in_the_space_and_name_the_rung_that_made_them(name, kind):
    space, facts = BY_NAME[name], known(name, kind)
    number = 18 if kind == "gp" else 60
    proposals = [
        (knobs, asked)
        for call, _, knobs, asked, *_ in (f for f in facts if f[0] == "replay")
        if asked is not None
    ]
    assert len(proposals) == number - 1
    for knobs, asked in proposals:
        assert all(knob.contains(value) for knob, value in space.active(knobs).values())
        assert space.point(knobs) == knobs
        assert asked in ((0, 1) if kind in LEARNING else (0,))
    assert len({str(knobs) for knobs, _ in proposals}) > (5 if space is BRANCHED else number - 10)


def test_cmaes_without_its_package_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("pipeline.study.samplers.find_spec", lambda _: None)
    assert "pip install cmaes; allowed without it: tpe" in unfit("cmaes", FLAT, ())
    assert unfit("tpe", FLAT, ()) == ""


@SPACES
@KINDS
def test_rebuilding_before_every_ask_changes_nothing(name, kind):
    facts = known(name, kind)
    for place, (call, trial, *given) in enumerate(facts):
        if call == "replay" and 0 < trial < (15 if kind == "gp" else 36):
            knobs, asked = rebuild(facts[:place], BY_NAME[name], kind).ask(trial)
            assert (knobs, asked) == tuple(given)


def test_the_order_in_which_a_ledger_is_replayed_does_not_matter():
    facts = search(make(), 40)
    shuffled = sorted(facts, key=lambda fact: fact[0] != "replay")
    random.Random(1).shuffle(names := [f for f in shuffled if f[0] == "replay"])
    random.Random(2).shuffle(values := [f for f in shuffled if f[0] != "replay"])
    assert rebuild(names + values, FLAT, "tpe").ask(40) == rebuild(facts, FLAT, "tpe").ask(40)


def test_proposals_are_the_same_in_another_process_with_other_hashes():
    code = (
        "from tests.test_sampler import *\n"
        "facts = search(make(BRANCHED), 30)\n"
        "print([fact for fact in facts if fact[0] == 'replay'])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hashes},
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(seen) == 1
    assert str(("replay", 0, {"optimizer.lr": 5.0}, None)) in seen.pop()


def test_seed_and_trial_change_a_proposal():
    assert make(seed=0).ask(1) == make(seed=0).ask(1)
    assert make(seed=0).ask(1) != make(seed=1).ask(1)
    assert make(seed=0).ask(1) != make(seed=0).ask(2)


def test_the_highest_rung_with_enough_values_proposes():
    sampler = make()
    for trial in range(MIN_VALUES):
        assert sampler.ask(trial)[1] == 0
        sampler.tell(trial, 0, 0.5)
        sampler.tell(trial, 2, 0.5)
        if trial > 0:
            sampler.tell(trial, 1, 0.5)
    assert sampler.ask(MIN_VALUES)[1] == 2


def test_a_value_informs_its_own_rung_alone():
    """Told at rung 0, values that point to a small learning rate must not move what rung 1 says: a
    large one.
    """
    knobs = {
        "model.dropout": 0.2,
        "epochs": 10,
        "batch_size": 32,
        "model.bias": True,
        "model.name": "cnn",
    }
    draw = random.Random(0)
    misled, clean = make(num_rungs=2), make(num_rungs=2)
    for trial in range(60):
        point = knobs | {"optimizer.lr": 10 ** draw.uniform(-4, 0)}
        for sampler in (misled, clean):
            sampler.replay(trial, point, None)
            sampler.tell(trial, 1, point["optimizer.lr"])
        misled.tell(trial, 0, -point["optimizer.lr"])
    for trial in range(60, 80):
        assert misled.ask(trial) == clean.ask(trial)


def learned(kind: str, number: int = 80) -> float:
    """How far from the best learning rate the suggestions are after so many trials, in decades."""
    sampler = make(kind=kind, num_rungs=1)
    for trial in range(number):
        knobs, _ = sampler.ask(trial)
        sampler.tell(trial, 0, score(knobs, 0))
    last = [sampler.ask(number + i)[0]["optimizer.lr"] for i in range(min(20, number))]
    return sum(abs(math.log10(rate) + 1.5) for rate in last) / len(last)


def test_tpe_goes_where_the_values_are_good_and_random_does_not():
    assert learned("tpe") < 0.5 < learned("random")


@pytest.mark.parametrize(("diverged", "allowed"), [(True, range(8)), (False, range(14, 21))])
def test_diverged_points_are_avoided_even_if_they_came_before_every_value(diverged, allowed):
    sampler = make(num_rungs=1)
    knobs = {
        "model.dropout": 0.2,
        "epochs": 10,
        "batch_size": 32,
        "model.bias": True,
        "model.name": "cnn",
    }
    draw = random.Random(0)
    rates = [10 ** draw.uniform(-4, 0) for _ in range(40)]
    for trial, lr in enumerate(rates):
        sampler.replay(trial, knobs | {"optimizer.lr": lr}, 0)
        if lr > 1e-2 and diverged:
            sampler.diverge(trial, 0)
    for trial, lr in enumerate(rates):
        if lr <= 1e-2:
            sampler.tell(trial, 0, -50.0 - trial)
        elif not diverged:
            sampler.tell(trial, 0, 0.0)
    assert sum(sampler.ask(200 + i)[0]["optimizer.lr"] > 1e-2 for i in range(20)) in allowed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_and_leaves_no_trace(value):
    sampler = make()
    sampler.ask(0)
    with pytest.raises(ValueError, match="finite"):
        sampler.tell(0, 0, value)
    sampler.tell(0, 0, 0.5)


def test_calls_out_of_place_are_refused():
    sampler = make()
    sampler.ask(0)
    sampler.tell(0, 0, 0.5)
    with pytest.raises(ValueError, match="twice"):
        sampler.tell(0, 0, 0.5)
    with pytest.raises(ValueError, match="twice"):
        sampler.diverge(0, 0)
    with pytest.raises(ValueError, match="unknown"):
        sampler.tell(1, 0, 0.5)
    with pytest.raises(ValueError, match="known already"):
        sampler.ask(0)


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"model.width": 8},
        {"model.width": 8, "optimizer.name": "lion", "optimizer.lr": 0.1},
        {"model.width": 8, "optimizer.name": "adam", "optimizer.lr": 0.5},
        {"model.width": 8.5, "optimizer.name": "none"},
    ],
)
def test_a_baseline_outside_the_space_leaves_the_search_as_it_was(knobs):
    with_baseline, without = make(BRANCHED), make(BRANCHED)
    with_baseline.replay(0, knobs, None)
    with_baseline.tell(0, 0, 0.99)
    with_baseline.tell(0, 1, 0.99)
    with_baseline.diverge(0, 2)
    for trial in range(1, 20):
        proposal = with_baseline.ask(trial)
        assert proposal == without.ask(trial)
        for sampler in (with_baseline, without):
            sampler.tell(trial, 0, score(proposal[0], 0))


def test_a_baseline_inside_the_space_informs_the_search():
    first, second = make(num_rungs=1), make(num_rungs=1)
    inside = {
        "optimizer.lr": 0.03,
        "model.dropout": 0,
        "epochs": 10,
        "batch_size": 64,
        "model.bias": False,
    }
    for sampler, value in ((first, 0.0), (second, 9.0)):
        sampler.replay(0, inside | {"model.name": "cnn", "augment.strength": 1.0}, None)
        sampler.tell(0, 0, value)
        for trial in range(1, 12):
            knobs, _ = make().ask(trial)
            sampler.replay(trial, knobs, 0)
            sampler.tell(trial, 0, score(knobs, 0))
    assert first.ask(12) != second.ask(12)


def test_what_tpe_sees_is_bounded_and_holds_the_best():
    sampler = make(num_rungs=1)
    draw = random.Random(0)
    values = {trial: draw.random() for trial in range(2000)}
    knobs, _ = sampler.ask(5000)
    for trial, value in values.items():
        sampler.replay(trial, knobs, 0)
        sampler.tell(trial, 0, value)
    history = sampler._history(0)
    assert len(history) == NUM_BEST + NUM_LATEST
    top = sorted(values.values(), reverse=True)[:NUM_BEST]
    assert sorted((t.value for t in history if t.value is not None), reverse=True)[:NUM_BEST] == top
    assert history[-1].state == optuna.trial.TrialState.RUNNING


def test_optuna_stays_silent(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(make(BRANCHED), 15)
    assert capfd.readouterr() == ("", "")


def test_optuna_is_the_only_heavy_import():
    code = (
        "import sys, pipeline.engine.sampler; "
        "print([m for m in ('torch', 'ray', 'mlflow', 'pandas', 'sklearn', 'matplotlib') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert module.optuna is optuna


FINITE = Space(
    knobs={"batch_size": Choice(options=(16, 32)), "model.width": Int(low=8, high=16, step=4)},
    branches={
        "optimizer": {
            "sgd": {"momentum": Float(low=0.0, high=0.8, step=0.4)},
            "adam": {},
            "adamw": {"weight_decay": Choice(options=(0.0, 0.1))},
        }
    },
)


def test_a_grid_is_every_point_once_with_the_knobs_of_its_own_branch():
    points = list(grid(FINITE))
    assert len(points) == len({json.dumps(point, sort_keys=True) for point in points}) == 36
    assert all(FINITE.point(point) == point for point in points)
    assert sum(point["optimizer.name"] == "adam" for point in points) == 6
    assert FINITE.num_points() == 36


def test_a_grid_too_large_to_be_gone_through_is_refused():
    knobs = {
        "batch_size": Int(low=1, high=400),
        "model.width": Int(low=1, high=300),
    }
    study = small_study(space=Space(knobs=knobs), sampler="grid")
    with pytest.raises(UserError, match="the space has 120,000 points; allowed: at most 100,000"):
        study.check()


def test_a_grid_is_gone_through_in_an_order_of_the_seed_and_then_drawn_at_random():
    orders = []
    for seed in (0, 1):
        sampler = make(FINITE, "grid", seed)
        orders.append([json.dumps(sampler.ask(trial)[0]) for trial in range(1, 38)])
    assert orders[0] != orders[1]
    assert [len(set(order[:36])) for order in orders] == [36, 36]
    assert orders[0][36] in orders[0][:36]


@pytest.mark.parametrize(
    ("space", "endless"), [(FLAT, ["optimizer.lr", "model.dropout"]), (FINITE, [])]
)
def test_a_space_says_which_knobs_have_no_list_of_values(space, endless):
    assert space.endless() == endless
    if endless:
        with pytest.raises(Endless, match=endless[0]):
            list(grid(space))


def test_the_evenly_spread_points_cover_the_space():
    """Of 64 Sobol' points each eighth of a range has eight; random ones do not manage that."""
    points = [make(FLAT, "qmc").ask(trial)[0] for trial in range(1, 65)]
    for name, low, high in (("model.dropout", 0.0, 0.5),):
        counts = np.histogram([point[name] for point in points], 8, (low, high))[0]
        assert counts.tolist() == [8] * 8
    logs = [math.log10(point["optimizer.lr"]) for point in points]
    assert np.histogram(logs, 8, (-4, 0))[0].tolist() == [8] * 8
    assert {point["epochs"] for point in points} > {3, 30}


@hypothesis.given(st.floats(0, 1, exclude_max=True))
def test_a_share_of_a_range_is_a_value_of_it_and_is_found_again(place):
    for space in (FLAT, BRANCHED, STEPPED, FINITE, SIZES):
        point = at(space, lambda _: place)
        assert space.point(point) == point
        active = space.active(point)

        def again(name: str, active=active) -> float:
            knob, value = active[name]
            return min(share(knob, coded(knob, value)), math.nextafter(1, 0))

        assert at(space, again) == pytest.approx(point)


SIZES = Space(
    knobs={
        "model.shortcut": Choice(options=("C", "B", "A"), ordered=True),
        "batch_size": Choice(options=(32, 64, 128)),
        "epochs": Int(low=3, high=30, log=True),
    }
)


def test_numbers_are_what_has_neighbours_and_fields_of_variants_are_told_apart():
    assert [slot.name for slot in FLAT.numbers()] == [
        "optimizer.lr",
        "model.dropout",
        "epochs",
        "batch_size",
    ]
    assert [slot.path for slot in BRANCHED.numbers()] == [
        "model.width",
        "optimizer.lr",
        "optimizer.momentum",
        "optimizer.lr",
    ]
    assert len(SIZES.numbers()) == 3


def test_cmaes_learns_of_numbers_wherever_they_are_and_of_variants_together():
    """Good are wide networks whose learning rate lies high in its optimizer's own range."""
    made = make(BRANCHED, "cmaes", num_rungs=1)
    found = []
    for trial in range(120):
        knobs, _ = made.ask(trial)
        rates = {s.name: s.knob for s in BRANCHED.numbers() if s.path == "optimizer.lr"}
        name = f"optimizer.{knobs['optimizer.name']}.lr"
        place = share(rates[name], knobs["optimizer.lr"]) if name in rates else None
        found.append((knobs["optimizer.name"], place, knobs["model.width"]))
        made.tell(trial, 0, knobs["model.width"] / 64 + (place or 0.0))
    late = found[60:]
    for name in ("sgd", "adam"):
        places = [place for optimizer, place, _ in late if optimizer == name]
        assert len(places) >= 10, "options stay at random"
        assert np.mean(places) > 0.8
    assert np.mean([width for *_, width in late]) > 50


def test_cmaes_ranks_who_came_farther_first_and_what_diverged_last():
    """Small networks alone reach the rung above, with the lower values; large ones diverge."""
    space = Space(knobs={"model.width": Int(low=1, high=64), "epochs": Int(low=1, high=64)})
    made = make(space, "cmaes")
    for trial in range(40):
        knobs, _ = made.ask(trial)
        width = knobs["model.width"]
        if width > 42:
            made.diverge(trial, 0)
        else:
            made.tell(trial, 0, width / 100)
            if width <= 21:
                made.tell(trial, 1, 0.01)
    widths = [made.ask(trial)[0]["model.width"] for trial in range(100, 130)]
    assert sum(width <= 21 for width in widths) > 20
    assert sum(width > 42 for width in widths) < 3


def test_what_cmaes_is_not_for_is_refused_with_what_is():
    options = Space(knobs={"model.plain": Choice(options=(True, False))})
    with pytest.raises(UserError, match=r"search.sampler: cmaes moves numbers, .* as tpe"):
        small_study(space=options, sampler="cmaes").check()
    two = small_study(space=FLAT, sampler="cmaes").override({"search.objectives": ["params"]})
    with pytest.raises(UserError, match=r"cmaes learns from one objective, .* allowed: tpe, gp or"):
        two.check()


def test_a_gaussian_process_goes_where_the_values_are_good():
    assert learned("gp", 15) < 0.5
