"""Shortcuts: A, B and C of the residual paper, and none, in its CIFAR network of 20 layers.

Question: do shortcuts help at 20 layers, and does it matter which kind? He et al. 2015 (arXiv
1512.03385, section 4.1, table 3) compare A (zeros where channels are missing, no parameters), B
(1x1 convolutions where the shape changes) and C (them everywhere) at 34 layers on ImageNet: 25.03,
24.52 and 24.19 % top-1 error against 28.54 of the plain network, in one run each, and call the
differences among them small and not essential. The network is that of their section 4.2 (3 stages
of 16, 32 and 64 channels, 270,000 parameters), which has A; there the plain one of 20 layers has
hardly more error, that of 56 far more.

Expected reading: A, B and C equivalent, or inconclusive with few replicates; "no shortcut" level or
behind by little at 20 layers, mostly later to learn (see the learning curves). Depth is what parts
them: `--set model.depth=56`, three times the cost. B and C have more parameters than A, by 1 and 5
%: what they gain need not be the shortcut's. One learning rate for all, the paper's 0.1 with a
short warm-up; the plain network may like a lower one, which the search covers.

On CIFAR-10 as in the paper: `--set dataset.name=torchvision --set dataset.set=CIFAR10`, with
`--set augment.strength=1` for its flips and padded crops.

Cost: about 1,500 epochs of the training pictures, most of it in the arms. A CPU core trains about
230 pictures of 32x32 a second: for 10,000 pictures, 45 s an epoch. Without a GPU cut it
down, e.g. `--set model.width=8 --epochs 15 --trials 6 --replicates 3`.
"""

from pipeline import (
    SGD,
    Ablation,
    Arms,
    CifarResNet,
    Cosine,
    Crops,
    Fallback,
    Folder,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.shortcuts import SPACE

STUDY = Study(
    name="shortcuts",
    title="Shortcuts: A, B, C and none, at 20 layers",
    question="Do shortcuts help at 20 layers, and does it matter which kind?",
    data="data/food-11",
    data_env="FOOD11",
    baseline=TrainConfig(
        dataset=Folder(size=32),
        model=CifarResNet(depth=20, shortcut="none"),
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=Cosine(warmup=0.05),
        augment=Crops(strength=0.0),
        epochs=60,
        batch_size=128,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=Arms(
            arms={
                "no shortcut": {},
                "A": {"model.shortcut": "A"},
                "B": {"model.shortcut": "B"},
                "C": {"model.shortcut": "C"},
            }
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
            "baseline.epochs": 18,
            "baseline.batch_size": 32,
            "search.num_trials": 6,
            "ablation.replicates": 4,
        },
    ),
)
