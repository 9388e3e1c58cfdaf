"""Points of a search space from numbers: at given shares of its ranges, or all there are, one by
one.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

from pipeline.frozen import Scalar
from pipeline.study.ranges import Choice, Int, Range, Suggests

Unit = Callable[[str], float]


class Asked(Protocol):
    """What is asked for a point: a space, by itself or around a configuration."""

    def suggest(self, trial: Suggests) -> dict[str, Scalar]: ...


class _Drawn:
    """Chooses each knob of a space by a number in [0, 1), as a sampler's trial would; those that
    are `held`, by qualified names, have their value.
    """

    def __init__(self, unit: Unit, held: Mapping[str, Scalar]) -> None:
        self.unit, self.held = unit, held

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        if name in self.held:
            return cast(float, self.held[name])
        share = self.unit(name)
        if step is not None:
            return low + step * math.floor(share * (math.floor((high - low) / step + 1e-9) + 1))
        if log:
            return min(max(low * (high / low) ** share, low), high)
        return low + (high - low) * share

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        if name in self.held:
            return cast(int, self.held[name])
        share = self.unit(name)
        if log:
            first, last = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(first + (last - first) * share)), low), high)
        return low + step * math.floor(share * ((high - low) // step + 1))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        if name in self.held:
            return self.held[name]
        return choices[math.floor(self.unit(name) * len(choices))]


def at(space: Asked, unit: Unit, held: Mapping[str, Scalar] | None = None) -> dict[str, Scalar]:
    """The point whose knobs lie at these shares of their ranges, but for those that are `held` at a
    value; both by qualified names.
    """
    return space.suggest(_Drawn(unit, held or {}))


def share(knob: Range, value: Scalar) -> float:
    """Where a value, as `coded` has it, lies in its range, in [0, 1]; `at` makes it of that."""
    if isinstance(knob, Choice):
        place = cast(int, value) if knob.ordered else knob.options.index(cast(float, value))
        return (place + 0.5) / len(knob.options)
    number, low, high = float(cast(float, value)), float(knob.low), float(knob.high)
    if isinstance(knob, Int) and knob.log:
        low, high = low - 0.5, high + 0.5
    if knob.log:
        return math.log(number / low) / math.log(high / low)
    if knob.step is None:
        return (number - low) / (high - low)
    return (round((number - low) / knob.step) + 0.5) / (round((high - low) / knob.step) + 1)


class Endless(ValueError):
    """A knob has no list of values; its name."""


class _Walk:
    """Takes of each knob the value of this number, the first where none is given; `sizes` says how
    many each had.
    """

    def __init__(self, numbers: list[int]) -> None:
        self.numbers, self.sizes = numbers, list[int]()

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None,
        log: bool,  # noqa: ARG002  the protocol's
    ) -> float:
        if step is None:
            raise Endless(name)
        return low + step * self._take(math.floor((high - low) / step + 1e-9) + 1)

    def suggest_int(self, _: str, low: int, high: int, *, step: int, log: bool) -> int:  # noqa: ARG002
        return low + step * self._take((high - low) // step + 1)

    def suggest_categorical(self, _: str, choices: Any) -> Any:
        return choices[self._take(len(choices))]

    def _take(self, size: int) -> int:
        place = len(self.sizes)
        self.sizes.append(size)
        return self.numbers[place] if place < len(self.numbers) else 0


def grid(space: Asked) -> Iterator[dict[str, Scalar]]:
    """Every point of a space of options, whole numbers and stepped ranges, each once; of a branch
    the knobs of its own variant alone. Raises Endless where a knob has no list of values.
    """
    numbers: list[int] = []
    while True:
        walk = _Walk(numbers)
        yield space.suggest(walk)
        numbers = numbers + [0] * (len(walk.sizes) - len(numbers))
        while numbers and numbers[-1] + 1 >= walk.sizes[len(numbers) - 1]:
            numbers.pop()
        if not numbers:
            return
        numbers[-1] += 1
