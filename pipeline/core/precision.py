"""Which precision pays on a device. Asked before anything is trained: torch, seconds to load, is
loaded where only it can tell.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.core.config import TrainConfig

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "fp16", "bf16"]

ORDER: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
"""A device that is fast at one is fast at those before it."""
CPUINFO = Path("/proc/cpuinfo")
SMALL = 32  # pixels; below, casts cost a CPU more than they spare
BF16, TENSOR_CORES = (8, 0), (7, 0)  # compute capabilities that brought them
WITHOUT = "GTX 16"  # of capability 7.5, without tensor cores; its fp16 convolutions give NaN


def resolve_precision(
    config: TrainConfig, device: "str | torch.device", fast: Precision | None = None
) -> Precision:
    """What "auto" means here: what the device is fast at, which `fast` says of a device of another
    machine; on a CPU from 32 px on.
    """
    if config.precision != "auto":
        return config.precision
    if config.dataset.size < SMALL and str(device).startswith("cpu"):
        return "fp32"
    return fast or fast_precision(device)


def fast_precision(device: "str | torch.device") -> Precision:
    """What a device multiplies fastest: bfloat16 where it has the hardware; on a GPU without that,
    but with tensor cores (V100, T4, RTX 20), float16; else float32. Of several GPUs (`cuda`) what
    all of them are fast at.
    """
    kind, _, index = str(device).partition(":")
    if kind == "cuda":
        import torch

        return common(map(_on_gpu, [int(index)] if index else range(torch.cuda.device_count())))
    return "bf16" if kind == "cpu" and _on_cpu() else "fp32"


def is_emulated(precision: str, device: str, fast: Precision) -> bool:
    """Whether a device that is fast at `fast` computes in this precision without hardware for it. A
    CPU has none for float16, or none that is asked for here.
    """
    if device == "cpu" and precision == "fp16":
        return True
    return precision in ORDER and ORDER.index(precision) > ORDER.index(fast)


def common(precisions: Iterable[Precision]) -> Precision:
    """What devices that are fast at these are all fast at."""
    return min(precisions, key=ORDER.index, default="fp32")


def _on_gpu(index: int) -> Precision:
    import torch

    capability = torch.cuda.get_device_capability(index)
    if capability >= BF16 or torch.version.hip:
        return "bf16"
    plain = capability < TENSOR_CORES or WITHOUT in torch.cuda.get_device_name(index)
    return "fp32" if plain else "fp16"


def _on_cpu() -> bool:
    """Whether the CPU multiplies bfloat16 faster than float32."""
    if _is_named_without():
        return False
    import torch

    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return supported is not None and bool(supported())


def _is_named_without() -> bool:
    """Whether Linux names what the CPU can do, and not these instructions."""
    try:
        flags = CPUINFO.read_text()
    except OSError:
        return False
    return "\nflags" in flags and "avx512_bf16" not in flags
