"""Checkpoints: one folder per epoch, complete or ignored. safetensors and JSON only; nothing is
ever unpickled.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from pipeline.core.identity import Identity
from pipeline.core.mixed_precision import Scaler
from pipeline.core.precision import Precision
from pipeline.errors import MachineError, UserError, printable

log = logging.getLogger(__name__)

STATE, BEST, META = "state.safetensors", "best.safetensors", "meta.json"
KEEP = 2
DAMAGED = (
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)
"""What reading a checkpoint raises that is not whole; any other OSError is the disk's refusal."""


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint on disk: the state after `epoch`, and the weights of `best_epoch`.

    settled: only the best weights are left, the run is complete and cannot be gone on with.
    """

    folder: Path
    settled: bool
    epoch: int
    best_epoch: int
    precision: Precision
    history: tuple[dict[str, float], ...]
    scalars: dict[str, Any]

    def restore(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        average: nn.Module | None = None,
        scaler: Scaler | None = None,
    ) -> None:
        """Load weights, their average, the state of optimizer and scaler in place, bit for bit, in
        the model's own memory layout.
        """
        tensors = load_file(self.folder / STATE)
        for prefix, module in (("model.", model), ("average.", average)):
            if module is not None:
                own = {
                    k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
                }
                module.load_state_dict(own)
        load_optimizer(optimizer, tensors, self.scalars)
        if scaler is not None:
            scaler.load(self.scalars)

    def best(self) -> dict[str, Tensor]:
        """The weights of the best epoch."""
        return load_file(self.folder / BEST)


def save(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    identity: Identity,
    precision: str,
    history: tuple[dict[str, float], ...],
    best_epoch: int,
    about: Mapping[str, str],
    average: AveragedModel | None = None,
    scaler: Scaler | None = None,
) -> None:
    """Write the checkpoint of the last epoch of `history` into `folder`; raises MachineError where
    the disk refuses.

    The best weights are those of `average` where there is one; `about` goes into their file (see
    `artifact`).
    """
    epoch = len(history)
    final, temporary = folder / f"epoch_{epoch:04d}", folder / f".epoch_{epoch:04d}.tmp"
    with writing(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        tensors, scalars = dump_optimizer(optimizer)
        scalars |= {} if scaler is None else scaler.dump()
        averages = {} if average is None else dump(average, "average.")
        save_file(dump(model, "model.") | averages | tensors, temporary / STATE)
        if best_epoch == epoch:
            save_file(
                dump(model if average is None else average.module),
                temporary / BEST,
                metadata=dict(about),
            )
        else:
            link(folder / f"epoch_{epoch - 1:04d}" / BEST, temporary / BEST)
        meta = {
            "epoch": epoch,
            "best_epoch": best_epoch,
            "precision": precision,
            "history": history,
            "scalars": scalars,
        }
        hashes = {name: digest(temporary / name) for name in (STATE, BEST)}
        write_meta(temporary, {"identity": identity.recorded(), **meta, "sha256": hashes})
        for name in hashes:  # safetensors lets the owner alone read them, whatever the umask
            (temporary / name).chmod((temporary / META).stat().st_mode & 0o777)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        _remove(epochs(folder)[:-KEEP])


def latest(folder: Path, identity: Identity) -> Checkpoint | None:
    """The newest valid checkpoint in `folder`; what is damaged is logged and removed.

    Raises UserError where one is another run's, and MachineError where the disk refuses: both are
    left as they are.
    """
    for leftover in folder.glob(".epoch_*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    for candidate in reversed(epochs(folder)):
        try:
            return read(candidate, identity)
        except DAMAGED as error:
            log.warning("checkpoint %s removed: %s", printable(candidate), printable(error))
            shutil.rmtree(candidate, ignore_errors=True)
        except OSError as error:
            raise MachineError(
                f"cannot read the checkpoint {printable(candidate)}: {error.strerror}"
            ) from error
    return None


def read(folder: Path, identity: Identity) -> Checkpoint:
    """The checkpoint in `folder`; raises one of DAMAGED where it is not whole, and as `latest`."""
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    if meta.pop("check") != check(meta):
        raise ValueError(f"{META} is damaged (its SHA-256 differs)")
    for name, expected in meta["sha256"].items():
        if digest(folder / name) != expected:
            raise ValueError(f"{name} is damaged (its SHA-256 differs)")
    if not identity.agrees(meta["identity"], folder / BEST):
        raise UserError(
            f"the checkpoint {printable(folder)} is of another configuration, seed or version of "
            "the training core; it is left as it is: put the run's own back, or move it away"
        )
    keys = ("epoch", "best_epoch", "precision", "scalars")
    settled = STATE not in meta["sha256"]
    return Checkpoint(
        folder, settled, history=tuple(meta["history"]), **{key: meta[key] for key in keys}
    )


def settle(folder: Path, *, complete: bool) -> None:
    """Keep what may still be needed of a run that rests: the newest checkpoint, of a complete run
    its best weights alone.

    May be interrupted anywhere and called again. Raises MachineError where the disk refuses.
    """
    *older, newest = epochs(folder)
    _remove(older)
    if complete:
        with writing(folder):
            meta = json.loads((newest / META).read_text(encoding="utf-8"))
            if meta["sha256"].pop(STATE, None) is not None:
                del meta["check"]
                write_meta(newest, {**meta, "scalars": {}})
            # The meta data first: a state that they do not name is ignored, one that they name must
            # be there.
            (newest / STATE).unlink(missing_ok=True)


def _remove(folders: Iterable[Path]) -> None:
    for old in folders:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises MachineError where the disk refuses."""
    try:
        yield
    except (
        OSError,
        SafetensorError,
    ) as error:  # a full disk comes as the latter from the tensors' own writer
        reason = getattr(error, "strerror", None) or error
        raise MachineError(f"cannot write a checkpoint to {printable(folder)}: {reason}") from error


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write the meta data with its own checksum, as a whole or not at all."""
    scratch = folder / f"{META}.tmp"
    scratch.write_text(
        json.dumps({**meta, "check": check(meta)}, allow_nan=False), encoding="utf-8"
    )
    os.replace(scratch, folder / META)


def epochs(folder: Path) -> list[Path]:
    """The folders of checkpoints, oldest first."""
    return sorted(
        p
        for p in folder.glob("epoch_*")
        if p.name.removeprefix("epoch_").isdecimal() and p.is_dir()
    )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(meta: Mapping[str, Any]) -> str:
    """SHA-256 of the meta data itself."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy on a file system without them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def dump(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """A module's state, ready to be saved."""
    return {
        f"{prefix}{name}": t.detach().cpu().contiguous() for name, t in module.state_dict().items()
    }


