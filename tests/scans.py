"""The scans of handwritten digits that parts are tested on, and what a run leaves."""

from pathlib import Path

from safetensors.torch import load_file

from pipeline.testing.scans import SMALL, digits, numbers

__all__ = ["SMALL", "digits", "numbers", "weights"]


def weights(folder: Path, epoch: int) -> dict[str, bytes]:
    return {
        k: v.numpy().tobytes()
        for k, v in load_file(folder / f"epoch_{epoch:04d}" / "state.safetensors").items()
    }
