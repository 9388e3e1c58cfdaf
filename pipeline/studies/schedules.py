"""Schedules: a constant learning rate, steps, a cosine, one cycle; with and without warm-up.

Question: what does a falling learning rate gain at equal epochs, and what does a warm-up add? Each
arm has a rate of its own, searched for it with the same number of trials: what a schedule is for is
to stand a higher rate at first, so at one rate for all it would be judged at another's. Sources:
steps, as the networks for ImageNet were trained (He et al. 2015, arXiv 1512.03385); cosine,
Loshchilov & Hutter 2016 (arXiv 1608.03983); one cycle, Smith 2017 (arXiv 1708.07120); warm-up,
Goyal et al. 2017 (arXiv 1706.02677). Each is drawn over the run's own length.

Expected reading: every falling rate better than a constant one, by less than one hopes, and close
to each other: it is the end near 0 that counts, not the curve's form. Without a schedule the last
epochs wobble; see the learning curves. Warm-up equivalent or inconclusive: it is for large batches,
high rates and deep networks without norms, and a searched rate takes most of its use away. One
cycle has a rise of its own. A schedule ends with its run: whoever stops it early, or compares its
half with another's whole, judges something else.

Cost: about 640 epochs of 51,000 pictures, half of it tuning; a CPU core takes 10 to 15 s an epoch,
so two take an hour or more. Cut it down: `--epochs 3 --set ablation.tuning.num_trials=6
--replicates 3`, a quarter of that.
"""

from pipeline import (
    SGD,
    Ablation,
    Arms,
    Constant,
    Fallback,
    Idx,
    LeNet,
    PerArm,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.rate import SPACE

STUDY = Study(
    name="schedules",
    title="Schedules of the learning rate, with and without warm-up",
    question=(
        "What does a falling learning rate gain at equal epochs, and what does a warm-up add?"
    ),
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(activation="relu", pool="max"),
        optimizer=SGD(lr=0.02, momentum=0.9),
        schedule=Constant(),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "constant": {},
                "step": {"schedule.name": "step"},
                "cosine": {"schedule.name": "cosine", "schedule.warmup": 0.0},
                "one cycle": {"schedule.name": "one_cycle"},
                "constant + warm-up": {"schedule.warmup": 0.1},
                "step + warm-up": {"schedule.name": "step", "schedule.warmup": 0.1},
                "cosine + warm-up": {"schedule.name": "cosine", "schedule.warmup": 0.1},
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
