"""Real scans of handwritten digits as a training core's inputs, and a configuration small enough
for them.
"""

import numpy as np

from pipeline.core.config import TrainConfig
from pipeline.core.train import Inputs, Result
from pipeline.data.datasets.digits import scans_of_digits
from pipeline.data.splits import Split

SMALL = TrainConfig().override(
    {
        "dataset.name": "digits",
        "model.width": 4,
        "epochs": 5,
        "batch_size": 32,
        "optimizer.lr": 3e-3,
    }
)


def digits(*, num_train: int = 100, num_val: int = 60, channels: int = 1, size: int = 8) -> Inputs:
    """Real scans of handwritten digits, read-only as a memory map is."""
    scans, classes = scans_of_digits()
    images = (scans * 15.9375).astype(np.uint8)[:, None]
    images = (
        images.repeat(size // 8, 2).repeat(size // 8, 3).repeat(channels, 1)[: num_train + num_val]
    )
    images.setflags(write=False)
    rows = np.arange(num_train + num_val)
    order = np.random.default_rng(0).permutation(rows)
    labels = classes.astype(np.int64)
    own, val = (
        Split(images, labels, np.sort(part)) for part in (order[:num_train], order[num_train:])
    )
    return Inputs(own, val, num_classes=10, mean=(0.3,) * channels, std=(0.37,) * channels)


def numbers(result: Result) -> list[dict[str, float]]:
    """The history but for the clock."""
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in result.history]
