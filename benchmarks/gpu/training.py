"""Checks of training: the numbers of a CPU, going on, and every part that a run can be made of."""

import tempfile
import time
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.bench import Bench, Facts, Wrong, require_close
from benchmarks.gpu.runs import SMALL, curve, inputs_of, loop_of, name_of, variants
from pipeline.core import checkpoints
from pipeline.core.augmentation.config import AUGMENTS
from pipeline.core.config import TrainConfig
from pipeline.core.evaluate import evaluate
from pipeline.core.history import Epoch
from pipeline.core.losses import LOSSES
from pipeline.core.models import MODELS
from pipeline.core.optimizers import OPTIMIZERS
from pipeline.core.pictures import Pictures
from pipeline.core.precision import ORDER
from pipeline.core.schedules import SCHEDULES
from pipeline.core.setup import Inputs
from pipeline.errors import printable

LEARNT = 0.3  # val_acc after three epochs; chance is 1/11
EVERYTHING = {"strength": 1.0, "mixup": 0.2, "cutmix": 0.5, "noise": 0.1, "blur": 0.02}


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions in whole float32, as a CPU computes them."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def curves(bench: Bench) -> Facts:
    """An epoch gives the numbers that it gives on the CPU."""
    found = {}
    inputs = inputs_of(512 if bench.gpu else 128, 64)
    for name in ("cnn", "resnet18"):
        augment = {"augment.strength": 1.0, "augment.mixup": 0.2}
        config = SMALL.override({"model.name": name, "epochs": 1, **augment})
        with without_tf32():
            here = curve(bench, config, inputs)[0]
            there = curve(Bench("cpu"), config, inputs)[0]
        for key in ("train_loss", "val_loss"):
            require_close(here[key], there[key], f"{name} {key}")
            found[f"{name}_{key}"] = {"here": here[key], "cpu": there[key]}
    return found


def resume(bench: Bench) -> Facts:
    """A run that stopped after an epoch goes on as if it had not; on a CPU bit for bit."""
    config = SMALL.override({"augment.strength": 1.0})
    inputs = inputs_of(256 if bench.gpu else 64, 64)
    whole = curve(bench, config, inputs)[1]["val_loss"]
    parts = in_parts(bench, config, inputs)[1]["val_loss"]
    if bench.gpu:
        require_close(parts, whole, "val_loss in two parts")
    elif parts != whole:
        raise Wrong(f"val_loss in two parts: {parts} against {whole}")
    return {"difference": abs(parts - whole)}


def in_parts(bench: Bench, config: TrainConfig, inputs: Inputs) -> Sequence[Epoch]:
    """The epochs of a run that was stopped after the first, and went on from its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        curve(bench, config, inputs, folder=Path(folder), stop=1)
        return curve(bench, config, inputs, folder=Path(folder))


def precisions(bench: Bench) -> Facts:
    """A network learns in every precision that the device has."""
    inputs, seen = inputs_of(512 if bench.gpu else 256, 64), {}
    offered = typing.get_args(TrainConfig.model_fields["precision"].annotation)
    for precision in offered:
        if precision == "auto":  # one of the others
            continue
        if bench.gpu and ORDER.index(precision) > ORDER.index(bench.precision):
            continue
        config = SMALL.override({"precision": precision, "epochs": 3})
        seen[precision] = curve(bench, config, inputs)[-1]["val_acc"]
        if seen[precision] <= LEARNT:
            raise Wrong(f"{precision} learns nothing: val_acc {seen[precision]:.3f}")
    left = [precision for precision in offered if precision not in ("auto", *seen)]
    return {"val_acc": seen, "not_here": ", ".join(left) or "none"}


def features(bench: Bench) -> Facts:
    """Each part of a run trains, and goes on from a file."""
    inputs = inputs_of(128, 64)
    plain = SMALL.override({"model.norm": "none", "optimizer.name": "sgd", "optimizer.lr": 0.01})
    whole, parts = (
        curve(bench, plain.override({"accumulate": n}), inputs)[1]["val_loss"] for n in (1, 4)
    )
    require_close(parts, whole, "val_loss of batches in four parts")
    with tempfile.TemporaryDirectory() as folder:
        curve(bench, SMALL, inputs, folder=Path(folder))
        teacher = str(checkpoints.epochs(Path(folder))[-1] / checkpoints.BEST)
        cases = dict(cases_of(teacher))
        bad = [
            f"{name}: {trouble}"
            for name, knobs in cases.items()
            if (trouble := trouble_with(bench, SMALL.override(knobs), inputs))
        ]
    if bad:
        raise Wrong("; ".join(bad))
    return {"cases": len(cases) + 1}


def cases_of(teacher: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, knobs) of everything that can be switched on, and of each member of the unions."""
    yield "ema", {"ema": 0.9}
    yield "adversary", {"adversary.epsilon": 0.02}
    yield "distill", {"distill.teacher": teacher}
    yield "pseudo", {"pseudo.threshold": 0.05, "pseudo.start": 2}
    everything = {f"augment.{name}": amount for name, amount in EVERYTHING.items()}
    unions: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
        ("loss", LOSSES, {"loss.balanced": True, "loss.hardest": 0.5}),
        ("augment", AUGMENTS, everything),
        ("optimizer", OPTIMIZERS, {}),
        ("schedule", SCHEDULES, {}),
    )
    for part, members, more in unions:
        for member in members:
            for name, knobs in variants(part, member):
                yield f"{part} {name}", knobs | more


def trouble_with(bench: Bench, config: TrainConfig, inputs: Inputs) -> str:
    """What is wrong with a run in two parts, so that its state goes through a file; "" if nothing
    is.
    """
    try:
        last = in_parts(bench, config, inputs)[-1]
    except Exception as error:
        return printable(f"{type(error).__name__}: {error}")
    if last["epoch"] != config.epochs or not np.isfinite(last["val_loss"]):
        return f"epoch {last['epoch']:.0f} of {config.epochs}, val_loss {last['val_loss']}"
    return ""


def families(bench: Bench) -> Facts:
    """Every network trains an epoch and is evaluated, as it is by default; narrower on a CPU."""
    inputs, took, bad = inputs_of(16, 64, 8), {}, []
    knobs = {"batch_size": 8, "precision": bench.precision}
    members: tuple[Any, ...] = MODELS
    for member in members:
        config = TrainConfig().override({"model.name": name_of(member), **knobs})
        if not bench.gpu and "width" in member.model_fields:
            config = config.override({"model.width": 8})
        begun = time.monotonic()
        try:
            loop, pictures = loop_of(bench, config, inputs)
            loop.run_epoch(1, pictures, 2, [])
            val = Pictures(inputs.val, bench.where)
            loss, _ = evaluate(loop.model, val, loop.pixels, dtype=loop.pixels.dtype)
            if not np.isfinite(loss):
                raise Wrong(f"val_loss {loss}")
        except Exception as error:
            bad.append(printable(f"{name_of(member)}: {type(error).__name__}: {error}"))
        took[name_of(member)] = time.monotonic() - begun
    if bad:
        raise Wrong("; ".join(bad))
    return {"families": len(took), "seconds_each": took}
