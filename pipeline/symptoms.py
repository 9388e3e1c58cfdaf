"""What a run's learning curves show, by rules of thumb: each in words, with the numbers that it follows from.

The rules need train_loss and train_acc of plain cross entropy on unaugmented pictures in eval mode, and `Run._evaluate`
takes them so whatever a run is trained with: mixup, smoothing, dropout or a moving average do not blur the gap.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.trends import RULES, Curves, noise, slope, smoothed

NAMES = ("train_loss", "train_acc", "val_loss", "val_acc")


@dataclass(frozen=True)
class Flag:
    """`seen` is what the curves show, `advice` what it means and what to do; `numbers` are those of `seen`."""

    name: str
    seen: str
    advice: str
    numbers: Mapping[str, float]

    @property
    def text(self) -> str:
        return f"{self.seen}: {self.advice}"


@dataclass(frozen=True)
class Setting:
    """What a run's curves are read against. `gap_void` says why its val pictures may not be new to it."""

    num_classes: int
    num_val: int
    num_train_subset: int  # pictures that train_loss and train_acc are taken on
    planned_epochs: int
    target_train_acc: float | None
    schedule_ends_low: bool
    gap_void: str
    soft_targets: bool  # trained on something else than plain cross entropy

    @property
    def chance_loss(self) -> float:
        return math.log(self.num_classes)

    def error(self, acc: float) -> float:
        """The standard error of an accuracy on the val pictures."""
        return math.sqrt(max(0.0, acc * (1 - acc)) / self.num_val)


def share(number: float) -> str:
    return f"{100 * number:.1f} %"


def diagnose(
    epochs: Sequence[Mapping[str, float]],
    *,
    num_classes: int,
    num_val: int,
    num_train_subset: int | None = None,
    planned_epochs: int,
    status: str,
    target_train_acc: float | None = None,
    schedule_ends_low: bool,
    gap_void: str = "",
    soft_targets: bool = False,
) -> tuple[Flag, ...]:
    """The flags of one run, the gravest first; none where nothing is recorded.

    Histories shorter than `Rules.min_epochs` are asked only what needs no tail. `gap_void`: why train and val do not
    compare; `soft_targets`: whether it was trained on another loss than plain cross entropy.
    """
    values = {name: np.array([epoch[name] for epoch in epochs], dtype=np.float64) for name in NAMES}
    if status == "diverged" or not all(np.isfinite(line).all() for line in values.values()):
        advice = "lower the learning rate, warm up or clip; check the pictures' normalization"
        seen = f"a loss or gradient was no longer finite after {len(epochs)} whole epochs"
        return (Flag("diverged", seen, advice, {"epochs": len(epochs)}),)
    if not epochs:
        return ()
    subset = num_train_subset or num_val
    setting = Setting(
        num_classes, num_val, subset, planned_epochs, target_train_acc, schedule_ends_low, gap_void, soft_targets
    )
    curves = Curves(**values)
    found = list(_not_learning(curves, setting))
    if not found and len(curves) < RULES.min_epochs:
        found = [*_gap(curves, setting)]
    elif not found:
        found = _over_time(curves, setting)
    if gap_void:
        found.append(Flag("gap_not_interpretable", gap_void, "gap not interpretable: train and val do not compare here", {}))
    return tuple(found)


def _over_time(curves: Curves, setting: Setting) -> list[Flag]:
    """What a history shows that is long enough for a tail."""
    unstable = list(_train_loss_rising(curves, setting))
    rising = [] if unstable else list(_val_loss_rising(curves, setting))
    improving = [] if rising or unstable else list(_still_improving(curves, setting))
    gap = [] if rising else list(_gap(curves, setting))
    underfit = [] if rising or unstable or improving else list(_underfit(curves, setting))
    early = [] if rising or unstable or improving else list(_saturated_early(curves, setting))
    return [*unstable, *rising, *improving, *gap, *underfit, *_noisy_eval(curves), *early]


