"""Regularizers: dropout, weight decay, mixup and label smoothing, all four and each left out.

Question: which of the four does the work, and which is idle beside the others? Sources: dropout,
Srivastava et al. 2014 (JMLR 15); weight decay, Krogh & Hertz 1991; mixup, Zhang et al. 2017 (arXiv
1710.09412); label smoothing, Szegedy et al. 2015 (arXiv 1512.00567). Each was published with a gain
over none; together they are not the sum of those gains.

The design is leave-one-out: the reference has all four, each arm lacks one, the last lacks all. It
takes 6 arms where the full factorial takes 16, and answers what a recipe's reader asks (may I drop
this?), not how each does on its own; for that, make the design below a `Factorial(reference="none
of them", off=OFF)` of the four. Flips and padded crops are in every arm.

Expected reading: "without X" worse means that X contributes beside the other three, equivalent that
it may go. "None of them" says what all four are worth together: the worst arm, once training is
long enough to overfit. Look at the learning curves first: where train accuracy is still rising,
nothing has overfitted yet, regularizers only slow it, and "none of them" is best. One that works
brings train and val together there, both measured on plain pictures. Losses there are plain cross
entropy in every arm: label smoothing may raise it at equal accuracy. Small effects need replicates:
look below the table at the smallest difference that would have been found.

Cost: about 2,100 epochs of the training pictures, most of it in the arms. A CPU core trains about
90 pictures of 64x64 a second: for 10,000 pictures two minutes an epoch. Without a GPU cut it down,
e.g. `--set dataset.size=32 --set model.width=16 --epochs 40 --trials 6 --replicates 3`.
"""

from pipeline import (
    CNN,
    SGD,
    Ablation,
    Cosine,
    Crops,
    CrossEntropy,
    Fallback,
    Folder,
    LeaveOneOut,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.regularizers import SPACE

OFF = {
    "dropout": {"model.dropout": 0.0},
    "weight decay": {"optimizer.weight_decay": 0.0},
    "mixup": {"augment.mixup": 0.0},
    "label smoothing": {"loss.smoothing": 0.0},
}

STUDY = Study(
    name="regularizers",
    title="Regularizers: dropout, weight decay, mixup, label smoothing, each left out",
    question="Which of the four regularizers does the work, and which is idle beside the others?",
    data="data/food-11",
    data_env="FOOD11",
    baseline=TrainConfig(
        dataset=Folder(size=64),
        model=CNN(dropout=0.3),
        optimizer=SGD(lr=0.05, momentum=0.9, weight_decay=5e-4),
        schedule=Cosine(warmup=0.05),
        loss=CrossEntropy(smoothing=0.1),
        augment=Crops(strength=1.0, mixup=0.2),
        epochs=60,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=LeaveOneOut(reference="none of them", off=OFF, with_none=True),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Food-11 was not found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits. They are not mirrored."
        ),
        overrides={
            "baseline.dataset.name": "digits",
            "baseline.dataset.num_valid": 300,
            "baseline.model.width": 8,
            "baseline.augment.flip": 0.0,
            "baseline.batch_size": 16,
            "baseline.epochs": 27,
            "search.num_trials": 12,
        },
    ),
)
