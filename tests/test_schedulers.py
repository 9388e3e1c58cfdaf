"""What holds for every scheduler, and what the newer ones decide."""

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.study.schedulers import SCHEDULERS, Ladder, Scheduler, SchedulerName
from pipeline.study.schedulers.hyperband import Hyperband
from pipeline.study.schedulers.median import MIN_EARLIER, Median
from pipeline.study.schedulers.promotion import (
    MAX_COMPARED,
    MIN_AGREEMENT,
    MIN_COMPARED,
    Promotion,
)
from pipeline.study.study import Search
from tests.studies import small_study

EVERY = pytest.mark.parametrize("kind", SCHEDULERS.values(), ids=SCHEDULERS)
SEEDS = st.integers(0, 10**6)
Fact = tuple[str, int, int] | tuple[str, int, int, float]


def played(
    scheduler: Scheduler,
    draw: random.Random,
    *,
    num_trials: int = 30,
    workers: int = 1,
    lengths: Sequence[int] = (27,),
    diverges: float = 0.0,
    early: float = 0.0,
    noise: float = 0.1,
) -> tuple[list[Fact], dict[int, int]]:
    """A whole search, whose workers end in any order: (the ledger's facts, trial → epochs)."""
    facts: list[Fact] = []
    epochs: dict[int, int] = {}
    live: dict[int, int] = {}  # trial → the rung that it is on its way to
    quality: dict[int, float] = {}
    top = scheduler.num_rungs - 1

    def tell(*fact: object) -> None:
        facts.append(fact)  # type: ignore[arg-type]
        getattr(scheduler, str(fact[0]))(*fact[1:])

    while True:
        while len(live) < workers:
            closing = len(epochs) == num_trials
            able = scheduler.has_next(closing=closing)
            chosen = scheduler.next(closing=closing)
            assert able == (chosen is not None)
            if chosen is not None:
                assert chosen[0] not in live, "sent on while it is being trained"
                facts.append(("promoted", chosen[0], chosen[1] - 1))
                live |= [chosen]
            elif closing:
                break
            else:
                trial = len(epochs)
                epochs[trial], quality[trial] = draw.choice(lengths), draw.random()
                live[trial] = scheduler.ladder.first(epochs[trial], trial)
        if not live:
            return facts, epochs
        trial = draw.choice(list(live))
        rung = live.pop(trial)
        value = round(quality[trial] + noise * draw.random(), 2)
        if draw.random() < diverges:
            tell("diverge", trial, rung)
            continue
        for reached in range(rung, (top if draw.random() < early else rung) + 1):
            tell("record", trial, reached, value)


@st.composite
def searches(draw: st.DrawFn) -> dict[str, object]:
    return {
        "draw": random.Random(draw(SEEDS)),
        "num_trials": draw(st.integers(1, 40)),
        "workers": draw(st.integers(1, 4)),
        "lengths": draw(st.sampled_from([(27,), (1,), (2, 5), (1, 2, 4, 9, 27), (100,)])),
        "early": draw(st.sampled_from([0.0, 0.3])),
        "noise": draw(st.sampled_from([0.0, 0.1, 10.0])),
    }


def made(kind: type[Scheduler]) -> Scheduler:
    return kind(reduction=3, num_rungs=3)


@EVERY
@settings(max_examples=40)
@given(given=searches(), diverges=st.sampled_from([0.0, 0.2]))
def test_no_trial_is_lost_and_none_is_sent_on_twice(kind, given, diverges):
    scheduler = made(kind)
    facts, epochs = played(scheduler, diverges=diverges, **given)
    values = {fact[1:3] for fact in facts if fact[0] == "record"}
    lost = {fact[1]: index for index, fact in enumerate(facts) if fact[0] == "diverge"}
    sent = [fact[1:] for fact in facts if fact[0] == "promoted"]
    assert len(epochs) == given["num_trials"]
    assert len(sent) == len(set(sent))
    assert set(sent) <= values, "it went on from a rung where it has no value"
    for trial, length in epochs.items():
        first = scheduler.ladder.first(length, trial)
        assert (trial, first) in values or trial in lost
        reached = sorted(rung for number, rung in values if number == trial)
        assert reached == list(range(first, first + len(reached))), "a rung was left out"
    for trial, index in lost.items():
        assert all(fact[1] != trial for fact in facts[index + 1 :])
    if not lost:
        assert any(rung == scheduler.num_rungs - 1 for _, rung in values), "none was finished"


@EVERY
@settings(max_examples=25)
@given(given=searches(), diverges=st.sampled_from([0.0, 0.2]), cut=st.floats(0, 1))
def test_the_ledgers_facts_alone_rebuild_it_at_any_point(kind, given, diverges, cut):
    facts, _ = played(made(kind), diverges=diverges, **given)
    one, other = made(kind), made(kind)
    for index, (call, *rest) in enumerate(facts):
        getattr(one, call)(*rest)
        if index <= cut * len(facts):
            getattr(other, call)(*rest)
            assert other.waiting() == one.waiting()
            for closing in (False, True):
                assert other.has_next(closing=closing) == one.has_next(closing=closing)
    told = [fact for fact in facts if fact[0] != "promoted"]
    inferred = made(kind)
    for call, *rest in told:  # a later rung's value tells that the trial went on
        getattr(inferred, call)(*rest)
    assert inferred.next(closing=True) is None
    assert one.next(closing=True) is None


