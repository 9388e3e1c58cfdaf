"""Pseudo-labels: what a network is sure of among unlabeled pictures (Lee 2013, "Pseudo-label", ICML
workshop).
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.evaluate import predict
from pipeline.core.pictures import Pictures
from pipeline.data.splits import Split

Rows = npt.NDArray[np.int64]


def with_pseudo_labels(
    labeled: Split, unlabeled: Split, sure: Rows, labels: Rows, device: torch.device
) -> Pictures:
    """The labeled pictures, then those `sure` positions of the unlabeled ones with their
    pseudo-`labels`.
    """
    known = labeled.labels.copy()
    chosen = unlabeled.index[sure]
    known[chosen] = labels
    return Pictures(
        replace(labeled, labels=known, index=np.concatenate([labeled.index, chosen])), device
    )


def pseudo_labels(
    pictures: Pictures, model: nn.Module, pixels: Pixels, *, threshold: float, dtype: torch.dtype
) -> tuple[Rows, Rows]:
    """(positions, labels) of the pictures to whose likeliest class `model` gives at least
    `threshold`.
    """
    probabilities, labels = predict(model, pictures, pixels, dtype=dtype).softmax(1).max(1)
    sure = probabilities >= threshold
    return np.flatnonzero(sure.cpu().numpy()), labels[sure].cpu().numpy()
