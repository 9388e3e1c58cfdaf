"""Networks of three decades with the learning rate and the decay that suit each."""

from pipeline import Choice, Float, Space

KNOBS = {
    "optimizer.lr": Float(low=1e-4, high=1e-2, log=True),
    "optimizer.weight_decay": Float(low=1e-4, high=0.3, log=True),
}
LENET = {"activation": Choice(options=("relu",)), "pool": Choice(options=("max",))}

SPACE = Space(
    knobs=KNOBS,
    branches={
        "model": {
            "lenet": LENET,
            "alexnet": {},
            "vgg": {"norm": Choice(options=("batch",))},
            "nin": {},
            "googlenet": {},
            "resnet": {},
            "densenet": {},
            "shufflenet": {},
            "mobilenet": {},
            "efficientnet": {},
        }
    },
)

SMALL = Space(
    knobs=KNOBS,
    branches={"model": {"lenet": LENET, "resnet": {"stem": Choice(options=("small",))}}},
)
"""The same for the embedded default's 8x8 pictures: the networks that hardly enlarge them."""
