"""Runs that checks are made of: made-up pictures, small configurations, loops, segments."""

import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.gpu.bench import Bench
from pipeline.core.average import averaged
from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import evidence_path
from pipeline.core.history import Epoch
from pipeline.core.identity import Seeds
from pipeline.core.loop import Loop
from pipeline.core.mixed_precision import DTYPES, Scaler
from pipeline.core.objective import Objective, Teacher
from pipeline.core.pictures import Pictures
from pipeline.core.precision import resolve_precision
from pipeline.core.setup import Inputs, build_model, build_pixels
from pipeline.core.train import train
from pipeline.data.splits import Split
from pipeline.engine import worker
from pipeline.engine.order import Order, Outcome
from pipeline.record import lease

NUM_CLASSES = 11
SMALL = TrainConfig().override(
    {
        "dataset.size": 64,
        "model.width": 8,
        "epochs": 2,
        "batch_size": 32,
        "precision": "fp32",
        "optimizer.lr": 1e-3,
    }
)

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def scans(num: int, side: int) -> tuple[Bytes, Labels]:
    """Pictures [N, 3, S, S] in which each class has colours of its own under noise, and labels.

    `side` is a multiple of 8.
    """
    labels = np.arange(num) % NUM_CLASSES
    coarse = np.random.default_rng(7).normal(size=(NUM_CLASSES, 3, 8, 8))
    patterns = np.kron(coarse, np.ones((side // 8, side // 8)))
    noise = np.random.default_rng(0).normal(size=(min(num, 256), 3, side, side))
    images = np.empty((num, 3, side, side), np.uint8)
    for row, label in enumerate(labels):
        image = 128 + 30 * patterns[label] + 40 * noise[row % len(noise)]
        images[row] = image.clip(0, 255)
    return images, labels


def inputs_of(num: int, side: int, num_val: int | None = None) -> Inputs:
    """`num` pictures to train on, a quarter more to validate on, which are the unlabeled, too."""
    images, labels = scans(num + (num_val or num // 4), side)
    own, val = (Split(images, labels, rows) for rows in np.split(np.arange(len(images)), [num]))
    return Inputs(own, val, NUM_CLASSES, (0.5,) * 3, (0.2,) * 3, val)


def loop_of(
    bench: Bench, config: TrainConfig, inputs: Inputs, teacher: Teacher | None = None
) -> tuple[Loop, Pictures]:
    """The loop of a run before its first epoch, and its pictures."""
    torch.manual_seed(0)
    dtype = DTYPES[resolve_precision(config, bench.where)]
    model = build_model(config, inputs, bench.where, pretrained=True, dtype=dtype)
    optimizer, scaler = config.optimizer.build(model), Scaler(dtype, bench.where)
    scaler.prepare(optimizer)
    pixels = build_pixels(config, inputs, bench.where, dtype)
    loop = Loop(
        config,
        model,
        optimizer,
        Objective(config, model, model, pixels, dtype, None, teacher),
        pixels,
        NUM_CLASSES,
        0,
        average=averaged(model, config.ema) if config.ema else None,
        scaler=scaler,
    )
    return loop, Pictures(inputs.train, bench.where)


def curve(bench: Bench, config: TrainConfig, inputs: Inputs, **more: Any) -> Sequence[Epoch]:
    """The epochs of a run on the bench's device."""
    return train(config, inputs, seed=1, device=bench.device, **more).history


def order_of(bench: Bench, config: TrainConfig, root: Path, data: Path, **more: Any) -> Order:
    """The first epoch of an arm's first replicate, whose folder is in `root`."""
    order: dict[str, Any] = {
        "segment": "gpu.1",
        "config": config,
        "seeds": Seeds(0, 1),
        "stop": 1,
        "test": False,
        "folder": root / "run",
        "evidence": evidence_path(root, "run"),
        "output": root / "output",
        "data": data,
        "device": bench.device,
    }
    return Order(**order | more)


def work(order: Order) -> Outcome:
    """What the worker makes of the order once the run's folder is given to it."""
    lease.grant(order.folder, order.segment)
    return worker.work(order, lambda _: None)


def name_of(member: Any) -> str:
    """What a union's member is called."""
    return str(member.model_fields["name"].default)


def variants(part: str, member: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, knobs) of the member by default, and with each choice that one of its fields has."""
    knobs = {f"{part}.name": name_of(member)}
    yield name_of(member), knobs
    for name, about in member.model_fields.items():
        for choice in typing.get_args(about.annotation):
            if isinstance(choice, str) and choice != about.default:
                yield f"{name_of(member)} {choice}", knobs | {f"{part}.{name}": choice}
