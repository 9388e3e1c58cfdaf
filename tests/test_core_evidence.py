"""Evidence of finished runs: what the judged model answers, its worst mistakes, and layers of every
network.
"""

import dataclasses
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scans import SMALL, digits
from segments import order_of, work
from test_contracts import every, narrow
from torch import nn

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.evaluate import evaluate, predict
from pipeline.core.finished import embed, macs
from pipeline.core.finished.embed import activations, embeddings, middle, plane, pooled, traced
from pipeline.core.finished.evidence import Evidence, Judged, evidence_path, read
from pipeline.core.finished.final import COMPRESSIONS, Final, Half
from pipeline.core.finished.gather import gather, most_wrong
from pipeline.core.identity import Seeds
from pipeline.core.models import MODELS
from pipeline.core.pictures import Pictures, evenly
from pipeline.core.setup import describe
from pipeline.core.train import evaluate_best, train
from pipeline.data.cache import open_data, prepare
from pipeline.data.datasets import Digits
from pipeline.data.splits import Split
from pipeline.engine import worker
from pipeline.engine.order import Order, Outcome

CPU = torch.device("cpu")
PLAIN = Pixels((0.3,), (0.37,), device=CPU)


def photos(num: int, size: int = 32, channels: int = 3) -> Pictures:
    """Pictures of noise with labels that go round."""
    images = np.random.default_rng(0).integers(0, 256, (num, channels, size, size)).astype(np.uint8)
    return Pictures(Split(images, np.arange(num) % 5, np.arange(num)), CPU)


def colours() -> Pixels:
    return Pixels((0.5,) * 3, (0.25,) * 3, device=CPU)


@every(MODELS)
def test_every_network_has_a_middle_and_a_top_layer(member: Any) -> None:
    """The top one is all that the logits are made from; the middle one lies between the pictures
    and that.
    """
    torch.manual_seed(0)
    model = narrow(member).model.build(3, 32, 5).eval()
    pictures, order = photos(6), np.arange(6)
    found = activations(model, pictures, colours(), order)
    (half, half_path), (top, top_path) = found
    assert (half, top) == ("middle", "top")
    assert half_path != top_path
    assert {half_path, top_path} <= dict(model.named_modules()).keys()
    assert all(
        values.shape[0] == 6 and values.ndim == 2 and np.isfinite(values).all()
        for values in found.values()
    )
    assert all(values.std(0).max() > 0 for values in found.values()), (
        "it must differ from picture to picture"
    )
    head = model.get_submodule(top_path)
    x = torch.from_numpy(found["top", top_path])
    if isinstance(head, nn.Linear):
        logits = model(colours()(torch.from_numpy(pictures.images)))
        assert torch.allclose(head(x), logits, atol=1e-4)
    calls = traced(model, colours()(torch.from_numpy(pictures.images[:2])))
    chosen, total = middle(calls), max(call.end for call in calls)
    assert chosen is not None
    assert chosen.path == half_path
    assert abs(chosen.end - total / 2) <= max(1, 0.25 * total)
    assert not any(module._forward_hooks for name, module in model.named_modules() if name), (
        "no hook stays behind"
    )


@pytest.mark.parametrize("how", COMPRESSIONS, ids=lambda how: how.__name__)
def test_a_compressed_network_has_layers_too(how: Any, tmp_path: Path) -> None:
    inputs = digits()
    config = SMALL.override({"epochs": 1, "final": Final(compress=how())})
    train(config, inputs, seed=0, folder=tmp_path)
    finished = evaluate_best(config, inputs.val, inputs, seed=0, folder=tmp_path)
    assert [e.layer for e in embeddings(finished.model, finished.pictures, finished.pixels)] == [
        "middle",
        "top",
    ]


def test_space_is_averaged_whichever_way_it_lies() -> None:
    x = torch.randn(2, 6, 4, 4)
    mean = x.mean((2, 3))
    for given in (
        x,
        x.permute(0, 2, 3, 1),
        x.flatten(2).transpose(1, 2),
        mean,
        x.mean((2, 3), keepdim=True),
    ):
        assert torch.allclose(pooled(given), mean, atol=1e-6)
    assert pooled(mean).data_ptr() != mean.data_ptr()


