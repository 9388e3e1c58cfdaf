"""Many classes and few pictures of each: network, augmentation, dropout, label smoothing, learning
rate and decay.
"""

from pipeline import Choice, Float, Space

KNOBS = {
    "model.dropout": Float(low=0.0, high=0.5),
    "augment.strength": Float(low=0.0, high=2.0),
    "loss.smoothing": Float(low=0.0, high=0.2),
    "optimizer.lr": Float(low=1e-4, high=1e-2, log=True),
    "optimizer.weight_decay": Float(low=1e-4, high=0.3, log=True),
    "batch_size": Choice(options=(16, 32, 64)),
}

SPACE = Space(knobs=KNOBS, branches={"model": {"cnn": {}, "resnet": {}}})

SMALL = Space(
    knobs=KNOBS, branches={"model": {"cnn": {}, "resnet": {"stem": Choice(options=("small",))}}}
)
"""The same for the embedded default's 8x8 pictures, which the residual network must not shrink at
the start.
"""
