"""Asynchronous successive halving (ASHA) by stopping, as in L. Li et al., MLSys 2020."""

import bisect
from typing import ClassVar

from pipeline.study.schedulers.base import AtOnce


class Stopping(AtOnce):
    """A trial goes on at once if it is among the best floor(n / reduction), or is the best, of the
    n recorded at its rung so far, itself included. So the first comer goes on. Ties go to the
    earlier trial.
    """

    name: ClassVar[str] = "stopping"

    @classmethod
    def words(cls, reduction: int) -> str:
        return f"successive halving by stopping, one in {reduction} goes on from a rung"

    def _passes(self, trial: int, rung: int) -> bool:
        standings = self._standings[rung]
        if self._several:
            return trial in self._leaders(rung, max(1, len(standings) // self.reduction))
        rank = bisect.bisect_left(standings, (self._losses[rung][trial], trial))
        return rank < max(1, len(standings) // self.reduction)
