"""Learning-rate schedules: pure shapes, beside torch's own schedulers."""

import itertools
import math
import random
import warnings
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from torch import nn, optim
from torch.optim import lr_scheduler

from pipeline.core.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Scheduled,
    Step,
    WarmRestarts,
)

SHAPES: list[Any] = [
    Constant(),
    Constant(warmup=0.2),
    Step(),
    Step(every=0.1, gamma=0.5, warmup=0.1),
    Step(every=1, gamma=0),
    Exponential(),
    Exponential(final=0.1, warmup=0.1),
    Cosine(),
    Cosine(warmup=0),
    Cosine(warmup=0.3, floor=0.1),
    Cosine(warmup=0.99),
    WarmRestarts(),
    WarmRestarts(num_cycles=1, warmup=0.05),
    WarmRestarts(num_cycles=100, growth=10, floor=0.1),
    OneCycle(),
    OneCycle(rise=0.5, div=1, final_div=1, warmup=0.1),
    OneCycle(rise=0.01, div=1e6, final_div=1e12),
    Plateau(),
    Plateau(patience=1, gamma=0.5, threshold=0, warmup=0.1),
]
LOSSES = [1.0, 0.9, 0.95, 0.9, 0.89, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.5, 0.4, 0.4, 0.4]


def test_every_schedule_is_looked_at() -> None:
    assert {type(s) for s in SHAPES} == set(SCHEDULES)


@pytest.mark.parametrize("schedule", SHAPES, ids=repr)
def test_json_round_trip(schedule: Scheduled) -> None:
    made: object = TypeAdapter(Schedule).validate_json(schedule.model_dump_json())
    assert made == schedule


@pytest.mark.parametrize("schedule", SHAPES, ids=repr)
@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_factors_are_between_0_and_1_and_positive_at_first(schedule: Scheduled, total: int) -> None:
    for losses in ((), LOSSES):
        factors = [schedule.factor(step, total, losses) for step in [*range(total + 1), total / 3]]
        assert all(0 <= f <= 1 for f in factors)
    assert schedule.factor(0, total) > 0


@pytest.mark.parametrize("member", SCHEDULES)
@pytest.mark.parametrize("seed", range(20))
def test_any_legal_schedule_stays_between_0_and_1(member: Any, seed: int) -> None:
    draw = random.Random(seed)
    knobs: dict[str, float] = {}
    for name, field in member.model_fields.items():
        if field.annotation is int:
            knobs[name] = draw.randint(1, 100)
        elif field.annotation is float:
            low, high = bound(field, "ge", "gt", default=0), bound(field, "le", "lt", default=1)
            # of every order of magnitude
            knobs[name] = low + (high - low) * 10 ** draw.uniform(-12, -1e-6)
    schedule: Scheduled = member(**knobs)
    for total in (1, 2, 3, 10, 997):
        losses = [draw.random() for _ in range(draw.randint(0, 40))]
        for step in {*range(min(total, 50)), total, draw.uniform(0, total)}:
            assert 0 <= schedule.factor(step, total, losses) <= 1


def bound(field: FieldInfo, *names: str, default: float) -> float:
    """The value of the field's first limit among `names`."""
    return next(
        (getattr(rule, name) for rule in field.metadata for name in names if hasattr(rule, name)),
        default,
    )


@pytest.mark.parametrize(
    "schedule",
    [s for s in SHAPES if isinstance(s, (Constant, Exponential, Cosine, OneCycle))],
    ids=repr,
)
def test_factors_have_no_jumps(schedule: Any) -> None:
    num = 100_000
    factors = [schedule.factor(step, num) for step in range(num + 1)]
    fastest = {"constant": 0.0, "exponential": 5.0, "cosine": math.pi / 2, "one_cycle": 100.0}[
        schedule.name
    ]
    steepest = max(fastest / (1 - schedule.warmup), 1 / (schedule.warmup or 1))
    assert max(abs(a - b) for a, b in itertools.pairwise(factors)) <= 1.1 * steepest / num


@pytest.mark.parametrize("schedule", SHAPES, ids=repr)
def test_the_shape_scales_with_the_total(schedule: Scheduled) -> None:
    for share in (0.0505, 0.2505, 0.5005, 0.8505):
        assert schedule.factor(share * 1e6, 1_000_000, LOSSES) == pytest.approx(
            schedule.factor(share * 1e4, 10_000, LOSSES), abs=1e-2
        )


@pytest.mark.parametrize("member", SCHEDULES)
def test_any_schedule_can_be_warmed_up(member: Any) -> None:
    """Straight up to where the shape begins, as torch's LinearLR; then the whole shape in the steps
    that are left.
    """
    warmed, plain = member(warmup=0.2), member(warmup=0)
    rates = torch_rates(
        lambda o: lr_scheduler.LinearLR(o, start_factor=1 / 201, total_iters=200), 201
    )
    for step in range(200):
        assert warmed.factor(step, 1000) == pytest.approx(rates[step] * plain.factor(0, 800))
    for step in range(200, 1001):
        assert warmed.factor(step, 1000) == pytest.approx(plain.factor(step - 200, 800))


