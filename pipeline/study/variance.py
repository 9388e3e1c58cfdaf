"""Where the ± of an arm comes from: which sources of chance a replicate draws anew, and the runs
that tell them apart (X. Bouthillier et al., "Accounting for variance in machine learning
benchmarks", MLSys 2021).

Replicate r of the reference is one run of a level; for each source the level has one run more, in
which that source and all within it are drawn anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.core.identity import REDRAWN
from pipeline.study.study import Study

Source = Literal["tuning", "split", "initial weights", "order"]


@dataclass(frozen=True)
class Layout:
    """Levels 1 … num_levels of the reference arm `arm`; `sources`, the innermost first."""

    arm: str
    num_levels: int
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, study: Study) -> "Layout":
        ablation = study.ablation
        reference = next(iter(ablation.design.expand())).name
        sources: tuple[Source, ...] = ("order", "initial weights")
        if study.baseline.split != "official":
            sources += ("split",)
        if ablation.tuning.name == "replicated":
            sources += ("tuning",)
        return cls(reference, ablation.variance, sources)

    def numbers(self) -> Iterator[tuple[int, ...]]:
        """Of each level the replicates' numbers of its runs, by how many sources are drawn anew."""
        for level in range(1, self.num_levels + 1):
            yield tuple(level + REDRAWN * drawn for drawn in range(len(self.sources)))

    def num_added(self, replicates: int) -> int:
        """Runs beside the `replicates` that the arm has anyway."""
        return self.num_levels * len(self.sources) - min(self.num_levels, replicates)


def in_words(number: int) -> str:
    """What a replicate's number says: `3`, or `3, another order`."""
    drawn, replicate = divmod(number, REDRAWN)
    new = ("order", "initial weights and order", "split, initial weights and order")
    return f"{replicate}, another {new[drawn - 1]}" if drawn else str(replicate)
