"""Where the ± comes from: intervals of the components of variance, over tables with planted ones.

A table is the runs of a staggered nested design, laid out as a study's are, and goes through the
code that judges these. Conditions name the planted variances, outermost source first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.coverage.rows import Floats, Row, at_most, share
from pipeline.analysis.stats.components import components

TITLE = "Sources of variance: 95 % intervals of the components"
NOTE = (
    "cover: intervals that hold the planted variance, by source, and that of all together; told "
    "apart: intervals above 0, which of a planted 0 at most 2.5 % are; n: replicates taken apart"
)
SOURCES = {
    2: ("weights", "order"),
    3: ("split", "weights", "order"),
    4: ("tuning", "split", "weights", "order"),
}
LEVELS = (3, 5, 10, 20)
MISSES, FALSE, MISSES_OF_ALL = 0.06, 0.025, 0.085
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "": lambda rng, shape: rng.standard_normal(shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "heavy tails": lambda rng, shape: rng.standard_t(5, shape) / np.sqrt(5 / 3),
}


@dataclass(frozen=True)
class Case:
    """Variances by source, the outermost first; `shape`: of every draw, in `SHAPES`."""

    planted: tuple[float, ...]
    shape: str = ""

    @property
    def name(self) -> str:
        text = " : ".join(f"{value:g}" for value in self.planted)
        return f"{text}, {self.shape}" if self.shape else text

    def draw(self, num: int, num_levels: int, rng: np.random.Generator) -> Floats:
        """[num, levels, runs]: run k of a level has all but its k innermost sources in common."""
        num_runs = len(self.planted)
        found = np.zeros((num, num_levels, num_runs))
        for source, variance in enumerate(self.planted[::-1]):
            own = np.sqrt(variance) * SHAPES[self.shape](rng, found.shape)
            own[..., : source + 1] = own[..., :1]
            found += own
        return found


CASES = (
    *map(Case, ((1, 1, 1), (4, 0.1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0.5), (0.25, 1, 0.5))),
    *map(Case, ((1, 1), (0, 1), (1, 1, 1, 1), (2, 0.5, 0, 1), (0, 0, 0, 1))),
    Case((1, 1, 1), "skewed"),
    Case((1, 1, 1), "heavy tails"),
)


def simulate(num: int, rng: np.random.Generator) -> Iterator[Row]:
    """`num` tables of each case."""
    for case in CASES:
        for num_levels in LEVELS:
            yield measure(case, num_levels, num, rng)


def measure(case: Case, num_levels: int, num: int, rng: np.random.Generator) -> Row:
    found = components(case.draw(num, num_levels, rng))
    truth = np.array([*case.planted[::-1], sum(case.planted)])
    inside = (found.low <= truth + 1e-12) & (truth - 1e-12 <= found.high)
    names = (*SOURCES[len(case.planted)][::-1], "all")
    covered = {name: share(inside[:, place]) for place, name in enumerate(names)}
    told = {name: share(found.low[:, place] > 0) for place, name in enumerate(names[:-1])}
    misses = [at_most((1 - mean, error), MISSES) for mean, error in list(covered.values())[:-1]]
    planted = dict(zip(names, truth, strict=True))
    false = [at_most(told[name], FALSE) for name in told if not planted[name]]
    all_of_it = at_most((1 - covered["all"][0], covered["all"][1]), MISSES_OF_ALL)
    figures = {f"cover: {name}": covered[name] for name in (*SOURCES[4], "all") if name in covered}
    figures |= {f"told apart: {name}": told[name] for name in SOURCES[4] if name in told}
    good = all((*misses, *false, all_of_it))
    return Row(f"{len(case.planted)} sources", case.name, num_levels, figures, good, not case.shape)
