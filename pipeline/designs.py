"""Ablation designs: which arms a study trains, as overrides of the baseline. Pure."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import to_jsonable_python

from pipeline.frozen import Frozen

Overrides = Annotated[dict[str, Any], AfterValidator(to_jsonable_python)]  # parts given as objects become plain data
Label = Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Arm:
    """One row of the ablation table. `levels` says which factors are on (empty where the design has no factors)."""

    name: str
    overrides: Mapping[str, Any]
    levels: Mapping[str, bool] = field(default_factory=dict)


class Arms(Frozen):
    """Arms named one by one; the first is the reference."""

    name: Literal["arms"] = "arms"
    arms: dict[Label, Overrides] = Field(min_length=2)

    def factors(self) -> tuple[str, ...]:
        return ()

    def expand(self) -> tuple[Arm, ...]:
        """The arms in table order, the reference first."""
        return tuple(Arm(name, overrides) for name, overrides in self.arms.items())


class Factorial(Frozen):
    """Every combination of factors off/on (2^k arms): deltas, main effects and interactions from the same runs."""

    name: Literal["factorial"] = "factorial"
    reference: Label = "baseline"
    on: dict[Label, Overrides] = Field(min_length=1, max_length=4)

    @model_validator(mode="after")
    def _compatible(self) -> "Factorial":
        if self.reference in self.on:
            raise ValueError(f"a factor may not be called '{self.reference}', the name of the reference arm")
        for (a, left), (b, right) in itertools.combinations(self.on.items(), 2):
            shared = sorted(set(left) & set(right))
            if shared:
                raise ValueError(f"factors '{a}' and '{b}' both set {shared}: their combination is undefined")
        twice = [name for name, count in Counter(arm.name for arm in self.expand()).items() if count > 1]
        if twice:
            raise ValueError(f"two arms are called '{twice[0]}': name the factors otherwise")
        return self

    def factors(self) -> tuple[str, ...]:
        return tuple(self.on)

    def expand(self) -> tuple[Arm, ...]:
        """The arms ordered by number of factors on, then as the factors were given; the reference first."""
        arms = []
        for count in range(len(self.on) + 1):
            for chosen in itertools.combinations(self.on, count):
                overrides = {path: value for factor in chosen for path, value in self.on[factor].items()}
                levels = {factor: factor in chosen for factor in self.on}
                arms.append(Arm(" + ".join(chosen) or self.reference, overrides, levels))
        return tuple(arms)


Design = Annotated[Arms | Factorial, Field(discriminator="name")]
DESIGNS = (Arms, Factorial)
