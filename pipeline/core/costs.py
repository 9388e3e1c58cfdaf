"""What an epoch is over, and what it costs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Pictures [channels, size, size] of `num_classes`: how many to learn from, to select on, and
    to judge a finished model on.
    """

    channels: int
    size: int
    num_classes: int
    num_train: int
    num_val: int
    num_test: int


@dataclass(frozen=True)
class Cost:
    """Seconds of one epoch with its evaluation, seconds of a finished model's evaluation, bytes of
    its weights.
    """

    epoch_seconds: float
    final_seconds: float
    num_bytes: int
