import itertools
import math
import random

import pytest

from pipeline.study.schedulers import Ladder, Scheduler
from pipeline.study.schedulers.promotion import Promotion
from pipeline.study.schedulers.stopping import Stopping

BOTH = pytest.mark.parametrize("kind", [Promotion, Stopping])


@pytest.mark.parametrize(
    ("epochs", "reduction", "num_rungs", "expected"),
    [
        (27, 3, 3, (3, 9, 27)),
        (81, 3, 3, (9, 27, 81)),
        (50, 3, 3, (6, 17, 50)),
        (30, 3, 1, (30,)),
        (16, 4, 3, (1, 4, 16)),
        (5, 2, 2, (3, 5)),  # 2.5 is rounded up, not to even
        (4, 3, 3, (1, 4)),
        (2, 3, 3, (1, 2)),
        (1, 3, 6, (1,)),
    ],
)
def test_rungs_are_fractions_of_the_trials_own_epochs(epochs, reduction, num_rungs, expected):
    assert Ladder.halving(reduction, num_rungs).stops(epochs) == expected


@pytest.mark.parametrize("reduction", range(2, 11))
def test_rungs_rise_from_one_to_the_end_for_every_length(reduction):
    for epochs in range(1, 300):
        for num_rungs in range(1, 7):
            rungs = Ladder.halving(reduction, num_rungs).stops(epochs)
            assert rungs[-1] == epochs
            assert rungs[0] >= 1
            assert len(rungs) <= num_rungs
            assert all(a < b for a, b in itertools.pairwise(rungs))


@pytest.mark.parametrize("bad", [(0, 3, 3), (10, 1, 3), (10, 3, 0)])
def test_impossible_rungs_are_refused(bad):
    with pytest.raises(ValueError, match="no rungs"):
        Ladder.halving(*bad[1:]).stops(bad[0])


def filled(kind: type[Scheduler], values: list[float], *, num_rungs: int = 3) -> Scheduler:
    scheduler = kind(reduction=3, num_rungs=num_rungs)
    for trial, value in enumerate(values):
        scheduler.record(trial, 0, value)
    return scheduler


def test_promotion_waits_for_reduction_many_and_sends_the_best():
    scheduler = filled(Promotion, [0.1, 0.3])
    assert scheduler.next() is None
    scheduler.record(2, 0, 0.2)
    assert scheduler.next() == (1, 1)
    assert scheduler.next() is None
    assert scheduler.waiting() == ((2, 0), ())


def test_promotion_sends_one_left_behind_once_enough_worse_ones_have_come():
    scheduler = filled(Promotion, [0.9, 0.8, 0.1])
    assert scheduler.next() == (0, 1)
    for trial in (3, 4, 5):
        assert scheduler.next() is None
        scheduler.record(trial, 0, 0.05)
    assert scheduler.next() == (1, 1)


def test_promotion_serves_the_highest_rung_first_and_ties_go_to_the_earlier_trial():
    scheduler = filled(Promotion, [0.5] * 9)
    assert [scheduler.next() for _ in range(4)] == [(0, 1), (1, 1), (2, 1), None]
    for trial in (2, 1, 0):
        scheduler.record(trial, 1, 0.7)
    for trial in (9, 10, 11):
        scheduler.record(trial, 0, 0.9)
    assert [scheduler.next() for _ in range(3)] == [(0, 2), (9, 1), (10, 1)]


def test_a_diverged_trial_counts_but_never_goes_on():
    scheduler = Promotion(reduction=3, num_rungs=2)
    for trial in range(8):
        scheduler.diverge(trial, 0)
    assert scheduler.next() is None
    assert scheduler.next(closing=True) is None
    scheduler.record(8, 0, -5.0)
    assert scheduler.next() == (8, 1)
    assert scheduler.next() is None


def test_a_small_search_still_finishes_its_best_trial_on_closing():
    scheduler = filled(Promotion, [0.2, 0.4])
    assert scheduler.next() is None
    assert scheduler.next(closing=True) == (1, 1)
    assert scheduler.next(closing=True) is None
    scheduler.record(1, 1, 0.5)
    assert scheduler.next(closing=True) == (1, 2)
    scheduler.record(1, 2, 0.6)
    assert scheduler.next(closing=True) is None


