"""The final evaluation of a finished model: compressed and with test-time augmentation as the run's
`final` says.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.core.augmentation.config import Augmentation
from pipeline.core.augmentation.pixels import Draws, Pixels, draw
from pipeline.core.config import TrainConfig
from pipeline.core.evaluate import BATCH, Answers, Scores, evaluate
from pipeline.core.finished.compress import compress, measure
from pipeline.core.finished.evidence import Judged
from pipeline.core.finished.final import Int8Static
from pipeline.core.memory import in_parts, joined
from pipeline.core.pictures import Pictures, cut, evenly

VIEWS = 1 << 31  # where the views' random streams begin: no epoch of training has such a number


@dataclass(frozen=True)
class Finished:
    """A finished model as it was judged on `pictures`: its facts (see `finish`), the model itself,
    its answers, metrics of the user's own.
    """

    facts: dict[str, float]
    model: nn.Module
    pictures: Pictures
    pixels: Pixels
    judged: Judged
    metrics: dict[str, float] = field(default_factory=dict)  # of the user's own


def finish(
    config: TrainConfig,
    model: nn.Module,
    pictures: Pictures,
    calibration: Pictures,
    pixels: Pixels,
    *,
    seed: int,
) -> Finished:
    """loss and acc of the finished model on `pictures`; `calibration` is the train split, for
    int8's ranges.

    Where `config.final` is on, what it is compared with and what both cost, too: plain_loss,
    plain_acc, size_bytes, plain_size_bytes (see compress.packed), latency_seconds,
    plain_latency_seconds (to classify one picture on one thread of this machine's CPU: all its
    views, without making them). Latency is left out where integers are only simulated.
    """
    final = config.final
    answers = Scores(config) if config.metrics else Answers()
    if final.is_plain:
        loss, acc = evaluate(model, pictures, pixels, dtype=torch.float32, answers=answers)
        facts = {"loss": loss, "acc": acc}
        return Finished(facts, model, pictures, pixels, answers.judged(), _own(answers))
    num = final.compress.num_calibration if isinstance(final.compress, Int8Static) else 1
    small = compress(final.compress, model, _batches(calibration, pixels, num))
    loss, acc = evaluate_views(config, small, pictures, pixels, seed=seed, answers=answers)
    plain_loss, plain_acc = evaluate(model, pictures, pixels, dtype=torch.float32)
    x = next(_batches(pictures, pixels, 1))
    num_views = 1 + (final.tta if has_views(config.augment, pictures.images.shape[-1]) else 0)
    plain, own = measure(model, x), measure(small, x.repeat(num_views, 1, 1, 1))
    facts = {
        "loss": loss,
        "acc": acc,
        "plain_loss": plain_loss,
        "plain_acc": plain_acc,
        "size_bytes": float(own.size_bytes),
        "plain_size_bytes": float(plain.size_bytes),
    }
    if plain.seconds_per_picture is not None and own.seconds_per_picture is not None:
        facts["latency_seconds"] = own.seconds_per_picture * num_views
        facts["plain_latency_seconds"] = plain.seconds_per_picture
    return Finished(facts, small, pictures, pixels, answers.judged(), _own(answers))


def _own(answers: Answers) -> dict[str, float]:
    return answers.metrics() if isinstance(answers, Scores) else {}


def evaluate_views(
    config: TrainConfig,
    model: nn.Module,
    pictures: Pictures,
    pixels: Pixels,
    *,
    seed: int,
    answers: Answers | None = None,
) -> tuple[float, float]:
    """(mean cross entropy, accuracy) of the probabilities averaged over the plain picture and
    `config.final.tta` views.

    A picture's views depend on (seed, number of the view, its place in the split) alone. Without
    views it is `evaluate`, bit for bit; so it is where the run has no augmentation to draw them by
    (see `has_views`).
    """
    num, size = len(pictures), pictures.images.shape[-1]
    if config.final.tta == 0 or not has_views(config.augment, size):
        return evaluate(model, pictures, pixels, dtype=torch.float32, answers=answers)
    views = [
        draw(config.augment, seed=seed, epoch=VIEWS + view, num_samples=num, size=size)
        for view in range(config.final.tta)
    ]
    drawn = [view.to(pictures.device) for view in views if view is not None]
    model.eval()

    def judge(positions: Tensor, images: Tensor) -> Tensor:
        return _log_mean(model, pixels, images, [None, *(view.rows(positions) for view in drawn)])

    with torch.inference_mode():
        totals = torch.zeros(2, dtype=torch.float64, device=pictures.device)
        cuts = cut(num, BATCH.get(pictures.device.type, 512))
        for positions, images, labels in pictures.batches(np.arange(num), cuts):
            scores = joined(in_parts(judge, positions, images))
            totals[0] -= scores.gather(1, labels[:, None]).sum()
            totals[1] += (scores.argmax(1) == labels).sum()
            if answers is not None:
                answers.take(scores, labels)
        loss, acc = (totals / num).tolist()
    return loss, acc


def has_views(augment: Augmentation, size: int) -> bool:
    """Whether the augmentation changes a picture by itself: mixing it with another is no view of
    it.
    """
    one = draw(augment, seed=0, epoch=VIEWS, num_samples=1, size=size)
    return one is not None and any(
        part is not None for name, part in vars(one).items() if name != "mix"
    )


def _log_mean(
    model: nn.Module, pixels: Pixels, images: Tensor, views: list[Draws | None]
) -> Tensor:
    """Logarithms [B, K] of the mean probabilities; in logarithms, so that small ones are not
    lost.
    """
    logs = [torch.log_softmax(model(pixels(images, view)).float(), 1) for view in views]
    return torch.logsumexp(torch.stack(logs), 0) - math.log(len(logs))


def _batches(pictures: Pictures, pixels: Pixels, num: int) -> Iterator[Tensor]:
    """At most `num` pictures as the model takes them, spread evenly over the split."""
    order = evenly(len(pictures), num)
    for _, images, _ in pictures.batches(
        order, cut(len(order), BATCH.get(pictures.device.type, 512))
    ):
        yield pixels(images)
