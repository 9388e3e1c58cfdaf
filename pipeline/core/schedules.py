"""Learning-rate schedules: pure functions of (step, total) that scale the optimizer's learning rate."""

import math
from typing import Annotated, Literal

from pydantic import Field

from pipeline.frozen import Frozen


class Constant(Frozen):
    """The same rate throughout."""

    name: Literal["constant"] = "constant"

    def factor(self, step: int, total: int) -> float:  # noqa: ARG002
        """1 at every step."""
        return 1.0


class Cosine(Frozen):
    """Linear warm-up over the first `warmup` share of the steps, then half a cosine down to `floor`.

    The cosine is SGDR's without restarts (Loshchilov & Hutter 2016, arXiv 1608.03983).
    """

    name: Literal["cosine"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of all steps")
    floor: float = Field(default=0.0, ge=0, lt=1, description="final factor")

    def factor(self, step: int, total: int) -> float:
        """In [0, 1], for `step` counted from 0 up to `total`."""
        warm = self.warmup * total
        if step < warm:
            return (step + 1) / (warm + 1)
        progress = (step - warm) / max(1.0, total - warm)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


Schedule = Annotated[Constant | Cosine, Field(discriminator="name")]
SCHEDULES = (Constant, Cosine)
