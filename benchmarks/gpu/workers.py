"""Checks of a worker's segments: several processes on one run, memory that does not suffice, and
what the start of a segment takes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.gpu.bench import Bench, Facts, Wrong
from benchmarks.gpu.runs import order_of, scans, work
from pipeline.core.config import TrainConfig
from pipeline.core.process import tune_process
from pipeline.data.cache import prepare
from pipeline.data.datasets import Digits
from pipeline.engine.order import Order

ROOM = 2**30  # bytes that the run which is to fail may take more than the one before
KEPT = 2**26  # bytes that a failed run may leave behind
THREAD_SECONDS = 0.25  # that a segment may take more in a new thread than in its old one
ALONE = "import sys; from benchmarks.gpu.workers import alone; alone(*sys.argv[1:])"


def team(bench: Bench) -> Facts:
    """Two processes train one run."""
    if bench.gpu:
        bench.need_gpus(2)
    knobs = {"dataset.name": "digits", "model.width": 8, "epochs": 1, "batch_size": 32}
    with tempfile.TemporaryDirectory() as temp:
        data = prepare(Digits(), None, Path(temp) / "cache").path
        config = TrainConfig().override(knobs)
        outcome = work(order_of(bench, config, Path(temp), data, num_processes=2))
    if outcome.status != "reached":
        raise Wrong(f"{outcome.status}: {outcome.error}")
    return {"processes": 2}


def oom(bench: Bench) -> Facts:
    """A run that does not fit leaves the memory to the next one in its process, and fits in more
    parts of a batch.

    It may take ROOM; its first layer alone gives more.
    """
    bench.need_gpus(1)
    digits = Digits(size=128, channels=3, num_train=1200, num_valid=400)
    knobs = {"dataset": digits.model_dump(), "epochs": 1, "ema": 0.9}
    big = TrainConfig().override({**knobs, "batch_size": 1024})
    with tempfile.TemporaryDirectory() as temp:
        data = prepare(digits, None, Path(temp) / "cache").path
        small = big.override({"batch_size": 8})
        if (first := work(order_of(bench, small, Path(temp) / "0", data))).status != "reached":
            raise Wrong(f"the run before it: {first.status}: {first.error}")
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        total = torch.cuda.get_device_properties(bench.where).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + ROOM) / total)
        try:
            order = order_of(bench, big, Path(temp) / "1", data)
            outcome = short = work(order)
            held = torch.cuda.memory_allocated() - before
            cached = torch.cuda.memory_reserved()
            parts = 0
            while outcome.parts:
                parts = outcome.parts
                outcome = work(replace(order, parts=parts))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    if not short.parts:
        raise Wrong(f"{short.status}: {short.error or 'it fits'}")
    if outcome.status != "reached":
        raise Wrong(f"in {parts} parts: {outcome.status}: {outcome.error}")
    if held >= KEPT:
        raise Wrong(f"the failed run still holds {held / 2**20:.0f} MB")
    return {"parts": parts, "held_mb": held / 2**20, "cached_mb": cached / 2**20}


def starts(bench: Bench) -> Facts:
    """Seconds of a segment to its first step and in all: in a new process; in a warm one, each in a
    thread of its own, as Ray Tune runs them; in one thread.
    """
    sizes, found = bench.sizes, {}
    with tempfile.TemporaryDirectory() as temp:
        orders = orders_of(bench, Path(temp))
        found["new process"] = in_new_process(bench, orders[0])
        for number in (1, 2, 3):
            with ThreadPoolExecutor(1) as thread:
                order = orders[number]
                found[f"thread {number}"] = thread.submit(to_first_step, bench, order).result()
        for number, name in ((4, "one thread, first"), (5, "one thread, again")):
            found[name] = to_first_step(bench, orders[number])
    for name, (first, whole) in found.items():
        bench.info("starts", start=name, first_step_s=first, segment_s=whole)
    fresh = min(found["thread 2"][1], found["thread 3"][1])
    apart = fresh - found["one thread, again"][1]
    if bench.gpu and apart >= THREAD_SECONDS:
        raise Wrong(
            f"a new thread costs {apart:.2f} s a segment: cuDNN's benchmarked plans are per thread"
        )
    return {"new_thread_costs_s": apart, "batch": sizes.batches[0]}


def orders_of(bench: Bench, temp: Path) -> list[Order]:
    """Six segments on the same pictures, in folders of their own."""
    sizes = bench.sizes
    x, y = scans(1290 if bench.gpu else 98, sizes.side)
    np.savez(temp / "scans.npz", x=x, y=y)
    knobs: dict[str, Any] = {
        "dataset.name": "npz",
        "dataset.size": sizes.side,
        "dataset.channels": 3,
        "model.name": "resnet18",
        "model.width": sizes.width,
        "epochs": 1,
        "batch_size": sizes.batches[0],
    }
    config = TrainConfig().override(knobs)
    data = prepare(config.dataset, temp, temp / "cache").path
    return [order_of(bench, config, temp / f"{number}", data) for number in range(6)]


def to_first_step(bench: Bench, order: Order) -> tuple[float, float]:
    """Seconds of the segment to the end of its first step, and in all."""
    seen: list[float] = []

    def look(*_: object) -> None:
        bench.sync()
        seen.append(time.perf_counter())

    hook = register_optimizer_step_post_hook(look)
    begun = time.perf_counter()
    try:
        outcome = work(order)
    finally:
        hook.remove()
    if outcome.status != "reached":
        raise Wrong(f"{outcome.status}: {outcome.error}")
    return seen[0] - begun, time.perf_counter() - begun


def in_new_process(bench: Bench, order: Order) -> tuple[float, float]:
    """The same with the process's own start."""
    paths = os.pathsep.join([os.getcwd(), *(path for path in sys.path if path)])
    begun = time.time()
    words = (sys.executable, "-c", ALONE, bench.device, order.to_json())
    ran = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    if ran.returncode:
        raise Wrong(f"a new process ended with exit code {ran.returncode}: {ran.stderr[-800:]}")
    there, first, whole = json.loads(ran.stdout.splitlines()[-1])
    return there - begun + first, there - begun + whole


def alone(device: str, order: str) -> None:
    """In the new process: prints when the segment begins, and what `to_first_step` says of it."""
    tune_process()
    bench, begun = Bench(device), time.time()
    print(json.dumps([begun, *to_first_step(bench, Order.from_json(order))]))
