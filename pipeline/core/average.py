"""Exponential moving average of a model's weights (Polyak & Juditsky 1992), with torch's
`AveragedModel`.
"""

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of `model` that follows it: at update n it moves by 1 - min(decay, (1 + n) / (10 + n))
    of the way.

    The rising decay keeps the first, random weights from lasting; norm statistics are averaged like
    weights.
    """

    def follow(averages: Sequence[Tensor], values: Sequence[Tensor], _: Tensor | int) -> None:
        # the module's own counter stays on the CPU: reading it waits for no device
        n = int(own().n_averaged)  # type: ignore[union-attr]
        share = 1 - min(decay, (1 + n) / (10 + n))
        if torch.is_floating_point(averages[0]):
            torch._foreach_lerp_(list(averages), list(values), share)
        else:
            for mean, value in zip(averages, values, strict=True):
                mean.copy_(value)

    average = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    own = weakref.ref(average)  # no circle, in which a device's memory would outlive the run
    return average
