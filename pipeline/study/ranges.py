"""What a knob may be: Float, Int or Choice, and how it asks a sampler's trial for a value."""

import math
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from pipeline.frozen import Frozen, Scalar

GRID_ERROR = 1e-6  # steps: sums of decimals are not exact


class Suggests(Protocol):
    """What `suggest` needs of a trial; an Optuna trial has it."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


class Float(Frozen):
    """A real range, both ends included; `log` samples the exponent evenly, `step` takes every so
    far a value from `low` on.
    """

    kind: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Float":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range needs low > 0, got low={self.low}")
        check_step(self.low, self.high, self.step, log=self.log)
        return self

    def suggest(self, trial: Suggests, name: str) -> float:
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def edges(self) -> tuple[float, ...]:
        return (self.low, self.high)

    def contains(self, value: object) -> bool:
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and self.low <= value <= self.high + GRID_ERROR * (self.step or 0)
            and on_grid(value - self.low, self.step)
        )

    def describe(self) -> str:
        return f"{self.low:g} … {self.high:g}" + _how(self.step, log=self.log)


class Int(Frozen):
    """A whole-number range, both ends included; `log` samples the exponent evenly, `step` takes
    every so far a value from `low` on.
    """

    kind: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "Int":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")
        if self.log and self.low < 1:
            raise ValueError(f"a log range needs low >= 1, got low={self.low}")
        check_step(self.low, self.high, None if self.step == 1 else self.step, log=self.log)
        return self

    def suggest(self, trial: Suggests, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def edges(self) -> tuple[int, ...]:
        return (self.low, self.high)

    def contains(self, value: object) -> bool:
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )

    def describe(self) -> str:
        return f"{self.low} … {self.high}" + _how(
            None if self.step == 1 else self.step, log=self.log
        )


class Choice(Frozen):
    """One of a few scalars. `ordered`: neighbours are alike, and a model is told so."""

    kind: Literal["choice"] = "choice"
    options: tuple[bool | int | float | str, ...] = Field(min_length=1)
    ordered: bool = False

    @model_validator(mode="after")
    def _distinct(self) -> "Choice":
        if len({(type(o), o) for o in self.options}) != len(self.options):
            raise ValueError(f"options repeat: {list(self.options)}")
        if any(isinstance(o, float) and not math.isfinite(o) for o in self.options):
            raise ValueError("options must be finite")
        if self.ordered:
            self._check_order()
        return self

    def _check_order(self) -> None:
        """Numbers rise; of texts nobody knows but who wrote them."""
        numbers = [o for o in self.options if not isinstance(o, (str, bool))]
        texts = [o for o in self.options if isinstance(o, str)]
        if len(self.options) not in (len(numbers), len(texts)):
            raise ValueError(f"ordered: either all numbers or all texts, got {list(self.options)}")
        if numbers != sorted(numbers):
            rising = sorted(numbers)
            raise ValueError(f"ordered: numbers must rise, got {numbers}; allowed: {rising}")

    def coded(self, value: Scalar) -> Scalar:
        """A value as a sampler's trial knows it."""
        return self.options.index(value) if self.ordered else value

    def suggest(self, trial: Suggests, name: str) -> Scalar:
        if self.ordered:
            last = len(self.options) - 1
            return self.options[trial.suggest_int(name, 0, last, step=1, log=False)]
        value: Scalar = trial.suggest_categorical(name, list(self.options))
        return value

    def edges(self) -> tuple[bool | int | float | str, ...]:
        return self.options

    def contains(self, value: object) -> bool:
        return value in self.options

    def describe(self) -> str:
        return " | ".join(str(o) for o in self.options) + " (ordered)" * self.ordered


def check_step(low: float, high: float, step: float | None, *, log: bool) -> None:
    """Raise ValueError where a range cannot have this step."""
    if step is None:
        return
    if log:
        raise ValueError(f"a log range has no step, got step={step}: list its values in a Choice")
    if not on_grid(high - low, step):
        raise ValueError(f"high must be a whole number of steps above low, got step={step}")


def on_grid(distance: float, step: float | None) -> bool:
    """Whether a distance from the low end is a whole number of steps."""
    return step is None or abs(distance / step - round(distance / step)) < GRID_ERROR


def _how(step: float | None, *, log: bool) -> str:
    return " (log)" if log else f" (step {step:g})" if step is not None else ""


def coded(knob: "Range", value: Scalar) -> Scalar:
    """A value of a knob as a sampler's trial knows it."""
    return knob.coded(value) if isinstance(knob, Choice) else value


def is_number(knob: "Range") -> bool:
    """Whether neighbouring values are alike, by the order in which they stand."""
    if not isinstance(knob, Choice) or knob.ordered:
        return True
    numbers = [o for o in knob.options if isinstance(o, (int, float)) and not isinstance(o, bool)]
    return len(numbers) == len(knob.options) > 1 and numbers == sorted(numbers)


Knob = Annotated[Float | Int | Choice, Field(discriminator="kind")]
Range = Float | Int | Choice
