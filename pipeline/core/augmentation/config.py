"""Augmentation: the configs, which are named sets of amounts; `draws` and `pixels` carry them out,
per sample.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from pipeline.frozen import Frozen
from pipeline.own.parts import Kind, Plain

if TYPE_CHECKING:
    from torch import Tensor

Flip = Annotated[float, Field(ge=0, le=0.5, description="probability of a horizontal flip")]
FlipVertical = Annotated[float, Field(ge=0, le=0.5, description="probability of a vertical flip")]
Rotation = Annotated[float, Field(ge=0, le=180, description="largest angle in degrees")]
Crop = Annotated[
    float, Field(ge=0, le=0.95, description="resized crop: largest share of the area cut off")
]
Jitter = Annotated[
    float,
    Field(ge=0, le=0.5, description="largest change of brightness, contrast, saturation, hue"),
]
Shear = Annotated[
    float, Field(ge=0, le=45, description="largest angle in degrees, along x and along y")
]
Translate = Annotated[
    float, Field(ge=0, le=0.5, description="largest shift, as a share of the side")
]
Scale = Annotated[
    float, Field(ge=0, le=0.5, description="largest zoom in or out: a factor of 1 ± this")
]
PadCrop = Annotated[
    float,
    Field(ge=0, le=0.5, description="black border before a crop back, as a share of the side"),
]
Grayscale = Annotated[float, Field(ge=0, le=1, description="probability of losing the colours")]
Blur = Annotated[
    float, Field(ge=0, le=0.1, description="largest standard deviation, as a share of the side")
]
Noise = Annotated[
    float,
    Field(ge=0, le=0.5, description="largest deviation of Gaussian noise, as a share of white"),
]
SaltPepper = Annotated[
    float, Field(ge=0, le=0.5, description="largest share of pixels made black or white")
]
Erasing = Annotated[float, Field(ge=0, le=1, description="probability of a black rectangle")]
Mixup = Annotated[float, Field(ge=0, le=8, description="alpha of mixup's Beta(alpha, alpha)")]
Cutmix = Annotated[float, Field(ge=0, le=8, description="alpha of cutmix's Beta(alpha, alpha)")]


class Amounts(NamedTuple):
    """A set's fields, each times its strength."""

    flip: float
    rotation: float
    crop: float
    jitter: float
    flip_vertical: float
    shear: float
    translate: float
    scale: float
    pad_crop: float
    grayscale: float
    blur: float
    noise: float
    salt_pepper: float
    erasing: float
    mixup: float
    cutmix: float


# where a field stops as the strength grows: probabilities, the whole circle, an area of 5 %,
# factors below 0, …
LIMITS = Amounts(
    flip=0.5,
    rotation=180,
    crop=0.95,
    jitter=1.0,
    flip_vertical=0.5,
    shear=60,
    translate=0.9,
    scale=0.9,
    pad_crop=0.5,
    grayscale=1.0,
    blur=0.1,
    noise=1.0,
    salt_pepper=1.0,
    erasing=1.0,
    mixup=24,
    cutmix=24,
)


class Policy(NamedTuple):
    """How many operations are picked for a sample, and what level 1 means for them (ranges as
    published).

    level: from 0 to 1, or None where every sample draws its own from 31 steps, which `strength`
    then scales. translate: (largest share of the side, largest number of pixels), whichever is
    less.
    """

    num_ops: int
    strength: float
    level: float | None
    shear: float
    translate: tuple[float, float]
    rotation: float
    enhance: float
    bits: int


class Augmentation(Frozen):
    """A named set: every operation's amount at strength 1 (0 is off), and one knob for all of them.

    Strength 0 is off and bitwise identity. What is carried out is every field times `strength`, up
    to a limit where more makes no sense (`LIMITS`). In this order: geometry (one interpolation),
    colours, the picked operations of `Policy`, blur, noise, erasing, mixing. Grey pictures have no
    saturation, hue or grayscale.

    Sources: resized crop Szegedy 2014 (arXiv 1409.4842), padded crop He 2015 (arXiv 1512.03385,
    §4.2), erasing Zhong 2017 (arXiv 1708.04896), mixup Zhang 2017 (arXiv 1710.09412), cutmix Yun
    2019 (arXiv 1905.04899).
    """

    strength: float = Field(default=0.0, ge=0, le=3)
    flip: Flip = 0.0
    rotation: Rotation = 0.0
    crop: Crop = 0.0
    jitter: Jitter = 0.0
    flip_vertical: FlipVertical = 0.0
    shear: Shear = 0.0
    translate: Translate = 0.0
    scale: Scale = 0.0
    pad_crop: PadCrop = 0.0
    grayscale: Grayscale = 0.0
    blur: Blur = 0.0
    noise: Noise = 0.0
    salt_pepper: SaltPepper = 0.0
    erasing: Erasing = 0.0
    mixup: Mixup = 0.0
    cutmix: Cutmix = 0.0

    def amounts(self) -> Amounts:
        values = (getattr(self, name) * self.strength for name in Amounts._fields)
        return Amounts(*(min(limit, value) for limit, value in zip(LIMITS, values, strict=True)))

    def policy(self) -> Policy | None:
        """The operations picked anew for every sample; None where there are none."""
        return None