def dump_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State as tensors and JSON scalars: `optimizer.<parameter>.<name>` and, of groups of them,
    `group.<number>.<name>`.

    A group's state is what it holds as tensors (LAMB's count of steps); its other entries come from
    the configuration.
    """
    whole = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for number, group in enumerate(whole["param_groups"]):
        tensors |= {
            f"group.{number}.{name}": value.cpu()
            for name, value in group.items()
            if isinstance(value, Tensor)
        }
    for number, state in whole["state"].items():
        for name, value in state.items():
            key = f"optimizer.{number}.{name}"
            if isinstance(value, Tensor):
                tensors[key] = value.detach().cpu().contiguous()
            else:
                scalars[key] = value
    return tensors, scalars


def load_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    """Undo `dump_optimizer`; a state shaped like its parameter gets its memory layout, which fused
    kernels rely on.
    """
    params = [p for group in optimizer.param_groups for p in group["params"]]
    groups = optimizer.state_dict()["param_groups"]
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **scalars}.items():
        if not key.startswith(("optimizer.", "group.")):
            continue
        kind, number, name = key.split(".", 2)
        if kind == "group":
            groups[int(number)][name] = value
            continue
        if isinstance(value, Tensor) and value.shape == params[int(number)].shape:
            value = torch.empty_like(params[int(number)]).copy_(value)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for own in optimizer.state.values():
        for name, value in own.items():
            # torch moves all but the step to the parameter's device; NAdam reads its product there
            # in every step
            if isinstance(value, Tensor) and value.ndim == 0 and "step" in own:
                own[name] = value.to(own["step"].device)
