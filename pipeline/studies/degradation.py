"""Degradation: a deeper plain network trains worse than a shallow one; with shortcuts it does not.

Question: does depth hurt a network without shortcuts, and do shortcuts repair that? He et al. 2015
(arXiv 1512.03385, section 4.1, table 2 and figure 4) compare 18 and 34 layers on ImageNet, in one
run each: the plain networks have 27.9 and
28.5 % top-1 error, the residual ones 27.9 and 25.0 %. Here: the 2x2 of shortcuts and depth with
replicates, on any folder of pictures. Plain and residual networks have the same layers, but for the
1x1 projections of three shortcuts.

Expected reading: "34 layers" worse than the reference, "residual + 34 layers" not, the interaction
positive. The claim is about optimization, so look at the learning curves before the table: the
deeper plain network must be behind on its training pictures too (train_acc and train_loss are also
in frames/runs.csv). Where only its test accuracy is, that is overfitting and not degradation. At 18
layers shortcuts mostly speed training up; over few epochs "residual" alone is better already. All
arms share one learning rate; the search covers both networks, so look there whether the plain one
would have liked another.

Cost: about 1,500 epochs of the training pictures, four fifths of it in the arms, half of them with
34 layers. A CPU core trains about 150 pictures of 64x64 a second with 18 layers and 75 with 34: for
10,000 pictures, 70 and 130 s an epoch. Without a GPU cut it down, e.g. `--set dataset.size=32 --set
model.width=16 --set model.stem=small --epochs 15 --trials 6
--replicates 3`. Compare other depths by editing the two depths below; from 50 layers on the blocks
are bottlenecks, which differ in more than depth.
"""

from pipeline import (
    SGD,
    Ablation,
    Cosine,
    Factorial,
    Fallback,
    Folder,
    ResNet,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.degradation import SPACE

STUDY = Study(
    name="degradation",
    title="Degradation: plain and residual networks of 18 and 34 layers",
    question="Does depth hurt a network without shortcuts, and do shortcuts repair that?",
    data="data/food-11",
    data_env="FOOD11",
    baseline=TrainConfig(
        dataset=Folder(size=64),
        model=ResNet(depth=18, plain=True),
        optimizer=SGD(lr=0.05, momentum=0.9, weight_decay=1e-4),
        schedule=Cosine(warmup=0.05),
        epochs=60,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=Factorial(
            reference="18 plain layers",
            on={"residual": {"model.plain": False}, "34 layers": {"model.depth": 34}},
        ),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Food-11 was not found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits."
        ),
        overrides={
            "baseline.dataset.name": "digits",
            "baseline.model.width": 8,
            "baseline.model.stem": "small",
            "baseline.epochs": 18,
            "baseline.batch_size": 32,
            "search.num_trials": 8,
        },
    ),
)
