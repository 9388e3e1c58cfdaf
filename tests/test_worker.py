"""Segments as a worker trains them: real scans, real checkpoints, and each way that a segment can
end.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from scans import SMALL
from segments import order_of, work

from pipeline.core import checkpoints
from pipeline.core.checkpoints import BEST, META, epochs
from pipeline.core.finished import evidence
from pipeline.core.identity import Seeds
from pipeline.core.loop import Loop
from pipeline.core.train import Inputs, evaluate_best
from pipeline.data.build import IMAGES, checksum
from pipeline.data.cache import open_data, prepare
from pipeline.data.datasets import Digits
from pipeline.data.listing import TEST
from pipeline.data.splits import Splits, splits
from pipeline.engine import worker
from pipeline.engine.order import Order, Outcome, Report
from pipeline.frozen import digest
from pipeline.record import lease
from pipeline.record.sources import code


@pytest.fixture(autouse=True)
def _own_process() -> Iterator[None]:
    """A worker sets its process up for itself; other tests keep theirs."""
    with commands.as_it_was():
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache")).path


@pytest.fixture
def order(cache: Path, tmp_path: Path) -> Order:
    """The second replicate of an arm of study seed 0, through all its epochs and the test."""
    return order_of(SMALL.override({"epochs": 3}), tmp_path, cache, seeds=Seeds(0, 2))


def refuse(_: dict[str, float]) -> None:
    raise AssertionError("nothing is to be reported")


def test_a_segment_reaches_its_stop_and_the_last_one_is_tested_and_settled(order, tmp_path):
    seen: list[dict[str, float]] = []
    first = work(replace(order, stop=2, test=False), seen.append)
    assert first == Outcome(
        status="reached", best_epoch=first.best_epoch, num_params=first.num_params
    )
    assert [path.name for path in epochs(tmp_path / "run")] == ["epoch_0002"]
    last = work(replace(order, reported=2), seen.append)
    assert [epoch["epoch"] for epoch in seen] == [1, 2, 3]
    best = max(seen, key=lambda epoch: (epoch["val_acc"], -epoch["val_loss"]))
    assert (last.status, last.best_epoch, last.num_params) == (
        "reached",
        best["epoch"],
        first.num_params,
    )
    assert [sorted(os.listdir(path)) for path in epochs(tmp_path / "run")] == [[BEST, META]]
    assert {"loss": last.test_loss, "acc": last.test_acc} == best_on_test(order, order.seeds.run)
    assert Report.from_json(Report("s.1", last).to_json()) == Report("s.1", last)
    assert Order.from_json(order.to_json()) == order
    assert work(replace(order, reported=3), refuse) == last, (
        "a driver that lost the answer asks again"
    )


def test_each_segment_takes_the_smallest_numbers_for_nothing_in_whichever_thread(order):
    """A worker's segments each have a thread of their own, and the setting is a thread's."""
    seen: list[bool] = []

    def look(_: dict[str, float]) -> None:
        seen.append(bool(torch.full((8,), 1e-39).mul(0.5).eq(0).all()))

    for segment in (replace(order, stop=1, test=False), replace(order, reported=1)):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(work, segment, look).result().status == "reached"
    assert seen == [True] * 3


def own_splits(order: Order, seed: int) -> Splits:
    return splits(open_data(order.data), order.seeds.replicate, "resplit", seed=seed)


def best_on_test(order: Order, seed: int) -> dict[str, float]:
    data, parts = open_data(order.data), own_splits(order, 0)
    assert parts.test is not None
    inputs = Inputs(parts.train, parts.val, 10, data.mean, data.std)
    return evaluate_best(
        SMALL.override({"epochs": 3}), parts.test, inputs, seed=seed, folder=order.folder
    ).facts


@pytest.mark.parametrize("study_seed", [0, 1, 5])
def test_the_studys_seed_decides_the_split_as_well(order, study_seed, monkeypatch):
    used: list[Inputs] = []

    def look(config, inputs, **rest):
        used.append(inputs)
        return real(config, inputs, **rest)

    real = worker.train
    monkeypatch.setattr(worker, "train", look)
    work(replace(order, seeds=Seeds(study_seed, 2), stop=1, test=False), lambda _: None)
    own = own_splits(order, study_seed * 1_000_003)
    assert np.array_equal(used[0].train.index, own.train.index)
    assert np.array_equal(used[0].val.index, own.val.index)
    assert np.array_equal(own.train.index, own_splits(order, 0).train.index) == (study_seed == 0)


def test_a_huge_learning_rate_diverges(order):
    knobs = {"optimizer.name": "sgd", "optimizer.lr": 100.0, "clip_norm": 0.0, "epochs": 50}
    outcome = work(
        replace(order, config=SMALL.override(knobs), stop=50),
        lambda _: None,
    )
    assert outcome == Outcome(status="diverged", error=outcome.error)
    assert "is not finite in epoch" in outcome.error


def test_a_test_loss_that_is_not_finite_is_a_divergence(order, cache, tmp_path):
    """Trained and validated on black pictures, normalised by next to nothing: every other picture
    is infinite itself.

    The very input overflows (2e38 times a value of at least 2), on any CPU: what a network's sums
    overflow at depends on how its kernels add up.
    """
    path = tmp_path / "overflowing"
    path.mkdir()
    document = json.loads((cache / META).read_text())
    meta = document["meta"] | {"mean": [0.0], "std": [1 / (255 * 2e38)]}
    (path / META).write_text(json.dumps({"sha256": checksum(meta), "meta": meta}))
    images = np.fromfile(cache / IMAGES, np.uint8).reshape(meta["shape"])
    images[np.array(meta["parts"]) != TEST] = 0
    images.tofile(path / IMAGES)
    seen: list[dict[str, float]] = []
    outcome = work(replace(order, data=path), seen.append)
    assert len(seen) == 3, "all of training and validation was finite"
    assert outcome == Outcome(status="diverged", error=outcome.error)
    assert "test_loss is not finite" in outcome.error


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (ValueError("wrong\nshape"), False),
        (ConnectionError("gone"), True),
        (OSError("bad block"), True),
        (MemoryError("none left"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_within_a_segment_fails_it_and_says_whether_to_try_again(order, error, retry):
    def raise_it(_: dict[str, float]) -> None:
        raise error

    outcome = work(order, raise_it)
    text = f"{type(error).__name__}: {error}".replace("\n", "\\n")
    assert outcome == Outcome(status="failed", error=text, retry=retry)
    assert work(replace(order, reported=1), lambda _: None).status == "reached", (
        "it goes on from its checkpoint"
    )


def test_a_device_that_there_is_not_fails_for_good(order):
    outcome = work(replace(order, device="abacus"), refuse)
    assert (outcome.status, outcome.retry) == ("failed", False)
    assert "abacus" in outcome.error


def test_a_disk_that_takes_no_checkpoint_is_the_machines_fault(order, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".epoch_0001.tmp").touch()
    outcome = work(order, refuse)
    assert outcome.status == "machine"
    assert "cannot write a checkpoint" in outcome.error


def test_a_disk_that_refuses_at_the_very_end_does_not_fail_a_trained_run(order, tmp_path):
    def block(epoch: dict[str, float]) -> None:
        if epoch["epoch"] == 3:
            (tmp_path / "run" / "epoch_0003" / f"{META}.tmp").mkdir()

    assert work(order, block).status == "machine"
    (tmp_path / "run" / "epoch_0003" / f"{META}.tmp").rmdir()
    assert work(replace(order, reported=3), refuse).status == "reached"


def test_code_that_changed_since_the_command_began_trains_nothing(order):
    outcome = work(replace(order, code="0" * 16), refuse)
    assert (outcome.status, outcome.retry) == ("failed", False)
    assert "the code has changed since the command began" in outcome.error
    known = digest(code(order.config))
    assert work(replace(order, code=known, stop=1, test=False), lambda _: None).status == "reached"


def test_missing_pictures_are_the_machines_fault(order, tmp_path):
    outcome = work(replace(order, data=tmp_path / "nowhere"), refuse)
    assert outcome.status == "machine"
    assert "nowhere" in outcome.error


SEAMS = {
    "before it begins": (worker, "_pictures"),
    "while it trains": (Loop, "run_epoch"),
    "while a checkpoint is written": (checkpoints, "save"),
    "while it reports": (None, "on_epoch"),
    "while it is judged": (worker, "evaluate_best"),
    "while evidence is gathered": (worker, "gather"),
    "while evidence is written": (evidence, "write"),
}
WRITES = {(checkpoints, "save"), (None, "on_epoch"), (evidence, "write"), (worker, "settle")}


@pytest.mark.parametrize("seam", SEAMS)
def test_a_worker_that_loses_the_lease_writes_and_says_nothing_more(
    order, seam, monkeypatch, caplog
):
    folder, lost, late = order.folder, [], []

    def watched(place: tuple[Any, str], real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **rest: Any) -> Any:
            if lost and place in WRITES:
                late.append(place)
            result = real(*args, **rest)
            if place == SEAMS[seam] and not lost:
                lease.grant(folder, "another")
                lost.append(seam)
            return result

        return call

    for place in {*SEAMS.values(), *WRITES}:
        if place[0] is not None:
            monkeypatch.setattr(*place, watched(place, getattr(*place)))
    outcome = work(order, watched((None, "on_epoch"), lambda _: None))
    assert lost == [seam]
    assert late == []
    assert (outcome.status, outcome.retry) == ("failed", True)
    assert "no longer this worker's" in outcome.error
    assert caplog.records == []
    assert work(order, lambda _: None).status == "reached", (
        "whoever has the run goes on from what is there"
    )


def test_a_run_that_is_in_other_hands_is_not_begun(order):
    lease.grant(order.folder, "another")
    outcome = worker.work(order, refuse)
    assert outcome.status == "failed"
    assert os.listdir(order.folder) == [lease.FILE]


def test_the_next_worker_of_a_run_begins_when_the_late_one_has_stopped(order, tmp_path):
    """The driver has given the run to another while its worker lives: in the end it is as if one
    had trained it.
    """
    expected = work(replace(order, folder=tmp_path / "alone"), lambda _: None)
    begun, go_on = threading.Event(), threading.Event()
    told: dict[str, list[int]] = {"late": [], "next": []}
    outcomes: dict[str, Outcome] = {}

    def pause(epoch: dict[str, float]) -> None:
        told["late"].append(int(epoch["epoch"]))
        begun.set()
        assert go_on.wait(60)

    def train(name: str, on_epoch: Callable[[dict[str, float]], None]) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: outcomes.update({name: work(replace(order, segment=name), on_epoch)})
        )
        thread.start()
        return thread

    late = train("late", pause)
    assert begun.wait(60)
    following = train("next", lambda epoch: told["next"].append(int(epoch["epoch"])))
    following.join(0.5)
    assert told == {"late": [1], "next": []}
    go_on.set()
    late.join(60)
    following.join(60)
    assert outcomes["late"].status == "failed"
    assert outcomes["next"] == expected
    assert told == {"late": [1], "next": [1, 2, 3]}


def test_a_worker_that_does_not_let_go_fails_the_segment_for_now(order, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.1)
    lease.grant(order.folder, "hanging")
    with lease.held(order.folder, "hanging"):
        outcome = work(order, refuse)
    assert (outcome.status, outcome.retry) == ("failed", True)
    assert "another process still writes in" in outcome.error
