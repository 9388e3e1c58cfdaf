"""What the arms of a record are judged by: a table of scores, replicates × arms, and the test that
the design calls for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from pipeline.analysis.missing_runs import has_numbers
from pipeline.analysis.stats import NAN, Basis, basis
from pipeline.data.taken import num_labelled
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged
from pipeline.study.questions import FOUND, Question
from pipeline.study.study import Study


@dataclass(frozen=True)
class Scored:
    """`runs` are those of the design's arms. `found` is the arm that the search led to, '' where
    there is none.
    """

    record: Record
    study: Study
    runs: Mapping[str, Sequence[Run]]
    found: str

    @classmethod
    def of(cls, record: Record, study: Study) -> "Scored":
        arms = record.arms()
        runs = {arm.name: arms.get(arm.name, []) for arm in study.ablation.design.expand()}
        found = next((arm.name for arm, _ in study.all_arms() if arm.name not in runs), "")
        return cls(record, study, runs, found)

    @cached_property
    def complete(self) -> Mapping[str, Sequence[Run]]:
        return {arm: [run for run in own if has_numbers(run)] for arm, own in self.runs.items()}

    @cached_property
    def judged(self) -> Judged:
        runs = [run for own in self.complete.values() for run in own]
        labelled = (
            all(run.test_acc is not None for run in runs)
            if runs
            else num_labelled(self.record.data, "test") > 0
        )
        return Judged.of(self.study.baseline, held_out=labelled)

    @property
    def basis(self) -> Basis:
        base, tuning = self.study.baseline, self.study.ablation.tuning.name
        held_out = self.judged.held_out
        return basis(base.split, folds=base.folds, tuning=tuning, held_out=held_out)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Of every planned replicate and every one that there is, NaN where it has no result."""
        columns = {arm: self.column(own) for arm, own in self.complete.items()}
        planned = range(1, self.study.ablation.replicates + 1)
        replicates = sorted(set(planned).union(*columns.values()))
        cells = {a: [column.get(r, NAN) for r in replicates] for a, column in columns.items()}
        return pd.DataFrame(cells, replicates).astype(float)

    def column(self, runs: Iterable[Run]) -> dict[int, float]:
        """Replicate → score of the complete ones."""
        return {run.replicate: score(run, self.judged.column) for run in runs if has_numbers(run)}

    @property
    def reference(self) -> str:
        return next(iter(self.runs))

    @cached_property
    def beside(self) -> pd.DataFrame:
        """The reference, and what the search found."""
        runs = self.record.arms().get(self.found, [])
        own = pd.Series(self.column(runs), name=self.found, dtype=float)
        return self.table[[self.reference]].join(own, how="outer")

    @property
    def asked_of_found(self) -> Question:
        """What is asked of what the search found."""
        weights = {self.found: 1.0, self.reference: -1.0}
        return Question(self.found, "delta", weights, FOUND, self.reference)


def score(run: Run, metric: str) -> float:
    """What a complete run is judged by.

    Val pictures choose the best epoch, so where they must judge as well, for want of test labels,
    it is at the last epoch of the schedule, which nothing was chosen by: the maximum over epochs
    favours arms whose curves are noisier.
    """
    value = run.metric(metric)
    assert value is not None
    return value
