"""The textbook's exercise on LeNet: activation, pooling, norm, batch size and learning rate, of
plain gradient descent.

The learning rates reach from ReLU's to sigmoid's: one that suits the one is a decade off for the
other.
"""

from pipeline import Choice, Float, Space

SPACE = Space(
    knobs={
        "model.activation": Choice(options=("sigmoid", "relu")),
        "model.pool": Choice(options=("avg", "max")),
        "model.norm": Choice(options=("none", "batch")),
        "batch_size": Choice(options=(16, 32, 64, 128, 256)),
        "optimizer.lr": Float(low=0.01, high=3.0, log=True),
    },
)
