"""Five hundred hostile pictures, decoded into a cache for real: memory, the longest picture, what
is read and refused.

    python tests/faults/hostile_pictures.py [--size 128] [--keep FOLDER]

A child builds the cache among good pictures, with links and pipes beside them. Exit code 1 where it
takes more than MOST_BYTES of memory, all its processes together, where a picture takes more than
MOST_SECONDS of CPU time, where one is neither read nor named, or where a good one is lost.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]
MOST_BYTES, MOST_SECONDS = 2 * 2**30, 20.0
NUM_GOOD = 600


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--size", type=int, default=128)
    flags.add_argument(
        "--keep", type=Path, help="folder for the pictures, instead of a temporary one"
    )
    flags.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = flags.parse_args()
    if args.child:
        return build(args.child, args.size)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        num = write(folder / "set")
        command = [sys.executable, __file__, "--child", str(folder), "--size", str(args.size)]
        began = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watch = Watch(child.pid)
        out, problems = child.communicate()
        watch.end()
        if child.returncode:
            print(problems)
            return 1
        return judged(json.loads(out), problems, watch, num, time.monotonic() - began)


def write(root: Path) -> int:
    """Good pictures in two classes, the hostile ones in the first; returns how many files are
    pictures.
    """
    from hostile_pictures import write_hostile
    from picture_bombs import bombs
    from pictures import class_folder

    class_folder(root, ("bread", "rice"), NUM_GOOD // 2)
    num = len(write_hostile(root / "bread"))
    for name, content in bombs():
        (root / "bread" / name).write_bytes(content)
        num += 1
    os.mkfifo(root / "bread" / "pipe.jpg")
    for number, target in enumerate(
        ("/proc/kmsg", "/proc/self/mem", "/dev/zero", "/dev/random", "/proc/self/environ")
    ):
        (root / "bread" / f"link{number}.jpg").symlink_to(target)
    (root / "bread" / "folder").symlink_to("/proc/self")
    return num + NUM_GOOD


def build(folder: Path, size: int) -> int:
    """In the child: build the cache, each picture timed by the CPU time of its thread and of the
    processes apart.
    """
    from pipeline.data import cache
    from pipeline.data.datasets import Folder

    seconds: dict[str, float] = {}
    plain = Folder.read

    def timed(self: Folder, listing: object, row: int) -> object:
        apart, own = _seconds_apart(), time.thread_time()
        try:
            return plain(self, listing, row)  # type: ignore[arg-type]
        finally:
            seconds[listing.files[row]] = (
                time.thread_time() - own + max(0.0, _seconds_apart() - apart)
            )  # type: ignore[attr-defined]

    Folder.read = timed  # type: ignore[assignment,method-assign]
    data = cache.prepare(Folder(size=size, max_unreadable=0.5), folder / "set", folder / "cache")
    found = {bad.file: bad.reason for bad in data.unreadable}
    facts = {
        "read": data.files,
        "refused": found,
        "seconds": seconds,
        "left_out": data.taken.left_out,
    }
    json.dump(
        facts | {"own": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}, sys.stdout
    )
    return 0


def _seconds_apart() -> float:
    """CPU time of the processes apart, ended ones included; where two are at work a picture gets
    the other's as well.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += (int(words[11]) + int(words[12])) / ticks
    return total


class Watch(threading.Thread):
    """The most memory that a process and its children held together: looked at 50 times a second,
    and by VmHWM, which misses nothing but adds what was not held at once."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.together, self.highest, self._over = (
            pid,
            0,
            dict[int, int](),
            threading.Event(),
        )
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.02):
            held = [self._look(pid) for pid in (self.pid, *self._children())]
            self.together = max(self.together, sum(held))

    def end(self) -> None:
        self._over.set()
        self.join()

    def _children(self) -> list[int]:
        found = []
        for path in Path(f"/proc/{self.pid}/task").glob("*/children"):
            try:
                found += [int(word) for word in path.read_text().split()]
            except OSError:
                continue
        return found

    def _look(self, pid: int) -> int:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return 0
        facts = {
            line.split(":")[0]: int(line.split()[1]) * 1024
            for line in lines
            if line.startswith("Vm")
        }
        self.highest[pid] = max(self.highest.get(pid, 0), facts.get("VmHWM", 0))
        return facts.get("VmRSS", 0)


def judged(facts: dict, problems: str, watch: Watch, num: int, wall: float) -> int:  # type: ignore[type-arg]
    read, refused, seconds = facts["read"], facts["refused"], facts["seconds"]
    hostile = [name for name in read if not name.split("/")[1].removesuffix(".jpg").isdecimal()]
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:8]
    reasons = Counter(" ".join(reason.split()[:6]) for reason in refused.values())
    apart = [size for pid, size in watch.highest.items() if pid != watch.pid]
    print(
        f"{num} pictures: {len(read)} read ({len(hostile)} hostile ones), {len(refused)} refused; "
        f"{wall:.0f} s"
    )
    print(f"left out: {facts['left_out']}")
    print(f"most memory held at once: {watch.together / 2**20:.0f} MB")
    own, largest = facts["own"] / 2**20, max(apart, default=0) / 2**20
    print(f"VmHWM: the build {own:.0f} MB, {len(apart)} processes apart up to {largest:.0f} MB")
    print(
        "longest, CPU seconds: "
        + ", ".join(f"{name.split('/')[1][:40]!r} {spent:.1f}" for name, spent in longest)
    )
    for reason, count in reasons.most_common(12):
        print(f"  {count:4d} {reason} …")
    for name, reason in sorted(refused.items()):
        print(f"    {name.encode('ascii', 'backslashreplace').decode()}: {reason}")
    bad = []
    bad += ["memory"] * (watch.together > MOST_BYTES)
    bad += ["time"] * (longest[0][1] > MOST_SECONDS)
    bad += ["pictures are missing"] * (len(read) + len(refused) != num)
    bad += ["good pictures are lost"] * (len(read) - len(hostile) != NUM_GOOD)
    bad += ["a traceback"] * ("Traceback" in problems)
    print("failed: " + ", ".join(bad) if bad else "passed")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
