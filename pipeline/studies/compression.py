"""Compression: pruned, in 8 bits, in 16, or a narrower network, against the model as it was
trained.

Question: how much smaller may a finished model be before it costs accuracy? The smallest weights
set to zero (Han et al. 2015, arXiv 1506.02626; without their retraining), half of them or nine
tenths; 8-bit integers in the linear layers alone (Vanhoucke et al. 2011) or in all layers (Jacob et
al. 2018, arXiv 1712.05877); 16 bits; and, of about the size that 8 bits give, a network half as
wide. This is the course's HW7 (2020) on the pictures and the network of its HW3.

Expected reading: look at "Finished models as they were judged" first: size, time of one picture,
and accuracy beside the same models' as they were trained. All arms but the narrow one train the
very same networks (their "as trained" is one number), so a compression's own effect is the distance
of these two columns, with nothing else in it. The table's test takes arms as independent runs and
allows for luck that these share: it errs towards "inconclusive". 16 and 8 bits should cost next to
nothing, half of the weights little, nine tenths without retraining most of the accuracy. Time gains
are this CPU's, and pruning brings none, since zeros are multiplied too. A size is that of a file
which stores zeros as one bit each; of networks that nothing was done to it is 4 bytes a parameter.
On the embedded digits, 5 replicates: 97.0 % as trained, 94.3 half pruned, chance with nine tenths
pruned, 97.1 and 97.0 in 8 and in 16 bits, 94.9 with the narrow network; integers and 16 bits were
slower there than 32, as tiny networks are.

Distillation (Hinton et al. 2015, arXiv 1503.02531) needs a finished teacher, so it is no arm here.
With one, such as the `export/model.safetensors` of `python -m pipeline.export --study compression
--arm "as trained"`, a study of its own asks it: `--set 'ablation.design.arms={"half as wide":
{"model.width": 32}, "taught": {"model.width": 32, "distill.teacher": "model.safetensors"}}'`,
with `--mlruns` of another folder, since arms of a recorded study stay as they are. The teacher has
seen val pictures of its pupils, so their val accuracy is too good; test pictures it has not. On the
digits, with widths of 16 and 8: 94.9 % alone, 95.8 taught, inconclusive.

Cost: about 1,050 epochs of 9,866 pictures, since each arm trains anew. On a CPU core the CNN trains
about 50 pictures of 128x128 a second, some 200 s an epoch: without a GPU cut it down, e.g. `--set
dataset.size=32 --set model.width=16 --epochs 9 --replicates 3`.
"""

from pipeline import CNN, Ablation, Adam, Arms, Fallback, Folder, Notes, Search, Study, TrainConfig
from pipeline.search_spaces.rate import ADAM

STUDY = Study(
    name="compression",
    title="Compression: pruned, in 8 or 16 bits, or half as wide",
    question="How much smaller may a finished model be before it costs accuracy?",
    data="data/food-11",
    data_env="FOOD11",
    baseline=TrainConfig(
        dataset=Folder(size=128),
        model=CNN(),
        optimizer=Adam(lr=3e-4, weight_decay=1e-5),
        augment=Notes(strength=1.0),
        epochs=30,
        batch_size=64,
    ),
    space=ADAM,
    search=Search(num_trials=0),
    ablation=Ablation(
        design=Arms(
            arms={
                "as trained": {},
                "half pruned": {"final.compress.name": "prune", "final.compress.amount": 0.5},
                "nine tenths pruned": {
                    "final.compress.name": "prune",
                    "final.compress.amount": 0.9,
                },
                "8-bit linear layers": {"final.compress.name": "int8_dynamic"},
                "8-bit network": {"final.compress.name": "int8_static"},
                "16-bit network": {"final.compress.name": "half"},
                "half as wide": {"model.width": 32},
            }
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
            "baseline.dataset.num_train": 500,
            "baseline.model.width": 16,
            "baseline.model.depth": 3,
            "baseline.augment.strength": 0.0,
            "baseline.optimizer.lr": 1e-3,
            "baseline.epochs": 18,
            "baseline.batch_size": 32,
            "ablation.design.arms.half as wide": {"model.width": 8},
        },
    ),
)
