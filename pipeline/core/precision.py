"""Which precision pays on a device. Asked before anything is trained: torch, seconds to load, is
loaded where only it can tell.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.core.config import TrainConfig

if TYPE_CHECKING:
    import torch

CPUINFO = Path("/proc/cpuinfo")
SMALL = 32  # pixels; below, casts cost a CPU more than they spare


def resolve_precision(
    config: TrainConfig, device: "str | torch.device", fast: bool | None = None
) -> Literal["fp32", "bf16"]:
    """What "auto" means here: bf16 where the device is fast at it, which `fast` says of a device of
    another machine; on a CPU from 32 px on.
    """
    if config.precision != "auto":
        return config.precision
    pays = config.dataset.size >= SMALL or not str(device).startswith("cpu")
    return "bf16" if pays and (has_fast_bf16(device) if fast is None else fast) else "fp32"


def has_fast_bf16(device: "str | torch.device") -> bool:
    """Whether the device multiplies bfloat16 faster than float32."""
    kind = str(device).partition(":")[0]
    if kind == "cpu" and _is_named_without():
        return False
    import torch

    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return kind == "cpu" and supported is not None and bool(supported())


def _is_named_without() -> bool:
    """Whether Linux names what the CPU can do, and not these instructions."""
    try:
        flags = CPUINFO.read_text()
    except OSError:
        return False
    return "\nflags" in flags and "avx512_bf16" not in flags
