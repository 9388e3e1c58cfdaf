"""The figures over time: learning curves of the arms, history of the search."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.record import Run
from pipeline.report.style import BAD, MUTED, RUNGS, TRAIN, VAL, short
from pipeline.report.tables import ArmRow, Search, top_value

SHAPES = {"complete": ("o", "complete"), "diverged": ("x", "diverged"), "failed": ("+", "failed")}
WAITING = ("v", "stopped or waiting")


def learning_curves(rows: Sequence[ArmRow]) -> Figure:
    """Accuracy above, loss below, one column an arm, at most four arms a band; every run thin, their mean thick."""
    columns = min(4, len(rows))
    bands = -(-len(rows) // columns)
    figure = Figure(figsize=(2.55 * columns + 0.6, 4.4 * bands + 0.3), layout="constrained")
    axes = figure.subplots(2 * bands, columns, sharex=True, sharey=False, squeeze=False)
    for spare in range(len(rows), bands * columns):
        for line in (0, 1):
            axes[2 * (spare // columns) + line, spare % columns].set_visible(False)
    scales: dict[str, list[Axes]] = {"acc": [], "loss": []}
    for index, row in enumerate(rows):
        for line, kind in enumerate(("acc", "loss")):
            axis = axes[2 * (index // columns) + line, index % columns]
            _curves(axis, row, kind)
            scales[kind].append(axis)
            if index % columns == 0:
                axis.set_ylabel("accuracy (%)" if kind == "acc" else "loss")
        axes[2 * (index // columns), index % columns].set_title(short(row.arm), loc="left")
        axes[2 * (index // columns) + 1, index % columns].set_xlabel("epoch")
    for kind, group in scales.items():
        low, high = min(a.get_ylim()[0] for a in group), max(a.get_ylim()[1] for a in group)
        for axis in group:
            axis.set_ylim(low, min(high, _highest(rows)) if kind == "loss" else high)
            axis.tick_params(labelbottom=kind == "loss")
    handles = [Line2D([], [], color=TRAIN, lw=2, label="train"), Line2D([], [], color=VAL, lw=2, label="val")]
    if any(row.diverged for row in rows):
        handles.append(Line2D([], [], color=MUTED, lw=1, ls=":", label="diverged"))
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure


def _highest(rows: Sequence[ArmRow]) -> float:
    """Where the loss panels end: beyond what nearly all epochs have, so that a single spike does not flatten every curve."""
    losses = [
        epoch[key] for row in rows for run in row.complete for epoch in run.epochs for key in ("train_loss", "val_loss")
    ]
    return 1.3 * float(np.quantile(losses, 0.97)) if losses else np.inf


def history(search: Search) -> Figure:
    """Value at the highest rung against the trial's number; colour is the rung, shape how the trial ended."""
    figure = Figure(figsize=(8.2, 3.5), layout="constrained")
    axis = figure.subplots()
    colours = (*RUNGS[: search.num_rungs - 1], RUNGS[-1])
    marks: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for run in search.trials:
        top = top_value(run)
        if top:
            marks.setdefault((_shape(run), top[0]), []).append((run.number, 100 * top[1]))
    for (shape, rung), values in sorted(marks.items()):
        x, y = np.array(values).T
        axis.plot(x, y, shape, ms=5, mew=1.2 if shape in "x+" else 0, color=colours[rung], alpha=0.85)
    bottom = axis.get_ylim()[0]
    for run in search.trials:
        if not run.rungs and run.status in ("diverged", "failed"):
            axis.plot(run.number, bottom, _shape(run), ms=5, mew=1.2, color=BAD, clip_on=False)
    handles = [Line2D([], [], marker="o", ls="", mew=0, color=c, label=f"rung {i + 1}") for i, c in enumerate(colours)]
    shapes = {_shape(run): SHAPES.get(run.status, WAITING)[1] for run in search.trials}
    handles += [Line2D([], [], marker=shape, ls="", color=MUTED, label=words) for shape, words in sorted(shapes.items())]
    if line := _best_so_far(search):
        axis.step(*line, where="post", color=colours[-1], lw=1.4)
        handles.append(Line2D([], [], color=colours[-1], lw=1.4, label="best so far at the top rung"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    axis.set_xlabel("trial")
    axis.set_ylabel("val accuracy (%) at its rung")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _shape(run: Run) -> str:
    return SHAPES.get(run.status, WAITING)[0]


def _best_so_far(search: Search) -> tuple[list[int], list[float]] | None:
    """Of the top rung alone, in the order of the trials' numbers, drawn on to the last trial."""
    top = search.num_rungs - 1
    done = [(run.number, 100 * run.rungs[top]) for run in search.trials if top in run.rungs]
    if not done:
        return None
    best = list(itertools.accumulate((value for _, value in done), max))
    return [*(number for number, _ in done), search.trials[-1].number], [*best, best[-1]]


def _curves(axis: Axes, row: ArmRow, kind: str) -> None:
    scale = 100 if kind == "acc" else 1
    for split, colour in (("train", TRAIN), ("val", VAL)):
        key = f"{split}_{kind}"
        lines = [_line(run, key, scale) for run in row.complete]
        alpha = max(0.12, 0.45 / max(1, len(lines) / 5))
        axis.add_collection(LineCollection(lines, alpha=alpha, colors=colour, linewidths=0.7))
        broken = [_line(run, key, scale) for run in row.diverged if run.epochs]
        axis.add_collection(LineCollection(broken, linestyles=":", colors=colour, linewidths=0.7))
        if lines:
            width = max(len(line) for line in lines)
            values = np.full((len(lines), width), np.nan)
            for values_row, line in zip(values, lines, strict=True):
                values_row[: len(line)] = line[:, 1]
            axis.plot(np.arange(1, width + 1), np.nanmean(values, axis=0), color=colour, lw=2)
    axis.autoscale_view()
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _line(run: Run, key: str, scale: float) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    return np.array([(epoch["epoch"], scale * epoch[key]) for epoch in run.epochs])
