import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scans import SMALL, digits, numbers, weights

from pipeline.core.train import train
from pipeline.errors import UserError

KILLED = """
import sys; sys.path[:0] = ["tests"]
import os, pathlib, signal, torch
from test_core_resume import NOISY, digits, train
torch.set_num_threads(1)
def kill(epoch):
    if epoch["epoch"] == 2: os.kill(os.getpid(), signal.SIGKILL)
train(NOISY, digits(), seed=2, folder=pathlib.Path(sys.argv[1]), on_epoch=kill)
"""
NOISY = SMALL.override({"model.dropout": 0.3, "augment.strength": 2.0, "schedule.name": "cosine"})


def test_a_killed_run_goes_on_bit_for_bit_in_another_process(tmp_path: Path) -> None:
    """The killed process ran nothing else before, this one has: a fresh and a used process agree,
    too.
    """
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], check=False)
    assert process.returncode == -signal.SIGKILL
    emitted: list[float] = []
    straight = train(NOISY, digits(), seed=2, folder=tmp_path / "straight")
    resumed = train(
        NOISY,
        digits(),
        seed=2,
        folder=tmp_path / "killed",
        reported=1,
        on_epoch=lambda e: emitted.append(e["epoch"]),
    )
    assert numbers(resumed) == numbers(straight)
    assert resumed.best_epoch == straight.best_epoch
    assert weights(tmp_path / "killed", 5) == weights(tmp_path / "straight", 5)
    assert emitted == [2, 3, 4, 5]


def test_segments_of_one_schedule(tmp_path: Path) -> None:
    inputs = digits()
    straight = train(NOISY, inputs, seed=0)
    emitted: list[float] = []
    for stop in (1, 3, 5):
        done = len(emitted)
        part = train(
            NOISY,
            inputs,
            seed=0,
            folder=tmp_path,
            stop=stop,
            reported=done,
            on_epoch=lambda e: emitted.append(e["epoch"]),
        )
        assert numbers(part) == numbers(straight)[:stop]
    assert emitted == [1, 2, 3, 4, 5]


def test_a_finished_run_only_re_emits(tmp_path: Path) -> None:
    inputs = digits()
    first = train(SMALL, inputs, seed=0, folder=tmp_path)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    emitted: list[dict[str, float]] = []
    again = train(SMALL, inputs, seed=0, folder=tmp_path, reported=3, on_epoch=emitted.append)
    assert again == first
    assert emitted == list(first.history[3:])
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == files
    assert train(SMALL, inputs, seed=0, folder=tmp_path, stop=2).history == first.history[:2]


def test_nothing_is_reported_twice_without_a_checkpoint() -> None:
    emitted: list[float] = []
    train(
        SMALL, digits(), seed=0, stop=3, reported=2, on_epoch=lambda e: emitted.append(e["epoch"])
    )
    assert emitted == [3]


def test_another_seed_or_configuration_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    inputs = digits()
    train(SMALL, inputs, seed=0, stop=2, folder=tmp_path)
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for config, seed in ((SMALL, 1), (SMALL.override({"optimizer.lr": 1e-3}), 0)):
        with pytest.raises(
            UserError, match="epoch_0002 is of another configuration, seed or version"
        ):
            train(config, inputs, seed=seed, stop=2, folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == left
    assert len(left) > 2
