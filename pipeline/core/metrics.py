"""Metrics of the user's own, beside accuracy and loss: evaluated on val every epoch and on test at
the end; nothing is selected by them.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pipeline.errors import UserError
from pipeline.frozen import Frozen
from pipeline.own.parts import Kind, Plain, short

if TYPE_CHECKING:
    from torch import Tensor


class Measure(Frozen):
    """What config classes of metrics derive from."""

    if TYPE_CHECKING:
        name: str

    @abstractmethod
    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        """Of logits, float32 [N, K], and labels, int64 [N], of a whole split."""


class PlainMeasure(Plain):
    """A function of (logits, labels) of a whole split: a finite number."""

    LEADING: ClassVar[tuple[str, ...]] = ("logits", "labels")

    if TYPE_CHECKING:
        name: str

    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        """Of logits, float32 [N, K], and labels, int64 [N]."""
        found = float(self.call(logits, labels))
        if not math.isfinite(found):
            raise self.wrong(f"a metric is a finite number, got {found}")
        return found


if TYPE_CHECKING:
    Metric = Measure
else:
    Metric = Annotated[Measure, Kind("metric", (), Measure, PlainMeasure)]


def called(metric: "Metric") -> str:
    """The name that its values are recorded under."""
    return str(short(metric.name))


def metric_names(metrics: "Sequence[Metric]") -> tuple[str, ...]:
    """What runs record: of val at each epoch, of test at the end."""
    return tuple(f"{part}_{called(metric)}" for metric in metrics for part in ("val", "test"))


def values(metrics: "Sequence[Metric]", logits: "Tensor", labels: "Tensor") -> dict[str, float]:
    """Name → value, of a whole split. Raises UserError where one is no finite number."""
    found = {called(metric): float(metric.value(logits, labels)) for metric in metrics}
    for name, value in found.items():
        if not math.isfinite(value):
            raise UserError(f"metrics '{name}': a metric is a finite number, got {value}")
    return found
