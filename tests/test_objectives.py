"""Several objectives in the search: what is proposed, who goes on, the front, its race, words."""

import math
import random
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.config import TrainConfig
from pipeline.core.finished.macs import count
from pipeline.core.finished.weigh import costs
from pipeline.data.cache import prepare
from pipeline.data.datasets import Digits
from pipeline.engine import in_process
from pipeline.engine.front import chosen, front
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.race import racers, stay
from pipeline.engine.sampler import MIN_VALUES, POPULATION, RungSampler
from pipeline.errors import UserError
from pipeline.export.selection import select
from pipeline.machine import Resources
from pipeline.record.ledger import FILE
from pipeline.record.record import Record, Run
from pipeline.report import write_report
from pipeline.report.compose import FIGURES, document, read
from pipeline.report.frames import read as read_frames
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.session.dry_run import preview
from pipeline.session.opening import _command
from pipeline.session.options import Options
from pipeline.session.resolve import chosen as asked
from pipeline.session.resolve import resolve
from pipeline.session.resume import require_settings
from pipeline.study.dominance import best, crowding, dominates
from pipeline.study.dominance import front as undominated
from pipeline.study.samplers import Sampler
from pipeline.study.schedulers import SCHEDULERS, Scheduler
from pipeline.study.schedulers.base import AtOnce
from pipeline.study.space import Float, Int, Space
from pipeline.study.study import Study
from pipeline.study.tuning import RACE
from tests import commands
from tests.driver import Worker, drive, facts, open_plan, quality
from tests.records import lines
from tests.studies import small_study
from tests.test_direction import Told

SPACE = Space(
    knobs={
        "model.width": Int(low=2, high=32, log=True),
        "optimizer.lr": Float(low=1e-4, high=1e-1, log=True),
    }
)
SMALL = Digits(num_train=480, num_valid=1200)  # and few to test on
VALUES = st.integers(0, 4).map(float)
POINTS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=25).map(
    lambda found: dict(enumerate(found))
)


def wide_study(*objectives: str, **fields: Any) -> Study:
    """Networks of many sizes; of an accuracy that width helps and chance blurs."""
    rungs = {"num_trials": 14, "reduction": 2, "num_rungs": 3, "race": 3}
    return small_study(
        **{"space": SPACE, "epochs": 4, **rungs, "objectives": objectives or ("params",), **fields}
    )


def acc(config: TrainConfig, replicate: int) -> float:
    width = config.model.width  # type: ignore[union-attr]
    return 0.5 + 0.3 * (1 - 2 / width) + 0.2 * quality(config, replicate)


# ---------------------------------------------------------------- dominance


@given(POINTS)
def test_the_front_is_what_none_dominates(points):
    found = undominated(points)
    assert set(found) == {
        number
        for number in points
        if not any(dominates(other, points[number]) for other in points.values())
    }
    assert [points[number][0] for number in found] == sorted(
        (points[number][0] for number in found), reverse=True
    )


@given(POINTS, st.integers(0, 30), st.randoms())
def test_the_best_are_whole_fronts_and_do_not_depend_on_the_order(points, size, draw):
    found = best(points, size)
    assert len(found) == len(set(found)) == min(size, len(points))
    left = [points[number] for number in points.keys() - set(found)]
    assert not any(dominates(other, points[number]) for number in found for other in left)
    shuffled = draw.sample(list(points), len(points))
    assert best({number: points[number] for number in shuffled}, size) == found


def test_of_the_last_front_those_in_the_sparsest_places_are_taken():
    points = dict(enumerate([(0.0, 9.0), (1.0, 8.0), (1.1, 7.9), (5.0, 4.0), (9.0, 0.0)]))
    assert crowding(points)[3] > crowding(points)[2] > crowding(points)[1]
    assert sorted(best(points, 4)) == [0, 2, 3, 4]


# ---------------------------------------------------------------- samplers


def sampler(kind: str, num_costs: int) -> RungSampler:
    return RungSampler(SPACE, kind=kind, seed=0, num_rungs=2, num_costs=num_costs)


