"""Search spaces as data: Float | Int | Choice ranges over the dotted paths of a TrainConfig, with
conditional branches.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from pipeline.errors import UserError
from pipeline.frozen import Frozen, Scalar

GRID_ERROR = 1e-6  # steps: sums of decimals are not exact
MAX_CORNERS = 256  # of one variant: enough for eight ranges


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
    """One of a few scalars."""

    kind: Literal["choice"] = "choice"
    options: tuple[bool | int | float | str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> "Choice":
        if len({(type(o), o) for o in self.options}) != len(self.options):
            raise ValueError(f"options repeat: {list(self.options)}")
        if any(isinstance(o, float) and not math.isfinite(o) for o in self.options):
            raise ValueError("options must be finite")
        return self

    def suggest(self, trial: Suggests, name: str) -> Scalar:
        value: Scalar = trial.suggest_categorical(name, list(self.options))
        return value

    def edges(self) -> tuple[bool | int | float | str, ...]:
        return self.options

    def contains(self, value: object) -> bool:
        return value in self.options

    def describe(self) -> str:
        return " | ".join(str(o) for o in self.options)


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


Knob = Annotated[Float | Int | Choice, Field(discriminator="kind")]
Range = Float | Int | Choice


class Space(Frozen):
    """Ranges to search.

    `knobs` maps a dotted TrainConfig path to its range. `branches` holds conditional parts: for a
    part with a `name` (model, optimizer, …) each variant with the ranges of its own fields, so that
    `momentum` exists for SGD alone. A sampler sees variant-qualified names (`optimizer.sgd.lr`):
    two optimizers never share a learning-rate density.
    """

    knobs: dict[str, Knob] = Field(default_factory=dict)
    branches: dict[str, dict[str, dict[str, Knob]]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _searched(cls, given: Any) -> Any:
        """A knob or branch that is set to nothing is not searched."""
        if not isinstance(given, Mapping):
            return given
        parts = {part: given[part] for part in ("knobs", "branches") if part in given}
        left = {
            part: {key: value for key, value in own.items() if value is not None}
            for part, own in parts.items()
            if isinstance(own, Mapping)
        }
        return {**given, **left}

    @model_validator(mode="after")
    def _something(self) -> "Space":
        if not self.knobs and not any(self.branches.values()):
            raise ValueError("the search space is empty: give it at least one knob")
        for part, variants in self.branches.items():
            if not variants:
                raise ValueError(f"branches.{part} needs at least one variant")
            if f"{part}.name" in self.knobs:
                raise ValueError(f"'{part}.name' is both a knob and a branch")
        return self

    def suggest(self, trial: Suggests) -> dict[str, Scalar]:
        """Ask `trial` for one point: dotted path → value, ready for `TrainConfig.override`."""
        knobs: dict[str, Scalar] = {
            path: knob.suggest(trial, path) for path, knob in self.knobs.items()
        }
        for part, variants in self.branches.items():
            name = str(self._variant(part).suggest(trial, f"{part}.name"))
            knobs[f"{part}.name"] = name
            for field, knob in variants[name].items():
                knobs[f"{part}.{field}"] = knob.suggest(trial, f"{part}.{name}.{field}")
        return knobs

    def active(self, knobs: Mapping[str, Scalar]) -> dict[str, tuple[Range, Scalar]]:
        """Qualified sampler name → (range, value) of a point, the conditional ones of its own
        branches only.

        Raises KeyError where the point lacks a knob of the space.
        """
        point: dict[str, tuple[Range, Scalar]] = {
            path: (knob, knobs[path]) for path, knob in self.knobs.items()
        }
        for part, variants in self.branches.items():
            name = str(knobs[f"{part}.name"])
            point[f"{part}.name"] = (self._variant(part), name)
            for field, knob in variants.get(name, {}).items():
                point[f"{part}.{name}.{field}"] = (knob, knobs[f"{part}.{field}"])
        return point

    def point(self, flat: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        """The knobs of this space read off a flattened TrainConfig; None where a value lies outside
        the space.
        """
        paths = list(self.knobs)
        for part, variants in self.branches.items():
            paths += [f"{part}.name"] + [
                f"{part}.{field}" for field in variants.get(str(flat.get(f"{part}.name")), {})
            ]
        knobs = {path: flat.get(path) for path in paths}
        inside = all(knob.contains(value) for knob, value in self.active(knobs).values())
        return knobs if inside else None

    def check(self, baseline: Frozen, *, source: str) -> None:
        """Build the config at every end of every range; raises UserError with every knob that the
        config refuses.
        """
        wrong = []
        for knobs in self._corners():
            try:
                baseline.override(knobs, source=source)
            except UserError as error:
                wrong += [line for line in str(error).splitlines() if line not in wrong]
        if wrong:
            raise UserError("\n".join(wrong))

    def table(self) -> list[tuple[str, str]]:
        """(qualified name, range in words) of every knob."""
        rows = [(path, knob.describe()) for path, knob in self.knobs.items()]
        for part, variants in self.branches.items():
            rows.append((f"{part}.name", self._variant(part).describe()))
            rows += [
                (f"{part}.{name}.{f}", k.describe())
                for name, fs in variants.items()
                for f, k in fs.items()
            ]
        return rows

    def endless(self) -> list[str]:
        """Qualified names of the knobs that have no list of values."""
        named = dict(self.knobs)
        for part, variants in self.branches.items():
            for name, fields in variants.items():
                named |= {f"{part}.{name}.{field}": knob for field, knob in fields.items()}
        return [n for n, knob in named.items() if isinstance(knob, Float) and knob.step is None]

    def num_points(self) -> int:
        """Points of a space whose knobs all have a list of values (see `endless`)."""

        def size(knob: Range) -> int:
            if isinstance(knob, Choice):
                return len(knob.options)
            return math.floor((knob.high - knob.low) / (knob.step or math.inf) + GRID_ERROR) + 1

        flat = math.prod(map(size, self.knobs.values()))
        parts = [
            sum(math.prod(map(size, fields.values())) for fields in variants.values())
            for variants in self.branches.values()
        ]
        return flat * math.prod(parts)

    def paths(self) -> dict[str, str]:
        """Qualified name → the path that it sets, for every knob."""
        names = {path: path for path in (*self.knobs, *(f"{part}.name" for part in self.branches))}
        for part, variants in self.branches.items():
            names |= {
                f"{part}.{name}.{field}": f"{part}.{field}"
                for name, fields in variants.items()
                for field in fields
            }
        return names

    def _variant(self, part: str) -> Choice:
        return Choice(options=tuple(self.branches[part]))

    def _corners(self) -> Iterator[dict[str, Scalar]]:
        """Every end of every range; within a branch, whose fields may exclude each other, every
        combination of ends.
        """
        for path, knob in self.knobs.items():
            for edge in knob.edges():
                yield {path: edge}
        for part, variants in self.branches.items():
            for name, fields in variants.items():
                ends = itertools.product(*(knob.edges() for knob in fields.values()))
                for values in itertools.islice(ends, MAX_CORNERS):
                    corner: dict[str, Scalar] = {
                        f"{part}.{f}": v for f, v in zip(fields, values, strict=True)
                    }
                    yield {f"{part}.name": name, **corner}
