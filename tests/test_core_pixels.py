import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as TF

from pipeline.core.augment import Augment
from pipeline.core.pixels import Draws, Pixels, augmented
from pipeline.core.pixels import draw as typed_draw

SIZE = 64
OFF = {"flip": 0.0, "rotation": 0.0, "crop": 0.0, "jitter": 0.0}
PARTS = {"flip": 0.5, "rotation": 10.0, "crop": 0.1, "jitter": 0.1}

draw: Any = typed_draw  # the parts that a test switches on are not None


def photos(n: int, channels: int = 3, size: int = SIZE, detail: int = 9) -> Tensor:
    """Colourful uint8 pictures: noise of `detail` x `detail` cells, enlarged, plus a little fine noise."""
    generator = torch.Generator().manual_seed(n + size + channels)
    coarse = torch.rand(n, channels, detail, detail, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)
    return (smooth + torch.randn(smooth.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


def only(n: int, *, strength: float = 1.0, **parts: float) -> Any:
    return draw(Augment(strength=strength, **(OFF | parts)), seed=1, epoch=1, num_samples=n, size=SIZE)


def pixels(channels: int, **kwargs: Any) -> Pixels:
    return Pixels((0.4,) * channels, (0.25,) * channels, device=torch.device("cpu"), **kwargs)


def boxes(draws: Any) -> list[tuple[int, int, int, int]]:
    """top, left, height, width of draws that crop and nothing else."""
    found = []
    for row in draws.warp.double().tolist():
        width, height = row[0][0] * SIZE, row[1][1] * SIZE
        left, top = ((row[0][2] + 1) * SIZE - width) / 2, ((row[1][2] + 1) * SIZE - height) / 2
        found.append(tuple(round(v) for v in (top, left, height, width)))
    return found


def test_rotation_is_torchvisions() -> None:
    images, draws = photos(32).float(), only(32, rotation=10)
    angles = [math.degrees(math.atan2(row[1][0], row[1][1])) for row in draws.warp.tolist()]
    theirs = [TF.rotate(x, a, InterpolationMode.BILINEAR) for x, a in zip(images, angles, strict=True)]
    assert max(angles) > 7
    assert min(angles) < -7
    torch.testing.assert_close(augmented(images, draws), torch.stack(theirs), atol=0.05, rtol=0)


def test_crop_is_torchvisions_inside_the_border() -> None:
    images, draws = photos(32).float(), only(32, crop=0.1)
    theirs = torch.stack([TF.resized_crop(x, *box, [SIZE, SIZE]) for x, box in zip(images, boxes(draws), strict=True)])
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(augmented(images, draws)[inside], theirs[inside], atol=0.01, rtol=0)


def test_crop_boxes_have_torchvisions_distribution() -> None:
    n = 4000
    ours = np.array(boxes(only(n, crop=0.1)), dtype=float)
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(SIZE, (0.9, 1.0))
    params = [crop.make_params([torch.zeros(3, SIZE, SIZE)]) for _ in range(n)]
    theirs = np.array([[p[key] for key in ("top", "left", "height", "width")] for p in params], dtype=float)
    error = np.hypot(ours.std(0), theirs.std(0)) / math.sqrt(n)
    assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < 4 * error)
    whole = [(boxes[:, 2:] == SIZE).all(1).mean() for boxes in (ours, theirs)]
    assert whole[0] == pytest.approx(whole[1], abs=4 * math.sqrt(2 * 0.1 * 0.9 / n))


def test_crop_stays_inside_and_keeps_its_area() -> None:
    for strength in (1.0, 3.0):
        for top, left, height, width in boxes(only(500, crop=0.3, strength=strength)):
            assert top >= 0
            assert left >= 0
            assert top + height <= SIZE
            assert left + width <= SIZE
            assert height * width >= (1 - 0.3 * strength) * SIZE**2 - SIZE


@pytest.mark.parametrize("part", [{"flip": 0.5}, {"flip": 0.5, "rotation": 1e-9}])
def test_flip_mirrors_about_half_of_the_samples(part: dict[str, float]) -> None:
    images, draws = photos(64).float(), only(64, **part)
    result = augmented(images, draws)
    flipped = [(a - b.flip(2)).abs().max() < 0.01 for a, b in zip(result, images, strict=True)]
    kept = [(a - b).abs().max() < 0.01 for a, b in zip(result, images, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 20 < sum(flipped) < 44


def test_flip_alone_moves_pixels_without_changing_them() -> None:
    images = photos(64)
    result = augmented(images.float(), only(64, flip=0.5)).to(torch.uint8)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(result, images, strict=True))


def test_one_warp_is_flip_then_rotation_then_crop() -> None:
    """On pictures without fine detail, where one interpolation or two make no difference."""
    images = photos(16, detail=4).float()
    both = only(16, flip=0.5, rotation=10, crop=0.1)
    crop = boxes(only(16, crop=0.1))
    flips = only(16, flip=0.5).flip.tolist()
    angles = [math.degrees(math.atan2(w[1][0], w[1][1])) for w in only(16, rotation=10).warp.tolist()]
    assert any(flips)
    theirs = []
    for x, flip, angle, box in zip(images, flips, angles, crop, strict=True):
        x = TF.rotate(x.flip(2) if flip else x, angle, InterpolationMode.BILINEAR)
        theirs.append(TF.resized_crop(x, *box, [SIZE, SIZE]))
    difference = (augmented(images, both) - torch.stack(theirs)).abs()[:, :, 12:-12, 12:-12]
    assert difference.mean() < 0.5
    assert difference.max() < 6


ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


@pytest.mark.parametrize("k", range(4))
def test_each_colour_change_is_torchvisions(k: int) -> None:
    images, colour = photos(32).float(), only(32, jitter=0.1).colour.clone()
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert (colour[:, k] - neutral[k]).abs().max() > 0.05
    colour[:, [j for j in range(4) if j != k]] = neutral[[j for j in range(4) if j != k]]
    theirs = [ADJUST[k](x / 255, float(row[k])) * 255 for x, row in zip(images, colour, strict=True)]
    torch.testing.assert_close(augmented(images, Draws(None, None, colour)), torch.stack(theirs), atol=0.02, rtol=0)


def test_all_colour_changes_are_torchvisions_but_for_clamping() -> None:
    images, draws = photos(32).float(), only(32, jitter=0.1)
    theirs = []
    for x, row in zip(images, draws.colour, strict=True):
        x = x / 255
        for adjust, factor in zip(ADJUST, row.tolist(), strict=True):
            x = adjust(x, factor)
        theirs.append(x * 255)
    difference = (augmented(images, draws) - torch.stack(theirs)).abs()
    assert difference.mean() < 0.3
    assert difference.median() < 0.01
    assert (augmented(images, draws) - images).abs().mean() > 3


def test_grey_pictures_get_brightness_and_contrast_only() -> None:
    images, draws = photos(16, channels=1).float(), only(16, jitter=0.1)
    theirs = []
    for x, (brightness, contrast, _, _) in zip(images, draws.colour.tolist(), strict=True):
        theirs.append(TF.adjust_contrast(TF.adjust_brightness(x.expand(3, -1, -1) / 255, brightness), contrast)[:1] * 255)
    assert (augmented(images, draws) - torch.stack(theirs)).abs().mean() < 0.2


@pytest.mark.parametrize("channels", [1, 3])
def test_every_sample_has_draws_of_its_own(channels: int) -> None:
    same = photos(1, channels).expand(64, -1, -1, -1)
    draws = draw(Augment(strength=1), seed=0, epoch=1, num_samples=64, size=SIZE)
    assert len({x.numpy().tobytes() for x in pixels(channels)(same, draws)}) == 64


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [5, 8, 28, 64])
@pytest.mark.parametrize("kwargs", [{}, {"dtype": torch.bfloat16, "channels_last": True}])
def test_no_batch_split_changes_a_bit(channels: int, size: int, kwargs: dict[str, Any]) -> None:
    n = 21
    images = photos(n, channels, size)
    draws = draw(Augment(strength=1.5), seed=0, epoch=1, num_samples=n, size=size)
    process = pixels(channels, **kwargs)
    whole = process(images, draws)
    for step in (1, 2, 5, 20):
        parts = [process(images[i : i + step], draws.rows(slice(i, i + step))) for i in range(0, n, step)]
        assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert torch.equal(process(images[order], draws.rows(order)), whole[order])


def test_draws_depend_on_seed_and_epoch_and_nothing_else() -> None:
    def warp(**kwargs: int) -> Any:
        return draw(Augment(strength=1), **({"seed": 1, "epoch": 1, "num_samples": 9, "size": 32} | kwargs)).warp

    assert torch.equal(warp(), warp())
    assert torch.equal(warp(num_samples=5), warp()[:5])
    assert not torch.equal(warp(epoch=2), warp())
    assert not torch.equal(warp(seed=2), warp())


def test_a_large_epoch_is_drawn_as_one_table() -> None:
    small = draw(Augment(strength=1, **(OFF | {"rotation": 10})), seed=1, epoch=1, num_samples=100, size=8)
    large = draw(Augment(strength=1, **(OFF | {"rotation": 10})), seed=1, epoch=1, num_samples=70_000, size=8)
    assert torch.equal(large.warp[:100], small.warp)
    assert len(large.warp) == 70_000
    assert not torch.equal(large.warp[65_536:65_636], small.warp)


@pytest.mark.parametrize("off", PARTS)
def test_switching_a_part_off_leaves_the_others_draws_alone(off: str) -> None:
    everything, rest = only(50, **PARTS), only(50, **(PARTS | {off: 0.0}))
    if off == "jitter":
        assert rest.colour is None
        assert torch.equal(rest.warp, everything.warp)
    else:
        assert torch.equal(rest.colour, everything.colour)
        assert not torch.equal(rest.warp, everything.warp)


@pytest.mark.parametrize("augment", [Augment(strength=0), Augment(strength=2, **OFF)])
@pytest.mark.parametrize("channels", [1, 3])
def test_off_is_identity(augment: Augment, channels: int) -> None:
    images = photos(9, channels)
    assert draw(augment, seed=0, epoch=1, num_samples=9, size=SIZE) is None
    blank = Pixels((0.0,) * channels, (1 / 255,) * channels, device=torch.device("cpu"))
    assert torch.equal(blank(images), images.float())


def test_normalisation() -> None:
    images = photos(5)
    result = Pixels((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), device=torch.device("cpu"))(images)
    theirs = TF.normalize(images / 255, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    torch.testing.assert_close(result, theirs, atol=1e-5, rtol=0)


def test_the_source_is_never_written() -> None:
    images = photos(9)
    before = images.clone()
    pixels(3)(images, draw(Augment(strength=1), seed=0, epoch=1, num_samples=9, size=SIZE))
    assert torch.equal(images, before)


def test_layout_and_dtype() -> None:
    out = pixels(3, dtype=torch.bfloat16, channels_last=True)(photos(5))
    assert out.dtype is torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, pixels(3)(photos(5)).to(torch.bfloat16))


def test_strength_scales_every_part() -> None:
    assert Augment(strength=2).amounts() == (0.4, 20.0, 0.2, 0.2)
    assert Augment(strength=3, flip=0.4).amounts().flip == 0.5
    weak, strong = only(200, rotation=10), only(200, rotation=10, strength=2)
    angle = [torch.asin(d.warp[:, 1, 0].double()) for d in (weak, strong)]
    torch.testing.assert_close(angle[1], 2 * angle[0], atol=1e-6, rtol=1e-5)