@EVERY
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_out_of_place_is_refused_and_leaves_no_trace(kind, value):
    scheduler = made(kind)
    with pytest.raises(ValueError, match="finite"):
        scheduler.record(0, 0, value)
    with pytest.raises(ValueError, match="no value"):
        scheduler.promoted(0, 0)
    scheduler.record(0, 0, 0.5)
    for rung in (0, -1, scheduler.num_rungs):
        with pytest.raises(ValueError, match="twice"):
            scheduler.record(0, rung, 0.5)
    scheduler.diverge(3, 0)
    alive = (0,) if scheduler.num_rungs > 1 else ()
    assert [trial for rung in scheduler.waiting() for trial in rung] == list(alive)


@pytest.mark.parametrize("name", ["promotion", "hyperband", "none"])
@given(seed=SEEDS)
@settings(max_examples=20)
def test_who_waits_does_not_depend_on_who_came_first(name, seed):
    """Where a trial is not judged on arrival: fewer values than would question a rung."""
    draw = random.Random(seed)
    values = [(trial, draw.random()) for trial in range(17)]
    orders = values, draw.sample(values, len(values))
    found = []
    for order in orders:
        scheduler = made(SCHEDULERS[name])
        for trial, value in order:
            scheduler.record(trial, scheduler.ladder.first(27, trial), value)
        found.append((scheduler.waiting(), [scheduler.next() for _ in range(9)]))
    assert found[0] == found[1]


@EVERY
def test_it_is_one_of_the_searchs_and_says_what_it_does(kind):
    assert kind.name in get_args(SchedulerName)
    search = Search(scheduler=kind.name)
    assert search.ladder == made(kind).ladder
    assert search.way == kind.words(3)
    assert made(kind).ladder.stops(27)[-1] == 27
    fields = {"reduction": 2, "num_rungs": 4}
    for field, value in fields.items():
        study = small_study(**{"scheduler": kind.name, field: value})
        if field in kind.uses:
            study.check()
        else:
            with pytest.raises(UserError, match=rf"search\.{field}: got {value}, which .* not use"):
                study.check()


def test_a_scheduler_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match="median") as refused:
        small_study().override({"search.scheduler": "medain"}, source="--set")
    assert all(name in str(refused.value) for name in SCHEDULERS)


@pytest.mark.parametrize("name", ["promotion", "hyperband", "none"])
@pytest.mark.parametrize("lengths", [(27,), (2,), (81,)])
def test_a_search_takes_what_is_expected_of_it(name, lengths):
    scheduler = made(SCHEDULERS[name])
    facts, epochs = played(scheduler, random.Random(1), num_trials=400, lengths=lengths, noise=0.0)
    ladder = scheduler.ladder
    reached: dict[int, int] = {}
    results = 0
    for call, trial, rung, *_ in facts:
        if call == "record":
            reached[trial], results = ladder.stop(epochs[trial], rung), results + 1
    took = sum(reached.values()) / 400
    assert took == pytest.approx(ladder.expected(lengths[0]), rel=0.08)
    if lengths[0] >= 27:
        assert results / 400 == pytest.approx(ladder.results(), rel=0.05)


