"""Memory that does not suffice, as torch itself says it: what is judged is the same however it is
cut.
"""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scans import SMALL, digits
from torch import Tensor, nn

from pipeline.core import memory
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.evaluate import BATCH, Answers, evaluate, predict
from pipeline.core.finished.compress import compress
from pipeline.core.finished.embed import activations
from pipeline.core.finished.final import Final, Int8Static
from pipeline.core.finished.finish import evaluate_views, finish
from pipeline.core.finished.robust import robust_acc
from pipeline.core.memory import DoesNotFit, in_parts, joined, out_of_memory
from pipeline.core.pictures import Pictures
from pipeline.core.regularize import Attack

CPU = torch.device("cpu")
CONFIG = SMALL.override({"augment.strength": 1.0})


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """A process that has learnt nothing, with little garbage to look through."""
    memory._fits.clear()
    gc.freeze()
    yield
    gc.unfreeze()
    memory._fits.clear()


@pytest.fixture
def parts() -> tuple[nn.Module, Pictures, Pixels]:
    inputs = digits()
    torch.manual_seed(0)
    pixels = Pixels(inputs.mean, inputs.std, device=CPU)
    return CONFIG.model.build(1, 8, 10).eval(), Pictures(inputs.train, CPU), pixels


class Short:
    """A device on which forward passes of more than `most` pictures do not fit; keeps the sizes
    of all that were tried.
    """

    def __init__(self, model: nn.Module, most: int) -> None:
        self.most, self.tried = most, list[int]()
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        self.hook = layers[-1].register_forward_hook(self)  # at the end: something is held by then

    def __deepcopy__(self, _: object) -> "Short":
        return self  # a copy of the network is on the same device

    def __call__(self, _layer: nn.Module, args: tuple[Tensor], _out: Tensor) -> None:
        self.tried.append(len(args[0]))
        if len(args[0]) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def test_what_says_that_memory_ran_out() -> None:
    assert out_of_memory(torch.OutOfMemoryError("whatever"))
    with pytest.raises(RuntimeError) as caught:  # of torch's allocator for CPUs
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("out of memory"))


def test_rows_come_in_their_order_and_what_fitted_holds_from_there_on() -> None:
    sizes: list[int] = []

    def compute(x: Tensor, y: Tensor) -> Tensor:
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("no")
        return x + y

    x = torch.arange(13)
    assert joined(in_parts(compute, x, 2 * x)).tolist() == (3 * x).tolist()
    assert sizes == [13, 6, 3, 3, 3, 3, 1]
    sizes.clear()
    assert joined(in_parts(compute, x[:7], x[:7])).tolist() == (2 * x[:7]).tolist()
    assert sizes == [3, 3, 1]
    whole = in_parts(lambda one: one, x[:2])
    assert len(whole) == 1
    assert joined(whole) is whole[0], "not copied where all has fitted"


def test_a_single_row_that_does_not_fit_is_said_and_other_errors_pass() -> None:
    def never(_: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def wrong(_: Tensor) -> Tensor:
        raise RuntimeError("shapes")

    with pytest.raises(DoesNotFit, match="can't allocate memory"):
        in_parts(never, torch.zeros(8))
    assert not memory._fits, "the next network may be smaller"
    with pytest.raises(RuntimeError, match="shapes"):
        in_parts(wrong, torch.zeros(8))
    assert not memory._fits


def test_nothing_of_what_did_not_fit_stays_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Tensor]] = []
    freed: list[bool] = []

    def compute(x: Tensor) -> Tensor:
        y = x * 2
        held.append(weakref.ref(y))
        if len(x) > 5:
            raise torch.OutOfMemoryError("no")
        return y.sum()

    monkeypatch.setattr(memory, "free", lambda: freed.append(all(one() is None for one in held)))
    gc.disable()
    try:
        in_parts(compute, torch.zeros(20, 3, 7))
    finally:
        gc.enable()
    assert freed == [True, True], "by the time that the device is told to give it back"


Judge = Callable[[nn.Module, Pictures, Pixels], Any]


def _evaluated(model: nn.Module, pictures: Pictures, pixels: Pixels) -> Any:
    answers = Answers(of_all=True)
    found = evaluate(model, pictures, pixels, dtype=torch.float32, answers=answers)
    return *found, answers.judged().pred, answers.probabilities()


def _views(model: nn.Module, pictures: Pictures, pixels: Pixels) -> Any:
    config = CONFIG.model_copy(update={"final": Final(tta=2)})
    answers = Answers(of_all=True)
    found = evaluate_views(config, model, pictures, pixels, seed=3, answers=answers)
    return *found, answers.judged().pred, answers.probabilities()


def _int8(model: nn.Module, pictures: Pictures, pixels: Pixels) -> Any:
    every = (pixels(images) for _, images, _ in pictures.batches(np.arange(100), [slice(0, 100)]))
    small = compress(Int8Static(num_calibration=100), model, every)
    return (predict(small, pictures, pixels, dtype=torch.float32).numpy(),)


def _finished(model: nn.Module, pictures: Pictures, pixels: Pixels) -> Any:
    config = CONFIG.model_copy(update={"final": Final(compress=Int8Static(), tta=1)})
    found = finish(config, model, pictures, pictures, pixels, seed=0)
    return found.facts["loss"], found.facts["plain_loss"], found.judged.pred


def _robust(model: nn.Module, pictures: Pictures, pixels: Pixels) -> Any:
    how = Attack(epsilon=0.05, alpha=0.02, steps=2)
    return (robust_acc(how, model, pictures, pixels, seed=5),)


def _layers(model: nn.Module, pictures: Pictures, pixels: Pixels) -> Any:
    return tuple(activations(model, pictures, pixels, np.arange(len(pictures))).values())


@pytest.mark.parametrize("judge", [_evaluated, _views, _int8, _finished, _robust, _layers])
@pytest.mark.parametrize("most", [9, 2])
def test_a_verdict_does_not_depend_on_what_fits(
    parts: tuple[nn.Module, Pictures, Pixels], judge: Judge, most: int
) -> None:
    model, pictures, pixels = parts
    expected = judge(model, pictures, pixels)
    assert not memory._fits
    short = Short(model, most)
    found = judge(model, pictures, pixels)
    assert max(short.tried) >= BATCH["cpu"] > most >= memory._fits["cpu"]
    assert sum(size > most for size in short.tried) <= 6, "what fits is learnt once"
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=1e-6)
    again = judge(model, pictures, pixels)
    for one, other in zip(again, found, strict=True):
        assert np.array_equal(one, other), "and the same each time"


def test_the_random_start_of_an_attack_does_not_depend_on_what_fits(
    parts: tuple[nn.Module, Pictures, Pixels],
) -> None:
    """With a step of next to nothing the start is all that the attack does: the seed decides."""
    _, pictures, pixels = parts
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    pictures.labels = predict(model, pictures, pixels, dtype=torch.float32).argmax(1)
    how = Attack(epsilon=0.3, alpha=1e-6, steps=1)
    found = {seed: robust_acc(how, model, pictures, pixels, seed=seed) for seed in range(6)}
    assert len(set(found.values())) > 1
    Short(model, 7)
    for seed, acc in found.items():
        assert robust_acc(how, model, pictures, pixels, seed=seed) == acc


def test_one_picture_that_does_not_fit_is_said(parts: tuple[nn.Module, Pictures, Pixels]) -> None:
    Short(parts[0], 0)
    with pytest.raises(DoesNotFit, match="out of memory"):
        evaluate(*parts, dtype=torch.float32)
