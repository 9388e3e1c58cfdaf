"""Losses: squared error against cross entropy, label smoothing, focal loss.

Question: which loss should a classifier be trained with, for accuracy and for probabilities that
can be believed? Sources: squared error and cross entropy, Golik, Doetsch & Ney 2013 (Interspeech),
Hui & Belkin 2020 (arXiv 2006.07322, without softmax); label smoothing, Szegedy et al. 2015 (arXiv
1512.00567); focal, Lin et al. 2017 (arXiv 1708.02002), made for few objects against much
background; the hardest half of each batch alone, Shrivastava et al. 2016 (arXiv 1604.03540). A
loss sets the size of its gradient: squared error's, a mean over the classes after the softmax, is
many times smaller and vanishes where the network is sure and wrong. So each arm's learning rate is
searched for it alone, with the same number of trials.

Expected reading: accuracies close once the rate suits each; squared error slow to start, hence
behind in a short run. Smoothing gains a little or nothing in accuracy. Losses differ in the
probabilities: the columns `log_loss` and `ece` (how far confidence is from the share of right
answers) may move by more than accuracy does. They are not tested unless they govern:
`--set select=log_loss`. val_loss and test_loss are plain cross entropy in every arm, so that of
smoothing is no longer its own.

Cost: about 460 epochs of 51,000 pictures, half of it tuning; a CPU core takes 10 to 15 s an epoch,
so two take an hour. Cut it down: `--epochs 3 --set ablation.tuning.num_trials=6 --replicates 3`, a
quarter of that.
"""

from pipeline import (
    ECE,
    SGD,
    Ablation,
    Arms,
    Fallback,
    Idx,
    LeNet,
    LogLoss,
    PerArm,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.rate import SPACE

STUDY = Study(
    name="losses",
    title="Losses: cross entropy, label smoothing, focal, squared error, hardest half",
    question=(
        "Which loss should a classifier be trained with, for accuracy and for probabilities that "
        "can be believed?"
    ),
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(activation="relu", pool="max"),
        optimizer=SGD(lr=0.02, momentum=0.9),
        metrics=(LogLoss(), ECE()),
        epochs=9,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "cross entropy": {},
                "label smoothing": {"loss.smoothing": 0.1},
                "focal": {"loss.name": "focal"},
                "squared error": {"loss.name": "mse"},
                "hardest half": {"loss.hardest": 0.5},
            }
        ),
        tuning=PerArm(num_trials=20),
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
            "baseline.epochs": 18,
            "baseline.batch_size": 32,
            "search.num_rungs": 2,
            "ablation.tuning.num_trials": 9,
            "ablation.replicates": 4,
        },
    ),
)
