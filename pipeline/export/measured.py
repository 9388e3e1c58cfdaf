"""What an ensemble scores on labelled pictures beside its members, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from pipeline.analysis.confusion import wilson
from pipeline.core.config import TrainConfig
from pipeline.core.metrics import values

Floats = npt.NDArray[np.float32]
Interval = tuple[float, float]
MIN_DIFFERENT = 10  # pictures that must tell the ensemble from its members for an interval of that


@dataclass(frozen=True)
class Measured:
    """Metrics (`test_acc`, `test_loss`, those of the config) of the ensemble (`own`) and of each
    member, of the same answers to `num_pictures`. `acc`, `gain`: 95 % intervals of the accuracy and
    of its gain over the members' mean, for other pictures and these very members; None where that
    cannot be said."""

    num_pictures: int
    own: dict[str, float]
    members: tuple[dict[str, float], ...]
    acc: Interval | None
    gain: Interval | None

    def mean(self, name: str) -> float:
        """Of the members."""
        return fmean(one[name] for one in self.members)

    def above(self, name: str) -> float:
        """The ensemble's value less the members' mean."""
        return self.own[name] - self.mean(name)


def average(probabilities: Sequence[Floats]) -> tuple[npt.NDArray[np.int64], Floats]:
    """(the likeliest class [N], the probability of each class [N, K]) by the mean of the members'
    probabilities [N, K]; of equal ones the first class.
    """
    mean: npt.NDArray[np.float64] = np.stack(probabilities).mean(0, dtype=np.float64)
    return mean.argmax(1), mean.astype(np.float32)


def measure(
    config: TrainConfig,
    probabilities: Sequence[Floats],
    labels: npt.NDArray[np.int64],
    *,
    independent: bool,
) -> Measured:
    """Of each member's probabilities [N, K] of pictures with these labels [N]. `independent`: no
    two of the pictures show one subject, without which there are no intervals.

    Metrics are of logarithms of probabilities, whose softmax they are.
    """
    pred, mean = average(probabilities)
    right = np.stack([one.argmax(1) == labels for one in probabilities]).sum(0)
    members = tuple(_metrics(config, one, labels) for one in probabilities)
    own, num = (
        _metrics(config, mean, labels) | {"test_acc": float((pred == labels).mean())},
        len(labels),
    )
    return Measured(
        num,
        own,
        members,
        wilson(own["test_acc"], num) if independent else None,
        gain_interval(pred == labels, right, len(probabilities)) if independent else None,
    )


def gain_interval(
    own: npt.NDArray[np.bool_], right: npt.NDArray[np.int64], num_members: int
) -> Interval | None:
    """95 % interval of the mean over pictures of (ensemble right) - (share of the members right),
    by the normal distribution of the mean of such differences, picture by picture; None where too
    few differ for that.

    own: [N]; right: [N], how many members were.
    """
    gains = own.astype(np.int64) * num_members - right
    if np.count_nonzero(gains) < MIN_DIFFERENT:
        return None
    middle = gains.mean() / num_members
    spread = gains.std(ddof=1) / num_members / math.sqrt(len(gains))
    half = float(stats.norm.ppf(0.975)) * spread
    return float(middle - half), float(middle + half)


def _metrics(
    config: TrainConfig, probabilities: Floats, labels: npt.NDArray[np.int64]
) -> dict[str, float]:
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    loss = -logs[np.arange(len(labels)), labels].mean(dtype=np.float64)
    found = {"acc": float((probabilities.argmax(1) == labels).mean()), "loss": float(loss)}
    scores, true = torch.from_numpy(logs), torch.from_numpy(labels)
    found |= values(config.metrics, scores, true, select=config.select, sign=config.sign)
    return {f"test_{name}": value for name, value in found.items()}
