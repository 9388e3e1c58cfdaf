"""Cardinality: groups, scales, and attention to channels and places, in a ResNet-50 of as many
parameters.

Question: what makes a bottleneck block better where it may not be larger? Four papers change the
block of ResNet-50 (He et al. 2015, arXiv 1512.03385) and keep the rest: ResNeXt splits its 3x3
convolution into groups (Xie et al. 2016, arXiv 1611.05431, table 3: 4 groups of 24 channels and 32
of 4 cost what 1 of 64 does), Res2Net lets four splits read one another (Gao et al. 2019, arXiv
1904.01169), SE weighs channels (Hu et al. 2017, arXiv 1709.01507), CBAM channels and places (Woo et
al. 2018, arXiv 1807.06521). On ImageNet they report 1 to 2 points, in one run each. There SE and
CBAM have a tenth more parameters than the network they are measured against; here all arms have as
many, by their width (`match`), so that what is seen is the block's.

Expected reading: small differences. Five replicates find one or two points only where runs spread
by less than a point (the pilot says what yours can see): expect "inconclusive", and read
"equivalent" as the stronger answer. More groups at equal cost were better in the paper, with
diminishing returns. Parameters are within 1.2 percent of ResNet-50's, MACs within 9; time is not:
beside each arm stand pictures a second, and groups, splits and attention are slower than their MACs
say. Matched widths such as 61 are unkind to GPUs: for times, leave `match` out (`--set
ablation.match=`). One learning rate for all, as in the papers; `--set ablation.tuning=per_arm`
gives each its own, at 20 trials more an arm. A few dozen steps tell how a network starts, not which
is better: on the embedded digits, 3 replicates, SE and CBAM were 4 and 6 points behind where blocks
begin at their shortcuts (`zero_gamma`, as there, since the networks hardly start without), and 4
and 3 ahead where they do not; ResNeXt and Res2Net were within 2 points either way, inconclusive.

Cost: about 900 epochs of the training pictures. A CPU core trains 40 to 60 pictures of 64x64 a
second with networks of 50 layers: for 10,000 pictures, three or four minutes an epoch. Without a
GPU cut it down, e.g. `--set dataset.size=32 --set model.width=16 --set model.stem=small
--epochs 10 --replicates 3`.
"""

from pipeline import (
    SGD,
    Ablation,
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
from pipeline.search_spaces.rate import SPACE

RESNEXT = {"model.name": "resnext"}
SE, CBAM = {"model.name": "se_resnet"}, {"model.name": "cbam_resnet"}

STUDY = Study(
    name="cardinality",
    title="Cardinality: ResNeXt, Res2Net, SE and CBAM beside ResNet-50, of equal parameters",
    question="What makes a bottleneck block better where it may not be larger?",
    data="data/food-11",
    data_env="FOOD11",
    baseline=TrainConfig(
        dataset=Folder(size=64),
        model=ResNet(depth=50),
        optimizer=SGD(lr=0.05, momentum=0.9, weight_decay=1e-4),
        schedule=Cosine(warmup=0.05),
        augment=Notes(strength=1.0),
        epochs=30,
        batch_size=64,
    ),
    space=SPACE,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "ResNet-50": {},
                "ResNeXt of 4 groups": RESNEXT | {"model.cardinality": 4, "model.base_width": 24},
                "ResNeXt of 32 groups": RESNEXT,
                "Res2Net": {"model.name": "res2net"},
                "SE": SE,
                "CBAM": CBAM,
            }
        ),
        match="model.width",
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "Food-11 was not found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits, with networks an eighth as wide. 16 groups stand in place of 32, "
            "the arm of other groups is left out, and each block's last norm begins at 0."
        ),
        overrides={
            "baseline.dataset.name": "digits",
            "baseline.dataset.num_valid": 200,
            "baseline.model.width": 8,
            "baseline.model.stem": "small",
            "baseline.model.zero_gamma": True,
            "baseline.augment.strength": 0.0,
            "baseline.epochs": 12,
            "baseline.batch_size": 32,
            "ablation.replicates": 3,
            "ablation.design.arms": {
                "narrow ResNet-50": {},
                "ResNeXt of 16 groups": RESNEXT | {"model.cardinality": 16, "model.base_width": 8},
                "Res2Net": {"model.name": "res2net"},
                "SE": SE | {"model.reduction": 32},
                "CBAM": CBAM | {"model.reduction": 32},
            },
        },
    ),
)
