"""What a training step minimises: the study's loss, of pictures that an adversary may have changed,
and a teacher's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.adversary import attack
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.core.mixed_precision import computing_in
from pipeline.core.regularize import Distill


@dataclass(frozen=True)
class Teacher:
    """A finished network and its pictures' normalisation; `pixels` are the student's."""

    model: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def logits(self, x: Tensor, pixels: Pixels) -> Tensor:
        """The teacher's logits for pictures that were normalised for the student."""
        shape = (-1, 1, 1)
        scale = 1 / (255 * pixels.scale * torch.tensor(self.std, device=x.device).view(shape))
        shift = torch.tensor(self.mean, device=x.device).view(shape) / torch.tensor(
            self.std, device=x.device
        ).view(shape)
        with torch.inference_mode():
            logits: Tensor = self.model(((x - pixels.shift) * scale - shift).to(x.dtype))
        return logits.float().clone()


@dataclass(frozen=True)
class Objective:
    """Loss of a batch, ready for `backward`. `network` is `model`, or its wrapper that shares
    gradients among processes.
    """

    config: TrainConfig
    model: nn.Module
    network: nn.Module
    pixels: Pixels
    dtype: torch.dtype
    class_weights: Tensor | None = None
    teacher: Teacher | None = None

    def __call__(self, x: Tensor, targets: Tensor) -> Tensor:
        """x: normalised [B, C, S, S]; targets: labels int64 [B] or probabilities [B, K]; returns a
        scalar.
        """
        adversary, clean = self.config.adversary, x
        if adversary.epsilon > 0:
            x = attack(adversary, self.model, x, targets, self.pixels, dtype=self.dtype)
        both = adversary.epsilon > 0 and adversary.clean_share > 0
        with computing_in(self.dtype, x.device):
            logits = self.network(torch.cat([clean, x]) if both else x)
        logits = logits.float()
        if not both:
            return self._loss(x, logits, targets)
        losses = [
            self._loss(part, own, targets)
            for part, own in zip((clean, x), logits.chunk(2), strict=True)
        ]
        return adversary.clean_share * losses[0] + (1 - adversary.clean_share) * losses[1]

    def _loss(self, x: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """What the logits [B, K] of these pictures cost."""
        loss = self.config.loss.value(logits, targets, self.class_weights)
        loss = self.config.penalty.added(loss, self.model, x, logits, targets)
        if self.teacher is None:
            return loss
        with computing_in(self.dtype, x.device):
            taught = self.teacher.logits(x, self.pixels)
        share = self.config.distill.weight
        return (1 - share) * loss + share * distance(self.config.distill, logits, taught)


def distance(distill: Distill, logits: Tensor, taught: Tensor) -> Tensor:
    """Temperature squared times the mean Kullback-Leibler divergence from the teacher's softened
    outputs to the student's.

    It differs from the paper's cross entropy by the teacher's entropy, a constant: 0 where the
    student equals the teacher.
    """
    t = distill.temperature
    student, teacher = functional.log_softmax(logits / t, 1), functional.log_softmax(taught / t, 1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * t**2
