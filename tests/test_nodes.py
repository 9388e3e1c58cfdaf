"""What is made of a cluster's machines, without a cluster."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.engine import nodes
from pipeline.engine.nodes import Look, Node, look, machine, refusal, share_of
from pipeline.errors import MachineError, UserError
from pipeline.machine import WORKER_BYTES, versions

BIG = Node(id="a", name="10.0.0.1", num_cores=16, num_gpus=4, num_bytes=64 * WORKER_BYTES)
SMALL = Node(id="b", name="10.0.0.2", num_cores=8, num_gpus=0, num_bytes=3 * WORKER_BYTES)
HEAD = Node(id="c", name="10.0.0.3", num_cores=0, num_gpus=0, num_bytes=64 * WORKER_BYTES)
FOUND = Look(
    versions=versions(),
    machine={"device": "cpu", "name": "Zen", "cpus": 64, "system": "Linux"},
    fast="bf16",
    sees=True,
)


@pytest.mark.parametrize(
    ("node", "share", "runs"),
    [
        (BIG, 0.0, 16),
        (BIG, 1.0, 4),
        (BIG, 0.5, 8),
        (BIG, 0.1, 16),  # a core each
        (BIG, 3.0, 1),  # of the four one is left over
        (BIG, 8.0, 0),
        (SMALL, 0.0, 3),  # by its memory
        (SMALL, 1.0, 0),
        (HEAD, 0.0, 0),
    ],
)
def test_a_node_takes_as_many_runs_as_its_cores_memory_and_gpus_do(
    node: Node, share: float, runs: int
) -> None:
    assert node.places(share) == runs


def test_runs_get_a_gpu_each_where_there_is_any_and_cores_where_none_is_or_it_is_said() -> None:
    assert share_of([SMALL, BIG], None) == 1.0
    assert share_of([SMALL, BIG], 0) == 0.0
    assert share_of([SMALL, HEAD], None) == 0.0
    assert share_of([SMALL, BIG], 4) == 4.0


@pytest.mark.parametrize(
    ("there", "asked", "said"),
    [
        ([SMALL], 1.0, "--gpus-per-trial: got 1, but no node of the cluster has more than 0 GPUs"),
        ([BIG, SMALL], 5.0, "got 5, but no node of the cluster has more than 4 GPUs"),
        ([BIG], 1.5, "--gpus-per-trial: got 1.5; allowed: 0, 0.0001 to 1, or several whole GPUs"),
        ([HEAD], None, "no node of the cluster has room for a run, which takes a core and 0.7 GB"),
    ],
)
def test_what_no_node_has_is_refused(there: list[Node], asked: float | None, said: str) -> None:
    with pytest.raises(UserError, match=r"^--") as error:
        share_of(there, asked)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (FOUND, ""),
        (replace(FOUND, sees=False), ""),  # it gets copies
        (
            replace(FOUND, versions=versions() | {"torch": "1.0"}),
            f"torch 1.0 there, torch {versions()['torch']} here",
        ),
        (replace(FOUND, versions=versions() | {"mlflow": "1.0"}), ""),  # no number hangs on it
        (replace(FOUND, error="torch is not installed there"), "torch is not installed there"),
    ],
)
def test_a_node_whose_numbers_would_be_others_is_left_out(found: Look, said: str) -> None:
    why = refusal(found, versions())
    assert why.startswith(said)
    assert bool(why) == bool(said)


def test_a_node_looks_at_itself(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    token = tmp_path / "token"
    token.touch()
    found = Look(**look("cpu", str(token), 0.0))
    assert refusal(found, versions()) == ""
    assert found.machine["device"] == "cpu"
    token.unlink()
    blind = Look(**look("cpu", str(token), 0.0))
    assert not blind.sees
    assert refusal(blind, versions()) == ""

    monkeypatch.setattr(nodes, "count_gpus", lambda: 1)  # as where Ray was told of more
    assert "torch sees fewer" in Look(**look("cuda", str(token), 2.0)).error

    def broken() -> Any:
        raise MachineError("the driver is too old")

    monkeypatch.setattr(nodes, "count_gpus", broken)
    assert Look(**look("cuda", str(token), 1.0)).error == "the driver is too old"


def test_several_nodes_are_told_as_one_machine_with_the_cores_that_ray_counts() -> None:
    other = replace(FOUND, machine=FOUND.machine | {"name": "Xeon"})
    told = machine([(BIG, FOUND), (SMALL, FOUND), (HEAD, other)])
    assert told["name"] == "2 nodes of Zen and 1 node of Xeon"
    assert told["cpus"] == 24
    assert told["device"] == "cpu"
