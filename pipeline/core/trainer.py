"""A training run between two epochs: model, optimizer, history, and its checkpoints if it has a
folder.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.core import checkpoints
from pipeline.core.average import averaged
from pipeline.core.config import TrainConfig
from pipeline.core.depth import Body, set_apart
from pipeline.core.evaluate import Scores, evaluate
from pipeline.core.finished import artifact
from pipeline.core.history import Epoch, best_epoch
from pipeline.core.loop import Diverged, Loop
from pipeline.core.mixed_precision import DTYPES, Scaler
from pipeline.core.objective import Objective, Teacher
from pipeline.core.parallel import Group
from pipeline.core.pictures import Pictures, Rows
from pipeline.core.precision import Precision, resolve_precision
from pipeline.core.pseudo import pseudo_labels, with_pseudo_labels
from pipeline.core.setup import Inputs, build_model, build_pixels, describe, identity
from pipeline.core.streams import stream, torch_seed


class Trainer:
    """The state of a run; every process of its `group` has one, the leader's alone evaluates and
    writes.
    """

    def __init__(
        self,
        config: TrainConfig,
        inputs: Inputs,
        *,
        seed: int,
        folder: Path | None,
        device: torch.device,
        group: Group,
        init: int | None = None,
        parts: int = 0,
    ) -> None:
        """init: the seed of the initial weights, where it is not `seed`. parts: see `Loop`."""
        self.config, self.inputs, self.device, self.group = config, inputs, device, group
        self.folder, self.identity = folder, identity(config, seed)
        found = (
            None if folder is None or not group.leads else checkpoints.latest(folder, self.identity)
        )
        found = group.share(found)
        self.history: list[Epoch] = [] if found is None else list(found.history)
        # a run keeps the precision that it began with, wherever it goes on
        self.precision: Precision = (
            resolve_precision(config, device) if found is None else found.precision
        )
        self.dtype = DTYPES[self.precision]
        self.about = describe(config, inputs)
        torch.manual_seed(torch_seed(seed if init is None else init, "init"))
        model = build_model(config, inputs, device, pretrained=found is None, dtype=self.dtype)
        self.num_params = sum(p.numel() for p in model.parameters())
        optimizer = set_apart(
            config.optimizer.build(model),
            config.transfer,
            model,
            num_classes=inputs.num_classes,
        )
        self.body = Body.of(config.transfer, model, num_classes=inputs.num_classes)
        average = averaged(model, config.ema) if config.ema > 0 else None
        scaler = Scaler(self.dtype, device)
        scaler.prepare(optimizer)
        if found is not None and not found.settled:
            found.restore(model, optimizer, average, scaler)
        self.pixels = build_pixels(config, inputs, device, self.dtype)
        self.train, self.val = Pictures(inputs.train, device), Pictures(inputs.val, device)
        self.subset = _subset(seed, len(inputs.train), len(inputs.val))
        objective = self._objective(model)
        self.loop = Loop(
            config,
            model,
            optimizer,
            objective,
            self.pixels,
            inputs.num_classes,
            seed,
            average=average,
            group=group,
            parts=parts,
            scaler=scaler,
        )
        self.num_steps = len(self.loop.cuts(len(self.train)))

    @property
    def evaluated(self) -> nn.Module:
        """The network that counts: the average where there is one."""
        average = self.loop.average
        return self.loop.model if average is None else average.module

    def next_epoch(self, before_save: Callable[[], None]) -> Epoch:
        """Train and evaluate one epoch, write its checkpoint after a call of `before_save`, return
        its numbers.
        """
        start, number = time.monotonic(), len(self.history) + 1
        if self.body is not None and self.body.hold(number <= self.config.transfer.freeze_epochs):
            # a wrapper takes gradients of what was trained when it was made
            network = self.group.wrap(self.loop.model)
            self.loop.objective = replace(self.loop.objective, network=network)
        val_losses = [epoch["val_loss"] for epoch in self.history]
        told = self.loop.run_epoch(number, self._pictures(number), self.num_steps, val_losses)
        epoch = self.group.share(self._evaluate(number, told, start) if self.group.leads else None)
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(epoch[name]):
                raise Diverged(number, 0, name)
        self.history.append(epoch)
        if self.folder is not None and self.group.leads:
            before_save()
            checkpoints.save(
                self.folder,
                self.loop.model,
                self.loop.optimizer,
                identity=self.identity,
                precision=self.precision,
                history=tuple(self.history),
                best_epoch=best_epoch(self.history, self.config.selects, self.config.sign),
                about=self.about.about(),
                average=self.loop.average,
                scaler=self.loop.scaler,
            )
        return epoch

    def _evaluate(self, number: int, told: Epoch, start: float) -> Epoch:
        model, pixels, dtype = self.evaluated, self.pixels, self.dtype
        train_loss, train_acc = evaluate(
            model, self.train, pixels, dtype=dtype, positions=self.subset
        )
        scores = Scores(self.config) if self.config.metrics else None
        val_loss, val_acc = evaluate(model, self.val, pixels, dtype=dtype, answers=scores)
        own = scores.metrics() if scores else {}
        return {
            "epoch": number,
            "train_loss": train_loss,
            "train_acc": train_acc,
            "val_loss": val_loss,
            "val_acc": val_acc,
            **{f"val_{name}": value for name, value in own.items()},
            **told,
            "seconds": time.monotonic() - start,
        }

    def _pictures(self, epoch: int) -> Pictures:
        """What epoch `epoch` is trained on."""
        pseudo, unlabeled = self.config.pseudo, self.inputs.unlabeled
        if not pseudo.threshold or epoch < pseudo.start or unlabeled is None:
            return self.train
        found = None
        if (
            self.group.leads
        ):  # processes may differ in a rounding, and must train on the same pictures
            pictures = Pictures(unlabeled, self.device)
            found = pseudo_labels(
                pictures, self.evaluated, self.pixels, threshold=pseudo.threshold, dtype=self.dtype
            )
        sure, labels = self.group.share(found)
        return with_pseudo_labels(self.inputs.train, unlabeled, sure, labels, self.device)

    def _objective(self, model: nn.Module) -> Objective:
        config, teacher, weights = self.config, None, None
        if config.distill.teacher:
            found, network = artifact.load(
                config.distill.teacher, key="distill.teacher", device=self.device
            )
            found.require_like(self.about, key="distill.teacher")
            teacher = Teacher(network, found.mean, found.std)
        if config.loss.balanced:
            counts = torch.bincount(self.train.labels, minlength=self.inputs.num_classes)
            weights = config.loss.class_weights(counts).to(self.device)
        return Objective(
            config, model, self.group.wrap(model), self.pixels, self.dtype, weights, teacher
        )


def _subset(seed: int, num_train: int, num_val: int) -> Rows:
    """Positions of the train split that train_loss and train_acc are taken on: at most as many as
    val has.
    """
    return np.sort(stream(seed, "subset").permutation(num_train)[:num_val])
