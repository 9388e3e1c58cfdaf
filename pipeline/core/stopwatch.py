"""How long an epoch of a configuration takes here, and how large its network is: measured on a few
made-up pictures of the real ones' shape, by the training core itself.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from pipeline.core.config import TrainConfig
from pipeline.core.costs import Cost, Shape
from pipeline.core.evaluate import BATCH, evaluate
from pipeline.core.parallel import Group
from pipeline.core.pictures import Pictures
from pipeline.core.setup import Inputs
from pipeline.core.trainer import Trainer
from pipeline.data.listing import num_kept
from pipeline.data.splits import Split

LEAST_SECONDS, MOST_STEPS, NUM_LOOKS = 0.3, 8, 3
FEW, PART = 8, 0.4  # pictures at least, for a batch that would take more of the time than this
LITTLE = 1e-7  # a learning rate
STEP = 3  # what a step of an attack takes, forward passes: one, and one back to the picture


def time_epoch(config: TrainConfig, shape: Shape, *, device: str, most_seconds: float) -> Cost:
    """Train some steps of `config`, evaluate a batch, and reckon what an epoch takes.

    Begins nothing more after `most_seconds`, but for a step and an evaluation of a few pictures,
    which stand for a batch where that takes long. Neither weights of others are read (they cost
    what fresh ones do) nor a teacher, whose answers are not counted. Raises what building or
    training it raises.
    """
    began = time.monotonic()
    least = min(shape.num_train, shape.num_classes)  # of each class one is kept
    num_train = max(least, num_kept(shape.num_train, config.train_share))
    batch = min(config.block, num_train)
    most = min(MOST_STEPS, max(1, num_train // batch))
    inputs = _made_up(shape, batch * most)
    where = torch.device(device)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        run = Trainer(_plain(config), inputs, seed=0, folder=None, device=where, group=Group())

        def first(num: int) -> Pictures:
            return Pictures(replace(inputs.train, index=inputs.train.index[:num]), where)

        def train(pictures: Pictures, steps: int = 1) -> float:
            return _seconds(lambda: run.loop.run_epoch(1, pictures, steps, []), where)

        few = first(min(FEW, batch))
        train(few)  # the first is slower than the others
        num = int(PART * most_seconds * len(few) / train(few))
        one, short = first(min(batch, max(len(few), num))), num >= batch
        a_step = train(one) * batch / len(one)
        steps, spent = 0, 0.0
        while short and spent < LEAST_SECONDS and time.monotonic() - began < most_seconds:
            several = most if (a_step * most < LEAST_SECONDS) else 1
            spent += train(run.train if several > 1 else one, several)
            steps += several
            a_step = spent / steps
        rows = np.arange(len(inputs.val) if short else min(len(one), len(inputs.val)))
        look = functools.partial(
            evaluate, run.evaluated, run.val, run.pixels, dtype=run.dtype, positions=rows
        )
        a_look = _seconds(look, where)
        if a_look < LEAST_SECONDS:  # the first is slower here, too
            a_look = min(_seconds(look, where) for _ in range(NUM_LOOKS))
        a_picture = a_look / len(rows)
    looked_at = shape.num_val + min(num_train, shape.num_val)  # part of train is evaluated
    attacked = (2 + STEP * config.attack.steps) * (shape.num_val + shape.num_test)
    attacked = attacked if config.attack.epsilon else 0
    weights = run.evaluated.state_dict().values()
    return Cost(
        a_step * num_train / batch + a_picture * looked_at,
        a_picture * (shape.num_test + attacked),
        sum(tensor.numel() * tensor.element_size() for tensor in weights),
    )


def _seconds(action: Callable[[], object], device: torch.device) -> float:
    start = time.monotonic()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - start


def _plain(config: TrainConfig) -> TrainConfig:
    """The config on pictures of noise, from which nothing diverges."""
    gentle = config.override({"optimizer.lr": LITTLE, "pseudo.threshold": 0.0})
    return gentle.model_copy(
        update={
            "transfer": config.transfer.model_copy(update={"weights": ""}),
            "distill": config.distill.model_copy(update={"teacher": ""}),
        }
    )


def _made_up(shape: Shape, num_train: int) -> Inputs:
    """Pictures to learn from and a batch to evaluate, of noise."""
    num = num_train + min(max(shape.num_val, 2), BATCH["cpu"])
    images = np.random.Generator(np.random.Philox(0)).integers(
        0, 256, (num, shape.channels, shape.size, shape.size), np.uint8
    )
    labels = np.arange(num, dtype=np.int64) % shape.num_classes
    rows = np.arange(num, dtype=np.int64)
    train, val = (Split(images, labels, part) for part in np.split(rows, [num_train]))
    level = (0.5,) * shape.channels
    names = tuple(str(number) for number in range(shape.num_classes))
    return Inputs(train, val, shape.num_classes, level, level, classes=names)
