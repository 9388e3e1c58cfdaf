"""A design's factors as words and figures have them: by the settings that each can have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from pipeline.analysis.results import Ablation


@dataclass(frozen=True)
class Setting:
    """One of a factor's: what it is called, and the column of the table that is then on; "" where
    none is. `word` stands before the name where that is the factor's.
    """

    name: str
    column: str
    word: str = ""


@dataclass(frozen=True)
class Dimension:
    """A factor with its settings, the base first. `named`: whether these are levels with names of
    their own, else it is off and on.
    """

    factor: str
    settings: tuple[Setting, ...]
    named: bool = False

    @property
    def base(self) -> Setting:
        return self.settings[0]

    @property
    def others(self) -> tuple[Setting, ...]:
        return self.settings[1:]

    def at(self, setting: Setting, levels: Mapping[str, bool]) -> bool:
        """Whether an arm of these levels has this setting."""
        on = [other.column for other in self.others if levels[other.column]]
        return on == [setting.column] * bool(setting.column)


def dimensions(ablation: Ablation) -> tuple[Dimension, ...]:
    """The factors of the table, in its order."""
    if ablation.crossing:
        return tuple(
            Dimension(factor, (Setting(base, ""), *(Setting(one, one) for one in others)), True)
            for factor, (base, *others) in ablation.crossing.items()
        )
    return tuple(
        Dimension(factor, (Setting(factor, "", "without "), Setting(factor, factor, "with ")))
        for factor in ablation.factors
    )


def interacting(
    name: str, found: Sequence[Dimension]
) -> tuple[tuple[Dimension, Setting], tuple[Dimension, Setting]]:
    """The two settings whose interaction is called so, each with its factor."""
    return next(
        ((first, a), (second, b))
        for first, second in combinations(found, 2)
        for a, b in product(first.others, second.others)
        if name == f"{a.column} × {b.column}"
    )
