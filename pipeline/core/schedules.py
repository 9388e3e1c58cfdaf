"""Learning-rate schedules: pure functions of where a run stands, which scale the optimizer's
learning rate.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.frozen import Frozen
from pipeline.own.parts import Kind, Plain

ROUNDING = 1e-9  # shares of a run this close are the same step: 0.3 / 0.1 is less than 3


class Scheduled(Frozen):
    """Any schedule: a linear warm-up (Goyal et al. 2017, arXiv 1706.02677), then the shape over the
    rest of the run.
    """

    warmup: float = Field(default=0.0, ge=0, lt=1, description="share of all steps")

    def factor(self, step: float, total: int, val_losses: Sequence[float] = ()) -> float:
        """In [0, 1], for `step` in [0, `total`]; `val_losses` are those of the epochs that are
        over.
        """
        warm = self.warmup * total
        if step < warm:
            return (step + 1) / (warm + 1) * self.shape(0.0, val_losses)
        return self.shape(min(1.0, (step - warm) / max(1.0, total - warm)), val_losses)

    @abstractmethod
    def shape(self, progress: float, val_losses: Sequence[float]) -> float:
        """In [0, 1], for the `progress` in [0, 1] through what the warm-up leaves of the run."""


class Constant(Scheduled):
    """The same rate throughout."""

    name: Literal["constant"] = "constant"

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:  # noqa: ARG002
        return 1.0


class Step(Scheduled):
    """Down by `gamma` at equal distances, as the networks for ImageNet were trained (He et al.
    2015, arXiv 1512.03385).
    """

    name: Literal["step"] = "step"
    every: float = Field(
        default=0.3, gt=0, le=1, description="share of the run between two steps down"
    )
    gamma: float = Field(default=0.1, ge=0, le=1)

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:  # noqa: ARG002
        return self.gamma ** math.floor(progress / self.every + ROUNDING)


class Exponential(Scheduled):
    """The same relative step down at every step, from 1 to `final`."""

    name: Literal["exponential"] = "exponential"
    final: float = Field(default=0.01, gt=0, le=1, description="final factor")

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:  # noqa: ARG002
        return self.final**progress


class Cosine(Scheduled):
    """Half a cosine down to `floor`: SGDR's without restarts (Loshchilov & Hutter 2016, arXiv
    1608.03983).
    """

    name: Literal["cosine"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of all steps")
    floor: float = Field(default=0.0, ge=0, lt=1, description="final factor")

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:  # noqa: ARG002
        return fall(progress, self.floor)


class WarmRestarts(Scheduled):
    """SGDR (Loshchilov & Hutter 2016, arXiv 1608.03983): cycles of half a cosine, which end with
    the run.

    The best epoch is likely the last one of a cycle.
    """

    name: Literal["warm_restarts"] = "warm_restarts"
    num_cycles: int = Field(default=3, ge=1, le=100)
    growth: float = Field(
        default=2.0, ge=1, le=10, description="length of a cycle over that of the one before"
    )
    floor: float = Field(default=0.0, ge=0, lt=1, description="factor at a cycle's end")

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:  # noqa: ARG002
        start, length = 0.0, 1 / sum(self.growth**cycle for cycle in range(self.num_cycles))
        for _ in range(self.num_cycles - 1):
            if progress < start + length - ROUNDING:
                break
            start += length
            length *= self.growth
        return fall(min(1.0, max(0.0, progress - start) / length), self.floor)


class OneCycle(Scheduled):
    """One cycle (Smith 2017, arXiv 1708.07120): straight up from 1 / `div` to 1, then straight down
    to 1 / `final_div`.

    The learning rate only: the paper moves the momentum against it, here it stays.
    """

    name: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(default=0.3, gt=0, lt=1, description="share of the run on the way up")
    div: float = Field(default=25.0, ge=1, le=1e6)
    final_div: float = Field(default=1e4, ge=1, le=1e12)

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:  # noqa: ARG002
        if progress < self.rise:
            low, height = 1 / self.div, progress / self.rise
        else:
            low, height = 1 / self.final_div, (1 - progress) / (1 - self.rise)
        return low + (1 - low) * height


class Plateau(Scheduled):
    """Down by `gamma` after every `patience` epochs in a row whose val_loss is no better than the
    best before them.

    torch's ReduceLROnPlateau with its `patience` one lower (it counts the epochs that it puts up
    with) and no cooldown. Read off the whole history, so a run that goes on from a checkpoint
    stands where it stood.
    """

    name: Literal["plateau"] = "plateau"
    gamma: float = Field(default=0.1, ge=0, le=1)
    patience: int = Field(default=5, ge=1, le=100_000, description="epochs")
    threshold: float = Field(
        default=1e-4, ge=0, lt=1, description="better is lower by more than this share of the best"
    )

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:  # noqa: ARG002
        best, waited, reductions = math.inf, 0, 0
        for loss in val_losses:
            if loss < best * (1 - self.threshold):
                best, waited = loss, 0
            else:
                waited += 1
            if waited == self.patience:
                waited, reductions = 0, reductions + 1
        return self.gamma**reductions


def fall(progress: float, floor: float) -> float:
    """Half a cosine from 1 at `progress` 0 to `floor` at 1."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class PlainSchedule(Scheduled, Plain):
    """A function of the progress in [0, 1], and of `val_losses` where it asks for them: the
    factor.
    """

    LEADING: ClassVar[tuple[str, ...]] = ("progress",)
    GIVEN: ClassVar[tuple[str, ...]] = ("val_losses",)

    def shape(self, progress: float, val_losses: Sequence[float]) -> float:
        found = self.call(progress, val_losses=val_losses)
        if not isinstance(found, (int, float)) or not 0 <= found < math.inf:
            raise self.wrong(f"the factor of a learning rate is a number from 0 on, got {found!r}")
        return float(found)


SCHEDULES = (Constant, Step, Exponential, Cosine, WarmRestarts, OneCycle, Plateau)
Schedule = Annotated[
    Constant | Step | Exponential | Cosine | WarmRestarts | OneCycle | Plateau,
    Field(discriminator="name"),
    Kind("schedule", SCHEDULES, Scheduled, PlainSchedule),
]
