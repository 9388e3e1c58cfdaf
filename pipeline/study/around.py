"""A search space around a configuration: what a point makes of it, and what a point lacks or does
wrong.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.core.config import TrainConfig
from pipeline.errors import UserError, choices, printable
from pipeline.frozen import Scalar
from pipeline.study.ranges import Suggests
from pipeline.study.space import Space


def first_line(refused: str) -> str:
    """What `Around.illegal` says without a source, in a line."""
    return refused.partition("\n")[0].removeprefix(": ").removeprefix("(whole): ")


class Around:
    """The points of `space` as changes of `config`; without one nothing is known to be illegal."""

    def __init__(self, space: Space, config: TrainConfig | None) -> None:
        self.space, self.config = space, config
        self._flat = config.flat() if config is not None else {}
        self._switched: dict[tuple[tuple[str, Scalar], ...], Mapping[str, Scalar]] = {}

    def made(self, knobs: Mapping[str, Scalar], *, source: str = "override") -> TrainConfig:
        """The configuration of a point. Raises UserError where there is no such configuration."""
        assert self.config is not None, "a space by itself makes no configuration"
        return self.config.override(knobs, source=source)

    def suggest(self, trial: Suggests) -> dict[str, Scalar]:
        """Ask `trial` for one point, legal or not."""
        return self.space.suggest(trial)

    def illegal(self, knobs: Mapping[str, Scalar], *, source: str = "point") -> str:
        """Why there is no configuration of this point, a line each; '' where there is one."""
        if self.config is None:
            return ""
        try:
            self.made(knobs, source=source)
        except UserError as error:
            return str(error)
        return ""

    def refusal(self, knobs: Mapping[str, Scalar]) -> str:
        """Why a point is never drawn, in a line; '' where it may be."""
        return first_line(self.illegal(knobs, source=""))

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
            self._switched[names] = self._with_names(dict(names), knobs) if names else self._flat
        return {**self._switched[names], **knobs}

    def point(
        self, flat: Mapping[str, Scalar], drawn: Mapping[str, Scalar] | None = None
    ) -> dict[str, Scalar] | None:
        """The knobs of the point that a flattened configuration is of; None where it lies outside
        the space. `drawn`: the knobs that it came from, for those that no field shows.
        """
        return self.space.point({**(drawn or {}), **flat})

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
            if not slot.open(knobs):
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
            raise UserError(
                f"{source}: {printable(left[0])}: no knob of this point; {choices(left[0], knobs)}"
            )
        self.made(knobs, source=source)
        return knobs

    def _with_names(
        self, names: Mapping[str, Scalar], knobs: Mapping[str, Scalar]
    ) -> dict[str, Scalar]:
        """The flattened configuration with parts of other names; what stands for fields of such a
        part is left out where nothing legal is found.
        """
        for change in (names, knobs):
            try:
                return self.made(change).flat()
            except UserError:
                continue
        parts = tuple(path.removesuffix("name") for path in names)
        return {k: v for k, v in self._flat.items() if not k.startswith(parts)}
