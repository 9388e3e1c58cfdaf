"""The figures of the classes: confusion of an arm, and its layers' t-SNE."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from pipeline.analysis.answers import Answers, Shown, slug
from pipeline.analysis.confusion import Classes
from pipeline.analysis.results import Ablation
from pipeline.report.figures.style import INK, MUTED, PAPER, TRAIN, VAL, short

MOST_CLASSES, CHOSEN, NUMBERED = 30, 20, 15
COLOURED, PICKED = 20, 8
PALETTE = (VAL, "#e0a100", "#2fa084", TRAIN, "#b07cc6", INK, "#5aa9e6")
SHAPES = ("o", "^", "s")


def draw(answers: Answers, ablation: Ablation) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every arm that is shown in full."""
    for arm, shown in answers.shown.items():
        yield f"confusion_{slug(arm, ablation)}", confusion(answers.arms[arm], answers.names)
        if shown.embeddings:
            yield f"embedding_{slug(arm, ablation)}", embedding(shown, answers, answers.arms[arm])


def chosen(classes: Classes) -> list[int]:
    """The classes that the confusion figure shows: all, or the most confused of many."""
    return (
        list(range(classes.num_classes))
        if classes.num_classes <= MOST_CLASSES
        else classes.most_confused(CHOSEN)
    )


def confusion(classes: Classes, names: Sequence[str]) -> Figure:
    """Rows are true classes, in shares of the row; right answers and confusions have a colour
    each.
    """
    labels = chosen(classes)
    shares = np.nan_to_num(classes.shares[np.ix_(labels, labels)])
    size = len(labels)
    edge = max(0.24, min(0.62, 6.4 / size))
    figure = Figure(figsize=(edge * size + 2.6, edge * size + 1.7), layout="constrained")
    axis = figure.subplots()
    for colour, diagonal in ((VAL, True), (TRAIN, False)):
        cells = [
            (i, j)
            for i in range(size)
            for j in range(size)
            if (i == j) is diagonal and shares[i, j] > 0
        ]
        if not cells:  # all answers right, or all wrong
            continue
        patches = [Rectangle((j - 0.5, i - 0.5), 1, 1) for i, j in cells]
        strength = [_strength(shares[i, j]) for i, j in cells]
        axis.add_collection(
            PatchCollection(patches, facecolors=colour, linewidths=0, alpha=np.array(strength))
        )
    if size <= NUMBERED:
        _numbers(axis, shares, size)
    ticks = [short(names[label], 22) for label in labels]
    axis.set_xticks(range(size), ticks, rotation=90 if size > 4 else 0)
    axis.set_yticks(range(size), ticks)
    axis.set_xlim(-0.5, size - 0.5)
    axis.set_ylim(size - 0.5, -0.5)
    axis.set_aspect("equal")
    axis.grid(visible=False)
    axis.tick_params(length=0, labelsize=9 if size <= 20 else 7.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(True)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    return figure


def embedding(shown: Shown, answers: Answers, classes: Classes) -> Figure:
    """A panel a layer: every picture a point, its class by colour and shape; of many classes the
    most confused alone.
    """
    panels = shown.embeddings
    figure = Figure(figsize=(4.1 * len(panels) + 0.4, 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    many = classes.num_classes > COLOURED
    labels = classes.most_confused(PICKED) if many else list(range(classes.num_classes))
    for axis, panel in zip(axes, panels, strict=True):
        if many:
            rest = ~np.isin(panel.true, labels)
            axis.plot(*panel.points[rest].T, "o", ms=2.8, mew=0, color=MUTED, alpha=0.4)
        for place, label in enumerate(labels):
            axis.plot(
                *panel.points[panel.true == label].T, ls="", alpha=0.85, mew=0, **_mark(place)
            )
        axis.set_title(f"{panel.layer} layer ({short(panel.module, 24)})", loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
        for side in ("top", "right"):
            axis.spines[side].set_visible(True)
    handles = [
        Line2D([], [], ls="", mew=0, label=short(answers.names[label], 20), **_mark(place))
        for place, label in enumerate(labels)
    ]
    if many:
        handles.append(
            Line2D([], [], marker="o", ls="", ms=3.5, mew=0, color=MUTED, label="other classes")
        )
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(5, len(handles)), handletextpad=0.2
    )
    return figure


def _numbers(
    axis: Axes, shares: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", size: int
) -> None:
    """Percent of the row, where it rounds to one at least."""
    for i, j in np.argwhere(shares >= 0.005):
        colour = PAPER if _strength(shares[i, j]) > 0.62 else INK
        text = f"{100 * shares[i, j]:.0f}"
        axis.text(
            j, i, text, ha="center", va="center", fontsize=9 if size <= 11 else 7.5, color=colour
        )


def _strength(share: float) -> float:
    """Opacity of a cell: a few percent must be seen beside a full row."""
    return float(0.06 + 0.94 * share**0.6)


def _mark(place: int) -> dict[str, Any]:
    shape = SHAPES[place // len(PALETTE) % len(SHAPES)]
    return {
        "marker": shape,
        "ms": 4.2 if shape == "o" else 4.4,
        "color": PALETTE[place % len(PALETTE)],
    }
