"""Cats and dogs: LeNet against a residual network, on two classes of photos.

Question: is the deep network worth its cost on two classes, and does augmentation help the small
one as much? Any folder with two folders of photos in it, `cat/` and `dog/`, answers; so does any
other pair. Source: the Asirra pictures (Elson et al. 2007) as in Kaggle's "Dogs vs. Cats", whose
file names tell the class; make the two folders of them with `mkdir cat dog; mv cat.*.jpg cat/; mv
dog.*.jpg dog/`. LeNet is the modern variant (ReLU, maximum pooling), the other ResNet-18 of He et
al. 2015 (arXiv 1512.03385).

Expected reading: on thousands of pictures "ResNet" is better by ten points and more and
augmentation adds to it, so their interaction is positive: LeNet has too little capacity to need it.
On a few hundred, intervals are wide and the networks close. Chance is 50 %, or the share of the
larger class: read every accuracy as a distance from that.

Cost: about 750 epochs of the training pictures, four fifths of it in the arms, half of them
ResNet-18. A CPU core trains about 150 pictures of 64x64 a second with it, and 1,900 with LeNet: for
17,500 pictures, two minutes an epoch. Without a GPU cut it down, e.g. `--set dataset.size=32 --set
'ablation.design.on.ResNet={"model.name": "resnet", "model.width": 16}'
--epochs 12 --trials 8 --replicates 3`.
"""

from pipeline import (
    Ablation,
    AdamW,
    Cosine,
    Factorial,
    Fallback,
    Folder,
    LeNet,
    Notes,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.cats_and_dogs import SMALL, SPACE

STUDY = Study(
    name="cats_and_dogs",
    title="Cats and dogs: LeNet or ResNet, with and without augmentation",
    question=(
        "Is the deep network worth its cost on two classes, and does augmentation help the "
        "small one as much?"
    ),
    data="data/cats-and-dogs",
    data_env="CATS_AND_DOGS",
    baseline=TrainConfig(
        dataset=Folder(size=64),
        model=LeNet(activation="relu", pool="max"),
        optimizer=AdamW(lr=1e-3, weight_decay=0.05),
        schedule=Cosine(warmup=0.05),
        augment=Notes(strength=0.0),
        epochs=30,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=Factorial(
            reference="LeNet",
            on={"ResNet": {"model.name": "resnet"}, "augmentation": {"augment.strength": 1.0}},
        ),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "No cats and dogs were found: these are the results of the embedded default, 8x8 "
            "scans of handwritten digits."
        ),
        overrides={
            "space": SMALL.model_dump(),
            "baseline.dataset.name": "digits",
            "baseline.augment.flip": 0.0,
            "baseline.epochs": 18,
            "baseline.batch_size": 32,
            "search.num_trials": 8,
            "ablation.design.on.ResNet": {
                "model.name": "resnet",
                "model.width": 8,
                "model.stem": "small",
            },
        },
    ),
)
