"""The figures over time: learning curves of the arms, history of the search."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.analysis.results import ArmRow
from pipeline.analysis.search_results import Search
from pipeline.counts import plural
from pipeline.record.record import Run
from pipeline.report.figures.style import BAD, MUTED, RUNGS, TRAIN, VAL, short

SHAPES = {"complete": ("o", "complete"), "diverged": ("x", "diverged"), "failed": ("+", "failed")}
WAITING = ("v", "stopped or waiting")
NUM_PANELS, NUM_LINES, NUM_POINTS = (
    20,
    200,
    60,
)  # arms, thin lines of all arms together, points of a thin line


def learning_curves(rows: Sequence[ArmRow]) -> Figure:
    """Accuracy above, loss below, one column an arm, at most four arms a band; runs thin, the mean
    of all of them thick.
    """
    rows = [row for row in rows if _trained(row)][:NUM_PANELS]
    columns = min(4, len(rows))
    bands = -(-len(rows) // columns)
    width, height = 2.55 * columns + 0.3, 4.4 * bands + 0.35
    figure = Figure(figsize=(width, height))
    last = max(len(run.epochs) for row in rows for run in _trained(row))
    for line, kind in enumerate(("acc", "loss")):
        low, high = _limits(rows, kind)
        for index, row in enumerate(rows):
            left, top = (
                0.65 + 2.55 * (index % columns),
                0.7 + 4.4 * (index // columns) + 1.87 * line,
            )  # inches
            axis = figure.add_axes(
                (left / width, 1 - (top + 1.72) / height, 2.08 / width, 1.72 / height)
            )
            _curves(axis, row, kind, max(1, NUM_LINES // len(rows)))
            axis.set_xlim(1 - 0.05 * last, last + 0.05 * last)
            axis.set_ylim(low, high)
            axis.tick_params(labelbottom=kind == "loss", labelleft=index % columns == 0)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            if index % columns == 0:
                axis.set_ylabel("accuracy (%)" if kind == "acc" else "loss")
            if kind == "acc":
                axis.set_title(short(row.arm), loc="left")
            else:
                axis.set_xlabel("epoch")
    handles = [
        Line2D([], [], color=TRAIN, lw=2, label="train"),
        Line2D([], [], color=VAL, lw=2, label="val"),
    ]
    if any(row.diverged for row in rows):
        handles.append(Line2D([], [], color=MUTED, lw=1, ls=":", label="diverged"))
    figure.legend(handles=handles, loc="upper right", ncols=3, borderaxespad=0.2)
    return figure


def what_is_drawn(rows: Sequence[ArmRow]) -> str:
    """Which lines of the learning curves there are, for the caption."""
    rows = [row for row in rows if _trained(row)]
    shown = rows[:NUM_PANELS]
    sizes = [(len(row.complete), len([run for run in row.diverged if run.epochs])) for row in shown]
    most = max(1, NUM_LINES // max(1, len(shown)))
    drawn, total = sum(min(n, most) for pair in sizes for n in pair), sum(map(sum, sizes))
    thin = "every run" if drawn == total else f"{drawn:,} of {plural(total, 'run')}, evenly chosen"
    text = f"Thin: {thin}; thick: the mean of all complete runs of an arm."
    return (
        text
        if len(shown) == len(rows)
        else f"{text} Drawn are the first {len(shown)} of {len(rows)} arms."
    )


def _limits(rows: Sequence[ArmRow], kind: str) -> tuple[float, float]:
    """Of a panel's height, the same for all arms; of losses only beyond what nearly all epochs
    have.
    """
    keys = [f"{split}_{kind}" for split in ("train", "val")]
    values = np.array(
        [
            epoch[key]
            for row in rows
            for run in _trained(row)
            for epoch in run.epochs
            for key in keys
        ]
    )
    values *= 100 if kind == "acc" else 1
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.05
    if kind == "acc" or high + margin <= (end := _highest(rows)):
        return low - margin, high + margin
    return low - 0.05 * (end - low), end


def _trained(row: ArmRow) -> list[Run]:
    return [run for run in (*row.complete, *row.diverged) if run.epochs]


def _highest(rows: Sequence[ArmRow]) -> float:
    """Where the loss panels end: beyond what nearly all epochs have, so that a single spike does
    not flatten every curve.
    """
    losses = [
        epoch[key]
        for row in rows
        for run in row.complete
        for epoch in run.epochs
        for key in ("train_loss", "val_loss")
    ]
    return 1.3 * float(np.quantile(losses, 0.97)) if losses else np.inf


def history(search: Search) -> Figure:
    """Value at the highest rung against the trial's number; colour is the rung, shape how the trial
    ended.
    """
    figure = Figure(figsize=(8.2, 3.5), layout="constrained")
    axis = figure.subplots()
    colours, scale = (*RUNGS[: search.num_rungs - 1], RUNGS[-1]), search.judged.scale
    marks: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for run in search.trials:
        top = run.value
        if top:
            marks.setdefault((_shape(run), top[0]), []).append((run.number, scale * top[1]))
    for (shape, rung), values in sorted(marks.items()):
        x, y = np.array(values).T
        axis.plot(
            x, y, shape, ms=5, mew=1.2 if shape in "x+" else 0, color=colours[rung], alpha=0.85
        )
    worst = axis.get_ylim()[search.judged.sign < 0]
    for status in ("diverged", "failed"):
        lost = [run.number for run in search.trials if not run.rungs and run.status == status]
        axis.plot(
            lost, [worst] * len(lost), SHAPES[status][0], ms=5, mew=1.2, color=BAD, clip_on=False
        )
    handles = [
        Line2D([], [], marker="o", ls="", mew=0, color=c, label=f"rung {i + 1}")
        for i, c in enumerate(colours)
    ][len(colours) == 1 :]
    shapes = {_shape(run): SHAPES.get(run.status, WAITING)[1] for run in search.trials}
    handles += [
        Line2D([], [], marker=shape, ls="", color=MUTED, label=words)
        for shape, words in sorted(shapes.items())
    ]
    if line := _best_so_far(search):
        axis.step(*line, where="post", color=colours[-1], lw=1.4)
        label = f"best so far{' at the top rung' * (search.num_rungs > 1)}"
        handles.append(Line2D([], [], color=colours[-1], lw=1.4, label=label))
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    axis.set_xlabel("trial")
    axis.set_ylabel(
        f"val {search.judged.noun}{search.judged.unit}{' at its rung' * (search.num_rungs > 1)}"
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _shape(run: Run) -> str:
    return SHAPES.get(run.status, WAITING)[0]


def _best_so_far(search: Search) -> tuple[list[int], list[float]] | None:
    """Of the top rung alone, in the order of the trials' numbers, drawn on to the last trial."""
    top, judged = search.num_rungs - 1, search.judged
    done = [
        (run.number, judged.scale * run.rungs[top]) for run in search.trials if top in run.rungs
    ]
    if not done:
        return None
    best = list(itertools.accumulate((v for _, v in done), lambda *two: judged.best(two)))
    return [*(number for number, _ in done), search.trials[-1].number], [*best, best[-1]]


