"""Search spaces as data: Float | Int | Choice ranges over the dotted paths of a TrainConfig, with
conditional branches.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from pipeline.frozen import Frozen, Scalar
from pipeline.study.ranges import GRID_ERROR, Knob, Range, Suggests
from pipeline.study.ranges import Choice as Choice
from pipeline.study.ranges import Float as Float
from pipeline.study.ranges import Int as Int


@dataclass(frozen=True)
class Slot:
    """A knob as a sampler knows it: `name` is qualified by the variant (`optimizer.sgd.lr`) that it
    is a field of, `path` is what it sets. `part`, `variant`: of a branch's field.
    """

    name: str
    path: str
    knob: Range
    part: str = ""
    variant: str = ""

    def open(self, knobs: Mapping[str, Scalar]) -> bool:
        """Whether a point with these knobs has it, as far as branches say."""
        return not self.part or str(knobs.get(f"{self.part}.name")) == self.variant


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

    def slots(self) -> Iterator[Slot]:
        """Every knob, those of branches included, in the order in which a sampler is asked."""
        for path, knob in self.knobs.items():
            yield Slot(path, path, knob)
        for part, variants in self.branches.items():
            yield Slot(f"{part}.name", f"{part}.name", Choice(options=tuple(variants)))
            for name, fields in variants.items():
                for field, knob in fields.items():
                    yield Slot(f"{part}.{name}.{field}", f"{part}.{field}", knob, part, name)

    def suggest(self, trial: Suggests) -> dict[str, Scalar]:
        """Ask `trial` for one point: dotted path → value, ready for `TrainConfig.override`."""
        knobs: dict[str, Scalar] = {}
        for slot in self.slots():
            if slot.open(knobs):
                knobs[slot.path] = slot.knob.suggest(trial, slot.name)
        return knobs

    def active(self, knobs: Mapping[str, Scalar]) -> dict[str, tuple[Range, Scalar]]:
        """Qualified sampler name → (range, value) of a point, the conditional ones of its own
        branches only.

        Raises KeyError where the point lacks a knob of the space.
        """
        return {s.name: (s.knob, knobs[s.path]) for s in self.slots() if s.open(knobs)}

    def point(self, flat: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        """The knobs of this space read off a flattened TrainConfig; None where a value lies outside
        the space.
        """
        own = [slot for slot in self.slots() if slot.open(flat)]
        inside = all(slot.knob.contains(flat.get(slot.path)) for slot in own)
        return {slot.path: flat[slot.path] for slot in own} if inside else None

    def table(self) -> list[tuple[str, str]]:
        """(qualified name, range in words) of every knob."""
        return [(slot.name, slot.knob.describe()) for slot in self.slots()]

    def endless(self) -> list[str]:
        """Qualified names of the knobs that have no list of values."""
        ranges = [(slot.name, slot.knob) for slot in self.slots()]
        return [n for n, knob in ranges if isinstance(knob, Float) and knob.step is None]

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
