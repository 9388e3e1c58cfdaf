"""The rules of the diagnosis, on made curves whose illness is known, and what they say of arms."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.analysis.diagnosis import (
    RULES,
    Flag,
    diagnose,
    judge_arms,
    judge_best,
    unconverged,
    unlike,
)
from pipeline.core.schedules import Constant, Cosine, OneCycle, Scheduled, Step, WarmRestarts
from pipeline.record import events
from pipeline.record.record import Record
from pipeline.report.compose import Findings, document, read, texts
from pipeline.report.formats import html, markdown
from pipeline.report.formats.terminal import render
from pipeline.report.sections import diagnosis as section
from tests.records import Scribe, make_study, with_arms

CURVES = 200
Epochs = list[dict[str, float]]


def history(train_loss: Any, train_acc: Any, val_loss: Any, val_acc: Any) -> Epochs:
    lines = np.broadcast_arrays(*map(np.asarray, (train_loss, train_acc, val_loss, val_acc)))
    names = ("train_loss", "train_acc", "val_loss", "val_acc")
    return [
        dict(zip(names, map(float, row), strict=True)) | {"epoch": i + 1}
        for i, row in enumerate(zip(*lines, strict=True))
    ]


def look(epochs: Epochs, **setting: Any) -> tuple[Flag, ...]:
    facts: dict[str, Any] = {
        "num_classes": 10,
        "num_val": 2000,
        "planned_epochs": len(epochs),
        "status": "complete",
    }
    return diagnose(epochs, **(facts | {"schedule_ends_low": False} | setting))


def names(flags: tuple[Flag, ...]) -> set[str]:
    return {flag.name for flag in flags}


def family(kind: str, rng: np.random.Generator) -> Epochs:
    """30 to 60 noisy epochs of a run with the illness `kind`; losses near those of ten classes of
    photographs.
    """
    num = int(rng.integers(30, 61))
    t = np.arange(1, num + 1) / num

    def jitter(sd: float) -> Any:
        return rng.normal(0, sd, num)

    fall = np.exp(-t / rng.uniform(0.13, 0.18))  # done in the last third
    base = rng.uniform(0.6, 0.8)
    acc = 0.78 - 0.6 * fall
    train, val, train_acc, val_acc = 0.55 + 1.6 * fall, base + 1.5 * fall, acc + 0.03, acc
    sd = 0.008
    if kind == "not_learning":
        train, val, train_acc, val_acc = (
            np.full(num, 2.302),
            np.full(num, 2.304),
            np.full(num, 0.1),
            np.full(num, 0.1),
        )
        return history(
            train + jitter(0.002),
            train_acc + jitter(0.004),
            val + jitter(0.002),
            val_acc + jitter(0.004),
        )
    if kind == "train_loss_rising":
        bump = np.clip(t - rng.uniform(0.45, 0.6), 0, None) * rng.uniform(0.8, 2.0)
        train, val, train_acc, val_acc = (
            train + bump,
            val + bump,
            train_acc - 0.2 * bump,
            val_acc - 0.2 * bump,
        )
    if kind in ("overfit", "overfit_calibration_only"):
        late = np.clip(t - rng.uniform(0.3, 0.45), 0, None)
        train, val = 0.02 + 1.9 * fall, val + late * rng.uniform(0.5, 1.2)
        train_acc = 1 - 0.7 * fall
        val_acc = acc - (late * 0.2 if kind == "overfit" else 0)
    if kind == "still_improving":
        slow = 1 - t * rng.uniform(0.75, 0.95)
        train, val, train_acc, val_acc = (
            0.8 + 1.4 * slow,
            0.9 + 1.3 * slow,
            0.75 - 0.5 * slow,
            0.72 - 0.5 * slow,
        )
    if kind == "gap":
        train, train_acc = 0.05 + 1.9 * fall, 0.98 - 0.7 * fall
    if kind == "underfit":
        train, val, train_acc, val_acc = (
            1.5 + 0.7 * fall,
            1.52 + 0.7 * fall,
            0.48 - 0.3 * fall,
            0.46 - 0.3 * fall,
        )
    if kind == "noisy_eval":
        sd = 0.15
    return history(
        np.maximum(train + jitter(0.005), 1e-4), np.clip(train_acc + jitter(0.004), 0, 1),
        val + jitter(sd),
        np.clip(val_acc + jitter(0.006 if kind != "noisy_eval" else 0.03), 0, 1),
    )  # fmt: skip


# What else such a run may truly show: an underfitted, noisy or overfitted one may have settled
# early, and so on.
FAMILIES = {
    "not_learning": set(),
    "train_loss_rising": set(),
    "overfit": set(),
    "overfit_calibration_only": set(),
    "still_improving": set(),
    "gap": {"saturated_early"},
    "underfit": {"saturated_early"},
    "noisy_eval": {"saturated_early"},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_right_flag_in_nineteen_of_twenty_curves_and_seldom_another(kind: str) -> None:
    rng = np.random.default_rng(11)
    found = [
        names(look(family(kind, rng), target_train_acc=0.7 if kind == "underfit" else None))
        for _ in range(CURVES)
    ]
    right = sum(kind in flags for flags in found) / CURVES
    false = sum(bool(flags - {kind} - FAMILIES[kind]) for flags in found) / CURVES
    assert right >= 0.95
    assert false <= 0.05


def test_a_sound_run_has_no_flag() -> None:
    rng = np.random.default_rng(3)
    found = [look(family("sound", rng), target_train_acc=0.7) for _ in range(CURVES)]
    assert sum(bool(flags) for flags in found) <= 0.05 * CURVES


def test_a_run_that_settles_before_half_of_its_epochs_is_told_so() -> None:
    rng = np.random.default_rng(4)
    t, found = np.arange(1, 41), []
    for _ in range(CURVES):
        fall = np.exp(-t / 2.5)
        acc = 0.7 - 0.5 * fall
        curves = history(
            0.8 + fall,
            acc + 0.02,
            0.9 + fall + rng.normal(0, 0.01, 40),
            acc + rng.normal(0, 0.004, 40),
        )
        found.append(names(look(curves)))
    assert sum(flags == {"saturated_early"} for flags in found) >= 0.95 * CURVES


def test_flat_noise_is_seldom_a_trend() -> None:
    rng = np.random.default_rng(5)
    found = []
    for num in (8, 12, 20, 40, 80):
        for _ in range(CURVES):
            noise = rng.normal(0, 0.02, num)
            found.append(
                names(
                    look(history(np.linspace(1.3, 1.2, num), 0.6, 1.4 + noise, 0.58 + noise / 10))
                )
            )
    trends = {
        "still_improving",
        "overfit",
        "overfit_calibration_only",
        "val_loss_rising",
        "train_loss_rising",
    }
    assert sum(bool(flags & trends) for flags in found) <= 0.05 * len(found)


def ramp(rise: float, num: int = 20) -> Epochs:
    """Val loss falls to 1.0 at epoch 8 and rises by `rise` to the end, val acc 10 points down with
    it; train loss falls.
    """
    val = np.concatenate((np.linspace(2.0, 1.0, 8), np.linspace(1.0, 1.0 + rise, num - 8)))
    acc = np.concatenate((np.linspace(0.2, 0.7, 8), np.linspace(0.7, 0.6, num - 8)))
    return history(np.linspace(2.0, 0.4, num), np.linspace(0.2, 0.9, num), val, acc)


RISING = np.linspace(0.59, 0.6, 20)  # an accuracy that hardly moves


def level(
    train_loss: Any = 1.0,
    train_acc: Any = 0.6,
    val_loss: Any = 1.2,
    val_acc: Any = RISING,
    **setting: Any,
) -> set[str]:
    return names(look(history(train_loss, train_acc, val_loss, val_acc), **setting))


def joined(first: tuple[float, float], num: int, then: tuple[float, float]) -> Any:
    return np.r_[np.linspace(*first, num), np.linspace(*then, 20 - num)]


JAGGED = np.tile([-1, 1], 10)
BOUNDARIES: dict[str, tuple[Callable[[float], set[str]], float, float]] = {
    "not_learning": (lambda x: level(2.0, 0.11, 2.2, RISING - 0.47 - x), 0.0, 0.02),
    "train_loss_rising": (lambda x: level(train_loss=joined((2, 1), 8, (1, 1 + x))), 0.095, 0.12),
    "overfit": (lambda x: names(look(ramp(x))), 0.045, 0.065),
    "still_improving": (
        lambda x: level(val_loss=joined((2, 1), 12, (1 - x, 1 - 8 * x))),
        0.01,
        0.03,
    ),
    "gap": (lambda x: level(train_acc=0.6 + x), 0.049, 0.08),
    "underfit": (lambda x: level(train_acc=0.7 - x, target_train_acc=0.6), 0.09, 0.11),
    "noisy_eval": (lambda x: level(val_loss=1.2 + x * JAGGED), 0.03, 0.1),
    "saturated_early": (lambda x: level(val_loss=joined((2, 1), int(20 * x), (1, 1))), 0.6, 0.4),
}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_each_rule_has_its_threshold_between_these_two(name: str) -> None:
    make, without, having = BOUNDARIES[name]
    assert name not in make(without)
    assert name in make(having)


def test_overfitting_without_a_loss_of_accuracy_is_called_so() -> None:
    unhurt = [epoch | {"val_acc": min(0.7, 0.2 + 0.07 * epoch["epoch"])} for epoch in ramp(0.4)]
    (flag,) = look(unhurt)
    assert flag.name == "overfit_calibration_only"
    assert "70.0 %" in flag.text
    assert "overfit" not in flag.text


def test_a_rise_is_overfitting_only_where_the_train_loss_fell_and_compares() -> None:
    def said(flags: tuple[Flag, ...]) -> str:
        return " ".join(flag.name + flag.text for flag in flags)

    falling = ramp(0.4)
    assert "overfitting" in said(look(falling))
    flat = [epoch | {"train_loss": 1.0} for epoch in falling]
    assert names(look(flat)) == {"val_loss_rising"}
    void = look(falling, gap_void="its teacher may have been trained on the val pictures")
    assert names(void) == {"val_loss_rising", "gap_not_interpretable"}
    assert "gap not interpretable" in said(void)
    for flags in (
        look(flat),
        void,
        *(look(falling[:n]) for n in range(1, 8)),
        look(history(0.2, 0.95, 2.0, [0.5])),
    ):
        assert "overfit" not in said(flags)


@pytest.mark.parametrize("kind", [*FAMILIES, "sound"])
def test_no_text_claims_convergence_and_each_contains_its_numbers(kind: str) -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        for flag in look(family(kind, rng), target_train_acc=0.7):
            assert "converge" not in flag.text
            written = flag.text.replace(" %", "")
            for key, value in flag.numbers.items():
                if key not in ("gain", "drop"):
                    shown = {f"{value:.{digits}f}" for digits in range(5)} | {f"{100 * value:.1f}"}
                    assert any(text in written for text in shown), (flag.name, key, value)


@pytest.mark.parametrize("num", range(8))
def test_short_histories_are_asked_only_what_needs_no_tail(num: int) -> None:
    steep = history(
        np.linspace(2.0, 0.1, num), np.linspace(0.9, 0.91, num), np.linspace(1.0, 3.0, num), 0.6
    )
    assert names(look(steep, target_train_acc=0.99)) == ({"gap"} if num else set())
    assert RULES.min_epochs == 8


def test_what_is_not_finite_has_diverged() -> None:
    epochs = ramp(0.4)
    for bad in (math.nan, math.inf):
        (flag,) = look([*epochs[:5], epochs[5] | {"val_loss": bad}])
        assert flag.name == "diverged"
    (flag,) = look(epochs[:3], status="diverged")
    assert "3 whole epochs" in flag.text
    assert names(look([], status="diverged")) == {"diverged"}


@pytest.mark.parametrize(("num_classes", "at", "above"), [(2, 0.55, 0.60), (100, 0.019, 0.03)])
def test_chance_depends_on_the_classes_and_the_val_pictures(
    num_classes: int, at: float, above: float
) -> None:
    def found(acc: float) -> set[str]:
        loss = 0.8 * math.log(num_classes)
        return names(
            look(history(loss, acc, loss, [acc, acc - 0.01]), num_classes=num_classes, num_val=500)
        )

    assert found(at) == {"not_learning"}
    assert found(above) == set()


@pytest.mark.parametrize("num", [1, 2, 3, 12])
def test_what_was_learned_and_lost_again_is_a_late_collapse(num: int) -> None:
    accs = np.r_[np.linspace(0.2, 0.5, 20 - num), np.linspace(0.105, 0.1, num)]
    losses = np.r_[np.linspace(2.2, 1.5, 20 - num), np.full(num, 2.4)]
    (flag,) = look(history(losses, accs, losses, accs))
    assert flag.name == "late_collapse"
    last = "the last epoch" if num == 1 else f"the last {num} epochs"
    assert f"val acc was 50.0 % (epoch {20 - num}) and fell to 10." in flag.text
    assert f"% in {last}: a late collapse" in flag.text


def test_an_arm_whose_runs_collapse_late_says_so_in_its_line_and_is_warned_of(
    tmp_path: Path,
) -> None:
    """Its number is that of networks which its runs lost again; the diagnosis alone said so."""
    accs = np.r_[0.3, 0.45, 0.5, np.full(17, 0.25)]
    losses = np.r_[1.3, 1.2, 1.1, np.full(17, 1.39)]
    torn = history(losses, accs, losses, accs)
    record = study_of(tmp_path, {"flat": [sound()] * 3, "torn": [torn] * 3})
    findings = read(record)
    assert findings.ablation.collapsing == ("torn",)
    (warning,) = [text for text in findings.warnings if "a late collapse" in text]
    assert warning.startswith("torn: val acc was 50.0 % (epoch 3) and fell to 25.0 %")
    said = "torn collapses later: this is at its runs' best epochs, before that."
    page = texts(findings, {})["report.md"]
    (line,) = [line for line in page.splitlines() if said in line]
    assert line.startswith("- torn: ")
    first = study_of(tmp_path / "first", {"torn": [torn] * 3, "flat": [sound()] * 3})
    assert said in texts(read(first), {})["report.md"].split("## What next")[0]


def test_a_dip_above_half_of_what_was_learned_is_no_collapse() -> None:
    accs = np.r_[np.linspace(0.2, 0.5, 18), 0.35, 0.32]
    assert "late_collapse" not in names(look(history(1.0, accs, 1.0, accs)))


def noisy(fall: float, num: int, rng: np.random.Generator, **setting: Any) -> set[str]:
    """A run of `num` epochs on 350 val pictures whose val loss falls by `fall` an epoch under a
    noise of .08.
    """
    t = np.arange(1, num + 1) / num
    val = 2.1 - fall * num * t + rng.normal(0, 0.08, num)
    acc = 0.2 + 0.3 * t * (fall > 0)
    return names(
        look(
            history(val - 0.2, acc + 0.05, val, acc + rng.normal(0, 0.02, num)),
            num_val=350,
            **setting,
        )
    )


@pytest.mark.parametrize("num", [12, 20, 40])
def test_a_noisy_curve_that_falls_to_its_end_still_improves_and_does_not_underfit(num: int) -> None:
    """Its tail of 4 epochs cannot show the fall; the whole curve does, and it was called
    underfitting in 43 of 60.
    """
    rng = np.random.default_rng(6)
    found = [noisy(1.1 / num, num, rng, target_train_acc=0.7) for _ in range(60)]
    assert sum("still_improving" in flags and "underfit" not in flags for flags in found) >= 57


def test_a_run_short_of_its_target_whose_train_loss_still_falls_needs_epochs_not_capacity() -> None:
    rng = np.random.default_rng(7)
    t = np.arange(1, 21) / 20
    for _ in range(20):
        val = 1.6 - 0.05 * t + rng.normal(0, 0.2, 20)
        found = look(
            history(2.2 - 1.0 * t, 0.2 + 0.3 * t, val, 0.2 + 0.3 * t),
            num_val=100,
            target_train_acc=0.7,
        )
        (flag,) = [flag for flag in found if flag.name == "still_improving"]
        assert flag.seen.startswith("train loss still falls, by 0.05")


def scheduled(schedule: Scheduled, num: int, rise: float = 0.0) -> Epochs:
    """A run whose losses follow its learning rate, and whose val loss rises by `rise` from a third
    of it on.
    """
    t, rate = (
        np.arange(1, num + 1) / num,
        np.array([schedule.factor(epoch + 1, num) for epoch in range(num)]),
    )
    fall, late = np.exp(-t / 0.25), np.clip(t - 0.3, 0, None) * rise
    epochs = history(
        0.1 + 1.5 * fall + 0.35 * rate, 0.85 - 0.5 * fall - 0.1 * rate - 0.05,
        0.75 + 1.3 * fall + 0.35 * rate + late, 0.82 - 0.5 * fall - 0.1 * rate - 0.3 * late,
    )  # fmt: skip
    return [
        epoch | {"lr": 0.1 * factor} for epoch, factor in zip(epochs, rate.tolist(), strict=True)
    ]


RISES = {
    "train_loss_rising",
    "val_loss_rising",
    "overfit",
    "overfit_calibration_only",
    "late_collapse",
}


@pytest.mark.parametrize("over", [0, 1, 2, 3])
def test_a_run_that_ends_after_a_warm_restart_is_not_called_unstable(over: int) -> None:
    """Its second restart is at epoch 12 of 28."""
    epochs = scheduled(WarmRestarts(num_cycles=3, growth=2.0), 28)[: 12 + over]
    assert over == 0 or epochs[11]["lr"] > 2 * epochs[10]["lr"]
    assert not names(look(epochs, planned_epochs=28)) & RISES


@pytest.mark.parametrize(
    "schedule", [WarmRestarts(num_cycles=3), OneCycle(), Step(), Cosine(), Constant(warmup=0.1)]
)
def test_a_schedule_neither_raises_nor_hides_a_rise(schedule: Scheduled) -> None:
    assert not names(look(scheduled(schedule, 28), schedule_ends_low=True)) & RISES
    assert names(look(scheduled(schedule, 28, rise=2.0), schedule_ends_low=True)) & RISES


def test_flat_after_an_early_drop_of_the_learning_rate_is_stalled_and_not_a_shorter_budget() -> (
    None
):
    rng = np.random.default_rng(9)
    reach, rates = (
        np.minimum(np.arange(24), 5) / 10,
        np.where(np.arange(24) < 5, 0.1, 0.001).tolist(),
    )
    for _ in range(20):
        noise = rng.normal(0, 0.01, 24)
        epochs = history(
            2.1 - 1.2 * reach, 0.2 + 0.5 * reach, 2.1 - 1.1 * reach + noise, 0.16 + 0.5 * reach
        )
        (flag,) = look([epoch | {"lr": rate} for epoch, rate in zip(epochs, rates, strict=True)])
        assert flag.name == "stalled"
        assert "fell from 0.1 to 0.001 at epoch 6 of 24" in flag.text
    late = [epoch | {"lr": 0.1 if epoch["epoch"] < 9 else 0.001} for epoch in epochs]
    assert "stalled" not in names(look(late)), "a step schedule's first step is at 30 %"


def test_one_class_named_always_is_not_learning_even_where_most_pictures_are_of_it() -> None:
    assert names(look(history(0.9, 0.85, 0.9, [0.84] * 6))) == {"not_learning"}
    assert not look(
        history([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.85, 0.86, 0.87, 0.87, 0.87, 0.87], 0.9, 0.84)
    )
    assert not look(history(0.01, 1.0, 0.02, [1.0] * 6)), "all right is no single class"


def test_a_train_loss_near_chance_counts_only_where_it_was_what_is_minimized() -> None:
    level = history(2.29, 0.20, 2.29, [0.19, 0.20])
    assert names(look(level)) == {"not_learning"}
    assert not look(level, soft_targets=True)
    assert not look(history(2.29, 0.30, 2.29, [0.29, 0.30])), "accuracy shows that it has begun"


def test_a_run_that_learned_its_pictures_is_not_called_dead_by_a_handful_of_others() -> None:
    """Nine val pictures of three classes; 66.7 % was called chance beside a train acc of 1."""
    accs = [0.333, 0.444, 0.556, 0.667, 0.556, 0.556, 0.667, 0.667, 0.667, 0.556]
    few = {"num_classes": 3, "num_val": 9, "num_train_subset": 9}
    learned = history(np.linspace(1.1, 0.1, 10), np.linspace(0.4, 1, 10), 0.9, accs)
    assert "not_learning" not in names(look(learned, **few))
    dead = history(1.1, 0.333, 1.1, [0.333, 0.444] * 5)
    assert names(look(dead, **few)) == {"not_learning"}


def test_a_falling_tail_under_a_schedule_that_ends_low_asks_for_a_longer_budget() -> None:
    falling = history(1.0, 0.6, np.linspace(2.0, 1.0, 20), np.linspace(0.3, 0.6, 20))
    (open_end,), (low,) = look(falling), look(falling, schedule_ends_low=True)
    (cut,) = look(falling, planned_epochs=60)
    assert "longer schedule" in open_end.text
    assert "compare a longer budget" in low.text
    assert "20 of 60 planned epochs" in cut.text


def told(book: Scribe, arm: str, replicate: int, epochs: Epochs, **end: Any) -> str:
    """One replicate of an arm with these very curves."""
    config = dict((a.name, config) for a, config in book.study.arms())[arm].model_dump(
        mode="json"
    ) | end.pop("config", {})
    run = f"{arm}-{replicate}"
    book.ledger.append(events.Arm(run=run, arm=arm, replicate=replicate, config=config))
    book.ledger.append(events.Start(run=run, rung=-1))
    for epoch in epochs:
        book.ledger.append(events.Epoch(run=run, metrics={"lr": 0.1, "seconds": 1.0} | epoch))
    best = min(epochs, key=lambda e: (-e["val_acc"], e["val_loss"]), default={"epoch": 0})
    fields = {
        "status": "complete",
        "num_params": 7,
        "best_epoch": int(best["epoch"]),
        "test_acc": 0.5,
        "test_loss": 1.0,
    }
    book.ledger.append(events.End(run=run, **(fields | end)))
    return run


def study_of(
    folder: Path, arms: dict[str, list[Epochs]], ends: dict[str, list[dict[str, Any]]] | None = None
) -> Record:
    study = make_study(replicates=max(map(len, arms.values())), num_trials=0, epochs=20)
    overrides = {
        arm: {"model.dropout": 0.01 * number} if number else {} for number, arm in enumerate(arms)
    }
    book = Scribe(folder, with_arms(study, overrides))
    book.session()
    for arm, runs in arms.items():
        for number, epochs in enumerate(runs):
            told(book, arm, number + 1, epochs, **(ends or {}).get(arm, [{}] * len(runs))[number])
    return book.record()


def sound() -> Epochs:
    fall = np.exp(-np.arange(1, 21) / 3.2)
    return history(0.8 + fall, 0.68 - 0.5 * fall, 0.9 + fall, 0.65 - 0.5 * fall)


MOBILENET = {"name": "mobilenet", "variant": "v2", "dropout": 0.0}  # has published weights
IMPROVING = history(
    np.linspace(2, 1, 20),
    np.linspace(0.3, 0.65, 20),
    np.linspace(2, 1, 20),
    np.linspace(0.3, 0.62, 20),
)


def test_an_arm_has_a_flag_where_more_than_half_of_its_runs_have_it(tmp_path: Path) -> None:
    arms = {
        "three": [ramp(0.4)] * 3 + [sound()] * 2,
        "half": [ramp(0.4)] * 2 + [sound()] * 2,
        "none": [sound()] * 3,
    }
    record = study_of(tmp_path, arms)
    judged = judge_arms(record, record.study)
    (flag,) = [flag for flag in judged["three"] if flag.name == "overfit"]
    assert (flag.count, flag.num_runs, flag.replicate) == (3, 5, 1)
    assert flag.runs == ("three-1", "three-2", "three-3")
    assert judged["half"] == judged["none"] == ()


def test_the_few_runs_of_an_arm_that_end_at_chance_are_named(tmp_path: Path) -> None:
    """A run that stood at 19.6 % in its first epoch and at chance in all others was in the mean,
    and nothing said so. A train loss near chance alone is no such run, nor a late collapse, whose
    best epoch is judged.
    """
    accs = [0.39, *[0.1] * 19]
    lost = history(2.3, 0.3, 2.3, accs)
    slow = history(1.37, 0.3, 1.37, np.linspace(0.35, 0.45, 20))
    late = history(0.5, [*[0.9] * 10, *[0.25] * 10], 0.5, [*[0.9] * 10, *[0.25] * 10])
    arms = {"one": [sound(), sound(), lost], "most": [sound(), lost, lost]}
    arms |= {"slow": [sound(), sound(), slow], "late": [sound(), sound(), late]}
    record = study_of(tmp_path, arms)
    found = read(record, tmp_path)
    assert set(found.diagnosis.few) == {"one"}
    (said,) = [text for text in found.warnings if text.startswith("one: 1 of 3 runs, replicate 3")]
    assert "val acc was 39.0 % (epoch 1)" in said
    assert said.endswith("the mean describes neither kind of run")
    page = texts(found, {}, "zh")["report.md"]
    assert "没有学到东西，与其余运行不同" in page


def test_diverged_runs_count_with_those_that_do_not_learn(tmp_path: Path) -> None:
    lost = history(2.3, 0.1, 2.3, 0.1 + np.zeros(20))
    ends = {
        "mixed": [{"status": "diverged", "error": "NaN"}, {}, {}],
        "one": [{"status": "diverged", "error": "NaN"}, {}, {}],
    }
    record = study_of(
        tmp_path,
        {"mixed": [sound()[:2], lost, sound()], "one": [sound()[:2], sound(), sound()]},
        ends,
    )
    judged = judge_arms(record, record.study)
    assert [(flag.count, flag.num_runs, flag.runs) for flag in judged["mixed"]] == [
        (2, 3, ("mixed-1", "mixed-2"))
    ]
    assert judged["one"] == ()


def test_arms_that_still_improve_are_set_apart_from_those_that_do_not(tmp_path: Path) -> None:
    mixed = study_of(tmp_path / "a", {"slow": [IMPROVING] * 3, "fast": [sound()] * 3})
    assert unlike(judge_arms(mixed, mixed.study)) == ("slow",)
    some = study_of(
        tmp_path / "c", {"slow": [IMPROVING] * 3, "fast": [sound(), sound(), IMPROVING]}
    )
    said = "slow: still improving at the end in most runs, which the rules find of no other arm"
    for record in (
        mixed,
        some,
    ):  # a minority of the others may still improve, so nothing is said of their losses
        (warning,) = [text for text in read(record).warnings if "still improving" in text]
        assert warning == f"{said}; a longer budget could change the ranking"
    alike = study_of(tmp_path / "b", {"slow": [IMPROVING] * 3, "fast": [IMPROVING] * 3})
    assert unlike(judge_arms(alike, alike.study)) == ()


def test_where_every_arm_still_improves_it_is_said_wherever_they_are_compared(
    tmp_path: Path,
) -> None:
    alike = study_of(tmp_path / "b", {"slow": [IMPROVING] * 3, "fast": [IMPROVING] * 3})
    findings = read(alike)
    num_epochs = len(IMPROVING)
    assert unconverged(judge_arms(alike, alike.study)) == ("slow", "fast")
    assert any(
        warning.startswith("every arm: still improving at the end") for warning in findings.warnings
    )
    said = f"After {num_epochs} epochs, not converged: every arm; still improving at the end"
    found = {name: page.replace("\u00a0", " ") for name, page in texts(findings, {}).items()}
    assert [name for name, page in found.items() if said not in page] == []
    assert said in " ".join(render(findings, Path("report.html")).split())
    scope = f"{findings.ablation.basis.scope}, {num_epochs} epochs, not converged; here: "
    assert [name for name, page in found.items() if scope not in page] == []
    assert "no warnings" not in found["report.md"]
    assert f"训练 {num_epochs} 轮后尚未收敛：所有变体" in texts(findings, {}, "zh")["report.md"]


def test_the_best_epoch_at_the_very_end_counts_only_where_accuracy_rises_there(
    tmp_path: Path,
) -> None:
    rising = history(
        np.linspace(2, 1, 20),
        np.linspace(0.2, 0.6, 20),
        np.full(20, 1.5),
        np.linspace(0.2, 0.55, 20),
    )
    record = study_of(tmp_path, {"rising": [rising] * 3, "flat": [sound()] * 3})
    assert unconverged(judge_arms(record, record.study)) == ("rising",)
    assert read(record).ablation.budget.endswith("not converged")
    alike = study_of(tmp_path / "alike", {"rising": [rising] * 3, "also": [rising] * 3})
    judged = judge_arms(alike, alike.study)
    assert [flag.name for flag in judged["rising"]] == ["best_at_end"], "it says so itself"
    assert unconverged(judged) == ("rising", "also")
    page = texts(read(alike), {})["report.md"]
    rows = [line for line in page.splitlines() if "the best epoch is the last, 20" in line]
    assert [line for line in rows if line.startswith("|")] == rows
    assert "still improving" in rows[0]
    done = study_of(tmp_path / "done", {"flat": [sound()] * 3, "alike": [sound()] * 3})
    assert "converged" not in read(done).ablation.budget


def test_few_epochs_above_chance_are_not_converged_though_the_train_loss_is_that_of_chance(
    tmp_path: Path,
) -> None:
    begun = history(
        [1.385, 1.38, 1.375], [0.3, 0.38, 0.44], [1.38, 1.375, 1.37], [0.29, 0.36, 0.45]
    )
    guessing = history(
        [1.39, 1.388, 1.387], [0.25, 0.25, 0.26], [1.39, 1.389, 1.388], [0.24, 0.25, 0.26]
    )
    record = study_of(tmp_path, {"begun": [begun] * 3, "guessing": [guessing] * 3})
    judged = judge_arms(record, record.study)
    assert {arm: [flag.name for flag in flags] for arm, flags in judged.items()} == {
        "begun": ["best_at_end"],
        "guessing": ["not_learning"],
    }
    assert unconverged(judged) == ("begun",)


def test_where_nothing_overfits_regularizers_have_nothing_to_prevent(tmp_path: Path) -> None:
    slow = np.linspace(2, 1.7, 20)
    low = history(slow, np.linspace(0.2, 0.35, 20), slow, np.linspace(0.2, 0.34, 20))
    high = history(
        np.linspace(2, 0.1, 20), np.linspace(0.2, 0.98, 20), slow, np.linspace(0.2, 0.34, 20)
    )
    for name, own, said in (("low", low, True), ("high", high, False)):
        record = study_of(tmp_path / name, {"none": [own] * 3, "dropout": [low] * 3})
        texts_of = [warning for warning in read(record).warnings if "Nothing overfits" in warning]
        assert bool(texts_of) == said
        if said:
            assert "train acc is 35 to 35 %" in texts_of[0]


@pytest.mark.parametrize(
    ("config", "void"),
    [
        ({"distill": {"teacher": "x", "weight": 0.5, "temperature": 4.0}}, True),
        (
            {
                "transfer": {
                    "weights": "mine.safetensors",
                    "train": "all",
                    "num_last": 1,
                    "hidden": 0,
                }
            },
            True,
        ),
        (
            {
                "model": MOBILENET,
                "transfer": {"weights": "pretrained", "train": "all", "num_last": 1, "hidden": 0},
            },
            False,
        ),
        ({"ema": 0.99}, False),
    ],
)
def test_the_gap_is_void_where_val_pictures_may_have_been_seen(
    tmp_path: Path, config: dict[str, Any], void: bool
) -> None:
    record = study_of(
        tmp_path, {"one": [ramp(0.4)] * 3, "two": []}, {"one": [{"config": config}] * 3}
    )
    found = {flag.name for flag in judge_arms(record, record.study)["one"]}
    assert ("gap_not_interpretable" in found) == void
    assert ("overfit" in found) != void


def test_an_arm_is_held_against_the_train_acc_of_the_best_one(tmp_path: Path) -> None:
    weak = [
        epoch | {"train_acc": epoch["train_acc"] - 0.2, "val_acc": epoch["val_acc"] - 0.2}
        for epoch in sound()
    ]
    record = study_of(tmp_path, {"best": [sound()] * 3, "weak": [weak] * 3})
    judged = judge_arms(record, record.study)
    assert [flag.name for flag in judged["weak"]] == ["underfit"]
    assert judged["best"] == ()


def test_the_best_trial_is_judged_by_its_own_curve(tmp_path: Path) -> None:
    book = Scribe(tmp_path, make_study(replicates=1, num_trials=1, epochs=60))
    book.session()
    config = book.study.baseline.model_dump(mode="json")
    book.ledger.append(events.Trial(run="t", trial=0, config=config, knobs={}, asked=None))
    book.ledger.append(events.Start(run="t", rung=1))
    for epoch in IMPROVING:
        book.ledger.append(events.Epoch(run="t", metrics={"lr": 0.1, "seconds": 1.0} | epoch))
    book.ledger.append(events.Rung(run="t", rung=1, value=0.62))
    record = book.record()
    (flag,) = judge_best(record, record.study)
    assert flag.name == "still_improving"
    assert "20 of 60 planned epochs" in flag.text


def test_the_report_shows_flags_what_they_mean_and_that_the_rules_are_of_thumb(
    tmp_path: Path,
) -> None:
    record = study_of(
        tmp_path,
        {"<u>hurt": [ramp(0.4)] * 3, "slow": [IMPROVING] * 2 + [sound()], "sound": [sound()] * 3},
    )
    findings = read(record)
    content = document(findings, frozenset())
    for text in (markdown.render(content), html.render(content, {})):
        assert "Diagnosis" in text
        for words in (
            "3 of 3 runs",
            "2 of 3 runs",
            "more regularization or data",
            "no flag",
            "ules of thumb",
        ):
            assert words in text, words
        assert "val loss rose from 1.00 (epoch 8) to 1.3" in text.replace("\\", "")
        assert "<u>" not in text
        assert "converged" not in text.replace("not converged", "")
    cells = findings.diagnosis.in_cells()
    assert "overfit 3/3" in cells["<u>hurt"]
    assert cells["sound"] == "no flag"


def told_in(findings: Findings) -> str:
    """The section as Markdown."""
    return markdown.render(document(findings, frozenset())).split("Diagnosis")[1].split("\n## ")[0]


def test_a_report_without_flags_says_no_flag_and_warns_of_nothing_here(tmp_path: Path) -> None:
    record = study_of(tmp_path, {"a": [sound()] * 3, "b": [sound()] * 3})
    findings = read(record)
    assert not list(section.warnings(findings.diagnosis, findings.ablation))
    part = told_in(findings).split("Rules of thumb")[0]
    assert part.count("no flag") == 2
    assert not any(title in part for title in section.TITLES.values())


def test_runs_too_short_for_the_rules_are_named_and_keep_the_old_warning(tmp_path: Path) -> None:
    short = history([2, 1, 0.9], [0.3, 0.4, 0.5], [2, 1.5, 1.2], [0.3, 0.4, 0.5])
    config = {"config": {"epochs": 3}}
    record = study_of(
        tmp_path, {"a": [short] * 3, "b": [short] * 3}, {arm: [config] * 3 for arm in "ab"}
    )
    findings = read(record)
    assert "Too short for most rules" in told_in(findings)
    assert any(
        "a, b: the best epoch is usually the last" in warning for warning in findings.warnings
    )
