"""Pseudo-labels: a tenth, a quarter and half of the labels, with what the network guesses of the
rest and without.

Question: what are guessed labels worth where only some pictures have one? A share of the training
pictures keeps its labels (`train_share`), drawn anew in each replicate; the others count as
unlabeled. Before each epoch from the fifth on the network labels them, and those that it is sure of
are trained on in this epoch (Lee 2013, "Pseudo-label", ICML workshop). That a network confirms its
own mistakes so: Arazo et al. 2019 (arXiv 1908.02983); that the gain is often smaller than that of
tuning: Oliver et al. 2018 (arXiv 1804.09170).

Expected reading: each share with guesses is measured against the same share without (`against`).
Guesses help most where labels are few and the network is right about most of the rest; where it is
not they teach it its mistakes, and accuracy falls. "all labels" is what more labels would bring at
most, "Would more pictures help?" what each doubling of them is worth. With guesses an epoch has
more steps: what they gain may be the steps, which more epochs give to all arms.

Cost: about 1,120 epochs, those of parts being shorter: worth some 470 of all pictures, the race and
the guesses aside. On 9,866 photos of 128x128 a CPU core takes 200 s for such a one; cut it down:
`--set dataset.size=32 --set model.width=16 --epochs 15 --replicates 3`. Pictures in a folder
`unlabeled` are guessed at in the arms with guesses, too.
"""

from pipeline import CNN, Ablation, Adam, Arms, Fallback, Folder, Notes, Search, Study, TrainConfig
from pipeline.search_spaces.rate import ADAM

SHARES = {"half of the labels": 0.5, "a quarter": 0.25, "a tenth": 0.1}

STUDY = Study(
    name="pseudo_labels",
    title="Pseudo-labels: a share of the labels, with and without guesses for the rest",
    question="What are guessed labels worth where only some pictures have one?",
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
    space=ADAM,
    search=Search(num_trials=9),
    ablation=Ablation(
        design=Arms(
            arms={
                "all labels": {},
                **{name: {"train_share": share} for name, share in SHARES.items()},
                **{
                    f"{name} + guesses": {"train_share": share, "pseudo.threshold": 0.95}
                    for name, share in SHARES.items()
                },
            },
            against={f"{name} + guesses": name for name in SHARES},
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
            "baseline.dataset.num_train": 800,
            "baseline.dataset.num_valid": 300,
            "baseline.model.width": 8,
            "baseline.epochs": 18,
            "baseline.batch_size": 16,
            "baseline.optimizer.lr": 1e-3,
            "search.num_trials": 6,
        },
    ),
)
