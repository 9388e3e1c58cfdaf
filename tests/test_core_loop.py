import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scans import SMALL, digits
from torch.nn.utils import parameters_to_vector

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.core.loop import Diverged, Loop, Watch, shares
from pipeline.core.objective import Objective
from pipeline.core.parallel import Group
from pipeline.core.pictures import Pictures, cut
from pipeline.core.train import Inputs

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("num", "size", "lengths"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (8, 4, [4, 4]),
        (3, 4, [3]),
        (5, 4, [5]),
        (2, 2, [2]),
        (3, 2, [3]),
    ],
)
def test_batches_keep_every_sample_and_none_alone(num: int, size: int, lengths: list[int]) -> None:
    cuts = cut(num, size)
    assert [c.stop - c.start for c in cuts] == lengths
    assert [i for c in cuts for i in range(num)[c]] == list(range(num))


@dataclass
class Run:
    """A loop and the pictures of its epochs."""

    loop: Loop
    pictures: Pictures

    @property
    def vector(self) -> torch.Tensor:
        return parameters_to_vector(self.loop.params).detach().clone()

    def epoch(self, number: int) -> dict[str, float]:
        num_steps = len(self.loop.cuts(len(self.pictures)))
        return self.loop.run_epoch(number, self.pictures, num_steps, [])


def loop(config: TrainConfig, inputs: Inputs) -> Run:
    torch.manual_seed(0)
    model = config.model.build(1, 8, 10)
    pixels = Pixels(inputs.mean, inputs.std, device=CPU)
    objective = Objective(config, model, model, pixels, dtype=torch.float32)
    made = Loop(config, model, config.optimizer.build(model), objective, pixels, 10, 0)
    return Run(made, Pictures(inputs.train, CPU))


@pytest.mark.parametrize(("clip", "expected"), [(1e-3, 1e-3), (1e-2, 1e-2), (0, None), (1e6, None)])
def test_clipping_bounds_the_step(clip: float, expected: float | None) -> None:
    knobs = {
        "optimizer.name": "sgd",
        "optimizer.lr": 1.0,
        "optimizer.momentum": 0.0,
        "batch_size": 4096,
    }
    moved = {}
    for bound in (clip, 0):
        run = loop(SMALL.override(knobs | {"clip_norm": bound}), digits())
        before = run.vector
        run.epoch(1)
        moved[bound] = (run.vector - before).norm().item()
    assert moved[clip] == pytest.approx(expected or moved[0], rel=1e-3)
    assert moved[0] > 0.1


def test_augmentation_reaches_the_network_and_off_is_off() -> None:
    def vector(strength: float, **fields: float) -> torch.Tensor:
        augment = {"strength": strength} | fields
        run = loop(SMALL.override({f"augment.{k}": v for k, v in augment.items()}), digits())
        run.epoch(1)
        return run.vector

    off = {"flip": 0.0, "rotation": 0.0, "crop": 0.0, "jitter": 0.0}
    assert torch.equal(vector(0.0), vector(2.0, **off))
    assert not torch.equal(vector(0.0), vector(1.0))


def test_a_gradient_that_is_not_finite_ends_the_epoch_at_its_step() -> None:
    run = loop(SMALL, digits())
    list(run.loop.model.parameters())[-1].register_hook(lambda g: g * float("nan"))  # type: ignore[no-untyped-call]
    with pytest.raises(Diverged) as error:
        run.epoch(4)
    assert (error.value.epoch, error.value.step, error.value.what) == (4, 1, "gradient norm")


@pytest.mark.parametrize("clip", [1e-3, 0.5, 1e6])
def test_the_gradient_norm_of_an_epoch_is_the_mean_of_its_steps_before_clipping(
    clip: float,
) -> None:
    run = loop(SMALL.override({"clip_norm": clip}), digits())
    seen: list[float] = []
    norm = run.loop._clip

    def watched() -> torch.Tensor:
        squares = [p.grad.double().square().sum() for p in run.loop.params if p.grad is not None]
        seen.append(torch.stack(squares).sum().sqrt().item())
        return norm()

    run.loop._clip = watched  # type: ignore[method-assign]
    told = run.epoch(1)
    assert len(seen) == 4
    assert told["grad_norm"] == pytest.approx(sum(seen) / 4, rel=1e-5)
    assert loop(SMALL.override({"clip_norm": 0.0}), digits()).epoch(1).keys() == {"lr"}


def test_values_kept_on_the_device_are_checked_at_the_end_of_the_epoch() -> None:
    watch = Watch(3, 4, torch.device("meta"))
    watch.seen = {"train_loss": torch.tensor([1.0, 2.0, float("nan"), float("inf")])}
    with pytest.raises(Diverged) as error:
        watch.check()
    assert (error.value.epoch, error.value.step) == (3, 3)
    watch.seen = {"train_loss": torch.ones(4)}
    watch.check()


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Diverged(3, 7, "train_loss")))
    assert (error.epoch, error.step, error.what) == (3, 7, "train_loss")


def test_pictures_are_copies_in_the_order_asked_for() -> None:
    inputs = digits()
    pictures = Pictures(inputs.train, CPU)
    order = np.random.default_rng(1).permutation(len(inputs.train))
    for positions, images, labels in pictures.batches(order, cut(len(order), 32)):
        rows = inputs.train.index[positions.numpy()]
        assert np.array_equal(images.numpy(), inputs.train.images[rows])
        assert np.array_equal(labels.numpy(), inputs.train.labels[rows])
        images += 1  # would raise or show below if this were the source
    assert np.array_equal(inputs.train.images, digits().train.images)


@pytest.mark.parametrize("accumulate", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("num", [6, 7, 16, 31, 64])
def test_a_batch_is_shared_out_whole_and_evenly(num: int, size: int, accumulate: int) -> None:
    parts = [part for rank in range(size) for part in shares(num, accumulate, Group(rank, size))]
    assert [i for part in parts for i in range(num)[part]] == list(range(num))
    lengths = [part.stop - part.start for part in parts]
    assert min(lengths) >= 2
    assert max(lengths) - min(lengths) <= 1
    assert len({len(shares(num, accumulate, Group(rank, size))) for rank in range(size)}) == 1


@pytest.mark.parametrize("accumulate", [2, 3, 7])
def test_accumulated_gradients_are_those_of_the_whole_batch(accumulate: int) -> None:
    """Without batch norm, whose statistics are those of a part; on float64 the sums differ by
    rounding alone.
    """
    knobs: dict[str, Any] = {
        "model.norm": "none",
        "optimizer.name": "sgd",
        "batch_size": 30,
        "augment.strength": 1.0,
    }
    vectors = []
    for parts in (1, accumulate):
        run = loop(SMALL.override(knobs | {"accumulate": parts}), digits())
        run.epoch(1)
        vectors.append(run.vector)
    assert torch.allclose(*vectors, atol=2e-6)
    assert not torch.equal(vectors[0], loop(SMALL.override(knobs), digits()).vector)
