"""CMA-ES over the numbers of a search space (N. Hansen, "The CMA Evolution Strategy: A Tutorial",
arXiv 1604.00772). The only import of cmaes.

The strategy is played anew for each suggestion, from what was recorded: whole generations of
trials by their numbers, whoever proposed them. It asks of a generation only who is ahead of whom,
so values of different rungs need no common scale. What a trial does not have, the knobs of a branch
that it is not in, is drawn for it as the strategy would have drawn it there: nothing is learned
from it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.frozen import Scalar
from pipeline.study.around import Around
from pipeline.study.drawn import at, share

if TYPE_CHECKING:
    from cmaes import CMA

SIGMA = 0.3
"""Of the first generation, in shares of a range: as wide as the even draw that it was."""
MOST_GENERATIONS = 60
"""What is played of a long search: the latest, so that a suggestion's cost does not grow with
it."""

Ranked = tuple[Mapping[str, Scalar], tuple[float, ...]]


class Evolution:
    """The strategy after so many generations, and what it proposes next."""

    def __init__(self, around: Around, told: Sequence[Ranked], seed: int) -> None:
        """`told`: (values by qualified names, what it is worth; higher is better) of each trial, by
        number. `seed`: the search's.
        """
        self.around = around
        self.numbers = {slot.name: slot for slot in around.space.numbers()}
        self.paths = list(dict.fromkeys(slot.path for slot in self.numbers.values()))
        self._strategy = self._played(told, seed) if self.paths else None

    def draw(self, chance: int) -> dict[str, Scalar]:
        """A point of the space: its numbers by the strategy, its options at random."""
        place = dict[str, float]()
        if self._strategy is not None:
            self._strategy.reseed_rng(chance)
            place = dict(zip(self.paths, self._strategy.ask().tolist(), strict=True))
        draw = np.random.default_rng(chance)

        def unit(name: str) -> float:
            if name in self.numbers:
                return min(place[self.numbers[name].path], math.nextafter(1, 0))
            return float(draw.random())

        return at(self.around, unit)

    def _played(self, told: Sequence[Ranked], seed: int) -> "CMA":
        from cmaes import CMA  # here: no other sampler needs it; `unfit` has looked

        strategy = CMA(mean=np.full(len(self.paths), 0.5), sigma=SIGMA, seed=seed)
        size = strategy.population_size
        for begin in range(0, len(told) - size + 1, size)[-MOST_GENERATIONS:]:
            ahead = sorted(told[begin : begin + size], key=lambda one: one[1], reverse=True)
            generation = []
            for loss, (point, _) in enumerate(ahead):
                known = {
                    slot.path: share(slot.knob, point[name])
                    for name, slot in self.numbers.items()
                    if name in point
                }
                drawn = np.clip(strategy.ask(), 0, 1)
                own = [known.get(path, x) for path, x in zip(self.paths, drawn, strict=True)]
                generation.append((np.array(own), float(loss)))
            strategy.tell(generation)
        strategy.set_bounds(np.tile((0.0, 1.0), (len(self.paths), 1)))
        return strategy
