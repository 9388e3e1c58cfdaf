"""Mixup (Zhang 2017, arXiv 1710.09412) and cutmix (Yun 2019, arXiv 1905.04899): two samples in one,
and so their labels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.augmentation.boxes import inside
from pipeline.core.augmentation.draws import Draws


def mix(x: Tensor, labels: Tensor, draws: Draws | None, num_classes: int) -> tuple[Tensor, Tensor]:
    """Every sample mixed with the one before it in the batch (the first with the last).

    x: normalised, float [B, C, S, S]; labels: class numbers [B] or, already mixed, shares [B, K].
    Returns new pictures of the same dtype and layout, and shares float [B, K] whose rows sum to 1;
    x and labels as they are where mixing is off.
    """
    if draws is None or draws.mix is None:
        return x, labels
    share, outside = draws.mix[:, 0, None], draws.mix[:, 1, None, None, None]
    own = outside * (1 - inside(draws.mix[:, 2:], x.shape[-1]))
    mixed = x * own + x.roll(1, 0) * (1 - own)
    targets = (
        labels
        if labels.is_floating_point()
        else functional.one_hot(labels, num_classes).to(torch.float32)
    )
    layout = (
        torch.channels_last
        if x.is_contiguous(memory_format=torch.channels_last)
        else torch.contiguous_format
    )
    return mixed.to(x.dtype, memory_format=layout), targets * share + targets.roll(1, 0) * (
        1 - share
    )
