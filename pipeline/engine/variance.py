"""The runs that tell the sources of variance apart, as a plan goes through them: once nothing else
is left to begin, level by level.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.core.config import TrainConfig
from pipeline.core.identity import Keys
from pipeline.engine.pace import Work
from pipeline.record import events
from pipeline.record.ledger import Ledger
from pipeline.record.levels import levels
from pipeline.record.record import Record, Run
from pipeline.study.study import Study
from pipeline.study.variance import Layout

if TYPE_CHECKING:
    from pipeline.engine.searches import Searches

LOST = ("diverged", "failed")


@dataclass(frozen=True)
class Cell:
    """A run of a level: its replicate's number, its configuration, and the run once it is there."""

    number: int
    config: TrainConfig
    run: Run | None

    @property
    def epochs_left(self) -> int:
        return self.config.epochs - (self.run.spent if self.run else 0)


class Variance:
    """`record` is kept up to date by the ledger's listener."""

    def __init__(
        self, study: Study, ledger: Ledger, record: Record, keys: Keys, searches: "Searches"
    ) -> None:
        self.ledger, self.record, self.keys, self.searches = ledger, record, keys, searches
        self.layout = Layout.of(study)
        self.reference = study.arms()[0][1]

    def next(self) -> Run | None:
        """A run that is new, to begin now, the arms having no more to begin; it is in the ledger by
        then.
        """
        cell = next((cell for cell in self._cells() if cell.run is None), None)
        if cell is None:
            return None
        key = self.keys.of(cell.config, cell.number)
        self.ledger.append(
            events.Source(
                run=key,
                arm=self.layout.arm,
                replicate=cell.number,
                config=cell.config.model_dump(mode="json"),
                data=self.record.data["fingerprint"],
                core_version=self.keys.core_version,
            )
        )
        return self.record.runs[key]

    def outstanding(self) -> bool:
        """Whether any is still to be begun, the arms having no more to begin; changes nothing."""
        return any(cell.run is None for cell in self._cells())

    def wanted(self, run: Run) -> bool:
        """Whether a new session takes up this run."""
        return any(cell.run is not None and cell.run.key == run.key for cell in self._cells())

    def epochs(self, replicates: int) -> tuple[int, int]:
        """(of all of them, of these not trained yet) beside those `replicates` of the arm."""
        found = tuple(self._cells(replicates))
        return sum(one.config.epochs for one in found), sum(one.epochs_left for one in found)

    def _cells(self, replicates: int = 0) -> Iterator[Cell]:
        def chosen(replicate: int) -> TrainConfig | None:
            return self.searches.config(self.layout.arm, replicate)

        return cells(self.record, self.layout, self.reference, chosen, replicates)


def works(record: Record, study: Study) -> Iterator[Work]:
    """What is left of them beside the arm's replicates, as a timetable counts these."""
    layout, reference = Layout.of(study), study.arms()[0][1]
    for cell in cells(record, layout, reference, lambda _: reference, study.ablation.replicates):
        if cell.run is None or cell.run.unfinished:
            yield Work(layout.arm, cell.number, cell.config, cell.epochs_left)


def cells(
    record: Record,
    layout: Layout,
    reference: TrainConfig,
    chosen: Callable[[int], TrainConfig | None],
    replicates: int,
) -> Iterator[Cell]:
    """The runs of a layout's levels, less those that are the arm's: so many `replicates`, and those
    that it has. Of a level whose configuration is not `chosen` yet nothing, of one that has lost a
    run what there is.
    """
    tree = reference.model_dump(mode="json") if layout.num_levels else {}
    found = levels(record, layout, tree)
    for numbers, level in zip(layout.numbers(), found, strict=True):
        base = level[0]
        made = reference if base and base.config == tree else None
        if made is None:
            made = _parsed(base) if base else chosen(numbers[0])
        lost = any(run is not None and run.status in LOST for run in level)
        for number, run in zip(numbers, level, strict=True):
            own = number <= replicates if run is None else run.kind == "arm"
            if made is not None and not own and not (run is None and lost):
                yield Cell(number, made, run)


def _parsed(run: Run) -> TrainConfig:
    return TrainConfig.parse(run.config, source=f"run {run.key}")
