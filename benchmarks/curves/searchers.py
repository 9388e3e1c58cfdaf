"""The searches that are compared: the product's sampler and scheduler, and what was tried beside
them.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.curves.clock import Piece, Searcher
from benchmarks.curves.peers import PEERS
from benchmarks.curves.portfolio import LENGTH, others, portfolio
from benchmarks.curves.sets import CurveSet
from pipeline.engine.sampler import RungSampler
from pipeline.frozen import Scalar
from pipeline.study.schedulers import SCHEDULERS, Scheduler
from pipeline.study.schedulers.promotion import Promotion

REDUCTION, NUM_RUNGS = 3, 3
CHANCE = 0.15  # what a set of ten classes and some hundred pictures cannot tell from guessing


class Rungs:
    """The product's search: promotions first, else a new trial."""

    def __init__(
        self,
        curves: CurveSet,
        seed: int,
        *,
        kind: str = "tpe",
        num_rungs: int = NUM_RUNGS,
        scheduler: type[Scheduler] = Promotion,
        first: Sequence[Mapping[str, Scalar]] = (),
        past: Sequence[Mapping[str, Scalar]] = (),
    ) -> None:
        self.first, self.points = first, list[Mapping[str, Scalar]]()
        self.scheduler = scheduler(reduction=REDUCTION, num_rungs=num_rungs)
        self.epochs = self.scheduler.ladder.stops(curves.num_epochs)
        self.sampler = RungSampler(
            curves.space,
            kind=kind,  # type: ignore[arg-type]
            seed=seed,
            num_rungs=len(self.epochs),
            past=past,
        )
        self.num_trials = 0
        self.values: dict[int, tuple[int, float]] = {}

    def ask(self) -> Piece:
        chosen = self.scheduler.next()
        if chosen is not None:
            return Piece(chosen[0], self.epochs[chosen[1]])
        self.num_trials += 1
        if self.num_trials <= len(self.first):
            knobs = dict(self.first[self.num_trials - 1])
            self.sampler.replay(self.num_trials, knobs, None)
        else:
            knobs, _ = self.sampler.ask(self.num_trials)
        self.points.append(knobs)
        if isinstance(self.scheduler, Grouped):
            self.scheduler.groups[self.num_trials] = str(next(iter(knobs.values())))
        return Piece(
            self.num_trials, self.epochs[self.scheduler.ladder.begins(self.num_trials)], knobs
        )

    def tell(self, trial: int, epoch: int, value: float | None) -> None:
        rung = next(i for i, stop in enumerate(self.epochs) if stop >= epoch)
        if value is None:
            self.sampler.diverge(trial, rung)
            self.scheduler.diverge(trial, rung)
            self.values.pop(trial, None)
            return
        self.sampler.tell(trial, rung, value)
        self.scheduler.record(trial, rung, value)
        self.values[trial] = (rung, value)

    def best(self) -> int | None:
        return max(self.values, key=lambda trial: self.values[trial], default=None)


class Grouped(Promotion):
    """Below the last decision each group of trials, by the first knob of the space (the network, or
    its activation), has a quota of its own; of groups the one that has sent on the smallest share.
    """

    def __init__(self, *, reduction: int, num_rungs: int) -> None:
        super().__init__(reduction=reduction, num_rungs=num_rungs)
        self.groups: dict[int, str] = {}

    def _choose(self, rung: int, *, closing: bool) -> int | None:
        if rung >= self.num_rungs - 2:
            return super()._choose(rung, closing=closing)
        if passed := [trial for trial in self._passed[rung] if self._waits(trial, rung)]:
            return passed[0]
        members: dict[str, list[int]] = {}
        for _, trial in self._standings[rung]:
            members.setdefault(self.groups[trial], []).append(trial)
        able = []
        for own in members.values():
            best = own[: max(len(own) // self.reduction, int(closing))]
            waiting = [trial for trial in best if self._waits(trial, rung)]
            gone = sum(trial in self._gone[rung] for trial in own) / len(own)
            able += [(gone, waiting[0])] if waiting else []
        return min(able)[1] if able else None


class PastChance(Promotion):
    """While fewer than one in ten values of a rung are above chance, all go through it."""

    def _misleads(self, rung: int) -> bool:
        standings = self._standings[rung]
        above = bisect.bisect_left(standings, (-CHANCE, -1))
        return above <= len(standings) / 10 or super()._misleads(rung)


def _begun(curves: CurveSet, seed: int, *, length: int, kind: str = "tpe") -> Rungs:
    """Ours, beginning with what is good on the other sets."""
    return Rungs(curves, seed, kind=kind, first=portfolio(others(curves.name), length))


METHODS: dict[str, Callable[[CurveSet, int], Searcher]] = {
    "ours": Rungs,
    "random": lambda curves, seed: Rungs(curves, seed, kind="random", num_rungs=1),
    "random, promoted": lambda curves, seed: Rungs(curves, seed, kind="random"),
    "tpe, full runs": lambda curves, seed: Rungs(curves, seed, num_rungs=1),
    "ours, four rungs": lambda curves, seed: Rungs(curves, seed, num_rungs=4),
    "ours, two rungs": lambda curves, seed: Rungs(curves, seed, num_rungs=2),
    "ours, grouped": lambda curves, seed: Rungs(curves, seed, scheduler=Grouped),
    "ours, past chance": lambda curves, seed: Rungs(curves, seed, scheduler=PastChance),
    "evenly spread, promoted": lambda curves, seed: Rungs(curves, seed, kind="qmc"),
    "ours, gp": partial(Rungs, kind="gp"),
    "ours, gp, portfolio of 4": partial(_begun, length=LENGTH, kind="gp"),
    "ours, cmaes": partial(Rungs, kind="cmaes"),
    "ours, cmaes, portfolio of 4": partial(_begun, length=LENGTH, kind="cmaes"),
    **{
        f"ours, {name}": partial(Rungs, scheduler=kind)
        for name, kind in SCHEDULERS.items()
        if kind is not Promotion
    },
    **{f"ours, portfolio of {length}": partial(_begun, length=length) for length in (3, LENGTH, 6)},
    **PEERS,
}
