"""Numbers in words: percent points, intervals, seconds. Shares come in as shares of 1."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.counts import plural
from pipeline.engine.race import ROUNDS
from pipeline.own.parts import short
from pipeline.study.objectives import against

if TYPE_CHECKING:
    from pipeline.analysis.stats import Contrast
    from pipeline.study.judged import Judged

NONE = "–"
PAD = "\u2007"  # a space as wide as a digit: keeps numbers of one column under each other
NAMED_ALIASES = 2  # in a verdict
ROUNDING = 1e-12  # what a sum leaves of a share that is zero
MOST_DECIMALS = 4
OWN_UNIT = 2  # decimals more than of a percent: 0.312 beside 31.2


@dataclass(frozen=True)
class Points:
    """Shares as percent and differences as percent points, with one number of decimals for the
    whole report; of a metric that is no share both in its own unit (`scale` 1).

    A number that would round to zero keeps its first digit and its sign: −0.04, where the others
    have one decimal.
    """

    decimals: int = 1
    scale: int = 100

    @classmethod
    def of(cls, judged: "Judged", decimals: int = 1) -> "Points":
        """Of what a study is judged by; `decimals` of a percent."""
        return cls(decimals if judged.is_share else decimals + OWN_UNIT, judged.scale)

    @classmethod
    def fit(cls, halves: Iterable[float], judged: "Judged") -> "Points":
        """Two significant digits of the smallest half-width of the intervals: more would be noise,
        fewer would hide it.

        At least one decimal, as accuracies are written everywhere, and at most `MOST_DECIMALS`.
        """
        least, most = (cls.of(judged, number) for number in (1, MOST_DECIMALS))
        real = [half * least.scale for half in halves if half > ROUNDING]
        fit = 1 - math.floor(math.log10(min(real))) if real else 0
        return replace(least, decimals=min(most.decimals, max(least.decimals, fit)))

    def number(self, value: float | None) -> str:
        """`59.1`, or `0.312`"""
        return NONE if value is None or math.isnan(value) else self._number(value)

    def level(self, value: float | None) -> str:
        """`59.1 %`, or `0.312`"""
        return f"{self.number(value)}{self.percent}"

    def difference(self, value: float) -> str:
        """`+1.2 points`, or `+0.012`"""
        return f"{self.signed(value)}{self.points}"

    def findable(self, size: float) -> str:
        """`a true difference of 1.2 points`; of shares none is as large as 1."""
        if self.scale == 100 and size >= 1:
            return "no possible difference"
        return f"a true difference of {self.number(size)}{self.points}"

    @property
    def percent(self) -> str:
        """What stands after values."""
        return " %" * (self.scale == 100)

    @property
    def points(self) -> str:
        """What stands after differences."""
        return " points" * (self.scale == 100)

    def signed(self, share: float) -> str:
        text = self._number(share)
        return text if share < 0 or is_zero(share) else f"+{text}"

    def interval(self, low: float, high: float) -> str:
        return f"[{self._number(low)}, {self._number(high)}]"

    def _number(self, share: float) -> str:
        text = f"{share * self.scale:.{self.decimals}f}"
        if float(text) == 0:
            share = 0.0 if is_zero(share) else share
            more = -math.floor(math.log10(abs(share * self.scale))) if share else 0
            text = f"{share * self.scale:.{max(more, self.decimals)}f}"
        return text.replace("-", "−")


def is_zero(share: float) -> bool:
    """Whether rounding alone keeps it from zero."""
    return abs(share) < ROUNDING


def signs_of(contrast: "Contrast") -> dict[str, str]:
    """What effects are called by their verdicts; where less is better, a number below 0 is better,
    and called so.
    """
    if contrast.sign < 0:
        return {"better": "better", "worse": "worse"}
    return {"better": "positive", "worse": "negative"}


def word(contrast: "Contrast") -> str:
    """Its verdict: an arm is better or worse than another, an effect is positive or negative, an
    aliased one with its alias.

    A share, which describes, has none.
    """
    if contrast.kind == "shapley" and not contrast.reason:
        return NONE
    signs = {} if contrast.against else signs_of(contrast)
    found = signs.get(contrast.verdict, contrast.verdict)
    if contrast.aliases and contrast.verdict in signs:
        return (
            f"{found} (aliased with "
            f"{listed([alias.interaction for alias in contrast.aliases], NAMED_ALIASES)})"
        )
    return found


def below_margin(contrast: "Contrast", rope: float) -> bool:
    """Whether a difference that was found is smaller than the margin of no practical interest."""
    return contrast.verdict in ("better", "worse") and abs(contrast.delta) < rope


def probability(p: float) -> str:
    """A p-value with three decimals, with more where these would put it on the 5 % that it is above
    or below.
    """
    if p < 0.001:
        return "<0.001"
    decimals = 3
    while abs(p - 0.05) > ROUNDING and round(p, decimals) == 0.05:
        decimals += 1
    return f"{p:.{decimals}f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pad the pieces at each position to one width, so that they stand under each other."""
    widths = [max(map(len, pieces), default=0) for pieces in zip(*rows, strict=True)]
    return [
        [piece.rjust(width, PAD) for piece, width in zip(row, widths, strict=True)] for row in rows
    ]


def value(scalar: object) -> str:
    """A knob's value as one reads it: 0.000312 → 3.12e-04, my_nets:MyNet → MyNet."""
    if isinstance(scalar, bool) or not isinstance(scalar, float):
        return NONE if scalar is None else str(short(scalar))
    return f"{scalar:.3g}" if scalar == 0 or abs(scalar) >= 1e-3 else f"{scalar:.2e}"


def millions(counts: Sequence[int]) -> list[str]:
    """Numbers of parameters in millions, with the decimals that the smallest needs; 0: not
    known.
    """
    decimals = 2 if min(filter(None, counts), default=0) >= 1e5 else 4
    return [f"{count / 1e6:.{decimals}f}" if count else NONE for count in counts]


def size(number: float) -> str:
    """A positive number with about three digits."""
    if math.isnan(number):
        return NONE
    return (
        f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"
    )


def moment(timestamp: float) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M} UTC"


def listed(items: Sequence[str], limit: int = 8) -> str:
    """a, b and 7 more"""
    rest = len(items) - limit
    return ", ".join(items) if rest <= 0 else f"{', '.join(items[:limit])} and {rest:,} more"


def race_in_words(
    most: int,
    replicates: int,
    objectives: Sequence[str] = (),
    epochs: int = 0,
    *,
    by_looks: bool = False,
) -> str:
    """What becomes of the search's best trials, with objectives of points of its front; what that
    takes, where a run has so many epochs.
    """
    if epochs and most:
        laps = most * ROUNDS * epochs if most > 1 else 0
        return (
            f"{race_in_words(most, replicates, objectives, by_looks=by_looks)}; at most "
            f"{plural(laps, 'epoch')}, and {replicates * epochs:,} for the arm"
        )
    if not most:
        return "none: the search ends with one run of its best trial"
    arm = f"an arm, {'at most ' * by_looks}{plural(replicates, 'replicate')}"
    if most == 1:
        return f"of one: the search's best trial is {arm}"
    if objectives:
        return (
            f"{most} points of the search's front against {against(objectives)}, up to {ROUNDS} "
            f"runs each; of those that stay the one of the best mean is {arm}, tested against the "
            "reference by itself"
        )
    return (
        f"the search's {most} best trials, up to {ROUNDS} runs each; the one that stays is {arm}, "
        "tested against the reference by itself"
    )
