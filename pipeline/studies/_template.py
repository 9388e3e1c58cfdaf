"""my_study: what is compared, and on which pictures. `python -m pipeline.new` copies this file.

Question: what the first sentence of the report answers. Expected reading: what would not surprise
you, written before you look. Every line below is data; what else each could be: README.md.
"""

from pipeline import (
    CNN,
    Ablation,
    Adam,
    Choice,
    Digits,
    Factorial,
    Float,
    Notes,
    Search,
    Space,
    Study,
    TrainConfig,
)

# What the search may choose: dotted path of a field of the baseline below → its range.
SPACE = Space(
    knobs={
        "optimizer.lr": Float(low=1e-4, high=1e-2, log=True),
        "model.dropout": Float(low=0.0, high=0.5),
        "batch_size": Choice(options=(16, 32, 64)),
    },
)

STUDY = Study(
    # Of --study, and the first part of the record's folder in mlruns/.
    name="my_study",
    title="A residual network and augmentation",
    question="Do a residual network and augmentation help, alone and together?",
    # Pictures need no folder here; of a folder its path, which --data FOLDER overrides.
    data=None,
    # One full run, all in it a default that the search or an arm may override.
    baseline=TrainConfig(
        # Small scans of handwritten digits. Of your own pictures: Folder(size=64).
        dataset=Digits(),
        # The course's network; `width` is the number of its first channels.
        model=CNN(width=8),
        optimizer=Adam(lr=1e-3, weight_decay=1e-5),
        # How much pictures are varied: 0 not at all, 1 as the course's notes do.
        augment=Notes(strength=0.0),
        # Once through the training pictures each; most trials are stopped long before the last.
        epochs=9,
        batch_size=32,
    ),
    space=SPACE,
    # All trials, earlier ones included: a larger number goes on.
    search=Search(num_trials=8),
    ablation=Ablation(
        # Every combination of the factors is an arm: baseline, each alone, both. Other designs
        # (LeaveOneOut, Crossed with more levels, Arms, …): docs/ablation.md.
        design=Factorial(
            on={"ResNet": {"model.name": "resnet18"}, "augmentation": {"augment.strength": 1.0}},
        ),
        # Runs of every arm, each with its own split and seed; nothing is tested below 3.
        replicates=3,
        # The smallest difference in accuracy that you would act on; left out, a point is taken.
        # rope=0.02,
    ),
)
