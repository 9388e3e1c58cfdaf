"""The figures, as SVG (the report's) and PNG. The same data give the same bytes."""

import contextlib
import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pipeline.analysis.answers import Answers
from pipeline.analysis.dimensions import Setting, dimensions
from pipeline.analysis.front import Front
from pipeline.analysis.importance import Importance
from pipeline.analysis.results import Ablation
from pipeline.analysis.search_results import Search
from pipeline.analysis.stats import Contrast
from pipeline.analysis.tuning_curve import Tuning
from pipeline.report.document import clean
from pipeline.report.figures import confusions
from pipeline.report.figures.curves import history, learning_curves
from pipeline.report.figures.front import front_figure
from pipeline.report.figures.knobs import importance_bars, parallel, slices
from pipeline.report.figures.style import (
    BAD,
    BAND,
    GOOD,
    INK,
    MUTED,
    RUNGS,
    STYLE,
    TRAIN,
    VAL,
    short,
)
from pipeline.report.figures.tuning_curve import tuning_curve
from pipeline.study.questions import SCREEN

if TYPE_CHECKING:
    from pipeline.report.compose import Findings

# of the lines of a plot: colour, mark
LINES = tuple(zip(itertools.cycle((TRAIN, VAL, *RUNGS[4:1:-1], *RUNGS[5:6])), "oosD^vPXs^Dv"))
PER_SETTING, TICK = 1.1, 14  # inches, characters a line of its name
WRAPPED, ANOTHER_LINE = 40, 0.5  # of a heading: characters a line; lines of the plot that one takes


@dataclass(frozen=True)
class Drawing:
    name: str
    svg: bytes
    png: bytes


def draw_all(
    ablation: Ablation,
    search: Search,
    importance: Importance | None,
    tuning: Tuning | None,
    answers: Answers | None = None,
    front: Front | None = None,
) -> Iterator[Drawing]:
    """Every figure that has something to show."""
    with mpl.rc_context(STYLE):
        for name, figure in _figures(ablation, search, importance, tuning, answers, front):
            yield _render(name, figure)


def figures(findings: "Findings") -> Iterator[tuple[str, Figure]]:
    """(name, figure) of the same figures, to be looked at one by one."""
    found = findings
    with mpl.rc_context(STYLE):
        yield from _figures(
            found.ablation,
            found.search,
            found.importance,
            found.tuning,
            found.answers,
            found.front,
        )


def png(figure: Figure) -> bytes:
    """A figure as the report's pictures are."""
    with mpl.rc_context(STYLE):
        return _png(figure)


def _figures(
    ablation: Ablation,
    search: Search,
    importance: Importance | None,
    tuning: Tuning | None,
    answers: Answers | None,
    front: Front | None,
) -> Iterator[tuple[str, Figure]]:
    trained = [
        row for row in ablation.rows if any(run.epochs for run in (*row.complete, *row.diverged))
    ]
    if trained:
        yield "curves", learning_curves(trained)
    if any(contrast.n for contrast in ablation.contrasts):
        yield "differences", differences(ablation.table)
    asked = any(c.kind == "interaction" for c in ablation.effects) and not ablation.unequal
    if asked and all(row.values for row in ablation.designed):
        yield "interaction", interactions(ablation)
    if any(run.rungs for run in search.trials):
        yield "search", history(search)
    if front:
        yield "front", front_figure(front)
    if importance:
        yield "importance", importance_bars(importance)
        yield "slices", slices(importance, search.judged)
        yield "parallel", parallel(importance, search.judged)
    if tuning:
        yield "tuning", tuning_curve(tuning, search.judged)
    if answers:
        yield from confusions.draw(answers, ablation)


def differences(ablation: Ablation) -> Figure:
    """Forest plot: one group a family and kind of contrasts; the band is the margin."""
    groups = _groups(ablation)
    names = {
        title: "\n".join(textwrap.wrap(title, WRAPPED, break_on_hyphens=False)) for title in groups
    }
    more = {title: ANOTHER_LINE * text.count("\n") for title, text in names.items()}
    lines = sum(len(contrasts) + 1 + more[title] for title, contrasts in groups.items())
    figure = Figure(figsize=(8.2, 0.36 * lines + 0.8), layout="constrained")
    axis = figure.subplots()
    judged = ablation.judged
    rope = judged.scale * ablation.rope
    axis.axvspan(-rope, rope, color=BAND, lw=0, zorder=0)
    axis.axvline(0, color=MUTED, lw=0.9, zorder=1)
    ticks: list[tuple[float, str]] = []
    y = 0.0
    for title, contrasts in groups.items():
        y -= more[title] / 2
        ticks.append((y, names[title]))
        y -= 1 + more[title] / 2
        for contrast in contrasts:
            _estimate(axis, contrast, y, judged.scale)
            ticks.append((y, f"{short(contrast.name)} (n = {contrast.n})"))
            y -= 1
    axis.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    for label, (_, text) in zip(axis.get_yticklabels(), ticks, strict=True):
        label.set_color(MUTED if text in names.values() else INK)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.set_ylim(y + 0.4, 0.6)
    unit = " (percent points)" if judged.is_share else ", less is better"
    axis.set_xlabel(f"difference in {judged.drawn}{unit}")
    return figure


