"""The figure of the front: what accuracy costs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.analysis.front import Front, Point
from pipeline.report.figures.style import INK, MUTED, TRAIN, VAL
from pipeline.study.objectives import UNITS, WORDS

NARROW, WIDE = 3, 30  # times the least cost: up to the one an axis is linear, from the other on it
# has the powers of ten alone


def front_figure(front: Front) -> Figure:
    """A panel for each cost."""
    count = len(front.objectives)
    figure = Figure(figsize=(6.4 if count == 1 else 4.1 * count, 3.6), layout="constrained")
    axes = figure.subplots(1, count, sharey=True, squeeze=False).ravel()
    for axis, name in zip(axes, front.objectives, strict=True):
        _panel(axis, front, name)
    axes[0].set_ylabel(f"val {front.judged.noun}{front.judged.unit}")
    return figure


def _panel(axis: Axes, front: Front, name: str) -> None:
    scale, unit, title = front.judged.scale, UNITS[name][0], WORDS[name]

    def cost(costs: dict[str, int]) -> float:
        return max(costs[name], 1) / unit

    values = [scale * run.value[1] for run in front.others if run.value]
    axis.plot([cost(run.costs) for run in front.others], values, "o", ms=4, mew=0, color=MUTED)
    line = sorted(front.points, key=lambda point: cost(point.run.costs))
    lead = _leaders(front, name)
    steps = [point for point in line if point.run.key in lead]
    axis.plot(
        [cost(point.run.costs) for point in steps],
        [scale * point.worth for point in steps],
        "-",
        lw=1.2,
        color=VAL,
        drawstyle="steps-post",
        alpha=0.6,
    )
    axis.plot(
        [cost(point.run.costs) for point in line],
        [scale * point.worth for point in line],
        "o",
        ms=6,
        mew=0,
        color=VAL,
    )
    for point in line:
        _raced(axis, point, cost(point.run.costs), scale)
    _ticks(axis, [cost(run.costs) for run in (*front.others, *(p.run for p in front.points))])
    axis.margins(x=0.08, y=0.08)
    axis.set_xlabel(f"{title}{UNITS[name][1]}" if name != "size" else f"size{UNITS[name][1]}")
    if front.baseline is not None and front.baseline.value:
        at = (cost(front.baseline.costs), scale * front.baseline.value[1])
        axis.annotate(
            "baseline", at, (6, -10), textcoords="offset points", ha="left", fontsize=8, color=INK
        )


def _ticks(axis: Axes, seen: Sequence[float]) -> None:
    """By powers of ten, but where all costs are much the same."""
    times = max(seen) / min(seen)
    if times > NARROW:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1,) if times > WIDE else (1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _raced(axis: Axes, point: Point, x: float, scale: int) -> None:
    axis.annotate(
        str(point.run.number),
        (x, scale * point.worth),
        (-7, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=VAL,
    )
    if not point.values:
        return
    mean, beside = scale * point.mean, 1.04 * x  # so that neither hides the other
    axis.plot((x, beside), (scale * point.worth, mean), ":", lw=1, color=TRAIN)
    half = 0.0 if np.isnan(point.half) else scale * point.half
    axis.errorbar(beside, mean, half, fmt="s", ms=5, mew=0, color=TRAIN, elinewidth=1.4, capsize=3)


def _leaders(front: Front, name: str) -> set[str]:
    """The points that are on the front by this cost alone."""
    found: list[Point] = []
    for point in front.points:  # the best value first
        if not any(one.run.costs[name] <= point.run.costs[name] for one in found):
            found.append(point)
    return {point.run.key for point in found}
