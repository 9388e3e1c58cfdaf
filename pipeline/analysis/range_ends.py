"""Knobs of a search's best trial that lie at an end of its space."""

import math
from collections.abc import Mapping

from pipeline.frozen import Scalar
from pipeline.study.ranges import Choice, Float
from pipeline.study.space import Space

EDGE = 0.02  # share of a range that counts as its end


def edges(space: Space, knobs: Mapping[str, Scalar]) -> tuple[str, ...]:
    """The knobs that lie at an end of their range, in words; not those at 0 where nothing is
    below.
    """
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
            found.append(f"{name} = {number:.3g} at the {end} end of {knob.describe()}")
    return tuple(found)
