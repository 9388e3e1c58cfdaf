from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.core.augmentation.config import Notes
from pipeline.core.augmentation.mixing import mix
from pipeline.core.augmentation.pixels import Pixels, augmented
from pipeline.core.augmentation.pixels import draw as typed_draw

draw: Any = typed_draw  # mixing is on

CLASSES = 5
NOTHING = {"flip": 0.0, "rotation": 0.0, "crop": 0.0, "jitter": 0.0}
KINDS = [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "+".join(kind))


def drawn(n: int, size: int = 32, strength: float = 1.0, seed: int = 1, **alphas: float) -> Any:
    augment = Notes(strength=strength, **(NOTHING | alphas))
    return draw(augment, seed=seed, epoch=1, num_samples=n, size=size)


def batch(n: int, channels: int = 3, size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, channels, size, size, generator=generator)
    return x, torch.randint(CLASSES, (n,), generator=generator)


@every_kind
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 64])
def test_targets_are_shares_that_sum_to_1(kind: dict[str, float], channels: int, size: int) -> None:
    x, labels = batch(64, channels, size)
    mixed, targets = mix(x, labels, drawn(64, size, **kind), CLASSES)
    assert mixed.shape == x.shape
    assert targets.shape == (64, CLASSES)
    assert targets.min() >= 0
    torch.testing.assert_close(targets.sum(1), torch.ones(64), atol=1e-6, rtol=0)
    assert not torch.equal(mixed, x)
    same = labels == labels.roll(1)
    assert torch.equal(targets[same].argmax(1), labels[same])


def test_mixup_is_the_line_between_a_sample_and_the_one_before() -> None:
    x, labels = batch(64)
    draws = drawn(64, mixup=0.4)
    mixed, targets = mix(x, labels, draws, CLASSES)
    for i in range(64):
        share = float(draws.mix[i, 0])
        torch.testing.assert_close(
            mixed[i], share * x[i] + (1 - share) * x[i - 1], atol=1e-5, rtol=0
        )
        expected = torch.zeros(CLASSES)
        expected[labels[i]] += share
        expected[labels[i - 1]] += 1 - share
        torch.testing.assert_close(targets[i], expected)


@pytest.mark.parametrize("size", [8, 28, 64])
def test_cutmix_keeps_exactly_the_share_of_the_area(size: int) -> None:
    n = 200
    ones, labels = torch.ones(n, 1, size, size), torch.arange(n)
    ones[::2] = -1  # every neighbour differs from its sample
    draws = drawn(n, size, cutmix=1.0)
    mixed, targets = mix(ones, labels, draws, n)
    kept = (mixed == ones).double().mean((1, 2, 3))
    assert torch.equal(targets[labels, labels], kept.float())
    assert torch.equal(draws.mix[:, 0], kept.float())
    for picture, box in zip(mixed != ones, draws.mix[:, 2:].int().tolist(), strict=True):
        left, top, right, bottom = box
        assert picture[0, top:bottom, left:right].all()
        assert picture.sum() == (bottom - top) * (right - left)
    assert kept.unique().numel() > 20


def test_cutmix_copies_pixels_without_changing_them() -> None:
    x, labels = batch(32)
    mixed, _ = mix(x, labels, drawn(32, cutmix=1.0), CLASSES)
    assert bool(((mixed == x) | (mixed == x.roll(1, 0))).all())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_beta_distribution(alpha: float) -> None:
    n = 20_000
    share = drawn(n, 8, mixup=alpha).mix[:, 0].double().numpy()
    assert share.mean() == pytest.approx(0.5, abs=0.01)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.04)
    assert drawn(n, 8, mixup=alpha, strength=2).mix[:, 0].var() == pytest.approx(
        1 / (4 * (4 * alpha + 1)), rel=0.04
    )


