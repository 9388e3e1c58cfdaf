"""Evaluation: mean loss and accuracy in eval mode, accumulated on the device."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.core.pictures import Pictures, Rows, cut
from pipeline.core.pixels import Pixels

BATCH = {"cpu": 64, "cuda": 512}  # of our own choice: a result must not depend on the config's batch size


def evaluate(
    model: nn.Module, pictures: Pictures, pixels: Pixels, *, bf16: bool, positions: Rows | None = None
) -> tuple[float, float]:
    """(mean cross entropy, accuracy) over the split, or over some `positions` of it; one transfer from the device."""
    model.eval()
    order = np.arange(len(pictures)) if positions is None else positions
    device = pictures.device.type
    with torch.inference_mode():
        totals = torch.zeros(2, dtype=torch.float64, device=pictures.device)
        for _, images, labels in pictures.batches(order, cut(len(order), BATCH.get(device, 512))):
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                logits = model(pixels(images))
            totals[0] += functional.cross_entropy(logits.float(), labels, reduction="sum")
            totals[1] += (logits.argmax(1) == labels).sum()
        loss, acc = (totals / len(order)).tolist()
    return loss, acc
