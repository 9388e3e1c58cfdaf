"""Activations: sigmoid, tanh, ReLU, leaky ReLU and GELU, the first three with batch norm too.

Question: which activation trains best at its own learning rate, and does batch norm level them?
Sources: why sigmoid starves the layers below it, and tanh less so, Glorot & Bengio 2010 (AISTATS);
ReLU, Nair & Hinton 2010 (ICML) and Glorot, Bordes & Bengio 2011 (AISTATS); leaky ReLU, Maas et al.
2013 (ICML workshop); GELU, Hendrycks & Gimpel 2016 (arXiv 1606.08415); batch norm, Ioffe & Szegedy
2015 (arXiv 1502.03167). A sigmoid's slope is at most 1/4, so gradients shrink from layer to layer,
and it wants rates ten times as high: each arm's rate is searched for it alone, with the same number
of trials. At one rate the table would say whose rate was given.

Expected reading: sigmoid worst, and with norm most of the way back; tanh a little behind ReLU or
level; leaky ReLU and GELU hard to tell from ReLU (LeNet is shallow, where dead units are few).
"Norm" is one factor more, so the interest is in pairs: what it adds to sigmoid and what to ReLU.
Where sigmoid's first epochs stay at chance, see the learning curves: that is the starved start, and
more epochs narrow the gap. Only convolutions have norms here, as `model.norm` of this network says.

Cost: about 730 epochs of 51,000 pictures, half of it tuning; a CPU core takes 10 to 15 s an epoch,
so two take an hour and a half. Cut it down: `--epochs 3 --set ablation.tuning.num_trials=6
--replicates 3`, a quarter of that, in which sigmoid has no time to begin.
"""

from pipeline import SGD, Ablation, Arms, Fallback, Idx, LeNet, PerArm, Search, Study, TrainConfig
from pipeline.search_spaces.rate import SPACE

NORM = {"model.norm": "batch"}
SIGMOID, TANH = {"model.activation": "sigmoid"}, {"model.activation": "tanh"}

STUDY = Study(
    name="activations",
    title="Activations, with and without batch norm",
    question=(
        "Which activation trains best at its own learning rate, and does batch norm level them?"
    ),
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(activation="relu", pool="max"),
        optimizer=SGD(lr=0.02, momentum=0.9),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "ReLU": {},
                "sigmoid": SIGMOID,
                "tanh": TANH,
                "leaky ReLU": {"model.activation": "leaky_relu"},
                "GELU": {"model.activation": "gelu"},
                "ReLU + norm": NORM,
                "sigmoid + norm": {**SIGMOID, **NORM},
                "tanh + norm": {**TANH, **NORM},
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
            "baseline.epochs": 18,
            "baseline.batch_size": 32,
            "search.num_rungs": 2,
            "ablation.tuning.num_trials": 9,
            "ablation.replicates": 4,
        },
    ),
)
