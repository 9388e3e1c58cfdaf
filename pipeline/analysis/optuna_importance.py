"""How much each knob matters to the values of given trials, by Optuna's two evaluators.

Beside `sampler`, the only import of optuna.
"""

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from pipeline.frozen import Scalar
from pipeline.study.ranges import Choice, Int, Range

Point = Mapping[str, tuple[Range, Scalar]]
"""Qualified name → (range, value), as `Space.active` gives it."""
MAX_DEPTH = 6
"""Of a tree of fANOVA: the cost of a forest then hardly grows with the trials, and on test
functions nothing was lost.
"""

BEGUN = datetime(2000, 1, 1)  # a complete trial has a time, and nothing here asks for it

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Clone:
    """A study of complete trials made for this question alone; higher values are better.

    Log ranges are handed over as log10: left to itself, Optuna 5's fANOVA splits them on the linear
    scale, where a knob that decides everything over its decades looks like half of it.
    """

    def __init__(self, points: Sequence[Point], values: Sequence[float]) -> None:
        self._study = optuna.create_study(direction="maximize")
        self._study.add_trials(
            [_complete(point, value) for point, value in zip(points, values, strict=True)]
        )
        self.shared = sorted(set.intersection(*(set(point) for point in points)))
        self.names = sorted(set().union(*points))

    def ped_anova(self, quantile: float) -> dict[str, float]:
        """Name → how far the best `quantile` of the trials differ from all of them in this knob,
        conditional knobs included.

        Pearson divergence of two densities, weighted by how often the knob is in force. S.
        Watanabe, A. Bansal, F. Hutter, "PED-ANOVA", IJCAI 2023 (arXiv 2304.10255); conditional
        version: arXiv 2601.20800. All zero where nothing differs.
        """
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # a branch of one trial: such a knob gets its zero, and the count is reported
            found = PedAnovaImportanceEvaluator(target_quantile=quantile).evaluate(
                self._study, params=self.names
            )
        return {name: float(found[name]) for name in self.names}

    def fanova(self, *, num_trees: int, seed: int) -> dict[str, float]:
        """Name → share of the forest's variance that this knob alone explains; only knobs that
        every trial has.

        F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
        Importance", ICML 2014. Empty where all values are the same.
        """
        if (
            not self.shared
            or len({trial.value for trial in self._study.get_trials(deepcopy=False)}) < 2
        ):
            return {}
        evaluator = FanovaImportanceEvaluator(n_trees=num_trees, max_depth=MAX_DEPTH, seed=seed)
        found = evaluator.evaluate(self._study, params=self.shared)
        return {name: float(found[name]) for name in self.shared}


class _Shared(FrozenTrial):
    """Nothing changes it, so the study's copies may share its ranges: to copy those is half of a
    clone's time.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        return copy.copy(self)


def _complete(point: Point, value: float) -> FrozenTrial:
    coded = {name: _code(knob, scalar) for name, (knob, scalar) in point.items()}
    return _Shared(
        number=-1,
        trial_id=-1,
        state=TrialState.COMPLETE,
        value=value,
        datetime_start=BEGUN,
        datetime_complete=BEGUN,
        params={name: number for name, (_, number) in coded.items()},
        distributions={name: distribution for name, (distribution, _) in coded.items()},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _code(knob: Range, value: Scalar) -> tuple[BaseDistribution, float | int]:
    """The range as the evaluators should see it, and the value in it; an option stands as its place
    in the list.
    """
    if isinstance(knob, Choice):
        places = [i for i, option in enumerate(knob.options) if option == value]
        exact = [
            i for i in places if type(knob.options[i]) is type(value)
        ]  # 1, 1.0 and True are equal
        last, at = len(knob.options) - 1, (exact or places)[0]
        if knob.ordered and last:
            return IntDistribution(0, last), at
        return CategoricalDistribution(tuple(range(last + 1))), at
    assert isinstance(value, (int, float))
    if knob.log:
        return FloatDistribution(math.log10(knob.low), math.log10(knob.high)), math.log10(value)
    if isinstance(knob, Int):
        return IntDistribution(knob.low, knob.high), int(value)
    return FloatDistribution(knob.low, knob.high), float(value)
