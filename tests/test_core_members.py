"""Deep ensembles as one network: members do not know of each other while they learn, and answer by
the mean of their probabilities.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own import written
from safetensors.torch import save_file
from scans import SMALL, digits, numbers, weights
from studies import small_study
from test_core_batch_size import NOTHING, data
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.config import TrainConfig
from pipeline.core.finished.artifact import load
from pipeline.core.finished.embed import activations
from pipeline.core.finished.final import COMPRESSIONS
from pipeline.core.finished.macs import num_macs
from pipeline.core.finished.weigh import costs
from pipeline.core.members import Members, each
from pipeline.core.parallel import Group
from pipeline.core.pictures import Pictures
from pipeline.core.setup import build_model, describe
from pipeline.core.train import evaluate_best, train
from pipeline.core.trainer import Trainer
from pipeline.doctor.network import Patient, examine
from pipeline.errors import UserError
from pipeline.export import onnx
from pipeline.session.preflight import require_inputs
from pipeline.study.ranges import Int
from pipeline.study.space import Space

CPU = torch.device("cpu")
PAIR = SMALL.override({"members": 2, "epochs": 2})
SEEDED = """
import torch
from torch import nn


class Seeded(nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.LazyLinear(num_classes)
        self.layer(torch.zeros(1, 64))

    def forward(self, x):
        return self.layer(x.flatten(1))


def heaviest(model, pictures, logits):
    return sum(p.square().max() for p in model.parameters()) + 0 * logits.sum() * pictures.sum()
"""


def trainer(config: TrainConfig) -> Trainer:
    return Trainer(config, digits(), seed=3, folder=None, device=CPU, group=Group())


def member(model: nn.Module, number: int) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in each(model)[number].state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "my_seeded.py", SEEDED)
    monkeypatch.syspath_prepend(str(tmp_path))


ALONE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "clipped": {"clip_norm": 0.05},
    "sgd": {"optimizer.name": "sgd", "clip_norm": 0.5, "optimizer.weight_decay": 0.01},
    "mixed": {"augment.strength": 1.0, "augment.mixup": 0.4, "augment.cutmix": 0.5},
    "hardest": {"loss.hardest": 0.5, "loss.balanced": True},
    "in parts": {"accumulate": 3},
    "averaged": {"ema": 0.9},
    "bf16": {"precision": "bf16"},
    "own rates": {"transfer.head_lr": 3.0, "transfer.layer_decay": 0.7},
    "held": {"transfer.freeze_epochs": 1},
    "penalty": {"penalty.name": "my_seeded:heaviest"},
}
DRAWING: dict[str, dict[str, Any]] = {  # what comes from torch's generator comes after the other's
    "dropout": {"model.dropout": 0.3},
    "adversary": {"adversary.epsilon": 8 / 255},
    "clean too": {"adversary.epsilon": 8 / 255, "adversary.clean_share": 0.5},
    "new head": {"transfer.hidden": 8},
}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ALONE)
def test_the_first_member_learns_what_it_would_alone(name: str) -> None:
    """From the same weights on the same batches, bit for bit, whatever is beside it."""
    config = PAIR.override(ALONE[name])
    alone, pair = trainer(config.override({"members": 1})), trainer(config)
    assert same(member(alone.loop.model, 0), member(pair.loop.model, 0))
    for run in (alone, pair):
        run.next_epoch(lambda: None)
        run.next_epoch(lambda: None)
    assert same(member(alone.evaluated, 0), member(pair.evaluated, 0))
    assert not same(member(pair.evaluated, 0), member(pair.evaluated, 1))
    assert pair.num_params == 2 * alone.num_params


@pytest.mark.parametrize("name", DRAWING)
def test_no_member_depends_on_another(name: str) -> None:
    """One ensemble's second member begins with other weights: its first one learns the same."""
    runs = [trainer(PAIR.override(DRAWING[name])) for _ in range(2)]
    with torch.no_grad():
        for param in each(runs[1].loop.model)[1].parameters():
            param.mul_(3.0)
    for run in runs:
        run.next_epoch(lambda: None)
    one, other = (run.loop.model for run in runs)
    assert same(member(one, 0), member(other, 0))
    assert not same(member(one, 1), member(other, 1))


def test_probabilities_are_averaged_however_sure_they_are() -> None:
    torch.manual_seed(0)
    nets = [nn.Linear(4, 3) for _ in range(3)]
    model, x = Members(nets).eval(), torch.randn(5, 4)
    wanted = torch.stack([net(x).softmax(1) for net in nets]).mean(0)
    torch.testing.assert_close(model(x).softmax(1), wanted)
    torch.testing.assert_close(model(x).exp(), wanted, msg="logits are logarithms themselves")
    sure = model(1e4 * x)
    assert sure.isfinite().all()
    assert functional.cross_entropy(sure, torch.zeros(5, dtype=torch.int64)).isfinite()


def test_it_goes_on_bit_for_bit_and_is_judged_as_one(tmp_path: Path) -> None:
    config = SMALL.override({"members": 3, "epochs": 3, "ema": 0.5, "model.dropout": 0.2})
    straight = train(config, digits(), seed=1, folder=tmp_path / "straight")
    for stop in (1, 2, 3):
        resumed = train(config, digits(), seed=1, folder=tmp_path / "cut", stop=stop)
    assert numbers(resumed) == numbers(straight)
    assert weights(tmp_path / "cut", 3) == weights(tmp_path / "straight", 3)
    inputs = digits()
    found = evaluate_best(config, inputs.val, inputs, seed=1, folder=tmp_path / "cut")
    assert found.facts["acc"] == straight.history[straight.best_epoch - 1]["val_acc"]
    _, model = load(str(tmp_path / "cut"), key="x", device=CPU)
    nets, x = each(model), torch.rand(4, 1, 8, 8)
    assert len(nets) == 3
    torch.testing.assert_close(model(x).exp(), torch.stack([n(x).softmax(1) for n in nets]).mean(0))
    taught = SMALL.override({"distill.teacher": str(tmp_path / "cut"), "members": 2, "epochs": 1})
    assert train(taught, digits(), seed=1).complete, "an ensemble teaches, and is taught"


def test_it_costs_as_many_times_as_much() -> None:
    of_one = costs(SMALL, ("params", "macs", "size"), 1, 8, 10)
    assert costs(SMALL.override({"members": 5}), of_one, 1, 8, 10) == {
        name: 5 * cost for name, cost in of_one.items()
    }
    config = SMALL.override({"members": 5})
    model = build_model(config, digits(), CPU, pretrained=True)
    assert sum(p.numel() for p in model.parameters()) == 5 * of_one["params"]
    assert num_macs(describe(config, digits())) == 5 * of_one["macs"]


@pytest.mark.parametrize("how", [kind.model_fields["name"].default for kind in COMPRESSIONS])
def test_finished_ensembles_are_compressed_and_looked_into(how: str, tmp_path: Path) -> None:
    """Views and all; what its layers see is told of the first member."""
    config = PAIR.override({"final.tta": 2, "final.compress.name": how, "augment.strength": 1.0})
    train(config, digits(), seed=1, folder=tmp_path)
    inputs = digits()
    found = evaluate_best(config, inputs.val, inputs, seed=1, folder=tmp_path)
    assert abs(found.facts["acc"] - found.facts["plain_acc"]) < 0.5
    layers = activations(found.model, found.pictures, found.pixels, np.arange(20))
    (middle, top), alone = layers, train_alone(inputs)
    assert [path.startswith("members.0.") for _, path in layers] == [True, True]
    assert [(middle[0], middle[1][10:]), (top[0], top[1][10:])] == alone


def train_alone(inputs: Any) -> list[tuple[str, str]]:
    """(layer, path) of what is looked at of the network by itself."""
    run = trainer(SMALL)
    return list(activations(run.evaluated, Pictures(inputs.val, CPU), run.pixels, np.arange(20)))


def test_onnx_answers_alike() -> None:
    run = trainer(PAIR.override({"input_size": 12}))
    own, images = run.about, np.random.default_rng(0).integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    graph = onnx.Graph(own, run.evaluated.eval())
    found = onnx.compare(onnx.to_onnx(own, graph, [*"0123456789"]), graph, images)
    assert found.holds, found


def test_members_that_begin_alike_are_refused(tmp_path: Path) -> None:
    """All weights from one file, the head too; a new head tells them apart."""
    pictures = data()
    inputs = replace(digits(), classes=pictures.classes)
    tensors = build_model(SMALL, inputs, CPU, pretrained=True).state_dict()
    file = tmp_path / "best.safetensors"
    save_file(tensors, file, metadata={"classes": json.dumps(pictures.classes)})
    config = PAIR.override({"transfer.weights": str(file)})
    study = small_study(space=NOTHING)
    searched = {
        "baseline": config.override({"members": 1}),
        "space": Space(knobs={"members": Int(low=1, high=3)}),
    }
    for changed, where in (({"baseline": config}, "baseline: .*2"), (searched, "space: .*3")):
        told = f"'small', {where}, and all would begin with the same weights and stay alike"
        with pytest.raises(UserError, match=told) as error:
            require_inputs(study.model_copy(update=changed), pictures)
        assert "transfer.hidden gives each member a new head" in str(error.value)
    deep = build_model(config.override({"transfer.hidden": 8}), inputs, CPU, pretrained=True)
    one, other = (member(deep, number) for number in (0, 1))
    differing = {name.rpartition(".")[0] for name in one if not torch.equal(one[name], other[name])}
    assert len(differing) == 2, "the two layers of the head alone"


@pytest.mark.usefixtures("own")
def test_a_network_that_seeds_itself_is_no_ensemble() -> None:
    config = PAIR.override({"model.name": "my_seeded:Seeded"})
    with pytest.raises(UserError, match=r"the network draws none at random\); allowed here: 1"):
        trainer(config)


def test_frozen_bodies_and_rates_are_those_of_every_member() -> None:
    run = trainer(PAIR.override({"transfer.freeze_epochs": 1, "transfer.head_lr": 2.0}))
    fast = [g["params"] for g in run.loop.optimizer.param_groups if g.get("lr_scale") == 2]
    assert sum(map(len, fast)) == 2 * 2, "weight and bias of either head"
    before = [member(run.loop.model, number) for number in range(2)]
    run.next_epoch(lambda: None)
    after = [member(run.loop.model, number) for number in range(2)]
    moved = [
        {name for name in old if not torch.equal(old[name], new[name])}
        for old, new in zip(before, after, strict=True)
    ]
    assert moved[0] == moved[1]
    assert len(moved[0]) == 2


def test_the_doctor_looks_at_the_first_member() -> None:
    alone, trio = (
        Patient.of(config, digits(), CPU, seed=1)
        for config in (SMALL, SMALL.override({"members": 3}))
    )
    assert same(member(alone.model, 0), trio.model.state_dict())
    first = next(examine(trio, 1))
    assert "in each of 3 members, of which the first is looked at" in first.said


def test_a_card_calls_it_by_what_it_is() -> None:
    assert SMALL.networks == "a network `cnn`"
    assert PAIR.networks == (
        "2 networks `cnn`, trained side by side, which answer by the mean of their probabilities"
    )


@pytest.mark.parametrize("members", [0, 101, 1.5, "three"])
def test_other_numbers_are_refused(members: Any) -> None:
    with pytest.raises(UserError, match="members"):
        SMALL.override({"members": members})
