"""Zoo: ten networks from LeNet to EfficientNet, accuracy against cost.

Question: which network is worth its cost on these pictures? Sources: LeNet, LeCun et al. 1998;
AlexNet, Krizhevsky et al. 2012; VGG, Simonyan & Zisserman 2014 (arXiv 1409.1556); NiN, Lin et al.
2013 (arXiv 1312.4400); GoogLeNet, Szegedy et al. 2014 (arXiv 1409.4842); ResNet, He et al. 2015
(arXiv 1512.03385); DenseNet, Huang et al. 2016 (arXiv 1608.06993); ShuffleNet, Ma et al. 2018
(arXiv 1807.11164); MobileNetV2, Sandler et al. 2018 (arXiv 1801.04381); EfficientNet, Tan & Le 2019
(arXiv 1905.11946). Their papers compare them on a million pictures of 224 pixels and up; here it is
your folder, fresh weights and one recipe for all. VGG has batch norm.

Expected reading: beside every accuracy stand parameters, multiplications (MACs) and pictures a
second, which are three costs and not one: MobileNet and EfficientNet have few MACs and are slower
than these say. The reference is ResNet-18; ask of each other arm whether it is better, or
equivalent and cheaper. LeNet is behind on photos and may be level on easy pictures. AlexNet and
VGG overfit few pictures or hardly start; EfficientNet and DenseNet want longer runs and larger
pictures. One learning rate for all favours whom it suits: this is a table of networks under one
recipe, and `--set ablation.tuning=per_arm` gives each a rate and a decay of its own, at 20 trials
more an arm. From published weights the order is another one: see the study `photos`.

Cost: about 1,700 epochs of the training pictures, most of it in the arms. At 64x64 a CPU core
trains 40 to 2,000 pictures a second ([docs/networks.md](../../docs/networks.md)), over all arms
about 130: for 10,000 pictures, a minute and a quarter an epoch. Without a GPU cut it down, e.g.
`--set dataset.size=32 --epochs 10 --trials 6 --replicates 3`; networks made for larger pictures
enlarge them.
"""

from pipeline import (
    Ablation,
    AdamW,
    Arms,
    Cosine,
    Fallback,
    Folder,
    Notes,
    ResNet,
    Search,
    Study,
    TrainConfig,
)
from pipeline.search_spaces.zoo import SMALL, SPACE

LENET = {"model.name": "lenet", "model.activation": "relu", "model.pool": "max"}

STUDY = Study(
    name="zoo",
    title="Networks from LeNet to EfficientNet: accuracy against cost",
    question="Which network is worth its cost on these pictures?",
    data="data/food-11",
    data_env="FOOD11",
    baseline=TrainConfig(
        dataset=Folder(size=64),
        model=ResNet(depth=18),
        optimizer=AdamW(lr=1e-3, weight_decay=0.05),
        schedule=Cosine(warmup=0.05),
        augment=Notes(strength=1.0),
        epochs=30,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=20),
    ablation=Ablation(
        design=Arms(
            arms={
                "ResNet-18": {},
                "LeNet": LENET,
                "AlexNet": {"model.name": "alexnet"},
                "VGG-11": {"model.name": "vgg", "model.norm": "batch"},
                "NiN": {"model.name": "nin"},
                "GoogLeNet": {"model.name": "googlenet"},
                "DenseNet-121": {"model.name": "densenet"},
                "ShuffleNet": {"model.name": "shufflenet"},
                "MobileNetV2": {"model.name": "mobilenet"},
                "EfficientNet-B0": {"model.name": "efficientnet"},
            }
        ),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Food-11 was not found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits, with narrow networks, and without those that two cores train for "
            "more than two minutes."
        ),
        overrides={
            "space": SMALL.model_dump(),
            "baseline.dataset.name": "digits",
            "baseline.model.width": 8,
            "baseline.model.stem": "small",
            "baseline.augment.flip": 0.0,
            "baseline.epochs": 12,
            "baseline.batch_size": 32,
            "search.num_trials": 6,
            "ablation.replicates": 3,
            "ablation.design.arms": {
                "narrow ResNet-18": {},
                "LeNet": LENET,
                "narrow AlexNet": {"model.name": "alexnet", "model.width": 16},
                "narrow VGG-11": {"model.name": "vgg", "model.width": 8, "model.norm": "batch"},
                "narrow NiN": {"model.name": "nin", "model.width": 16},
                "small ShuffleNet": {"model.name": "shufflenet", "model.variant": "x0.5"},
                "small MobileNetV3": {"model.name": "mobilenet", "model.variant": "v3_small"},
            },
        },
    ),
)
