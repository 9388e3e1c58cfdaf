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
from pipeline.core.members import each
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
        adversary, networks = self.config.adversary, each(self.model)
        seen = [x] * len(networks)
        if adversary.epsilon > 0:  # each network's pictures are changed against it alone
            seen = [
                attack(adversary, one, x, targets, self.pixels, dtype=self.dtype)
                for one in networks
            ]
        both = adversary.epsilon > 0 and adversary.clean_share > 0
        given = [torch.cat([x, changed]) if both else changed for changed in seen]
        with computing_in(self.dtype, x.device):
            several = len(networks) > 1
            found = self.network(*given, each=True) if several else (self.network(*given),)
        losses = [
            self._share(one, x, changed, logits.float(), targets)
            for one, changed, logits in zip(networks, seen, found, strict=True)
        ]
        # a sum: each network's gradients are those that it would have alone
        return torch.stack(losses).sum() if several else losses[0]

    def _share(
        self, model: nn.Module, clean: Tensor, seen: Tensor, logits: Tensor, targets: Tensor
    ) -> Tensor:
        """What one network's logits cost: of the pictures that it has seen, after clean ones where
        these count.
        """
        if len(logits) == len(seen):
            return self._loss(model, seen, logits, targets)
        losses = [
            self._loss(model, part, own, targets)
            for part, own in zip((clean, seen), logits.chunk(2), strict=True)
        ]
        share = self.config.adversary.clean_share
        return share * losses[0] + (1 - share) * losses[1]

    def _loss(self, model: nn.Module, x: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """What the logits [B, K] of `model` for these pictures cost."""
        loss = self.config.loss.value(logits, targets, self.class_weights)
        loss = self.config.penalty.added(loss, model, x, logits, targets)
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
