"""What HW3 leaves open: architecture, batch size, learning rate, weight decay, dropout,
augmentation, optimizer.

Ranges: learning rates span the two decades around each optimizer's usual default; weight decay is
coupled (L2) for SGD, Adam and RMSprop and decoupled for AdamW, hence the different scales. Momentum
exists for SGD alone.
"""

from pipeline import Choice, Float, Space

WEIGHT_DECAY = Float(low=1e-6, high=1e-3, log=True)

SPACE = Space(
    knobs={
        "model.name": Choice(options=("cnn", "resnet18")),
        "model.dropout": Float(low=0.0, high=0.5),
        "batch_size": Choice(options=(32, 64, 128)),
        "augment.strength": Float(low=0.0, high=2.0),
    },
    branches={
        "optimizer": {
            "sgd": {
                "lr": Float(low=3e-3, high=0.3, log=True),
                "weight_decay": WEIGHT_DECAY,
                "momentum": Float(low=0.5, high=0.98),
            },
            "adam": {"lr": Float(low=5e-5, high=5e-3, log=True), "weight_decay": WEIGHT_DECAY},
            "adamw": {
                "lr": Float(low=5e-5, high=5e-3, log=True),
                "weight_decay": Float(low=1e-4, high=0.3, log=True),
            },
            "rmsprop": {"lr": Float(low=5e-5, high=5e-3, log=True), "weight_decay": WEIGHT_DECAY},
        },
    },
)

SMALL = Space(
    knobs={**SPACE.knobs, "model.width": Choice(options=(8, 16))}, branches=SPACE.branches
)
"""The same for the embedded default's 8x8 pictures, with networks narrow enough for two CPU
cores.
"""

PORTFOLIO = tuple(
    {"model.name": "cnn", "optimizer.name": optimizer, **point}
    for optimizer, point in (
        (
            "adam",
            {
                "batch_size": 32,
                "model.dropout": 0.28,
                "augment.strength": 0.74,
                "optimizer.lr": 3.9e-4,
                "optimizer.weight_decay": 1e-5,
            },
        ),
        (
            "sgd",
            {
                "batch_size": 32,
                "model.dropout": 0.079,
                "augment.strength": 1.4,
                "optimizer.lr": 9.2e-3,
                "optimizer.weight_decay": 7.8e-4,
                "optimizer.momentum": 0.9,
            },
        ),
        (
            "adam",
            {
                "batch_size": 64,
                "model.dropout": 0.3,
                "augment.strength": 0.18,
                "optimizer.lr": 7.2e-4,
                "optimizer.weight_decay": 5.8e-4,
            },
        ),
        (
            "adam",
            {
                "batch_size": 32,
                "model.dropout": 0.42,
                "augment.strength": 0.72,
                "optimizer.lr": 2.3e-4,
                "optimizer.weight_decay": 2e-4,
            },
        ),
    )
)
"""Good together on digits, clothes and groceries of 8 to 24 pixels with narrow networks
(`benchmarks/curves/portfolio.py`). What lies outside of a space is left out.
"""

SMALL_PORTFOLIO = tuple({"model.width": 16, **point} for point in PORTFOLIO)
"""The same with the width that they were found at."""
