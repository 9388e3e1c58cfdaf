"""The rules that every part is held to, for parts of one's own: each check raises AssertionError in
words.

A part is given as a study names it (`module:Name`, the class or function itself, or a config), with
the knobs to check it at.
"""

from pipeline.testing.checks import (
    check_augmentation,
    check_dataset,
    check_loss,
    check_metric,
    check_network,
    check_optimizer,
    check_penalty,
    check_schedule,
)

__all__ = [
    "check_augmentation",
    "check_dataset",
    "check_loss",
    "check_metric",
    "check_network",
    "check_optimizer",
    "check_penalty",
    "check_schedule",
]
