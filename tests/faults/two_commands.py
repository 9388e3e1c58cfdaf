"""Two commands one after another in one Python process, ten processes: `python -m
tests.faults.two_commands [PAIRS]`.

Each process calls as a notebook does (in the main thread, in a running event loop, in another
thread), or, every fourth, without a process apart (`main()` as `python -m` calls it), while a
thread collects garbage all the time: what Tune leaves must not end the process. Takes about 20 CPU
seconds a pair. Exit code 0 where every command of every process returned 0.
"""

import asyncio
import gc
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = (
    "--study",
    "hw3",
    "--workers",
    "1",
    "--epochs",
    "1",
    "--replicates",
    "1",
    "--set",
    "model.width=4",
    "-q",
)
WAYS = ("plain", "loop", "thread", "inside")


def main(pairs: int) -> int:
    failed = 0
    print(f"{'pair':>4}  {'way':6}  {'codes':10}  {'seconds':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(pairs):
            way, begun = WAYS[pair % len(WAYS)], time.monotonic()
            words = (sys.executable, "-m", "tests.faults.two_commands", way, f"{folder}/{pair}")
            found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
            codes = [
                line.split()[1] for line in found.stdout.splitlines() if line.startswith("CODE ")
            ]
            good = (codes, found.returncode) == (["0", "0"], 0)
            print(
                f"{pair:4}  {way:6}  {'+'.join(codes):10}  {time.monotonic() - begun:7.0f}",
                flush=True,
            )
            if not good:
                failed += 1
                print(
                    "process ended with "
                    f"{found.returncode}\n{found.stdout[-2000:]}\n{found.stderr[-4000:]}"
                )
    print(f"{pairs - failed} of {pairs} processes ended both of their commands")
    return int(failed > 0)


def two(way: str, home: str) -> int:
    """Both commands, in this process."""
    from pipeline.search import main as search

    if way == "inside":
        threading.Thread(target=_collect, daemon=True).start()
    for trials in (1, 2):  # the second goes on with the first one's study
        flags = [*TINY, "--trials", str(trials), "--mlruns", home]
        if way == "inside":
            sys.argv[1:] = flags
            code = search()
        elif way == "loop":
            code = asyncio.run(_in_loop(flags))
        elif way == "thread":
            code = _in_thread(flags)
        else:
            code = search(flags)
        print("CODE", code, flush=True)
    return 0


async def _in_loop(flags: list[str]) -> int:
    from pipeline.search import main as search

    return search(flags)


def _in_thread(flags: list[str]) -> int:
    from pipeline.search import main as search

    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(search(flags)))
    thread.start()
    thread.join()
    return codes[0]


def _collect() -> None:
    while True:
        circle: list[object] = []
        circle.append(circle)
        if gc.isenabled():
            gc.collect()
        time.sleep(0.01)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        sys.exit(two(sys.argv[1], sys.argv[2]))
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 10))