def _not_learning(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 1. Where targets are soft, a network that is right may have a train loss near chance: accuracy alone decides."""
    advice = "not learning; check learning rate, labels and normalization, and try to overfit one batch"
    acc, loss = float(curves.val_acc.max()), float(curves.train_loss.min())
    chance = 1 / setting.num_classes
    limit, tail = chance + RULES.chance_errors * setting.error(chance), float(np.median(curves.val_acc[-curves.tail :]))
    same = len(curves) >= RULES.min_tail and np.ptp(curves.val_acc) == np.ptp(curves.train_acc) == 0 and acc < 1
    if acc < limit:
        seen = (
            f"best val acc {share(acc)} cannot be told from chance, {share(chance)} of {setting.num_classes} classes "
            f"(limit {share(limit)} with {setting.num_val} val pictures)"
        )
        yield Flag("not_learning", seen, advice, {"val_acc": acc, "chance": chance, "limit": limit})
    elif len(curves) >= RULES.min_epochs and tail < limit:
        seen = (
            f"val acc was {share(acc)} (epoch {curves.best + 1}), then lost: {share(tail)} over the last {curves.tail} "
            f"epochs cannot be told from chance, {share(chance)} of {setting.num_classes} classes"
        )
        yield Flag("not_learning", seen, advice, {"val_acc": acc, "epoch": curves.best + 1, "tail": tail, "chance": chance})
    elif same:
        seen = (
            f"val acc {share(acc)} and train acc are the same in all {len(curves)} epochs, as if one class were always named"
        )
        yield Flag("not_learning", seen, advice, {"val_acc": acc, "epochs": len(curves)})
    elif loss > RULES.chance_loss * setting.chance_loss and not setting.soft_targets:
        seen = f"train loss never fell below {loss:.3f}, where chance is {setting.chance_loss:.3f}"
        yield Flag("not_learning", seen, advice, {"train_loss": loss, "chance_loss": setting.chance_loss})


def _train_loss_rising(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 2."""
    smooth = smoothed(curves.train_loss)
    at, end = int(smooth.argmin()), float(smooth[-1])
    low = float(smooth[at])
    least = max(RULES.noise * noise(curves.train_loss), RULES.train_rise * low, RULES.train_rise_nats)
    if at < len(curves) - curves.tail and end - low > least:
        seen = f"train loss rose from {low:.2f} (epoch {at + 1}) to {end:.2f} (epoch {len(curves)})"
        advice = "instability; lower the learning rate, warm up or clip"
        if setting.soft_targets:
            advice += " (train loss is plain cross entropy here, not what was minimized)"
        yield Flag("train_loss_rising", seen, advice, {"low": low, "epoch": at + 1, "end": end})


def _val_loss_rising(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rules 3 and 3b: a val error that rises while the train loss falls is overfitting, other rises are only told."""
    smooth, last = curves.smooth, len(curves) - 1
    at, end = int(smooth.argmin()), float(smooth[-1])
    low = float(smooth[at])
    if at >= last - curves.tail / 2 or end - low <= max(RULES.noise * curves.noise, RULES.val_rise * low):
        return
    train = smoothed(curves.train_loss)
    fell = train[-1] < train[at] or train[-1] < RULES.memorized * setting.chance_loss
    numbers = {"low": low, "epoch": at + 1, "end": end, "train_then": float(train[at]), "train_end": float(train[-1])}
    seen = f"val loss rose from {low:.2f} (epoch {at + 1}) to {end:.2f} (epoch {len(curves)})"
    if setting.gap_void or not fell:
        why = (
            "what causes it cannot be told, gap not interpretable"
            if setting.gap_void
            else "train loss did not fall meanwhile"
        )
        yield Flag("val_loss_rising", seen, f"{why}; look at learning rate and data", numbers)
        return
    seen += f" while train loss went from {train[at]:.2f} to {train[-1]:.2f}"
    accs = smoothed(curves.val_acc)
    tail, top = float(np.median(accs[-curves.tail :])), float(accs.max())
    numbers |= {"val_acc": tail, "best_val_acc": top}
    if tail >= top - RULES.unhurt_errors * setting.error(top):
        seen += f", but val acc kept {share(tail)} (best {share(top)})"
        advice = "accuracy is unhurt, confidence has grown too far; report both, look at calibration"
        yield Flag("overfit_calibration_only", seen, advice, numbers)
    else:
        advice = "overfitting; more regularization or data, not a smaller learning rate"
        yield Flag("overfit", seen, advice, numbers)


def _still_improving(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 4."""
    more = RULES.horizon * len(curves)
    fall, width = -slope(curves.val_loss[-curves.tail :]), curves.tail
    error = curves.noise * math.sqrt(12 / (width * (width**2 - 1)))  # of a slope over that many epochs
    gain = fall * more
    drop = float(curves.val_loss[0] - curves.smooth.min())
    if gain <= max(RULES.gain * drop, curves.noise, 0) or fall < RULES.slope_errors * error:
        return
    seen = f"val loss still falls, by {fall:.4f} an epoch over the last {width}"
    if drop > 0:
        seen += f"; {more:.1f} epochs more would bring {share(gain / drop)} of the drop so far"
    if len(curves) < setting.planned_epochs:
        advice = f"it ended after {len(curves)} of {setting.planned_epochs} planned epochs, and was not done"
    elif setting.schedule_ends_low:
        advice = (
            "a falling tail is normal where the learning rate ends low; compare a longer budget, with a schedule as long"
        )
    else:
        advice = "needs more epochs; run it again with a longer schedule"
    yield Flag("still_improving", seen, advice, {"gain": gain, "drop": drop, "fall": fall, "tail": width})


def _gap(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 5."""
    train, val = float(curves.train_acc[curves.best]), float(curves.val_acc[curves.best])
    error = math.hypot(setting.error(val), math.sqrt(max(0.0, train * (1 - train)) / setting.num_train_subset))
    if not setting.gap_void and train - val > max(RULES.gap, RULES.gap_errors * error):
        seen = f"train acc {share(train)} against val acc {share(val)} at the best epoch ({curves.best + 1})"
        advice = "a generalization gap; whether more training hurts is not read off it, but off a val loss that rises"
        yield Flag("gap", seen, advice, {"train_acc": train, "val_acc": val, "epoch": curves.best + 1})


def _underfit(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 6."""
    train, target = float(curves.train_acc[curves.best]), setting.target_train_acc
    if target is not None and train < target:
        seen = f"train acc {share(train)} at the best epoch ({curves.best + 1}), below {share(target)}"
        advice = "underfitting; more capacity, another learning rate or less regularization"
        yield Flag("underfit", seen, advice, {"train_acc": train, "target": target, "epoch": curves.best + 1})


def _noisy_eval(curves: Curves) -> Iterator[Flag]:
    """Rule 7."""
    low = float(curves.smooth.min())
    if curves.noise > RULES.noisy * low:
        seen = f"val loss jumps by {curves.noise:.3f} from epoch to epoch, its lowest is {low:.3f}"
        advice = (
            "the best epoch is partly luck; more val pictures, a moving average of the weights or a falling learning rate"
        )
        yield Flag("noisy_eval", seen, advice, {"noise": curves.noise, "low": low})


def _saturated_early(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 8: the val loss is within its noise of the lowest before half of the epochs, and val acc no better after it."""
    smooth, half = curves.smooth, int(RULES.early * len(curves))
    low = float(smooth.min())
    near = low + max(curves.noise, RULES.gain * float(curves.val_loss[0] - low))
    reached = int((smooth <= near).argmax()) + 1
    accs = smoothed(curves.val_acc)
    then, later = float(accs[:half].max()), float(accs[half:].max())
    if len(curves) >= setting.planned_epochs and reached < RULES.early * len(curves) and later - then <= setting.error(then):
        seen = f"val loss was at its level of {low:.2f} from epoch {reached} of {len(curves)} on"
        advice = "in the second half nothing was gained beyond noise; a shorter budget would do"
        yield Flag("saturated_early", seen, advice, {"epoch": reached, "epochs": len(curves), "low": low})
