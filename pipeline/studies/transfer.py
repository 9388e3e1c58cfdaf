"""Transfer: which layers of a network from published weights are trained, and what the weights are
worth.

Question: of weights learnt elsewhere, is all to be trained, the last stage, or the head alone, and
would a deeper head do more? Sources: features off the shelf, Razavian et al. 2014 (arXiv
1403.6382); how transferable layers are, Yosinski et al. 2014 (arXiv 1411.1792); fixed features
against fine-tuning on twelve sets, Kornblith et al. 2018 (arXiv 1805.08974). A head alone wants
rates ten times as high as a whole network, and fresh weights higher ones than published: each arm's
learning rate is searched for it alone, with the same number of trials.

Expected reading: "all layers" best and "fresh weights" worst where pictures are photographs and
few, by ten points and more; "head alone" between them, nearer to the top the more the pictures are
like ImageNet's; "last stage" close to "all layers". A deeper head is measured against "head alone"
(`against`), and seldom differs from it by much. "Head alone on fresh weights" is the control, also
against "head alone": what a head makes of weights that nobody trained is no merit of the published
ones. Frozen layers keep their running statistics, too. With thousands of pictures a class the arms
move together. Pictures of 64 pixels are far smaller than those that the weights saw: with a GPU,
`--set dataset.size=128` or 224.

Weights: ResNet-18's are downloaded once, 45 MB. Without a network the command says so and trains
nothing; a file of them does as well, `--set transfer.weights=resnet18.pth`, or `best.safetensors`
of a finished run on other pictures. Without any, arms would be the same, which is refused. On the
embedded digits there are none: the first four arms then begin with fresh weights, and the table
shows how far a head alone comes on layers drawn by chance (with layer norms, since a frozen batch
norm would keep statistics that no picture has set). 4 replicates: all layers 91 %, the last stage
59, the head alone 62, a deeper one 56; deeper against alone is inconclusive.

Cost: about 520 epochs of the training pictures, a third of it tuning. A CPU core trains about 150
pictures of 64x64 a second in all layers, and more in the head alone: for 2,000 pictures, a quarter
of a minute an epoch, an hour and a half on two cores. Cut it down: `--epochs 4 --set
ablation.tuning.num_trials=4 --replicates 3`.
"""

from pipeline import (
    Ablation,
    AdamW,
    Arms,
    Cosine,
    Fallback,
    Folder,
    Notes,
    PerArm,
    ResNet,
    Search,
    Study,
    TrainConfig,
    Transfer,
)
from pipeline.search_spaces.rate import ADAMW

LAST, HEAD = {"transfer.train": "last"}, {"transfer.train": "head"}
DEEPER = HEAD | {"transfer.hidden": 256}

STUDY = Study(
    name="transfer",
    title="Transfer: all layers, the last stage, the head alone, a deeper head, fresh weights",
    question=(
        "Of weights learnt elsewhere, is all to be trained, the last stage, or the head alone, and "
        "would a deeper head do more?"
    ),
    data="data/photos",
    data_env="PHOTOS",
    baseline=TrainConfig(
        dataset=Folder(size=64),
        model=ResNet(depth=18),
        transfer=Transfer(weights="pretrained"),
        optimizer=AdamW(lr=1e-3, weight_decay=0.05),
        schedule=Cosine(warmup=0.05),
        augment=Notes(strength=1.0, flip=0.5),
        epochs=12,
        batch_size=32,
    ),
    space=ADAMW,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "all layers": {},
                "last stage": LAST,
                "head alone": HEAD,
                "deeper head": DEEPER,
                "fresh weights": {"transfer.weights": ""},
                "head alone on fresh weights": HEAD | {"transfer.weights": ""},
            },
            against={"deeper head": "head alone", "head alone on fresh weights": "head alone"},
        ),
        tuning=PerArm(num_trials=9),
        replicates=5,
    ),
    fallback=Fallback(
        note=(
            "No photos were found: these are the results of the embedded default, 8x8 scans of "
            "handwritten digits. Published weights were made for photos: here all weights are "
            "fresh, so these results say nothing of transfer, but how far layers that are not "
            "trained carry a head. Digits are not mirrored."
        ),
        overrides={
            "title": "Layers drawn by chance: all trained, the last stage, the head, a deeper head",
            "question": "How far do layers that are not trained carry a last stage or a head?",
            "baseline.dataset.name": "digits",
            "baseline.dataset.num_valid": 300,
            "baseline.model.width": 8,
            "baseline.model.stem": "small",
            "baseline.model.norm": "layer",
            "baseline.transfer.weights": "",
            "baseline.augment.flip": 0.0,
            "baseline.epochs": 12,
            "search.num_rungs": 2,
            "ablation.replicates": 4,
            "ablation.design.arms": {
                "all layers": {},
                "last stage": LAST,
                "head alone": HEAD,
                "deeper head": DEEPER,
            },
            "ablation.design.against": {"deeper head": "head alone"},
        },
    ),
)
