"""Metrics beside accuracy and loss, ours and the user's own: evaluated on val every epoch and on
test at the end. The config says by which of them, if any, runs are selected and judged.

Ours are defined as in scikit-learn. A class without a picture in the split has no part in a mean
over classes, but that macro-F1 counts one that was answered: its F1 is 0.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.errors import UserError
from pipeline.frozen import Frozen
from pipeline.own.blame import place_of
from pipeline.own.parts import Kind, Plain, at_fault, short

if TYPE_CHECKING:
    from torch import Tensor


class Measure(Frozen):
    """What config classes of metrics derive from. One of which less is better says so:
    `lower_is_better: ClassVar[bool] = True`.
    """

    if TYPE_CHECKING:
        name: str

    @abstractmethod
    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        """Of logits, float32 [N, K], and labels, int64 [N], of a whole split."""

    def problem(self, num_classes: int, num_seen: int) -> str:  # noqa: ARG002
        """Why it says nothing of a split with pictures of `num_seen` of the classes; "" where it
        does.
        """
        return ""


class BalancedAcc(Measure):
    """The mean recall of the classes: balanced accuracy."""

    name: Literal["balanced_acc"] = "balanced_acc"

    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        right, true, _ = _counts(logits, labels)
        return float((right / true)[true > 0].mean())


class MacroF1(Measure):
    """The mean F1 of the classes, each 2 TP / (2 TP + FP + FN)."""

    name: Literal["macro_f1"] = "macro_f1"

    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        right, true, named = _counts(logits, labels)
        return float((2 * right / (true + named))[true + named > 0].mean())


class AUROC(Measure):
    """The area under the ROC curve of each class against the rest, by its probability: the mean
    over the classes.
    """

    name: Literal["auroc"] = "auroc"

    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        scores = logits.double().softmax(1)
        seen = labels.unique().tolist()  # type: ignore[no-untyped-call]
        if problem := self.problem(scores.shape[1], len(seen)):
            raise UserError(f"metrics '{self.name}': {problem}")
        return sum(_area(scores[:, label], labels == label) for label in seen) / len(seen)

    def problem(self, num_classes: int, num_seen: int) -> str:  # noqa: ARG002
        return "it needs pictures of two classes, and there is one class alone" * (num_seen < 2)


class TopK(Measure):
    """The share of pictures whose class is among the k of the highest scores; of equal scores the
    later class comes first.
    """

    name: Literal["top_k"] = "top_k"
    k: int = Field(default=5, ge=1, le=100_000, description="recorded as top_5")

    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        best = logits.argsort(dim=1, stable=True)[:, -self.k :]
        return float((best == labels[:, None]).any(1).double().mean())

    def problem(self, num_classes: int, num_seen: int) -> str:  # noqa: ARG002
        return (
            f"k={self.k}: of {num_classes} classes it is 1 whatever is answered; allowed: below "
            f"{num_classes}"
        ) * (self.k >= num_classes)


class LogLoss(Measure):
    """The mean negative logarithm of the true class's probability, in nats; less is better."""

    lower_is_better: ClassVar[bool] = True
    name: Literal["log_loss"] = "log_loss"

    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        logs = logits.double().log_softmax(1)
        return float(-logs.gather(1, labels[:, None]).mean())


class ECE(Measure):
    """Expected calibration error (see `calibration_error`); less is better."""

    lower_is_better: ClassVar[bool] = True
    name: Literal["ece"] = "ece"

    def value(self, logits: "Tensor", labels: "Tensor") -> float:
        sure, answers = logits.softmax(1).max(1)
        return calibration_error(sure.cpu().numpy(), (answers == labels).cpu().numpy())


NUM_BINS = 15


