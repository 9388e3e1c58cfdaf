"""What a rule of the diagnosis says of a run, and what it is told of the run's setting."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.analysis.chance import learned


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
    train_rate: float  # what naming the most frequent class gives on training pictures

    @property
    def chance_loss(self) -> float:
        return math.log(self.num_classes)

    def learned(self, train_acc: float) -> bool:
        """Whether it shows that a network has learned something."""
        return learned(train_acc, self.num_train_subset, self.train_rate)

    def error(self, acc: float) -> float:
        """The standard error of an accuracy on the val pictures."""
        return math.sqrt(max(0.0, acc * (1 - acc)) / self.num_val)


def share(number: float) -> str:
    return f"{100 * number:.1f} %"
