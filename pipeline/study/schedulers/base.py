"""What schedulers share: where a trial is judged (`Ladder`), and the interface that the search
drives (`Scheduler`). Pure.

Rungs are numbered 0 … num_rungs - 1 from the cheapest to a trial's last epoch. Values are "higher
is better".
"""

import bisect
import itertools
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from pipeline.study.dominance import Point, best

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Ladder:
    """The rungs of a search, for trials of any length: fractions of the trial's own epochs, because
    runs with different schedules compare only at the same share of them.

    shares: of a trial's epochs, rising to 1. going: at each rung but the top the share of the
    trials there that are expected to go on. begin: the share of all trials whose first rung is the
    lowest, the next one, …

    A short trial has fewer rungs: it begins further up, and the top rung is the same for all.
    """

    shares: tuple[Fraction, ...]
    going: tuple[Fraction, ...]
    begin: tuple[Fraction, ...] = (Fraction(1),)

    @classmethod
    def halving(cls, reduction: int, num_rungs: int) -> "Ladder":
        """R/eta^(k-1), …, R/eta, R; one in eta goes on from each. Raises ValueError unless
        reduction >= 2 and num_rungs >= 1.
        """
        if reduction < 2 or num_rungs < 1:
            raise ValueError(f"no rungs for reduction={reduction}, num_rungs={num_rungs}")
        shares = (Fraction(1, reduction**power) for power in reversed(range(num_rungs)))
        return cls(tuple(shares), (Fraction(1, reduction),) * (num_rungs - 1))

    @property
    def num_rungs(self) -> int:
        return len(self.shares)

    def stops(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which a trial of `epochs` is judged, rounded (half up).

        Strictly increasing and >= 1; entry `i` is rung `num_rungs - len(result) + i`. Raises
        ValueError unless epochs >= 1.
        """
        if epochs < 1:
            raise ValueError(f"no rungs for epochs={epochs}")
        rounded = (
            (2 * epochs * share.numerator + share.denominator) // (2 * share.denominator)
            for share in self.shares
        )
        return tuple(sorted({max(1, stop) for stop in rounded}))

    def first(self, epochs: int, trial: int = 0) -> int:
        """The first rung of trial number `trial`, of `epochs`."""
        return max(self.num_rungs - len(self.stops(epochs)), self.begins(trial))

    def begins(self, trial: int) -> int:
        """The first rung of trial number `trial` if it is long enough: multiples of the golden
        ratio fill [0, 1) evenly, however many there are, and each rung has its part of that.
        """
        place, ends = trial * GOLDEN % 1, itertools.accumulate(self.begin[:-1])
        return sum(place >= end for end in ends)

    def stop(self, epochs: int, rung: int) -> int:
        """The epoch at which a trial of `epochs` reaches `rung`."""
        stops = self.stops(epochs)
        return stops[rung - (self.num_rungs - len(stops))]

    def expected(self, epochs: int) -> float:
        """Epochs that a trial of `epochs` takes on average."""
        return float(self.cost(self.stops(epochs)))

    def cost(self, stops: Sequence[int | Fraction]) -> Fraction:
        """The same of a trial whose rungs, up to the top one, lie at `stops`."""
        steps = [stop - start for start, stop in itertools.pairwise((0, *stops))]
        total = Fraction(0)
        for rung, share in enumerate(self.begin):
            taken = self._taken(rung, self.num_rungs - len(stops))
            total += share * sum(map(operator.mul, steps, taken))
        return total

    def results(self) -> float:
        """At how many rungs a trial is judged on average."""
        total = Fraction(0)
        for rung, share in enumerate(self.begin):
            total += share * sum(itertools.islice(self._taken(rung, 0), rung, None))
        return float(total)

    def _taken(self, begin: int, lowest: int) -> Iterator[Fraction]:
        """Of the trials that are first judged at rung `begin`, the share that is trained up to each
        rung from `lowest` on.
        """
        share = Fraction(1)
        for rung in range(lowest, self.num_rungs):
            yield share
            if begin <= rung < self.num_rungs - 1:
                share *= self.going[rung]


class Scheduler(ABC):
    """Who goes on from a rung. A new one is a module in this package (and its test).

    With several objectives the best are those that none beats in all of them, then those that these
    alone beat, and so on: as many go on as by the value alone, which would leave no cheap network
    (R. Schmucker et al., "Multi-objective asynchronous successive halving", arXiv 2106.12639).

    The state is a function of the calls alone, so that replaying a ledger's `price`, `record`,
    `diverge` and `promoted` in their order rebuilds it. A call out of place (a value that is not
    finite, a trial recorded twice at a rung) is a bug of the caller and raises ValueError.
    """

    name: ClassVar[str]  # the value of `search.scheduler`; a class without one is a base
    uses: ClassVar[frozenset[str]] = frozenset({"reduction", "num_rungs"})  # of the search's fields

    def __init__(self, *, reduction: int, num_rungs: int) -> None:
        self.reduction, self.ladder = reduction, self.rungs(reduction, num_rungs)
        self.num_rungs = self.ladder.num_rungs
        self.costs: dict[int, tuple[float, ...]] = {}

    @classmethod
    def rungs(cls, reduction: int, num_rungs: int) -> Ladder:
        """Where trials are judged, by the search's fields of these names."""
        return Ladder.halving(reduction, num_rungs)

    @classmethod
    @abstractmethod
    def words(cls, reduction: int) -> str:
        """What it does, for the report: `Sampler TPE, ….`"""

    def price(self, trial: int, costs: Sequence[float]) -> None:
        """What `trial` costs, told before any value of it; lower is better."""
        self.costs[trial] = tuple(costs)

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
        self._enter(trial, rung, math.inf)

    def promoted(self, trial: int, rung: int) -> None:
        """Replay: `trial` has already been sent on from `rung`."""
        if not self._knows(trial, rung):
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

    @abstractmethod
    def waiting(self) -> tuple[tuple[int, ...], ...]:
        """The trials that may still go on, for each rung below the top, best first."""

    @abstractmethod
    def _find(self, *, closing: bool) -> tuple[int, int] | None:
        """(trial, rung where it waits) of the one to send on."""

    @abstractmethod
    def _enter(self, trial: int, rung: int, loss: float) -> None:
        """`loss` is less the value, or infinite where the trial diverged."""

    @abstractmethod
    def _knows(self, trial: int, rung: int) -> bool: ...

    @abstractmethod
    def _go(self, trial: int, rung: int) -> None: ...


class Standings(Scheduler):
    """With the standings of each rung, and who has gone on from it."""

    def __init__(self, *, reduction: int, num_rungs: int) -> None:
        super().__init__(reduction=reduction, num_rungs=num_rungs)
        num_rungs = self.num_rungs
        self._standings: list[list[tuple[float, int]]] = [[] for _ in range(num_rungs)]
        self._open: list[list[tuple[float, int]]] = [[] for _ in range(num_rungs)]  # who waits
        self._losses: list[dict[int, float]] = [{} for _ in range(num_rungs)]
        self._gone: list[set[int]] = [set() for _ in range(num_rungs)]
        self._passed: list[dict[int, None]] = [{} for _ in range(num_rungs)]
        self._diverged: set[int] = set()
        self._best: dict[tuple[int, int], list[int]] = {}  # (rung, how many) → who, since the last

    def waiting(self) -> tuple[tuple[int, ...], ...]:
        return tuple(
            tuple(trial for _, trial in self._standings[rung] if self._waits(trial, rung))
            for rung in range(self.num_rungs - 1)
        )

    def _find(self, *, closing: bool) -> tuple[int, int] | None:
        for rung in reversed(range(self.num_rungs - 1)):
            trial = self._choose(rung, closing=closing)
            if trial is not None:
                return trial, rung
        return None

    @abstractmethod
    def _choose(self, rung: int, *, closing: bool) -> int | None: ...

    def _waits(self, trial: int, rung: int) -> bool:
        return trial not in self._gone[rung] and trial not in self._diverged

    def _knows(self, trial: int, rung: int) -> bool:
        return trial in self._losses[rung]

    def _go(self, trial: int, rung: int) -> None:
        self._gone[rung].add(trial)
        self._passed[rung].pop(trial, None)
        place = self._losses[rung].get(trial, math.inf), trial
        at = bisect.bisect_left(self._open[rung], place)
        if self._open[rung][at : at + 1] == [place]:
            del self._open[rung][at]

    def _enter(self, trial: int, rung: int, loss: float) -> None:
        if not 0 <= rung < self.num_rungs or trial in self._losses[rung]:
            raise ValueError(
                f"trial {trial}: rung {rung} of {self.num_rungs} is recorded twice or does not "
                "exist"
            )
        if loss == math.inf:
            self._diverged.add(trial)
        for below in range(rung):
            self._go(trial, below)
        self._losses[rung][trial] = loss
        bisect.insort(self._standings[rung], (loss, trial))
        if self._waits(trial, rung):
            bisect.insort(self._open[rung], (loss, trial))
        self._best.clear()

    @property
    def _several(self) -> bool:
        """Whether there are objectives beside the value."""
        return bool(next(iter(self.costs.values()), ()))

    def _leaders(self, rung: int, count: int) -> Iterable[int]:
        """The best `count` at a rung; of several objectives front after front, of the last one that
        has room its ends and those in the sparsest places.
        """
        if not self._several:
            return (trial for _, trial in itertools.islice(self._standings[rung], count))
        if (rung, count) not in self._best:
            self._best[rung, count] = best(self._points(rung), count)
        return self._best[rung, count]

    def _first(self, rung: int, count: int) -> int | None:
        """The first of `_leaders` that waits. Of thousands most leaders have gone: who waits is
        known apart.
        """
        if self._several:
            leaders = self._leaders(rung, count)
            return next((trial for trial in leaders if self._waits(trial, rung)), None)
        place = next((one for one in self._open[rung] if self._waits(one[1], rung)), None)
        if place is None or bisect.bisect_left(self._standings[rung], place) >= count:
            return None
        return place[1]

    def _points(self, rung: int) -> dict[int, Point]:
        """What is known of those at a rung that did not diverge; higher is better."""
        return {
            trial: (-loss, *(-cost for cost in self.costs[trial]))
            for loss, trial in self._standings[rung]
            if loss < math.inf
        }


class AtOnce(Standings):
    """A trial is judged once, on reaching a rung: it goes on at once, or stops for good."""

    @abstractmethod
    def _passes(self, trial: int, rung: int) -> bool:
        """Whether the trial, which has just been entered at the rung, goes on."""

    def _enter(self, trial: int, rung: int, loss: float) -> None:
        super()._enter(trial, rung, loss)
        if self._passes(trial, rung):
            self._passed[rung][trial] = None

    def _waits(self, trial: int, rung: int) -> bool:
        return trial in self._passed[rung] and super()._waits(trial, rung)

    def _choose(self, rung: int, *, closing: bool) -> int | None:  # noqa: ARG002  the first comer went on: nothing to close
        return next((trial for trial in self._passed[rung] if self._waits(trial, rung)), None)
