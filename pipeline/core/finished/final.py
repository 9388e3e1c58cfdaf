"""What happens to a finished model before it is judged: test-time augmentation and compression. The
config alone.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.frozen import Frozen

WARM_UPS, MIN_REPEATS, MAX_REPEATS = 2, 5, 50  # forward passes before and while latency is measured


class NoCompression(Frozen):
    """The model as it was trained."""

    name: Literal["none"] = "none"


class Prune(Frozen):
    """The smallest weights of all layers together are set to zero (Han et al. 2015, arXiv
    1506.02626), without retraining.

    Weights are the kernels and matrices; biases, norms and position embeddings stay.
    """

    name: Literal["prune"] = "prune"
    amount: float = Field(
        default=0.5, gt=0, lt=1, description="share of the weights that is removed"
    )


class Int8Dynamic(Frozen):
    """Linear layers in 8-bit integers (Vanhoucke et al. 2011, "Improving the speed of neural
    networks on CPUs"); their inputs are quantized as they come, each row by its own largest value.
    """

    name: Literal["int8_dynamic"] = "int8_dynamic"


class Int8Static(Frozen):
    """Convolutions and linear layers in 8-bit integers (Jacob et al. 2018, arXiv 1712.05877):
    weights by output channel, inputs by the range that they had over some training pictures."""

    name: Literal["int8_static"] = "int8_static"
    num_calibration: int = Field(
        default=256, ge=1, le=65_536, description="training pictures that the ranges come from"
    )


class Half(Frozen):
    """All numbers of the network in 16 bits; bf16 keeps fp32's range, fp16 three more bits of
    precision.
    """

    name: Literal["half"] = "half"
    dtype: Literal["bf16", "fp16"] = "bf16"


Compress = Annotated[
    NoCompression | Prune | Int8Dynamic | Int8Static | Half, Field(discriminator="name")
]
COMPRESSIONS = (NoCompression, Prune, Int8Dynamic, Int8Static, Half)


class Final(Frozen):
    """The final evaluation, on test pictures; training and the choice of the best epoch know
    nothing of it.

    tta: views of each picture beside the plain one, drawn by the run's own augmentation; the
    probabilities of all are averaged (Krizhevsky et al. 2012, "ImageNet classification with deep
    convolutional neural networks", section 4.1).
    """

    tta: int = Field(
        default=0,
        ge=0,
        le=64,
        description="augmented views per picture, beside the plain one; 0 = off",
    )
    compress: Compress = NoCompression()

    @property
    def is_plain(self) -> bool:
        """Whether the model is judged as it was trained."""
        return self.tta == 0 and isinstance(self.compress, NoCompression)
