"""Penalties: a term of the user's own, added to the loss of every training batch."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pipeline.frozen import Frozen
from pipeline.own.parts import Kind, Plain

if TYPE_CHECKING:
    from torch import Tensor, nn


class NoPenalty(Frozen):
    """The loss alone."""

    name: Literal["none"] = "none"

    def added(
        self,
        loss: "Tensor",
        model: "nn.Module",  # noqa: ARG002
        pictures: "Tensor",  # noqa: ARG002
        logits: "Tensor",  # noqa: ARG002
        targets: "Tensor",  # noqa: ARG002
    ) -> "Tensor":
        """The loss to differentiate, a scalar."""
        return loss


class PlainPenalty(Plain):
    """A function that asks by name for any of `model`, `loss`, `pictures` (normalised), `logits`
    and `targets`: a scalar, which is added to the loss.
    """

    GIVEN: ClassVar[tuple[str, ...]] = ("model", "loss", "pictures", "logits", "targets")

    def added(
        self,
        loss: "Tensor",
        model: "nn.Module",
        pictures: "Tensor",
        logits: "Tensor",
        targets: "Tensor",
    ) -> "Tensor":
        """The loss to differentiate, a scalar."""
        import torch

        found = self.call(model=model, loss=loss, pictures=pictures, logits=logits, targets=targets)
        if not isinstance(found, torch.Tensor) or found.ndim:
            got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise self.wrong(f"a penalty is one number, a tensor of shape (), got {got}")
        return loss + found


if TYPE_CHECKING:
    Penalty = NoPenalty
else:
    Penalty = Annotated[NoPenalty, Kind("penalty", (NoPenalty,), NoPenalty, PlainPenalty)]
