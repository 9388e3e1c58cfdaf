"""Importance: what is planted is found, what is noise is called noise, and no two rungs are ever
mixed.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.analysis.importance import Importance, KnobImportance, Share, _order, measure
from pipeline.analysis.optuna_importance import Clone
from pipeline.analysis.rung_sample import MIN_TRIALS, Observed, Sample, choose, place
from pipeline.record import events
from pipeline.record.record import Record, Run
from pipeline.study.space import Choice, Float, Int, Range, Space
from tests.records import Scribe, make_study

UNIT = Float(low=0, high=1)
LR = Float(low=1e-5, high=1e-1, log=True)


def sample(
    count: int, ranges: dict[str, Range], value: Callable[..., float], seed: int = 0
) -> Sample:
    """`count` random trials of unconditional knobs; `value` takes their places in their ranges and
    a generator.
    """
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        places = rng.random(len(ranges))
        point = {
            name: (knob, scalar(knob, float(at)))
            for (name, knob), at in zip(ranges.items(), places, strict=True)
        }
        trials.append(
            Observed(Run(f"t{number}", "trial", {}, number), point, float(value(places, rng)))
        )
    return Sample(0, 1, (9,), tuple(trials), {}, {name: name for name in ranges})


def scalar(knob: Range, at: float) -> Any:
    if isinstance(knob, Choice):
        return knob.options[int(at * len(knob.options))]
    if knob.log:
        return math.exp(math.log(knob.low) + at * (math.log(knob.high) - math.log(knob.low)))
    return (
        round(knob.low + at * (knob.high - knob.low))
        if isinstance(knob, Int)
        else knob.low + at * (knob.high - knob.low)
    )


def by_name(found: Importance) -> dict[str, KnobImportance]:
    return {knob.name: knob for knob in found.knobs}


@pytest.fixture(scope="module")
def planted() -> Importance:
    ranges = {
        "lr": LR,
        "depth": Int(low=1, high=12),
        "batch": Choice(options=(32, 64, 128)),
        "junk": UNIT,
    }
    return measure(
        sample(80, ranges, lambda u, rng: 0.7 - 0.5 * (u[0] - 0.6) ** 2 + 0.01 * rng.normal())
    )


def test_the_knob_that_decides_is_found_by_both_measures(planted: Importance) -> None:
    knobs = by_name(planted)
    assert planted.knobs[0].name == "lr"
    assert knobs["lr"].clear == ("PED-ANOVA", "fANOVA")
    for share in (knobs["lr"].ped_anova, knobs["lr"].fanova):
        assert share is not None
        assert share.share > 0.7
        assert share.low <= share.share <= share.high <= 1


@pytest.mark.parametrize("name", ["depth", "batch", "junk"])
def test_knobs_without_any_effect_stay_at_the_noise_floor(planted: Importance, name: str) -> None:
    assert by_name(planted)[name].clear == ()


def test_shares_of_a_measure_add_up_to_one(planted: Importance) -> None:
    assert sum(knob.ped_anova.share for knob in planted.knobs if knob.ped_anova) == pytest.approx(
        1, abs=1e-5
    )
    assert sum(knob.fanova.share for knob in planted.knobs if knob.fanova) == pytest.approx(
        1, abs=1e-5
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_a_search_of_pure_noise_has_nothing_above_it(seed: int) -> None:
    found = measure(
        sample(30, {"a": UNIT, "b": UNIT, "c": LR}, lambda _, rng: 0.5 + 0.05 * rng.normal(), seed)
    )
    assert [knob.clear for knob in found.knobs] == [(), (), ()]


def test_a_single_knob_without_effect_is_not_taken_for_the_whole() -> None:
    found = measure(sample(40, {"a": UNIT}, lambda _, rng: 0.5 + 0.05 * rng.normal()))
    assert found.knobs[0].clear == ()


def test_a_knob_of_noise_leads_no_table_however_large_its_share() -> None:
    share = partial(Share, high=0.9, floor=0.3)
    loud = KnobImportance("loud", 3, share(share=0.5, low=0.0), None)
    heard = KnobImportance("heard", 40, share(share=0.4, low=0.35), None)
    assert sorted([loud, heard], key=_order) == [heard, loud]


def test_log_ranges_are_split_in_decades() -> None:
    """A narrow optimum in log10(lr) has .99 of the variance; on the linear scale fANOVA sees far
    less of it.
    """

    def value(u: Any, _: Any) -> float:
        return math.exp(-((u[0] - 0.25) ** 2) / 0.02) + 0.11 * u[1]

    decades = sample(120, {"lr": LR, "other": UNIT}, value)
    linear = Float(low=LR.low, high=LR.high)
    shares = []
    for knob in (LR, linear):
        points = [{**trial.point, "lr": (knob, trial.point["lr"][1])} for trial in decades.trials]
        found = Clone(points, [trial.value for trial in decades.trials]).fanova(
            num_trees=64, seed=0
        )
        shares.append(found["lr"] / sum(found.values()))
    assert shares[0] > 0.9
    assert shares[1] < shares[0] - 0.1


def test_equal_values_give_no_signal_and_no_error() -> None:
    found = measure(sample(25, {"a": UNIT, "b": Choice(options=(True, False))}, lambda *_: 0.5))
    for knob in found.knobs:
        assert knob.ped_anova is not None
        assert math.isnan(knob.ped_anova.share)
        assert knob.clear == ()


@pytest.mark.parametrize("count", [0, MIN_TRIALS - 1])
def test_too_few_trials_are_refused(count: int) -> None:
    few = sample(count, {"a": UNIT}, lambda u, _: u[0])
    assert not few.enough
    with pytest.raises(ValueError, match=f"needs {MIN_TRIALS} trials at one rung, got {count}"):
        measure(few)


def test_the_same_trials_give_the_same_numbers(planted: Importance) -> None:
    again = measure(planted.sample)
    assert again.knobs == planted.knobs
    other = measure(replace(planted.sample, trials=planted.sample.trials[1:]))
    assert other.knobs != planted.knobs


def test_more_trials_than_a_resample_takes() -> None:
    found = measure(sample(210, {"a": UNIT, "b": UNIT}, lambda u, rng: u[0] + 0.1 * rng.normal()))
    assert by_name(found)["a"].clear == ("PED-ANOVA", "fANOVA")
    assert found.quantile == 0.1


def test_options_that_are_equal_but_differ_in_kind_stay_apart() -> None:
    mixed = Choice(options=(1, True, 0.5, "x"))
    clone = Clone([{"k": (mixed, option)} for option in mixed.options], [1.0, 2.0, 3.0, 4.0])
    trials = clone._study.get_trials(deepcopy=False)
    assert [trial.params["k"] for trial in trials] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("knob", "value", "at"),
    [
        (LR, 1e-3, 0.5),
        (Int(low=2, high=6), 6, 1.0),
        (Choice(options=("a", "b", "c")), "b", 0.5),
        (Choice(options=("a",)), "a", 0.5),
    ],
)
def test_place_in_a_range(knob: Range, value: Any, at: float) -> None:
    assert place(knob, value) == pytest.approx(at)


def halved(
    folder: Path, count: int, *, reach: Callable[[int], int], dive: tuple[int, ...] = ()
) -> Record:
    """Trials of two optimizers: `lr` decides rung 0, `momentum` nothing, dropout the higher
    rungs.
    """
    study = make_study(num_trials=count)
    book, rng = Scribe(folder, study), np.random.default_rng(5)
    book.session()
    for number in range(count):
        knobs: dict[str, Any] = {
            "model.dropout": float(rng.uniform(0, 0.5)),
            "batch_size": (32, 64, 128)[number % 3],
        }
        sgd, at = rng.random() < 0.5, float(rng.random())
        lr = 10 ** (-3 + at * math.log10(300)) if sgd else 10 ** (-5 + 3 * at)
        knobs |= {
            "optimizer.name": "sgd" if sgd else "adam",
            "optimizer.lr": min(lr, 0.3) if sgd else lr,
        }
        knobs |= {"optimizer.momentum": float(rng.uniform(0.5, 0.98))} if sgd else {}
        run, config = f"trial-{number}", study.baseline.override(knobs).model_dump(mode="json")
        book.ledger.append(events.Trial(run=run, trial=number, config=config, knobs=knobs, asked=0))
        last = reach(number)
        for rung in range(last + 1):
            book.ledger.append(events.Start(run=run, rung=rung))
            if number in dive and rung == last:
                break
            noise = 0.004 * float(rng.normal())
            value = 0.6 - 0.8 * (at - 0.5) ** 2 if rung == 0 else 0.6 + 0.3 * knobs["model.dropout"]
            book.ledger.append(events.Rung(run=run, rung=rung, value=value + noise))
        status = "diverged" if number in dive else "complete" if last == 2 else "stopped"
        book.ledger.append(events.End(run=run, status=status, best_epoch=1))
    return book.record()


def test_one_rung_alone_the_highest_with_enough_trials(tmp_path: Path) -> None:
    record = halved(
        tmp_path,
        90,
        reach=lambda n: 2 if n % 9 == 0 else 1 if n % 3 == 0 else 0,
        dive=(3, 6, 9, 10),
    )
    chosen = choose(record.trials(), record.study)
    assert (chosen.rung, chosen.num_rungs, chosen.epochs) == (1, 3, (3,))
    assert chosen.total == 90
    for trial in chosen.trials:
        assert trial.value == trial.run.rungs[1]
    assert (
        len(chosen.trials) == 28
    )  # of the 30 sent there two diverged on the way; one more did so later, and counts
    assert chosen.excluded == {"stopped or waiting below it": 59, "diverged before it": 3}
    assert chosen.agreement is not None
    assert chosen.agreement[1] == 28
    assert chosen.ahead is None, "fewer than 10 were sent on and have a value"
    knobs = by_name(measure(chosen))
    assert knobs["model.dropout"].clear == ("PED-ANOVA", "fANOVA")
    assert knobs["optimizer.lr (in its own range)"].clear == (), (
        "what decides the rung below says nothing here"
    )


def test_the_first_rung_has_its_own_answer_and_conditional_knobs_count_their_trials(
    tmp_path: Path,
) -> None:
    record = halved(tmp_path, 70, reach=lambda _: 0)
    chosen = choose(record.trials(), record.study)
    assert (chosen.rung, chosen.epochs, chosen.excluded) == (0, (1,), {})
    assert chosen.agreement is None
    assert chosen.ahead is None
    found = measure(chosen)
    knobs = by_name(found)
    assert knobs["optimizer.lr (in its own range)"].clear == ("fANOVA",)
    assert knobs["optimizer.lr (in its own range)"].ped_anova is None
    by_variant = [knobs[f"optimizer.{name}.lr"] for name in ("sgd", "adam")]
    assert sum(knob.num_trials for knob in by_variant) == 70
    assert all(knob.fanova is None for knob in by_variant)
    ranked = [knob.name for knob in found.knobs if knob.ped_anova]
    assert set(ranked[:2]) == {"optimizer.sgd.lr", "optimizer.adam.lr"}
    assert knobs["optimizer.sgd.momentum"].clear == ()
    assert "optimizer.momentum (in its own range)" not in knobs, "adam has none"


def test_below_twenty_at_every_rung_the_fullest_is_named(tmp_path: Path) -> None:
    record = halved(tmp_path, 19, reach=lambda n: 1 if n < 8 else 0)
    chosen = choose(record.trials(), record.study)
    assert (chosen.enough, chosen.rung, len(chosen.trials)) == (False, 0, 19)


def test_a_point_outside_the_space_is_left_out_and_counted(tmp_path: Path) -> None:
    record = halved(tmp_path, 25, reach=lambda _: 0)
    record.trials()[0].knobs = {}
    record.trials()[1].knobs["model.dropout"] = 0.9
    chosen = choose(record.trials(), record.study)
    assert len(chosen.trials) == 23
    assert chosen.excluded == {"outside the space": 2}


def test_every_qualified_name_has_its_path() -> None:
    space: Space = make_study().space
    assert set(space.paths()) == {name for name, _ in space.table()}
    assert space.paths()["optimizer.sgd.lr"] == space.paths()["optimizer.adam.lr"] == "optimizer.lr"
