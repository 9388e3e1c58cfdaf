"""A worker whose GPU can compute nothing any more is ended, and the run goes on in another one."""

from pathlib import Path

import commands

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
