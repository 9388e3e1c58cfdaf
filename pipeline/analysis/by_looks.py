"""A study whose arms get replicates until their questions are answered: how far it is, and which
arms go on. All of it follows from the record, so a command that was stopped goes on the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.analysis.scores import Scored
from pipeline.analysis.stats.looks import Walk
from pipeline.analysis.tuning_effort import untuned
from pipeline.engine.race import ENDED
from pipeline.record.record import Run
from pipeline.study.looks import Rows


@dataclass(frozen=True)
class Looked:
    """The looks at the design, and those at what the search found, a family of its own."""

    design: Walk
    found: Walk | None = None

    @classmethod
    def of(cls, scored: Scored) -> "Looked | None":
        """None where the study has a fixed number of replicates."""
        record, ablation = scored.record, scored.study.ablation
        if not ablation.until_answered:
            return None
        lost, runs = untuned(record, scored.study), record.arms()
        over = {
            arm: _over(runs.get(arm, []), (r for name, r in lost if name == arm))
            for arm in (*scored.runs, *filter(None, [scored.found]))
        }
        designed = {arm: over[arm] for arm in scored.runs}
        rope, most, way = ablation.rope, ablation.replicates, scored.basis
        sign, asked = scored.judged.sign, ablation.design.questions()
        design = Walk(sign * scored.table, asked, rope, way, sign).to(designed, most)
        if not scored.found:
            return cls(design)
        both = {arm: over[arm] for arm in scored.asked_of_found.weights}
        beside = Walk(sign * scored.beside, [scored.asked_of_found], rope, way, sign)
        return cls(design, beside.to(both, most))

    @property
    def rows(self) -> Rows:
        """Of every arm, those included that the reference has for what the search found."""
        walks = [walk.rows for walk in (self.design, self.found) if walk]
        arms = list(dict.fromkeys(arm for rows in walks for arm in rows.now))
        now, most = (
            {arm: max(part[arm] for part in parts if arm in part) for arm in arms}
            for parts in ([rows.now for rows in walks], [rows.most for rows in walks])
        )
        return Rows(now, most)


def _over(runs: Iterable[Run], lost: Iterable[int]) -> int:
    """How many of an arm's first replicates have ended, or will never begin."""
    ended = {run.replicate for run in runs if run.status in ENDED}.union(lost)
    number = 0
    while number + 1 in ended:
        number += 1
    return number
