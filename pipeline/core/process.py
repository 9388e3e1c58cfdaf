"""Settings of the process that trains: allocator, threads, kernels."""

import ctypes
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

# glibc's mallopt parameters (malloc.h)
COMPILER = "torch._dynamo"
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def tune_process(num_threads: int = 1) -> None:
    """Call once per worker, before the first tensor: one thread per trial, and memory that stays
    with the process.

    By default glibc gives every large activation back to the kernel and page-faults it in again at
    each step.
    """
    torch.set_num_threads(num_threads)
    tune_thread()
    torch.backends.cudnn.benchmark = True  # pictures of one size: its trials pay at once
    if COMPILER not in sys.modules:
        sys.modules[COMPILER] = torch._dynamo = _Compiler(COMPILER)
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, -1)
            mallopt(M_TOP_PAD, 1 << 28)


class _Compiler(ModuleType):
    """Stands for torch's compiler until somebody compiles: eager training asks it for these two
    alone, neither of which does anything then, and loading it for them takes two seconds.
    """

    @staticmethod
    def graph_break(*_: object, **__: object) -> None: ...

    @staticmethod
    def disable(fn: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
        return fn

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(importlib.import_module(COMPILER), name)


def tune_thread() -> None:
    """Call in each thread that trains: that the smallest numbers are taken for 0 holds for the
    thread that asked, and a worker's segments each have a thread of their own.
    """
    torch.set_flush_denormal(True)
