import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as TF

from pipeline.core.augmentation import operations
from pipeline.core.augmentation.config import Notes, Policy, Rand, Trivial
from pipeline.core.augmentation.pixels import IMAGENET, Draws, Pixels, augmented, imagenet
from pipeline.core.augmentation.pixels import draw as typed_draw
from pipeline.core.augmentation.warp import resample

SIZE = 64
OFF = {"flip": 0.0, "rotation": 0.0, "crop": 0.0, "jitter": 0.0}
PARTS = {"flip": 0.5, "rotation": 10.0, "crop": 0.1, "jitter": 0.1}

draw: Any = typed_draw  # the parts that a test switches on are not None


def photos(n: int, channels: int = 3, size: int = SIZE, detail: int = 9) -> Tensor:
    """Colourful uint8 pictures: noise of `detail` x `detail` cells, enlarged, plus a little fine
    noise.
    """
    generator = torch.Generator().manual_seed(n + size + channels)
    coarse = torch.rand(n, channels, detail, detail, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(
        coarse, (size, size), mode="bicubic", align_corners=False
    )
    return (smooth + torch.randn(smooth.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


def only(n: int, *, strength: float = 1.0, **parts: float) -> Any:
    return draw(
        Notes(strength=strength, **(OFF | parts)), seed=1, epoch=1, num_samples=n, size=SIZE
    )


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
    theirs = [
        TF.rotate(x, a, InterpolationMode.BILINEAR) for x, a in zip(images, angles, strict=True)
    ]
    assert max(angles) > 7
    assert min(angles) < -7
    torch.testing.assert_close(augmented(images, draws), torch.stack(theirs), atol=0.05, rtol=0)


def test_crop_is_torchvisions_inside_the_border() -> None:
    images, draws = photos(32).float(), only(32, crop=0.1)
    theirs = torch.stack(
        [
            TF.resized_crop(x, *box, [SIZE, SIZE])
            for x, box in zip(images, boxes(draws), strict=True)
        ]
    )
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(augmented(images, draws)[inside], theirs[inside], atol=0.01, rtol=0)


def test_crop_boxes_have_torchvisions_distribution() -> None:
    n = 4000
    ours = np.array(boxes(only(n, crop=0.1)), dtype=float)
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(SIZE, (0.9, 1.0))
    params = [crop.make_params([torch.zeros(3, SIZE, SIZE)]) for _ in range(n)]
    theirs = np.array(
        [[p[key] for key in ("top", "left", "height", "width")] for p in params], dtype=float
    )
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
    assert all(
        torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(result, images, strict=True)
    )


def test_one_warp_is_flip_then_rotation_then_crop() -> None:
    """On pictures without fine detail, where one interpolation or two make no difference."""
    images = photos(16, detail=4).float()
    both = only(16, flip=0.5, rotation=10, crop=0.1)
    crop = boxes(only(16, crop=0.1))
    flips = only(16, flip=0.5).flip.tolist()
    angles = [
        math.degrees(math.atan2(w[1][0], w[1][1])) for w in only(16, rotation=10).warp.tolist()
    ]
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
    theirs = [
        ADJUST[k](x / 255, float(row[k])) * 255 for x, row in zip(images, colour, strict=True)
    ]
    torch.testing.assert_close(
        augmented(images, Draws(colour=colour)), torch.stack(theirs), atol=0.02, rtol=0
    )


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
        theirs.append(
            TF.adjust_contrast(
                TF.adjust_brightness(x.expand(3, -1, -1) / 255, brightness), contrast
            )[:1]
            * 255
        )
    assert (augmented(images, draws) - torch.stack(theirs)).abs().mean() < 0.2


@pytest.mark.parametrize("channels", [1, 3])
def test_every_sample_has_draws_of_its_own(channels: int) -> None:
    same = photos(1, channels).expand(64, -1, -1, -1)
    draws = draw(Notes(strength=1), seed=0, epoch=1, num_samples=64, size=SIZE)
    assert len({x.numpy().tobytes() for x in pixels(channels)(same, draws)}) == 64


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [5, 8, 28, 64])
@pytest.mark.parametrize("kwargs", [{}, {"dtype": torch.bfloat16, "channels_last": True}])
def test_no_batch_split_changes_a_bit(channels: int, size: int, kwargs: dict[str, Any]) -> None:
    n = 21
    images = photos(n, channels, size)
    draws = draw(Notes(strength=1.5), seed=0, epoch=1, num_samples=n, size=size)
    process = pixels(channels, **kwargs)
    whole = process(images, draws)
    for step in (1, 2, 5, 20):
        parts = [
            process(images[i : i + step], draws.rows(slice(i, i + step))) for i in range(0, n, step)
        ]
        assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert torch.equal(process(images[order], draws.rows(order)), whole[order])


def test_draws_depend_on_seed_and_epoch_and_nothing_else() -> None:
    def warp(**kwargs: int) -> Any:
        return draw(
            Notes(strength=1), **({"seed": 1, "epoch": 1, "num_samples": 9, "size": 32} | kwargs)
        ).warp

    assert torch.equal(warp(), warp())
    assert torch.equal(warp(num_samples=5), warp()[:5])
    assert not torch.equal(warp(epoch=2), warp())
    assert not torch.equal(warp(seed=2), warp())


def test_a_large_epoch_is_drawn_as_one_table() -> None:
    small = draw(
        Notes(strength=1, **(OFF | {"rotation": 10})), seed=1, epoch=1, num_samples=100, size=8
    )
    large = draw(
        Notes(strength=1, **(OFF | {"rotation": 10})), seed=1, epoch=1, num_samples=70_000, size=8
    )
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


@pytest.mark.parametrize("augment", [Notes(strength=0), Notes(strength=2, **OFF)])
@pytest.mark.parametrize("channels", [1, 3])
def test_off_is_identity(augment: Notes, channels: int) -> None:
    images = photos(9, channels)
    assert draw(augment, seed=0, epoch=1, num_samples=9, size=SIZE) is None
    blank = Pixels((0.0,) * channels, (1 / 255,) * channels, device=torch.device("cpu"))
    assert torch.equal(blank(images), images.float())


def test_imagenets_numbers_are_torchvisions_and_grey_gets_their_mean() -> None:
    weights = ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert imagenet(3) == IMAGENET == (tuple(weights.mean), tuple(weights.std))
    assert imagenet(1) == (pytest.approx((0.449,)), pytest.approx((0.226,)))


def test_normalisation() -> None:
    images = photos(5)
    result = Pixels((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), device=torch.device("cpu"))(images)
    theirs = TF.normalize(images / 255, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    torch.testing.assert_close(result, theirs, atol=1e-5, rtol=0)


def test_the_source_is_never_written() -> None:
    images = photos(9)
    before = images.clone()
    pixels(3)(images, draw(Notes(strength=1), seed=0, epoch=1, num_samples=9, size=SIZE))
    assert torch.equal(images, before)


def test_layout_and_dtype() -> None:
    out = pixels(3, dtype=torch.bfloat16, channels_last=True)(photos(5))
    assert out.dtype is torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, pixels(3)(photos(5)).to(torch.bfloat16))


def test_strength_scales_every_part() -> None:
    assert Notes(strength=2).amounts()[:4] == (0.4, 20.0, 0.2, 0.2)
    assert not any(Notes(strength=2).amounts()[4:])
    assert Notes(strength=3, flip=0.4).amounts().flip == 0.5
    weak, strong = only(200, rotation=10), only(200, rotation=10, strength=2)
    angle = [torch.asin(d.warp[:, 1, 0].double()) for d in (weak, strong)]
    torch.testing.assert_close(angle[1], 2 * angle[0], atol=1e-6, rtol=1e-5)


def affine(images: Tensor, **given: Any) -> Tensor:
    """torchvision's, with arguments of its own for every picture."""
    neutral = {"angle": [0.0], "translate": [[0.0, 0.0]], "scale": [1.0], "shear": [[0.0, 0.0]]}
    made = []
    for i, x in enumerate(images):
        own = {key: (given.get(key, neutral[key]) * len(images))[i] for key in neutral}
        made.append(TF.affine(x, **own, interpolation=InterpolationMode.BILINEAR))
    return torch.stack(made)


def test_shear_zoom_and_shift_are_torchvisions_affine() -> None:
    images = photos(16).float()
    shear = only(16, shear=20).warp.double()
    degrees = torch.rad2deg(torch.atan(torch.stack([shear[:, 0, 1], shear[:, 1, 0]], 1))).tolist()
    zoom = (1 / only(16, scale=0.3).warp[:, 0, 0].double()).tolist()
    shift = (-only(16, translate=0.2).warp[:, :, 2].double() * SIZE / 2).tolist()
    assert max(abs(v) for row in degrees for v in row) > 15
    assert max(zoom) > 1.2
    assert min(zoom) < 0.8
    assert max(abs(v) for row in shift for v in row) > 0.15 * SIZE
    for theirs, parts in (
        (affine(images, shear=degrees), {"shear": 20}),
        (affine(images, scale=zoom), {"scale": 0.3}),
        (affine(images, translate=shift), {"translate": 0.2}),
        (
            affine(images, shear=degrees, scale=zoom, translate=shift),
            {"shear": 20, "scale": 0.3, "translate": 0.2},
        ),
    ):
        ours = augmented(images, only(16, **parts))
        torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0)
        assert (ours - images).abs().mean() > 3


def test_padded_crop_moves_whole_pixels_and_fills_with_black() -> None:
    images, draws = photos(64).float(), only(64, pad_crop=0.125)
    shift = (-draws.warp[:, :, 2] * SIZE / 2).round().int()
    assert set(shift.flatten().tolist()) == set(range(-8, 9))
    for ours, x, (right, down) in zip(
        augmented(images, draws), images, shift.tolist(), strict=True
    ):
        padded = torch.nn.functional.pad(x, (8, 8, 8, 8))
        theirs = TF.crop(padded, 8 - down, 8 - right, SIZE, SIZE)
        torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0)


