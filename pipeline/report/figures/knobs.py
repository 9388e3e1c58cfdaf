"""The figures of the knobs: importance, slices with the best of each part of a range, parallel
coordinates.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.analysis.importance import Importance, Share
from pipeline.analysis.rung_sample import Observed, place
from pipeline.analysis.wording import Points, value
from pipeline.report.figures.style import BAND, INK, MUTED, RUNGS, TRAIN, VAL, short
from pipeline.study.judged import Judged
from pipeline.study.ranges import Choice, Range

Item = TypeVar("Item")
NUM_BUCKETS, NUM_PANELS, NUM_AXES, NUM_DRAWN = 6, 12, 9, 300
THIRDS = (RUNGS[0], RUNGS[1], VAL)
ABSENT = -0.18


def importance_bars(importance: Importance) -> Figure:
    """Two bars a knob, one for each measure, with interval and noise floor."""
    knobs = importance.knobs
    figure = Figure(figsize=(8.2, 0.46 * len(knobs) + 1.0), layout="constrained")
    axis = figure.subplots()
    for line, knob in enumerate(knobs):
        apart = 0.19 if knob.ped_anova and knob.fanova else 0.0
        for offset, share, colour in ((-apart, knob.ped_anova, VAL), (apart, knob.fanova, TRAIN)):
            if share is not None and not math.isnan(share.share):
                _bar(axis, line + offset, share, colour)
    axis.set_yticks(
        range(len(knobs)), [f"{short(knob.name)} ({knob.num_trials})" for knob in knobs]
    )
    axis.set_ylim(len(knobs) - 0.45, -0.55)
    axis.set_xlim(0, 100)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("share of the importance of all knobs (%)")
    handles: list[Artist] = [
        Patch(color=VAL, label="PED-ANOVA"),
        Patch(color=TRAIN, label="fANOVA"),
    ]
    handles += [
        Line2D([], [], color=INK, lw=1.2, label="95 % interval"),
        Line2D([], [], color=MUTED, lw=2, label="noise floor"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=4)
    return figure


def slices(importance: Importance, judged: Judged) -> Figure:
    """A panel a knob: every trial that has it, and the best trial of each part of its range."""
    sample = importance.sample
    names = [knob.name for knob in importance.knobs if knob.ped_anova is not None][:NUM_PANELS]
    columns = min(3, len(names))
    bands = -(-len(names) // columns)
    figure = Figure(figsize=(2.75 * columns + 0.5, 2.25 * bands + 0.4), layout="constrained")
    axes = figure.subplots(bands, columns, sharey=True, squeeze=False).ravel()
    thirds = {trial.run.key: 3 * i // len(sample.trials) for i, trial in enumerate(sample.trials)}
    for axis, name in zip(axes, names, strict=False):
        trials = [trial for trial in sample.trials if name in trial.point]
        _slice(axis, trials, name, [thirds[trial.run.key] for trial in trials], judged)
        axis.set_title(short(name, 30), loc="left")
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel(f"val {judged.noun}{judged.unit}")
    return figure


def parallel(importance: Importance, judged: Judged) -> Figure:
    """A line a trial through its place in the range of each knob; the variants of a part share
    their fields' axes.
    """
    sample = importance.sample
    paths = list(
        dict.fromkeys(sample.paths[knob.name] for knob in importance.knobs if knob.ped_anova)
    )[:NUM_AXES]
    ranked = sorted(sample.trials, key=lambda trial: trial.worth)
    low, high = ranked[0].value, ranked[-1].value  # the best is drawn at the top
    num_best = math.ceil(importance.quantile * len(ranked))
    lines = []
    for trial in ranked:
        places = {
            sample.paths[name]: place(knob, scalar) for name, (knob, scalar) in trial.point.items()
        }
        heights = [places.get(path, ABSENT) for path in paths] + [
            (trial.value - low) / (high - low) if high != low else 0.5
        ]
        lines.append(np.column_stack((np.arange(len(heights)), heights)))
    figure = Figure(figsize=(max(5.0, 1.15 * (len(paths) + 1)), 3.8), layout="constrained")
    axis = figure.subplots()
    rest, best = _thin(lines[:-num_best]), _thin(lines[-num_best:])
    axis.add_collection(LineCollection(rest, colors=MUTED, linewidths=0.7, alpha=0.25))
    axis.add_collection(LineCollection(best, colors=VAL, linewidths=1.1, alpha=0.7))
    known = {name: knob for trial in ranked for name, (knob, _) in trial.point.items()}
    for x, path in enumerate(paths):
        _ends(
            axis,
            x,
            list(dict.fromkeys(knob for name, knob in known.items() if sample.paths[name] == path)),
        )
    decimals = Points.of(judged).decimals
    for y, end, va in ((1.03, high, "bottom"), (-0.03, low, "top")):
        text = f"{judged.scale * end:.{decimals}f}"
        axis.text(len(paths), y, text, ha="center", va=va, fontsize=7.5, color=INK)
    labels = [short(path, 20) for path in paths] + [f"{judged.val}{judged.unit}"]
    axis.set_xticks(range(len(labels)), labels, rotation=25, ha="right")
    axis.set_yticks((ABSENT,), ("absent",)) if np.min(lines) < 0 else axis.set_yticks(())
    axis.set_xlim(-0.4, len(paths) + 0.4)
    axis.set_ylim(ABSENT - 0.06, 1.14)
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    return figure


def _bar(axis: Axes, y: float, share: Share, colour: str) -> None:
    axis.barh(y, 100 * share.share, 0.34, color=colour, alpha=0.85 if share.clear else 0.35, lw=0)
    axis.plot((100 * share.low, 100 * share.high), (y, y), "-", color=INK, lw=1.2)
    axis.plot((100 * share.floor,) * 2, (y - 0.19, y + 0.19), "-", color=MUTED, lw=2)


def _slice(
    axis: Axes, trials: Sequence[Observed], name: str, thirds: Sequence[int], judged: Judged
) -> None:
    knob = trials[0].point[name][0]
    parts = len(knob.options) if isinstance(knob, Choice) else NUM_BUCKETS
    x = np.array([place(knob, trial.point[name][1]) for trial in trials])
    y = np.array([judged.scale * trial.value for trial in trials])
    bucket = np.clip(x * parts, 0, parts - 1).astype(int)
    if isinstance(
        knob, Choice
    ):  # options stand in the middle of their parts, their dots side by side
        bucket = np.round(x * (parts - 1)).astype(int) if parts > 1 else np.zeros(len(x), int)
        x = (bucket + 0.5 + 0.5 * (np.arange(len(x)) * 0.618034 % 1 - 0.5)) / parts
    drawn = _thin(range(len(trials)))
    for third, colour in enumerate(THIRDS):
        chosen = [i for i in drawn if thirds[i] == third]
        axis.plot(x[chosen], y[chosen], "o", ms=3.2, mew=0, alpha=0.75, color=colour)
    for part in np.unique(bucket):
        inside = y[bucket == part]
        top = judged.best(inside)
        axis.plot((part / parts, (part + 1) / parts), (top, top), "-", color=INK, lw=1.6)
        where = ((part + 0.5) / parts, 0.01)
        axis.text(
            *where,
            str(len(inside)),
            transform=axis.get_xaxis_transform(),
            ha="center",
            fontsize=6.5,
            color=MUTED,
        )
    ticks, labels = _ticks(knob)
    axis.set_xticks(ticks, labels)
    axis.set_xlim(-0.04, 1.04)
    axis.grid(axis="x", visible=False)


def _ticks(knob: Range) -> tuple[list[float], list[str]]:
    if isinstance(knob, Choice):
        parts = len(knob.options)
        return [(i + 0.5) / parts for i in range(parts)], [
            short(value(option), 10) for option in knob.options
        ]
    middle = math.sqrt(knob.low * knob.high) if knob.log else (knob.low + knob.high) / 2
    return [0.0, 0.5, 1.0], [value(float(number)) for number in (knob.low, middle, knob.high)]


def _ends(axis: Axes, x: int, ranges: Sequence[Range]) -> None:
    """The axis of a knob and what its ends stand for; where variants have other ranges, each its
    own.
    """
    axis.plot((x, x), (0, 1), color=BAND if len(ranges) > 1 else MUTED, lw=1, zorder=0)
    knob = ranges[0]
    if len(ranges) == 1 and isinstance(knob, Choice):
        for option in knob.options:
            axis.text(
                x + 0.04,
                place(knob, option),
                short(value(option), 12),
                va="center",
                fontsize=7.5,
                color=INK,
            )
        return
    texts = ("lower end", "upper end")
    if len(ranges) == 1 and not isinstance(knob, Choice):
        texts = (value(float(knob.low)), value(float(knob.high)))
    axis.text(x, -0.03, texts[0], ha="center", va="top", fontsize=7.5, color=INK)
    axis.text(x, 1.03, texts[1], ha="center", va="bottom", fontsize=7.5, color=INK)


def _thin(items: Sequence[Item]) -> list[Item]:
    """At most NUM_DRAWN of them, evenly spaced: a page must stay small."""
    step = max(1.0, len(items) / NUM_DRAWN)
    return [items[int(i * step)] for i in range(min(len(items), NUM_DRAWN))]
