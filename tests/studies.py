"""A study small enough to drive by hand: digits, a narrow network, few epochs."""

from typing import Any

from pipeline.core.config import TrainConfig
from pipeline.core.models import CNN
from pipeline.data.datasets import Digits
from pipeline.study.designs import Factorial
from pipeline.study.space import Choice, Float, Space
from pipeline.study.study import Ablation, Search, Study

SPACE = Space(
    knobs={"model.dropout": Float(low=0.0, high=0.5), "batch_size": Choice(options=(16, 32))},
    branches={
        "optimizer": {
            "sgd": {
                "lr": Float(low=1e-3, high=0.3, log=True),
                "momentum": Float(low=0.5, high=0.98),
            },
            "adam": {"lr": Float(low=1e-4, high=1e-2, log=True)},
        }
    },
)


def small_study(
    *, epochs: int = 3, replicates: int = 2, space: Space = SPACE, **search: Any
) -> Study:
    """A 2x2 of dropout and augmentation; `search` goes to `Search`."""
    factors = {"dropout": {"model.dropout": 0.25}, "augmentation": {"augment.strength": 1.0}}
    return Study(
        name="small",
        title="A small study",
        baseline=TrainConfig(
            dataset=Digits(num_train=100), model=CNN(width=4), epochs=epochs, batch_size=32
        ),
        space=space,
        search=Search(**{"num_trials": 6, "race": 0, **search}),
        ablation=Ablation(design=Factorial(on=factors), replicates=replicates),
    )
