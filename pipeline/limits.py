"""What this process may take of the machine: a container's limits (cgroups of both versions) are
nearer than the machine's.

A limit may be set at every level above the process's own group that can be seen; the nearest
counts.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
MiB, GiB = 2**20, 2**30


def num_cores(proc: Path = PROC) -> int:
    """The CPU cores that this process may keep busy: those it may run on, or the whole ones of its
    quota; at least 1.
    """
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(allowed, int(min((allowed, *_quotas(proc))))))


def available_bytes(proc: Path = PROC) -> int:
    """Memory that is free for new processes: the kernel's estimate, or less where a container's
    limit is nearer.
    """
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free = min(free, int(line.split()[1]) * 1024)
    return max(0, min([free, *_memories(proc)]))


def num_killed_for_memory(proc: Path = PROC) -> int:
    """How many processes of this one's group the kernel has killed for want of memory; of the
    machine where the group does not count them. Only a difference means something."""
    for level in (*_levels("", proc), *_levels("memory", proc)):
        for name in ("memory.events", "memory.oom_control"):
            count = _fields(level / name).get("oom_kill")
            if count is not None:
                return count
    return _fields(proc / "vmstat").get("oom_kill", 0)


def size(num_bytes: float) -> str:
    """`1.5 GB`, `20 MB`."""
    return f"{num_bytes / GiB:.1f} GB" if num_bytes >= GiB else f"{num_bytes / MiB:.1f} MB"


def _quotas(proc: Path) -> Iterator[float]:
    """Cores' worth of CPU time, of each level that limits it."""
    for level in _levels("", proc):
        quota, _, period = _text(level / "cpu.max").partition(" ")
        if quota.isdecimal() and period.strip().isdecimal():
            yield int(quota) / int(period)
    for level in _levels("cpu", proc):
        quota, period = (
            _text(level / "cpu.cfs_quota_us").strip(),
            _text(level / "cpu.cfs_period_us").strip(),
        )
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)


def _memories(proc: Path) -> Iterator[int]:
    """Bytes left at each level that limits them; what the kernel can drop (files not in use) counts
    as left.
    """
    kinds = (
        ("", "memory.max", "memory.current", ""),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    )
    for controller, limit, usage, prefix in kinds:
        for level in _levels(controller, proc):
            most, used = _text(level / limit).strip(), _text(level / usage).strip()
            if most.isdecimal() and used.isdecimal():
                yield (
                    int(most)
                    - int(used)
                    + _fields(level / "memory.stat").get(f"{prefix}inactive_file", 0)
                )


def _levels(controller: str, proc: Path) -> Iterator[Path]:
    """The folders of this process's group and of those above it, as far as they can be seen; "" is
    version 2's only tree.
    """
    for line in _text(proc / "self" / "mountinfo").split(
        "\n"
    ):  # names in it may hold what else ends a line of text
        mount, mark, system = line.partition(" - ")
        if not mark:
            continue
        root, place = mount.split(" ")[3:5]
        kind, *_, options = system.split(" ")
        if kind != ("cgroup" if controller else "cgroup2") or (
            controller and controller not in options.split(",")
        ):
            continue
        top = Path(_plain(place))
        own = _group(controller, proc).removeprefix(root if root != "/" else "")
        level = top / own.strip("/")
        if not level.is_dir():  # of a tree of which only a part is shown here
            level = top
        yield from (level, *(parent for parent in level.parents if parent.is_relative_to(top)))


def _group(controller: str, proc: Path) -> str:
    """Where this process stands in a tree: `/docker/3f2a…`."""
    for line in _text(proc / "self" / "cgroup").split("\n"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if path and controller in controllers.split(","):
            return path
    return "/"


def _plain(place: str) -> str:
    """A path as mountinfo writes it, with its spaces, tabs, line ends and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place)


def _fields(path: Path) -> dict[str, int]:
    """`name number` on each line."""
    found = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in found if len(words) == 2 and words[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())  # of some mount in mountinfo the name may be no text
    except OSError:
        return ""
