"""When a table that is trained until its questions are answered is looked at, and what a look may
cost. Pure.

Group-sequential looks whose shares of the 5 % are fixed beforehand (union bound over looks, as P.
Bauer, "Sequential tests of hypotheses in consecutive trials", Biometrical Journal 31, 1989): a
p-value divided by its look's share holds whatever made the table go on or stop, so also where the
maximum is raised later. The looks do not depend on the maximum, and nothing is spent twice.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.counts import plural

SHARES = {
    3: 0.03,
    4: 0.05,
    5: 0.09,
    6: 0.1,
    8: 0.13,
    10: 0.13,
    13: 0.12,
    16: 0.1,
    20: 0.09,
    25: 0.04,
    32: 0.03,
    40: 0.02,
    50: 0.015,
    63: 0.012,
    80: 0.01,
    100: 0.008,
    125: 0.005,
    160: 0.004,
    200: 0.004,
    250: 0.003,
    315: 0.002,
    400: 0.002,
    500: 0.002,
    630: 0.001,
    800: 0.001,
    1000: 0.001,
}
"""Replicates of every arm → the share of the error that their look may spend; 1 in all."""
LOOKS = tuple(SHARES)
MAXIMUM = 20  # replicates, where nobody names another


def looks(most: int) -> tuple[int, ...]:
    """The looks at a table of at most so many replicates."""
    return LOOKS[: bisect_right(LOOKS, most)]


def last_look(most: int) -> int:
    """The replicates that can be used of so many; all where they are too few for any look."""
    return max(looks(most), default=most)


@dataclass(frozen=True)
class Rows:
    """Replicates by arm: `now`, up to the next look or for good; `most`, if its questions stay
    open.
    """

    now: Mapping[str, int]
    most: Mapping[str, int]


def looks_in_words(at: Sequence[int], most: int) -> str:
    """When it is looked, and what for; `most`: the maximum, which may be no look."""
    if not at:
        return f"none: the first is at {plural(LOOKS[0], 'replicate')}"
    unused = f" (the next is beyond {most}; what lies between is not used)"
    return (
        f"at n = {', '.join(map(str, at))}{unused * (most not in at)}; an arm whose "
        "questions are all settled gets no more"
    )