@pytest.mark.parametrize("warped", [{}, {"rotation": 1e-9}])
def test_vertical_flip_is_torchvisions(warped: dict[str, float]) -> None:
    images = photos(64).float()
    upend = only(64, flip_vertical=0.5).upend.tolist()
    assert 20 < sum(upend) < 44
    theirs = torch.stack(
        [TF.vertical_flip(x) if up else x for x, up in zip(images, upend, strict=True)]
    )
    torch.testing.assert_close(
        augmented(images, only(64, flip_vertical=0.5, **warped)), theirs, atol=0.01, rtol=0
    )


def test_grayscale_is_torchvisions() -> None:
    images, draws = photos(64).float(), only(64, grayscale=0.5)
    ours, grey = augmented(images, draws), TF.rgb_to_grayscale(images, 3)
    lost = draws.colour[:, 2] == 0
    assert 20 < lost.sum() < 44
    torch.testing.assert_close(ours[lost], grey[lost], atol=0.01, rtol=0)
    assert torch.equal(ours[~lost], images[~lost])


def test_jitter_leaves_grey_samples_grey() -> None:
    result = augmented(photos(16).float(), only(16, grayscale=1.0, jitter=0.3))
    assert (result.amax(1) - result.amin(1)).max() < 1e-3


def test_blur_is_torchvisions() -> None:
    images, draws = photos(32).float(), only(32, blur=0.03)
    taps = draws.blur.shape[1]
    sigmas = (-0.5 / (draws.blur[:, 1] / draws.blur[:, 0]).double().log()).sqrt().clamp(min=0.05)
    theirs = [
        TF.gaussian_blur(x, [2 * taps - 1] * 2, [s, s])
        for x, s in zip(images, sigmas.tolist(), strict=True)
    ]
    assert 1.5 < sigmas.max() <= 0.03 * SIZE
    torch.testing.assert_close(augmented(images, draws), torch.stack(theirs), atol=0.05, rtol=0)


