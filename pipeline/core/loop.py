"""The training loop of one epoch: nothing in a step waits for the device."""

import itertools
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import utils
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from pipeline.core.augmentation.mixing import mix
from pipeline.core.augmentation.pixels import Draws, Pixels, draw
from pipeline.core.config import BLOCK, FULL, TrainConfig
from pipeline.core.history import Epoch
from pipeline.core.members import each
from pipeline.core.mixed_precision import Scaler
from pipeline.core.objective import Objective
from pipeline.core.parallel import Group
from pipeline.core.pictures import Pictures, cut
from pipeline.core.streams import stream, torch_seed

NORM, LEFT_OUT = "gradient norm", "step left out"
FP32 = (torch.float32, torch.device("cpu"))


class Diverged(Exception):
    """`what` (a loss, a gradient norm, a metric) was not finite in `epoch` (from 1) at `step` (from
    1; 0 = evaluation).
    """

    def __init__(self, epoch: int, step: int, what: str) -> None:
        super().__init__(epoch, step, what)
        self.epoch, self.step, self.what = epoch, step, what

    def __str__(self) -> str:
        place = f"step {self.step}" if self.step else "evaluation"
        return f"diverged: {self.what} is not finite in epoch {self.epoch}, {place}"


@dataclass
class Loop:
    """What an epoch needs; weights, their average and the optimizer's state are all that one epoch
    leaves to the next.
    """

    config: TrainConfig
    model: nn.Module
    optimizer: Optimizer
    objective: Objective
    pixels: Pixels
    num_classes: int
    seed: int
    average: AveragedModel | None = None
    group: Group = field(default_factory=Group)
    parts: int = 0  # of a batch, where memory asks for more than `accumulate`
    scaler: Scaler = field(default_factory=lambda: Scaler(*FP32))

    def __post_init__(self) -> None:
        self.params = [p for p in self.model.parameters() if p.requires_grad]
        self.clipped = [
            [p for p in one.parameters() if p.requires_grad] for one in each(self.model)
        ]

    def run_epoch(
        self, epoch: int, pictures: Pictures, num_steps: int, val_losses: Sequence[float]
    ) -> Epoch:
        """Train through epoch `epoch` (from 1) of `pictures`; returns `lr`, the last step's
        learning rate; where gradients are clipped `grad_norm`, the mean over steps of their norm
        before that; in float16 `skipped_steps`, those that the scaler left out, which are in no
        mean (0 where it left out all).

        `num_steps` are those of a usual epoch, which the schedule is laid out over; `val_losses` of
        the epochs before. Raises Diverged at a non-finite loss or gradient norm: at that step on a
        CPU, at the epoch's end on a GPU.
        """
        num, size = len(pictures), pictures.images.shape[-1]
        order = stream(self.seed, "order", epoch).permutation(num)
        draws = draw(self.config.augment, seed=self.seed, epoch=epoch, num_samples=num, size=size)
        draws = None if draws is None else draws.to(pictures.device)
        torch.manual_seed(torch_seed(self.seed, "dropout", epoch) + self.group.rank)
        self.model.train()
        cuts = self.cuts(num)
        shared = [self._parts(cut) for cut in cuts]
        batches = pictures.batches(order, itertools.chain.from_iterable(shared))
        watch = Watch(epoch, len(cuts), pictures.device)
        rate = 0.0
        for step, (batch, parts) in enumerate(zip(cuts, shared, strict=True)):
            done = (epoch - 1) * num_steps + step * num_steps / len(cuts)
            rate = self._set_rate(done, self.config.epochs * num_steps, val_losses)
            mine = itertools.islice(batches, len(parts))
            watch.see(
                "train_loss",
                step,
                self._backward(mine, len(parts), batch.stop - batch.start, draws),
            )
            self.scaler.unscale_(self.optimizer)
            self._watch_gradient(watch, step)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
            if self.average is not None:
                self.average.update_parameters(self.model)
        watch.check()
        told = {"lr": rate}
        if self.config.clip_norm > 0:
            told["grad_norm"] = watch.mean(NORM)
        return told | ({"skipped_steps": watch.num_left_out} if self.scaler.is_enabled() else {})

    def cuts(self, num_samples: int) -> list[slice]:
        """Batches; where the last is too small for every process to get two samples it joins the
        one before, unless a batch is one.
        """
        size = self.config.batch_size
        if size == FULL:
            return [slice(0, num_samples)]
        cuts = cut(num_samples, size)
        if len(cuts) > 1 and cuts[-1].stop - cuts[-1].start < min(size, 2 * self.group.size):
            cuts[-2:] = [slice(cuts[-2].start, cuts[-1].stop)]
        return cuts

    def _parts(self, batch: slice) -> list[slice]:
        """This process's parts of a batch."""
        num, parts = batch.stop - batch.start, max(self.config.accumulate, self.parts)
        if self.config.batch_size == FULL:
            parts *= math.ceil(num / BLOCK)
        return [
            slice(batch.start + part.start, batch.start + part.stop)
            for part in shares(num, parts, self.group)
        ]

    def _set_rate(self, done: float, total: int, val_losses: Sequence[float]) -> float:
        rate = self.config.optimizer.lr * self.config.schedule.factor(done, total, val_losses)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        return rate

    def _backward(
        self,
        parts: Iterable[tuple[Tensor, Tensor, Tensor]],
        num_parts: int,
        num: int,
        draws: Draws | None,
    ) -> Tensor:
        """Gradients of the mean loss of a batch of `num` pictures, of this process's parts of it
        (rows, pictures, labels); returns the loss.

        Mixing pairs pictures, and a loss of the hardest ones picks them, within a part.
        """
        total = torch.zeros((), device=self.pixels.shift.device)
        for number, (rows, images, targets) in enumerate(parts):
            drawn = None if draws is None else draws.rows(rows)
            x, targets = mix(self.pixels(images, drawn), targets, drawn, self.num_classes)
            weight = len(images) / num
            network = self.objective.network
            last = number == num_parts - 1
            with (
                network.no_sync()
                if isinstance(network, DistributedDataParallel) and not last
                else nullcontext()
            ):
                loss = (
                    self.objective(x, targets)
                    if weight == 1
                    else self.objective(x, targets) * weight
                )
                # the group averages gradients, where the loss is a sum of shares
                loss_here = loss if self.group.size == 1 else loss * self.group.size
                self.scaler.scale(loss_here).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return self.group.add(total)

    def _watch_gradient(self, watch: "Watch", step: int) -> None:
        """Clip the gradient; a step that the scaler leaves out has none that could be watched,
        unless that is no matter of scale.
        """
        norm = self._clip() if self.config.clip_norm > 0 else None
        if self.scaler.is_enabled():
            left_out, infinite = self.scaler.left_out(self.optimizer)
            watch.see(LEFT_OUT, step, left_out)
            norm = infinite if norm is None else torch.where(left_out > 0, infinite, norm)
        if norm is not None:
            watch.see(NORM, step, norm)

    def _clip(self) -> Tensor:
        """The gradient's norm before clipping; of members, whose gradients are clipped each by
        itself, the mean. On a CPU, where looking costs nothing, gradients in bounds stay untouched.
        """
        norms = []
        for params in self.clipped:
            norm = utils.get_total_norm([p.grad for p in params if p.grad is not None])
            if norm.is_cuda or norm.item() > self.config.clip_norm:
                utils.clip_grads_with_norm_(params, self.config.clip_norm, norm)
            norms.append(norm)
        return norms[0] if len(norms) == 1 else torch.stack(norms).mean()