def test_closing_changes_nothing_where_the_rungs_are_full():
    values = [random.Random(3).random() for _ in range(27)]
    plain, closing = filled(Promotion, values), filled(Promotion, values)
    assert [plain.next() for _ in range(12)] == [closing.next(closing=True) for _ in range(12)]


def slow_starters(num_trials: int, *, mislead: bool) -> Promotion:
    """Among the leaders of rung 0, the next rung's order is the opposite (or the same)."""
    scheduler = Promotion(reduction=3, num_rungs=3)
    for trial in range(num_trials):
        scheduler.record(trial, 0, float(trial))
    while (chosen := scheduler.next()) is not None:
        if chosen[1] == 1:
            scheduler.record(chosen[0], 1, float(-chosen[0] if mislead else chosen[0]))
    return scheduler


def test_new_trials_pass_a_rung_whose_leaders_do_not_keep_their_order():
    for mislead in (True, False):
        scheduler = slow_starters(30, mislead=mislead)
        scheduler.record(100, 0, -1.0)  # the worst of all
        assert scheduler.next() == ((100, 1) if mislead else None)
        scheduler.diverge(101, 0)
        assert scheduler.next() is None


def test_a_few_leaders_say_nothing_about_a_rung():
    scheduler = slow_starters(15, mislead=True)
    scheduler.record(100, 0, -1.0)
    assert scheduler.next() is None


def test_ties_do_not_speak_against_a_rung():
    scheduler = filled(Promotion, [0.5] * 30, num_rungs=2)
    while (chosen := scheduler.next()) is not None:
        scheduler.record(chosen[0], 1, 0.1 * chosen[0])
    scheduler.record(100, 0, 0.5)
    assert scheduler.next() is None


def test_stopping_lets_the_first_on_and_then_the_top_third():
    scheduler = Stopping(reduction=3, num_rungs=2)
    sent = []
    for trial, value in enumerate([0.5, 0.4, 0.6, 0.55, 0.6, 0.58, 0.59]):
        scheduler.record(trial, 0, value)
        while (chosen := scheduler.next()) is not None:
            sent.append(chosen)
    # 4 ties with 2, which came first; 6 is third of seven
    assert sent == [(0, 1), (2, 1)]


def test_stopping_judges_once_and_never_again():
    scheduler = filled(Stopping, [0.9, 0.8])
    assert scheduler.waiting() == ((0,), ())
    assert scheduler.next() == (0, 1)
    for trial in range(2, 30):
        scheduler.record(trial, 0, 0.1)
    assert scheduler.next() is None
    assert scheduler.waiting() == ((), ())


def test_stopping_stops_a_diverged_first_comer_and_the_next_goes_on():
    scheduler = Stopping(reduction=3, num_rungs=2)
    scheduler.diverge(0, 0)
    assert scheduler.next() is None
    scheduler.record(1, 0, 0.1)
    assert scheduler.next() == (1, 1)


@BOTH
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_and_leaves_no_trace(kind, value):
    scheduler = kind(reduction=3, num_rungs=2)
    with pytest.raises(ValueError, match="finite"):
        scheduler.record(0, 0, value)
    scheduler.record(0, 0, 0.5)
    assert scheduler.next(closing=True) == (0, 1)


@BOTH
def test_calls_out_of_place_are_refused(kind):
    scheduler = filled(kind, [0.5], num_rungs=2)
    for rung in (0, 2, -1):
        with pytest.raises(ValueError, match="twice"):
            scheduler.record(0, rung, 0.5)
    with pytest.raises(ValueError, match="no value"):
        scheduler.promoted(7, 0)


@BOTH
def test_one_rung_never_sends_anything_on(kind):
    scheduler = filled(kind, [0.1, 0.2, 0.3, 0.4], num_rungs=1)
    assert scheduler.next(closing=True) is None
    assert scheduler.waiting() == ()


@BOTH
def test_a_short_trial_may_enter_above_the_lowest_rung(kind):
    scheduler = kind(reduction=3, num_rungs=3)
    for trial in range(3):
        scheduler.record(trial, 1, float(trial == 0))
    assert scheduler.next() == (0, 2)
    assert scheduler.waiting()[0] == ()


