"""Initialisation: torch's own, Xavier's and He's, of a network of ReLUs, with and without batch
norm.

Question: does the first draw of the weights decide how a deep network trains, and still so under
batch norm? Xavier (Glorot & Bengio 2010, AISTATS) keeps the variance of signals and gradients from
layer to layer where activations are linear; He (He et al. 2015, arXiv 1502.01852) doubles it, since
ReLU halves it; torch's own draws a third of Xavier's variance or less, and random biases. Over L
layers a factor c of the variance becomes c^L. The paper trains 30 layers with He's and stalls with
Xavier's; batch norm sets every layer's scale anew, so that little is left of the draw.

Expected reading: without norm "default" slowest to start, He first, all of it in the early epochs:
look at the learning curves before the table, whose ends may well be level. With norm, where Xavier
and He are measured against "default + norm", the three are equivalent or inconclusive. A deeper
network shows more: `--set model.depth=6` (its maps must not run out: 64 pixels). One learning rate
for all: a part of what a draw does is to suit that rate, and with a rate of its own for each
(`--set ablation.tuning=per_arm`) the arms move closer together.

Cost: about 320 epochs of 51,000 pictures, most of it in the arms. At 3 million multiplications a
picture a CPU core takes about half a minute an epoch: two take an hour and a half. Cut it down:
`--epochs 3 --trials 6 --replicates 3`, a quarter of an hour, which shows the start, the part that
matters.
"""

from pipeline import CNN, SGD, Ablation, Arms, Fallback, Idx, Search, Study, TrainConfig
from pipeline.search_spaces.initialisation import SPACE

XAVIER, HE = {"model.init": "xavier"}, {"model.init": "he"}
NORM = {"model.norm": "batch"}

STUDY = Study(
    name="initialisation",
    title="Initialisation: torch's own, Xavier, He, with and without batch norm",
    question=(
        "Does the first draw of the weights decide how a deep network trains, and still so under "
        "batch norm?"
    ),
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=CNN(depth=4, width=16, norm="none"),
        optimizer=SGD(lr=0.02, momentum=0.9),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=Arms(
            arms={
                "default": {},
                "Xavier": XAVIER,
                "He": HE,
                "default + norm": NORM,
                "Xavier + norm": {**XAVIER, **NORM},
                "He + norm": {**HE, **NORM},
            },
            against={"Xavier + norm": "default + norm", "He + norm": "default + norm"},
        ),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Fashion-MNIST was not found: these are the results of the embedded default, 8x8 "
            "scans of handwritten digits."
        ),
        overrides={
            "baseline.dataset.name": "digits",
            "baseline.dataset.num_valid": 300,
            "baseline.epochs": 9,
            "baseline.batch_size": 16,
            "search.num_trials": 9,
        },
    ),
)
