"""Asynchronous Hyperband: successive halving in brackets, which begin at different rungs.

L. Li et al., "Hyperband", JMLR 18 (2018), and "A System for Massively Parallel Hyperparameter
Tuning", MLSys 2020, where brackets are run beside each other.
"""

from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

from pipeline.study.schedulers.base import Ladder, Scheduler
from pipeline.study.schedulers.promotion import Promotion


class Hyperband(Scheduler):
    """A trial belongs to a bracket by its number; one of bracket b is first judged at rung b, and
    goes on by promotion among its bracket's own. Brackets have the same part of the budget, so a
    dear one (the last trains all in full) has few trials.

    So it stakes only a part of the budget on low rungs telling who is good. From the highest rung
    first; at the same rung the bracket that begins lowest.
    """

    name: ClassVar[str] = "hyperband"

    def __init__(self, *, reduction: int, num_rungs: int) -> None:
        super().__init__(reduction=reduction, num_rungs=num_rungs)
        self._brackets = [
            Bracket(begin, reduction=reduction, num_rungs=num_rungs) for begin in range(num_rungs)
        ]
        for bracket in self._brackets:
            bracket.costs = self.costs

    @classmethod
    def rungs(cls, reduction: int, num_rungs: int) -> Ladder:
        ladder = Ladder.halving(reduction, num_rungs)
        alone = ((Fraction(0),) * begin + (Fraction(1),) for begin in range(num_rungs))
        costs = [replace(ladder, begin=begin).cost(ladder.shares) for begin in alone]
        whole = sum(1 / cost for cost in costs)
        return replace(ladder, begin=tuple(1 / cost / whole for cost in costs))

    @classmethod
    def words(cls, reduction: int) -> str:
        return f"Hyperband's brackets, one in {reduction} goes on from a rung of its bracket"

    def waiting(self) -> tuple[tuple[int, ...], ...]:
        """Bracket by bracket, in each the best first."""
        found = zip(*(bracket.waiting() for bracket in self._brackets), strict=True)
        return tuple(tuple(trial for own in rung for trial in own) for rung in found)

    def _of(self, trial: int) -> "Bracket":
        return self._brackets[self.ladder.begins(trial)]

    def _find(self, *, closing: bool) -> tuple[int, int] | None:
        found = [bracket._find(closing=closing) for bracket in self._brackets]
        return max(filter(None, found), key=lambda one: one[1], default=None)

    def _enter(self, trial: int, rung: int, loss: float) -> None:
        self._of(trial)._enter(trial, rung, loss)

    def _knows(self, trial: int, rung: int) -> bool:
        return self._of(trial)._knows(trial, rung)

    def _go(self, trial: int, rung: int) -> None:
        self._of(trial)._go(trial, rung)


class Bracket(Promotion):
    """The trials that are first judged at rung `begin`. One that waits below it was trained so far
    for another search, and goes on at once.
    """

    def __init__(self, begin: int, *, reduction: int, num_rungs: int) -> None:
        super().__init__(reduction=reduction, num_rungs=num_rungs)
        self.begin = begin

    def _misleads(self, rung: int) -> bool:
        return rung < self.begin or super()._misleads(rung)