def interactions(ablation: Ablation) -> Figure:
    """One panel a pair of factors: means at the settings of the first, a line for each setting of
    the second.
    """
    pairs = list(itertools.combinations(dimensions(ablation), 2))
    columns, scale = min(3, len(pairs)), ablation.judged.scale
    bands, most = -(-len(pairs) // columns), max(len(first.settings) for first, _ in pairs)
    width = max(4.6, 3.4 * columns, (0.4 + PER_SETTING * most) * columns * (most > 2))
    figure = Figure(figsize=(width, 3.1 * bands), layout="constrained")
    axes = figure.subplots(bands, columns, sharey=True, squeeze=False).ravel()
    for axis, (first, second) in zip(axes, pairs, strict=False):
        for setting, (colour, mark) in zip(second.settings, LINES, strict=False):
            cells = [
                [
                    v
                    for row in ablation.designed
                    if first.at(other, row.levels) and second.at(setting, row.levels)
                    for v in row.values
                ]
                for other in first.settings
            ]
            for x, values in enumerate(cells):
                dots = np.multiply(values, scale)
                axis.plot([x] * len(dots), dots, mark, ms=3, mew=0, alpha=0.4, color=colour)
            axis.plot(
                range(len(cells)),
                [scale * float(np.mean(values)) for values in cells],
                f"{mark}-",
                ms=6,
                lw=2,
                color=colour,
                label=_called(setting),
            )
        ticks = [_called(setting) for setting in first.settings]
        if first.named:
            ticks = ["\n".join(textwrap.wrap(tick, TICK)) for tick in ticks]
        axis.set_xticks(range(len(ticks)), ticks)
        axis.set_xlim(-0.3, len(ticks) - 0.7)
        axis.grid(axis="x", visible=False)
        axis.legend(loc="best", title=short(second.factor, 30) if second.named else None)
        if first.named:
            axis.set_xlabel(short(first.factor, 40))
    for axis in axes[len(pairs) :]:
        axis.set_visible(False)
    axes[0].set_ylabel(f"{ablation.judged.drawn}{ablation.judged.unit}")
    return figure


def _called(setting: Setting) -> str:
    return setting.word + short(setting.name, 20)


def _groups(ablation: Ablation) -> dict[str, list[Contrast]]:
    """Heading → contrasts, in the order asked."""
    headings = {
        "step": "steps, in this order",
        "interaction": "interactions",
        "shapley": "Shapley shares",
    }
    groups: dict[str, list[Contrast]] = {}
    for contrast in ablation.contrasts:
        main = "main effects (aliased)" if contrast.family_name == SCREEN else "main effects"
        main += ", each against its factor's first level" * bool(ablation.crossing)
        title = (
            f"vs {clean(contrast.against)}"
            if contrast.kind == "delta"
            else headings.get(contrast.kind, main)
        )
        groups.setdefault(title, []).append(contrast)
    return groups


def _estimate(axis: Axes, contrast: Contrast, y: float, scale: int) -> None:
    colour = INK if contrast.aliases else {"better": GOOD, "worse": BAD}.get(contrast.verdict, INK)
    dots = np.multiply(contrast.values if contrast.paired else (), scale)
    axis.plot(dots, np.full(len(dots), y - 0.24), "o", ms=2.6, mew=0, color=MUTED, alpha=0.7)
    if not math.isnan(contrast.low):
        axis.plot(
            (scale * contrast.low, scale * contrast.high),
            (y, y),
            "-",
            lw=1.8,
            color=colour,
            solid_capstyle="butt",
        )
    if far := contrast.beyond:
        axis.plot(
            (scale * far.low, scale * far.high),
            (y, y),
            "-",
            lw=0.7,
            color=colour,
            solid_capstyle="butt",
        )
    if contrast.n:
        axis.plot(
            scale * contrast.delta,
            y,
            "D" if contrast.kind == "interaction" else "s",
            ms=5.5,
            mew=0,
            color=colour,
        )


def _render(name: str, figure: Figure) -> Drawing:
    with _without_a_word():
        drawn = _png(figure)
        figure.set_layout_engine("none")  # laid out above; once is enough
        svg = _bytes(FigureCanvasSVG(figure).print_svg, {"Date": None, "Creator": None})
        return Drawing(name, svg, drawn)


def _png(figure: Figure) -> bytes:
    with _without_a_word():
        return _bytes(FigureCanvasAgg(figure).print_png, {"Software": None})


@contextlib.contextmanager
def _without_a_word() -> Iterator[None]:
    """A script without a font here is still right in the SVG."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


def _bytes(write: Callable[..., object], metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    write(buffer, metadata=metadata)
    return buffer.getvalue()
