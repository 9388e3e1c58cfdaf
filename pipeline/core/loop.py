"""The training loop of one epoch: nothing in a step waits for the device."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional, utils
from torch.optim import Optimizer

from pipeline.config import TrainConfig
from pipeline.core.pictures import Pictures, cut
from pipeline.core.pixels import Pixels, draw
from pipeline.core.streams import stream, torch_seed


class Diverged(Exception):
    """`what` (a loss, a gradient norm, a metric) was not finite in `epoch` (from 1) at `step` (from 1; 0 = evaluation)."""

    def __init__(self, epoch: int, step: int, what: str) -> None:
        super().__init__(epoch, step, what)
        self.epoch, self.step, self.what = epoch, step, what

    def __str__(self) -> str:
        place = f"step {self.step}" if self.step else "evaluation"
        return f"diverged: {self.what} is not finite in epoch {self.epoch}, {place}"


@dataclass
class Loop:
    """What an epoch needs; the model's weights and the optimizer's state are all that one epoch leaves to the next."""

    config: TrainConfig
    model: nn.Module
    optimizer: Optimizer
    pictures: Pictures
    pixels: Pixels
    seed: int
    bf16: bool

    def __post_init__(self) -> None:
        self.cuts = cut(len(self.pictures), self.config.batch_size)
        self.params = [p for p in self.model.parameters() if p.requires_grad]

    def run_epoch(self, epoch: int) -> float:
        """Train through epoch `epoch` (from 1); returns the last step's learning rate.

        Raises Diverged at a non-finite loss or gradient norm: at that step on a CPU, at the epoch's end on a GPU.
        """
        num, size = len(self.pictures), self.pictures.images.shape[-1]
        order = stream(self.seed, "order", epoch).permutation(num)
        draws = draw(self.config.augment, seed=self.seed, epoch=epoch, num_samples=num, size=size)
        draws = None if draws is None else draws.to(self.pictures.device)
        torch.manual_seed(torch_seed(self.seed, "dropout", epoch))
        self.model.train()
        watch = Watch(epoch, len(self.cuts), self.pictures.device)
        rate = 0.0
        for step, (rows, images, labels) in enumerate(self.pictures.batches(order, self.cuts)):
            rate = self._set_rate((epoch - 1) * len(self.cuts) + step)
            x = self.pixels(images, None if draws is None else draws.rows(rows))
            watch.see("train_loss", step, self._backward(x, labels))
            if self.config.clip_norm > 0:
                watch.see("gradient norm", step, self._clip())
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        watch.check()
        return rate

    def _set_rate(self, step: int) -> float:
        total = self.config.epochs * len(self.cuts)
        rate = self.config.optimizer.lr * self.config.schedule.factor(step, total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _backward(self, x: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model(x)
        loss = functional.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _clip(self) -> Tensor:
        """The gradient's norm before clipping. On a CPU, where looking costs nothing, gradients in bounds stay untouched."""
        norm = utils.get_total_norm([p.grad for p in self.params if p.grad is not None])
        if norm.is_cuda or norm.item() > self.config.clip_norm:
            utils.clip_grads_with_norm_(self.params, self.config.clip_norm, norm)
        return norm


class Watch:
    """Watches an epoch's numbers for NaN and infinity; on a GPU they are kept there and read once, at the end."""

    def __init__(self, epoch: int, num_steps: int, device: torch.device) -> None:
        self.epoch = epoch
        self.num_steps = num_steps
        self.device = device
        self.seen: dict[str, Tensor] = {}

    def see(self, what: str, step: int, value: Tensor) -> None:
        if self.device.type == "cpu":
            if not math.isfinite(value.item()):
                raise Diverged(self.epoch, step + 1, what)
        else:
            self.seen.setdefault(what, torch.zeros(self.num_steps, device=self.device))[step] = value

    def check(self) -> None:
        """Raise Diverged for the first number that was not finite."""
        for what, values in self.seen.items():
            bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
            if bad:
                raise Diverged(self.epoch, bad[0] + 1, what)
