"""Optimizers: one config class each, with `build`."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.frozen import Frozen

if TYPE_CHECKING:
    from torch import nn, optim

DECAY = Field(default=0.0, ge=0, le=10)


class SGD(Frozen):
    """Stochastic gradient descent with momentum; weight decay is L2, added to the gradient."""

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
        return optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=True)


class Adam(Frozen):
    """Adam (Kingma & Ba 2014, arXiv 1412.6980); weight decay is L2, added to the gradient."""

    name: Literal["adam"] = "adam"
    lr: float = Field(default=3e-4, gt=0, le=100)
    weight_decay: float = DECAY

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        return optim.Adam(param_groups(model, self.weight_decay), lr=self.lr, fused=True)


class AdamW(Frozen):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017, arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"
    lr: float = Field(default=3e-4, gt=0, le=100)
    weight_decay: float = Field(default=0.01, ge=0, le=10)

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        return optim.AdamW(param_groups(model, self.weight_decay), lr=self.lr, fused=True)


class RMSprop(Frozen):
    """RMSprop (Tieleman & Hinton 2012, Coursera lecture 6.5); weight decay is L2, added to the gradient."""

    name: Literal["rmsprop"] = "rmsprop"
    lr: float = Field(default=1e-3, gt=0, le=100)
    weight_decay: float = DECAY
    momentum: float = Field(default=0.0, ge=0, lt=1)

    def build(self, model: "nn.Module") -> "optim.Optimizer":
        from torch import optim

        groups = param_groups(model, self.weight_decay)
        return optim.RMSprop(groups, lr=self.lr, momentum=self.momentum, foreach=True)


def param_groups(model: "nn.Module", weight_decay: float) -> list[dict[str, Any]]:
    """Weights with the decay; biases and norm parameters (one dimension) without."""
    params = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


Optimizer = Annotated[SGD | Adam | AdamW | RMSprop, Field(discriminator="name")]
OPTIMIZERS = (SGD, Adam, AdamW, RMSprop)
