"""A model file: best.safetensors of a run, which says itself which network it holds and how
pictures go into it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from pipeline.core.checkpoints import BEST, epochs
from pipeline.core.config import TrainConfig
from pipeline.core.members import build
from pipeline.errors import UserError, printable
from pipeline.own.at_hand import at_hand


@dataclass(frozen=True)
class Artifact:
    """What a model file says of itself: the run's config and the pictures it was trained on (mean,
    std in 0 … 1).

    `classes`: their names in the order of the outputs; empty where an earlier version wrote the
    file.
    """

    config: TrainConfig
    channels: int
    size: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()

    def about(self) -> dict[str, str]:
        """The same as text, for the file's header."""
        return {
            "config": self.config.model_dump_json(),
            "pictures": json.dumps(
                [self.channels, self.size, self.num_classes, self.mean, self.std]
            ),
            **({"classes": json.dumps(self.classes)} if self.classes else {}),
        }

    def require_like(self, other: "Artifact", *, key: str) -> None:
        """Raise UserError unless `other` has pictures of the same shape and, as far as files say,
        the same classes.
        """
        mine, theirs = ((a.channels, a.size, a.num_classes) for a in (self, other))
        if mine != theirs:
            shown = "; ".join(
                "{} channels, {} px, {} classes".format(*facts) for facts in (mine, theirs)
            )
            raise UserError(f"{key}: trained on other pictures than this study's: {shown}")
        if self.classes and other.classes and self.classes != other.classes:
            first = next(
                pair for pair in zip(self.classes, other.classes, strict=True) if pair[0] != pair[1]
            )
            shown = " where this study has ".join(f"'{printable(name, 60)}'" for name in first)
            raise UserError(
                f"{key}: trained on other classes than this study's, or in another order: {shown}"
            )

    def build(self) -> nn.Module:
        """The run's network, its weights not loaded."""
        with torch.random.fork_rng(devices=[]):
            return build(self.config, self.channels, self.size, self.num_classes, load=False)


def read(given: str, *, key: str) -> tuple[Artifact, Path]:
    """What the model file `given`, or the newest below that folder of checkpoints, says of itself;
    its path.

    Raises UserError, naming `key`, where there is none or it was not written by a run.
    """
    path = at_hand(given)
    if path.is_dir():
        path = next(
            (folder / BEST for folder in reversed(epochs(path)) if (folder / BEST).is_file()),
            path / BEST,
        )
    where = f"{key}: {printable(path)}"
    if not path.is_file():
        raise UserError(
            f"{where}: no such file; expected {BEST} of a finished run, or the folder of its "
            "checkpoints"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
        config = TrainConfig.parse(json.loads(about["config"]), source=printable(path))
        channels, size, num_classes, mean, std = json.loads(about["pictures"])
        classes = tuple(json.loads(about.get("classes", "[]")))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(
            f"{where}: not a model file of a finished run ({printable(error)})"
        ) from error
    return Artifact(config, channels, size, num_classes, tuple(mean), tuple(std), classes), path


def load(given: str, *, key: str, device: torch.device) -> tuple[Artifact, nn.Module]:
    """The model with its weights, in eval mode on `device`; raises UserError as `read`."""
    artifact, path = read(given, key=key)
    model = artifact.build()
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UserError(
            f"{key}: {printable(path)}: its weights do not fit its network ({printable(error)})"
        ) from error
    return artifact, model.to(device).eval().requires_grad_(False)
