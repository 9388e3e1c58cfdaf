"""How much of each regularizer, 0 (off) included but for the decay, whose scale is logarithmic; and
the learning rate.
"""

from pipeline import Float, Space

SPACE = Space(
    knobs={
        "model.dropout": Float(low=0.0, high=0.6),
        "optimizer.weight_decay": Float(low=1e-5, high=1e-2, log=True),
        "augment.mixup": Float(low=0.0, high=1.0),
        "loss.smoothing": Float(low=0.0, high=0.3),
        "optimizer.lr": Float(low=5e-3, high=0.3, log=True),
    },
)