def told(kind: str, num_costs: int, number: int) -> list[tuple[Any, ...]]:
    """The facts of a search of so many trials: some diverge, some are lost, a third reaches rung
    1.
    """
    if kind == "grid":
        space = Space(knobs={"model.width": Int(low=2, high=32)})
        made = RungSampler(space, kind=kind, seed=0, num_rungs=2, num_costs=num_costs)
    else:
        made = sampler(kind, num_costs)
    found: list[tuple[Any, ...]] = [("replay", 0, {"model.width": 4}, None)]
    made.replay(*found[0][1:])
    for trial in range(1, number):
        knobs, rung = made.ask(trial)
        found.append(("replay", trial, knobs, rung))
        width, value = knobs["model.width"], random.Random(trial).random()
        price = [width * 10, width**2][:num_costs]
        new: list[tuple[Any, ...]] = [("tell", trial, 0, value * width, price)]
        new += [("tell", trial, 1, value * width + 1, price)] if trial % 3 == 0 else []
        new = [("diverge", trial, trial % 2)] if trial % 7 == 5 else new if trial % 5 else []
        for call, *given_ in new:
            getattr(made, call)(*given_)
        found += new
    return found


def rebuilt(kind: str, num_costs: int, known: list[tuple[Any, ...]]) -> RungSampler:
    space = Space(knobs={"model.width": Int(low=2, high=32)}) if kind == "grid" else SPACE
    made = RungSampler(space, kind=kind, seed=0, num_rungs=2, num_costs=num_costs)
    for call, *given_ in known:
        getattr(made, call)(*given_)
    return made


@pytest.mark.parametrize("num_costs", [0, 1, 2])
@pytest.mark.parametrize("kind", get_args(Sampler))
def test_every_sampler_proposes_after_any_interruption_what_it_would_have(kind, num_costs):
    known = told(kind, num_costs, 13 if kind == "gp" else 30)
    asked_ = [(place, one) for place, one in enumerate(known) if one[0] == "replay"][1:]
    draw = random.Random(1)
    for place, (_, trial, knobs, rung) in asked_[:: 4 if kind == "gp" else 2]:
        before = known[:place]
        names = [one for one in before if one[0] == "replay"]
        values = [one for one in before if one[0] != "replay"]
        for order in (before, draw.sample(names, len(names)) + draw.sample(values, len(values))):
            assert rebuilt(kind, num_costs, order).ask(trial) == (knobs, rung)


@settings(max_examples=15)
@given(data=st.data(), kind=st.sampled_from(["tpe", "nsga2"]), num_costs=st.sampled_from([0, 1, 2]))
def test_a_suggestion_depends_on_no_order_of_the_facts(data, kind, num_costs):
    known = told(kind, num_costs, 24)
    names = data.draw(st.permutations([one for one in known if one[0] == "replay"]))
    values = data.draw(st.permutations([one for one in known if one[0] != "replay"]))
    expected = rebuilt(kind, num_costs, known).ask(24)
    assert rebuilt(kind, num_costs, names + values).ask(24) == expected


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_a_model_of_two_objectives_goes_where_neither_is_wasted(kind):
    """Beyond a width of 8 nothing is gained: there a network is dominated."""
    made = sampler(kind, 1)

    def tell(trial: int, width: float, lr: float) -> None:
        made.tell(trial, 0, min(width, 8) / 8 - (lr > 1e-2), [width**2])

    for trial in range(90):
        knobs, _ = made.ask(trial)
        tell(trial, knobs["model.width"], knobs["optimizer.lr"])
    late = [made.ask(trial)[0]["model.width"] for trial in range(90, 150)]
    chance = [sampler("random", 1).ask(trial)[0]["model.width"] for trial in range(90, 150)]
    assert sum(width > 8 for width in late) < 0.7 * sum(width > 8 for width in chance)


