"""What checks run on: the device, sizes that fit it, and where numbers are told and kept."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.core.precision import Precision, fast_precision

Facts = Mapping[str, object]


class Skip(Exception):
    """The check cannot be made here: why."""


class Wrong(Exception):
    """The product does not do what it should: what it did."""


@dataclass
class Notes:
    """A line for everything that is found, at once; all of it in the file, where there is one."""

    out: Path | None = None
    found: list[dict[str, object]] = field(default_factory=list)

    def tell(self, state: str, check: str, numbers: Facts, *, seconds: float | None = None) -> None:
        """One line; `numbers` stand in the file as they are, in the line in few digits."""
        took = {} if seconds is None else {"seconds": seconds}
        self.found.append({"state": state, "check": check, **numbers, **took})
        words = [state, check, *([] if seconds is None else [f"({seconds:.1f} s)"])]
        print(*words, *(f"{name}={shown(value)}" for name, value in numbers.items()), flush=True)
        if self.out is not None:
            self.out.write_text(json.dumps(self.found, indent=1, default=str), encoding="utf-8")


def shown(value: object) -> str:
    """A number in four digits; of several, each with its name."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {shown(one)}" for name, one in value.items()) + "}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Sizes:
    """Of what is timed: side of a picture in pixels, pictures, sizes of batches, the network's
    width, seconds that a rate is taken over.
    """

    side: int
    num: int
    batches: tuple[int, ...]
    width: int
    seconds: float


ON_GPU = Sizes(side=128, num=4096, batches=(64, 256), width=64, seconds=2.0)
ON_CPU = Sizes(side=32, num=64, batches=(16,), width=8, seconds=0.3)


@dataclass(frozen=True)
class Bench:
    """The device that is checked; no check begins after `deadline` (of time.monotonic)."""

    device: str
    deadline: float = float("inf")
    notes: Notes = field(default_factory=Notes)

    @property
    def where(self) -> torch.device:
        return torch.device(self.device)

    @property
    def gpu(self) -> bool:
        return self.where.type == "cuda"

    @property
    def sizes(self) -> Sizes:
        return ON_GPU if self.gpu else ON_CPU

    @property
    def precision(self) -> Precision:
        """Of what is not about precision."""
        return fast_precision(self.where) if self.gpu else "fp32"

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.deadline

    def sync(self) -> None:
        """Wait for the device."""
        if self.gpu:
            torch.cuda.synchronize()

    def need_gpus(self, num: int) -> None:
        """Raises Skip where there are fewer."""
        there = torch.cuda.device_count() if self.gpu else 0
        if there < num:
            what = "a GPU" if num == 1 else f"{num} GPUs"
            raise Skip(f"needs {what}, {self.device} has {there}")

    def info(self, check: str, **numbers: Any) -> None:
        """Numbers that are neither right nor wrong."""
        self.notes.tell("INFO", check, numbers)


def require_close(here: float, there: float, what: str, *, share: float = 0.02) -> None:
    """Raises Wrong where two numbers are further apart than `share` of the second, and 0.01."""
    if not abs(here - there) <= share * abs(there) + 0.01:  # a number that is none is not close
        raise Wrong(f"{what}: {here:.4f} against {there:.4f}")
