"""Norms: batch, layer, instance and group norm, or none; and what batch norm does for sigmoid.

Question: does a norm help, and does it matter which? Batch norm (Ioffe & Szegedy 2015, arXiv
1502.03167) takes mean and deviation of a channel over the batch, layer norm (Ba et al. 2016, arXiv
1607.06450) over all channels of one picture, instance norm (Ulyanov et al. 2016, arXiv 1607.08022)
over one channel of one picture, group norm (Wu & He 2018, arXiv 1803.08494) over groups of
channels. All let the network stand higher rates, so each arm has a learning rate of its own,
searched for it with the same number of trials.

Expected reading: every norm better than none, or faster to the same end (see the learning curves);
batch norm the best or level at batches of 64, since it also adds noise; instance norm behind, for
it forgets how strong a feature is, and contrast tells clothes apart. "sigmoid" stays at chance or
hardly learns, "sigmoid + batch norm" does: that arm alone has norms behind the hidden layers too
(`hidden_norm`), as Dive into Deep Learning's section 8.5, since two layers of sigmoids there would
still starve the rest. Compare these two with each other. Batch norm's weakness is small batches: at
`--set batch_size=4` the paper has group norm ahead. Group norm takes up to 32 groups here, so that
of 32 channels or fewer it is instance norm, as it is in this network's first stage.

Cost: about 640 epochs of 51,000 pictures, half of it tuning, at 5 million multiplications a
picture: a CPU core takes some 40 s an epoch, so two take three hours and a half. Cut it down:
`--epochs 3 --set ablation.tuning.num_trials=6 --replicates 3`, a quarter of that.
"""

from pipeline import SGD, Ablation, Arms, Fallback, Idx, LeNet, PerArm, Search, Study, TrainConfig
from pipeline.search_spaces.rate import SPACE

SIGMOID = {"model.activation": "sigmoid"}

STUDY = Study(
    name="norms",
    title="Norms: batch, layer, instance, group, none",
    question="Does a norm help, and does it matter which?",
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(width=24, activation="relu", pool="max"),
        optimizer=SGD(lr=0.02, momentum=0.9),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "no norm": {},
                "batch norm": {"model.norm": "batch"},
                "layer norm": {"model.norm": "layer"},
                "instance norm": {"model.norm": "instance"},
                "group norm": {"model.norm": "group"},
                "sigmoid": SIGMOID,
                "sigmoid + batch norm": {
                    **SIGMOID,
                    "model.norm": "batch",
                    "model.hidden_norm": True,
                },
            }
        ),
        tuning=PerArm(num_trials=20),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Fashion-MNIST was not found: these are the results of the embedded default, 8x8 "
            "scans of handwritten digits."
        ),
        overrides={
            "baseline.dataset.name": "digits",
            "baseline.dataset.size": 12,
            "baseline.dataset.num_train": 500,
            "baseline.epochs": 12,
            "baseline.batch_size": 32,
            "search.num_rungs": 2,
            "ablation.tuning.num_trials": 9,
            "ablation.replicates": 4,
        },
    ),
)