def test_what_diverged_is_below_all_that_has_a_value():
    """However cheap: the parents of nsga2 do not hold it, and TPE counts it among the poor."""
    for kind in ("tpe", "nsga2"):
        lost, bare = sampler(kind, 1), sampler(kind, 1)
        for trial in range(20):
            knobs = {"model.width": 2 + trial, "optimizer.lr": 1e-3}
            for made in (lost, bare):
                made.replay(trial, knobs, 0)
                made.tell(trial, 0, trial / 10, [100 * trial + 100])
        for trial in range(20, 26):
            lost.replay(trial, {"model.width": 2, "optimizer.lr": 0.09}, 0)
            lost.diverge(trial, 0)
        if kind == "nsga2":
            assert lost.ask(99) == bare.ask(99)
            assert len(lost._history(0)) == POPULATION
        rates = [lost.ask(trial)[0]["optimizer.lr"] for trial in range(100, 115)]
        assert sum(rate > 3e-2 for rate in rates) <= 5


def test_costs_that_are_missing_are_a_bug_of_the_caller():
    made = sampler("tpe", 2)
    made.ask(0)
    with pytest.raises(ValueError, match="expected 2 costs, got 1"):
        made.tell(0, 0, 0.5, [3])
    made.tell(0, 0, 0.5, [3, 4])


# ---------------------------------------------------------------- schedulers

EVERY = pytest.mark.parametrize("kind", SCHEDULERS.values(), ids=SCHEDULERS)


def played(scheduler: Scheduler, draw: random.Random, num_trials: int = 25) -> list[tuple]:
    """A search of one worker to its end, cheap networks being poor: its facts."""
    known: list[tuple[Any, ...]] = []

    def tell(call: str, *given_: Any) -> None:
        known.append((call, *given_))
        getattr(scheduler, call)(*given_)

    begun = 0
    while True:
        found = scheduler.next(closing=begun == num_trials)
        if found is not None:
            known.append(("promoted", found[0], found[1] - 1))
            trial, rung = found
        elif begun == num_trials:
            return known
        else:
            trial, begun = begun, begun + 1
            rung = scheduler.ladder.first(27, trial)
            tell("price", trial, [draw.choice([1, 2, 4, 8, 16, 32])])
        if draw.random() < 0.1:
            tell("diverge", trial, rung)
        else:
            value = scheduler.costs[trial][0] / 32 + 0.3 * draw.random()
            tell("record", trial, rung, round(value, 3))


@EVERY
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), cut=st.floats(0, 1))
def test_the_facts_alone_rebuild_every_scheduler_with_its_front(kind, seed, cut):
    known = played(kind(reduction=3, num_rungs=3), random.Random(seed))
    one, other = (kind(reduction=3, num_rungs=3) for _ in range(2))
    for place, (call, *given_) in enumerate(known):
        getattr(one, call)(*given_)
        if place <= cut * len(known):
            getattr(other, call)(*given_)
            assert other.waiting() == one.waiting()
            for closing in (False, True):
                assert other.has_next(closing=closing) == one.has_next(closing=closing)