class Notes(Augmentation):
    """The course notes' set: flip p = .2, rotation ±10°, resized crop of scale .9–1, colour jitter
    .1.
    """

    name: Literal["notes"] = "notes"
    flip: Flip = 0.2
    rotation: Rotation = 10.0
    crop: Crop = 0.1
    jitter: Jitter = 0.1


class Crops(Augmentation):
    """The CIFAR set of the residual networks (He 2015, arXiv 1512.03385, §4.2): flips, and crops of
    a padded picture.
    """

    name: Literal["crops"] = "crops"
    flip: Flip = 0.5
    pad_crop: PadCrop = 0.125


class Photos(Augmentation):
    """A strong set for photos: flips, crops of scale .08–1 (Szegedy 2014, arXiv 1409.4842), some
    colour and erasing.
    """

    name: Literal["photos"] = "photos"
    flip: Flip = 0.5
    crop: Crop = 0.92
    jitter: Jitter = 0.2
    grayscale: Grayscale = 0.1
    erasing: Erasing = 0.25


class Trivial(Augmentation):
    """TrivialAugment (Müller & Hutter 2021, arXiv 2103.10158), wide: one operation at a level of
    its own, per sample.

    On top of the flips and padded crops that it was published with. Below strength 1 the operations
    that have no level (autocontrast, equalize) are left out by chance.
    """

    name: Literal["trivial"] = "trivial"
    flip: Flip = 0.5
    pad_crop: PadCrop = 0.125

    def policy(self) -> Policy | None:
        if self.strength == 0:
            return None
        return Policy(
            1,
            self.strength,
            None,
            shear=0.99,
            translate=(1, 32),
            rotation=135,
            enhance=0.99,
            bits=6,
        )


class Rand(Augmentation):
    """RandAugment (Cubuk 2019, arXiv 1909.13719): some operations per sample, all at one level,
    magnitude / 30.

    On top of the flips and padded crops that it was published with. The geometric ones come first,
    in one interpolation.
    """

    name: Literal["rand"] = "rand"
    num_ops: int = Field(default=2, ge=0, le=4, description="operations for every sample; 0 is off")
    magnitude: float = Field(
        default=9.0, ge=0, le=30, description="of every operation, at strength 1; 0 is off"
    )
    flip: Flip = 0.5
    pad_crop: PadCrop = 0.125

    def policy(self) -> Policy | None:
        level = min(1.0, self.strength * self.magnitude / 30)
        if self.num_ops == 0 or level == 0:
            return None
        far = (150 / 331, float("inf"))
        return Policy(
            self.num_ops,
            self.strength,
            level,
            shear=0.3,
            translate=far,
            rotation=30,
            enhance=0.9,
            bits=4,
        )


class PlainAugmentation(Augmentation, Plain):
    """A function of (pictures), float [B, C, S, S] in [0, 1], that returns such. It is told the
    `strength`, and a `generator` to draw from, where it asks for them; what it draws depends on
    (seed, epoch) and the pictures that come together.

    It comes after all operations of ours that are on, and before pictures are mixed.
    """

    LEADING: ClassVar[tuple[str, ...]] = ("pictures",)
    GIVEN: ClassVar[tuple[str, ...]] = ("generator", "strength")

    def applied(self, x: "Tensor", seed: int) -> "Tensor":
        """Float [n, C, S, S] in [0, 255] -> the same, augmented."""
        import torch

        generator = torch.Generator(x.device).manual_seed(seed)
        found = self.call(x / 255, generator=generator, strength=self.strength)
        if not isinstance(found, torch.Tensor) or found.shape != x.shape:
            got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise self.wrong(f"pictures {list(x.shape)} must keep their shape, got {got}")
        return found.to(x.dtype).clamp(0, 1) * 255


AUGMENTS = (Notes, Crops, Photos, Trivial, Rand)
Augment = Annotated[
    Notes | Crops | Photos | Trivial | Rand,
    Field(discriminator="name"),
    Kind("augmentation", AUGMENTS, Augmentation, PlainAugmentation),
]
