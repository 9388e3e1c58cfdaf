"""TrainConfig: all that can change a trial's result, and nothing about machines."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from pipeline.core.augmentation.config import Augment, Notes
from pipeline.core.finished.final import Final
from pipeline.core.losses import CrossEntropy, Loss
from pipeline.core.metrics import Metric, called, metric_names, sign_of
from pipeline.core.models import CNN, Model
from pipeline.core.optimizers import Adam, Optimizer
from pipeline.core.penalty import NoPenalty, Penalty
from pipeline.core.regularize import Adversary, Attack, Distill, Pseudo
from pipeline.core.schedules import Constant, Schedule
from pipeline.core.transfer import PUBLISHED, Transfer, refuse_unpublished
from pipeline.data.datasets import Dataset, Folder
from pipeline.errors import UserError, choices, printable
from pipeline.frozen import Frozen

if TYPE_CHECKING:
    from torch import nn

ROBUST = "robust_acc"
FULL: Literal["full"] = "full"
BLOCK = 256  # pictures of a full batch that are computed at once; whatever memory there is
MOST = 65_536


class TrainConfig(Frozen):
    """One training run. The seed and the replicate are kept apart from it (they do not change what
    is studied).
    """

    dataset: Dataset = Folder()
    model: Model = CNN()
    transfer: Transfer = Transfer()
    optimizer: Optimizer = Adam()
    schedule: Schedule = Constant()
    loss: Loss = CrossEntropy()
    augment: Augment = Notes()
    distill: Distill = Distill()
    adversary: Adversary = Adversary()
    pseudo: Pseudo = Pseudo()
    final: Final = Final()
    penalty: Penalty = NoPenalty()
    metrics: tuple[Metric, ...] = Field(
        default=(), description="beside accuracy and loss; see select"
    )
    attack: Attack = Attack()
    select: str = Field(
        default="acc",
        description=(
            "what chooses each run's best epoch, ranks trials and judges arms: acc, or the name of "
            "one of the metrics"
        ),
    )
    epochs: int = Field(default=30, ge=1, le=100_000)
    patience: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="epochs without a better one before stopping; 0 = never",
    )
    batch_size: Annotated[int, Field(ge=1, le=MOST)] | Literal["full"] = Field(
        default=64,
        description=(
            "pictures a step; full: all that are learnt from, one step an epoch, computed in "
            f"blocks of at most {BLOCK}"
        ),
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="parts that a batch, or a block of a full one, is computed in, where memory "
        "is short",
    )
    clip_norm: float = Field(
        default=10.0, ge=0, description="largest gradient norm; 0 = no clipping"
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of the weights' moving average, which counts; 0 = off",
    )
    normalize: Literal["auto", "data", "imagenet"] = Field(
        default="auto",
        description=(
            "auto: as the published weights' source did, else by the data's own mean and deviation"
        ),
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description=(
            "auto: bf16 where the device has it, fp16 on GPUs with tensor cores and without bf16, "
            "else fp32"
        ),
    )
    split: Literal["resplit", "kfold", "official"] = Field(
        default="resplit",
        description=(
            "resplit: replicate r > 0 draws its own train/val split from train + val; "
            "kfold: takes fold r of them"
        ),
    )
    folds: int = Field(default=5, ge=2, le=100, description="of split kfold")
    train_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description=(
            "share of each class's training pictures that are learnt from; pseudo-labels take the "
            "others as unlabeled"
        ),
    )
    bn_momentum: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description=(
            "share of each batch in the running statistics of every batch norm; 0: as the network "
            "has it, mostly .1"
        ),
    )
    input_size: int = Field(
        default=0,
        ge=0,
        le=4096,
        description=(
            "side in pixels that pictures are brought to before the network, after augmentation, "
            "in training and whenever it is used; 0: that of the data set"
        ),
    )
    members: int = Field(
        default=1,
        ge=1,
        le=100,
        description=(
            "networks that are trained side by side, each from initial weights and by a loss of "
            "its own, and answer by the mean of their probabilities"
        ),
    )
    allow_pretrained: bool = Field(
        default=True, description="false: weights trained on other data are refused"
    )

    @property
    def selects(self) -> str:
        """What of an epoch the run is selected by: `val_acc`."""
        return f"val_{self.select}"

    @property
    def block(self) -> int:
        """Pictures that a step's gradient is computed of at once where `accumulate` is 1, at most;
        a batch of all has several blocks.
        """
        return BLOCK if self.batch_size == FULL else self.batch_size

    @property
    def batches(self) -> str:
        """In words: `batches of 64`."""
        whole = self.batch_size == FULL
        return "one batch of all pictures an epoch" if whole else f"batches of {self.batch_size}"

    @property
    def networks(self) -> str:
        """In words: "a network `cnn`"."""
        name = f"`{self.model.model_dump()['name']}`"
        if self.members == 1:
            return f"a network {name}"
        return (
            f"{self.members} networks {name}, trained side by side, which answer by the mean of "
            "their probabilities"
        )

    @property
    def further(self) -> tuple[str, ...]:
        """What runs record beside accuracies and losses: of val, of test."""
        robust = (f"val_{ROBUST}", f"test_{ROBUST}") if self.attack.epsilon else ()
        return metric_names(self.metrics) + robust

    @property
    def sign(self) -> int:
        """-1 where less of what selects is better (see `metrics.sign_of`)."""
        metrics = [metric.model_dump() for metric in self.metrics]
        return sign_of({"select": self.select, "metrics": metrics})

    def network(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        """[B, channels, size, size] -> logits [B, num_classes], through `input_size`; initialised
        from torch's global seed, without the weights of `transfer`; one of the `members`.
        """
        side = self.input_size or size
        model = self.model.build(channels, side, num_classes)
        if side == size:
            return model
        from pipeline.core.blocks import resize_first

        return resize_first(model, size, side)

    def in_force(self) -> "TrainConfig":
        """The same training run without what is switched off, such as amounts of augmentation at
        strength 0.
        """
        on = {
            "augment": self.augment.strength,
            "distill": self.distill.teacher,
            "adversary": self.adversary.epsilon,
            "attack": self.attack.epsilon,
            "pseudo": self.pseudo.threshold,
        }
        plain = TrainConfig()
        off = {part: getattr(plain, part) for part, switch in on.items() if not switch}
        same = {"input_size": 0} if self.input_size == self.dataset.size else {}
        if not same and all(getattr(self, part) == one for part, one in off.items()):
            return self  # nothing to leave out, as mostly
        return self.override({part: one.model_dump() for part, one in off.items()} | same)

    @field_validator("batch_size", mode="wrap")
    @classmethod
    def _size(cls, given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """Of a union pydantic would tell one problem for each member."""
        try:
            return handler(given)
        except ValidationError:
            got = printable(repr(given))
            raise ValueError(
                f"a whole number from 1 to {MOST:,} or '{FULL}' is expected, got {got}"
            ) from None

    @field_validator("metrics", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """Names, one name alone, and a list as `flat` writes it, are taken, too."""
        if isinstance(given, str):
            try:
                given = json.loads(given) if given.startswith("[") else (given,)
            except ValueError:
                raise ValueError(
                    f"got {printable(given, 100)}, which is no JSON: each name in quotes, as "
                    '["macro_f1"], or one name alone'
                ) from None
        if not isinstance(given, (list, tuple)):
            return given
        return [{"name": one} if isinstance(one, str) else one for one in given]

    @model_validator(mode="after")
    def _parts_agree(self) -> "TrainConfig":
        if self.transfer.weights and not self.allow_pretrained:
            raise ValueError(
                f"transfer.weights='{self.transfer.weights}' is refused, because allow_pretrained "
                "is false; leave the weights out as well: transfer.weights="
            )
        if self.transfer.freeze_epochs >= self.epochs:
            raise ValueError(
                f"transfer.freeze_epochs={self.transfer.freeze_epochs} leaves nothing of "
                f"epochs={self.epochs}; for the head alone take transfer.train=head"
            )
        if self.transfer.weights == PUBLISHED:
            try:
                refuse_unpublished(self.model)
            except UserError as error:
                raise ValueError(str(error)) from error
        names = [called(metric) for metric in self.metrics]
        if len({*names, "acc", "loss", ROBUST}) < len(names) + 3:
            raise ValueError(
                f"metrics: names must differ, also from acc, loss and {ROBUST} (got "
                f"{', '.join(names)})"
            )
        if self.select not in (allowed := ("acc", *names)):
            why = "another must be one of metrics"
            raise ValueError(f"select: {choices(self.select, allowed)} ({why})")
        return self

    @model_validator(mode="after")
    def _batch_suffices(self) -> "TrainConfig":
        if self.block < 2 * self.accumulate and (self.block, self.accumulate) != (1, 1):
            of = f"a full batch's blocks of {BLOCK}" if self.batch_size == FULL else ""
            raise ValueError(
                f"accumulate={self.accumulate} leaves parts of fewer than 2 pictures of "
                f"{of or f'batch_size={self.batch_size}'}"
            )
        if self.batch_size == 1:
            amounts = self.augment.amounts()
            used = {"augment.mixup": amounts.mixup, "augment.cutmix": amounts.cutmix}
            needing = [name for name, amount in used.items() if amount]
            needing += ["loss.hardest < 1"] if self.loss.hardest < 1 else []
            if needing:
                raise ValueError(
                    f"batch_size=1 leaves no other picture in a batch for {', '.join(needing)}"
                )
        return self
