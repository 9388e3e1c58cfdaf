"""The head's own learning rate."""

from pathlib import Path

import pytest
import torch
from scans import SMALL, digits, numbers, weights

from pipeline.core.config import TrainConfig
from pipeline.core.optimizers import OPTIMIZERS
from pipeline.core.parallel import Group
from pipeline.core.train import train
from pipeline.core.trainer import Trainer
from pipeline.doctor.network import Patient
from pipeline.errors import UserError

PLAIN = {
    "optimizer.name": "sgd",
    "optimizer.lr": 0.01,
    "optimizer.momentum": 0.0,
    "optimizer.weight_decay": 0.0,
    "batch_size": 1024,  # more than there are: an epoch is a step
}
HEADLESS = """
import torch

class Headless(torch.nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(num_classes, 64))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T
"""


def trainer(config: TrainConfig) -> Trainer:
    return Trainer(config, digits(), seed=0, folder=None, device=torch.device("cpu"), group=Group())


@pytest.mark.parametrize("hidden", [0, 16])
def test_the_head_alone_moves_so_many_times_as_far(hidden: int) -> None:
    """By plain gradient descent without decay, in one step of the same gradients."""
    moved = []
    for rate in (1.0, 10.0):
        run = trainer(
            SMALL.override({**PLAIN, "transfer.hidden": hidden, "transfer.head_lr": rate})
        )
        model = run.loop.model
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        run.loop.run_epoch(1, run.train, 1, [])
        moved.append({name: p.detach() - before[name] for name, p in model.named_parameters()})
        groups = run.loop.optimizer.param_groups
        assert sorted({group.get("lr_scale", 1.0) for group in groups}) == sorted({1.0, rate})
        head = {
            id(p) for group in groups if group.get("lr_scale", 1.0) == rate for p in group["params"]
        }
        names = {name for name, p in model.named_parameters() if id(p) in head}
        if rate > 1:
            assert len(names) == (4 if hidden else 2), names
            for group in groups:
                assert group["lr"] == pytest.approx(0.01 * group.get("lr_scale", 1.0))
    for name, change in moved[1].items():
        times = 10 if name in names else 1
        torch.testing.assert_close(change, times * moved[0][name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.model_fields["name"].default)
def test_it_goes_on_bit_for_bit_by_every_optimizer(kind: type, tmp_path: Path) -> None:
    name = kind.model_fields["name"].default
    config = SMALL.override(
        {"optimizer.name": name, "transfer.head_lr": 3.0, "epochs": 2, "schedule.name": "cosine"}
    )
    straight = train(config, digits(), seed=1, folder=tmp_path / "straight")
    for stop in (1, 2):
        resumed = train(config, digits(), seed=1, folder=tmp_path / "cut", stop=stop)
    assert numbers(resumed) == numbers(straight)
    assert weights(tmp_path / "cut", 2) == weights(tmp_path / "straight", 2)
    assert numbers(straight) != numbers(
        train(config.override({"transfer.head_lr": 1.0}), digits(), seed=1)
    )


def test_where_only_the_head_trains_its_rate_counts() -> None:
    run = trainer(SMALL.override({**PLAIN, "transfer.train": "head", "transfer.head_lr": 5.0}))
    assert {group["lr_scale"] for group in run.loop.optimizer.param_groups} == {5.0}


def test_a_network_without_a_head_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "headless.py").write_text(HEADLESS)
    monkeypatch.syspath_prepend(str(tmp_path))
    tree = SMALL.model_dump(mode="json")
    tree |= {"model": {"name": "headless:Headless"}}
    tree["transfer"]["head_lr"] = 2.0
    with pytest.raises(UserError, match="transfer: needs a network with a head"):
        trainer(TrainConfig.parse(tree, source="test"))


def test_the_doctor_looks_at_the_rates_that_a_run_begins_with() -> None:
    config = SMALL.override({**PLAIN, "transfer.head_lr": 5.0})
    patient = Patient.of(config, digits(), torch.device("cpu"), seed=1)
    made = {
        group.get("lr_scale", 1.0): group["lr"]
        for group in patient.optimizer(patient.model).param_groups
    }
    assert made == {1.0: config.optimizer.lr, 5.0: 5 * config.optimizer.lr}
