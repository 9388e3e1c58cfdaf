"""What a rule of the diagnosis says of a run, and what it is told of the run's setting."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """`seen` is what the curves show, `advice` what it means and what to do; `numbers` are those of
    `seen`.
    """

    name: str
    seen: str
    advice: str
    numbers: Mapping[str, float]

    @property
    def text(self) -> str:
        return f"{self.seen}: {self.advice}"


@dataclass(frozen=True)
class Setting:
    """What a run's curves are read against. `gap_void` says why its val pictures may not be new to
    it.
    """

    num_classes: int
    num_val: int
    num_train_subset: int  # pictures that train_loss and train_acc are taken on
    planned_epochs: int
    target_train_acc: float | None
    schedule_ends_low: bool
    gap_void: str
    soft_targets: bool  # trained on something else than plain cross entropy

    @property
    def chance_loss(self) -> float:
        return math.log(self.num_classes)

    def error(self, acc: float) -> float:
        """The standard error of an accuracy on the val pictures."""
        return math.sqrt(max(0.0, acc * (1 - acc)) / self.num_val)


def share(number: float) -> str:
    return f"{100 * number:.1f} %"
