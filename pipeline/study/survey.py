"""What is in a search space before it is searched: which values and combinations of them are never
drawn, since the configuration refuses them, and how much is left.
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.config import TrainConfig
from pipeline.counts import plural
from pipeline.errors import UserError, choices, printable
from pipeline.frozen import Scalar
from pipeline.study.around import Around, first_line
from pipeline.study.drawn import at
from pipeline.study.expression import parse
from pipeline.study.ranges import coded
from pipeline.study.space import Slot

NUM_POINTS = 300  # a third of a second
"""So many points, drawn evenly, say how much of a space is left."""
LEAST_FOUND = 3000
"""Among so many a legal one must be, or the space is refused: a search would draw in vain."""
NUM_FILLED = 64
"""So many times the rest of a point is drawn before a value counts as legal in none."""
MAX_PAIRS = 4000  # two seconds
MOST_REASONS = 5
VALUES = re.compile(r"'[^']*'|\d[\d.e+-]*")
"""What of a reason differs from point to point."""


@dataclass(frozen=True)
class Pair:
    """Values of two knobs that no configuration has together, whatever else it has."""

    first: Slot
    value: Scalar
    second: Slot
    others: tuple[Scalar, ...]
    reason: str

    def covers(self, point: Mapping[str, Scalar]) -> bool:
        """Whether a point of the space has them."""
        both = self.first.open(point) and self.second.open(point)
        return (
            both
            and point.get(self.first.path) == self.value
            and point.get(self.second.path) in self.others
        )

    def __str__(self) -> str:
        values = " | ".join(map(str, self.others))
        return f"{self.first.name}={self.value} with {self.second.name}={values}: {self.reason}"


def check(around: Around, *, source: str) -> None:
    """Raise UserError with every end of a range, and every option, that is legal in no combination,
    and where no combination is legal at all.
    """
    wrong = _unknown(around, source)
    if wrong:
        raise UserError("\n".join(wrong))
    idle = _idle_knobs(around)
    wrong = [
        f"{source}: {printable(path)}: no field of a configuration, and nothing is derived of it; "
        f"{_offer(path, list(around.flat({})))}"
        for path in idle
    ]
    for slot in around.space.slots():
        for value in () if slot.path in idle else slot.knob.edges():
            if refused := _refused(around, {slot: value}, source):
                wrong += [line for line in refused.splitlines() if line not in wrong]
    if wrong:
        raise UserError("\n".join(wrong))
    refusals = Counter[str]()
    for point in _points(around, {}, LEAST_FOUND):
        if not (refusal := around.refusal(point)):
            return
        refusals[refusal] += 1
    reasons = "; ".join(
        f"{times:,} of them: {printable(reason, 300)}"
        for reason, times in refusals.most_common(MOST_REASONS)
    )
    raise UserError(
        f"{source}: nothing to search is found in it: none of {plural(LEAST_FOUND, 'point')} drawn "
        f"evenly is legal; {reasons}"
    )


def example(around: Around, path: str, value: Scalar) -> dict[str, Scalar] | None:
    """Knobs, of which one sets `path` to `value`, of a legal configuration."""
    slots = [slot for slot in around.space.slots() if slot.path == path]
    ways = (way for slot in slots for way in _ways(around, {slot: value}))
    return next((way for way in ways if not around.illegal(way)), None)


def pairs(around: Around) -> list[Pair]:
    """The pairs of values, of ends of ranges and of options, that no legal combination has; of
    spaces with very many options none are looked for.
    """
    values = [
        (slot, value)
        for slot in around.space.slots()
        for value in slot.knob.edges()
        if not _refused(around, {slot: value}, "")
    ]
    if len(values) ** 2 > 2 * MAX_PAIRS:
        return []
    found: dict[tuple[str, Scalar, str], Pair] = {}
    for (first, value), (second, other) in itertools.combinations(values, 2):
        if _apart(first, value, second, other):
            continue
        if refused := _refused(around, {first: value, second: other}, ""):
            key = (first.name, value, second.name)
            known = found.get(key)
            before = known.others if known else ()
            reason = known.reason if known else first_line(refused)
            found[key] = Pair(first, value, second, (*before, other), reason)
    return list(found.values())


def never_drawn(around: Around) -> list[str]:
    """What of the space is never drawn, and rules that do nothing, in words; a line each, nothing
    where all is drawn.
    """
    known, points = pairs(around), list(_points(around, {}, NUM_POINTS))
    lines = [f"never drawn: {pair}" for pair in known]
    left: list[dict[str, Scalar]] = []
    broken, others = Counter[str](), dict[str, list[str]]()
    for point in points:
        try:
            fields = around.fields(point, source="")
        except UserError as error:
            why = first_line(str(error))
            if not any(pair.covers(point) for pair in known):
                others.setdefault(VALUES.sub("…", why), []).append(why)
            continue
        violated = around.violated(fields)
        broken.update(violated)
        left += [] if violated else [fields]
    lines += [
        f"never drawn: {plural(len(whys), 'point')} of {NUM_POINTS:,} drawn evenly, as: {whys[0]}"
        for whys in sorted(others.values(), key=len, reverse=True)[:MOST_REASONS]
    ]
    share = f"{len(left):,} of {plural(NUM_POINTS, 'point')} drawn evenly"
    if len(left) < len(points):
        lines.append(f"left of the space: {share}")
    return [*lines, *_idle(around, points, broken)]


def _idle(
    around: Around, points: Sequence[Mapping[str, Scalar]], broken: Mapping[str, int]
) -> list[str]:
    """Rules that do nothing on these points, and those that the baseline itself does not keep."""
    assert around.config is not None
    slots, of = list(around.space.slots()), f"of {plural(len(points), 'point')} drawn evenly"
    lines = [
        f"warning: where {text}: it excludes none {of}"
        for text in around.space.where
        if text not in broken
    ]
    lines += [
        f"warning: when {around.space.when[slot.name]}: it holds at none {of}, so that "
        f"{slot.name} is never searched"
        for slot in slots
        if slot.name in around.space.when
        and not any(slot.path in point and slot.open(point) for point in points)
    ]
    lines += [
        f"the baseline does not keep: where {text}; it is trial 0 all the same"
        for text in around.violated(around.config.flat())
    ]
    return lines


def _idle_knobs(around: Around) -> list[str]:
    """Knobs that are no fields of a configuration, and of which nothing is derived."""
    fields = TrainConfig.model_fields
    knobs = around.space.knobs
    return [path for path in knobs if path not in around.own and path.split(".")[0] not in fields]


def _unknown(around: Around, source: str) -> list[str]:
    """Paths that rules speak of and no configuration of the space has, a line each."""
    space, known = around.space, dict.fromkeys(around.flat({}))
    for slot in space.slots():
        known[slot.path] = None
        if slot.path.endswith(".name"):
            for value in slot.knob.edges():
                known |= dict.fromkeys(around.flat({slot.path: value}))
    rules = [("where", text, parse(text).names) for text in space.where]
    rules += [(f"when.{name}", text, parse(text).names) for name, text in space.when.items()]
    rules += [(f"derived.{p}", text, (p, *parse(text).names)) for p, text in space.derived.items()]
    return [
        f"{source}: {rule}: {printable(text)}: no field or knob of that name (a text needs "
        f"quotes); {_offer(name, list(known))}"
        for rule, text, names in rules
        for name in names
        if name not in known
    ]


def _offer(name: str, known: Sequence[str]) -> str:
    part = [path for path in known if path.startswith(f"{name.rpartition('.')[0]}.")]
    return choices(name, part if "." in name and part else known)


def _refused(around: Around, held: Mapping[Slot, Scalar], source: str) -> str:
    """Why no configuration has these values, whatever else it has; '' where one has."""
    first = ""
    for way in _ways(around, held):
        refused = around.illegal(way, source=source)
        if not refused:
            return ""
        first = first or refused
    return first


def _ways(around: Around, held: Mapping[Slot, Scalar]) -> Iterator[dict[str, Scalar]]:
    """Points, not all of them whole, that have these values: on the configuration as it is, with
    each value of each other knob, then with all others drawn.
    """
    alone = _alone(held)
    yield alone
    for slot in around.space.slots():
        if slot.path not in alone and (not slot.part or slot.open(alone)):
            for value in slot.knob.edges():
                yield alone | _alone({slot: value})
    yield from _points(around, held, NUM_FILLED)


def _alone(held: Mapping[Slot, Scalar]) -> dict[str, Scalar]:
    names = {f"{slot.part}.name": slot.variant for slot in held if slot.part}
    return {**names, **{slot.path: value for slot, value in held.items()}}


def _apart(first: Slot, value: Scalar, second: Slot, other: Scalar) -> bool:
    """Whether two values can never be of one point: options of one knob, or of different
    variants.
    """
    names = [_alone({first: value}), _alone({second: other})]
    return any(names[0][path] != names[1][path] for path in names[0].keys() & names[1].keys()) or (
        first.name == second.name
    )


def _points(
    around: Around, held: Mapping[Slot, Scalar], number: int
) -> Iterator[dict[str, Scalar]]:
    """Points drawn evenly, always the same ones, that have these values."""
    fixed: dict[str, Scalar] = {slot.name: coded(slot.knob, value) for slot, value in held.items()}
    fixed |= {f"{slot.part}.name": slot.variant for slot in held if slot.part}
    for count in range(number):
        chance = random.Random(count)
        point = at(around, lambda _, chance=chance: chance.random(), fixed)  # type: ignore[misc]
        if all(slot.path in point for slot in held):
            yield point