def simulated(
    scheduler: Scheduler, num_trials: int, *, noise: float
) -> tuple[list[tuple], list[tuple]]:
    """Drive a whole search with one worker: (the ledger's facts, the order of all segments)."""
    draw = random.Random(5)
    quality = [draw.random() for _ in range(num_trials)]
    facts: list[tuple] = []
    segments: list[tuple] = []
    started = 0
    while True:
        chosen = scheduler.next(closing=started == num_trials)
        if chosen is None and started == num_trials:
            return facts, segments
        if chosen is None:
            chosen, started = (started, 0), started + 1
        else:
            facts.append(("promoted", chosen[0], chosen[1] - 1))
        segments.append(chosen)
        facts.append(
            ("diverge", *chosen)
            if draw.random() < 0.1
            else ("record", *chosen, quality[chosen[0]] + noise * draw.random())
        )
        getattr(scheduler, facts[-1][0])(*facts[-1][1:])


@BOTH
@pytest.mark.parametrize("noise", [0.1, 10.0])
def test_replaying_the_ledger_rebuilds_the_scheduler_at_every_point(kind, noise):
    facts, _ = simulated(kind(reduction=3, num_rungs=3), 40, noise=noise)
    running = kind(reduction=3, num_rungs=3)
    for done, (call, *arguments) in enumerate(facts):
        rebuilt = kind(reduction=3, num_rungs=3)
        for earlier, *given in facts[:done]:
            getattr(rebuilt, earlier)(*given)
        assert rebuilt.waiting() == running.waiting()
        if call == "promoted":
            closing = sum(fact[2] == 0 for fact in facts[:done] if fact[0] != "promoted") == 40
            expected = (arguments[0], arguments[1] + 1)
            assert rebuilt.next(closing=closing) == running.next(closing=closing) == expected
        else:
            getattr(running, call)(*arguments)


@BOTH
@pytest.mark.parametrize("noise", [0.1, 10.0])
def test_a_later_rungs_value_tells_that_the_trial_has_gone_on(kind, noise):
    facts, _ = simulated(kind(reduction=3, num_rungs=3), 40, noise=noise)
    whole, inferred = (kind(reduction=3, num_rungs=3) for _ in range(2))
    for call, *given in facts:
        getattr(whole, call)(*given)
        if call != "promoted":
            getattr(inferred, call)(*given)
    assert inferred.waiting() == whole.waiting()


def test_about_one_in_reduction_goes_on_from_each_rung():
    _, segments = simulated(Promotion(reduction=3, num_rungs=3), 270, noise=0.1)
    counts = [sum(rung == r for _, rung in segments) for r in range(3)]
    assert counts[0] == 270
    assert 90 <= counts[1] <= 100  # the best third, and a few that looked so too early
    assert counts[1] // 3 <= counts[2] <= counts[1] // 3 + 10


@pytest.mark.parametrize("seed", range(20))
def test_who_goes_on_is_the_first_leader_that_waits_however_many_have_gone(seed):
    """Who waits is kept apart from the standings; a walk through these says the same."""
    draw, scheduler = random.Random(seed), Promotion(reduction=3, num_rungs=3)
    sent: list[tuple[int, int]] = []
    trials = 0
    for _ in range(300):
        for closing in (False, True):
            walked = None
            for rung in (1, 0):
                standings = scheduler._standings[rung]
                quota = max(len(standings) // 3, int(closing))
                able = (*scheduler._passed[rung], *(trial for _, trial in standings[:quota]))
                able = tuple(trial for trial in able if scheduler._waits(trial, rung))
                if able and walked is None:
                    walked = able[0], rung
            assert scheduler._find(closing=closing) == walked
        if sent and draw.random() < 0.5:
            trial, rung = sent.pop(draw.randrange(len(sent)))
        else:
            trial, rung, trials = trials, 0, trials + 1
        if draw.random() < 0.1:
            scheduler.diverge(trial, rung)
        else:
            scheduler.record(trial, rung, round(draw.random(), 1))  # with ties
        if draw.random() < 0.7 and (found := scheduler.next()):
            sent.append(found)
    assert trials > 100
