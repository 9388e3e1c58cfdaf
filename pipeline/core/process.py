"""Settings of the process that trains: allocator, threads, kernels."""

import ctypes
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
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
        sys.modules[COMPILER] = torch._dynamo = _Compiler()
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

    def __init__(self) -> None:
        super().__init__(COMPILER)
        self.__spec__ = importlib.util.find_spec(COMPILER)
        self.__file__ = self.__spec__.origin if self.__spec__ else None

    @staticmethod
    def graph_break(*_: object, **__: object) -> None: ...

    def disable(self, fn: Any = None, *rest: Any, **more: Any) -> Any:
        """As torch itself asks, that nothing be compiled of a function; what users forbid holds
        for all that they compile later.
        """
        if more.get("wrapping") is False:
            return fn
        return self.__getattr__("disable")(fn, *rest, **more)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__path__", "__all__"):
            raise AttributeError(name)  # who looks through all modules asks for such
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        found = getattr(importlib.import_module(COMPILER), name)
        if name == "__path__":  # a module in it is being imported, which it may have done itself
            sys.meta_path.insert(0, _Within())
        return found


class _Within(MetaPathFinder, Loader):
    """Finds a module of torch's compiler that was loaded while it was looked for: once more, it
    would be another one of the same name.
    """

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        module = sys.modules.get(fullname)
        if not fullname.startswith(COMPILER + ".") or module is None:
            return None
        return ModuleSpec(fullname, self, loader_state=module.__spec__)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state


def tune_thread() -> None:
    """Call in each thread that trains: that the smallest numbers are taken for 0 holds for the
    thread that asked, and a worker's segments each have a thread of their own.
    """
    torch.set_flush_denormal(True)