def test_a_module_that_is_called_twice_is_seen_at_the_right_call() -> None:
    """One ReLU for all layers, which writes into what it gets."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            for layer in self.layers[:-1]:
                x = self.relu(layer(x))
            y: torch.Tensor = self.layers[-1](x)
            return y

    torch.manual_seed(0)
    model = Shared().eval()
    pictures = photos(12, 2, 1)
    with torch.inference_mode():
        x = PLAIN(torch.from_numpy(pictures.images)).flatten(1)
        hidden = [x]
        for layer in model.layers[:-1]:
            hidden.append(layer(hidden[-1]).relu())
    found = activations(model, pictures, PLAIN, np.arange(12))
    assert found.keys() == {("middle", "relu"), ("top", "layers.3")}
    assert np.allclose(found["middle", "relu"], hidden[2].numpy(), atol=1e-6)
    assert np.allclose(found["top", "layers.3"], hidden[3].numpy(), atol=1e-6)


def test_points_show_what_lies_together() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 30)
    values = (rng.normal(size=(90, 20)) + 5 * rng.normal(size=(3, 20))[label]).astype(np.float32)
    points = plane(values)
    assert points is not None
    assert (points.shape, points.dtype) == ((90, 2), np.float32)
    centres = np.stack([points[label == k].mean(0) for k in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(1)
    assert (nearest == label).all()
    assert np.array_equal(points, plane(values))


def test_what_cannot_be_laid_out_is_left_out() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    assert plane(np.where(values > 1, np.inf, values).astype(np.float32)) is None
    assert plane(np.ones((20, 3), np.float32)) is None
    one = plane(values[:, :1])
    assert one is not None, "a single unit that is alive"
    assert embeddings(nn.Linear(1, 1), photos(9), colours()) == ()
    few = embeddings(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), photos(10, 2), colours())
    assert [(e.layer, e.points.shape) for e in few] == [("middle", (10, 2)), ("top", (10, 2))]


def test_at_most_400_pictures_are_laid_out_from_all_over_the_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[np.ndarray[Any, Any]] = []
    monkeypatch.setattr(embed, "plane", lambda values: used.append(values) or values[:, :2])
    pictures = photos(1000, 2, 1)
    (found,) = embeddings(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), pictures, PLAIN)[1:]
    order = evenly(1000, 400)
    assert (len(order), order[0], order[-1]) == (400, 0, 999)
    assert np.array_equal(found.true, order % 5)
    assert np.allclose(
        used[1], PLAIN(torch.from_numpy(pictures.images[order])).flatten(1), atol=1e-6
    )


def test_the_worst_mistakes_come_first_with_their_pictures_and_names() -> None:
    num = 40
    pictures = photos(num, 100)
    true = np.arange(num)
    pred = np.where(true % 10 == 0, true, 0)
    sure = np.linspace(0.5, 0.9, num).astype(np.float32)
    judged = Judged(true, pred, np.full(num, 0.05, np.float32), sure)
    names = [f"\x1b<b>{place}" for place in range(num)]
    found = most_wrong(judged, pictures, names)
    expected = [row for row in reversed(range(num)) if row % 10][:24]
    assert found.rows.tolist() == expected
    assert found.files == tuple(names[row] for row in expected)
    assert (found.pictures.shape, found.pictures.dtype) == ((24, 3, 64, 64), np.uint8)
    small = photos(4, 8, 1)
    right = Judged(true[:4], true[:4], sure[:4], sure[:4])
    assert most_wrong(right, small, names).pictures.shape == (0, 3, 8, 8)
    wrong = most_wrong(dataclasses.replace(right, pred=true[:4] + 1), small, names)
    assert np.array_equal(wrong.pictures, small.images[wrong.rows].repeat(3, 1)), (
        "grey is shown as it is"
    )


def test_rows_of_a_split_are_not_rows_of_the_set() -> None:
    images = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(4, 2).repeat(4, 3)
    pictures = Pictures(Split(images, np.zeros(10, np.int64), np.array([3, 7])), CPU)
    judged = Judged(
        np.array([0, 0]), np.array([0, 1]), *np.array([[0.9, 0.1], [0.9, 0.9]], np.float32)
    )
    found = most_wrong(judged, pictures, [str(place) for place in range(10)])
    assert (found.rows.tolist(), found.files, found.pictures.max()) == ([1], ("7",), 7)


FINALS = {"plain": Final(), "views": Final(tta=2), "half": Final(compress=Half())}
FINALS |= {how.__name__: Final(tta=1, compress=how()) for how in COMPRESSIONS if how is not Half}


@pytest.mark.parametrize("final", FINALS.values(), ids=FINALS)
def test_the_answers_are_those_of_the_model_that_was_judged(final: Final, tmp_path: Path) -> None:
    inputs = digits()
    config = SMALL.override({"final": final, "augment.strength": 1.0, "epochs": 2})
    train(config, inputs, seed=0, folder=tmp_path)
    finished = evaluate_best(config, inputs.val, inputs, seed=0, folder=tmp_path)
    judged = finished.judged
    assert (judged.pred == judged.true).mean() == pytest.approx(finished.facts["acc"], abs=1e-12)
    assert -np.log(judged.true_prob).mean() == pytest.approx(finished.facts["loss"], rel=1e-4)
    assert np.array_equal(judged.true, inputs.val.labels[inputs.val.index])
    assert (judged.pred_prob >= judged.true_prob).all()
    assert [part.dtype for part in vars(judged).values()] == [
        np.int64,
        np.int64,
        np.float32,
        np.float32,
    ]
    if final.tta == 0:
        logits = predict(finished.model, finished.pictures, finished.pixels, dtype=torch.float32)
        assert np.array_equal(judged.pred, logits.argmax(1).numpy())
        assert (
            finished.facts["loss"]
            == evaluate(finished.model, finished.pictures, finished.pixels, dtype=torch.float32)[0]
        )


@every(MODELS)
def test_multiplications_are_counted_alike_for_one_picture_and_in_training(member: Any) -> None:
    config = narrow(member, **{"dataset.size": 32})
    inputs = digits(channels=3, size=32)
    with torch.device("meta"):
        model = config.model.build(3, 32, inputs.num_classes).train()
        with macs.FlopCounterMode(display=False) as counter:
            model(torch.empty(4, 3, 32, 32))
    assert macs.num_macs(describe(config, inputs)) == counter.get_total_flops() // 2 // 4 > 0


def test_a_linear_networks_multiplications() -> None:
    assert (
        macs.count(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 6 * 6, 7)), 3, 8)
        == 27 * 5 * 36 + 1260
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache")).path


@pytest.fixture
def order(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    for setting in ("tune_process", "tune_thread"):
        monkeypatch.setattr(worker, setting, lambda: None)
    monkeypatch.setattr(embed, "ITERATIONS", 250)
    worker._warm.cache_clear()
    return order_of(SMALL.override({"epochs": 2}), tmp_path, cache)


def finished_run(order: Order, **changes: Any) -> tuple[Outcome, Evidence | None]:
    order = replace(order, **changes)
    outcome = work(order, lambda _: None)
    assert outcome.status == "reached"
    return outcome, read(order.evidence)


def test_a_finished_run_of_an_arm_leaves_evidence_and_says_so(
    order: Order, cache: Path, tmp_path: Path
) -> None:
    outcome, found = finished_run(order)
    data = open_data(cache)
    assert found is not None
    assert found.split == "test"
    assert (found.judged.pred == found.judged.true).mean() == outcome.test_acc
    assert len(found.judged.true) == data.counts["test"]
    assert outcome.num_train == data.counts["train"]
    assert outcome.num_macs > 1000
    assert set(found.wrong.files) <= set(data.files)
    assert [e.layer for e in found.embeddings] == ["middle", "top"]
    assert all(e.points.shape == (400, 2) for e in found.embeddings)
    other = evidence_path(tmp_path, "other")
    again, _ = finished_run(order, folder=tmp_path / "other", evidence=other)
    assert again == outcome, "the same run leaves the same bytes"
    order.evidence.unlink()
    lost, _ = finished_run(order, reported=2)
    assert lost == outcome, "killed before it could tell: the file is made once more"


def test_later_replicates_and_trials(order: Order, tmp_path: Path) -> None:
    outcome, found = finished_run(order, seeds=Seeds(0, 2))
    assert found is not None
    assert found.embeddings == ()
    order.evidence.unlink()
    trial, nothing = finished_run(order, seeds=Seeds(0, 0), test=False, folder=tmp_path / "trial")
    assert nothing is None
    assert outcome.evidence
    assert trial == Outcome(
        status="reached", best_epoch=trial.best_epoch, num_params=trial.num_params
    )


def test_without_a_labelled_test_picture_val_is_judged(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = worker.parts_of
    monkeypatch.setattr(
        worker, "parts_of", lambda *args, **rest: replace(real(*args, **rest), test=None)
    )
    outcome, found = finished_run(order, seeds=Seeds(0, 2))
    assert found is not None
    assert found.split == "val"
    assert outcome.test_acc is None
    assert outcome.evidence


def test_a_layout_that_fails_costs_the_embeddings_alone(
    order: Order, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Any) -> None:
        raise FloatingPointError("did not converge")

    monkeypatch.setattr(embed, "plane", fail)
    with caplog.at_level(logging.WARNING):
        outcome, found = finished_run(order)
    assert found is not None
    assert found.embeddings == ()
    assert len(found.wrong.files) > 0
    assert (outcome.test_acc or 0) > 0
    assert "did not converge" in caplog.text


def test_evidence_that_fails_does_not_fail_the_run(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no such name")

    monkeypatch.setattr(worker, "gather", fail)
    outcome, found = finished_run(order)
    assert found is None
    assert outcome.evidence == ""
    assert outcome.test_acc is not None
    assert outcome.num_macs > 0
    assert outcome.num_train > 0


def test_a_disk_that_takes_no_evidence_is_the_machines_fault(order: Order, tmp_path: Path) -> None:
    (tmp_path / "evidence").touch()
    order = replace(order, seeds=Seeds(0, 2))
    outcome = work(order, lambda _: None)
    assert outcome.status == "machine"
    assert "cannot write evidence" in outcome.error
    (tmp_path / "evidence").unlink()
    assert work(replace(order, reported=2), lambda _: None).status == "reached"


def test_evidence_is_gathered_without_random_numbers_of_the_process(tmp_path: Path) -> None:
    inputs = digits()
    config = SMALL.override({"epochs": 1})
    train(config, inputs, seed=0, folder=tmp_path)
    finished = evaluate_best(config, inputs.val, inputs, seed=0, folder=tmp_path)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    found = gather(finished, split="val", files=["x"] * 160, embed=True)
    assert found.embeddings
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
