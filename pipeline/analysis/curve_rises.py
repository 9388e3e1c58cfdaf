"""Losses that rise and accuracies that are lost again: what a run's curves show of harm done by
more epochs.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.analysis.curve_flags import Flag, Setting, share
from pipeline.analysis.curve_numbers import RULES, Curves, noise, smoothed


def late_collapse(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 1b: what was clearly learned is gone in the last epochs, be it one, on training pictures
    as on val.
    """
    chance, best = 1 / setting.num_classes, float(curves.val_acc.max())
    error = RULES.chance_errors * setting.error(chance)
    lost = curves.val_acc < max(chance + error, chance + RULES.lost * (best - chance))
    num_lost = len(lost) if lost.all() else int(lost[::-1].argmin())
    if len(curves) < RULES.min_tail or not 0 < num_lost < len(lost):
        return
    end = float(np.median(curves.val_acc[-num_lost:]))
    kept = float(np.median(curves.train_acc[-num_lost:])) - chance
    if best - end < 2 * error or kept > RULES.lost * (float(curves.train_acc.max()) - chance):
        return
    which = "the last epoch" if num_lost == 1 else f"the last {num_lost} epochs"
    seen = (
        f"val acc was {share(best)} (epoch {curves.best + 1}) and fell to {share(end)} in {which}"
    )
    advice = (
        "a late collapse; its best epoch came before it; lower the learning rate or clip, "
        "another run may fall sooner"
    )
    yield Flag(
        "late_collapse", seen, advice, {"val_acc": best, "epoch": curves.best + 1, "end": end}
    )


def train_loss_rising(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rule 2."""
    smooth = smoothed(curves.train_loss)
    at, end = int(smooth.argmin()), float(smooth[-1])
    low = float(smooth[at])
    least = max(
        RULES.noise * noise(curves.train_loss), RULES.train_rise * low, RULES.train_rise_nats
    )
    if at < len(curves) - curves.tail and end - low > least:
        seen = f"train loss rose from {low:.2f} (epoch {at + 1}) to {end:.2f} (epoch {len(curves)})"
        advice = "instability; lower the learning rate, warm up or clip"
        if setting.soft_targets:
            advice += " (train loss is plain cross entropy here, not what was minimized)"
        yield Flag("train_loss_rising", seen, advice, {"low": low, "epoch": at + 1, "end": end})


def val_loss_rising(curves: Curves, setting: Setting) -> Iterator[Flag]:
    """Rules 3 and 3b: a val error that rises while the train loss falls is overfitting, other rises
    are only told.
    """
    smooth, last = curves.smooth, len(curves) - 1
    at, end = int(smooth.argmin()), float(smooth[-1])
    low = float(smooth[at])
    if at >= last - curves.tail / 2 or end - low <= max(
        RULES.noise * curves.noise, RULES.val_rise * low
    ):
        return
    train = smoothed(curves.train_loss)
    fell = train[-1] < train[at] or train[-1] < RULES.memorized * setting.chance_loss
    numbers = {
        "low": low,
        "epoch": at + 1,
        "end": end,
        "train_then": float(train[at]),
        "train_end": float(train[-1]),
    }
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
        advice = (
            "accuracy is unhurt, confidence has grown too far; report both, look at calibration"
        )
        yield Flag("overfit_calibration_only", seen, advice, numbers)
    else:
        advice = "overfitting; more regularization or data, not a smaller learning rate"
        yield Flag("overfit", seen, advice, numbers)
