"""Knobs of a search's best trial that lie at an end of its space, and ranges that go beyond."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.frozen import Scalar
from pipeline.study.ranges import Choice, Float, Int
from pipeline.study.space import Space

EDGE = 0.02  # share of a range that counts as its end
FURTHER, HALF = 3.0, 0.5  # how far a wider range goes: a factor of a log one, a share of another


@dataclass(frozen=True)
class End:
    """A knob's value that lies at the `lower` or `upper` end of its range."""

    name: str
    knob: Float | Int
    value: float
    end: str

    @property
    def text(self) -> str:
        return f"{self.name} = {self.value:.3g} at the {self.end} end of {self.knob.describe()}"

    @property
    def wider(self) -> tuple[str, float] | None:
        """(field of the range, a value of it that goes further); None where steps or 0 forbid."""
        low, high = float(self.knob.low), float(self.knob.high)
        up = self.end == "upper"
        if self.knob.log:
            bound = high * FURTHER if up else low / FURTHER
        else:
            bound = high + HALF * (high - low) if up else low - HALF * (high - low)
            bound = max(bound, 0.0) if low >= 0 else bound
        bound = float(f"{bound:.2g}")
        if isinstance(self.knob, Int):
            bound = max(1, round(bound)) if self.knob.log else round(bound)
        goes = bound > high if up else bound < low
        on_steps = self.knob.step not in (None, 1)
        return None if on_steps or not goes else ("high" if up else "low", bound)


def ends(space: Space, knobs: Mapping[str, Scalar]) -> tuple[End, ...]:
    """The knobs that lie at an end of their range; not those at 0 where nothing is below."""
    if not knobs:
        return ()
    found = []
    for name, (knob, number) in space.active(knobs).items():
        if isinstance(knob, Choice) or not isinstance(number, (int, float)):
            continue
        low, high, x = float(knob.low), float(knob.high), float(number)
        if knob.log:
            low, high, x = math.log(low), math.log(high), math.log(x)
        share = (x - low) / (high - low)
        off = knob.low == 0 and share < 0.5  # nothing is below
        if min(share, 1 - share) <= (EDGE if isinstance(knob, Float) else 0) and not off:
            end = "lower" if share < 0.5 else "upper"
            found.append(End(name, knob, float(number), end))
    return tuple(found)
