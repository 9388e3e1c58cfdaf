"""Which trial goes on from a rung: asynchronous successive halving (ASHA), by promotion or by
stopping. Pure.

L. Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (arXiv
1810.05934). Rungs are numbered 0 … num_rungs - 1 from the cheapest to a trial's last epoch. Values
are "higher is better".
"""

import bisect
import heapq
import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

MIN_COMPARED, MAX_COMPARED = 6, 30
"""A rung's order is judged by the latest of its leaders that have finished the next rung too; fewer
say nothing.
"""
MIN_AGREEMENT = 0.65
"""Of two leaders of a rung, the one ahead must be ahead at the next rung in this share of the pairs
(chance: 0.5).
"""


def rung_epochs(epochs: int, reduction: int, num_rungs: int) -> tuple[int, ...]:
    """The epochs after which a trial of `epochs` is judged: R/eta^(k-1), …, R/eta, R, rounded (half
    up).

    Fractions of the trial's own schedule, because runs with different schedules compare only at the
    same share of them. Strictly increasing and >= 1; a short trial has fewer than `num_rungs`. Its
    last entry is always the top rung, so entry `i` is rung `num_rungs - len(result) + i`. Raises
    ValueError unless epochs >= 1, reduction >= 2 and num_rungs >= 1.
    """
    if epochs < 1 or reduction < 2 or num_rungs < 1:
        raise ValueError(
            f"no rungs for epochs={epochs}, reduction={reduction}, num_rungs={num_rungs}"
        )
    shares = [reduction**power for power in range(num_rungs)]
    return tuple(sorted({max(1, (2 * epochs + share) // (2 * share)) for share in shares}))


@dataclass(frozen=True)
class Ladder:
    """The rungs of a search, for trials of any length: short ones begin further up, and the top
    rung is the same for all.
    """

    reduction: int
    num_rungs: int

    def first(self, epochs: int) -> int:
        """The first rung of a trial of `epochs`."""
        return self.num_rungs - len(rung_epochs(epochs, self.reduction, self.num_rungs))

    def stop(self, epochs: int, rung: int) -> int:
        """The epoch at which a trial of `epochs` reaches `rung`."""
        return rung_epochs(epochs, self.reduction, self.num_rungs)[rung - self.first(epochs)]

    def expected(self, epochs: int) -> float:
        """Epochs that a trial takes on average, where one in `reduction` goes on from every
        rung.
        """
        stops = rung_epochs(epochs, self.reduction, self.num_rungs)
        steps = [stop - start for start, stop in zip((0, *stops), stops, strict=False)]
        return sum(step / self.reduction**rung for rung, step in enumerate(steps))


class Scheduler(ABC):
    """What both ways share: the standings of each rung, and who has gone on from it.

    The state is a function of the calls alone, so that replaying a ledger's `record`, `diverge` and
    `promoted` in their order rebuilds it. A call out of place (a value that is not finite, a trial
    recorded twice at a rung) is a bug of the caller and raises ValueError.
    """

    def __init__(self, *, reduction: int, num_rungs: int) -> None:
        self.reduction, self.num_rungs = reduction, num_rungs
        self._standings: list[list[tuple[float, int]]] = [[] for _ in range(num_rungs)]
        self._losses: list[dict[int, float]] = [{} for _ in range(num_rungs)]
        self._gone: list[set[int]] = [set() for _ in range(num_rungs)]
        self._passed: list[dict[int, None]] = [{} for _ in range(num_rungs)]
        self._diverged: set[int] = set()

    def record(self, trial: int, rung: int, value: float) -> None:
        """`trial` has finished `rung` with `value`; from the rungs below it has evidently gone
        on.
        """
        if not math.isfinite(value):
            raise ValueError(
                f"trial {trial}, rung {rung}: a value must be finite, got {value}; use diverge()"
            )
        self._enter(trial, rung, -value)

    def diverge(self, trial: int, rung: int) -> None:
        """`trial` diverged on its way to `rung`: it counts there as the worst and never goes on."""
        self._diverged.add(trial)
        self._enter(trial, rung, math.inf)

    def promoted(self, trial: int, rung: int) -> None:
        """Replay: `trial` has already been sent on from `rung`."""
        if trial not in self._losses[rung]:
            raise ValueError(f"trial {trial} was sent on from rung {rung}, where it has no value")
        self._go(trial, rung)

    def next(self, *, closing: bool = False) -> tuple[int, int] | None:
        """(trial, next rung) of the waiting trial to send on now, marked as gone; None: better
        start a new one.

        `closing`: no new trial will start, and a search too small to fill a rung must still finish
        one: at least the best of every rung goes on.
        """
        found = self._find(closing=closing)
        if found is None:
            return None
        trial, rung = found
        self._go(trial, rung)
        return trial, rung + 1

    def has_next(self, *, closing: bool = False) -> bool:
        """Whether `next` would send a trial on; changes nothing."""
        return self._find(closing=closing) is not None

    def waiting(self) -> tuple[tuple[int, ...], ...]:
        """The trials that may still go on, for each rung below the top, best first."""
        return tuple(
            tuple(trial for _, trial in self._standings[rung] if self._waits(trial, rung))
            for rung in range(self.num_rungs - 1)
        )

    def _find(self, *, closing: bool) -> tuple[int, int] | None:
        """(trial, rung where it waits) of the one to send on."""
        for rung in reversed(range(self.num_rungs - 1)):
            trial = self._choose(rung, closing=closing)
            if trial is not None:
                return trial, rung
        return None

    @abstractmethod
    def _choose(self, rung: int, *, closing: bool) -> int | None: ...

    def _waits(self, trial: int, rung: int) -> bool:
        return trial not in self._gone[rung] and trial not in self._diverged

    def _go(self, trial: int, rung: int) -> None:
        self._gone[rung].add(trial)
        self._passed[rung].pop(trial, None)

    def _enter(self, trial: int, rung: int, loss: float) -> None:
        if not 0 <= rung < self.num_rungs or trial in self._losses[rung]:
            raise ValueError(
                f"trial {trial}: rung {rung} of {self.num_rungs} is recorded twice or does not "
                "exist"
            )
        for below in range(rung):
            self._go(trial, below)
        self._losses[rung][trial] = loss
        bisect.insort(self._standings[rung], (loss, trial))


class Promotion(Scheduler):
    """A trial waits at a rung; of n there, those among the best floor(n / reduction) may go on,
    from the highest rung first.

    Nothing is thrown away early: a trial left waiting goes on later, once enough worse ones have
    come. Ties go to the earlier trial.

    One guard is added, after Hyper-Tune's learned trust in rungs (Y. Li et al., VLDB 2022): while a
    rung's order does not foretell the next one's among its own leaders (slow starters win), new
    arrivals go through it without waiting.
    """

    def _enter(self, trial: int, rung: int, loss: float) -> None:
        super()._enter(trial, rung, loss)
        if rung < self.num_rungs - 1 and self._misleads(rung):
            self._passed[rung][trial] = None

    def _choose(self, rung: int, *, closing: bool) -> int | None:
        quota = max(len(self._standings[rung]) // self.reduction, int(closing))
        best = (trial for _, trial in self._standings[rung][:quota])
        return next(
            (
                trial
                for trial in itertools.chain(self._passed[rung], best)
                if self._waits(trial, rung)
            ),
            None,
        )

    def _misleads(self, rung: int) -> bool:
        """Whether the leaders' order at `rung` and at the next agree in too few pairs; pairs tied
        at either do not count.
        """
        here, later = self._losses[rung], self._losses[rung + 1]
        leaders = self._standings[rung][: len(here) // self.reduction]
        compared = heapq.nlargest(
            MAX_COMPARED, (trial for _, trial in leaders if later.get(trial, math.inf) < math.inf)
        )
        if len(compared) < MIN_COMPARED:
            return False
        products = [
            (here[a] - here[b]) * (later[a] - later[b])
            for a, b in itertools.combinations(compared, 2)
        ]
        agreeing, opposed = sum(p > 0 for p in products), sum(p < 0 for p in products)
        return agreeing < MIN_AGREEMENT * (agreeing + opposed)


class Stopping(Scheduler):
    """A trial is judged once, on reaching a rung: it goes on at once if it is among the best
    floor(n / reduction), or is the best, of the n recorded there so far, itself included; otherwise
    it stops for good. So the first comer goes on. Ties go to the earlier trial.
    """

    def _enter(self, trial: int, rung: int, loss: float) -> None:
        super()._enter(trial, rung, loss)
        rank = bisect.bisect_left(self._standings[rung], (loss, trial))
        if rank < max(1, len(self._standings[rung]) // self.reduction):
            self._passed[rung][trial] = None

    def _waits(self, trial: int, rung: int) -> bool:
        return trial in self._passed[rung] and super()._waits(trial, rung)

    def _choose(self, rung: int, *, closing: bool) -> int | None:  # noqa: ARG002  the first comer went on: nothing to close
        return next((trial for trial in self._passed[rung] if self._waits(trial, rung)), None)
