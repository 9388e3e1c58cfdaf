"""Augmentation: the config; `pixels` carries it out, in batch and with draws of its own for every sample."""

from typing import NamedTuple

from pydantic import Field

from pipeline.frozen import Frozen


class Amounts(NamedTuple):
    """An `Augment` at its strength: flip probability, angle in degrees, share of the area, jitter range."""

    flip: float
    rotation: float
    crop: float
    jitter: float


class Augment(Frozen):
    """The course notes' augmentation, scaled by one knob; every field's 0 is off, and off is bitwise identity.

    At strength 1: flip p = .2, rotation ±10°, random resized crop of scale .9–1, colour jitter .1 of brightness,
    contrast, saturation and hue. Grey pictures get brightness and contrast only.
    """

    strength: float = Field(default=0.0, ge=0, le=3)
    flip: float = Field(default=0.2, ge=0, le=0.5, description="probability of a horizontal flip at strength 1")
    rotation: float = Field(default=10.0, ge=0, le=60, description="largest angle in degrees at strength 1")
    crop: float = Field(default=0.1, ge=0, le=0.3, description="largest share of the area cut off at strength 1")
    jitter: float = Field(default=0.1, ge=0, le=0.3, description="of brightness, contrast, saturation, hue at strength 1")

    def amounts(self) -> Amounts:
        """Every field times `strength`; the flip's probability stops at one half."""
        s = self.strength
        return Amounts(min(0.5, self.flip * s), self.rotation * s, self.crop * s, self.jitter * s)
