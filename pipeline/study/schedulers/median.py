"""The median stopping rule.

D. Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.1.
"""

import bisect
from fractions import Fraction
from statistics import fmean, median
from typing import ClassVar

from pipeline.study.dominance import front
from pipeline.study.schedulers.base import AtOnce, Ladder

FIRST_CHECK, PARTS = 3, 9
"""A trial is checked at each ninth of its epochs from a third on: earlier all curves are steep, and
each check is a segment of its own.
"""
MIN_EARLIER = 5
"""With fewer trials at a check before it, every trial goes on."""
GOING = (Fraction(7, 10), Fraction(9, 10), *(Fraction(97, 100),) * 4)
"""Of the trials at each check those that go on, as on the recorded curves (`benchmarks.curves`)."""


class Median(AtOnce):
    """At each check a trial stops if its best value so far is below the median of the running
    averages of the trials that were there before it.

    A trial's running average is that of its values at its checks up to this one. Trials that were
    stopped at a check count there, and at none after it; Vizier counts those that were completed.
    Of several objectives the rule is about the value; whom nobody there beats in all goes on too.
    """

    name: ClassVar[str] = "median"
    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, reduction: int, num_rungs: int) -> None:
        super().__init__(reduction=reduction, num_rungs=num_rungs)
        self._averages: list[list[float]] = [[] for _ in range(self.num_rungs)]  # sorted, of losses

    @classmethod
    def rungs(cls, reduction: int, num_rungs: int) -> Ladder:  # noqa: ARG003  neither is used
        shares = (Fraction(part, PARTS) for part in range(FIRST_CHECK, PARTS + 1))
        return Ladder(tuple(shares), GOING)

    @classmethod
    def words(cls, reduction: int) -> str:  # noqa: ARG003
        return (
            "median stopping: a trial goes on from a rung unless its best value so far is below "
            "the median of the running averages of the trials there before it"
        )

    def _passes(self, trial: int, rung: int) -> bool:
        own = [losses[trial] for losses in self._losses[: rung + 1] if trial in losses]
        earlier = self._averages[rung]
        passes = len(earlier) < MIN_EARLIER or min(own) <= median(earlier)
        bisect.insort(earlier, fmean(own))
        return passes or (self._several and trial in front(self._points(rung)))
