"""The searches that are compared: the product's own, and others."""

from collections.abc import Callable

from benchmarks.curves.clock import Piece, Searcher
from benchmarks.curves.sets import CurveSet
from pipeline.engine.sampler import RungSampler
from pipeline.engine.scheduler import Promotion, Scheduler, rung_epochs

REDUCTION, NUM_RUNGS = 3, 4


class Rungs:
    """The product's search: promotions first, else a new trial."""

    def __init__(
        self, curves: CurveSet, seed: int, *, kind: str = "tpe", num_rungs: int = NUM_RUNGS
    ) -> None:
        self.epochs = rung_epochs(curves.num_epochs, REDUCTION, num_rungs)
        self.sampler = RungSampler(
            curves.space,
            kind=kind,  # type: ignore[arg-type]
            seed=seed,
            num_rungs=len(self.epochs),
        )
        self.scheduler: Scheduler = Promotion(reduction=REDUCTION, num_rungs=len(self.epochs))
        self.num_trials = 0
        self.values: dict[int, tuple[int, float]] = {}

    def ask(self) -> Piece:
        chosen = self.scheduler.next()
        if chosen is not None:
            return Piece(chosen[0], self.epochs[chosen[1]])
        self.num_trials += 1
        knobs, _ = self.sampler.ask(self.num_trials)
        return Piece(self.num_trials, self.epochs[0], knobs)

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


METHODS: dict[str, Callable[[CurveSet, int], Searcher]] = {
    "ours": Rungs,
    "random": lambda curves, seed: Rungs(curves, seed, kind="random", num_rungs=1),
    "random, promoted": lambda curves, seed: Rungs(curves, seed, kind="random"),
    "ours, three rungs": lambda curves, seed: Rungs(curves, seed, num_rungs=3),
    "tpe, full runs": lambda curves, seed: Rungs(curves, seed, num_rungs=1),
}
