"""The first draw, the norm that takes its place, and the learning rate that each of them stands."""

from pipeline import Choice, Float, Space

SPACE = Space(
    knobs={
        "model.init": Choice(options=("default", "xavier", "he")),
        "model.norm": Choice(options=("none", "batch")),
        "optimizer.lr": Float(low=3e-3, high=0.3, log=True),
    },
)
