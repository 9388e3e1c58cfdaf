"""Losses to train with: logits [B, K] and targets to one number.

Targets are labels (int64 [B]) or soft labels (float [B, K], rows that sum to 1: mixup,
distillation). Logits are float32 [B, K], also where the network computes in bf16.

Evaluation does not ask here: train_loss, val_loss and test_loss are always the plain cross entropy,
so that arms and trials with different losses compare.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.frozen import Frozen
from pipeline.own.parts import Kind, Plain

if TYPE_CHECKING:
    from torch import Tensor


class Criterion(Frozen):
    """Any loss: one value per sample, then a mean, weighted by class or over the hardest samples
    alone.
    """

    balanced: bool = Field(default=False, description="weight the classes against their imbalance")
    hardest: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description=(
            "share of a batch's samples (with accumulate: of each part), those of the "
            "highest loss, that count"
        ),
    )

    @abstractmethod
    def per_sample(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """The loss of every sample, [B], neither weighted nor selected."""

    def value(
        self, logits: "Tensor", targets: "Tensor", class_weights: "Tensor | None" = None
    ) -> "Tensor":
        """The loss of a batch, a scalar to differentiate.

        Raises TypeError where the logits are not float32, ValueError where `balanced` lacks its
        `class_weights`.
        """
        import torch

        if logits.dtype is not torch.float32:
            raise TypeError(f"logits must be float32, got {logits.dtype}")
        if class_weights is None and self.hardest == 1 and not self.balanced:
            return self.mean(logits, targets)
        return self.reduce(self.per_sample(logits, targets), targets, class_weights)

    def mean(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """The plain mean over all samples."""
        return self.per_sample(logits, targets).mean()

    def reduce(
        self, values: "Tensor", targets: "Tensor", class_weights: "Tensor | None"
    ) -> "Tensor":
        """The mean of values [B] over the samples that count, each times its class's weight (of
        soft labels, the expected).

        Of `hardest` < 1 the samples with the highest values count (Shrivastava, Gupta & Girshick
        2016, arXiv 1604.03540), at least one; hard is a high loss, whatever the class's weight. The
        divisor is the number of samples and not the sum of their weights, so that the mean over
        parts of a batch is that of the batch. Raises ValueError where `balanced` lacks its weights.
        """
        if self.balanced and class_weights is None:
            raise ValueError("a balanced loss needs class_weights")
        weighted = values
        if class_weights is not None:
            expected = (
                targets @ class_weights if targets.is_floating_point() else class_weights[targets]
            )
            weighted = values * expected
        if self.hardest < 1:
            num = max(1, round(self.hardest * len(values)))
            weighted = weighted[values.detach().topk(num, sorted=False).indices]
        return weighted.mean()

    def class_weights(self, counts: "Sequence[int] | Tensor") -> "Tensor":
        """n / (K n_c), float32 [K], for n_c training samples of class c, n of all and K classes
        that have any.

        Over the training samples the weights are 1 on average: learning rates keep their meaning. A
        class without samples has weight 1. King & Zeng 2001, Political Analysis 9.
        """
        import torch

        num = torch.as_tensor(counts, dtype=torch.float64)
        there = num > 0
        weights = num.sum() / (there.sum() * num)
        return torch.where(there, weights, 1.0).float()


class CrossEntropy(Criterion):
    """Cross entropy, in nats; `smoothing` spreads that share of every target evenly over all
    classes.

    Label smoothing: Szegedy et al. 2015, arXiv 1512.00567.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    smoothing: float = Field(default=0.0, ge=0, lt=1)

    def per_sample(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn import functional

        return functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=self.smoothing
        )

    def mean(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """The plain mean over all samples, by torch's own kernel."""
        from torch.nn import functional

        return functional.cross_entropy(logits, targets, label_smoothing=self.smoothing)


class Focal(Criterion):
    """(1 - p)^gamma times the cross entropy, in nats: less for what is already right (Lin et al.
    2017, arXiv 1708.02002).

    The paper's alpha, a weight per class, is `balanced` here.
    """

    name: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0, le=10)

    def per_sample(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        import torch

        logs = logits.log_softmax(1)
        if not targets.is_floating_point():
            logs = logs.gather(1, targets[:, None])
        # Below gamma 1 the power's slope at 0 is infinite; the clamp's is 0 there.
        missing = (-logs.expm1()).clamp_min(torch.finfo(logs.dtype).tiny)
        values = missing**self.gamma * -logs
        return (values * targets).sum(1) if targets.is_floating_point() else values[:, 0]


class MSE(Criterion):
    """Squared error of the softmax against the one-hot target, mean over the classes, in [0, 2 /
    K].

    Compared with the cross entropy by Golik, Doetsch & Ney 2013 (Interspeech): its gradient
    vanishes where the network is sure and wrong.
    """

    name: Literal["mse"] = "mse"

    def per_sample(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn import functional

        shares = (
            targets if targets.is_floating_point() else functional.one_hot(targets, logits.shape[1])
        )
        return (logits.softmax(1) - shares).square().mean(1)


class PlainLoss(Plain):
    """A function of (logits, targets), or a class whose objects are called with them and keep
    nothing: a scalar.
    """

    LEADING: ClassVar[tuple[str, ...]] = ("logits", "targets")
    balanced: ClassVar[bool] = False

    @classmethod
    def leading(cls, part: object) -> tuple[str, ...]:
        """Of a class they are passed to its objects."""
        return () if isinstance(part, type) else cls.LEADING

    def value(
        self,
        logits: "Tensor",
        targets: "Tensor",
        class_weights: "Tensor | None" = None,  # noqa: ARG002
    ) -> "Tensor":
        """The loss of a batch, a scalar to differentiate."""
        import torch

        if isinstance(type(self).part, type):
            found = self.call().to(logits.device)(logits, targets)
        else:
            found = self.call(logits, targets)
        if not isinstance(found, torch.Tensor) or found.ndim:
            got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise self.wrong(f"a loss is one number, a tensor of shape (), got {got}")
        return found


LOSSES = (CrossEntropy, Focal, MSE)
Loss = Annotated[
    CrossEntropy | Focal | MSE,
    Field(discriminator="name"),
    Kind("loss", LOSSES, Criterion, PlainLoss),
]
