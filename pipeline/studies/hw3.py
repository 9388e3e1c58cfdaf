"""HW3 of Hung-yi Lee's machine-learning course: Food-11, 11 classes of food photos at 128x128.

Question: do a residual network and augmentation help, alone and together? A course reader's notes
answered with one run each (baseline 59.11 %, ResNet 59.30 %, augmentation 51.70 %, both 60.36 %
validation accuracy), so nobody can tell noise from effect. Here: a search over seven knobs, then
the 2x2 of the two components with replicates at the baseline's hyperparameters.

Cost: about 900 epochs of 9,866 pictures in all. On a CPU core the CNN trains about 50 pictures of
128x128 a second, some 200 s an epoch: without a GPU cut it down, e.g. `--set dataset.size=32 --set
model.width=16 --epochs 9 --trials 12 --replicates 3`.
"""

from pipeline import (
    CNN,
    Ablation,
    Adam,
    Factorial,
    Fallback,
    Folder,
    Notes,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.hw3 import PORTFOLIO, SMALL, SMALL_PORTFOLIO, SPACE

STUDY = Study(
    name="hw3",
    title="HW3: residual network and augmentation",
    question="Do a residual network and augmentation help, alone and together?",
    data="data/food-11",
    data_env="FOOD11",
    baseline=TrainConfig(
        dataset=Folder(size=128),
        model=CNN(),
        optimizer=Adam(lr=3e-4, weight_decay=1e-5),
        augment=Notes(strength=0.0),
        epochs=30,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=40, portfolio=PORTFOLIO),
    ablation=Ablation(
        design=Factorial(
            on={"ResNet": {"model.name": "resnet18"}, "augmentation": {"augment.strength": 1.0}}
        ),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Food-11 was not found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits."
        ),
        overrides={
            "space": SMALL.model_dump(),
            "search.portfolio": list(SMALL_PORTFOLIO),
            "baseline.dataset.name": "digits",
            "baseline.model.width": 8,
            "baseline.epochs": 27,
            "baseline.batch_size": 32,
            "baseline.optimizer.lr": 1e-3,
            "search.num_trials": 32,
        },
    ),
)
