"""Memory: how much there is, and how amounts of it are said."""

import os
from pathlib import Path

MiB, GiB = 2**20, 2**30


def available_bytes() -> int:
    """Memory that is free for new processes: the kernel's estimate, or less where a container's limit is nearer."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), free)
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit.isdecimal():
            free = min(free, int(limit) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(free, 0)


def size(num_bytes: float) -> str:
    """`1.5 GB`, `20 MB`."""
    return f"{num_bytes / GiB:.1f} GB" if num_bytes >= GiB else f"{num_bytes / MiB:.1f} MB"