@EVERY
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_who_goes_on_is_chosen_front_by_front(kind, seed):
    """By promotion among all in the end, at once among those that came before."""
    scheduler = kind(reduction=3, num_rungs=3)
    known = played(scheduler, random.Random(seed))
    lost = {trial for call, trial, *_ in known if call == "diverge"}
    for rung in range(scheduler.num_rungs - 1):
        arrived = [one for one in known if one[0] in ("record", "diverge") and one[2] == rung]
        points = {one[1]: (one[3], -scheduler.costs[one[1]][0]) for one in arrived if one[3:]}
        gone = {trial for call, trial, *rest in known if call == "promoted" and rest[0] == rung}
        if not issubclass(kind, AtOnce):
            begins = scheduler.ladder.begins if kind.name == "hyperband" else lambda _: 0
            for bracket in {begins(one[1]) for one in arrived} - set(range(rung + 1, 9)):
                own = {n: point for n, point in points.items() if begins(n) == bracket}
                size = sum(begins(one[1]) == bracket for one in arrived)
                assert set(best(own, max(1, size // 3))) <= gone | lost
            continue
        seen: dict[int, Any] = {}
        for number, (_, trial, _, *value) in enumerate(arrived, 1):
            if value:
                seen[trial] = points[trial]
                leads = trial in best(seen, max(1, number // 3))
                if kind.name == "stopping":
                    assert (trial in gone) == leads
                elif trial in undominated(seen):
                    assert trial in gone


def test_the_best_third_alone_would_leave_no_cheap_network():
    for priced in (False, True):
        scheduler = SCHEDULERS["promotion"](reduction=3, num_rungs=2)
        for trial in range(9):
            scheduler.price(trial, [2**trial] if priced else [])
            scheduler.record(trial, 0, trial / 10)
        sent = []
        while (found := scheduler.next()) is not None:
            sent.append(found[0])
        assert len(sent) == 3
        assert sent[0] == 8, "the best value first"
        assert (min(sent) == 0) == priced


def made_up(seed: int, *, priced: bool, gain: float = 1.0) -> tuple[int, float]:
    """A search of 40 random networks of 10^3 to 10^6.5 parameters, which are worth `gain` times 25
    points of accuracy in all and their other knobs up to 35: (epochs, what the front spans, in
    points times decades).
    """
    draw, scheduler = random.Random(seed), SCHEDULERS["promotion"](reduction=3, num_rungs=3)
    stops, spent, size, worth = scheduler.ladder.stops(27), 0, dict[int, float](), list[float]()
    top: dict[int, tuple[float, float]] = {}
    while (found := scheduler.next(closing=len(worth) == 40)) or len(worth) < 40:
        trial, rung = found or (len(worth), 0)
        if not rung:
            size[trial] = draw.uniform(3, 6.5)
            luck = max(draw.random(), draw.random())
            worth.append(0.3 + gain * 0.25 * (size[trial] - 3) / 3.5 + 0.35 * luck)
            scheduler.price(trial, [10 ** size[trial]] if priced else [])
        spent += stops[rung] - (stops[rung - 1] if rung else 0)
        value = worth[trial] * (1 - math.exp(-stops[rung] / 5)) + draw.gauss(0, 0.01)
        scheduler.record(trial, rung, value)
        if rung == 2:
            top[trial] = (value, -size[trial])
    spans, before = 0.0, 0.3
    for value, small in sorted(top[trial] for trial in undominated(top)):
        spans += max(value - before, 0) * (6.5 + small)
        before = max(value, before)
    return spent, spans


@pytest.mark.parametrize("gain", [0.4, 1.0, 1.6])
def test_chosen_front_by_front_the_front_is_wider_for_few_more_epochs(gain):
    alone, several = (
        [made_up(seed, priced=priced, gain=gain) for seed in range(12)] for priced in (False, True)
    )
    (took, spanned), (takes, spans) = (
        map(sum, zip(*found, strict=True)) for found in (alone, several)
    )
    assert spans > 1.3 * spanned
    assert took < takes < 1.3 * took


# ---------------------------------------------------------------- what a network costs


def test_costs_are_those_of_the_network_that_is_trained():
    config = small_study().baseline
    shape = (1, 8, 10)
    network = config.model.build(*shape)
    found = costs(config, ("params", "macs", "size"), *shape)
    assert found["params"] == sum(p.numel() for p in network.parameters())
    assert found["size"] == sum(t.numel() * t.element_size() for t in network.state_dict().values())
    assert found["macs"] == count(network, 1, 8) > 0
    assert costs(config, (), *shape) == {}


LOOKS = """
import torch
from torch import nn

class Looks(nn.Module):
    '''Whether its second layer is used depends on what it sees.'''
    def __init__(self, channels: int, size: int, num_classes: int) -> None:
        super().__init__()
        self.one = nn.Linear(channels * size * size, 5)
        self.two = nn.Linear(5, num_classes)
    def forward(self, x):
        x = self.one(x.flatten(1))
        return self.two(x.abs() if x.sum().item() > 0 else x)
"""


def test_a_network_that_looks_at_its_numbers_is_counted_by_computing(tmp_path, monkeypatch):
    (tmp_path / "looks.py").write_text(LOOKS)
    monkeypatch.syspath_prepend(tmp_path)
    config = small_study().baseline.override({"model": {"name": "looks:Looks"}})
    assert costs(config, ("macs",), 1, 8, 10) == {"macs": 64 * 5 + 5 * 10}


# ---------------------------------------------------------------- the front and its race


def trial(number: int, value: float, *price: int, sign: int = 1) -> Run:
    config = {"epochs": 1, "metrics": [], "select": "acc"}
    run = Run(str(number), "trial", config, number=number, rungs={0: value}, status="complete")
    run.costs = dict(zip(("params", "macs"), price, strict=False))
    assert run.sign == sign
    return run


def recorded(*runs: Run) -> Record:
    record = Record()
    record.runs = {run.key: run for run in runs}
    record.searches = {"": [run.key for run in runs]}
    return record


def numbers(runs: Iterable[Run]) -> list[int]:
    return [run.number for run in runs]


def test_the_front_holds_who_is_beaten_by_none_the_best_first():
    runs = (
        *(trial(0, 0.70, 50, 5), trial(1, 0.90, 90, 9), trial(2, 0.80, 20, 9)),
        *(trial(3, 0.80, 20, 9), trial(4, 0.75, 60, 1), trial(5, 0.60, 60, 9)),
    )
    record = recorded(*runs)
    assert numbers(front(record)) == [1, 2, 4, 0], "of equal ones the earlier"
    runs[1].rungs = {}
    assert numbers(front(record)) == [2, 4, 0]
    runs[5].rungs = {0: 0.1, 1: 0.2}
    assert numbers(front(record)) == [5], "values of different rungs are not compared"
    assert front(recorded()) == []


def test_raced_are_the_best_the_cheapest_as_good_as_the_baseline_and_the_knee():
    runs = [
        *(trial(1, 0.90, 10**6), trial(2, 0.88, 10**4), trial(3, 0.80, 10**3)),
        *(trial(4, 0.30, 10), trial(0, 0.79, 10**5)),
    ]
    record = recorded(*runs)
    points = front(record)
    assert numbers(points) == [1, 2, 3, 4]
    # places by worth and cost: 2 (.967, .4), 3 (.833, .6): its sum is the largest
    assert numbers(chosen(points, record))[:2] == [1, 3]
    assert numbers(chosen(points, record)) == [1, 3, 4, 2], "then the farthest from these"
    runs[-1].rungs = {0: 0.85}
    assert numbers(chosen(points, record))[:3] == [1, 2, 3]
    del record.searches[""][-1]
    assert numbers(chosen(front(record), record))[:3] == [1, 4, 3], "no baseline: of all"


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=12))
def test_chosen_are_all_points_once_the_best_first(values):
    made = [trial(n, v[0], int(v[1]), int(v[2])) for n, v in enumerate(values)]
    record = recorded(*made)
    points = front(record)
    order = list(chosen(points, record))
    assert order[0] is points[0]
    assert sorted(numbers(order)) == sorted(numbers(points))
    covered = [(run.value[1], -run.costs["params"], -run.costs["macs"]) for run in points]
    for run in made:
        own = (run.value[1], -run.costs["params"], -run.costs["macs"])
        assert any(all(a >= b for a, b in zip(p, own, strict=True)) for p in covered)


def test_a_dearer_point_that_is_worse_is_out_and_a_cheaper_one_never():
    from tests.test_race import racer

    field = (racer(1, 0.80, 0.81), racer(2, 0.50, 0.51), racer(3, 0.90, 0.91))
    for one, price in zip(field, (30, 10, 20), strict=True):
        one.trial.costs = {"params": price}
    assert [one.trial.number for one in stay(field, 2)] == [2, 3]


def test_a_study_with_objectives_ends_in_a_front_that_raced(tmp_path):
    study = wide_study("params", "macs", replicates=3)
    record = drive(open_plan(tmp_path, study), Worker(acc=acc))
    for run in record.trials():
        made = TrainConfig.parse(run.config, source="")
        assert run.costs == costs(made, ("params", "macs"), 1, 8, 10)
    field = racers(record)
    assert [one.trial.number for one in field] == numbers(chosen(front(record), record))[:3]
    assert all(len(one.values()) >= 2 for one in field)
    left = stay(field)
    assert len(left) > 1
    winner = max(left, key=lambda one: one.worth()).trial
    assert record.race is not None
    assert record.race.winner == winner.key
    assert [*record.arms()][-1] == f"best acc of search (trial {winner.number})"
    assert {run.costs["params"] for run in record.trials(RACE)} == {
        one.trial.costs["params"] for one in field
    }
    cheap = min(front(record), key=lambda run: run.costs["params"])
    assert select(record, trial=str(cheap.number)).run.key == cheap.key
    made_again = drive(open_plan(tmp_path, study.override({"search.objectives": []})), Worker())
    assert facts(made_again) == facts(record)


def test_the_report_says_what_accuracy_costs_and_what_cannot_be_told_apart(tmp_path):
    study = wide_study("params", "size", replicates=3)
    record = drive(open_plan(tmp_path, study), Worker(acc=acc))
    report = write_report(record, tmp_path / "report")
    names = {path.name for path in report.paths}
    assert {"front.png", "front.svg"} <= names
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## The front against cost" in text
    assert "The search keeps parameters and bytes low beside val acc." in text
    assert f"On the front are {len(front(record))} of the" in text
    assert "The best trial is" not in text
    pairs = [line for line in text.splitlines() if line.startswith("- Trials ")]
    assert len(pairs) == 3
    assert all("cannot be told apart" in line or " is better; " in line for line in pairs)
    assert "The trial with the highest val acc is number" in text
    made = read(record)
    runs = read_frames(made)["runs"]
    own = {run.key: run.costs["size"] for run in record.trials()}
    shown = dict(zip(runs["run"], runs["cost_size"], strict=True))
    assert {key: shown[key] for key in own} == own
    say = Translator(catalogue("zh"), [row.arm for row in made.ablation.rows])
    translated(document(made, FIGURES), say, title=made.study.title)
    assert say.missed == []


def test_a_front_of_one_rung_of_a_loss_and_of_no_race_are_said_in_chinese(tmp_path):
    loss = {"baseline.metrics": ["log_loss"], "baseline.select": "log_loss"}
    less = Told(lambda reached: 2 - 2 * reached)
    for number, (fields, sets, worker) in enumerate(
        (
            ({"scheduler": "none", "race": 0, "reduction": 3}, {}, Worker(acc=acc)),
            ({"race": 1}, {}, Worker(acc=acc)),
            ({"race": 6, "num_trials": 20}, {}, Worker(acc=acc)),
            ({}, loss, less),
            ({"race": 0}, loss, less),
            ({"num_trials": 1}, {}, Worker(acc=acc)),
            ({"num_trials": 1, "scheduler": "none", "reduction": 3}, {}, Worker(acc=acc)),
        )
    ):
        study = wide_study("macs", replicates=3, **fields).override(sets)
        record = drive(open_plan(tmp_path / str(number), study), worker)
        made = read(record)
        say = Translator(catalogue("zh"), [row.arm for row in made.ablation.rows])
        translated(document(made, FIGURES), say, title=made.study.title)
        assert say.missed == []
        alone = "Only one trial " in repr(document(made, FIGURES))
        assert alone == (fields.get("num_trials") == 1)


def test_without_objectives_nothing_of_it_is_recorded_or_said(tmp_path):
    record = drive(open_plan(tmp_path, small_study(replicates=3, race=3)), Worker())
    assert not any("costs" in line for line in lines(tmp_path))
    made = read(record)
    assert made.front is None
    assert "The front" not in repr(document(made, FIGURES))
    assert not [name for name in read_frames(made)["runs"] if name.startswith("cost_")]


# ---------------------------------------------------------------- asked for


def test_a_command_asks_for_it_once_and_a_record_keeps_it(tmp_path, monkeypatch):
    path = tmp_path / "study.json"
    path.write_text(small_study().model_dump_json())

    def made(record: Record, **flags: Any) -> Study:
        given_ = Options("pipeline.search", str(path), mlruns=str(tmp_path), **flags)
        return resolve(given_, asked(given_), record)

    assert made(Record(), against="params, macs").search.objectives == ("params", "macs")
    assert made(Record(), sets=('search.objectives=["size"]',)).search.objectives == ("size",)
    with pytest.raises(UserError, match="set the same field"):
        made(Record(), against="params", sets=('search.objectives=["size"]',))
    with pytest.raises(UserError, match="allowed: params, macs, size"):
        made(Record(), against="flops")
    with pytest.raises(UserError, match="params is named twice"):
        made(Record(), against="params,params")
    plan = open_plan(tmp_path / "record", made(Record(), against="params"))
    plan.ledger.close()
    assert made(plan.record).search.objectives == ("params",)
    words = ["search", f"--study={path}", "--trials=6"]
    monkeypatch.setattr(sys, "argv", words)
    given_ = Options("pipeline.search", str(path), mlruns=str(tmp_path), trials=6)
    said = _command(given_, asked(given_), made(plan.record), tmp_path)
    assert said.endswith("--trials=6 --against params"), "it makes the study anywhere"
    other = made(plan.record, against="macs")
    with pytest.raises(UserError, match=r"search\.objectives: recorded"):
        require_settings(plan.record, other, tmp_path)


def test_a_dry_run_and_the_plan_say_it(tmp_path):
    shown = " ".join(preview(wide_study(), None, "", tmp_path, with_search=True).split())
    assert (
        "objectives val acc against parameters; who goes on from a rung is chosen by all" in shown
    )
    assert "3 points of the search's front against parameters, up to 3 runs each" in shown


def test_the_searches_of_arms_look_for_one_configuration(tmp_path):
    tuned = {"ablation.tuning": {"name": "per_arm", "num_trials": 9}}
    study = wide_study(num_trials=9, race=0).override(tuned)
    plan = open_plan(tmp_path, study)
    assert [trials.sampler.num_costs for trials in plan.searches.arms] == [0] * 4
    assert plan.trials.sampler.num_costs == 1
    record = drive(plan, Worker(acc=acc))
    assert all(run.costs for run in record.runs.values() if run.kind == "trial")
    assert record.race is None


# ---------------------------------------------------------------- cut anywhere


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(SMALL, None, tmp_path_factory.mktemp("cache")).path


def trained(folder: Path, study: Study, cache: Path) -> Record:
    """Search and race, without the arms."""
    interrupts, plan = Interrupts(), open_plan(folder, study)

    def stop() -> None:
        if plan.record.race and plan.record.race.winner:
            interrupts.signal = signal.SIGINT

    with commands.as_it_was():
        in_process.run(plan, Resources(1, 0.0), cache, interrupts=interrupts, on_step=stop)
    plan.ledger.close()
    return plan.record


def without_time(found: Any) -> Any:
    """What a clock has no part in."""
    if isinstance(found, dict):
        return {key: without_time(value) for key, value in found.items() if key != "seconds"}
    if isinstance(found, (list, tuple)):
        return [without_time(value) for value in found]
    return found


def test_a_real_search_of_two_objectives_cut_anywhere_ends_as_its_undisturbed_twin(tmp_path, cache):
    few = {"num_trials": MIN_VALUES + 3, "num_rungs": 2, "epochs": 2, "race": 2}
    study = wide_study(**few, sampler="nsga2", replicates=1).override(
        {"baseline.dataset": SMALL.model_dump()}
    )
    whole = trained(tmp_path / "whole", study, cache)
    assert any(run.asked is not None for run in whole.trials())
    assert len(front(whole)) > 1
    assert whole.race is not None
    text = (tmp_path / "whole" / FILE).read_bytes().splitlines(keepends=True)
    kinds = [line["type"] for line in lines(tmp_path / "whole")]
    begun = [place for place, kind in enumerate(kinds) if kind == "trial"]
    for place in (begun[9] + 3, kinds.index("race") + 4):
        cut = tmp_path / str(place)
        shutil.copytree(tmp_path / "whole", cut)
        (cut / FILE).write_bytes(b"".join(text[:place]))
        again = trained(cut, study, cache)
        assert without_time(facts(again)[0]) == without_time(facts(whole)[0])
        assert again.race is not None
        assert again.race.winner == whole.race.winner
    assert "The front against cost" in repr(document(read(whole), FIGURES))
