"""The contract of augmentation: every named set, and every operation alone."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.core.augmentation.boxes import first_that_fits
from pipeline.core.augmentation.config import (
    AUGMENTS,
    LIMITS,
    Amounts,
    Augmentation,
    Notes,
    Rand,
    Trivial,
)
from pipeline.core.augmentation.draws import JUMPS
from pipeline.core.augmentation.pixels import Draws, Pixels, augmented
from pipeline.core.augmentation.pixels import draw as typed_draw
from pipeline.core.config import TrainConfig
from pipeline.errors import UserError

draw: Any = typed_draw  # what a test switches on is not None

ALONE = {
    "flip": 0.5,
    "rotation": 10.0,
    "crop": 0.3,
    "jitter": 0.3,
    "flip_vertical": 0.5,
    "shear": 10.0,
    "translate": 0.2,
    "scale": 0.3,
    "pad_crop": 0.25,
    "grayscale": 0.5,
    "blur": 0.05,
    "noise": 0.1,
    "salt_pepper": 0.1,
    "erasing": 1.0,
    "mixup": 1.0,
    "cutmix": 1.0,
}
OFF = dict.fromkeys(ALONE, 0.0)
ON_PIXELS = [name for name in ALONE if name not in ("mixup", "cutmix")]

# the share of samples that change visibly, where chance or a small picture spares many
FEWEST = {"flip": 0.25, "flip_vertical": 0.25, "grayscale": 0.25, "blur": 0.25, "crop": 0.6}

every_set = pytest.mark.parametrize("member", AUGMENTS)
every_operation = pytest.mark.parametrize("operation", ON_PIXELS)
channels_1_and_3 = pytest.mark.parametrize("channels", [1, 3])
sizes = pytest.mark.parametrize("size", [8, 28, 32, 64])


def alone(operation: str, strength: float = 1.0) -> Notes:
    return Notes(strength=strength, **(OFF | {operation: ALONE[operation]}))


def pictures(n: int, channels: int = 3, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(n + size + channels)
    coarse = torch.rand(n, channels, 5, 5, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").to(torch.uint8)


def drawn(augment: Any, n: int, size: int = 32, seed: int = 1, epoch: int = 1) -> Any:
    return draw(augment, seed=seed, epoch=epoch, num_samples=n, size=size)


def blank(channels: int) -> Pixels:
    """No normalisation but the way to float."""
    return Pixels((0.0,) * channels, (1 / 255,) * channels, device=torch.device("cpu"))


def parts(draws: Draws) -> dict[str, Tensor]:
    return {name: part for name, part in vars(draws).items() if part is not None}


def equal(one: Draws, other: Draws) -> bool:
    a, b = parts(one), parts(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_operation_is_looked_at() -> None:
    assert set(ALONE) == set(Augmentation.model_fields) - {"strength"} == set(Amounts._fields)


@every_set
@channels_1_and_3
def test_strength_0_is_bitwise_identity(member: Any, channels: int) -> None:
    images = pictures(9, channels)
    draws = drawn(member(), 9)
    assert member().strength == 0
    assert draws is None
    assert torch.equal(blank(channels)(images, draws), images.float())


@every_set
def test_a_set_with_every_field_at_0_leaves_its_own_operations_alone(member: Any) -> None:
    draws = drawn(member(strength=2, **OFF), 9)
    if member in (Trivial, Rand):
        assert set(parts(draws)) == {"warp", "codes", "arguments"}
    else:
        assert draws is None


@pytest.mark.parametrize("off", [{"num_ops": 0}, {"magnitude": 0}])
def test_rand_without_operations_or_magnitude_is_off(off: dict[str, Any]) -> None:
    assert drawn(Rand(strength=2, **(OFF | off)), 9) is None
    assert set(parts(drawn(Rand(strength=1, **off), 9))) == {"warp"}


@every_operation
@channels_1_and_3
@sizes
def test_an_operation_alone_changes_pixels_and_stays_in_range(
    operation: str, channels: int, size: int
) -> None:
    n = 40
    images = pictures(n, channels, size)
    x = images.float()
    result = augmented(x, drawn(alone(operation), n, size))
    assert torch.equal(x, images.float())
    assert result.shape == x.shape
    assert result.dtype is torch.float32
    assert -1e-3 <= result.min() <= result.max() <= 255 + 1e-3
    if operation == "grayscale" and channels == 1:
        torch.testing.assert_close(result, x, atol=1e-3, rtol=0)
    else:
        changed = (result - x).abs().flatten(1).amax(1) > 0.5
        assert changed.float().mean() > FEWEST.get(operation, 0.8)


@every_set
@channels_1_and_3
@sizes
def test_a_set_changes_pixels_and_stays_in_range(member: Any, channels: int, size: int) -> None:
    images = pictures(40, channels, size)
    for strength in (0.5, 1, 3):
        result = blank(channels)(images, drawn(member(strength=strength), 40, size))
        assert -1e-3 <= result.min() <= result.max() <= 255 + 1e-3
        changed = (result - images).abs().flatten(1).amax(1) > 0.5
        assert changed.float().mean() > (0.5 if strength >= 1 else 0.2)


@every_operation
def test_every_sample_has_draws_of_its_own(operation: str) -> None:
    """Of 64 copies of one picture: two outcomes of a coin, some collisions of whole numbers, else
    no two alike.
    """
    result = augmented(pictures(1).float().expand(64, -1, -1, -1), drawn(alone(operation), 64))
    coins = {"flip": 2, "flip_vertical": 2, "grayscale": 2}
    least = (coins | {"pad_crop": 50, "crop": 50, "blur": 50, "erasing": 60}).get(operation, 64)
    assert least <= len({x.numpy().tobytes() for x in result}) <= (2 if least == 2 else 64)


@every_set
def test_every_sample_of_a_set_has_draws_of_its_own(member: Any) -> None:
    result = augmented(pictures(1).float().expand(64, -1, -1, -1), drawn(member(strength=1), 64))
    assert len({x.numpy().tobytes() for x in result}) >= (64 if member is Notes else 45)


MIXED = [
    Notes(strength=1.5, **ALONE),
    *(member(strength=1.5, blur=0.03, noise=0.05, erasing=0.3) for member in AUGMENTS),
    Rand(strength=1, num_ops=4, jitter=0.1, rotation=5),
]


@pytest.mark.parametrize("augment", MIXED)
@channels_1_and_3
@pytest.mark.parametrize("size", [8, 28, 64])
def test_no_batch_split_changes_a_bit(augment: Any, channels: int, size: int) -> None:
    n = 21
    images, draws, process = pictures(n, channels, size), drawn(augment, n, size), blank(channels)
    whole = process(images, draws)
    for step in (1, 2, 5, 20):
        split = [
            process(images[i : i + step], draws.rows(slice(i, i + step))) for i in range(0, n, step)
        ]
        assert torch.equal(torch.cat(split), whole)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert torch.equal(process(images[order], draws.rows(order)), whole[order])


@pytest.mark.parametrize("augment", MIXED)
def test_draws_depend_on_seed_and_epoch_and_nothing_else(augment: Any) -> None:
    draws = drawn(augment, 9)
    assert equal(drawn(augment, 9), draws)
    assert equal(drawn(augment, 5), draws.rows(slice(0, 5)))
    for other in (drawn(augment, 9, seed=2), drawn(augment, 9, epoch=2)):
        assert parts(other).keys() == parts(draws).keys()
        assert not any(torch.equal(part, parts(draws)[name]) for name, part in parts(other).items())


def test_every_part_reads_a_stretch_of_its_own() -> None:
    assert (
        len({0, *JUMPS.values()}) == len(JUMPS) + 1
    )  # 0 is where flip, rotation, crop and jitter read


def test_the_first_box_that_fits_is_taken() -> None:
    areas = np.array([[100.0, 16.0, 4.0], [100.0, 81.0, 64.0]])
    width, height, fits = first_that_fits(areas, np.ones((2, 3)), largest=7)
    assert fits.tolist() == [True, False]
    assert (width[0], height[0]) == (4, 4)


@pytest.mark.parametrize("off", ALONE)
def test_switching_an_operation_off_leaves_the_others_draws_alone(off: str) -> None:
    everything = parts(drawn(Notes(strength=1, **ALONE), 50))
    rest = parts(drawn(Notes(strength=1, **(ALONE | {off: 0.0})), 50))
    own = {
        "jitter": {"colour"},
        "grayscale": {"colour"},
        "blur": {"blur"},
        "noise": {"noise", "normal"},
        "salt_pepper": {"salt", "uniform"},
        "erasing": {"erase"},
        "mixup": {"mix"},
        "cutmix": {"mix"},
    }.get(off, {"warp"})
    for name in everything.keys() - own:
        assert torch.equal(rest[name], everything[name])
    assert any(name not in rest or not torch.equal(rest[name], everything[name]) for name in own)


@pytest.mark.parametrize("member", [Trivial, Rand])
def test_picked_operations_leave_the_others_draws_alone(member: Any) -> None:
    given = OFF | {"jitter": 0.1, "noise": 0.1, "erasing": 0.5}
    plain, picking = (parts(drawn(kind(strength=1, **given), 50)) for kind in (Notes, member))
    assert picking.keys() - plain.keys() == {"warp", "codes", "arguments"}
    assert all(torch.equal(picking[name], part) for name, part in plain.items())


@every_operation
def test_strength_scales_an_operation(operation: str) -> None:
    images = pictures(100).float()
    changes = [
        (augmented(images, drawn(alone(operation, s), 100)) - images).abs().mean()
        for s in (0.1, 0.5, 1.0)
    ]
    assert changes[0] < changes[1] < changes[2]


@every_set
def test_strength_scales_a_set(member: Any) -> None:
    images = pictures(200).float()
    changes = [
        (augmented(images, drawn(member(strength=s), 200)) - images).abs().mean()
        for s in (0.05, 0.3, 1.0)
    ]
    assert changes[0] < changes[1] < changes[2]
    assert changes[0] < 8


@every_set
def test_amounts_stop_where_more_makes_no_sense(member: Any) -> None:
    fields = {name: Augmentation.model_fields[name] for name in ALONE}
    most = {
        name: next(m.le for m in field.metadata if hasattr(m, "le"))
        for name, field in fields.items()
    }
    strongest = member(strength=3, **most)
    assert all(amount <= limit for amount, limit in zip(strongest.amounts(), LIMITS, strict=True))
    result = augmented(pictures(9).float(), drawn(strongest, 9))
    assert bool(torch.isfinite(result).all())
    for name, bound in most.items():
        with pytest.raises(ValidationError):
            member(**{name: bound + 0.01})
        with pytest.raises(ValidationError):
            member(**{name: -0.01})


@every_set
def test_json_round_trip(member: Any) -> None:
    config = TrainConfig(augment=member(strength=1.5, mixup=0.2, erasing=0.1))
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert len({TrainConfig(augment=kind(strength=1)).fingerprint() for kind in AUGMENTS}) == len(
        AUGMENTS
    )


@every_set
def test_another_name_keeps_what_both_sets_agree_on_by_default(member: Any) -> None:
    start = TrainConfig(augment=Notes(strength=0.7, rotation=33, mixup=1.0))
    name = member().name
    changed = start.override({"augment.name": name}).augment
    assert changed == (start.augment if member is Notes else member(strength=0.7, mixup=1.0))


def test_wrong_values_are_named() -> None:
    with pytest.raises(UserError, match=r"augment\.name: .*did you mean 'trivial'"):
        TrainConfig().override({"augment.name": "trivail"})
    with pytest.raises(UserError, match=r"augment\.rotation: "):
        TrainConfig().override({"augment.rotation": 181})


@pytest.mark.parametrize("augment", MIXED)
def test_draws_can_be_pickled_and_are_small(augment: Any) -> None:
    draws = drawn(augment, 500)
    sent = pickle.dumps(draws)
    assert equal(pickle.loads(sent), draws)
    pools = sum(part.nbytes for name, part in parts(draws).items() if name in ("normal", "uniform"))
    assert len(sent) - pools < 500 * 300 + 5_000


def test_the_default_is_off_and_the_notes_set() -> None:
    assert TrainConfig().augment == Notes(strength=0)
    on = {name: value for name, value in Notes().model_dump().items() if value and name != "name"}
    assert on == {"flip": 0.2, "rotation": 10.0, "crop": 0.1, "jitter": 0.1}


@every_set
def test_every_set_says_what_it_is_and_where_it_is_from(member: Any) -> None:
    assert any(source in member.__doc__ for source in ("arXiv", "course notes"))
