"""Batch size, and the learning rate by what it would be at 64 pictures: the linear rule does the
rest.
"""

from pipeline import Choice, Float, Space

SPACE = Space(
    knobs={
        "batch_size": Choice(options=(8, 16, 32, 64, 128, 256, 512), ordered=True),
        "lr_per_64": Float(low=3e-3, high=0.3, log=True),
    },
    derived={"optimizer.lr": "lr_per_64 * batch_size / 64"},
)
