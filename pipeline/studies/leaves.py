"""Leaves: many classes, few pictures of each, listed in a table.

Question: with a dozen pictures a class, what helps: a residual network, augmentation, both? Source:
Kaggle's "Classify Leaves", the competition of Dive into Deep Learning's course (176 species, 18,353
pictures; `train.csv` with image and label, `images/`), or any csv of that form. Augmentation
mirrors leaves both ways, turns, crops and tints them.

Expected reading: augmentation needs steps. With thousands of pictures and 50 epochs, "augmentation"
better for both networks; with a few hundred pictures and few epochs worse, because nothing was
learnt to its end: if its train accuracy is still rising in the learning curves, give it epochs
before judging it. A residual network alone need not help where pictures are few. An accuracy stands
on few test pictures then: with 85, one is worth 1.2 points, so a difference of a few points is
likely to be inconclusive. Kaggle's test table has no labels, so arms are judged by validation
accuracy there; `--set dataset.test_table=` cuts a labelled test part off the training table.

Transfer: what helps most with few pictures is to start from weights learnt elsewhere. It needs
published weights (a download) or a file, and a network that they fit, so it is no arm by default.
With them, of ResNet-18: `--set model.name=resnet --set 'ablation.design.on={"augmentation":
{"augment.strength": 1}, "transfer": {"transfer.weights": "pretrained"}}'`. In place of `pretrained`
a .pth or .safetensors file will do, such as `best.safetensors` of a finished run on other pictures;
`"transfer.train": "head"` beside it trains the last layer alone. Where a course forbids it: `--set
allow_pretrained=false`.

Cost: about 1,300 epochs of the training pictures. A CPU core trains about 90 (CNN) or 150
(ResNet-18) pictures of 64x64 a second; the 15,600 training pictures of Kaggle's set at 128x128 want
a GPU. Cut it down: `--set dataset.size=64 --set model.width=16 --epochs 40 --trials 6 --replicates
3`.
"""

from pipeline import (
    CNN,
    Ablation,
    AdamW,
    Cosine,
    Csv,
    Factorial,
    Fallback,
    Notes,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.leaves import SMALL, SPACE

STUDY = Study(
    name="leaves",
    title="Leaves: residual network and augmentation where pictures are few",
    question="With a dozen pictures a class, what helps: a residual network, augmentation, both?",
    data="data/classify-leaves",
    data_env="LEAVES",
    baseline=TrainConfig(
        dataset=Csv(size=128),
        model=CNN(),
        optimizer=AdamW(lr=1e-3, weight_decay=0.05),
        schedule=Cosine(warmup=0.05),
        augment=Notes(strength=0.0, flip=0.5, flip_vertical=0.5, rotation=20, crop=0.2, jitter=0.1),
        epochs=50,
        batch_size=32,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=Factorial(
            on={"ResNet": {"model.name": "resnet"}, "augmentation": {"augment.strength": 1.0}}
        ),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "No leaves were found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits, ten of each to train on. Digits have an up and a left: "
            "augmentation does not mirror them, and turns them by at most 10 degrees."
        ),
        overrides={
            "space": SMALL.model_dump(),
            "baseline.dataset.name": "digits",
            "baseline.dataset.num_train": 100,
            "baseline.dataset.num_valid": 300,
            "baseline.model.width": 8,
            "baseline.augment": Notes(flip=0.0),
            "baseline.epochs": 40,
            "baseline.batch_size": 16,
            "search.num_trials": 9,
            "ablation.design.on.ResNet": {"model.name": "resnet", "model.stem": "small"},
        },
    ),
)