def _curves(axis: Axes, row: ArmRow, kind: str, most: int) -> None:
    """`most`: of each way of ending so many runs are drawn, evenly chosen; the mean is that of
    all.
    """
    scale = 100 if kind == "acc" else 1
    for split, colour in (("train", TRAIN), ("val", VAL)):
        key = f"{split}_{kind}"
        lines = [_line(run, key, scale) for run in row.complete]
        drawn = [
            line[evenly(len(line), NUM_POINTS)]
            for line in (lines[i] for i in evenly(len(lines), most))
        ]
        alpha = max(0.12, 0.45 / max(1, len(drawn) / 5))
        axis.add_collection(
            LineCollection(drawn, alpha=alpha, colors=colour, linewidths=0.7), autolim=False
        )
        broken = [run for run in row.diverged if run.epochs]
        ends = [_line(broken[i], key, scale) for i in evenly(len(broken), most)]
        dotted = [line[evenly(len(line), NUM_POINTS)] for line in ends]
        axis.add_collection(
            LineCollection(dotted, linestyles=":", colors=colour, linewidths=0.7), autolim=False
        )
        if lines:
            width = max(len(line) for line in lines)
            values = np.full((len(lines), width), np.nan)
            for values_row, line in zip(values, lines, strict=True):
                values_row[: len(line)] = line[:, 1]
            axis.plot(np.arange(1, width + 1), np.nanmean(values, axis=0), color=colour, lw=2)


def evenly(num: int, most: int) -> list[int]:
    """At most so many of the places 0 … num - 1, evenly spaced, the first and the last among
    them.
    """
    return (
        list(range(num))
        if num <= most
        else [round(i * (num - 1) / max(1, most - 1)) for i in range(most)]
    )


def _line(run: Run, key: str, scale: float) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    return np.array([(epoch["epoch"], scale * epoch[key]) for epoch in run.epochs])
