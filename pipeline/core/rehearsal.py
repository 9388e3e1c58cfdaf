"""One step on a few made-up pictures, so that a mistake in the user's own parts is told with its
file and line before hours are spent.
"""

import functools
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from pipeline.core.augmentation.config import PlainAugmentation
from pipeline.core.checkpoints import dump_optimizer
from pipeline.core.config import TrainConfig
from pipeline.core.metrics import values
from pipeline.core.weights import apply
from pipeline.errors import UserError
from pipeline.own.parts import at_fault, own_parts

NUM = 4  # pictures


def rehearse(config: TrainConfig, *, channels: int, size: int, num_classes: int) -> None:
    """Build the config's network and take a step with its loss, optimizer and schedule, on a CPU.

    Raises UserError naming the part, its file and line. Does nothing where no part is the user's
    own.
    """
    if not any(True for _ in own_parts(config)):
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.rand(NUM, channels, size, size)
        labels = torch.arange(NUM) % num_classes
        with at_fault("model.name", config.model):
            model = config.network(channels, size, num_classes).train()
            logits = model(x)
            _require_logits(logits, num_classes)
        with at_fault("optimizer.name", config.optimizer):
            optimizer = config.optimizer.build(model)
        _step(config, model, x, logits.float(), labels, optimizer)
        _rehearse_beside(config, x, logits.detach().float(), labels)
        with at_fault("schedule.name", config.schedule):
            for share in range(11):
                config.schedule.factor(share / 10 * 100, 100, [1.0] * share)
        with at_fault("model.name", config.model), torch.inference_mode():
            _require_logits(model.eval()(x[:1]), num_classes, num=1)
            _require_state(model)


def rehearse_alone(config: TrainConfig, *, channels: int, size: int, num_classes: int) -> None:
    """Show the config's network one picture, as batches of one do while it is trained.

    Raises UserError, naming the layer, where a batch norm would have a single value a channel,
    which is no batch to norm by.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = config.network(channels, size, num_classes)
        apply(config.transfer, config.model, model, num_classes=num_classes, load=False)
        for name, module in model.train().named_modules():
            if isinstance(module, _BatchNorm):
                module.register_forward_pre_hook(functools.partial(_require_several, name))
        model(torch.rand(1, channels, size, size))


def _require_several(name: str, norm: nn.Module, given: tuple[Tensor, ...]) -> None:
    (x,) = given
    if norm.training and x.numel() == x.shape[1]:
        raise UserError(
            "batch_size: got 1; the network's batch norm "
            f"'{name}' then has one value a channel, where it cannot be trained: take batches of 2 "
            "or more, larger pictures (dataset.size, input_size) or a network without it "
            "(model.norm, where it has that)"
        )


def _require_logits(logits: Any, num_classes: int, num: int = NUM) -> None:
    wanted = (num, num_classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"of {num} pictures of {num_classes} classes a network gives logits {list(wanted)}, "
            f"got {got}"
        )


def _require_state(model: nn.Module) -> None:
    """What is kept beyond an epoch is in the checkpoint, as tensors."""
    others = [k for k, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(f"its state holds {others[0]}, which is no tensor and cannot be saved")


def _rehearse_beside(config: TrainConfig, x: Tensor, logits: Tensor, labels: Tensor) -> None:
    if isinstance(config.augment, PlainAugmentation):
        with at_fault("augment.name", config.augment):
            one, again = (config.augment.applied(x * 255, 1) for _ in range(2))
            if not torch.equal(one, again):
                raise ValueError("two calls differ: what it draws must come from `generator` alone")
    for number, metric in enumerate(config.metrics):
        with at_fault(f"metrics.{number}", metric):
            metric.value(logits, labels)
    values(config.metrics, logits, labels, select=config.select, sign=config.sign)


def _step(
    config: TrainConfig,
    model: nn.Module,
    x: Tensor,
    logits: Tensor,
    labels: Tensor,
    optimizer: Optimizer,
) -> None:
    with at_fault("loss.name", config.loss):
        shares = nn.functional.one_hot(labels, logits.shape[1]).float()
        if config.augment.amounts().mixup or config.augment.amounts().cutmix:
            config.loss.value(logits, shares, _weights(config, labels, logits.shape[1]))
        loss = config.loss.value(logits, labels, _weights(config, labels, logits.shape[1]))
    with at_fault("penalty.name", config.penalty):
        loss = config.penalty.added(loss, model, x, logits, labels)
    with at_fault("loss.name", config.loss):
        loss.backward()  # type: ignore[no-untyped-call]
    with at_fault("optimizer.name", config.optimizer):
        before = _scalars(optimizer)
        optimizer.step()
        for number, group in enumerate(_scalars(optimizer)):
            changed = sorted(name for name in group if group[name] != before[number].get(name))
            if changed:
                raise ValueError(
                    f"it changes '{changed[0]}' of its parameter group, which a checkpoint holds "
                    "only where it is a tensor, or part of a parameter's state"
                )
        json.dumps(dump_optimizer(optimizer)[1])


def _weights(config: TrainConfig, labels: Tensor, num_classes: int) -> Tensor | None:
    if not config.loss.balanced:
        return None
    return config.loss.class_weights(torch.bincount(labels, minlength=num_classes))


def _scalars(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in group.items() if k != "params" and not isinstance(v, Tensor)}
        for group in optimizer.param_groups
    ]
