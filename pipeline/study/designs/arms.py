"""Arms named one by one."""

import itertools
from typing import Literal

from pydantic import Field, model_validator

from pipeline.errors import printable
from pipeline.study.designs.base import Arm, Label, Overrides, Scheme
from pipeline.study.questions import Question, differences


class Arms(Scheme):
    """Arms named one by one; the first is the reference, which the others are measured against,
    those aside of which `against` names another.

    Where they are all combinations of some of them, the first with no overrides, these are the
    factors of a full factorial.
    """

    name: Literal["arms"] = "arms"
    arms: dict[Label, Overrides] = Field(min_length=2)
    against: dict[Label, Label] = Field(
        default={}, description="arm: the arm that it is measured against, if not the first"
    )

    @model_validator(mode="after")
    def _asked_of_arms(self) -> "Arms":
        first, *others = self.arms
        for arm, other in self.against.items():
            if arm not in others:
                raise ValueError(
                    f"against: '{printable(arm, 60)}' is none of the arms that are measured: "
                    f"{', '.join(others)}"
                )
            if other == arm or other not in self.arms:
                known = ", ".join(name for name in (first, *others) if name != arm)
                raise ValueError(
                    f"against: '{printable(arm, 60)}' cannot be measured against "
                    f"'{printable(other, 60)}'; allowed: {known}"
                )
        return self

    def factors(self) -> tuple[str, ...]:
        return tuple(next(iter(self._levels().values()), {}))

    def expand(self) -> tuple[Arm, ...]:
        levels = self._levels()
        return tuple(
            Arm(name, overrides, levels.get(name, {})) for name, overrides in self.arms.items()
        )

    def questions(self) -> tuple[Question, ...]:
        """One difference of each arm but the first, then the effects where they are a factorial."""
        first, *others = self.arms
        sides = {arm: self.against.get(arm, first) for arm in others}
        asked = [
            question
            for side in self.arms
            for question in differences([arm for arm in others if sides[arm] == side], side)
        ]
        return (*asked, *(other for other in super().questions() if other.kind != "delta"))

    def _levels(self) -> dict[str, dict[str, bool]]:
        """Arm → factor → on, where the arms are a full factorial of two factors or more; else
        nothing.
        """
        (_, reference), *others = self.arms.items()
        k = len(self.arms).bit_length() - 1
        factors = dict(sorted(others, key=lambda item: len(item[1]))[:k])
        paths = [path for overrides in factors.values() for path in overrides]
        if k < 2 or len(self.arms) != 2**k or reference or len(set(paths)) < len(paths):
            return {}
        found = {}
        for on in itertools.product((False, True), repeat=k):
            merged = {
                path: v
                for f, is_on in zip(factors, on, strict=True)
                if is_on
                for path, v in factors[f].items()
            }
            arm = next((name for name, overrides in self.arms.items() if overrides == merged), None)
            if arm is not None:
                found[arm] = dict(zip(factors, on, strict=True))
        return found if len(found) == len(self.arms) else {}
