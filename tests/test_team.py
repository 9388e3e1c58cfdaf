"""One run in two processes: torch's data parallelism over gloo, as `--gpus-per-trial 2` does it
over NCCL.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import commands
import pytest
from own import written
from pictures import class_folder
from safetensors.torch import load_file
from scans import SMALL
from segments import order_of, work
from torch import nn

from pipeline.core.checkpoints import epochs
from pipeline.core.parallel import synchronise
from pipeline.data.cache import prepare
from pipeline.data.datasets import Digits
from pipeline.engine.last_words import left
from pipeline.engine.order import Outcome

FREE = {
    "model.norm": "none",
    "model.width": 8,
    "optimizer.name": "sgd",
    "epochs": 3,
    "batch_size": 50,
    "clip_norm": 1.0,
}


Straight = tuple[Path, Outcome, list[dict[str, float]]]  # its folder, how it ended, its epochs


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache")).path


def segment(
    cache: Path, folder: Path, num_processes: int, stop: int = 3, **knobs: Any
) -> tuple[Outcome, list[dict[str, float]]]:
    seen: list[dict[str, float]] = []
    order = order_of(
        SMALL.override(FREE | knobs),
        folder,
        cache,
        folder=folder,
        stop=stop,
        test=False,
        num_processes=num_processes,
    )
    return work(order, seen.append), seen


@pytest.fixture(scope="module")
def straight(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """A run in two processes, of which the second takes seconds to load torch, without a stop."""
    folder = tmp_path_factory.mktemp("straight")
    return folder, *segment(cache, folder, 2)


@pytest.mark.parametrize(
    "knobs",
    [{}, {"accumulate": 3, "augment.strength": 1.0}, {"members": 2}],
    ids=["plain", "accumulated", "ensemble"],
)
def test_two_processes_have_the_loss_curve_of_one(
    knobs: dict[str, Any], cache: Path, tmp_path: Path, straight: Straight
) -> None:
    """At the same effective batch, without batch norm and dropout, which depend on how a batch is
    shared out.
    """
    one, two = tmp_path / "1", tmp_path / "2"
    outcomes, curves, final = [], [], []
    for folder, outcome, seen in (
        (one, *segment(cache, one, 1, **knobs)),
        (two, *segment(cache, two, 2, **knobs)) if knobs else straight,
    ):
        outcomes.append(outcome)
        curves.append(
            [[epoch["train_loss"], epoch["val_loss"], epoch["val_acc"]] for epoch in seen]
        )
        final.append(load_file(epochs(folder)[-1] / "best.safetensors"))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].status == "reached"
    assert len(curves[0]) == 3
    for alone, shared in zip(*curves, strict=True):
        assert shared == pytest.approx(alone, abs=1e-4)
    assert final[0].keys() == final[1].keys()
    assert curves[0][-1][0] < curves[0][0][0]


def test_a_team_goes_on_from_the_leaders_checkpoint(
    cache: Path, tmp_path: Path, straight: Straight
) -> None:
    segment(cache, tmp_path, 2, stop=1)
    outcome, seen = segment(cache, tmp_path, 2)
    assert outcome.status == "reached"
    assert [epoch["val_loss"] for epoch in seen] == pytest.approx(
        [epoch["val_loss"] for epoch in straight[2]], abs=1e-6
    )


def test_batch_norm_trains_in_a_team_too(cache: Path, tmp_path: Path) -> None:
    """On CPUs each process norms by its own pictures; the leader's running statistics are
    evaluated.
    """
    outcome, seen = segment(cache, tmp_path, 2, **{"model.norm": "batch"})
    assert outcome.status == "reached"
    assert seen[-1]["train_loss"] < seen[0]["train_loss"]


def test_a_diverging_team_says_so_and_ends(cache: Path, tmp_path: Path) -> None:
    outcome, _ = segment(cache, tmp_path, 2, **{"optimizer.lr": 100.0, "clip_norm": 0.0})
    assert outcome.status == "diverged"


OVERFLOWS = """
import itertools
from torch import distributed

NUMBERS = itertools.count()


def beside(logits):
    here = not distributed.is_initialized() or distributed.get_rank() == 1
    steep = 1e6 if here and next(NUMBERS) in (0, 1, 4) else 0.0
    return steep * (logits - logits.detach()).mean()
