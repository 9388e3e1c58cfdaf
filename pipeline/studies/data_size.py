"""Data size: an eighth, a quarter, half and all of the training pictures, with and without
augmentation.

Question: would more pictures help, and how many pictures is augmentation worth? Of each class the
same share is learnt from (`train_share`), drawn anew in each replicate, a smaller one within a
larger one; all arms are judged on the same pictures. That errors fall about as a power of the
number of examples: Hestness et al. 2017 (arXiv 1712.00409), Rosenfeld et al. 2019 (arXiv
1909.12673); that a curve which still falls says what more would bring, and that the law ends
somewhere: Viering & Loog 2021 (arXiv 2103.10948).

Expected reading: "Would more pictures help?" in the report: what a doubling was worth over these
shares, and what the next one would be worth at best, if that goes on. Augmentation helps small
shares most, where the epochs are enough for it: where half of the pictures with it reach all
without, it was worth a doubling. Each arm trains as many epochs, so that a share of the pictures is
a share of the steps, too: more epochs give small shares the steps that they lack, and the
difference is more that of the pictures. Hyperparameters are the baseline's in all arms.

Cost: about 1,270 epochs, those of parts being shorter: worth some 630 of all pictures, the race
aside. On 9,866 photos of 128x128 a CPU core takes 200 s for such a one; cut it down: `--set
dataset.size=32 --set model.width=16 --epochs 15 --replicates 3`.
"""

from pipeline import CNN, Ablation, Adam, Arms, Fallback, Folder, Notes, Search, Study, TrainConfig
from pipeline.search_spaces.rate import ADAM

SHARES = {"all": 1.0, "half": 0.5, "a quarter": 0.25, "an eighth": 0.125}

STUDY = Study(
    name="data_size",
    title="Data size: parts of the training pictures, with and without augmentation",
    question="Would more pictures help, and how many pictures is augmentation worth?",
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
                name + " + augmentation" * bool(strength): {
                    "train_share": share,
                    "augment.strength": strength,
                }
                for strength in (0.0, 1.0)
                for name, share in SHARES.items()
            },
            against={f"{name} + augmentation": name for name in SHARES},
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
