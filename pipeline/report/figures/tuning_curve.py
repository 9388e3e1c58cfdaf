"""The figure of the tuning curve, and its caption."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.analysis.tuning_curve import Tuning
from pipeline.counts import plural
from pipeline.report.figures.style import BAND, VAL
from pipeline.study.judged import Judged


def tuning_curve(tuning: Tuning, judged: Judged) -> Figure:
    """Expected best against the number of trials."""
    figure = Figure(figsize=(6.2, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(
        tuning.budgets,
        np.multiply(tuning.low, judged.scale),
        np.multiply(tuning.high, judged.scale),
        color=BAND,
        lw=0,
    )
    axis.plot(tuning.budgets, np.multiply(tuning.expected, judged.scale), color=VAL, lw=2)
    axis.set_xlabel("random trials")
    axis.set_ylabel(f"expected best val {judged.noun}{judged.unit}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def caption(tuning: Tuning, judged: Judged) -> str:
    counted = "0" if judged.is_share else "the worst value seen"
    worst = f" ({tuning.num_diverged} diverged, counted as {counted})" * bool(tuning.num_diverged)
    return (
        f"Tuning curve: expected best {judged.val}† of n random trials, at rung "
        f"{tuning.rung + 1} of {tuning.num_rungs}, the highest that all of the "
        f"{plural(tuning.num_trials, 'random trial')}{worst} reached, so that nothing was "
        "selected. Band: pointwise 90 % bootstrap interval. Shown up to half of the trials, never "
        "beyond what was run."
    )
