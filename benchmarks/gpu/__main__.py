"""Is the product right on this GPU, and how fast?

    python -m benchmarks.gpu [--device cuda|cpu] [--minutes 7.4] [--only NAMES] [--out FILE]

One line a check: PASS, FAIL, SKIP with the reason; INFO lines hold numbers that are neither right
nor wrong. Under 8 minutes on an H100 with 16 cores; on a CPU the same with tiny sizes, without what
needs a GPU. Exit status: 0, or 1 where a check failed.
"""

import argparse
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.gpu.bench import Bench, Facts, Notes, Skip
from benchmarks.gpu.finished import final, syncs
from benchmarks.gpu.machine import facts
from benchmarks.gpu.packing import packing
from benchmarks.gpu.rates import throughput
from benchmarks.gpu.training import curves, families, features, precisions, resume
from benchmarks.gpu.workers import oom, starts, team
from pipeline.core.train import tune_process
from pipeline.counts import plural
from pipeline.errors import UserError, choices, printable
from pipeline.session.cli import Parser, guarded

Check = Callable[[Bench], Facts]

CHECKS: tuple[Check, ...] = (
    *(curves, resume, precisions, features, families, final, syncs, team, oom),
    *(throughput, starts, packing),
)
TIMED = (throughput, starts)  # with kernels chosen by trial, as a worker has them
FILE = "gpu_check.json"


def main(argv: Sequence[str] | None = None) -> int:
    names = {check.__name__: check for check in CHECKS}
    parser = Parser("benchmarks.gpu", "Is the product right on this GPU, and how fast?")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), help="default: the GPU where there is one"
    )
    parser.add_argument(
        "--minutes",
        type=minutes,
        default=7.4,
        help="checks that would begin later are skipped (default: 7.4)",
    )
    parser.add_argument(
        "--only",
        type=lambda text: wanted(text, names),
        default=CHECKS,
        metavar="NAMES",
        help=f"checks, separated by commas: {', '.join(names)}",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"for all numbers (default: $OUT/{FILE}, if set)"
    )
    given = parser.parse_args(argv)
    there = torch.cuda.is_available()
    if given.device == "cuda" and not there:
        raise UserError("--device: got 'cuda', but torch finds no GPU here; allowed: cpu")
    out = given.out or (Path(os.environ["OUT"]) / FILE if os.environ.get("OUT") else None)
    if out is not None and not out.parent.is_dir():
        raise UserError(f"--out: got {printable(out)}; allowed: a file in a folder that there is")
    deadline = time.monotonic() + 60 * given.minutes
    bench = Bench(given.device or ("cuda" if there else "cpu"), deadline, Notes(out))
    tune_process()
    bench.info("machine", **facts(bench))
    return run(bench, given.only)


def minutes(text: str) -> float:
    """A time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected minutes above 0, got {printable(repr(text))}")
    return value


def wanted(text: str, names: dict[str, Check]) -> tuple[Check, ...]:
    """The checks of that name, in their own order."""
    given = [name.strip() for name in text.split(",")]
    for name in given:
        if name not in names:
            raise argparse.ArgumentTypeError(choices(name, names))
    return tuple(check for name, check in names.items() if name in given)


def run(bench: Bench, checks: Sequence[Check]) -> int:
    """Make the checks one after another; 1 where one failed, else 0."""
    begun = time.monotonic()
    states = [made(bench, check) for check in checks]
    failed, skipped = states.count("FAIL"), states.count("SKIP")
    took = f"{plural(len(checks), 'check')} in {time.monotonic() - begun:.0f} s"
    print(f"{'FAILED' if failed else 'OK'}: {took}, {failed} failed, {skipped} skipped")
    return int(failed > 0)


def made(bench: Bench, check: Check) -> str:
    """Make a check and tell what came of it; one that raises does not keep the others from being
    made.
    """
    name, begun = check.__name__, time.monotonic()
    torch.backends.cudnn.benchmark = check in TIMED
    state: str
    told: Facts
    try:
        if bench.late:
            raise Skip("out of time, see --minutes")
        state, told = "PASS", check(bench)
    except Skip as reason:
        state, told = "SKIP", {"reason": str(reason)}
    except Exception as error:
        traceback.print_exc()
        state, told = "FAIL", {"error": printable(f"{type(error).__name__}: {error}", 1000)}
    bench.notes.tell(state, name, told, seconds=time.monotonic() - begun)
    return state


if __name__ == "__main__":
    guarded(main)
