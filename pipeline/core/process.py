"""Settings of the process that trains: allocator, threads, kernels."""

import ctypes
import sys

import torch

# glibc's mallopt parameters (malloc.h)
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
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, -1)
            mallopt(M_TOP_PAD, 1 << 28)


def tune_thread() -> None:
    """Call in each thread that trains: that the smallest numbers are taken for 0 holds for the
    thread that asked, and a worker's segments each have a thread of their own.
    """
    torch.set_flush_denormal(True)