def calibration_error(sure: Any, right: Any) -> float:
    """Expected calibration error over 15 equal bins of the probability of the answer (Guo et al.
    2017), of arrays [N].
    """
    import numpy as np

    sure, right = sure.astype(np.float64), right.astype(np.float64)
    bins = np.clip(np.ceil(sure * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = np.bincount(bins, right - sure, NUM_BINS)  # pictures in a bin × (accuracy − confidence)
    return float(np.abs(gaps).sum() / len(sure))


def _counts(logits: "Tensor", labels: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    """Pictures of each class that were answered rightly, that are of it, that were answered so:
    float64 [K].
    """
    import torch

    answers = logits.argmax(1)
    kinds = (labels[answers == labels], labels, answers)
    right, true, named = (torch.bincount(k, minlength=logits.shape[1]).double() for k in kinds)
    return right, true, named


def _area(scores: "Tensor", own: "Tensor") -> float:
    """The share of pairs of a picture of the class and another in which its score is the higher,
    equal ones half: by the mean ranks of equal scores (Mann & Whitney 1947).
    """
    import torch

    _, place, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2.0).double()[place]
    num, others = int(own.sum()), int((~own).sum())
    return float((ranks[own].sum() - num * (num + 1) / 2) / (num * others))


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


METRICS = (BalancedAcc, MacroF1, AUROC, TopK, LogLoss, ECE)
LOWER = "lower_is_better"
OURS_LOWER = {member().name for member in METRICS if getattr(member, LOWER, False)}


def _declared(part: Any) -> dict[str, Any]:
    """That less of the user's own metric is better, as a field: so it is recorded with it, and
    whoever takes it back later meets a field that the class lacks.
    """
    said = getattr(part, LOWER, False)
    if not isinstance(said, bool):
        raise ValueError(f"{place_of(part)}: {LOWER} is True or False, got {said!r}")
    return {LOWER: (Literal[True], True)} if said else {}


if TYPE_CHECKING:
    Metric = Measure
else:
    Metric = Annotated[
        BalancedAcc | MacroF1 | AUROC | TopK | LogLoss | ECE,
        Field(discriminator="name"),
        Kind("metric", METRICS, Measure, PlainMeasure, declared=_declared),
    ]


def called(metric: "Metric") -> str:
    """The name that its values are recorded under."""
    return f"top_{metric.k}" if type(metric) is TopK else str(short(metric.name))


def metric_names(metrics: "Sequence[Metric]") -> tuple[str, ...]:
    """What runs record: of val at each epoch, of test at the end."""
    return tuple(f"{part}_{called(metric)}" for metric in metrics for part in ("val", "test"))


def sign_of(config: Mapping[str, Any]) -> int:
    """1 where more of what a recorded config selects by is better, -1 where less is; read off the
    record, without the user's code. What is ordered is sign times value, the higher the better;
    what is recorded and shown is the value.
    """
    for tree in config.get("metrics", ()):
        name = f"top_{tree['k']}" if tree["name"] == "top_k" else short(tree["name"])
        if name == config.get("select") and (tree.get(LOWER) or tree["name"] in OURS_LOWER):
            return -1
    return 1


def values(
    metrics: "Sequence[Metric]",
    logits: "Tensor",
    labels: "Tensor",
    *,
    select: str = "acc",
    sign: int = 1,
) -> dict[str, float]:
    """Name → value, of a whole split. Raises UserError where one is no finite number, or the one
    that runs are selected by is no share of 1 where more is better.
    """
    found = {called(metric): float(metric.value(logits, labels)) for metric in metrics}
    for name, value in found.items():
        if not math.isfinite(value):
            raise UserError(f"metrics '{name}': a metric is a finite number, got {value}")
    for number, metric in enumerate(metrics):
        value = found[called(metric)]
        if called(metric) == select and sign > 0 and not 0 <= value <= 1:
            with at_fault(f"metrics.{number}", metric):
                raise ValueError(
                    f"runs are selected by it (select='{select}'), so it lies in 0 to 1 and more "
                    f"is better, or it says {LOWER} = True; got {value:g}"
                )
    return found
