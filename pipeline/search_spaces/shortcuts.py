"""Kind of shortcut and learning rate, with decay and batch: what a network of twenty layers is
sensitive to.
"""

from pipeline import Choice, Float, Space

SPACE = Space(
    knobs={
        "model.shortcut": Choice(options=("none", "A", "B", "C")),
        "optimizer.lr": Float(low=3e-3, high=0.5, log=True),
        "optimizer.weight_decay": Float(low=1e-6, high=1e-3, log=True),
        "batch_size": Choice(options=(32, 64, 128), ordered=True),
    },
)
