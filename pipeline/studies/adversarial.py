"""Adversarial training: what does it cost in accuracy, and what does it make a network withstand?

Question: does training on pictures that were changed against the network cost accuracy, and does a
share of unchanged ones give it back? Sources: one step of the gradient's sign, Goodfellow, Shlens &
Szegedy 2014 (arXiv 1412.6572); projected gradient descent, Madry et al. 2017 (arXiv 1706.06083);
changed and unchanged pictures in one batch, Kurakin, Goodfellow & Bengio 2016 (arXiv 1611.01236).
Every finished network, however it was trained, is attacked in the same way: 20 steps, within 0.1
of each pixel's range.

Expected reading: accuracy is tested, and trained against attacks it is lower, by some points, with
half of the pictures unchanged by fewer. Robust accuracy (`test_robust_acc`) is shown and not
tested: near 0 without adversarial training, far above with it. One step (`one step`) costs a
quarter of seven and may hide the gradient rather than withstand: then it is high against its own
attack and falls against that of 20 steps. What withstands this attack may fall to another. A small
network may not learn against an attack at all (Madry et al., section 4). That is from the papers.
On the embedded digits, 5 replicates: accuracy 97 % from clean pictures, 96 from one step, 92 from
seven, 96 with half clean; robust accuracy 21, 51, 53 and 55 %, so one step hid nothing. There the
network has 12 channels: with the 6 of the study, seven steps left one run of five at chance.

Cost: about 180 epochs of 51,000 pictures, those of seven steps eight times as long as clean ones,
with half of them clean nine; a CPU core takes some 10 s for a clean one, so two take an hour and a
half, as reckoned from these and not run. Cut it down: `--epochs 3 --replicates 3`, a quarter of
that.
"""

from pipeline import (
    SGD,
    Ablation,
    Arms,
    Attack,
    Fallback,
    Idx,
    LeNet,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.rate import SPACE

SEVEN = {"adversary.epsilon": 0.1, "adversary.alpha": 0.025, "adversary.steps": 7}

STUDY = Study(
    name="adversarial",
    title="Adversarial training: clean pictures, changed ones, both",
    question=(
        "What does training against an attack cost in accuracy, and what does the network "
        "withstand then?"
    ),
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(activation="relu", pool="max"),
        optimizer=SGD(lr=0.02, momentum=0.9),
        attack=Attack(epsilon=0.1, alpha=0.0125, steps=20),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "clean pictures": {},
                "one step": {
                    "adversary.epsilon": 0.1,
                    "adversary.alpha": 0.1,
                    "adversary.steps": 1,
                },
                "seven steps": SEVEN,
                "seven steps, half clean": SEVEN | {"adversary.clean_share": 0.5},
            }
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
            "baseline.dataset.size": 12,
            "baseline.dataset.num_train": 500,
            "baseline.model.width": 12,
            "baseline.epochs": 18,
            "baseline.batch_size": 32,
        },
    ),
)
