"""The figure of the tuning curve, and its caption."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.analysis.tuning_curve import Tuning
from pipeline.counts import plural
from pipeline.report.figures.style import BAND, VAL


def tuning_curve(tuning: Tuning) -> Figure:
    """Expected best against the number of trials."""
    figure = Figure(figsize=(6.2, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(
        tuning.budgets,
        np.multiply(tuning.low, 100),
        np.multiply(tuning.high, 100),
        color=BAND,
        lw=0,
    )
    axis.plot(tuning.budgets, np.multiply(tuning.expected, 100), color=VAL, lw=2)
    axis.set_xlabel("random trials")
    axis.set_ylabel("expected best val accuracy (%)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def caption(tuning: Tuning) -> str:
    worst = f" ({tuning.num_diverged} diverged, counted as 0)" if tuning.num_diverged else ""
    return (
        f"Tuning curve: expected best val acc† of n random trials, at rung {tuning.rung + 1} of "
        f"{tuning.num_rungs}, the highest that all of the "
        f"{plural(tuning.num_trials, 'random trial')}{worst} reached, so that nothing was "
        "selected. Band: pointwise 90 % bootstrap interval. Shown up to half of the trials, never "
        "beyond what was run."
    )