def shares(num_samples: int, accumulate: int, group: Group) -> list[slice]:
    """This process's parts of a batch, one for each backward pass, as even as can be and of two
    samples or more.

    A batch too small for that is cut into fewer parts, down to one for each process.
    """
    num_parts = group.size * max(1, min(accumulate, num_samples // (2 * group.size)))
    edges = [num_samples * i // num_parts for i in range(num_parts + 1)]
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    each = num_parts // group.size
    return parts[group.rank * each : (group.rank + 1) * each]


def finer(config: TrainConfig, parts: int, num_processes: int) -> int:
    """Twice as many parts of a batch (of a full one: of each block) as were too large, of two
    pictures or more; 0 where these were that small.
    """
    tried, most = max(config.accumulate, parts), config.block // (2 * num_processes)
    return min(2 * tried, most) if tried < most else 0


class Watch:
    """Watches an epoch's numbers for NaN and infinity, and keeps them; on a GPU they are read once,
    at the end.
    """

    def __init__(self, epoch: int, num_steps: int, device: torch.device) -> None:
        self.epoch = epoch
        self.num_steps = num_steps
        self.device = device
        self.seen: dict[str, Tensor] = {}

    def see(self, what: str, step: int, value: Tensor) -> None:
        if self.device.type == "cpu" and not math.isfinite(value.item()):
            raise Diverged(self.epoch, step + 1, what)
        if what not in self.seen:
            self.seen[what] = torch.zeros(self.num_steps, device=self.device)
        self.seen[what][step] = value

    @property
    def num_left_out(self) -> int:
        """Steps that a scaler left out; waits for the device."""
        return int(self.seen[LEFT_OUT].sum().item()) if LEFT_OUT in self.seen else 0

    def mean(self, what: str) -> float:
        """Over the steps but those that were left out, whose values are 0; waits for the device."""
        if not (left_out := self.num_left_out):
            return self.seen[what].double().mean().item()
        return self.seen[what].double().sum().item() / max(1, self.num_steps - left_out)

    def check(self) -> None:
        """Raise Diverged for the first number that was not finite."""
        for what, values in self.seen.items():
            bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
            if bad:
                raise Diverged(self.epoch, bad[0] + 1, what)
