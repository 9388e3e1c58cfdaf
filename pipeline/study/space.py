"""Search spaces as data: Float | Int | Choice ranges over the dotted paths of a TrainConfig, with
conditional branches.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from pipeline.errors import choices
from pipeline.frozen import Frozen, Scalar
from pipeline.study.expression import ExpressionError, parse
from pipeline.study.ranges import GRID_ERROR, Knob, Range, Suggests, is_number
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


Fields = Callable[[Mapping[str, Scalar]], Mapping[str, Scalar]]
"""Knobs → all that is known of the configuration with them."""
RULES = ("where", "when", "derived")


def _in_order(needs: Mapping[str, set[str]], what: str) -> list[str]:
    """The names, each after those that it needs. Raises ValueError where that is impossible."""
    found: list[str] = []
    left = list(needs)
    while left:
        name = next((one for one in left if needs[one] <= {*found}), None)
        if name is None:
            waits = "waits for itself" if len(left) == 1 else "wait for each other"
            raise ValueError(f"{what}: {', '.join(left)} {waits}")
        found.append(name)
        left.remove(name)
    return found


class Space(Frozen):
    """Ranges to search.

    `knobs` maps a dotted TrainConfig path to its range. `branches` holds conditional parts: for a
    part with a `name` (model, optimizer, …) each variant with the ranges of its own fields, so that
    `momentum` exists for SGD alone. A sampler sees variant-qualified names (`optimizer.sgd.lr`):
    two optimizers never share a learning-rate density.

    The rules are expressions over paths (`study/expression.py`). `where`: conditions without which
    a point is never drawn; one that speaks of a field that a point's configuration lacks does not
    bind it. `when`: qualified name of a knob → the condition under which it is drawn; else the
    configuration keeps its value. `derived`: path → what it is set to, where the configuration has
    it; it may use knobs that are no fields.
    """

    knobs: dict[str, Knob] = Field(default_factory=dict)
    branches: dict[str, dict[str, dict[str, Knob]]] = Field(default_factory=dict)
    where: tuple[str, ...] = ()
    when: dict[str, str] = Field(default_factory=dict)
    derived: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _searched(cls, given: Any) -> Any:
        """A knob or branch that is set to nothing is not searched, and its condition not asked; so
        with a rule.
        """
        if not isinstance(given, Mapping):
            return given
        parts = {part: given[part] for part in ("knobs", "branches", *RULES) if part in given}
        parts = {part: own for part, own in parts.items() if isinstance(own, Mapping)}
        lost = tuple(
            f"{key}." for own in parts.values() for key, value in own.items() if value is None
        )
        left = {
            part: {
                key: value
                for key, value in own.items()
                if value is not None and not (part == "when" and f"{key}.".startswith(lost))
            }
            for part, own in parts.items()
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

    @model_validator(mode="after")
    def _rules(self) -> "Space":
        """Every rule can be read, and none waits for itself."""
        rules = [("where", text) for text in self.where]
        rules += [(f"when.{name}", text) for name, text in self.when.items()]
        rules += [(f"derived.{path}", text) for path, text in self.derived.items()]
        for rule, text in rules:
            try:
                parse(text)
            except ExpressionError as error:
                raise ValueError(f"{rule}: {error}") from None
        slots = list(self._slots())
        names, paths = [slot.name for slot in slots], {slot.path for slot in slots}
        for name in self.when:
            if name not in names:
                raise ValueError(f"when: no knob of that name; {choices(name, names)}")
        if both := paths & self.derived.keys():
            raise ValueError(f"derived: '{min(both)}' is a knob, too")
        spoken = {name for text in self.when.values() for name in parse(text).names}
        if both := spoken & self.derived.keys():
            raise ValueError(f"when: '{min(both)}' is derived, which is known after all knobs")
        list(self.slots())
        self.derivations()
        return self

    def slots(self) -> Iterator[Slot]:
        """Every knob, those of branches included, in the order in which a sampler is asked: those
        that a condition speaks of before its own.
        """
        if not self.when:
            return self._slots()
        found, slots = [], {slot.name: slot for slot in self._slots()}
        needs = {name: self._needs(slot, slots) for name, slot in slots.items()}
        for name in _in_order(needs, "when"):
            found.append(slots[name])
        return iter(found)

    def derivations(self) -> dict[str, str]:
        """`derived`, what an expression speaks of before it."""
        needs = {
            path: {name for name in parse(text).names if name in self.derived}
            for path, text in self.derived.items()
        }
        return {path: self.derived[path] for path in _in_order(needs, "derived")}

    def _needs(self, slot: Slot, slots: Mapping[str, Slot]) -> set[str]:
        """The slots that must be known before it is asked whether there is this one."""
        condition = self.when.get(slot.name)
        names = parse(condition).names if condition else ()
        own = {f"{slot.part}.name"} if slot.part else set()
        return own | {name for name, other in slots.items() if other.path in names}

    def _slots(self) -> Iterator[Slot]:
        for path, knob in self.knobs.items():
            yield Slot(path, path, knob)
        for part, variants in self.branches.items():
            yield Slot(f"{part}.name", f"{part}.name", Choice(options=tuple(variants)))
            for name, fields in variants.items():
                for field, knob in fields.items():
                    yield Slot(f"{part}.{name}.{field}", f"{part}.{field}", knob, part, name)

    def suggest(self, trial: Suggests, fields: Fields = dict) -> dict[str, Scalar]:
        """Ask `trial` for one point: dotted path → value. `fields`: what conditions are asked
        about, by the knobs so far.
        """
        knobs: dict[str, Scalar] = {}
        for slot in self.slots():
            if self.has(slot, knobs, fields):
                knobs[slot.path] = slot.knob.suggest(trial, slot.name)
        return knobs

    def has(self, slot: Slot, knobs: Mapping[str, Scalar], fields: Fields) -> bool:
        """Whether a point has this knob; `knobs` are those before it."""
        if not slot.open(knobs) or slot.name not in self.when:
            return slot.open(knobs)
        try:
            return parse(self.when[slot.name]).holds(fields(knobs))
        except ExpressionError:  # of a field that is not there, or a division by zero
            return False

    def active(self, knobs: Mapping[str, Scalar]) -> dict[str, tuple[Range, Scalar]]:
        """Qualified sampler name → (range, value) of a point, the conditional ones of its own
        branches and conditions only.

        Raises KeyError where the point lacks a knob of the space.
        """
        return {
            slot.name: (slot.knob, knobs[slot.path])
            for slot in self.slots()
            if slot.open(knobs) and (slot.name not in self.when or slot.path in knobs)
        }

    def point(self, flat: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        """The knobs of this space read off a flattened TrainConfig; None where a value lies outside
        the space.
        """
        knobs: dict[str, Scalar] = {}
        for slot in self.slots():
            if self.has(slot, knobs, lambda _: flat):
                if not slot.knob.contains(flat.get(slot.path)):
                    return None
                knobs[slot.path] = flat[slot.path]
        return knobs

    def table(self) -> list[tuple[str, str]]:
        """(qualified name, range in words) of every knob, then the rules."""
        rows = []
        for slot in self._slots():
            condition = f", when {self.when[slot.name]}" if slot.name in self.when else ""
            rows.append((slot.name, slot.knob.describe() + condition))
        rows += [(path, f"= {text}") for path, text in self.derived.items()]
        return rows + [("where", text) for text in self.where]

    def content(self) -> dict[str, Any]:
        """What it is, for digests: a space without what an earlier version lacked is dumped as it
        was then.
        """
        tree = self.model_dump(mode="json")
        for rule in RULES:
            if not tree[rule]:
                del tree[rule]
        variants = (fields for part in self.branches for fields in tree["branches"][part].values())
        for knobs in (tree["knobs"], *variants):
            for knob in knobs.values():
                if not knob.get("ordered", True):
                    del knob["ordered"]
        return tree

    def endless(self) -> list[str]:
        """Qualified names of the knobs that have no list of values."""
        ranges = [(slot.name, slot.knob) for slot in self.slots()]
        return [n for n, knob in ranges if isinstance(knob, Float) and knob.step is None]

    def numbers(self) -> list[Slot]:
        """The knobs whose neighbouring values are alike: of choices the ordered ones, and numbers
        that rise.
        """
        return [slot for slot in self.slots() if is_number(slot.knob)]

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