def test_noise_is_gaussian_of_the_drawn_deviation() -> None:
    grey = torch.full((64, 3, SIZE, SIZE), 128.0)
    draws = only(64, noise=0.1)
    grain = (augmented(grey, draws) - grey) / 255
    torch.testing.assert_close(grain.std((1, 2, 3)), draws.noise[:, 0], atol=0, rtol=0.05)
    assert grain.mean((1, 2, 3)).abs().max() < 0.005
    share = (grain.abs() < draws.noise[:, 0, None, None, None]).float().mean()
    assert share == pytest.approx(0.6827, abs=0.01)
    assert draws.noise[:, 0].max() > 0.09
    channels = grain.flatten(2)
    assert (channels[:, 0] * channels[:, 1]).mean(1).abs().max() < 0.001


def test_salt_and_pepper_hits_the_drawn_share_of_pixels_half_black_half_white() -> None:
    grey = torch.full((64, 3, SIZE, SIZE), 128.0)
    draws = only(64, salt_pepper=0.2)
    result = augmented(grey, draws)
    assert torch.equal(result[:, 0], result[:, 1])
    for value in (0, 255):
        share = (result[:, 0] == value).float().mean((1, 2))
        torch.testing.assert_close(share, draws.salt[:, 0] / 2, atol=0.02, rtol=0)
    assert set(result.unique().tolist()) == {0.0, 128.0, 255.0}


