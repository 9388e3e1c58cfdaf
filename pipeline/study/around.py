"""A search space around a configuration: what a point makes of it, and what a point lacks or does
wrong.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.core.config import TrainConfig
from pipeline.errors import UserError, choices, printable
from pipeline.frozen import Scalar
from pipeline.study.expression import ExpressionError, Missing, parse
from pipeline.study.ranges import Suggests
from pipeline.study.space import Space


def own_knobs(space: Space) -> frozenset[str]:
    """The knobs that are no fields of a configuration, and of which something is derived."""
    used = {name for text in space.derived.values() for name in parse(text).names}
    fields = TrainConfig.model_fields
    return frozenset(p for p in space.knobs if p in used and p.split(".")[0] not in fields)


def _met(text: str, fields: Mapping[str, Scalar]) -> bool:
    """Whether a condition of the space holds, or is of a field that is not there."""
    try:
        return parse(text).holds(fields)
    except Missing:
        return True
    except ExpressionError:
        return False


def first_line(refused: str) -> str:
    """What `Around.illegal` says without a source, in a line."""
    return refused.partition("\n")[0].removeprefix(": ").removeprefix("(whole): ")


class Around:
    """The points of `space` as changes of `config`; without one nothing is known to be illegal."""

    def __init__(self, space: Space, config: TrainConfig | None) -> None:
        self.space, self.config = space, config
        self._flat = config.flat() if config is not None else {}
        self.own = own_knobs(space)
        self._switched: dict[tuple[tuple[str, Scalar], ...], Mapping[str, Scalar]] = {}

    def made(self, knobs: Mapping[str, Scalar], *, source: str = "override") -> TrainConfig:
        """The configuration of a point. Raises UserError where there is no such configuration."""
        assert self.config is not None, "a space by itself makes no configuration"
        try:
            changes = self.overrides(knobs)
        except ExpressionError as error:
            raise UserError(f"{source}: derived: {error}") from None
        try:
            return self.config.override(changes, source=source)
        except UserError as error:
            raise UserError("\n".join(map(self._explained, str(error).splitlines()))) from None

    def _explained(self, line: str) -> str:
        """A refusal, with the expression where it is of a field that is derived."""
        found = [text for path, text in self.space.derived.items() if f": {path}: " in f": {line}"]
        return f"{line} (derived: {found[0]})" if found else line

    def overrides(self, knobs: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """What a point changes of the configuration: its knobs that are fields, and what is
        derived. Raises ExpressionError where that has no value.
        """
        changes = {path: value for path, value in knobs.items() if path not in self.own}
        fields = self.flat(knobs) if knobs and self.space.derived else {}
        for path, text in self.space.derivations().items():
            if path in fields:
                try:
                    changes[path] = fields[path] = parse(text).value(fields)
                except Missing:  # of a knob that this point does not have
                    continue
        return changes

    def suggest(self, trial: Suggests) -> dict[str, Scalar]:
        """Ask `trial` for one point, legal or not."""
        return self.space.suggest(trial, self.flat)

    def illegal(self, knobs: Mapping[str, Scalar], *, source: str = "point") -> str:
        """Why there is no configuration of this point, a line each; '' where there is one."""
        try:
            self.fields(knobs, source=source)
        except UserError as error:
            return str(error)
        return ""

    def fields(self, knobs: Mapping[str, Scalar], *, source: str = "point") -> dict[str, Scalar]:
        """Every field of a point's configuration, and its knobs that are none. Raises UserError
        where there is no such configuration.
        """
        if self.config is None:
            return dict(knobs)
        own = {path: value for path, value in knobs.items() if path in self.own}
        return {**self.made(knobs, source=source).flat(), **own}

    def refusal(self, knobs: Mapping[str, Scalar]) -> str:
        """Why a point is never drawn, in a line; '' where it may be."""
        try:
            fields = self.fields(knobs, source="")
        except UserError as error:
            return first_line(str(error))
        return next((f"where {text}" for text in self.violated(fields)), "")

    def violated(self, fields: Mapping[str, Scalar]) -> list[str]:
        """The conditions of the space that these fields do not meet."""
        return [text for text in self.space.where if not _met(text, fields)]

    def flat(self, knobs: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """What the fields are at a point, of which not all knobs need be known: its own values,
        else those of the configuration; of a part of another name that part's own defaults.
        """
        names = tuple(
            (path, value)
            for path, value in knobs.items()
            if path.endswith(".name") and value != self._flat.get(path)
        )
        if names not in self._switched:
            known = self._with_names(dict(names)) if names and self._flat else self._flat
            self._switched[names] = known
        return {**self._switched[names], **knobs}

    def within(
        self, points: Iterable[Mapping[str, Scalar]], *, whole: bool = False
    ) -> tuple[dict[str, Scalar], ...]:
        """Points of other studies that lie in this space and are legal, made complete. With
        `whole` what one names and the space lacks must be as the configuration has it.
        """
        base, paths = self._flat, {*self.space.paths().values()}
        found = []
        for given in points:
            other = {path for path in given if path not in paths and base.get(path) != given[path]}
            point = None if whole and other else self.point({**base, **given}, given)
            if point and not self.refusal(point):
                found.append(point)
        return tuple(found)

    def point(
        self, flat: Mapping[str, Scalar], drawn: Mapping[str, Scalar] | None = None
    ) -> dict[str, Scalar] | None:
        """The knobs of the point that a flattened configuration is of; None where it lies outside
        the space. `drawn`: the knobs that it came from, for those that no field shows.
        """
        own = {path: value for path, value in (drawn or {}).items() if path in self.own}
        return self.space.point({**flat, **own})

    def complete(self, given: Mapping[str, Any], *, source: str) -> dict[str, Scalar]:
        """The whole point that a user gives some knobs of: the others have the configuration's
        values. Raises UserError where that is no point of the space, or no configuration.
        """
        known = [slot.path for slot in self.space.slots()]
        for path in given:
            if path not in known:
                raise UserError(
                    f"{source}: {printable(path)}: no knob of the space; "
                    f"{choices(path, dict.fromkeys(known))}"
                )
        knobs: dict[str, Scalar] = {}
        for slot in self.space.slots():
            if not self.space.has(slot, knobs, self.flat):
                continue
            value = given.get(slot.path, self.flat(knobs).get(slot.path))
            if not slot.knob.contains(value):
                whose = "got" if slot.path in given else "not given, and the baseline has"
                raise UserError(
                    f"{source}: {printable(slot.path)}: {whose} {printable(repr(value))}; "
                    f"allowed: {slot.knob.describe()}"
                )
            knobs[slot.path] = value
        if left := [path for path in given if path not in knobs]:
            named = [slot.name for slot in self.space.slots() if slot.path == left[0]]
            rules = [self.space.when[name] for name in named if name in self.space.when]
            why = f"it is one when {rules[0]}" if rules else choices(left[0], knobs)
            raise UserError(f"{source}: {printable(left[0])}: no knob of this point; {why}")
        self.made(knobs, source=source)
        if refused := self.refusal(knobs):
            raise UserError(f"{source}: never drawn, so not tried first either: {refused}")
        return knobs

    def _with_names(self, names: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The flattened configuration with parts of other names; without the fields of such a part
        where these names alone are illegal.
        """
        assert self.config is not None
        try:
            return self.config.override(names).flat()
        except UserError:
            parts = tuple(path.removesuffix("name") for path in names)
            return {k: v for k, v in self._flat.items() if not k.startswith(parts)}
