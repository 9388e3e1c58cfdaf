"""Limits of containers as the kernel writes them: both versions of cgroups, at every level, and for
real where we may.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.limits import available_bytes, num_cores, num_killed_for_memory

GB = 2**30


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def machine(folder: Path, *, kind: str, group: str, root: str = "/", files: dict[str, str]) -> Path:
    """A /proc whose process stands in `group` of a tree mounted below `folder`, of which `root` is
    shown.
    """
    (proc := folder / "proc" / "self").mkdir(parents=True)
    two = kind == "cgroup2"
    lines, groups = ["22 1 8:1 / / rw - ext4 /dev/sda rw"], []
    for number, controller in enumerate([""] if two else ["cpu", "memory"]):
        place = str(folder / "a tree" / controller).replace(" ", "\\040")
        options = "rw" if two else f"rw,{'cpu,cpuacct' if controller == 'cpu' else controller}"
        lines.append(
            f"{30 + number} 22 0:2{number} {root} {place} rw,relatime shared:1 - {kind} {kind} "
            f"{options}"
        )
        groups.append(
            f"0::{group}"
            if two
            else f"{number + 1}:{'cpu,cpuacct' if controller == 'cpu' else controller}:{group}"
        )
    for name, text in files.items():
        path = folder / "a tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (proc / "mountinfo").write_text("\n".join(lines) + "\n")
    (proc / "cgroup").write_text("\n".join(groups) + "\n")
    (proc.parent / "meminfo").write_text("MemTotal: 999 kB\nMemAvailable: 64000000 kB\n")
    (proc.parent / "vmstat").write_text("nr_free_pages 1\noom_kill 7\n")
    return proc.parent


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "350000 100000\n"}, 3),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4),
        ({"a/b/cpu.max": "800000 100000", "cpu.max": "600000 100000"}, 6),
        ({"cpu.max": "nonsense"}, 64),
        ({}, 64),
    ],
)
def test_cores_of_version_2(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    (tmp_path / "a tree" / "a" / "b").mkdir(parents=True)
    assert num_cores(machine(tmp_path, kind="cgroup2", group="/a/b", files=files)) == cores


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    "name", [b"caf\xe9", b"page\x0cfeed", "next\x85line\u2028".encode(), "食物".encode()]
)
def test_the_name_of_another_mount_hides_no_limit(tmp_path: Path, name: bytes) -> None:
    proc = machine(tmp_path, kind="cgroup2", group="/", files={"cpu.max": "200000 100000\n"})
    own = (proc / "self" / "mountinfo").read_bytes()
    (proc / "self" / "mountinfo").write_bytes(
        b"21 22 0:9 / /mnt/" + name + b" rw - fuse stick rw\n" + own
    )
    assert num_cores(proc) == 2


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(("quota", "cores"), [("250000", 2), ("50000", 1), ("-1", 64)])
@pytest.mark.parametrize(
    ("group", "root", "place"),
    [("/", "/", "cpu"), ("/d/1", "/", "cpu/d/1"), ("/d/1", "/d/1", "cpu")],
)
def test_cores_of_version_1(
    tmp_path: Path, quota: str, cores: int, group: str, root: str, place: str
) -> None:
    files = {f"{place}/cpu.cfs_quota_us": f"{quota}\n", f"{place}/cpu.cfs_period_us": "100000\n"}
    assert num_cores(machine(tmp_path, kind="cgroup", group=group, root=root, files=files)) == cores


def test_never_more_cores_than_the_process_may_run_on(tmp_path: Path) -> None:
    proc = machine(tmp_path, kind="cgroup2", group="/", files={"cpu.max": "99900000 100000"})
    assert num_cores(proc) == len(os.sched_getaffinity(0))


def test_memory_of_both_versions_without_what_the_kernel_can_drop(tmp_path: Path) -> None:
    two = {
        "memory.max": f"{4 * GB}",
        "memory.current": f"{3 * GB}",
        "memory.stat": f"anon 5\ninactive_file {GB}\n",
    }
    assert available_bytes(machine(tmp_path / "2", kind="cgroup2", group="/", files=two)) == 2 * GB
    one = {
        "memory/d/memory.limit_in_bytes": f"{3 * GB}\n",
        "memory/d/memory.usage_in_bytes": f"{GB}\n",
        "memory/d/memory.stat": "inactive_file 1\ntotal_inactive_file 1024\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": f"{GB}\n",
    }
    assert (
        available_bytes(machine(tmp_path / "1", kind="cgroup", group="/d", files=one))
        == 2 * GB + 1024
    )


def test_without_limits_the_kernels_estimate_counts(tmp_path: Path) -> None:
    proc = machine(
        tmp_path, kind="cgroup2", group="/", files={"memory.max": "max\n", "memory.current": "5\n"}
    )
    all_of_it = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available_bytes(proc) == min(64_000_000 * 1024, all_of_it)
    assert available_bytes(tmp_path / "no proc at all") == all_of_it
    assert num_cores(tmp_path / "no proc at all") == len(os.sched_getaffinity(0))


def test_a_full_group_has_nothing_left_and_not_less(tmp_path: Path) -> None:
    files = {"memory.max": "100\n", "memory.current": "300\n"}
    assert available_bytes(machine(tmp_path, kind="cgroup2", group="/", files=files)) == 0


@pytest.mark.parametrize(
    ("kind", "files", "count"),
    [
        ("cgroup2", {"memory.events": "low 0\nhigh 4\nmax 3\noom 2\noom_kill 5\n"}, 5),
        (
            "cgroup",
            {"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"},
            3,
        ),
        ("cgroup", {}, 7),
    ],
)
def test_kills_for_memory_are_counted(
    tmp_path: Path, kind: str, files: dict[str, str], count: int
) -> None:
    assert num_killed_for_memory(machine(tmp_path, kind=kind, group="/", files=files)) == count


def real_group(controller: str) -> Path:
    """A new group of version 1 for this test; skipped where none can be made."""
    folder = Path("/sys/fs/cgroup") / controller / f"pipeline-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip(f"no group of the controller {controller} can be made here")
    return folder


@pytest.mark.parametrize(
    ("controller", "limit", "value", "asked", "least", "most"),
    [
        ("cpu", "cpu.cfs_quota_us", "100000", "num_cores()", 1, 1),
        ("memory", "memory.limit_in_bytes", str(2 * GB), "available_bytes()", GB, 2 * GB),
    ],
)
def test_the_kernels_own_files_are_understood(
    controller: str, limit: str, value: str, asked: str, least: int, most: int
) -> None:
    group = real_group(controller)
    try:
        (group / limit).write_text(value)
        enter = f"with open({str(group / 'cgroup.procs')!r}, 'w') as file:\n    file.write('0')\n"
        script = f"{enter}from pipeline.limits import available_bytes, num_cores\nprint({asked})"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert least <= int(done.stdout) <= most
    finally:
        group.rmdir()
