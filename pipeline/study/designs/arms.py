"""Arms named one by one."""

import itertools
from typing import Literal

from pydantic import Field

from pipeline.study.designs.base import Arm, Label, Overrides, Scheme


class Arms(Scheme):
    """Arms named one by one; the first is the reference.

    Where they are all combinations of some of them, the first with no overrides, these are the
    factors of a full factorial.
    """

    name: Literal["arms"] = "arms"
    arms: dict[Label, Overrides] = Field(min_length=2)

    def factors(self) -> tuple[str, ...]:
        return tuple(next(iter(self._levels().values()), {}))

    def expand(self) -> tuple[Arm, ...]:
        levels = self._levels()
        return tuple(
            Arm(name, overrides, levels.get(name, {})) for name, overrides in self.arms.items()
        )

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
