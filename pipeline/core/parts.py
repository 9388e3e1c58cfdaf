"""The pictures that a run learns from, selects by and is judged on."""

from typing import TYPE_CHECKING

from pipeline.core.config import TrainConfig
from pipeline.core.identity import Seeds

if TYPE_CHECKING:
    from pipeline.data.cache import Data
    from pipeline.data.splits import Splits


def parts_of(config: TrainConfig, data: "Data", seeds: Seeds) -> "Splits":
    """The splits of `data` that a run of this config with these seeds has."""
    from pipeline.data.splits import splits

    return splits(
        data,
        seeds.drawn,
        config.split,
        seed=seeds.split,
        folds=config.folds,
        share=config.train_share,
    )