class Slow(Promotion):
    """The guard as it is defined, found anew each time."""

    def _misleads(self, rung: int) -> bool:
        here, later = self._losses[rung], self._losses[rung + 1]
        leaders = self._standings[rung][: len(here) // self.reduction]
        compared = heapq.nlargest(
            MAX_COMPARED, (trial for _, trial in leaders if later.get(trial, math.inf) < math.inf)
        )
        if len(compared) < MIN_COMPARED:
            return False
        products = [
            (here[a] - here[b]) * (later[a] - later[b])
            for a, b in itertools.combinations(compared, 2)
        ]
        agreeing, opposed = sum(p > 0 for p in products), sum(p < 0 for p in products)
        return agreeing < MIN_AGREEMENT * (agreeing + opposed)


@given(
    seed=SEEDS,
    reduction=st.integers(2, 4),
    num_rungs=st.integers(1, 4),
    noise=st.sampled_from([0.05, 0.5, 5.0]),
    diverges=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=60)
def test_the_guard_that_is_kept_up_to_date_decides_as_the_one_found_anew(
    seed, reduction, num_rungs, noise, diverges
):
    """Any order of calls that is not refused, a rung left out or told late too."""
    draw = random.Random(seed)
    fast, slow = (k(reduction=reduction, num_rungs=num_rungs) for k in (Promotion, Slow))
    quality = [draw.random() for _ in range(120)]
    cells = [
        (trial + draw.random() * 40, trial, rung)
        for trial in range(120)
        for rung in range(num_rungs)
        if draw.random() < 0.9 - 0.2 * rung
    ]
    for _, trial, rung in sorted(cells):
        value = round(quality[trial] + noise * draw.random(), draw.choice([1, 6]))
        lost = draw.random() < diverges
        for one in (fast, slow):
            one.diverge(trial, rung) if lost else one.record(trial, rung, value)
        assert fast.waiting() == slow.waiting()
        assert fast._passed == slow._passed
        closing = draw.random() < 0.1
        if draw.random() < 0.7:
            assert fast.next(closing=closing) == slow.next(closing=closing)


def test_none_trains_every_trial_to_its_end():
    ladder = Search(scheduler="none").ladder
    assert (ladder.stops(27), ladder.stop(27, 0), ladder.expected(27)) == ((27,), 27, 27)
    scheduler = made(SCHEDULERS["none"])
    for trial in range(9):
        scheduler.record(trial, 0, 0.1 * trial)
        assert scheduler.next(closing=True) is None
    assert scheduler.waiting() == ()


def test_the_brackets_of_hyperband_have_the_same_part_of_the_budget():
    ladder = Search(scheduler="hyperband").ladder
    plain, alone = Ladder.halving(3, 3), []
    for bracket in range(3):
        stops = plain.stops(27)
        steps = [stops[bracket], *(b - a for a, b in itertools.pairwise(stops[bracket:]))]
        alone.append(sum(step / 3**number for number, step in enumerate(steps)))
    assert alone == [7, 15, 27]
    begun = [ladder.begins(trial) for trial in range(3000)]
    budgets = [begun.count(bracket) * cost for bracket, cost in enumerate(alone)]
    assert max(budgets) / min(budgets) < 1.02
    assert ladder.expected(27) == pytest.approx(sum(budgets) / 3000, rel=0.01)
    assert begun[0] == 0
    assert set(begun[:10]) == {0, 1, 2}


def test_a_trial_of_hyperband_is_compared_within_its_bracket():
    scheduler = made(Hyperband)
    own = [t for t in range(60) if scheduler.ladder.begins(t) == 1][:3]
    others = [t for t in range(60) if scheduler.ladder.begins(t) == 0][:9]
    for trial in others:
        scheduler.record(trial, 0, 0.9)
        assert scheduler.ladder.first(27, trial) == 0
    for trial in others[:3]:
        assert scheduler.next() == (trial, 1)
        scheduler.record(trial, 1, 0.8)
    for trial in own[:2]:
        scheduler.record(trial, 1, 0.1)
    assert scheduler.next() == (others[0], 2), "one of three of bracket 0"
    assert scheduler.next() is None
    scheduler.record(own[2], 1, 0.05)
    assert scheduler.next() == (own[0], 2), "one of three of bracket 1, though worse"
    assert scheduler.next() is None


def test_below_its_bracket_a_trial_of_hyperband_that_was_trained_before_goes_on_at_once():
    scheduler = made(Hyperband)
    trial = next(t for t in range(60) if scheduler.ladder.begins(t) == 2)
    scheduler.record(trial, 0, 0.01)
    assert scheduler.next() == (trial, 1)
    scheduler.record(trial, 1, 0.01)
    assert scheduler.next() == (trial, 2)


def test_the_median_rule_checks_each_ninth_from_a_third_on():
    ladder = Search(scheduler="median").ladder
    assert ladder.stops(27) == (9, 12, 15, 18, 21, 24, 27)
    assert ladder.stops(3) == (1, 2, 3)
    assert ladder.first(3) == 4


def test_the_median_rule_stops_whose_best_is_below_the_median_of_running_averages():
    scheduler = made(Median)
    for trial in range(MIN_EARLIER):
        scheduler.record(trial, 0, trial + 1.0)
        assert scheduler.next() == (trial, 1), "too few came before to judge it"
    scheduler.record(10, 0, 3.0)
    assert scheduler.next() == (10, 1), "at the median"
    scheduler.record(11, 0, 2.9)
    assert scheduler.next() is None
    assert scheduler.next(closing=True) is None
    for trial in range(MIN_EARLIER):
        scheduler.record(trial, 1, 5.0)
        assert scheduler.next() == (trial, 2)
    # their averages: 3, 3.5, 4, 4.5, 5; what counts of a trial is its best, not its latest
    scheduler.record(12, 0, 4.1)
    assert scheduler.next() == (12, 1)
    scheduler.record(12, 1, 0.1)
    assert scheduler.next() == (12, 2)
    scheduler.record(10, 1, 3.7)
    assert scheduler.next() is None


def test_the_median_rule_counts_a_diverged_trial_as_the_worst():
    scheduler = made(Median)
    for trial in range(2 * MIN_EARLIER):
        scheduler.diverge(trial, 0)
    scheduler.record(99, 0, -5.0)
    assert scheduler.next() == (99, 1)