def test_cosine_warms_up_linearly_peaks_at_one_and_ends_at_the_floor() -> None:
    schedule = Cosine(warmup=0.1, floor=0.2)
    assert [schedule.factor(step, 100) for step in (0, 4, 9)] == pytest.approx(
        [1 / 11, 5 / 11, 10 / 11]
    )
    assert schedule.factor(10, 100) == 1
    assert schedule.factor(55, 100) == pytest.approx(0.6)
    assert schedule.factor(100, 100) == pytest.approx(0.2)
    falling = [schedule.factor(step, 100) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)


def torch_rates(make: Any, num_steps: int) -> list[float]:
    """The learning rates of torch's scheduler for a peak rate of 1."""
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = make(optimizer)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer steps are taken here
        for _ in range(num_steps):
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "num_steps", "make"),
    [
        (Step(every=0.1, gamma=0.5), 100, lambda o: lr_scheduler.StepLR(o, 10, gamma=0.5)),
        (Step(every=0.3, gamma=0.1), 70, lambda o: lr_scheduler.StepLR(o, 21, gamma=0.1)),
        (Exponential(final=0.01), 80, lambda o: lr_scheduler.ExponentialLR(o, 0.01 ** (1 / 80))),
        (Cosine(warmup=0), 90, lambda o: lr_scheduler.CosineAnnealingLR(o, 90)),
        (
            Cosine(warmup=0, floor=0.1),
            90,
            lambda o: lr_scheduler.CosineAnnealingLR(o, 90, eta_min=0.1),
        ),
        (
            WarmRestarts(num_cycles=3, growth=2, floor=0.05),
            70,
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, 2, eta_min=0.05),
        ),
        (
            WarmRestarts(num_cycles=7, growth=1),
            70,
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, 1),
        ),
        (
            WarmRestarts(num_cycles=4, growth=3),
            280,
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 7, 3),
        ),
    ],
)
def test_the_rates_are_those_of_torchs_scheduler(
    schedule: Scheduled, num_steps: int, make: Any
) -> None:
    ours = [schedule.factor(step, num_steps) for step in range(num_steps)]
    assert ours == pytest.approx(torch_rates(make, num_steps), abs=1e-12)


def test_one_cycle_is_torchs_with_straight_lines() -> None:
    """torch counts the last step as the end, so its run of 101 steps ends where ours of 100
    does.
    """
    schedule = OneCycle(rise=0.3, div=20, final_div=1000)
    make = lambda o: lr_scheduler.OneCycleLR(  # noqa: E731
        o,
        1.0,
        101,
        pct_start=31 / 101,
        anneal_strategy="linear",
        cycle_momentum=False,
        div_factor=20,
        final_div_factor=50,
    )
    assert [schedule.factor(step, 100) for step in range(100)] == pytest.approx(
        torch_rates(make, 101)[:100], abs=1e-12
    )
    assert schedule.factor(30, 100) == 1
    assert schedule.factor(100, 100) == pytest.approx(1 / 1000)


@pytest.mark.parametrize("seed", range(30))
def test_plateau_is_torchs_on_any_losses(seed: int) -> None:
    draw = random.Random(seed)
    schedule = Plateau(
        gamma=draw.choice([0.1, 0.5]),
        patience=draw.randint(1, 6),
        threshold=draw.choice([0, 1e-4, 0.05]),
    )
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    judge = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=schedule.gamma,
        patience=schedule.patience - 1,
        threshold=schedule.threshold,
        eps=0,
    )
    losses: list[float] = []
    for epoch in range(60):
        assert schedule.factor(epoch, 60, losses) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-9
        )
        losses.append(
            draw.choice([draw.random() ** 2 + 1 / (epoch + 1), losses[-1] if losses else 1.0])
        )
        judge.step(losses[-1])
    assert schedule.factor(59, 60, losses) < 1


def test_plateau_waits_for_patience_epochs_each_time() -> None:
    schedule = Plateau(gamma=0.5, patience=2, threshold=0)
    falls = [1.0, 0.9, 0.9, 0.95, 0.9, 0.9, 0.8, 0.9, 0.9]
    factors = [schedule.factor(5, 10, falls[:epoch]) for epoch in range(len(falls) + 1)]
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


@pytest.mark.parametrize(
    ("member", "wrong"),
    [
        (Constant, {"warmup": 1.0}),
        (Step, {"every": 0}),
        (Exponential, {"final": 0}),
        (WarmRestarts, {"num_cycles": 0}),
        (WarmRestarts, {"growth": 0.5}),
        (OneCycle, {"rise": 0}),
        (OneCycle, {"div": 0.5}),
        (Plateau, {"patience": 0}),
        (Plateau, {"threshold": 1}),
    ],
)
def test_what_makes_no_schedule_is_refused(member: Any, wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        member(**wrong)