def test_boxes_have_the_area_that_was_drawn_where_the_border_does_not_cut_them() -> None:
    boxes = drawn(5000, 64, cutmix=1.0).mix[:, 2:].numpy()
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    whole = (boxes[:, :2] > 0).all(1) & (boxes[:, 2:] < 64).all(1)
    assert np.array_equal(width[whole], height[whole])
    assert whole.sum() > 500
    assert boxes.min() == 0
    assert boxes.max() == 64


def test_with_both_on_a_coin_decides_for_every_sample() -> None:
    both, up, cut = (
        drawn(400, **KINDS[2]).mix,
        drawn(400, **KINDS[0]).mix,
        drawn(400, **KINDS[1]).mix,
    )
    as_mixup, as_cutmix = ((both == one).all(1) for one in (up, cut))
    assert bool((as_mixup ^ as_cutmix).all())
    assert 160 < as_mixup.sum() < 240


@every_kind
def test_a_samples_draws_are_its_own_in_any_batch(kind: dict[str, float]) -> None:
    x, labels = batch(12)
    draws = drawn(12, **kind)
    order = torch.tensor([4, 5, 9])
    mixed, targets = mix(x[order], labels[order], draws.rows(order), CLASSES)
    whole, shares = mix(x, labels, draws, CLASSES)
    assert torch.equal(mixed[1], whole[5])
    assert torch.equal(targets[1], shares[5])
    assert torch.equal(drawn(5, **kind).mix, draws.mix[:5])
    assert not torch.equal(drawn(12, **kind, seed=2).mix, draws.mix)


@every_kind
def test_a_lone_sample_is_mixed_with_itself(kind: dict[str, float]) -> None:
    x, labels = batch(1)
    mixed, targets = mix(x, labels, drawn(1, **kind), CLASSES)
    torch.testing.assert_close(mixed, x, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(targets, torch.eye(CLASSES)[labels])


@every_kind
def test_the_input_is_never_written_and_mixing_twice_is_the_same(kind: dict[str, float]) -> None:
    x, labels = batch(16)
    before, draws = (x.clone(), labels.clone()), drawn(16, **kind)
    first, second = mix(x, labels, draws, CLASSES), mix(x, labels, draws, CLASSES)
    assert torch.equal(x, before[0])
    assert torch.equal(labels, before[1])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_is_mixed_can_be_mixed_again() -> None:
    x, labels = batch(16)
    once, shares = mix(x, labels, drawn(16, mixup=0.4), CLASSES)
    twice, targets = mix(once, shares, drawn(16, cutmix=1.0), CLASSES)
    assert not torch.equal(twice, once)
    torch.testing.assert_close(targets.sum(1), torch.ones(16), atol=1e-6, rtol=0)


def test_off_returns_the_very_same() -> None:
    x, labels = batch(4)
    rotation = draw(Notes(strength=1), seed=1, epoch=1, num_samples=4, size=32)
    for draws in (None, rotation):
        result = mix(x, labels, draws, CLASSES)
        assert result[0] is x
        assert result[1] is labels
    assert drawn(4, strength=0, mixup=1.0) is None


@every_kind
def test_mixing_alone_leaves_the_pixels_to_the_last(kind: dict[str, float]) -> None:
    images = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8)
    draws = drawn(6, 8, **kind)
    assert torch.equal(augmented(images.float(), draws), images.float())
    pixels = Pixels((0.4,) * 3, (0.2,) * 3, device=torch.device("cpu"))
    assert torch.equal(pixels(images, draws), pixels(images))


@every_kind
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_dtype_and_layout_stay(kind: dict[str, float], layout: torch.memory_format) -> None:
    x, labels = batch(16)
    x = x.to(torch.bfloat16, memory_format=layout)
    mixed, targets = mix(x, labels, drawn(16, **kind), CLASSES)
    assert mixed.dtype is torch.bfloat16
    assert mixed.is_contiguous(memory_format=layout)
    assert targets.dtype is torch.float32