"""


def test_what_overflows_in_one_process_is_left_out_in_all(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float16, with a scale of its own in each; where one process took a step that the other
    leaves out, or scaled otherwise, the curve would not be that of one process.
    """
    curves = []
    for num in (1, 2):
        written(tmp_path, "my_beside.py", OVERFLOWS)
        monkeypatch.syspath_prepend(str(tmp_path))
        knobs = {"precision": "fp16", "penalty.name": "my_beside:beside", "optimizer.lr": 0.02}
        outcome, seen = segment(cache, tmp_path / str(num), num, **knobs)
        assert outcome.status == "reached", outcome.error
        curves.append(seen)
    for one, two in zip(*curves, strict=True):
        for name in ("train_loss", "val_loss", "grad_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-2), name
        assert one["skipped_steps"] == two["skipped_steps"]
    assert curves[0][0]["skipped_steps"] == 3
    assert curves[0][-1]["train_loss"] < curves[0][0]["train_loss"]


FAILS = """
import os
import signal
import time

import torch
from torch import distributed


def beside(logits, rank: int = 1, how: str = "memory", waits: int = 0):
    if distributed.is_initialized() and distributed.get_rank() == rank:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {
            "memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "lost": RuntimeError("CUDA error: an illegal memory access was encountered"),
            "wrong": ValueError("a wrong shape"),
        }[how]
    time.sleep(waits)
    return 0 * logits.sum()
"""


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    written(tmp_path, "my_failing.py", FAILS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return {"penalty.name": "my_failing:beside", "epochs": 1}


@pytest.mark.parametrize(
    ("rank", "how", "told", "words"),
    [
        (1, "memory", {"parts": 2}, "process 1 of the run's team: OutOfMemoryError: CUDA out of"),
        (0, "memory", {"parts": 2}, "OutOfMemoryError: CUDA out of memory"),
        (1, "lost", {"retry": True, "broken": True}, "process 1 of the run's team: RuntimeError"),
        (1, "killed", {"retry": True}, "process 1 of the run's team died with exit code -9"),
        (1, "wrong", {}, "process 1 of the run's team: ValueError: a wrong shape"),
    ],
)
def test_what_one_process_fails_for_is_what_the_run_fails_for(
    rank: int,
    how: str,
    told: dict[str, Any],
    words: str,
    failing: dict[str, Any],
    cache: Path,
    tmp_path: Path,
) -> None:
    """The others wait for it, and hear no more than that it is gone."""
    knobs = failing | {"penalty.rank": rank, "penalty.how": how}
    outcome, seen = segment(cache, tmp_path / "run", 2, **knobs)
    assert (outcome.status, seen) == ("failed", [])
    assert words in outcome.error
    expected = {"parts": 0, "retry": False, "broken": False} | told
    assert {name: getattr(outcome, name) for name in expected} == expected
    if how == "killed":  # the next run of the same process has a team again
        plain, seen = segment(cache, tmp_path / "next", 2, epochs=1)
        assert (plain.status, len(seen)) == ("reached", 1)


WAITS = """
import sys
from pathlib import Path

from pipeline.engine.order import Order
from tests.segments import work

work(Order.from_json(Path(sys.argv[1]).read_text()), print)
"""


def test_a_leader_that_waits_for_a_process_that_is_gone_leaves_its_words_and_dies(
    failing: dict[str, Any], cache: Path, tmp_path: Path
) -> None:
    """As in NCCL, which waits on."""
    knobs = failing | {"penalty.waits": 120}
    config = SMALL.override(FREE | knobs)
    order = order_of(config, tmp_path, cache, stop=1, test=False, num_processes=2)
    (tmp_path / "order").write_text(order.to_json())
    path = os.pathsep.join((str(commands.ROOT), str(tmp_path)))
    done = subprocess.run(
        (sys.executable, "-c", WAITS, tmp_path / "order"),
        env={**os.environ, "PYTHONPATH": path},
        timeout=100,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    words = left(order.output)
    assert words is not None
    assert (words.status, words.parts) == ("failed", 2)
    assert "process 1 of the run's team: OutOfMemoryError" in words.error
    assert left(order.output) is None


def test_pseudo_labels_are_the_leaders_on_every_process(tmp_path: Path) -> None:
    """Each process has running statistics of its own, so that alone they would choose other
    pictures.
    """
    folder = class_folder(tmp_path / "photos", num=24)
    class_folder(folder, classes=["unlabeled"], num=40)
    knobs: dict[str, Any] = {
        "dataset.name": "folder",
        "dataset.size": 8,
        "model.norm": "batch",
        "batch_size": 16,
    }
    knobs |= {"pseudo.threshold": 0.4, "pseudo.start": 2, "precision": "fp32"}
    data = prepare(SMALL.override(FREE | knobs).dataset, folder, tmp_path / "cache").path
    outcome, seen = segment(data, tmp_path / "run", 2, **knobs)
    assert outcome.status == "reached"
    assert len(seen) == 3


def test_only_plain_norms_that_are_trained_are_synchronised() -> None:
    class Special(nn.BatchNorm2d):
        """A norm that does more, as timm's do."""

    model = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Sequential(Special(3), nn.BatchNorm2d(3)),
        nn.GroupNorm(1, 3),
        nn.BatchNorm1d(3),  # of hidden layers
    )
    frozen = model[1][1]
    vars(frozen)["train"] = lambda mode=True: frozen  # noqa: ARG005  (as transfer learning freezes it)
    synchronise(model)
    assert [type(module) for module in (model[0], *model[1], model[2], model[3])] == [
        nn.SyncBatchNorm,
        Special,
        nn.BatchNorm2d,
        nn.GroupNorm,
        nn.SyncBatchNorm,
    ]
