"""Which hyperparameters to try next: a model of each rung's own values. Beside `evaluators`, the
only import of optuna.

A value after a third of the training says little about the end and must never stand for it, so each
rung has its own Optuna study and a value is told to its rung's study alone; suggestions come from
the highest rung that knows enough, as in BOHB (S. Falkner et al., ICML 2018). The study is made
anew for each suggestion from what was recorded, with a sampler seeded by (seed, trial): a
suggestion depends on nothing else, so that an interrupted search goes on as if it had not been.

With several objectives a rung's study maximises the value and, of each cost, minus its logarithm:
half the parameters are as much of a gain to a large network as to a small one.
"""

import bisect
import copy
import itertools
import math
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.core.config import TrainConfig
from pipeline.counts import plural
from pipeline.engine.evolution import Evolution, Ranked
from pipeline.engine.past import NUM_DRAWS, Past
from pipeline.engine.points import MOST_DRAWS, Legal, all_of, spread
from pipeline.errors import UserError
from pipeline.frozen import Scalar
from pipeline.study.around import Around
from pipeline.study.dominance import best
from pipeline.study.drawn import at
from pipeline.study.ranges import Float, Int, Range, coded
from pipeline.study.samplers import LEARNING, Sampler
from pipeline.study.space import Space

MIN_VALUES = 8
"""A rung is asked for suggestions once it has this many finite values."""
NUM_BEST, NUM_LATEST = 25, 225
"""What TPE looks at: all that it can count as good (it takes a tenth, at most 25) and the latest
others, so that the cost of a suggestion does not grow with the search. Older ones would weigh least
(TPE's weights fall with age)."""
POPULATION = 16
"""Parents of a genetic algorithm: searches have tens of trials where the algorithm's authors had
thousands.
"""

