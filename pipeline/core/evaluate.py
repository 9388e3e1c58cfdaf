"""Evaluation: logits, mean loss and accuracy in eval mode, accumulated on the device."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import Judged
from pipeline.core.memory import in_parts, joined
from pipeline.core.metrics import values
from pipeline.core.mixed_precision import computing_in
from pipeline.core.pictures import Pictures, Rows, cut

BATCH = {
    "cpu": 64,
    "cuda": 512,
}  # of our own choice: a result must not depend on the config's batch size, nor on what fits


class Answers:
    """Takes down what a model answers, batch by batch, on the device."""

    def __init__(self, *, of_all: bool = False) -> None:
        """`of_all`: the probabilities of every class are kept, too."""
        self._batches: list[tuple[Tensor, ...]] = []
        self._all: list[Tensor] | None = [] if of_all else None

    def take(self, scores: Tensor, labels: Tensor) -> None:
        """A batch: logits or logarithms of probabilities, float32 [B, K], and the labels [B]."""
        probs, pred = scores.softmax(1), scores.argmax(1)
        both = (probs.gather(1, chosen[:, None])[:, 0] for chosen in (labels, pred))
        self._batches.append((labels, pred, *both))
        if self._all is not None:
            self._all.append(probs)

    def probabilities(self) -> npt.NDArray[np.float32]:
        """float32 [N, K], in its order; empty unless they were to be kept."""
        found: npt.NDArray[np.float32] = (
            torch.cat(self._all).cpu().numpy() if self._all else np.empty((0, 0), np.float32)
        )
        return found

    def judged(self) -> Judged:
        """All that was taken down, in its order."""
        return Judged(*(torch.cat(part).cpu().numpy() for part in zip(*self._batches, strict=True)))


class Scores(Answers):
    """Takes down the scores themselves, too, which the config's metrics are of."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self._config = config
        self._scores: list[tuple[Tensor, Tensor]] = []

    def take(self, scores: Tensor, labels: Tensor) -> None:
        """A batch, as of every `Answers`."""
        super().take(scores, labels)
        self._scores.append((scores, labels))

    def metrics(self) -> dict[str, float]:
        """Metric → its value over all that was taken down."""
        scores, labels = (torch.cat(parts) for parts in zip(*self._scores, strict=True))
        select, sign = self._config.select, self._config.sign
        return values(self._config.metrics, scores, labels, select=select, sign=sign)


def evaluate(
    model: nn.Module,
    pictures: Pictures,
    pixels: Pixels,
    *,
    dtype: torch.dtype,
    positions: Rows | None = None,
    answers: Answers | None = None,
) -> tuple[float, float]:
    """(mean cross entropy, accuracy) over the split, or over some `positions` of it; one transfer
    from the device.

    Plain cross entropy whatever a run was trained with: losses of two arms compare. `answers` takes
    down the rest.
    """
    order = np.arange(len(pictures)) if positions is None else positions
    with torch.inference_mode():
        totals = torch.zeros(2, dtype=torch.float64, device=pictures.device)
        for logits, labels in _logits(model, pictures, pixels, order, dtype=dtype):
            totals[0] += functional.cross_entropy(logits, labels, reduction="sum")
            totals[1] += (logits.argmax(1) == labels).sum()
            if answers is not None:
                answers.take(logits, labels)
        loss, acc = (totals / len(order)).tolist()
    return loss, acc


def predict(model: nn.Module, pictures: Pictures, pixels: Pixels, *, dtype: torch.dtype) -> Tensor:
    """Logits float32 [N, K] of all pictures, in their order, on the device."""
    order = np.arange(len(pictures))
    with torch.inference_mode():
        found = [logits for logits, _ in _logits(model, pictures, pixels, order, dtype=dtype)]
    return torch.cat(found)


def _logits(
    model: nn.Module, pictures: Pictures, pixels: Pixels, order: Rows, *, dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch by batch: (logits float32 [B, K], labels [B])."""
    model.eval()
    cuts = cut(len(order), BATCH.get(pictures.device.type, 512))

    def logits(images: Tensor) -> Tensor:
        with computing_in(dtype, pictures.device):
            found: Tensor = model(pixels(images))
        return found.float()

    for _, images, labels in pictures.batches(order, cuts):
        yield joined(in_parts(logits, images)), labels
