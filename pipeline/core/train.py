"""train(): one configuration, one seed, one split pair -> a history. The only way anything here gets trained."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from pipeline.config import TrainConfig
from pipeline.core import CORE_VERSION, checkpoints
from pipeline.core.evaluate import evaluate
from pipeline.core.loop import Diverged, Loop
from pipeline.core.machine import has_fast_bf16, tune_process
from pipeline.core.pictures import Pictures, Rows
from pipeline.core.pixels import Pixels
from pipeline.core.streams import stream, torch_seed
from pipeline.data.splits import Split

__all__ = [
    "Diverged",
    "Inputs",
    "Result",
    "evaluate_best",
    "resolve_precision",
    "train",
    "tune_process",
]

Epoch = dict[str, float]


@dataclass(frozen=True)
class Inputs:
    """What train() gets to see; never test. `mean` and `std` per channel, of pictures scaled to [0, 1]."""

    train: Split
    val: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """history: one dict per epoch; best_epoch by val_acc, then lower val_loss, then earlier; seconds of all epochs."""

    history: tuple[Epoch, ...]
    best_epoch: int
    num_params: int
    seconds: float


def train(
    config: TrainConfig,
    inputs: Inputs,
    *,
    seed: int,
    folder: Path | None = None,
    stop: int | None = None,
    reported: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
    device: str = "cpu",
) -> Result:
    """Train up to epoch `stop` of a schedule laid out over `config.epochs`.

    With `folder` it goes on from the newest valid checkpoint there, on a CPU bit for bit, and leaves one per epoch.
    `on_epoch` gets every epoch beyond `reported` once, in order, after its checkpoint is on disk: epoch, train_loss,
    train_acc (both in eval mode, without augmentation, on a fixed part of the train split), val_loss, val_acc,
    lr (of the last step), seconds. Global random state is left as it was found.

    Raises Diverged, and MachineError where a checkpoint cannot be written.
    """
    where = torch.device(device)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        run = _Run(config, inputs, seed=seed, folder=folder, device=where)
        emit = on_epoch or (lambda _: None)
        stop = config.epochs if stop is None else min(stop, config.epochs)
        for epoch in run.history[reported:stop]:
            emit(epoch)
        while len(run.history) < stop:
            epoch = run.next_epoch()
            if len(run.history) > reported:
                emit(epoch)
    history = tuple(run.history[:stop])
    return Result(history, best_epoch(history), run.num_params, sum(epoch["seconds"] for epoch in history))


class _Run:
    """A training run between two epochs: model, optimizer, history, and its checkpoints if it has a folder."""

    def __init__(self, config: TrainConfig, inputs: Inputs, *, seed: int, folder: Path | None, device: torch.device) -> None:
        self.folder, self.identity = folder, _identity(config, seed)
        found = None if folder is None else checkpoints.latest(folder, self.identity)
        self.history: list[Epoch] = [] if found is None else list(found.history)
        # a run keeps the precision that it began with, wherever it goes on
        self.precision = resolve_precision(config, device) if found is None else found.precision
        bf16 = self.precision == "bf16"
        torch.manual_seed(torch_seed(seed, "init"))
        model = _build(config, inputs, device)
        self.num_params = sum(p.numel() for p in model.parameters())
        optimizer = config.optimizer.build(model)
        if found is not None and not found.settled:
            found.restore(model, optimizer)
        pixels = _pixels(inputs, device, torch.bfloat16 if bf16 else torch.float32)
        self.loop = Loop(config, model, optimizer, Pictures(inputs.train, device), pixels, seed, bf16)
        self.val = Pictures(inputs.val, device)
        self.subset = _subset(seed, len(inputs.train), len(inputs.val))

    def next_epoch(self) -> Epoch:
        """Train and evaluate one epoch, write its checkpoint, return its numbers."""
        start, number, loop = time.monotonic(), len(self.history) + 1, self.loop
        lr = loop.run_epoch(number)
        train_loss, train_acc = evaluate(loop.model, loop.pictures, loop.pixels, bf16=loop.bf16, positions=self.subset)
        val_loss, val_acc = evaluate(loop.model, self.val, loop.pixels, bf16=loop.bf16)
        epoch = {
            "epoch": number,
            "train_loss": train_loss,
            "train_acc": train_acc,
            "val_loss": val_loss,
            "val_acc": val_acc,
            "lr": lr,
            "seconds": time.monotonic() - start,
        }
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(epoch[name]):
                raise Diverged(number, 0, name)
        self.history.append(epoch)
        if self.folder is not None:
            checkpoints.save(
                self.folder,
                loop.model,
                loop.optimizer,
                identity=self.identity,
                precision=self.precision,
                history=tuple(self.history),
                best_epoch=best_epoch(tuple(self.history)),
            )
        return epoch


def best_epoch(history: tuple[Epoch, ...]) -> int:
    """The epoch of the highest val_acc; ties go to the lower val_loss, then to the earlier epoch; 0 without epochs."""
    if not history:
        return 0
    best = min(history, key=lambda epoch: (-epoch["val_acc"], epoch["val_loss"], epoch["epoch"]))
    return int(best["epoch"])


def resolve_precision(config: TrainConfig, device: str | torch.device) -> Literal["fp32", "bf16"]:
    """What "auto" means here: bf16 where the device is fast at it; on a CPU from 32 px on (below, casts cost more)."""
    if config.precision != "auto":
        return config.precision
    device = torch.device(device)
    pays = device.type == "cuda" or config.dataset.size >= 32
    return "bf16" if pays and has_fast_bf16(device) else "fp32"


def evaluate_best(
    config: TrainConfig, split: Split, inputs: Inputs, *, seed: int, folder: Path, device: str = "cpu"
) -> tuple[float, float]:
    """(loss, accuracy) of the best epoch's weights on `split`, in fp32; raises FileNotFoundError without a checkpoint."""
    found = checkpoints.latest(folder, _identity(config, seed))
    if found is None:
        raise FileNotFoundError(f"no valid checkpoint in {folder}")
    where = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        model = _build(config, inputs, where)
    model.load_state_dict(found.best())
    return evaluate(model, Pictures(split, where), _pixels(inputs, where, torch.float32), bf16=False)


def _identity(config: TrainConfig, seed: int) -> checkpoints.Identity:
    return checkpoints.Identity(config.fingerprint(), seed, CORE_VERSION)


def _build(config: TrainConfig, inputs: Inputs, device: torch.device) -> nn.Module:
    _, channels, size, _ = inputs.train.images.shape
    model = config.model.build(channels, size, inputs.num_classes).to(device)
    if _channels_last(inputs):
        model = model.to(memory_format=torch.channels_last)
    return model


def _pixels(inputs: Inputs, device: torch.device, dtype: torch.dtype) -> Pixels:
    return Pixels(inputs.mean, inputs.std, device=device, dtype=dtype, channels_last=_channels_last(inputs))


def _channels_last(inputs: Inputs) -> bool:
    """Whether the layout pays: its convolutions are faster, but not on small or grey pictures."""
    _, channels, size, _ = inputs.train.images.shape
    return channels == 3 and size >= 32


def _subset(seed: int, num_train: int, num_val: int) -> Rows:
    """Positions of the train split that train_loss and train_acc are taken on: at most as many as val has."""
    return np.sort(stream(seed, "subset").permutation(num_train)[:num_val])