def test_erasing_is_torchvisions() -> None:
    images, draws = photos(64).float(), only(64, erasing=0.5)
    result = augmented(images, draws)
    hit = 0
    for ours, x, (left, top, right, bottom) in zip(
        result, images, draws.erase.int().tolist(), strict=True
    ):
        theirs = (
            TF.erase(x, top, left, bottom - top, right - left, torch.zeros(1))
            if right > left
            else x
        )
        assert torch.equal(ours, theirs)
        hit += right > left
    assert 20 < hit < 44


def test_erased_boxes_have_torchvisions_distribution() -> None:
    n = 4000
    ours = only(n, erasing=1.0).erase.double().numpy()
    ours = np.column_stack([ours[:, :2], ours[:, 2:] - ours[:, :2]])
    torch.manual_seed(0)
    erasing = v2.RandomErasing(p=1.0)
    params = [erasing.make_params([torch.zeros(3, SIZE, SIZE)]) for _ in range(n)]
    theirs = np.array([[p[key] for key in ("j", "i", "w", "h")] for p in params], dtype=float)
    # their ratio is height to width, ours width to height: the same but for .3 not being 1 / 3.3
    error = np.hypot(ours.std(0), theirs.std(0)) / math.sqrt(n)
    assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < 4 * error)


FACTOR = {
    "brightness": TF.adjust_brightness,
    "contrast": TF.adjust_contrast,
    "saturation": TF.adjust_saturation,
}


@pytest.mark.parametrize("name", [*FACTOR, "sharpness"])
@pytest.mark.parametrize("channels", [1, 3])
def test_picked_blends_are_torchvisions(name: str, channels: int) -> None:
    images, factor = photos(16, channels).float(), torch.linspace(0.01, 1.99, 16)
    adjust = TF.adjust_sharpness if name == "sharpness" else FACTOR[name]
    theirs = torch.stack(
        [adjust(x / 255, float(f)) * 255 for x, f in zip(images, factor, strict=True)]
    )
    ours = operations.COLOURS[name](images, factor[:, None, None, None])
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)


@pytest.mark.parametrize("bits", range(2, 9))
def test_posterize_is_torchvisions(bits: int) -> None:
    images = photos(16)
    ours = operations.posterize(images.float(), torch.full((16, 1, 1, 1), 2.0 ** (8 - bits)))
    assert torch.equal(ours.to(torch.uint8), TF.posterize(images, bits))


@pytest.mark.parametrize("threshold", [0.0, 100.0, 200.0, 256.0])
def test_solarize_is_torchvisions(threshold: float) -> None:
    images = photos(16)
    ours = operations.solarize(images.float(), torch.full((16, 1, 1, 1), threshold))
    assert torch.equal(
        ours.to(torch.uint8), images if threshold > 255 else TF.solarize(images, threshold)
    )


