"""Network and its width, learning rate, decay, dropout and augmentation: a small network and a deep
one at their best.
"""

from pipeline import Choice, Float, Space

KNOBS = {
    "model.dropout": Float(low=0.0, high=0.5),
    "optimizer.lr": Float(low=1e-4, high=1e-2, log=True),
    "optimizer.weight_decay": Float(low=1e-4, high=0.3, log=True),
    "augment.strength": Float(low=0.0, high=2.0),
    "batch_size": Choice(options=(32, 64, 128)),
}
LENET = {"width": Choice(options=(6, 12, 24))}

SPACE = Space(
    knobs=KNOBS,
    branches={"model": {"lenet": LENET, "resnet": {"width": Choice(options=(16, 32, 64))}}},
)

SMALL = Space(
    knobs=KNOBS,
    branches={
        "model": {
            "lenet": LENET,
            "resnet": {"width": Choice(options=(8, 16)), "stem": Choice(options=("small",))},
        }
    },
)
"""The same for the embedded default's 8x8 pictures: narrow networks, which do not shrink them
further at the start.
"""
