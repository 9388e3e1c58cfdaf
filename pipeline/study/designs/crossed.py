"""Every combination of factors that have levels, two or more each."""

import itertools
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.counts import plural
from pipeline.errors import printable
from pipeline.study.designs.base import (
    Arm,
    Label,
    Overrides,
    Scheme,
    check_asked,
    check_names,
    check_paths,
)
from pipeline.study.questions import Question, crossed_questions, differences, shapley_questions

MOST_ARMS = 24
Levels = dict[Label, Overrides]


class Crossed(Scheme):
    """Every combination of the levels of a few factors (3x2, 3x3, …; up to 24 arms): differences,
    main effects and interactions, all from the same runs.

    The first level of a factor is its base; the arm of all bases is the reference. Any other arm is
    called by its levels that are no bases. A main effect is of a level against the base of its
    factor, an interaction of two levels of two factors. Factors of two levels each ask what a
    `Factorial` does.
    """

    name: Literal["crossed"] = "crossed"
    reference: Label = Field(
        default="baseline",
        description="what the arm with the first level of every factor is called",
    )
    levels: dict[Label, Levels] = Field(
        min_length=1,
        description="factor: its levels, each with its overrides of the baseline; the first is its "
        "base",
    )

    @model_validator(mode="after")
    def _compatible(self) -> "Crossed":
        for factor, levels in self.levels.items():
            if len(levels) < 2:
                raise ValueError(
                    f"levels: '{printable(factor, 60)}' has {len(levels)}, and a factor has at "
                    "least 2, the first its base"
                )
        num_arms = math.prod(map(len, self.levels.values()))
        if num_arms > MOST_ARMS:
            sizes = "x".join(str(len(levels)) for levels in self.levels.values())
            raise ValueError(
                f"levels: {sizes} are {plural(num_arms, 'arm')}, at most {MOST_ARMS} are allowed: "
                "leave out a factor or levels, or name the arms to be compared one by one (design "
                "'arms')"
            )
        self._check_called()
        paths = {
            factor: {path for overrides in levels.values() for path in overrides}
            for factor, levels in self.levels.items()
        }
        check_paths(paths, ordered=False)
        check_names(self.expand())
        check_asked(self.questions(), "levels")
        return self

    def _check_called(self) -> None:
        """Arms, columns and lines of a figure are called by levels alone."""
        owner: dict[str, str] = {}
        for factor, levels in self.levels.items():
            for level in levels:
                if owner.setdefault(level, factor) != factor:
                    raise ValueError(
                        f"levels: '{printable(owner[level], 60)}' and '{printable(factor, 60)}' "
                        f"both have a level '{printable(level, 60)}', and arms are called by their "
                        "levels: name each otherwise"
                    )
        if self.reference in self.factors():
            raise ValueError(
                f"levels: no level but the first of a factor may be called "
                f"'{printable(self.reference, 60)}', the name of the reference arm"
            )

    def factors(self) -> tuple[str, ...]:
        return tuple(level for _, *others in self.crossing().values() for level in others)

    def crossing(self) -> Mapping[str, tuple[str, ...]]:
        return {factor: tuple(levels) for factor, levels in self.levels.items()}

    def expand(self) -> tuple[Arm, ...]:
        """The arms ordered by number of levels that are no bases, then as the factors were given;
        the reference first.
        """
        return tuple(map(self._arm, self._cells()))

    def questions(self) -> tuple[Question, ...]:
        arms = self.expand()
        names = [arm.name for arm in arms]
        cells = dict(zip(names, self._cells(), strict=True))
        return (
            *differences(names, names[0]),
            *crossed_questions(tuple(self.crossing().values()), cells),
            *shapley_questions({arm.name: arm.levels for arm in arms}),
        )

    def _cells(self) -> tuple[tuple[str, ...], ...]:
        """A level of each factor, arm by arm."""
        bases, others = zip(
            *((base, rest) for base, *rest in self.crossing().values()), strict=True
        )
        return tuple(
            tuple(moved.get(i, base) for i, base in enumerate(bases))
            for count in range(len(bases) + 1)
            for places in itertools.combinations(range(len(bases)), count)
            for found in itertools.product(*(others[i] for i in places))
            for moved in (dict(zip(places, found, strict=True)),)
        )

    def _arm(self, cell: tuple[str, ...]) -> Arm:
        overrides: dict[str, Any] = {}
        for levels, level in zip(self.levels.values(), cell, strict=True):
            overrides |= levels[level]
        on = {level: level in cell for level in self.factors()}
        moved = [level for level, is_on in on.items() if is_on]
        return Arm(" + ".join(moved) or self.reference, overrides, on)
