"""Optimism: val accuracies further above the test accuracies of the same runs than choosing the
epoch and chance explain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from pipeline.analysis.chance import sizes
from pipeline.analysis.curve_numbers import RULES, noise
from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.wording import Points, listed
from pipeline.counts import plural
from pipeline.record.record import Record


@dataclass(frozen=True)
class Excess:
    """Of an arm: mean val acc, mean test acc, and how far apart selection and error may bring them;
    shares of 1.
    """

    arm: str
    val: float
    test: float
    explained: float


def excesses(ablation: Ablation, record: Record) -> tuple[Excess, ...]:
    """The arms whose val acc exceeds their test acc by more than is explained; of accuracy whatever
    arms are judged by, since its error is known.

    That is 3 standard errors of the difference of two accuracies on as many pictures as val and
    test have, and what the best of E epochs has above their level: at most sqrt(2 ln E) times the
    noise of an epoch's val acc, over the second half.
    """
    return tuple(one for one in _measured(ablation, record) if one.val - one.test > one.explained)


def _measured(ablation: Ablation, record: Record) -> list[Excess]:
    rows = [row for row in ablation.rows if row.complete] if ablation.judged.held_out else []
    return [_excess(row, record, ablation.num_tested) for row in rows]


def _excess(row: ArmRow, record: Record, num_tested: int) -> Excess:
    val = fmean(row.metric("val_acc"))
    test = fmean([run.test_acc for run in row.complete if run.test_acc is not None])
    level, num_val = (val + test) / 2, min(sizes(run, record.data)[1] for run in row.complete)
    error = math.sqrt(max(0.0, level * (1 - level)) * (1 / num_val + 1 / max(1, num_tested)))
    curves = [np.array([epoch["val_acc"] for epoch in run.epochs]) for run in row.complete]
    best = [
        noise(curve[len(curve) // 2 :]) * math.sqrt(2 * math.log(len(curve)))
        for curve in curves
        if len(curve) > 5
    ]
    return Excess(row.arm, val, test, RULES.chance_errors * error + (median(best) if best else 0.0))


def warning(ablation: Ablation, record: Record) -> str:
    """What to make of it, with the copies across splits; nothing where no arm is concerned."""
    found, shown = excesses(ablation, record), Points(1)
    if not found:
        return ""
    pairs = listed(
        [f"{one.arm} {shown.number(one.val)} against {shown.number(one.test)} %" for one in found]
    )
    worst = max(found, key=lambda one: one.val - one.test)
    apart, explained = shown.number(worst.val - worst.test), shown.number(worst.explained)
    return (
        f"Val acc far above test acc: {pairs}. Choosing the epoch and the numbers of pictures "
        f"explain at most {explained} points of {apart} ({worst.arm}): val and test differ in "
        f"kind, or train and val share pictures. {_rest(_measured(ablation, record), found, shown)}"
        "The choice of epoch, search and export was made by a number that may be leaky. "
        f"{_copies(record)}"
    )


def _rest(measured: Sequence[Excess], found: Sequence[Excess], shown: Points) -> str:
    """The gaps of the arms that are not warned of: noisier curves may hide what is wrong with val
    and test alike.
    """
    gaps = [one.val - one.test for one in measured if one not in found]
    if not gaps or max(gaps) <= 0:
        return ""
    return (
        f"In arms not named val is up to {shown.number(max(gaps))} points above test, which "
        "may be explained so. "
    )


def _copies(record: Record) -> str:
    counts, copies = record.data["counts"], record.data.get("copies")
    if not copies:
        return "Copies across the splits were not counted when this was recorded."
    pool = counts["train"] + counts["valid"]
    return (
        f"Pictures with a copy (the same bytes or look): {copies['valid']:,} of "
        f"{plural(counts['valid'], 'val picture')} in train, {copies['test']:,} of "
        f"{plural(counts.get('test', 0), 'test picture')} in train or val, and {copies['pool']:,} "
        f"of the {pool:,} that train and val are drawn from among themselves. Similar pictures of "
        "one object are not counted."
    )
