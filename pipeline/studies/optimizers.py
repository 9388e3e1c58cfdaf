"""Optimizers: SGD, momentum, AdaGrad, RMSProp, Adam, AdamW, RAdam, each at its own learning rate.

Question: which optimizer trains best, once each has the learning rate that suits it? A comparison
at one rate is void: 0.001 is a usual rate of Adam and far too low for SGD, so it would find nothing
but whose rate was given. So each arm has a search of its own (`ablation.tuning`), with the same
number of trials; its best rate is then trained on fresh weights. Sources: AdaGrad, Duchi et al.
2011 (JMLR 12); RMSProp, Tieleman & Hinton 2012; Adam, Kingma & Ba 2014 (arXiv 1412.6980); AdamW,
Loshchilov & Hutter 2017 (arXiv 1711.05101); RAdam, Liu et al. 2019 (arXiv 1908.03265). That tuning
turns rankings around: Choi et al. 2019 (arXiv 1910.05446), Schmidt et al. 2020 (arXiv 2007.01547).

Expected reading: plain SGD behind at equal epochs, since it is slowest; momentum and the Adam
family close together, most of their differences inconclusive or equivalent. Whoever finds a wide
gap between two of them has most likely tuned one better. RAdam is Adam with a warm-up of its own
and ought to end beside it. Read the learning curves too: the adaptive ones lead in the first
epochs, which is no lead at the end. Only the rate is tuned, over three decades or less; AdamW keeps
its usual decay of 0.01, the others have none, momentum is 0.9. Rates are constant: a falling one
brings all of them closer (`--set schedule.name=cosine`).

Cost: about 640 epochs of 51,000 pictures, half of it tuning; a CPU core takes 10 to 15 s an epoch,
so two take an hour or more. Cut it down: `--epochs 3 --set ablation.tuning.num_trials=6
--replicates 3`, a quarter of that. A short run favours what learns fast.
"""

from pipeline import SGD, Ablation, Arms, Fallback, Idx, LeNet, PerArm, Search, Study, TrainConfig
from pipeline.search_spaces.optimizers import SPACE

STUDY = Study(
    name="optimizers",
    title="Optimizers, each at its own learning rate",
    question="Which optimizer trains best, once each has the learning rate that suits it?",
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(activation="relu", pool="max"),
        optimizer=SGD(lr=0.05, momentum=0.0),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "SGD": {},
                "momentum": {"optimizer.momentum": 0.9},
                "AdaGrad": {"optimizer.name": "adagrad"},
                "RMSProp": {"optimizer.name": "rmsprop"},
                "Adam": {"optimizer.name": "adam"},
                "AdamW": {"optimizer.name": "adamw"},
                "RAdam": {"optimizer.name": "radam"},
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
