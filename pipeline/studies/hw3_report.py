"""HW3's report: the convolutional network, one of half its depth and one without convolutions, of
as many parameters.

Question: with parameters equal, what do depth and convolutions bring? The report of Hung-yi Lee's
course (HW3 of 2020, Food-11, questions 1 to 3) asks for a CNN's parameters and accuracy, then for
the same of a CNN of half its depth and of a plain DNN, both of nearly as many parameters, in one
run each. Here each has replicates, and a learning rate searched for it alone with the same number
of trials, since one rate for all would say whom it suits. Two of the five convolutions stay, and
all have three linear layers; the widths are found when the study begins (`match`), and stand in the
plan.

Expected reading: on photos the DNN far behind, for it learns each place of a picture by itself; its
training accuracy runs ahead of its validation accuracy (see the learning curves and their
diagnosis). The shallow CNN between the two: after two poolings its maps are large, and nearly all
of its parameters are in the first linear layer. Equal parameters are not equal work: on 128 pixels
the CNN multiplies 20 times as often as the shallow one and 85 times as often as the DNN (MACs
beside each accuracy), and they are equal to a few percent. The DNN has no batch norm, as a plain
one has none: its distance is that of convolutions and batch norm together, as that of the shallow
CNN is of convolutions and poolings together. On the embedded 8x8
digits it is the CNN that is last, 5 replicates: 90 %, 96 with half the depth, the DNN 94; there its
three poolings leave one pixel.

The report's other questions: which classes are confused is in every report ("What the models
confuse"), and so is the t-SNE of a middle and of the top layer, of the reference and the arm of the
highest mean, which 2022 and 2023 ask for. Augmentation: the study `hw3`; a preview of augmented
pictures: `python -m pipeline.doctor --study hw3 --preview augmented.png`. Not here: training on
pictures that are not normalised.

Cost: about 650 epochs of 9,866 pictures, a third of it tuning. On a CPU core the CNN trains about
50 pictures of 128x128 a second, some 200 s an epoch, the others far more: without a GPU cut it
down, e.g. `--set dataset.size=32 --set model.width=16 --epochs 9 --set
ablation.tuning.num_trials=6 --replicates 3`.
"""

from pipeline import (
    CNN,
    Ablation,
    Adam,
    Arms,
    Fallback,
    Folder,
    Notes,
    PerArm,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.rate import ADAM

STUDY = Study(
    name="hw3_report",
    title="HW3's report: CNN, half its depth, no convolutions, of equal parameters",
    question="With parameters equal, what do depth and convolutions bring?",
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
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "CNN": {},
                "CNN of half the depth": {"model.depth": 2},
                "DNN": {"model.name": "mlp"},
            }
        ),
        tuning=PerArm(num_trials=9),
        match="model.width",
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
            "baseline.epochs": 27,
            "baseline.batch_size": 32,
            "baseline.optimizer.lr": 1e-3,
        },
    ),
)
