"""TrainConfig: all that can change a trial's result, and nothing about machines."""

from typing import Literal

from pydantic import Field

from pipeline.core.augment import Augment
from pipeline.core.models import CNN, Model
from pipeline.core.optimizers import Adam, Optimizer
from pipeline.core.schedules import Constant, Schedule
from pipeline.data.datasets import Dataset, Folder
from pipeline.frozen import Frozen


class TrainConfig(Frozen):
    """One training run. The seed and the replicate are kept apart from it (they do not change what is studied)."""

    dataset: Dataset = Folder()
    model: Model = CNN()
    optimizer: Optimizer = Adam()
    schedule: Schedule = Constant()
    augment: Augment = Augment()
    epochs: int = Field(default=30, ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=2, le=65_536)
    clip_norm: float = Field(default=10.0, ge=0, description="largest gradient norm; 0 = no clipping")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    split: Literal["resplit", "official"] = Field(
        default="resplit", description="resplit: replicate r > 0 draws its own train/val split from train + val"
    )
