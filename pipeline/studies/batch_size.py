"""Batch size: from small to full at equal epochs, the learning rate by the linear rule or kept.

Question: what do large batches cost in accuracy at equal epochs, and does the linear rule make up
for it? A batch of B pictures has a gradient whose noise falls with 1 / B, and takes 1 / B as many
steps an epoch. The linear rule (Goyal et al. 2017, arXiv 1706.02677) multiplies the rate by what
the batch was multiplied by, which keeps steps times rate, and the noise of an epoch's walk, as they
were (Smith et al. 2017, arXiv 1711.00489). It holds up to a critical batch, from where on there is
no noise left to average (McCandlish et al. 2018, arXiv 1812.06162). That small batches generalise
better: Keskar et al. 2016 (arXiv 1609.04836), Masters & Luschi 2018 (arXiv 1804.07612).

Expected reading: at the same rate an arm is worse the larger its batch, since it takes fewer steps
of the same length; these are measured against 64. Each batch by the rule is measured against the
same batch at the same rate (`against`): better up to a point, where it is near 64 again; the
largest is worse or collapses, for its rate is too high to start with (all have a warm-up, which
moves that point). The full batch, gradient descent without noise, takes a step an epoch: at this
rate it has learned next to nothing when the others are done, whatever its gradient is worth.
Small batches need no rule to be good and take the most time: compare images/s in the table. Equal
epochs are not equal steps nor equal time, and favour small batches. The search varies the batch and
its rate at 64 together (`derived`), so its figures say where the rule's rate lies best.

Cost: about 415 epochs of 51,000 pictures, most of it in the arms; a CPU core takes 10 to 15 s an
epoch, more with batches of 16, so two take some 45 minutes. Cut it down: `--epochs 3 --trials 6
--replicates 3`, five minutes or six.
"""

from pipeline import (
    SGD,
    Ablation,
    Arms,
    Constant,
    Fallback,
    Idx,
    LeNet,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.batch_size import SPACE

STUDY = Study(
    name="batch_size",
    title="Batch size, with and without the linear rule for the learning rate",
    question=(
        "What do large batches cost in accuracy at equal epochs, and does the linear rule make up "
        "for it?"
    ),
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(activation="relu", pool="max"),
        optimizer=SGD(lr=0.02, momentum=0.9),
        schedule=Constant(warmup=0.1),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=Arms(
            arms={
                "64": {},
                "16 by the rule": {"batch_size": 16, "optimizer.lr": 0.005},
                "256 by the rule": {"batch_size": 256, "optimizer.lr": 0.08},
                "1024 by the rule": {"batch_size": 1024, "optimizer.lr": 0.32},
                "16 at the same rate": {"batch_size": 16},
                "256 at the same rate": {"batch_size": 256},
                "1024 at the same rate": {"batch_size": 1024},
                "full at the same rate": {"batch_size": "full"},
            },
            against={f"{size} by the rule": f"{size} at the same rate" for size in (16, 256, 1024)},
        ),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Fashion-MNIST was not found: these are the results of the embedded default, 8x8 "
            "scans of handwritten digits, and batches are smaller."
        ),
        overrides={
            "baseline.dataset.name": "digits",
            "baseline.dataset.size": 12,
            "baseline.dataset.num_train": 600,
            "baseline.dataset.num_valid": 300,
            "baseline.batch_size": 16,
            "baseline.epochs": 18,
            "search.num_trials": 9,
            "ablation.design.arms": {
                "16": {},
                "8 by the rule": {"batch_size": 8, "optimizer.lr": 0.01},
                "64 by the rule": {"batch_size": 64, "optimizer.lr": 0.08},
                "256 by the rule": {"batch_size": 256, "optimizer.lr": 0.32},
                "8 at the same rate": {"batch_size": 8},
                "64 at the same rate": {"batch_size": 64},
                "256 at the same rate": {"batch_size": 256},
                "full at the same rate": {"batch_size": "full"},
            },
            "ablation.design.against": {
                f"{size} by the rule": f"{size} at the same rate" for size in (8, 64, 256)
            },
        },
    ),
)
