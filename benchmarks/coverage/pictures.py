"""The second interval: for other pictures of this kind, of runs that were all judged on the same
ones.

Every table draws its pictures and its runs anew. A run has a picture right where the sum of normal
parts is above 0: how easy the picture is, how easy for this arm, the run's luck, and chance. The
truth over all pictures and runs is then known. Where arms are alike on every picture but for a
shift, a handful of 200 pictures carries the whole difference: shown alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from benchmarks.coverage.rows import Bools, Floats, Row, share, within
from pipeline.analysis.stats import Fit, Marks, basis, fit, widened

TITLE = "Intervals for other pictures of this kind"
NOTE = (
    "cover: 95 % intervals that hold the truth of all pictures, of a difference and of an "
    "interaction; runs alone: of the difference, by the interval for these very pictures; run sd: "
    "of an accuracy, in percent"
)
MEANS = (0.5, 0.6, 0.5, 0.8)  # of the arms, on the scale of the parts
QUESTIONS = {"difference": (-1.0, 1.0, 0.0, 0.0), "interaction": (1.0, -1.0, -1.0, 1.0)}
REPLICATES = (3, 5, 10)
PICTURES = (200, 1500)
COVER = (0.93, 0.97)


@dataclass(frozen=True)
class Regime:
    """The sd of the parts; that of the pictures is 1."""

    name: str
    run: float
    picture_by_arm: float
    rest: float

    @property
    def truth(self) -> Floats:
        """Accuracy of each arm over all pictures and runs."""
        spread = np.sqrt(1 + self.run**2 + self.picture_by_arm**2 + self.rest**2)
        return np.asarray(norm.cdf(np.array(MEANS) / spread))

    def draw(self, n: int, pictures: int, rng: np.random.Generator) -> Bools:
        """What each run had right, [arms, n, pictures]."""
        parts = rng.standard_normal(pictures) + np.array(MEANS)[:, None, None]
        parts = parts + self.picture_by_arm * rng.standard_normal((len(MEANS), 1, pictures))
        parts = parts + self.run * rng.standard_normal((len(MEANS), n, 1))
        return np.asarray(parts + self.rest * rng.standard_normal((len(MEANS), n, pictures)) > 0)


REGIMES = (
    Regime("pictures dominate", 0.002, 0.2, 0.03),
    Regime("runs and pictures", 0.02, 0.2, 0.15),
    Regime("runs dominate", 0.1, 0.2, 0.3),
    Regime("arms alike on every picture", 0.03, 0.0, 0.05),
)


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """A twentieth of `num` tables for each condition: every one has thousands of answers."""
    for regime in REGIMES:
        for pictures in PICTURES:
            for n in REPLICATES:
                yield measure(regime, n, pictures, num // 20, rng)


def measure(regime: Regime, n: int, pictures: int, num: int, rng: np.random.Generator) -> Row:
    """`num` tables of one regime."""
    held: dict[str, list[bool]] = {
        name: [] for name in (*(f"cover: {name}" for name in QUESTIONS), "(runs alone)")
    }
    spreads = []
    for _ in range(num):
        answers = regime.draw(n, pictures, rng)
        scores, marks = answers.mean(axis=2).T, [Marks.of(arm) for arm in answers]
        spreads.append(scores.std(axis=0, ddof=1).mean())
        for name, weights in QUESTIONS.items():
            found, truth = _fit(scores, np.array(weights)), float(np.array(weights) @ regime.truth)
            wide = widened(found, marks, weights)
            held[f"cover: {name}"].append(bool(abs(wide.delta - truth) <= wide.half()))
            if name == "difference":
                held["(runs alone)"].append(bool(abs(found.delta - truth) <= found.half()))
    figures = {name: share(np.array(values)) for name, values in held.items()}
    good = all(within(figures[f"cover: {name}"], *COVER) for name in QUESTIONS)
    counts = pictures > 200 or regime.picture_by_arm > 0
    figures["run sd"] = share(np.array(spreads))
    return Row(f"{pictures:,} pictures", regime.name, n, figures, good, counts)


def _fit(scores: Floats, weights: Floats) -> Fit:
    asked = weights != 0
    return fit(scores[:, asked], weights[asked], basis("official"))
