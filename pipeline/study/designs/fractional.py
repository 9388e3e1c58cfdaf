"""Screening many factors with few arms: fractions of the factorial."""

from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.study.designs.base import Arm, Factors
from pipeline.study.questions import Alias, Question, aliases, screening_questions

Resolution = Literal["III", "IV", "V", "plackett_burman"]
WORD = {"III": 3, "IV": 4, "V": 5}  # length of the shortest word of the defining relation
MAX_BASE = 6


class Fractional(Factors):
    """A two-level fraction of the factorial (4 to 64 arms): which of many factors matter?

    Only main effects are asked. At resolution III and in Plackett–Burman designs (fewest arms) each
    holds a share of two-way interactions, which `aliases` lists; at resolution IV it is free of
    these, and at V interactions are free of one another too (Box, Hunter & Hunter, "Statistics for
    Experimenters"; Plackett & Burman 1946). The arm with every factor off is always one of them.
    """

    name: Literal["fractional"] = "fractional"
    resolution: Resolution = Field(default="IV", description="what a main effect is free of")
    MIN: ClassVar[int] = 3
    MAX: ClassVar[int] = 15

    def expand(self) -> tuple[Arm, ...]:
        factors = self.factors()
        rows = _signs(len(factors), self.resolution)
        return tuple(
            self.arm(f for f, sign in zip(factors, row, strict=True) if sign > 0) for row in rows
        )

    def questions(self) -> tuple[Question, ...]:
        return screening_questions({arm.name: arm.levels for arm in self.expand()})

    def aliases(self) -> tuple[Alias, ...]:
        """The two-way interactions that each main effect may be instead; empty from resolution IV
        on.
        """
        return aliases({arm.name: arm.levels for arm in self.expand()})


@lru_cache(maxsize=64)
def _signs(num_factors: int, resolution: Resolution) -> tuple[tuple[int, ...], ...]:
    """Rows of ±1, all -1 first: turning a column's signs round changes neither balance nor aliases
    but for their sign.
    """
    from pyDOE3 import fracfact, pbdesign

    if resolution == "plackett_burman":
        table = pbdesign(num_factors)
    else:
        table = fracfact(" ".join(_generators(num_factors, WORD[resolution])))
    return tuple(tuple(int(sign) for sign in row) for row in (table * -table[0]).tolist())


def _generators(num_factors: int, shortest: int) -> tuple[str, ...]:
    """The columns of the smallest regular fraction: base letters, then products of them ("abc").

    pyDOE3's own choice by resolution falls short of it for 7 factors and more at V (its 2^(7-2) is
    IV), and leaves out the half fractions, so the words are chosen here: no product of columns
    shorter than `shortest` may be constant.
    """
    for base in range(2, min(num_factors - 1, MAX_BASE) + 1):
        words = [mask for mask in range(1, 2**base) if mask.bit_count() >= shortest - 1]
        words.sort(key=lambda mask: (mask.bit_count(), mask))
        found = next(_choices(words, num_factors - base, {0: 0}, shortest), None)
        if found is not None:
            masks = (*(1 << i for i in range(base)), *found)
            return tuple(
                "".join(chr(97 + i) for i in range(base) if mask >> i & 1) for mask in masks
            )
    raise ValueError(
        f"{num_factors} factors have no fraction of this resolution in at most {2**MAX_BASE} arms: "
        f"take a lower one, or `factorial` for up to 4 factors"
    )


def _choices(
    words: list[int], count: int, known: dict[int, int], shortest: int
) -> Iterator[tuple[int, ...]]:
    """Choices of `count` generators; `known`: product of base letters → the fewest generators whose
    product it is.
    """
    if not count:
        yield ()
        return
    for i, word in enumerate(words[: len(words) - count + 1]):
        longer = {word ^ mask: used + 1 for mask, used in known.items()}
        if all(mask.bit_count() + used >= shortest for mask, used in longer.items()):
            both = {m: min(known.get(m, 99), longer.get(m, 99)) for m in (*known, *longer)}
            for rest in _choices(words[i + 1 :], count - 1, both, shortest):
                yield (word, *rest)
