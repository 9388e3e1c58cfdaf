"""What others' libraries make of the same curves, wired as their tutorials do."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, TPESampler

from benchmarks.curves.clock import Piece
from benchmarks.curves.sets import CurveSet
from pipeline.study.around import Around


class Optuna:
    """An Optuna study whose trials report after each epoch and end where their pruner says so.

    What has been sent on is the best complete trial, before there is one the best value seen.
    """

    def __init__(
        self,
        curves: CurveSet,
        seed: int,
        *,
        sampler: Callable[[int], BaseSampler],
        pruner: Callable[[CurveSet], BasePruner] = lambda _: NopPruner(),
    ) -> None:
        self.last = curves.num_epochs
        self.around = Around(curves.space, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.study = optuna.create_study(
                direction="maximize", sampler=sampler(seed), pruner=pruner(curves)
            )
        self.trials: dict[int, Any] = {}
        self.going: list[Piece] = []
        self.values: dict[int, tuple[bool, float]] = {}

    def ask(self) -> Piece:
        if self.going:
            return self.going.pop(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self.study.ask()
            knobs = self.around.suggest(trial)
        self.trials[trial.number] = trial
        return Piece(trial.number, 1, knobs)

    def tell(self, trial: int, epoch: int, value: float | None) -> None:
        asked, state = self.trials[trial], optuna.trial.TrialState
        if value is None:
            self.study.tell(asked, state=state.FAIL)
            self.values.pop(trial, None)
            return
        self.values[trial] = (epoch == self.last, value)
        asked.report(value, epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if epoch == self.last:
                self.study.tell(asked, value)
            elif asked.should_prune():
                self.study.tell(asked, state=state.PRUNED)
            else:
                self.going.append(Piece(trial, epoch + 1))

    def best(self) -> int | None:
        return max(self.values, key=lambda trial: self.values[trial], default=None)


def _hyperband(curves: CurveSet) -> BasePruner:
    return HyperbandPruner(min_resource=1, max_resource=curves.num_epochs, reduction_factor=3)


def _median(_: CurveSet) -> BasePruner:
    return MedianPruner(n_startup_trials=5, n_warmup_steps=3)


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed)


def _cmaes(seed: int) -> BaseSampler:
    return CmaEsSampler(seed=seed)


PEERS: dict[str, Callable[[CurveSet, int], Optuna]] = {
    "optuna tpe, hyperband": lambda c, s: Optuna(c, s, sampler=_tpe, pruner=_hyperband),
    "optuna tpe, median": lambda c, s: Optuna(c, s, sampler=_tpe, pruner=_median),
    "optuna gp": lambda c, s: Optuna(c, s, sampler=_gp),
    "optuna gp, median": lambda c, s: Optuna(c, s, sampler=_gp, pruner=_median),
    "optuna cmaes": lambda c, s: Optuna(c, s, sampler=_cmaes),
    "optuna cmaes, hyperband": lambda c, s: Optuna(c, s, sampler=_cmaes, pruner=_hyperband),
}
