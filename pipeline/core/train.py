"""train(): one configuration, one seed, one split pair -> a history. The only way anything here
gets trained.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pipeline.core import checkpoints
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.core.finished.finish import Finished, finish
from pipeline.core.finished.robust import robust_acc
from pipeline.core.history import Epoch, best_epoch, exhausted
from pipeline.core.loop import Diverged
from pipeline.core.parallel import Group
from pipeline.core.pictures import Pictures
from pipeline.core.precision import resolve_precision
from pipeline.core.process import tune_process, tune_thread
from pipeline.core.setup import Inputs, build_model, build_pixels, identity
from pipeline.core.trainer import Trainer
from pipeline.data.splits import Split

__all__ = [
    "Diverged",
    "Inputs",
    "Result",
    "evaluate_best",
    "resolve_precision",
    "robust_acc_of_best",
    "train",
    "tune_process",
    "tune_thread",
]


@dataclass(frozen=True)
class Result:
    """history: one dict per epoch; best_epoch by what the config selects by, then lower val_loss,
    then earlier; seconds of all epochs.

    complete: all epochs of the config are trained, or its patience has run out.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    num_params: int
    seconds: float
    complete: bool


def train(
    config: TrainConfig,
    inputs: Inputs,
    *,
    seed: int,
    folder: Path | None = None,
    stop: int | None = None,
    reported: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
    before_save: Callable[[], None] = lambda: None,
    device: str = "cpu",
    group: Group | None = None,
    init: int | None = None,
    parts: int = 0,
) -> Result:
    """Train up to epoch `stop` of a schedule laid out over `config.epochs`, or until its patience
    runs out.

    With `folder` it goes on from the newest valid checkpoint there, on a CPU bit for bit, and
    leaves one per epoch. `on_epoch` gets every epoch beyond `reported` once, in order, after its
    checkpoint is on disk: epoch, train_loss, train_acc (both in eval mode, without augmentation, on
    a fixed part of the train split), val_loss, val_acc, lr (of the last step), grad_norm (see
    `Loop.run_epoch`), seconds.
    `before_save` is called before each checkpoint; what it raises ends the run. `init`: the seed of
    the initial weights, where it is not `seed`. `parts` of a batch: where memory asks for more than
    the config does. Global random state is left as it was found. Every process of a `group` calls
    it with the same arguments; the leader alone evaluates, reports and writes.

    Raises Diverged, UserError (a teacher or weights that do not fit), MachineError where a
    checkpoint cannot be written.
    """
    where = torch.device(device)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        run = Trainer(
            config,
            inputs,
            seed=seed,
            folder=folder,
            device=where,
            group=group or Group(),
            init=init,
            parts=parts,
        )
        emit = on_epoch or (lambda _: None)
        stop = config.epochs if stop is None else min(stop, config.epochs)
        for epoch in run.history[reported:stop]:
            emit(epoch)
        by = (config.selects, config.sign)
        while len(run.history) < stop and not exhausted(run.history, config.patience, *by):
            epoch = run.next_epoch(before_save)
            if len(run.history) > reported:
                emit(epoch)
    history = tuple(run.history[:stop])
    complete = len(history) == config.epochs or exhausted(history, config.patience, *by)
    seconds = sum(epoch["seconds"] for epoch in history)
    return Result(history, best_epoch(history, *by), run.num_params, seconds, complete)


def evaluate_best(
    config: TrainConfig,
    split: Split,
    inputs: Inputs,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
) -> Finished:
    """What `finish` makes of the best epoch's weights on `split`, in fp32; raises FileNotFoundError
    without a checkpoint.
    """
    where = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        model, pixels = _best(config, inputs, seed=seed, folder=folder, device=where)
        return finish(
            config, model, Pictures(split, where), Pictures(inputs.train, where), pixels, seed=seed
        )


def robust_acc_of_best(
    config: TrainConfig,
    split: Split,
    inputs: Inputs,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
) -> float:
    """The accuracy of the best epoch's weights on `split`, as trained, under the config's attack
    (see `robust_acc`); raises FileNotFoundError without a checkpoint.
    """
    where = torch.device(device)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        model, pixels = _best(config, inputs, seed=seed, folder=folder, device=where)
        return robust_acc(config.attack, model, Pictures(split, where), pixels, seed=seed)


def _best(
    config: TrainConfig, inputs: Inputs, *, seed: int, folder: Path, device: torch.device
) -> tuple[nn.Module, Pixels]:
    found = checkpoints.latest(folder, identity(config, seed))
    if found is None:
        raise FileNotFoundError(f"no valid checkpoint in {folder}")
    model = build_model(config, inputs, device, pretrained=False)
    model.load_state_dict(found.best())
    return model, build_pixels(config, inputs, device, torch.float32)
