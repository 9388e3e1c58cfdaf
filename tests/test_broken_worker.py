"""A worker whose GPU can compute nothing any more is ended, and the run goes on in another one; a
GPU that loses one process after another is given no more.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import commands
import pytest

from pipeline.engine.cards import Cards, named
from pipeline.engine.order import Outcome
from tests.records import lines

STUDY = '''
"""A network of one's own whose first step loses the GPU, as a kernel's assertion does."""
import os
from pathlib import Path

import torch

from pipeline import Ablation, Adam, Arms, Digits, Float, Space, Study, TrainConfig

SEEN = Path(__file__).with_name("seen")


class Lost(torch.nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        self.layer = torch.nn.Linear(64, num_classes)

    def forward(self, x):
        if "RAY_RAYLET_PID" in os.environ:  # in a worker: the command itself tries it first
            with SEEN.open("a") as seen:
                seen.write(f"{os.getpid()}\\n")
            if SEEN.read_text().count("\\n") == 1:
                raise RuntimeError("CUDA error: device-side assert triggered")
        return self.layer(x.flatten(1))


STUDY = Study(
    name="lost",
    title="Lost",
    question="Is it?",
    baseline=TrainConfig(
        dataset=Digits(num_train=480, num_valid=1200),  # few to test on and to draw planes of
        model={"name": "study_of_lost:Lost"},
        optimizer=Adam(lr=1e-3),
        epochs=1,
    ),
    space=Space(knobs={"optimizer.lr": Float(low=1e-4, high=1e-2, log=True)}),
    ablation=Ablation(
        design=Arms(arms={"a": {}, "b": {"optimizer.lr": 1e-2}}), replicates=1
    ),
)
'''


def test_a_run_goes_on_in_another_process_than_that_which_lost_its_gpu(tmp_path: Path) -> None:
    study = tmp_path / "study_of_lost.py"
    study.write_text(STUDY)
    home = tmp_path / "mlruns"
    code = commands.run("ablate", "--study", study, "--workers", 1, "-q", home=home)
    assert code == 0, commands.output(home)
    (folder,) = home.glob("lost*")
    failed = [event["error"] for event in lines(folder) if event["type"] == "fail"]
    assert failed == ["RuntimeError: CUDA error: device-side assert triggered"]
    first, *others = (tmp_path / "seen").read_text().split()
    assert first not in others
    assert len(set(others)) == 1


HERE = socket.gethostname()


def lost(card: str) -> Outcome:
    return Outcome(status="failed", error="CUDA error", retry=True, broken=True, card=card)


@pytest.mark.parametrize(
    ("runs", "goes"),
    [
        (["a", "a", "b"], True),
        (["a", "b", "c"], True),
        (["a", "a", "a"], False),  # it may be the run's own fault
        (["a", "b"], False),
        (["a", "b", "", "a", "b"], False),  # "": one ends well there
        (["a", "a", "a", "b"], True),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
def test_a_gpu_goes_that_loses_three_processes_of_different_runs_in_a_row(
    runs: list[str], goes: bool
) -> None:
    cards, card = Cards(), f"1@{HERE}"
    well = Outcome(status="reached", card=card)
    told = [cards.take(run, lost(card) if run else well) for run in runs]
    others = [cards.take(run, lost(f"{number}@{HERE}")) for number, run in enumerate("ab", 2)]
    assert cards.shunned == ([card] if goes else [])
    assert [outcome.blameless for outcome in told] == [False] * (len(runs) - 1) + [goes]
    assert not any(outcome.blameless for outcome in others)
    text = f"GPU 1 has lost {len(runs)} processes one after another, of {len(set(runs))} runs"
    assert (text in told[-1].error) == goes


def test_a_gpu_of_another_machine_is_named_with_it() -> None:
    assert named(f"0,1@{HERE}") == "GPUs 0,1"
    assert named("3@node-7") == "GPU 3 of node-7"
    assert Cards().take("a", Outcome(status="failed", broken=True)).error == ""  # of a CPU


def test_nothing_more_is_trained_on_a_gpu_that_loses_every_process(tmp_path: Path) -> None:
    """Ray would give it to the next run again and again, as it is the one that is free."""
    folder = tmp_path / "study"
    done = subprocess.run(
        (sys.executable, "-m", "tests.lost_card", folder),
        cwd=commands.ROOT,
        env={**os.environ, "PYTHONPATH": str(commands.ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    asked = [line.split() for line in (folder / "asked").read_text().splitlines()]
    there = [process for where, process in asked if where == "1"]
    assert len(there) == len(set(there)) == 4  # three of one run, whose fault it may be, and one
    told = lines(folder)
    fails = [event["error"] for event in told if event["type"] == "fail"]
    assert [("from here on nothing is trained on it" in error) for error in fails] == [0, 0, 0, 1]
    ends = [event["status"] for event in told if event["type"] == "end"]
    assert (ends.count("failed"), ends.count("complete")) == (1, 7)
    starts = [event["run"] for event in told if event["type"] == "start"]
    assert len(starts) == len(fails) + 7 + 1  # one was handed to the process that keeps it
    assert not list((folder / "logs").glob(".*.out"))
