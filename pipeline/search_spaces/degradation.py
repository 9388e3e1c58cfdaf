"""Shortcuts and depth together with what decides whether a deep plain network trains at all: rate,
batch, decay.
"""

from pipeline import Choice, Float, Space

SPACE = Space(
    knobs={
        "model.plain": Choice(options=(True, False)),
        "model.depth": Choice(options=(18, 34)),
        "optimizer.lr": Float(low=3e-3, high=0.5, log=True),
        "optimizer.weight_decay": Float(low=1e-6, high=1e-3, log=True),
        "batch_size": Choice(options=(32, 64, 128)),
    },
)
