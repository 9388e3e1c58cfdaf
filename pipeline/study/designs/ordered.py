"""Arms in an order, each the one before it with one more change."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.study.designs.base import (
    Arm,
    Factors,
    Label,
    Overrides,
    Scheme,
    check_names,
    check_paths,
)
from pipeline.study.questions import Question, differences, steps


class Ladder(Factors):
    """Factors switched on one after another (k + 1 arms): what did the way to the final system look
    like?

    What a step gives depends on its place in the order. Where two factors set the same path, the
    later one counts.
    """

    name: Literal["ladder"] = "ladder"
    ORDERED: ClassVar[bool] = True

    def expand(self) -> tuple[Arm, ...]:
        factors = self.factors()
        return tuple(self.arm(factors[:count]) for count in range(len(factors) + 1))

    def questions(self) -> tuple[Question, ...]:
        return climb(self.expand(), self.factors())


class OrderedPath(Scheme):
    """Steps from the baseline to a given configuration, in their order (one arm more than steps).

    Which few changes make the difference (after Fawcett & Hoos 2016,
    doi:10.1007/s10732-014-9275-9): there each step is the best of those left, chosen by the very
    runs that measure it. Here the order is given beforehand and each step is measured on replicates
    of its own, so that its size is not the luckiest of several. Steps are named by what they set,
    in short where that tells them apart.
    """

    name: Literal["path"] = "path"
    reference: Label = Field(
        default="baseline", description="what the arm before the first step is called"
    )
    steps: tuple[Overrides, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _compatible(self) -> "OrderedPath":
        if not all(self.steps):
            raise ValueError("a step must change something")
        factors = self.factors()
        if len(set(factors)) < len(factors):
            raise ValueError("two steps are the same")
        check_paths(dict(zip(factors, self.steps, strict=True)), ordered=True)
        check_names(self.expand())
        return self

    def factors(self) -> tuple[str, ...]:
        short = tuple(map(_label, self.steps))
        if len(set(short)) == len(short):
            return short
        return tuple(
            ", ".join(f"{path}={_shown(value)}" for path, value in step.items())
            for step in self.steps
        )

    def expand(self) -> tuple[Arm, ...]:
        factors = self.factors()
        arms = []
        overrides: dict[str, Any] = {}
        for count in range(len(factors) + 1):
            name = f"up to {factors[count - 1]}" if count else self.reference
            overrides = overrides | (self.steps[count - 1] if count else {})
            arms.append(
                Arm(name, overrides, {factor: i < count for i, factor in enumerate(factors)})
            )
        return tuple(arms)

    def questions(self) -> tuple[Question, ...]:
        return climb(self.expand(), self.factors())


def climb(arms: tuple[Arm, ...], factors: tuple[str, ...]) -> tuple[Question, ...]:
    """What every step gives, and what all up to each arm give together."""
    names = [arm.name for arm in arms]
    return (*differences(names, names[0]), *steps(names, factors))


def _label(step: Mapping[str, Any]) -> str:
    """A step by the variants that it names, else by the last part of what it sets."""
    variants = [str(value) for path, value in step.items() if path.endswith(".name")]
    return ", ".join(
        variants or [f"{path.rpartition('.')[2]}={_shown(value)}" for path, value in step.items()]
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, float) and len(text) > len("0.0001"):
        text = f"{value:.3g}"
    return text if len(text) <= 40 else f"{text[:39]}…"
