"""Regularizers that act on the training step: their configs. `objective`, `adversary` and `pseudo`
carry them out.
"""

from pydantic import Field

from pipeline.frozen import Frozen


class Distill(Frozen):
    """Learning from a teacher's outputs too (Hinton et al. 2015, arXiv 1503.02531).

    The loss becomes (1 - weight) times the study's own plus weight times the cross entropy to the
    teacher's softened outputs, times temperature squared.
    """

    teacher: str = Field(
        default="",
        description=(
            "best.safetensors of a finished run, or the folder of its checkpoints; empty = off"
        ),
    )
    weight: float = Field(default=0.5, gt=0, le=1)
    temperature: float = Field(default=4.0, gt=0, le=100)


class Attack(Frozen):
    """Pictures changed to raise their loss, by projected gradient descent (Madry et al. 2017, arXiv
    1706.06083, section 2.1). Units are those of pictures scaled to [0, 1]; no pixel moves by more
    than epsilon or leaves [0, 1].

    Finished models are attacked so: `robust_acc` is the share of pictures that are right as they
    are and as changed. The defaults are the paper's for CIFAR-10, but for epsilon (8/255 there).
    """

    epsilon: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="largest change of a pixel; 0 = off; try 4/255 = 0.0157",
    )
    alpha: float = Field(default=2 / 255, gt=0, le=0.5, description="change of a pixel in one step")
    steps: int = Field(default=20, ge=1, le=1000)


class Adversary(Attack):
    """Adversarial training: each batch is first changed by an attack on the network as it is then.

    With `clean_share` the loss is that share of the unchanged batch's and the rest of the changed
    one's (Goodfellow et al. 2014, arXiv 1412.6572, section 6). Both go through the network as one
    batch, whose statistics batch norm takes together, as Kurakin et al. 2016 (arXiv 1611.01236,
    section 3) have it.

    The paper's epsilon of 0.3 with 40 steps is for MNIST, whose pixels are black or white. On
    photographs it wipes the picture out, nothing is learnt, and each step costs 41: 2/255 to 8/255
    with a few steps is what photographs stand.
    """

    steps: int = Field(default=3, ge=1, le=100)
    clean_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="weight of the unchanged pictures' loss; 0 = changed pictures alone",
    )


class Pseudo(Frozen):
    """Pseudo-labels (Lee 2013, "Pseudo-label", ICML workshop): before each epoch from `start` on
    the network labels the unlabeled training pictures, and those that it is sure of are trained on
    in this epoch.
    """

    threshold: float = Field(
        default=0.0, ge=0, lt=1, description="smallest probability that counts as sure; 0 = off"
    )
    start: int = Field(default=5, ge=2, le=100_000, description="first epoch with pseudo-labels")
