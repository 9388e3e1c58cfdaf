"""What a run's learning curves show, by rules of thumb: each in words, with the numbers that it
follows from.

The rules need train_loss and train_acc of plain cross entropy on unaugmented pictures in eval mode,
and `Run._evaluate` takes them so whatever a run is trained with: mixup, smoothing, dropout or a
moving average do not blur the gap.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipeline.analysis.chance import best_of
from pipeline.analysis.curve_flags import Flag, Setting, share
from pipeline.analysis.curve_numbers import RULES, Curves, falling, smoothed
from pipeline.analysis.curve_rises import late_collapse, train_loss_rising, val_loss_rising
from pipeline.counts import plural

NAMES = ("train_loss", "train_acc", "val_loss", "val_acc")


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
    train_rate: float | None = None,
) -> tuple[Flag, ...]:
    """The flags of one run, the gravest first; none where nothing is recorded.

    Histories shorter than `Rules.min_epochs` are asked only what needs no tail. `gap_void`: why
    train and val do not compare; `soft_targets`: whether it was trained on another loss than plain
    cross entropy; `train_rate`: what naming the most frequent class gives on training pictures.
    """
    values = {name: np.array([epoch[name] for epoch in epochs], dtype=np.float64) for name in NAMES}
    if status == "diverged" or not all(np.isfinite(line).all() for line in values.values()):
        advice = "lower the learning rate, warm up or clip; check the pictures' normalization"
        seen = f"a loss or gradient was no longer finite after {plural(len(epochs), 'whole epoch')}"
        return (Flag("diverged", seen, advice, {"epochs": len(epochs)}),)
    if not epochs:
        return ()
    subset = num_train_subset or num_val
    setting = Setting(
        num_classes,
        num_val,
        subset,
        planned_epochs,
        target_train_acc,
        schedule_ends_low,
        gap_void,
        soft_targets,
        train_rate or 1 / num_classes,
    )
    curves = Curves(
        **values, lr=np.array([epoch.get("lr", 1.0) for epoch in epochs], dtype=np.float64)
    )
    found = list(late_collapse(curves.until(curves.settled), setting)) or list(
        _not_learning(curves, setting)
    )
    if not found and len(curves) < RULES.min_epochs:
        found = [*_gap(curves, setting)]
    elif not found:
        found = _over_time(curves, setting)
    if gap_void:
        found.append(
            Flag(
                "gap_not_interpretable",
                gap_void,
                "gap not interpretable: train and val do not compare here",
                {},
            )
        )
    return tuple(found)


def _over_time(curves: Curves, setting: Setting) -> list[Flag]:
    """What a history shows that is long enough for a tail.

    What rises is read off the epochs that compare: after a warm restart losses rise, and are meant
    to.
    """
    settled = curves.until(curves.settled)
    if len(settled) < RULES.min_epochs:
        return [*_gap(curves, setting)]
    unstable = list(train_loss_rising(settled, setting))
    rising = [] if unstable else list(val_loss_rising(settled, setting))
    improving = [] if rising or unstable else list(_still_improving(curves, setting))
    gap = [] if rising else list(_gap(curves, setting))
    ended = not (rising or unstable or improving)
    underfit = list(_underfit(curves, setting)) if ended else []
    early = (list(_stalled(curves)) or list(_saturated_early(curves, setting))) if ended else []
    return [*unstable, *rising, *improving, *gap, *underfit, *_noisy_eval(curves), *early]


def _not_learning(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 1. What training pictures show to have been learned is learned, whatever few val
    pictures say. Where targets are soft, a network that is right may have a train loss near chance:
    accuracy alone decides.
    """
    advice = (
        "not learning; check learning rate, labels and normalization, and try to overfit one batch"
    )
    acc, loss = float(curves.val_acc.max()), float(curves.train_loss.min())
    chance, last = 1 / setting.num_classes, slice(-curves.tail, None)
    limit = best_of(len(curves), setting.num_val, chance)
    tail, train = (float(np.median(accs[last])) for accs in (curves.val_acc, curves.train_acc))
    learned = setting.learned(float(curves.train_acc.max()))
    same = (
        len(curves) >= RULES.min_tail
        and np.ptp(curves.val_acc) == np.ptp(curves.train_acc) == 0
        and acc < 1
    )
    if acc < limit and not learned:
        seen = (
            f"best val acc {share(acc)} cannot be told from chance, {share(chance)} of "
            f"{setting.num_classes} classes (limit {share(limit)} with "
            f"{plural(setting.num_val, 'val picture')})"
        )
        yield Flag("not_learning", seen, advice, {"val_acc": acc, "chance": chance, "limit": limit})
    elif len(curves) >= RULES.min_epochs and tail < limit and not setting.learned(train):
        seen = (
            f"val acc was {share(acc)} (epoch {curves.best + 1}), then lost: {share(tail)} over "
            f"the last {curves.tail} epochs cannot be told from chance, {share(chance)} of "
            f"{setting.num_classes} classes"
        )
        yield Flag(
            "not_learning",
            seen,
            advice,
            {"val_acc": acc, "epoch": curves.best + 1, "tail": tail, "chance": chance},
        )
    elif same:
        seen = (
            f"val acc {share(acc)} and train acc are the same in all {len(curves)} epochs, as "
            "if one class were always named"
        )
        yield Flag("not_learning", seen, advice, {"val_acc": acc, "epochs": len(curves)})
    elif loss > RULES.chance_loss * setting.chance_loss and not (setting.soft_targets or learned):
        seen = f"train loss never fell below {loss:.3f}, where chance is {setting.chance_loss:.3f}"
        yield Flag(
            "not_learning", seen, advice, {"train_loss": loss, "chance_loss": setting.chance_loss}
        )


