"""A user's own repository, from the first command to the exported model: nothing of it is in the
product's folder.
"""

import json
from pathlib import Path

import onnxruntime
import pytest
from own import MORE, NETS

from pipeline.record.record import Record
from tests import commands

STUDY = '''"""Is each of my parts needed?"""

from pipeline.core.config import TrainConfig
from pipeline.data.datasets import Digits
from pipeline.own.parts import Own
from pipeline.study.designs import LeaveOneOut
from pipeline.study.space import Int, Space
from pipeline.study.study import Ablation, Search, Study

STUDY = Study(
    name="mine",
    title="My own parts",
    baseline=TrainConfig(
        dataset=Digits(num_train=480, num_valid=1200),
        model=Own("my_nets:MyNet", width=4),
        loss="my_nets:my_loss",
        augment=Own("my_more:my_noise", strength=1.0),
        schedule=Own("my_nets:my_schedule"),
        metrics=[Own("my_more:my_recall", of=3)],
        epochs=2,
        precision="fp32",
    ),
    space=Space(knobs={"model.width": Int(low=4, high=8)}),
    search=Search(num_trials=0),
    ablation=Ablation(
        replicates=3,
        design=LeaveOneOut(
            off={
                "net": {"model": {"name": "cnn", "width": 4}},
                "loss": {"loss.name": "cross_entropy"},
                "noise": {"augment.strength": 0.0},
                "schedule": {"schedule.name": "constant"},
            }
        ),
    ),
)
'''


def test_a_repository_of_ones_own_is_run_stopped_gone_on_with_refused_and_exported(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the installed wheel."""
    (wheel,) = installed.parent.glob("lib/python*/site-packages")
    home, repository = tmp_path / "mlruns", tmp_path / "repository"
    repository.mkdir()
    for name, text in (("my_nets.py", NETS), ("my_more.py", MORE), ("mine.py", STUDY)):
        (repository / name).write_text(text)
    flags = ("--study", repository / "mine.py")

    def said(module: str, *more: object) -> tuple[int, str]:
        ((code, text),) = commands.in_a_row((home, module, *flags, *more), root=wheel)
        return code, " ".join(text.split())

    commands.edit(repository / "my_nets.py", "pool * pool * width", "pool * width")
    code, text = said("ablate", "--workers", 1)
    assert code == 2, text
    assert "my_nets.py, line " in text
    assert "Traceback" not in text
    assert not list(home.glob("mine-*/ledger.jsonl"))
    commands.edit(repository / "my_nets.py", "pool * width", "pool * pool * width")

    commands.kill_after("ablate", *flags, "--workers", 1, home=home, epochs=3, root=wheel)
    (code, text), (exported, written) = commands.in_a_row(
        (home, "ablate", *flags, "--debug"), (home, "export", *flags, "--arm", "all 4"), root=wheel
    )
    assert (code, exported) == (0, 0), text + written
    monkeypatch.syspath_prepend(str(repository))  # of this process alone
    record: Record = commands.record(home)
    assert {run.status for run in record.runs.values()} == {"complete"}
    assert commands.repeated_epochs(home) == 0
    assert all(0 <= run.metrics["test_my_recall"] <= 1 for run in record.runs.values())
    assert {row["config.model.name"] for row in commands.table(home, "runs.csv")} == {
        "my_nets:MyNet",
        "cnn",
    }
    assert all(row["test_my_recall_mean"] for row in commands.table(home, "arms.csv"))
    assert commands.mlflow_rows(
        home, "select count(*) from metrics where key = 'val_my_recall'"
    ) == [(30,)]
    report = (commands.folder(home) / "report" / "report.md").read_text()
    assert "model MyNet (my\\_nets.py)" in report
    assert "test my\\_recall" in report

    before = (commands.folder(home) / "ledger.jsonl").read_bytes()
    commands.edit(repository / "my_nets.py", "nn.ReLU()", "nn.Tanh()")
    code, text = said("ablate", "--workers", 1, "--replicates", 4)
    assert code == 2, text
    assert "my_nets.py" in text
    assert (commands.folder(home) / "ledger.jsonl").read_bytes() == before

    (card,) = home.rglob("README.md")
    assert "`my_nets:MyNet` (my_nets.py)" in card.read_text()
    assert "| test_my_recall |" in card.read_text()
    assert onnxruntime.InferenceSession(card.parent / "model.onnx").get_inputs()[0].name == "pixels"
    assert "MyNet" in json.dumps(json.loads((card.parent / "config.json").read_text()))
