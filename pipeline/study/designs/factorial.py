"""Every combination of a few factors."""

import itertools
from typing import ClassVar, Literal

from pipeline.study.designs.base import Arm, Factors


class Factorial(Factors):
    """Every combination of factors off/on (2^k arms): deltas, main effects, interactions and, from
    three factors on, Shapley shares, all from the same runs."""

    name: Literal["factorial"] = "factorial"
    MAX: ClassVar[int] = 4

    def expand(self) -> tuple[Arm, ...]:
        """The arms ordered by number of factors on, then as the factors were given; the reference
        first.
        """
        factors = self.factors()
        return tuple(
            self.arm(on)
            for count in range(len(factors) + 1)
            for on in itertools.combinations(factors, count)
        )
