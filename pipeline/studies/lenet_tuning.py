"""LeNet tuned: sigmoid or ReLU, average or maximum pooling, batch norm, batch size, learning rate,
on Fashion-MNIST.

Question: what does each of LeNet's old choices cost, once the learning rate suits each? Dive into
Deep Learning (section
7.6) trains the original with sigmoid and average pooling for 10 epochs of batches of 256 at
learning rate 0.9, to about 80 % test accuracy, and asks in its exercises for ReLU, maximum pooling,
other rates and epochs; its chapter on batch norm (8.5) does the same network with norms. One run
each there; here a search over all five, and five arms with replicates.

Expected reading: all arms better than the original, ReLU by the most, near 88 to 90 % after 10
epochs; "ReLU + avg pool" beside "ReLU + max pool" says what the pooling adds. Norms let sigmoid
leave chance at once, which it otherwise does after an epoch or so. ReLU's arms set a rate of their
own, because none suits both: at 0.9 ReLU may die, and at 0.1 sigmoid stays at chance for long. An
arm is hence a recipe, a network with its rate, not a network alone. Batch size and rate belong
together: in the search, read them as a pair (small batches like small rates).

Differs from the book: pictures are normalised by the data's mean and deviation, validation is cut
from train, and the test set is looked at once for each finished run.

Cost: about 320 epochs of 51,000 pictures, most of it in the arms; a CPU core takes 10 to 15 s an
epoch, so two take some 40 minutes. Cut it down: `--epochs 3 --trials 8 --replicates 3`, four
minutes or five. A short run favours what learns fast.
"""

from pipeline import SGD, Ablation, Arms, Fallback, Idx, LeNet, Search, Study, TrainConfig
from pipeline.search_spaces.lenet_tuning import SPACE

RELU = {"model.activation": "relu", "optimizer.lr": 0.1}
MAX = {"model.pool": "max"}
BATCH = {"model.norm": "batch"}

STUDY = Study(
    name="lenet_tuning",
    title="LeNet: sigmoid or ReLU, pooling, batch norm",
    question="What does each of LeNet's old choices cost, once the learning rate suits each?",
    data="data/fashion-mnist",
    data_env="FASHION_MNIST",
    baseline=TrainConfig(
        dataset=Idx(),
        model=LeNet(),
        optimizer=SGD(lr=0.9, momentum=0.0),
        epochs=10,
        batch_size=256,
    ),
    space=SPACE,
    search=Search(num_trials=30),
    ablation=Ablation(
        design=Arms(
            arms={
                "sigmoid + avg pool": {},
                "sigmoid + avg pool + norm": BATCH,
                "ReLU + avg pool": RELU,
                "ReLU + max pool": {**RELU, **MAX},
                "ReLU + max pool + norm": {**RELU, **MAX, **BATCH},
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
            "baseline.dataset.num_train": 1000,
            "baseline.dataset.num_valid": 300,
            "baseline.optimizer.lr": 2.0,
            "baseline.epochs": 45,
            "baseline.batch_size": 16,
            "search.num_trials": 9,
        },
    ),
)