def plain_and_odd() -> Tensor:
    """Photos, a picture of one colour, one of two, and one of a narrow range."""
    odd = torch.stack(
        [torch.full((3, SIZE, SIZE), 77), torch.arange(SIZE).remainder(2).expand(3, SIZE, SIZE) * 9]
    )
    return torch.cat([photos(8), odd.to(torch.uint8), photos(4) // 8 + 100])


def test_autocontrast_is_torchvisions() -> None:
    images = plain_and_odd()
    ours = operations.autocontrast(images.float(), torch.zeros(1))
    torch.testing.assert_close(ours, TF.autocontrast(images / 255) * 255, atol=0.01, rtol=0)


def test_equalize_is_torchvisions() -> None:
    images = plain_and_odd()
    ours = operations.equalize(images.float(), torch.zeros(1))
    assert torch.equal(ours.to(torch.uint8), TF.equalize(images))
    assert not torch.equal(ours, images.float())


WIDE = Trivial(strength=1).policy()
SMALL = Rand(strength=1, magnitude=15).policy()


@pytest.mark.parametrize("policy", [WIDE, SMALL])
@pytest.mark.parametrize("name", operations.GEOMETRY)
def test_picked_geometry_is_torchvisions(name: str, policy: Policy) -> None:
    images, u = photos(16).float(), np.random.default_rng(0).random((16, 4))
    u[:, 0] = (operations.NAMES.index(name) + 0.5) / len(operations.NAMES)
    _, arguments, moves = operations.pick(u, policy, SIZE)
    level = (arguments - 1) / policy.enhance
    assert level.min() < 0 < level.max()
    theirs = []
    for x, amount in zip(images, level.tolist(), strict=True):
        given: dict[str, Any] = {
            "angle": 0.0,
            "translate": [0, 0],
            "scale": 1.0,
            "shear": [0.0, 0.0],
        }
        k = int(name.endswith("_y"))
        if name.startswith("shear"):
            given["shear"][k] = math.degrees(math.atan(amount * policy.shear))
        elif name.startswith("translate"):
            given["translate"][k] = int(
                amount * min(policy.translate[0] * SIZE, policy.translate[1])
            )
        else:
            given["angle"] = -amount * policy.rotation  # `affine` turns clockwise
        corner = [0.0, 0.0] if name.startswith("shear") else None
        theirs.append(
            TF.affine(x, **given, interpolation=InterpolationMode.BILINEAR, center=corner)
        )
    ours = resample(images, torch.from_numpy(moves[:, :2].astype(np.float32)))
    torch.testing.assert_close(ours, torch.stack(theirs), atol=0.1, rtol=0)


def test_every_operation_is_picked_as_often_and_at_every_level() -> None:
    n = 20_000
    draws = draw(Trivial(strength=1), seed=0, epoch=1, num_samples=n, size=32)
    u = np.random.default_rng(0).random((n, 4))
    codes, arguments, moves = operations.pick(u, WIDE, 32)
    assert np.bincount(codes, minlength=14).min() > n / 14 * 0.9
    assert draws.codes.shape == (n, 1)
    assert np.bincount(draws.codes[:, 0], minlength=14).min() > n / 14 * 0.9
    rotated = codes == operations.NAMES.index("rotate")
    angles = np.degrees(np.arctan2(moves[rotated, 1, 0], moves[rotated, 0, 0]))
    assert set(np.round(angles / 4.5).astype(int)) == set(range(-30, 31))
    assert abs(angles).max() == pytest.approx(135)
    for name, values in {
        "posterize": {2.0**k for k in range(7)},
        "solarize": {256 * (1 - k / 30) for k in range(31)},
    }.items():
        assert set(np.round(arguments[codes == operations.NAMES.index(name)], 6)) == {
            round(v, 6) for v in values
        }


def test_rand_has_one_level_and_slots_of_its_own() -> None:
    def drawn(num_ops: int) -> Any:
        return draw(
            Rand(strength=1, num_ops=num_ops, magnitude=15),
            seed=0,
            epoch=1,
            num_samples=500,
            size=32,
        )

    two, three = drawn(2), drawn(3)
    assert torch.equal(two.codes, three.codes[:, :2])
    assert not torch.equal(three.codes[:, 1], three.codes[:, 2])
    bright = two.arguments[two.codes == operations.NAMES.index("brightness")]
    torch.testing.assert_close(bright.unique(), torch.tensor([0.55, 1.45]))
    assert two.arguments[two.codes == operations.NAMES.index("posterize")].unique().tolist() == [
        4.0
    ]
    assert two.arguments[two.codes == operations.NAMES.index("solarize")].unique().tolist() == [
        128.0
    ]


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_operations_without_a_level_fade_with_the_strength(name: str) -> None:
    u = np.random.default_rng(0).random((2000, 4))
    u[:, 0] = (operations.NAMES.index(name) + 0.5) / len(operations.NAMES)
    for strength in (0.25, 1.0, 2.0):
        codes, _, _ = operations.pick(u, Rand(strength=strength).policy(), 32)
        assert (codes > 0).mean() == pytest.approx(min(1, strength), abs=0.04)


def test_picked_operations_come_in_the_order_of_their_columns() -> None:
    images = photos(4).float()
    posterize, brightness = (
        operations.NAMES.index("posterize"),
        operations.NAMES.index("brightness"),
    )
    codes = torch.tensor([[posterize, brightness], [brightness, posterize], [0, 0], [0, posterize]])
    arguments = torch.tensor([[64.0, 1.3], [1.3, 64.0], [9.0, 9.0], [1.0, 64.0]])
    ours = operations.operated(images, codes, arguments)
    bright, coarse = (images * 1.3).clamp(0, 255), (images / 64).floor() * 64
    theirs = [
        (coarse[0] * 1.3).clamp(0, 255),
        (bright[1].round() / 64).floor() * 64,
        images[2],
        coarse[3],
    ]
    torch.testing.assert_close(ours, torch.stack(theirs), atol=1e-3, rtol=0)
    assert torch.equal(images, photos(4).float())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_way_of_a_gpu_gives_the_same_bits(channels: int) -> None:
    images, draws = (
        photos(60, channels).float(),
        draw(Trivial(strength=1), seed=0, epoch=1, num_samples=60, size=SIZE),
    )
    given = images, draws.codes[:, 0], draws.arguments[:, 0, None, None, None]
    assert set(draws.codes[:, 0].tolist()) == set(range(len(operations.NAMES)))
    assert torch.equal(operations.masked(*given), operations.grouped(*given))