History = list[FrozenTrial] | Evolution
MODEL_DRAWS = 10
"""A model is asked so often for a legal point, before they are drawn evenly."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


class RungSampler:
    """Proposes points of `space`: `tpe` by the tree-structured Parzen estimator (multivariate, one
    group per branch, running trials counted as poor so that workers do not crowd), `gp` by a
    Gaussian process, `nsga2` by crossing the best with each other, `cmaes` by CMA-ES over its
    numbers, `random` independently of all values, `qmc` evenly spread, `grid` all points.

    A suggestion depends on the set of recorded facts and not on their order, so `replay`, `tell`
    and `diverge` may come from a ledger in any order that names a trial before its values. A call
    out of place is a bug of the caller: ValueError.
    """

    def __init__(
        self,
        space: Space,
        *,
        kind: Sampler,
        seed: int,
        num_rungs: int,
        config: TrainConfig | None = None,
        begins: int = 1,
        num_costs: int = 0,
        past: Sequence[Mapping[str, Scalar]] = (),
    ) -> None:
        """`config`: what the space lies around; without it every point is legal. `begins`: the
        first trial that is asked for; the points of `qmc` and `grid` are counted from it.
        `num_costs`: what each value is told with. `past`: another study's points, best first.
        """
        self.space, self.kind, self.seed, self.num_rungs = space, kind, seed, num_rungs
        self.around, self.begins, self.num_costs = Around(space, config), begins, num_costs
        self._fixed = Legal(FIXED[kind](self.around, seed), self.around) if kind in FIXED else None
        self.past = Past(space, past) if past else None
        self._points: dict[int, FrozenTrial | None] = {}
        self._knobs: dict[int, Mapping[str, Scalar]] = {}
        self._seen: set[frozenset[tuple[str, Scalar]]] = set()
        self._running: list[dict[int, FrozenTrial]] = [{} for _ in range(num_rungs)]
        self._told: list[dict[int, FrozenTrial]] = [{} for _ in range(num_rungs)]
        self._ranked: list[list[tuple[float, int]]] = [
            [] for _ in range(num_rungs)
        ]  # (-value, trial), best first
        self._known: list[list[int]] = [
            [] for _ in range(num_rungs)
        ]  # all of `_running` and `_told`, by number

    def ask(self, trial: int) -> tuple[dict[str, Scalar], int]:
        """(knobs for `TrainConfig.override`, the rung whose values proposed them) of the new trial
        number `trial`.

        While no rung has MIN_VALUES values, the point is random and counts as proposed by rung 0.
        What the configuration refuses is never proposed.
        """
        known = [r for r, ranked in enumerate(self._ranked) if len(ranked) >= MIN_VALUES]
        informed = known if self.kind in LEARNING else []
        asked = max(informed, default=0)
        knobs = self._fixed.get(trial - self.begins + 1) if self._fixed else None
        if knobs is None:
            knobs = self._advised(trial, self._history(asked) if informed else None)
        self.replay(trial, knobs, asked)
        return knobs, asked

    def _advised(self, trial: int, history: History | None) -> dict[str, Scalar]:
        """A point that is drawn; while the past is heard, that of several which it ranks first."""
        heard = self.past is not None and self.past.heard(*self._compared())
        points = [self._drawn(trial, history, n) for n in range(NUM_DRAWS if heard else 1)]
        return points[int(self.past.rank(points).argmax())] if self.past and heard else points[0]

    def _compared(self) -> tuple[list[Mapping[str, Scalar]], list[float]]:
        """The own points that a past is tried on, each once, and their values: of the rung that
        most have reached.
        """
        told = max(self._told, key=len)
        first = {repr(sorted(self._knobs[n].items())): n for n in sorted(told, reverse=True)}
        numbers = sorted(first.values())
        values = [(told[n].values or [-math.inf])[0] for n in numbers]
        return [self._knobs[n] for n in numbers], values

    def _drawn(self, trial: int, history: History | None, number: int = 0) -> dict[str, Scalar]:
        """The first legal point of a row of draws, each of a seed of its own: by the model of
        `history`, where there is one, and after MODEL_DRAWS of them evenly. A child that is what a
        trial was already is no new one. `number`: of the row.
        """
        for draw in range(MOST_DRAWS):
            own = (draw, number) if number else (draw,) if draw else ()
            chance = (self.seed, trial, *own)
            state = np.random.SeedSequence(chance)
            if draw and (history is None or draw >= MODEL_DRAWS):
                unit = np.random.default_rng(state).random
                knobs = at(self.around, lambda _, unit=unit: unit())  # type: ignore[misc]
            else:
                knobs = self._asked(int(state.generate_state(1)[0]), history)
                if self.kind in BREEDING and history and frozenset(knobs.items()) in self._seen:
                    continue
            if not self.around.refusal(knobs):
                return knobs
        raise UserError(
            f"search: trial {trial}: of {plural(MOST_DRAWS, 'point')} of the space none is legal; "
            f"the last one: {self.around.refusal(knobs)}"
        )

    def _asked(self, seed: int, history: History | None) -> dict[str, Scalar]:
        """What Optuna or CMA-ES proposes; without a history at random."""
        if isinstance(history, Evolution):
            return history.draw(seed)
        sampler = RandomSampler(seed) if history is None else MODELS[self.kind](seed)
        study = optuna.create_study(
            directions=["maximize"] * (1 + self.num_costs),
            sampler=sampler,
            storage=_Known(history or []),
        )
        return self.around.suggest(study.ask())

    def replay(self, trial: int, knobs: Mapping[str, Scalar], asked: int | None) -> None:
        """Know `trial` from the ledger. `asked`: the rung that proposed it, None if it was not
        proposed (the baseline).

        A point outside the space is kept out of every study, with its values.
        """
        if trial in self._points:
            raise ValueError(f"trial {trial} is known already")
        point = _point(self.space, knobs, trial)
        self._points[trial], self._knobs[trial] = point, knobs
        self._seen.add(frozenset(knobs.items()))
        if point is not None and asked is not None:
            self._running[asked][trial] = point
            bisect.insort(self._known[asked], trial)

    def tell(self, trial: int, rung: int, value: float, costs: Sequence[float] = ()) -> None:
        """`trial` reached `value` (higher is better) at `rung` at these costs (lower is better).
        NaN and infinity are refused: see `diverge`.
        """
        if not math.isfinite(value):
            raise ValueError(
                f"trial {trial}, rung {rung}: a value must be finite, got {value}; use diverge()"
            )
        if len(costs) != self.num_costs:
            raise ValueError(f"trial {trial}: expected {self.num_costs} costs, got {len(costs)}")
        values = (value, *(-math.log1p(cost) for cost in costs))
        if self._tell(trial, rung, TrialState.COMPLETE, values):
            bisect.insort(self._ranked[rung], (-value, trial))

    def diverge(self, trial: int, rung: int) -> None:
        """`trial` diverged on its way to `rung`: there it ranks below every value, whatever values
        come.
        """
        self._tell(trial, rung, TrialState.PRUNED, None)

    def _tell(
        self, trial: int, rung: int, state: TrialState, values: Sequence[float] | None
    ) -> bool:
        if trial not in self._points or trial in self._told[rung]:
            raise ValueError(f"trial {trial} is unknown, or told twice at rung {rung}")
        point = self._points[trial]
        if point is None:
            return False
        if trial not in self._running[rung]:
            bisect.insort(self._known[rung], trial)
        self._told[rung][trial] = told = create_trial(
            state=state, values=values, params=point.params, distributions=point.distributions
        )
        told.number = point.number
        return True

    def _history(self, rung: int) -> History:
        """The study of `rung`, by trial number: what was told there, and what it proposed and still
        waits for. Of a genetic algorithm the parents alone; CMA-ES has learned from all rungs.
        """
        if self.kind == "cmaes":
            return Evolution(self.around, self._ranking(), self.seed)
        if self.kind == "nsga2":
            return [self._told[rung][trial] for trial in sorted(self._best(rung, POPULATION))]
        top = set(self._best(rung, NUM_BEST))
        others = (trial for trial in reversed(self._known[rung]) if trial not in top)
        latest = itertools.islice(others, NUM_LATEST)
        return [
            self._told[rung].get(trial) or self._running[rung][trial]
            for trial in sorted({*top, *latest})
        ]

    def _ranking(self) -> list[Ranked]:
        """All that was told, by trial number: who came farther is ahead, then the higher value
        there; what diverged is last.
        """
        found: dict[int, Ranked] = {}
        for rung, told in enumerate(self._told):
            for number, trial in told.items():
                found[number] = (trial.params, (1, rung, *trial.values[:1]) if trial.values else ())
        return [found[number] for number in sorted(found)]

    def _best(self, rung: int, count: int) -> list[int]:
        """The best that were told at `rung`, as many or all."""
        ranked = self._ranked[rung]
        if not self.num_costs or len(ranked) <= count:
            return [trial for _, trial in ranked[:count]]
        return best({trial: self._told[rung][trial].values for _, trial in ranked}, count)


def _tpe(seed: int) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(
            n_startup_trials=0, multivariate=True, group=True, constant_liar=True, seed=seed
        )


def _gp(seed: int) -> GPSampler:
    """A Gaussian process with expected improvement; what has no place in all points, as the knobs
    of branches, is drawn at random.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return GPSampler(seed=seed, independent_sampler=RandomSampler(seed), n_startup_trials=0)


