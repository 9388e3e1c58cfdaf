"""Photos: any folder of pictures, from published weights, sized for a laptop.

Question: which part of the training helps most on these photos? The recipe has four parts,
published weights, augmentation, a falling learning rate and label smoothing; each arm lacks one,
the last lacks all (`LeaveOneOut`). Then the search's best three race, and the winner stands below
the rule of the table as an arm with replicates of its own. Sources: transfer, Yosinski et al. 2014
(arXiv 1411.1792), Kornblith et al. 2018 (arXiv 1805.08974); the network, He et al. 2015 (arXiv
1512.03385); the rest of the recipe, He et al. 2018 (arXiv 1812.01187). One command, in the time
that you have:
`python -m pipeline.search --study photos --data ~/photos --time 1h`.

Expected reading: with hundreds of pictures or a few thousand "without transfer" is worse than the
recipe by far, ten points and more, and everything else is small beside it; "none of them" is worst
or next to it. Augmentation helps the longer runs. Where the pictures are unlike photographs (scans,
spectra) or many, transfer helps less. "Without transfer" has the recipe's rate, which is low for
fresh weights: `--set ablation.tuning=per_arm` gives each arm its own. Which of the winner's
settings matter, the same command with `pipeline.ablate` and `--around best` says.

Weights: ResNet-18's are downloaded once, 45 MB. Without a network the command says so and trains
nothing; a file of them does as well, `--set transfer.weights=resnet18.pth`. Where they are not to
be had, or not allowed (`allow_pretrained`), ask about the other three, with more epochs, since
fresh weights want them: `--set transfer.weights= --set optimizer.lr=0.001`; the arm without
transfer then goes by itself.

Cost: about 250 epochs of the training pictures, the race aside. A CPU core trains about 150
pictures of 64x64 a second: for 2,000 pictures, a quarter of a minute an epoch, half an hour on two
cores. Cut it down: `--epochs 4 --trials 6`, or by `--time` as above. With a GPU: 128 pixels
(`--set dataset.size=128`), 30 epochs, 5 replicates.
"""

from pipeline import (
    Ablation,
    AdamW,
    Cosine,
    CrossEntropy,
    Fallback,
    Folder,
    LeaveOneOut,
    Notes,
    ResNet,
    Search,
    Study,
    TrainConfig,
    Transfer,
)
from pipeline.search_spaces.photos import SMALL, SPACE

REST = {
    "augmentation": {"augment.strength": 0.0},
    "falling rate": {"schedule.name": "constant"},
    "label smoothing": {"loss.smoothing": 0.0},
}

STUDY = Study(
    name="photos",
    title="Photos: a way of fine-tuning, each of its parts left out",
    question="Which part of the training helps most on these photos?",
    data="data/photos",
    data_env="PHOTOS",
    baseline=TrainConfig(
        dataset=Folder(size=64),
        model=ResNet(depth=18),
        transfer=Transfer(weights="pretrained"),
        optimizer=AdamW(lr=3e-4, weight_decay=0.05),
        schedule=Cosine(warmup=0.05),
        loss=CrossEntropy(smoothing=0.1),
        augment=Notes(strength=1.0, flip=0.5),
        epochs=12,
        batch_size=32,
    ),
    space=SPACE,
    search=Search(num_trials=12),
    ablation=Ablation(
        design=LeaveOneOut(
            reference="none of them",
            off={"transfer": {"transfer.weights": ""}, **REST},
            with_none=True,
            by_lack=True,
        ),
        replicates=3,
    ),
    fallback=Fallback(
        note=(
            "No photos were found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits, without published weights, which were made for photos; so "
            "transfer is no part of it. Digits are not mirrored."
        ),
        overrides={
            "space": SMALL.model_dump(),
            "baseline.dataset.name": "digits",
            "baseline.model.width": 8,
            "baseline.model.stem": "small",
            "baseline.transfer.weights": "",
            "baseline.optimizer.lr": 3e-3,
            "baseline.augment.flip": 0.0,
            "baseline.epochs": 12,
            "ablation.design.off": REST,
        },
    ),
)
