"""Optimizers: one config class each, with `build`.

Another optimizer starts from its own defaults: no two of them share a field, for a learning rate of
one says nothing about another's.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.frozen import Frozen
from pipeline.own.parts import Kind, Plain

if TYPE_CHECKING:
    from torch import nn, optim

DECAY = Field(default=0.0, ge=0, le=10)
MEAN, SQUARES = (
    "decay per step of the average of gradients",
    "decay per step of the average of squared gradients",
)
BETA1 = Field(default=0.9, ge=0, lt=1, description=MEAN)
BETA2 = Field(default=0.999, ge=0, lt=1, description=SQUARES)


class SGD(Frozen):
    """Stochastic gradient descent (Robbins & Monro 1951) with momentum; weight decay is L2, added
    to the gradient.
    """

    name: Literal["sgd"] = "sgd"
    lr: float = Field(default=0.05, gt=0, le=100)
    weight_decay: float = DECAY
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "SGD":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        groups = param_groups(model, self.weight_decay)
        return optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=True
        )


class Adagrad(Frozen):
    """Adagrad (Duchi, Hazan & Singer 2011, JMLR 12); weight decay is L2, added to the gradient."""

    name: Literal["adagrad"] = "adagrad"
    lr: float = Field(default=0.01, gt=0, le=100)
    weight_decay: float = DECAY

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        return optim.Adagrad(param_groups(model, self.weight_decay), lr=self.lr, fused=True)


class RMSprop(Frozen):
    """RMSprop (Tieleman & Hinton 2012, Coursera lecture 6.5); weight decay is L2, added to the
    gradient.
    """

    name: Literal["rmsprop"] = "rmsprop"
    lr: float = Field(default=1e-3, gt=0, le=100)
    weight_decay: float = DECAY
    momentum: float = Field(default=0.0, ge=0, lt=1)
    alpha: float = Field(default=0.99, ge=0, lt=1, description=SQUARES)

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        groups = param_groups(model, self.weight_decay)
        return optim.RMSprop(
            groups, lr=self.lr, momentum=self.momentum, alpha=self.alpha, foreach=True
        )


class Adam(Frozen):
    """Adam (Kingma & Ba 2014, arXiv 1412.6980); weight decay is L2, added to the gradient."""

    name: Literal["adam"] = "adam"
    lr: float = Field(default=3e-4, gt=0, le=100)
    weight_decay: float = DECAY
    beta1: float = BETA1
    beta2: float = BETA2

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        groups = param_groups(model, self.weight_decay)
        return optim.Adam(groups, lr=self.lr, betas=(self.beta1, self.beta2), fused=True)


class AdamW(Frozen):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017, arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"
    lr: float = Field(default=3e-4, gt=0, le=100)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    beta1: float = BETA1
    beta2: float = BETA2

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        groups = param_groups(model, self.weight_decay)
        return optim.AdamW(groups, lr=self.lr, betas=(self.beta1, self.beta2), fused=True)


class RAdam(Frozen):
    """Adam with a rectified variance, a warm-up of its own (Liu et al. 2019, arXiv 1908.03265).

    Weight decay is L2, added to the gradient.
    """

    name: Literal["radam"] = "radam"
    lr: float = Field(default=1e-3, gt=0, le=100)
    weight_decay: float = DECAY
    beta1: float = BETA1
    beta2: float = BETA2

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        groups = param_groups(model, self.weight_decay)
        return optim.RAdam(groups, lr=self.lr, betas=(self.beta1, self.beta2), foreach=True)


class NAdam(Frozen):
    """Adam with Nesterov's momentum (Dozat 2016, ICLR workshop); weight decay is L2, added to the
    gradient.
    """

    name: Literal["nadam"] = "nadam"
    lr: float = Field(default=3e-4, gt=0, le=100)
    weight_decay: float = DECAY
    beta1: float = BETA1
    beta2: float = BETA2

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        groups = param_groups(model, self.weight_decay)
        return optim.NAdam(groups, lr=self.lr, betas=(self.beta1, self.beta2), foreach=True)


class LAMB(Frozen):
    """Adam whose step is as long as a layer's weights allow, for large batches (You et al. 2019,
    arXiv 1904.00962).

    Every weight takes steps of `lr` times its own norm, also without weight decay; biases and norm
    parameters take Adam's. The gradient is clipped by the run's `clip_norm` alone, not once more in
    here.
    """

    name: Literal["lamb"] = "lamb"
    lr: float = Field(default=1e-3, gt=0, le=100)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    beta1: float = BETA1
    beta2: float = BETA2

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from timm.optim.lamb import Lamb

        groups = param_groups(model, self.weight_decay)
        for group in groups:
            group["always_adapt"] = group["params"][0].ndim > 1
        return Lamb(
            groups, lr=self.lr, betas=(self.beta1, self.beta2), max_grad_norm=None, foreach=True
        )


class Lion(Frozen):
    """The sign of a momentum, with decoupled weight decay (Chen et al. 2023, arXiv 2302.06675).

    Every weight moves by `lr` in every step, so the paper's rates are 3 to 10 times lower than
    AdamW's, with as much more decay: the defaults are AdamW's here, a factor of 3 apart.
    """

    name: Literal["lion"] = "lion"
    lr: float = Field(default=1e-4, gt=0, le=100)
    weight_decay: float = Field(default=0.03, ge=0, le=10)
    beta1: float = Field(
        default=0.9, ge=0, lt=1, description="share of the average of gradients in the step"
    )
    beta2: float = Field(default=0.99, ge=0, lt=1, description=MEAN)

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from timm.optim.lion import Lion as Signed

        groups = param_groups(model, self.weight_decay)
        return Signed(groups, lr=self.lr, betas=(self.beta1, self.beta2), foreach=True)


def param_groups(model: "nn.Module", weight_decay: float) -> list[dict[str, Any]]:
    """Weights with the decay; biases and norm parameters (one dimension) without."""
    params = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class Optimizing(Frozen):
    """What config classes of the user's own derive from."""

    lr: float = Field(gt=0, le=100)

    @abstractmethod
    def build(self, model: "nn.Module") -> "optim.Optimizer":
        """An optimizer of the model's parameters; its learning rate is set before each step."""


class PlainOptimizer(Plain):
    """A class or function of (params): a torch.optim.Optimizer. It takes `lr`; where it takes
    `weight_decay`, biases and norm parameters have none.
    """

    LEADING: ClassVar[tuple[str, ...]] = ("params",)
    NEEDS: ClassVar[tuple[str, ...]] = ("lr",)

    if TYPE_CHECKING:
        lr: float

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        """An optimizer of the model's parameters; its learning rate is set before each step."""
        from torch import optim

        decay = getattr(self, "weight_decay", None)
        params = [p for p in model.parameters() if p.requires_grad]
        found = self.call(params if decay is None else param_groups(model, decay))
        if not isinstance(found, optim.Optimizer):
            raise self.wrong(f"a torch.optim.Optimizer is expected, got {type(found).__name__}")
        return found


OPTIMIZERS = (SGD, Adagrad, RMSprop, Adam, AdamW, RAdam, NAdam, LAMB, Lion)
Optimizer = Annotated[
    SGD | Adagrad | RMSprop | Adam | AdamW | RAdam | NAdam | LAMB | Lion,
    Field(discriminator="name"),
    Kind("optimizer", OPTIMIZERS, Optimizing, PlainOptimizer),
]
