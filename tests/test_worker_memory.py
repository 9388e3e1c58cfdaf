"""Segments on a device whose memory is too small: torch's own errors, raised by real training."""

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import pytest
import torch
from scans import SMALL, weights
from segments import order_of, work
from torch import Tensor, nn

from pipeline.core import memory
from pipeline.core.checkpoints import META
from pipeline.core.identity import Seeds
from pipeline.core.loop import Loop, finer
from pipeline.core.objective import Objective
from pipeline.data.cache import prepare
from pipeline.data.datasets import Digits
from pipeline.engine import worker
from pipeline.engine.order import Order, Outcome, Report

BATCH = 32


@pytest.fixture(autouse=True)
def _own_process() -> Iterator[None]:
    """A worker sets its process up for itself; with little garbage to look through."""
    memory.forget()
    gc.freeze()
    with commands.as_it_was():
        yield
    gc.unfreeze()
    memory.forget()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache")).path


@pytest.fixture
def order(cache: Path, tmp_path: Path) -> Order:
    config = SMALL.override({"epochs": 3, "ema": 0.9, "model.dropout": 0.2, "batch_size": BATCH})
    return order_of(config, tmp_path, cache, seeds=Seeds(0, 2))


def holds(monkeypatch: pytest.MonkeyPatch, most: Callable[[], int]) -> list[int]:
    """Training steps of more than so many pictures do not fit from here on; gives the sizes that
    were tried.
    """
    plain, tried = Objective.__call__, list[int]()

    def call(objective: Objective, x: Tensor, targets: Tensor) -> Tensor:
        tried.append(len(x))
        loss = plain(objective, x, targets)
        if len(x) > most():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return loss

    monkeypatch.setattr(Objective, "__call__", call)
    return tried


def through(order: Order) -> tuple[Outcome, list[int], list[float]]:
    """(the last outcome, parts of the attempts, the epochs told) of a run as a plan goes on with
    it.
    """
    parts, told = [order.parts], list[float]()
    while True:
        order = replace(order, parts=parts[-1], reported=len(told), segment=f"feed.{len(parts)}")
        outcome = work(order, lambda epoch: told.append(epoch["epoch"]))
        if not outcome.parts:
            return outcome, parts, told
        assert (outcome.status, outcome.retry, outcome.infeasible) == ("failed", False, False)
        assert "OutOfMemoryError: CUDA out of memory" in outcome.error
        parts.append(outcome.parts)


def numbers(folder: Path) -> list[dict[str, Any]]:
    history = json.loads((folder / "epoch_0002" / META).read_text())["history"]
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in history]


