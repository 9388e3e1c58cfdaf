"""Student's t, three ways: paired, unpaired with unequal variances (Welch), corrected for
overlapping folds. Pure.

Everything takes leading batch axes, so that a simulation runs the code that judges the tables.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Floats = npt.NDArray[np.float64]
Test = Literal["paired t", "Welch's t", "corrected t"]
Scope = Literal[
    "this test set, this pool of train and val pictures, these hyperparameters",
    "this test set, this train/val split, these hyperparameters",
    "this pool of train and val pictures, these hyperparameters",
    "pools of train and val pictures like this one, these hyperparameters",
    "these val pictures, this train/val split, these hyperparameters",
    "recipe incl. tuning, on this test set and this pool of train and val pictures",
    "recipe incl. tuning, on this test set and this train/val split",
    "recipe incl. tuning, on this pool of train and val pictures",
    "recipe incl. tuning, on pools of train and val pictures like this one",
    "recipe incl. tuning, on these val pictures and this train/val split",
]

ALPHA = 0.05
POWER = 0.8
MIN_REPLICATES = 3
NAN = math.nan


@dataclass(frozen=True)
class Basis:
    """How the replicates of a study come about: what test that calls for, and what its intervals
    speak about.

    `ratio` is n_test / n_train of the corrected t. `why` is the design's reason for the test, in
    words.
    """

    test: Test = "paired t"
    ratio: float = 0.0
    scope: Scope = "this pool of train and val pictures, these hyperparameters"
    why: str = (
        "all arms of a replicate are judged on the same pictures, which another replicate "
        "draws anew"
    )


PAIRED = Basis()


def basis(
    split: Literal["resplit", "official", "kfold"],
    *,
    folds: int = 5,
    tuning: Literal["fixed", "per_arm", "replicated"] = "fixed",
    held_out: bool = True,
) -> Basis:
    """What a study's plan calls for; chosen by design, never by looking at results.

    `held_out` says whether arms are judged on a test set, the same in every replicate. Then what a
    replicate's arms share (its split, its seed) correlates their accuracies about 0 (measured:
    -.10, .08, .18), so that pairing would cost half the degrees of freedom for nothing: Welch.
    Training sets that overlap, folds' too, do not make runs depend on each other where the pool is
    given, and of other pools nothing is said.

    Else arms are judged on their replicate's own val pictures. These are shared, harder or easier
    for all: paired. Folds are judged on disjoint pictures and trained on overlapping ones: the t of
    Nadeau & Bengio 2003 (Machine Learning 52), which speaks of other pools. Official val pictures
    are as fixed as a test set. `tuning` says whether every replicate was tuned anew.
    """
    scope = _scope(split, held_out, anew=tuning == "replicated")
    if held_out or split == "official":
        why = (
            "all replicates are judged on the same pictures, so that what the arms of a "
            "replicate share correlates nothing"
        )
        return Basis("Welch's t", 0.0, scope, why)
    if split == "kfold":
        why = (
            "each replicate is judged on its own fold and trained on pictures that the others "
            "are judged on"
        )
        return Basis("corrected t", 1 / (folds - 1), scope, why)
    return Basis(scope=scope)


def _scope(split: str, held_out: bool, *, anew: bool) -> Scope:
    scopes: dict[tuple[str, bool], tuple[Scope, Scope]] = {
        ("official", True): (
            "this test set, this train/val split, these hyperparameters",
            "recipe incl. tuning, on this test set and this train/val split",
        ),
        ("official", False): (
            "these val pictures, this train/val split, these hyperparameters",
            "recipe incl. tuning, on these val pictures and this train/val split",
        ),
        ("kfold", False): (
            "pools of train and val pictures like this one, these hyperparameters",
            "recipe incl. tuning, on pools of train and val pictures like this one",
        ),
        ("resplit", False): (
            "this pool of train and val pictures, these hyperparameters",
            "recipe incl. tuning, on this pool of train and val pictures",
        ),
    }
    both: tuple[Scope, Scope] = (
        "this test set, this pool of train and val pictures, these hyperparameters",
        "recipe incl. tuning, on this test set and this pool of train and val pictures",
    )
    return scopes.get((split, held_out), both)[anew]


@dataclass(frozen=True)
class Fit:
    """An estimated contrast, or a batch of them: mean, sd and standard error [...], degrees of
    freedom (one, or [...]).
    """

    delta: Floats
    sd: Floats
    error: Floats
    df: Floats

    @property
    def p(self) -> Floats:
        """Two-sided, of no difference."""
        p: Floats = 2 * stats.t.sf(np.abs(self.delta) / self.error, self.df)
        return p

    def half(self, confidence: float = 1 - ALPHA) -> Floats:
        """Half the width of the interval."""
        half: Floats = stats.t.ppf((1 + confidence) / 2, self.df) * self.error
        return half

    def within(self, rope: float, alpha: float = ALPHA) -> npt.NDArray[np.bool_]:
        """Two one-sided tests at 5 % (Schuirmann 1987): whether the 90 % interval lies inside
        ±rope.
        """
        inside: npt.NDArray[np.bool_] = np.abs(self.delta) + self.half(1 - 2 * alpha) < rope
        return inside


def fit(table: Floats, weights: Floats, basis: Basis = PAIRED) -> Fit:
    """The contrast `weights` [A] of `table` [..., R, A], replicates × arms.

    Paired and corrected: the t of the weighted sums within replicates, which must all be there;
    exact for normal sums whatever the arms' variances and correlation. Welch: each arm by itself,
    NaN left out, with the degrees of freedom of Welch 1947 and Satterthwaite 1946.
    """
    if basis.test == "Welch's t":
        n = np.isfinite(table).sum(axis=-2)
        variances = weights**2 * np.nanvar(table, axis=-2, ddof=1)
        errors = variances / n
        total = errors.sum(axis=-1)
        with np.errstate(invalid="ignore"):
            df = total**2 / (errors**2 / (n - 1)).sum(axis=-1)
        return Fit(
            np.nanmean(table, axis=-2) @ weights,
            np.sqrt(variances.sum(axis=-1)),
            np.sqrt(total),
            df,
        )
    values = table @ weights
    n = values.shape[-1]
    sd = values.std(axis=-1, ddof=1)
    error = sd * math.sqrt(1 / n + basis.ratio)
    return Fit(values.mean(axis=-1), sd, error, np.asarray(n - 1.0))


@lru_cache(maxsize=256)
def noncentrality(df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The true difference, in standard errors, that a two-sided t test finds with the given power.

    From the noncentral t distribution, its far tail left out (negligible at any useful power).
    """
    critical: Any = stats.t.ppf(1 - alpha / 2, df)
    return float(
        optimize.brentq(lambda shift: stats.nct.sf(critical, df, shift) - power, 1e-3, 1000.0)
    )


def planned_df(test: Test, n: int, weights: Sequence[float]) -> float:
    """Degrees of freedom to plan `n` replicates by, before any is there; `weights` are those of the
    arms.

    Welch's are estimated from the arms' variances, and power follows from what they come out at:
    for equal variances the harmonic mean, by the moments of Dirichlet shares, gives it to one point
    (`benchmarks.coverage --only pilots`).
    """
    if test != "Welch's t":
        return n - 1.0
    squares = [weight**2 for weight in weights]
    arms = sum(squares) ** 2 / sum(
        square**2 for square in squares
    )  # of equal weight, with as much to tell
    return (n - 1) * (arms * (n - 1) + 2) / (n + 1)


def upper_sd(sd: float, n: int, confidence: float) -> float:
    """What the true standard deviation stays below with this confidence, one-sided; of `n` normal
    values (chi square).
    """
    return sd * math.sqrt((n - 1) / float(stats.chi2.ppf(1 - confidence, n - 1)))


def detectable(n: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true difference, in sd of the differences, that a two-sided paired t test on n
    replicates finds.

    NaN below 3 replicates.
    """
    return noncentrality(n - 1, alpha, power) / math.sqrt(n) if n >= MIN_REPLICATES else NAN
