"""Evaluation: mean loss and accuracy in eval mode, accumulated on the device."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.pictures import Pictures, Rows, cut
from pipeline.core.pixels import Pixels

BATCH = {"cpu": 64, "cuda": 512}  # of our own choice: a result must not depend on the config's batch size


def forward(
    model: nn.Module, pictures: Pictures, pixels: Pixels, *, bf16: bool, positions: Rows | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """(fp32 logits [B, num_classes], labels [B]) over the split, or over some `positions` of it, in order."""
    model.eval()
    order = np.arange(len(pictures)) if positions is None else positions
    device = pictures.device.type
    for _, images, labels in pictures.batches(order, cut(len(order), BATCH.get(device, 512))):
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            logits = model(pixels(images))
        yield logits.float(), labels


def evaluate(
    model: nn.Module, pictures: Pictures, pixels: Pixels, *, bf16: bool, positions: Rows | None = None
) -> tuple[float, float]:
    """(mean cross entropy, accuracy); one transfer from the device."""
    with torch.inference_mode():
        totals = torch.zeros(2, dtype=torch.float64, device=pictures.device)
        num = 0
        for logits, labels in forward(model, pictures, pixels, bf16=bf16, positions=positions):
            totals[0] += functional.cross_entropy(logits, labels, reduction="sum")
            totals[1] += (logits.argmax(1) == labels).sum()
            num += len(labels)
        loss, acc = (totals / num).tolist()
    return loss, acc


def predict(model: nn.Module, pictures: Pictures, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Logits [n, num_classes] in fp32."""
    parts = [logits.cpu() for logits, _ in forward(model, pictures, pixels, bf16=False)]
    return torch.cat(parts).numpy()