class _Genetic(NSGAIISampler):
    """NSGA-II in its steady state: the parents of each child are the best that there are by then,
    all that it is shown; so no generation has to wait for its last trial (J. Durillo et al., "On
    the effect of the steady-state selection scheme in multi-objective genetic algorithms", EMO
    2009). The knobs of branches are drawn at random.
    """

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:  # noqa: ARG002
        return 1

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:  # noqa: ARG002
        return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _nsga2(seed: int) -> NSGAIISampler:
    return _Genetic(population_size=POPULATION, seed=seed)


MODELS: dict[str, Callable[[int], BaseSampler]] = {"tpe": _tpe, "gp": _gp, "nsga2": _nsga2}
"""Samplers that learn from values; by a seed of the suggestion's own."""
BREEDING = ("nsga2", "cmaes")  # whose children may be what a trial was already
FIXED: dict[str, Callable[[Around, int], Iterator[dict[str, Scalar]]]] = {
    "qmc": spread,
    "grid": all_of,
}
"""Those that do not: all their points, by the space and the search's seed. After the last one what
is left is drawn at random."""


class _Known(InMemoryStorage):
    """A study that begins with `trials`: to add them would copy each one deeply, most of what a
    suggestion costs.
    """

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._first = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        first = [trial for trial in self._first if states is None or trial.state in states]
        return [
            *(copy.deepcopy(first) if deepcopy else first),
            *super().get_all_trials(study_id, deepcopy, states),
        ]


def _point(space: Space, knobs: Mapping[str, Scalar], trial: int) -> FrozenTrial | None:
    """The point as Optuna's running trial; None where it lies outside the space."""
    try:
        active = space.active(knobs)
    except KeyError:
        return None
    if not all(knob.contains(value) for knob, value in active.values()):
        return None
    point = create_trial(
        state=TrialState.RUNNING,
        params={name: coded(knob, value) for name, (knob, value) in active.items()},
        distributions={name: _distribution(knob) for name, (knob, _) in active.items()},
    )
    point.number = trial + 1  # 0 is the one that is being proposed
    return point


def _distribution(knob: Range) -> BaseDistribution:
    if isinstance(knob, Float):
        return FloatDistribution(knob.low, knob.high, log=knob.log, step=knob.step)
    if isinstance(knob, Int):
        return IntDistribution(knob.low, knob.high, log=knob.log, step=knob.step)
    if knob.ordered:
        return IntDistribution(0, len(knob.options) - 1)
    return CategoricalDistribution(knob.options)
