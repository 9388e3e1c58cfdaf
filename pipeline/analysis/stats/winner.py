"""The winner's curse: what the search saw of its best configuration, beside what that configuration
does again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.stats.student import MIN_REPLICATES, NAN, PAIRED, Basis, fit


@dataclass(frozen=True)
class Winner:
    """Accuracies of the search's best configuration; NaN where there is no run to take one from.

    `search_val` is the number it won by; `fresh_val` and `test` are means over `n` and `num_tested`
    replicates trained afterwards. `optimism` = search_val − fresh_val, in accuracy, with the 95 %
    Student interval of the fresh mean (from 3 replicates on): what choosing the best of many adds
    to a number. Both val are to be read at the same epoch; test chose nothing.
    """

    search_val: float
    fresh_val: float
    test: float
    n: int
    num_tested: int
    optimism: float
    low: float = NAN
    high: float = NAN


def winners_curse(
    search_val: float, fresh_val: Sequence[float], test: Sequence[float] = (), basis: Basis = PAIRED
) -> Winner:
    """The three numbers of the winner; results that are NaN are left out."""
    fresh = np.array([value for value in fresh_val if not math.isnan(value)], dtype=float)
    tested = [value for value in test if not math.isnan(value)]
    mean = float(fresh.mean()) if len(fresh) else NAN
    half = (
        float(fit(fresh[:, None], np.ones(1), basis).half())
        if len(fresh) >= MIN_REPLICATES
        else NAN
    )
    optimism = search_val - mean
    return Winner(
        search_val=search_val,
        fresh_val=mean,
        test=float(np.mean(tested)) if tested else NAN,
        n=len(fresh),
        num_tested=len(tested),
        optimism=optimism,
        low=optimism - half,
        high=optimism + half,
    )
