"""Where a device's memory does not suffice: what says so, and batches whose rows do not depend on
each other in parts that fit.
"""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")

WORDS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""What torch's allocators say, and cuDNN and cuBLAS, which take memory of their own."""
OTHERS = 0.25  # of a GPU: a screen and other processes' bare contexts

_fits: dict[str, int] = {}
"""Kind of device → rows that are computed at once there from now on, until that is forgotten; none
where all that was asked for has fitted."""


class DoesNotFit(Exception):
    """Memory does not suffice for a single picture."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the allocator of a CPU's tensors, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)
    )


def free() -> None:
    """Give the device what nobody holds any more. To be called once the error is gone, whose
    traceback holds what was being computed.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def crowded(device: str, share: float) -> str:
    """How much of a GPU other processes hold, where that is far more than the rest of a run's
    `share` of it: then a network that does not fit may fit another time. '' where not.
    """
    if device != "cuda":
        return ""
    left, total = torch.cuda.mem_get_info()
    others = total - left - torch.cuda.memory_reserved()
    if others <= (1 + OTHERS - min(share, 1.0)) * total:
        return ""
    return f"other processes hold {others / 2**30:.1f} of the GPU's {total / 2**30:.1f} GB"


def forget() -> None:
    """Try all rows at once again: another network may be smaller than the one before, and what
    else filled the memory may be gone.
    """
    _fits.clear()


def in_parts(compute: Callable[..., Found], *batch: Tensor) -> list[Found]:
    """What `compute` makes of the tensors' rows, in their order: of all at once, or, where memory
    runs out, of half as many, and so on.

    What it makes of a row must not depend on the others, and a call that did not fit must leave
    nothing behind. Raises DoesNotFit where one row is too much.
    """
    device, num_rows = batch[0].device.type, len(batch[0])
    found: list[Found] = []
    start = 0
    while start < num_rows:
        size = min(num_rows - start, _fits.get(device, num_rows))
        try:
            found.append(compute(*(tensor[start : start + size] for tensor in batch)))
            start += size
            continue
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                forget()
                raise DoesNotFit(str(error)) from error
        free()
        _fits[device] = size // 2
    return found


def joined(parts: list[Tensor]) -> Tensor:
    """The rows of all parts."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
