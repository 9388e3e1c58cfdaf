"""Asynchronous successive halving (ASHA) by promotion.

L. Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (arXiv
1810.05934).
"""

import bisect
import itertools
import math
from typing import ClassVar

from pipeline.study.schedulers.base import Standings

MIN_COMPARED, MAX_COMPARED = 6, 30
"""A rung's order is judged by the latest of its leaders that have finished the next rung too; fewer
say nothing.
"""
MIN_AGREEMENT = 0.65
"""Of two leaders of a rung, the one ahead must be ahead at the next rung in this share of the pairs
(chance: 0.5).
"""


class Promotion(Standings):
    """A trial waits at a rung; of n there, those among the best floor(n / reduction) may go on,
    from the highest rung first.

    Nothing is thrown away early: a trial left waiting goes on later, once enough worse ones have
    come. Ties go to the earlier trial.

    One guard is added, after Hyper-Tune's learned trust in rungs (Y. Li et al., VLDB 2022): while a
    rung's order does not foretell the next one's among its own leaders (slow starters win), new
    arrivals go through it without waiting.
    """

    name: ClassVar[str] = "promotion"

    def __init__(self, *, reduction: int, num_rungs: int) -> None:
        super().__init__(reduction=reduction, num_rungs=num_rungs)
        # of each rung its leaders, the best floor(n / reduction), that have finished the next rung:
        # kept up to date, by number, since a search of thousands is judged anew with each arrival
        self._compared: list[list[int]] = [[] for _ in range(self.num_rungs)]
        self._verdicts: list[tuple[list[int], bool]] = [([], False)] * self.num_rungs

    @classmethod
    def words(cls, reduction: int) -> str:
        return f"successive halving by promotion, one in {reduction} goes on from a rung"

    def _enter(self, trial: int, rung: int, loss: float) -> None:
        super()._enter(trial, rung, loss)
        if rung > 0 and self._leads(trial, rung - 1):
            self._compare(trial, rung - 1)
        if rung < self.num_rungs - 1:
            self._lead(trial, rung)
            if self._misleads(rung):
                self._passed[rung][trial] = None

    def _choose(self, rung: int, *, closing: bool) -> int | None:
        quota = max(len(self._standings[rung]) // self.reduction, int(closing))
        passed = (trial for trial in self._passed[rung] if self._waits(trial, rung))
        found = next(passed, None)
        return self._first(rung, quota) if found is None else found

    def _rank(self, trial: int, rung: int) -> int:
        return bisect.bisect_left(self._standings[rung], (self._losses[rung][trial], trial))

    def _leads(self, trial: int, rung: int) -> bool:
        quota = len(self._standings[rung]) // self.reduction
        return trial in self._losses[rung] and self._rank(trial, rung) < quota

    def _lead(self, trial: int, rung: int) -> None:
        """Who is a leader of the rung since `trial` has come, and who no longer."""
        standings = self._standings[rung]
        quota = len(standings) // self.reduction
        grown = quota > (len(standings) - 1) // self.reduction
        if self._rank(trial, rung) < quota:
            self._compare(trial, rung)
            if not grown:
                self._drop(standings[quota][1], rung)
        elif grown:
            self._compare(standings[quota - 1][1], rung)

    def _compare(self, leader: int, rung: int) -> None:
        if self._losses[rung + 1].get(leader, math.inf) < math.inf:
            bisect.insort(self._compared[rung], leader)

    def _drop(self, trial: int, rung: int) -> None:
        compared = self._compared[rung]
        place = bisect.bisect_left(compared, trial)
        if compared[place : place + 1] == [trial]:
            del compared[place]

    def _misleads(self, rung: int) -> bool:
        """Whether the leaders' order at `rung` and at the next agree in too few pairs; pairs tied
        at either do not count.
        """
        latest = self._compared[rung][-MAX_COMPARED:]
        if len(latest) < MIN_COMPARED:
            return False
        if latest != self._verdicts[rung][0]:
            self._verdicts[rung] = latest, self._disagree(latest, rung)
        return self._verdicts[rung][1]

    def _disagree(self, trials: list[int], rung: int) -> bool:
        here, later = self._losses[rung], self._losses[rung + 1]
        values = [(here[trial], later[trial]) for trial in trials]
        products = [(a - c) * (b - d) for (a, b), (c, d) in itertools.combinations(values, 2)]
        agreeing, opposed = sum(p > 0 for p in products), sum(p < 0 for p in products)
        return agreeing < MIN_AGREEMENT * (agreeing + opposed)
