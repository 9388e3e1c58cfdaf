"""How the figures look: colours, fonts, names that fit."""

from typing import Any

from pipeline.report.document import clean

INK, MUTED, RULE, BAND = "#1f2328", "#6b7280", "#d4d8de", "#e9eef6"
PAPER = "#fefefe"  # letters on a strong colour
TRAIN, VAL, GOOD, BAD = "#c2570c", "#0b63a5", "#12805c", "#b42318"
RUNGS = (
    "#9aa4b2",
    "#5aa9e6",
    "#e0a100",
    "#b07cc6",
    "#2fa084",
    "#d46a8c",
    VAL,
)  # the top rung always takes the last
COLOURS = tuple(
    dict.fromkeys((INK, MUTED, RULE, BAND, PAPER, TRAIN, GOOD, BAD, *RUNGS))
)  # the page gives each a dark twin
STYLE: dict[Any, Any] = {
    "figure.dpi": 144,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.parse_math": False,  # a name may hold a dollar sign
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def short(name: str, limit: int = 34) -> str:
    text = clean(name)
    return text if len(text) <= limit else text[: limit - 1] + "…"
