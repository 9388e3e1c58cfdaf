"""What an arm's replicates come to in one number each: mean, spread, interval."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from pipeline.study.study import Study


def summary(name: str, values: Sequence[float], study: Study) -> dict[str, float]:
    """NAME_mean and NAME_n of an arm's replicates; from 3 on also NAME_sd (n - 1) and the 95 % t
    interval of the mean.

    The interval is that of the arm by itself: arms are compared by the contrasts of the report, not
    by whether two of these overlap.
    """
    # scipy, a second to load, is not in the way of a command's first epoch
    from pipeline.analysis.stats import MIN_REPLICATES, basis, fit

    facts = {f"{name}_mean": fmean(values), f"{name}_n": float(len(values))}
    if len(values) >= MIN_REPLICATES:
        base = study.baseline
        way = basis(base.split, folds=base.folds, held_out=name.startswith("test"))
        found = fit(np.asarray(values, dtype=float)[:, None], np.ones(1), way)
        half = float(found.half())
        facts |= {f"{name}_sd": float(found.sd)}
        facts |= {
            f"{name}_ci95_low": facts[f"{name}_mean"] - half,
            f"{name}_ci95_high": facts[f"{name}_mean"] + half,
        }
    return facts
