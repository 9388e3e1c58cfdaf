"""No scheduler: what a referee believes without a word."""

from typing import ClassVar

from pipeline.study.schedulers.base import AtOnce, Ladder


class Full(AtOnce):
    """Every trial is trained to its end: the only rung is the last epoch, where nothing waits. The
    sampler learns from final values alone.
    """

    name: ClassVar[str] = "none"
    uses: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def rungs(cls, reduction: int, num_rungs: int) -> Ladder:  # noqa: ARG003  neither is used
        return Ladder.halving(reduction, 1)

    @classmethod
    def words(cls, reduction: int) -> str:  # noqa: ARG003
        return "every trial trained in full"

    def _passes(self, trial: int, rung: int) -> bool:  # noqa: ARG002
        return False