def _still_improving(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 4. Of a run short of its target whose val loss is too noisy to tell, by its train
    loss.
    """
    target, train_acc = setting.target_train_acc, float(curves.train_acc[curves.best])
    more, short = RULES.horizon * len(curves), target is not None and train_acc < target
    for name, losses in (("val", curves.val_loss), ("train", curves.train_loss))[: 1 + short]:
        drop = float(losses[0] - smoothed(losses).min())
        least = max(RULES.gain * drop / more, 0.0)
        fall, width = falling(losses, curves.tail, least)
        if fall <= least:
            continue
        gain = fall * more
        seen = f"{name} loss still falls, by {fall:.4f} an epoch over the last {width}"
        if drop > 0:
            seen += f"; {more:.1f} epochs more would bring {share(gain / drop)} of the drop so far"
        numbers = {"gain": gain, "drop": drop, "fall": fall, "tail": width}
        yield Flag("still_improving", seen, _more_epochs(curves, setting), numbers)
        return


def _more_epochs(curves: Curves, setting: Setting) -> str:
    if len(curves) < setting.planned_epochs:
        return (
            f"it ended after {len(curves)} of "
            f"{plural(setting.planned_epochs, 'planned epoch')}, and was not done"
        )
    if setting.schedule_ends_low:
        return (
            "a falling tail is normal where the learning rate ends low; compare a longer "
            "budget, with a schedule as long"
        )
    return "needs more epochs; run it again with a longer schedule"


def _gap(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 5."""
    train, val = float(curves.train_acc[curves.best]), float(curves.val_acc[curves.best])
    error = math.hypot(
        setting.error(val), math.sqrt(max(0.0, train * (1 - train)) / setting.num_train_subset)
    )
    if not setting.gap_void and train - val > max(RULES.gap, RULES.gap_errors * error):
        seen = (
            f"train acc {share(train)} against val acc {share(val)} at the best epoch "
            f"({curves.best + 1})"
        )
        advice = (
            "a generalization gap; whether more training hurts is not read off it, but off a "
            "val loss that rises"
        )
        yield Flag(
            "gap", seen, advice, {"train_acc": train, "val_acc": val, "epoch": curves.best + 1}
        )


def _underfit(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 6."""
    train, target = float(curves.train_acc[curves.best]), setting.target_train_acc
    if target is not None and train < target:
        seen = (
            f"train acc {share(train)} at the best epoch ({curves.best + 1}), below {share(target)}"
        )
        advice = "underfitting; more capacity, another learning rate or less regularization"
        yield Flag(
            "underfit",
            seen,
            advice,
            {"train_acc": train, "target": target, "epoch": curves.best + 1},
        )


def _noisy_eval(curves: Curves) -> Iterator[Flag]:
    """Rule 7."""
    low = float(curves.smooth.min())
    if curves.noise > RULES.noisy * low:
        seen = f"val loss jumps by {curves.noise:.3f} from epoch to epoch, its lowest is {low:.3f}"
        advice = (
            "the best epoch is partly luck; more val pictures, a moving average of the "
            "weights or a falling learning rate"
        )
        yield Flag("noisy_eval", seen, advice, {"noise": curves.noise, "low": low})


def _saturated_early(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 8: the val loss is within its noise of the lowest before half of the epochs, and val acc
    no better after it.
    """
    smooth, half = curves.smooth, int(RULES.early * len(curves))
    low = float(smooth.min())
    near = low + max(curves.noise, RULES.gain * float(curves.val_loss[0] - low))
    reached = int((smooth <= near).argmax()) + 1
    accs = smoothed(curves.val_acc)
    then, later = float(accs[:half].max()), float(accs[half:].max())
    if (
        len(curves) >= setting.planned_epochs
        and reached < RULES.early * len(curves)
        and later - then <= setting.error(then)
    ):
        seen = f"val loss was at its level of {low:.2f} from epoch {reached} of {len(curves)} on"
        advice = "in the second half nothing was gained beyond noise; a shorter budget would do"
        yield Flag(
            "saturated_early", seen, advice, {"epoch": reached, "epochs": len(curves), "low": low}
        )


def _stalled(curves: Curves) -> Iterator[Flag]:
    """Rule 9: an early step down of the learning rate after which nothing moved, though more was
    left to learn.
    """
    rates, top = curves.lr, float(smoothed(curves.val_acc).max())
    first = next(
        (i for i in range(1, len(rates)) if rates[i] <= RULES.dropped * rates[i - 1]), len(rates)
    )
    after = first + 2  # the drop itself brings its gain within an epoch or two
    if (
        not 0 < first < RULES.dropped_early * len(curves)
        or curves.train_loss[-1] < RULES.memorized * curves.train_loss[0]
    ):
        return
    then, later = np.array_split(curves.val_loss[after:], 2)
    drop = float(curves.val_loss[0] - curves.smooth.min())
    if np.median(then) - np.median(later) <= max(curves.noise, RULES.gain * drop):
        rate = f"the learning rate fell from {rates[first - 1]:.2g} to {rates[first]:.2g}"
        seen = (
            f"{rate} at epoch {first + 1} of {len(curves)}, and val loss hardly moved after it "
            f"(val acc to {share(top)})"
        )
        advice = (
            "it may have stalled because the rate fell too early; step down later or by less, "
            "and compare"
        )
        yield Flag("stalled", seen, advice, {"epoch": first + 1, "top": top})