def test_a_run_that_does_not_fit_is_trained_as_one_that_was_to_accumulate(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, under the configuration that was asked for."""
    order = replace(order, stop=2, test=False)
    config = order.config.override({"accumulate": 4})
    asked = order_of(config, tmp_path / "asked", order.data, seeds=Seeds(0, 2), stop=2, test=False)
    assert work(asked, lambda _: None).status == "reached"
    tried = holds(monkeypatch, lambda: BATCH // 4)
    outcome, parts, told = through(order)
    assert (outcome.status, parts, told) == ("reached", [0, 2, 4], [1, 2])
    assert sorted(set(tried), reverse=True)[:3] == [32, 16, 8]
    assert weights(order.folder, 2) == weights(asked.folder, 2)
    assert numbers(order.folder) == numbers(asked.folder)
    order = replace(order, parts=4, reported=2, stop=3, test=True, segment="feed.9")
    outcome = work(order, lambda _: None)
    assert outcome.status == "reached", "its checkpoint is that of the run as asked for"
    assert outcome.test_acc is not None


def test_it_goes_on_from_its_last_checkpoint(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is short of memory from the second epoch on has trained the first one whole."""
    tried = holds(monkeypatch, lambda: BATCH // 2 if len(list(order.folder.glob("e*"))) else BATCH)
    outcome, parts, told = through(order)
    assert (outcome.status, parts, told) == ("reached", [0, 2], [1, 2, 3])
    assert outcome.test_acc is not None
    first = tried.index(16)
    assert set(tried[:first]) == {32, 12}, "an epoch, its last batch, and a step of the next one"
    assert tried[first - 1] == 32


def test_an_asked_number_of_parts_is_doubled_and_two_pictures_are_the_end(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(monkeypatch, lambda: 1)
    order = replace(order, config=order.config.override({"accumulate": 3}))
    outcome, parts, told = through(order)
    assert (parts, told) == ([0, 6, 12, 16], [])
    assert outcome == Outcome(status="failed", error=outcome.error, infeasible=True)
    assert outcome.error.startswith(
        "does not fit this device's memory even in parts of 2 pictures: OutOfMemoryError: CUDA"
    )


def test_parts_are_of_two_pictures_or_more_for_every_process() -> None:
    config = SMALL.override({"batch_size": 32})
    tried = {0: 2, 1: 2, 2: 4, 8: 16, 15: 16, 16: 0, 99: 0}
    assert {parts: finer(config, parts, 1) for parts in tried} == tried
    assert [finer(config, parts, 4) for parts in (0, 2, 3, 4)] == [2, 4, 4, 0]
    assert finer(SMALL.override({"batch_size": 3}), 0, 1) == 0


def test_what_an_allocator_of_a_cpu_says_counts_too(order: Order) -> None:
    def take(_: dict[str, float]) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    outcome = work(order, take)
    assert (outcome.status, outcome.parts) == ("failed", 2)
    assert "can't allocate memory" in outcome.error


def test_nothing_of_a_run_that_did_not_fit_is_left(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a collection of garbage: network, average and optimizer's state, whose tensors would
    be a device's memory.
    """
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []
    prepare_loop = Loop.__post_init__

    def note(loop: Loop) -> None:
        prepare_loop(loop)
        assert loop.average is not None
        made.extend(map(weakref.ref, (loop.model, loop.average, loop.optimizer, *loop.params)))

    monkeypatch.setattr(Loop, "__post_init__", note)

    def free() -> None:
        alive.append(sum(one() is not None for one in made))

    monkeypatch.setattr(worker, "free", free)
    holds(monkeypatch, lambda: BATCH // 2 if len(list(order.folder.glob("e*"))) else BATCH)
    gc.disable()
    try:
        outcome = work(order, lambda _: None)
    finally:
        gc.enable()
    assert outcome.parts == 2
    assert len(made) > 3
    assert alive == [0]


def test_a_smaller_network_is_not_judged_in_the_parts_of_the_one_before(order: Order) -> None:
    memory._fits["cpu"] = 1
    assert work(order, lambda _: None).status == "reached"
    assert not memory._fits


def test_a_judge_that_takes_no_single_picture_is_infeasible_at_once(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = nn.Linear.forward

    def forward(layer: nn.Linear, x: Tensor) -> Tensor:
        if torch.is_inference_mode_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(layer, x)

    monkeypatch.setattr(nn.Linear, "forward", forward)
    outcome = work(order, lambda _: None)
    assert (outcome.status, outcome.infeasible, outcome.parts) == ("failed", True, 0)
    assert outcome.error.startswith("does not fit this device's memory even one picture at a time")


def test_orders_and_outcomes_carry_it(order: Order) -> None:
    assert Order.from_json(replace(order, parts=4).to_json()).parts == 4
    outcome = Outcome(status="failed", error="no", parts=8)
    assert Report.from_json(Report("feed.1", outcome).to_json()).told == outcome
    assert Outcome(status="failed", infeasible=True).end("r", "failed").infeasible


@pytest.mark.parametrize(
    ("share", "left", "own", "verdict"),
    [
        (1.0, 70, 5, "infeasible"),
        (1.0, 10, 60, "infeasible"),
        (1.0, 10, 5, "another time"),
        (0.25, 10, 20, "infeasible"),
        (2.0, 40, 5, "another time"),
    ],
)
def test_what_other_processes_hold_is_no_fault_of_the_configuration(
    order: Order,
    share: float,
    left: int,
    own: int,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A GPU of 80 GB: what is free, and what this process holds."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (left * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: own * 2**30)
    order = replace(order, device="cuda", share=share)
    found = worker._too_large(order, memory.DoesNotFit("none left"), "none left")
    assert (found.infeasible, found.retry) == (verdict == "infeasible", verdict == "another time")
    if found.retry:
        assert found.error == (
            f"other processes hold {80 - left - own}.0 of the GPU's 80.0 GB: none left"
        )
    assert worker._too_large(replace(order, device="cpu"), memory.DoesNotFit(), "").infeasible
