"""What a Record says of its ablation, as the figures and the text need it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean, median, stdev

import pandas as pd

from pipeline.analysis.by_looks import Looked
from pipeline.analysis.chance import Guess, Part
from pipeline.analysis.collapse import Trained, barred, collapsed, trained
from pipeline.analysis.fairness import (
    CHOOSERS,
    OTHERWISE,
    REASON,
    chosen_by_the_judge,
    later_changes,
    not_compared,
    unequal,
)
from pipeline.analysis.identical_arms import alike_in, explained, level
from pipeline.analysis.missing_runs import Hole, has_numbers, holes, reasons, uncompared
from pipeline.analysis.scores import Scored
from pipeline.analysis.stats import MIN_REPLICATES, NAN, Basis, Contrast, Judgement, judge
from pipeline.analysis.tuning_effort import untuned
from pipeline.data.taken import num_labelled
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged
from pipeline.study.study import EQUAL, Study


@dataclass(frozen=True)
class ArmRow:
    """An arm's runs; statistics over the complete ones, each read at its own best epoch. `values`
    are their scores.
    """

    arm: str
    levels: Mapping[str, bool]
    runs: tuple[Run, ...]
    values: tuple[float, ...]

    @cached_property
    def complete(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if has_numbers(run))

    @cached_property
    def diverged(self) -> tuple[Run, ...]:
        return tuple(r for r in self.runs if r.status == "diverged")

    @cached_property
    def failed(self) -> tuple[Run, ...]:
        return tuple(r for r in self.runs if r.status == "failed")

    def metric(self, name: str) -> list[float]:
        return [metrics[name] for run in self.complete if (metrics := at_best(run))]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def best_epochs(self) -> list[int]:
        return [int(epoch) for epoch in self.metric("epoch")]

    @property
    def best_epoch(self) -> float:
        return median(self.best_epochs) if self.best_epochs else NAN

    @property
    def mean(self) -> float:
        return fmean(self.values) if self.values else NAN

    @property
    def sd(self) -> float:
        return spread(self.values)

    @property
    def planned_epochs(self) -> tuple[int, ...]:
        """The epochs its runs were to train for, as their configs say; more than one number where
        these differ.
        """
        return tuple(sorted({int(run.config["epochs"]) for run in self.runs}))

    @property
    def num_params(self) -> int:
        return max((run.num_params for run in self.complete), default=0)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        return tuple(run.key for run in self.runs)


@dataclass(frozen=True)
class Found:
    """The arm that the search led to, and its difference from the reference: a family of its
    own.
    """

    row: ArmRow
    contrast: Contrast
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Ablation:
    """The table and what follows from it. `judged` is what the arms are judged by."""

    judged: Judged
    rope: float
    planned: int  # replicates of each arm
    rows: tuple[ArmRow, ...]  # the design's, then what the search found
    scores: pd.DataFrame  # replicates × arms
    basis: Basis
    # the design's questions, answered; a name is unique within a family and kind
    contrasts: tuple[Contrast, ...]
    # arms that no finding puts behind another; empty where the design compares no arms
    best: frozenset[str]
    holes: tuple[Hole, ...]
    empty: Mapping[str, str]  # arms without a complete run → why
    uncompared: Mapping[str, str]  # arms that were not compared with the highest mean → why
    barred: Mapping[str, str]  # arms at chance or with lost runs → why
    guess: Guess
    collapsed: Mapping[
        str, tuple[int, ...]
    ]  # arm → its replicates at chance or far below the others
    learned: Trained
    num_tested: int = 0  # pictures of the test set, where arms are judged by it
    policy: str = "fixed"  # how the arms came by their hyperparameters
    # what was not the same for all arms; where anything, nothing is compared
    unequal: tuple[str, ...] = ()
    crossing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the design
    # the best arm, where it may not be that on other pictures
    best_here: frozenset[str] = frozenset()
    below: Mapping[str, str] = field(default_factory=dict)  # as `Judgement` has it → in words
    no_beyond: str = ""  # why no contrast is known for other pictures
    unconverged: tuple[str, ...] = ()  # arms that were still improving when their runs ended
    collapsing: tuple[str, ...] = ()  # arms whose best epochs come before a late collapse
    found: "Found | None" = None  # what the search found, which the design does not ask about
    looked: Looked | None = None  # where arms have replicates until their questions are answered
    changed: tuple[str, ...] = ()  # of the plan, after results existed

    @cached_property
    def untold(self) -> frozenset[str]:
        """Arms whose scores are explained by guessing."""
        return frozenset(row.arm for row in self.rows if self.guess.explains(row.values))

    @cached_property
    def at_chance(self) -> frozenset[str]:
        """Those of them that learned nothing, as their training accuracies say, too."""
        return frozenset(arm for arm in self.untold if not any(self.learned[arm].values()))

    def worth(self, row: ArmRow) -> float:
        """What the means of arms are ordered by, the higher the better."""
        return self.judged.sign * row.mean

    @property
    def table(self) -> "Ablation":
        """With the answer about what the search found as one more, for what shows all of them."""
        if self.found is None:
            return self
        return replace(self, contrasts=(*self.contrasts, self.found.contrast))

    @property
    def designed(self) -> tuple[ArmRow, ...]:
        """The rows of the design's arms."""
        return self.rows[:-1] if self.found else self.rows

    def planned_of(self, arm: str) -> int:
        """Its replicates: as planned, or as many as its questions took or take so far."""
        return self.looked.rows.now[arm] if self.looked else self.planned

    @property
    def longest(self) -> int:
        """Replicates of the arm that has most."""
        return max(self.planned_of(row.arm) for row in self.rows)

    @property
    def num_planned(self) -> int:
        """Runs of the whole table."""
        return sum(self.planned_of(row.arm) for row in self.rows)

    @property
    def budget(self) -> str:
        """How long the arms were trained, as part of what the answers hold for."""
        return f"{self.trained}, not converged" if self.unconverged else self.trained

    @property
    def trained(self) -> str:
        """How long the arms were trained, as planned; up to that where runs may stop early."""
        numbers = sorted({number for row in self.rows for number in row.planned_epochs})
        if not numbers:
            return "nothing trained yet"
        epochs = f"{' or '.join(map(str, numbers))} epoch{'s' * (numbers != [1])}"
        early = any(run.early for row in self.rows for run in row.complete)
        return f"{'up to ' * early}{epochs}"

    @property
    def reference(self) -> str:
        return self.rows[0].arm

    def keys(self, *arms: str) -> tuple[str, ...]:
        """The runs of these arms, arm after arm; of all arms where none is named."""
        found = {row.arm: row.keys for row in self.rows}
        return tuple(key for arm in arms or found for key in found.get(arm, ()))

    @cached_property
    def deltas(self) -> tuple[Contrast, ...]:
        """Differences of arms, each from the arm that it is `against`."""
        return tuple(contrast for contrast in self.contrasts if contrast.kind == "delta")

    @cached_property
    def effects(self) -> tuple[Contrast, ...]:
        return tuple(contrast for contrast in self.contrasts if contrast.kind != "delta")

    @property
    def factors(self) -> tuple[str, ...]:
        return tuple(self.rows[0].levels)

    @property
    def apart(self) -> dict[str, str]:
        """Arms that can be neither bold nor best → why."""
        return {
            r.arm: why
            for r in self.rows
            if (why := {**self.below, **self.barred}.get(r.arm) or self.uncompared.get(r.arm))
        }

    @property
    def bold(self) -> frozenset[str]:
        """The best set but for arms that may not lead, where it leaves an arm out; a set of all
        arms says nothing.
        """
        leaves_out = any(row.values and row.arm not in self.best for row in self.designed)
        return self.best.difference(self.apart) if leaves_out else frozenset()


def at_best(run: Run) -> dict[str, float] | None:
    """All metrics of one epoch: the one the run's test numbers belong to, else its best.

    Of a model that was changed after training, val_* are those of the model as changed.
    """
    epoch = run.epochs[run.best_epoch - 1] if 0 < run.best_epoch <= len(run.epochs) else run.best
    return epoch and {
        **epoch,
        **{name: value for name, value in run.metrics.items() if name in epoch},
        **{name: run.final[name] for name in ("val_loss", "val_acc") if name in run.final},
    }


def spread(values: Sequence[float]) -> float:
    """Standard deviation (ddof 1); NaN where there are too few values to show one."""
    return stdev(values) if len(values) >= MIN_REPLICATES else NAN


def read_ablation(record: Record, study: Study) -> Ablation:
    """The ablation of `record`; runs without a result are left out of the numbers and kept in the
    counts.
    """
    design = study.ablation.design
    crossed = design.crossing()
    levels = {arm.name: arm.levels for arm in design.expand()}
    scored = Scored.of(record, study)
    runs, scores, judged_by, way = scored.runs, scored.table, scored.judged, scored.basis
    held_out, planned = judged_by.held_out, study.ablation.replicates
    worth = judged_by.sign * scores
    rows = tuple(
        ArmRow(arm, levels[arm], tuple(runs[arm]), tuple(scored.column(runs[arm]).values()))
        for arm in levels
    )
    looked = Looked.of(scored)
    due = looked.rows.now if looked else dict.fromkeys(record.arm_names, planned)
    questions, rope = design.questions(), study.ablation.rope
    unlike = unequal(record, study)
    if not held_out:
        unlike = (*unlike, *chosen_by_the_judge(record, study))
    lost = untuned(record, study)
    empty = {
        row.arm: reasons(runs[row.arm], lost.get((row.arm, 1))) for row in rows if not row.complete
    }
    # a fraction is read by its effects alone
    compares = not unlike and any(q.kind == "delta" for q in questions)
    part: Part = "test" if held_out else "valid"
    guess = Guess.of(record.data, part, judged_by.name, is_share=judged_by.is_share)
    learned = trained(scored.complete, record.data, last=not held_out)
    out = barred(runs, worth, guess, due if looked else {}, learned) if compares else {}
    apart = uncompared(worth, empty, way, out) if compares else {}
    judged = (
        Judgement(not_compared(questions, way))
        if unlike
        else looked.design.judged(out)
        if looked
        else judge(scores, questions, rope, way, out, sign=judged_by.sign)
    )
    judges = num_labelled(record.data, part)
    answers, best = judged.contrasts, frozenset(judged.leading)
    tested, fell = judges if held_out else 0, collapsed(worth, guess, learned)
    named = {arm: own for arm, own in record.arms().items() if arm in record.arm_names}
    gaps, policy = holes(named, due, lost), study.ablation.tuning.name
    facts = (gaps, empty, apart, out, guess, fell, learned, tested, policy, unlike, crossed)
    low = {arm: f"below {judged.top}, which no question compares it with" for arm in judged.below}
    made = Ablation(judged_by, rope, planned, rows, scores, way, answers, best, *facts, below=low)
    if not unlike:
        ends = {row.arm: level(row.values, guess, low=row.arm in made.at_chance) for row in rows}
        alike = explained(answers, questions, runs, ends, alike_in(judged_by, judges))
        made = replace(made, contrasts=alike)
    return _with_found(scored, replace(made, looked=looked, changed=later_changes(record)))


def _with_found(scored: Scored, made: Ablation) -> Ablation:
    """With what the search found as a row more; its own test changes no other answer."""
    if not scored.found:
        return made
    found = _found(scored, made)
    row = found.row
    scores = made.scores.join(scored.beside[[row.arm]], how="outer")
    last = not made.judged.held_out
    own = trained({row.arm: row.complete}, scored.record.data, last=last)
    learned = {**made.learned, **own}
    return replace(
        made,
        found=found,
        rows=(*made.rows, row),
        scores=scores,
        empty={**made.empty, **({} if row.complete else {row.arm: reasons(row.runs)})},
        collapsed=collapsed(made.judged.sign * scores, made.guess, learned),
        learned=learned,
    )


def _found(scored: Scored, ablation: Ablation) -> Found:
    """What the search found: an arm of the study as recorded, and none of its design."""
    question = scored.asked_of_found
    runs = scored.record.arms().get(scored.found, [])
    base = scored.record.study.baseline.model_dump(mode="json")
    why, sign = REASON if ablation.unequal else "", ablation.judged.sign
    if any(run.config[part] != base[part] for run in runs for part in EQUAL):
        why = OTHERWISE
    elif not ablation.judged.held_out:
        why = CHOOSERS
    judged = (
        not_compared([question], ablation.basis, why)
        if why
        else ablation.looked.found.judged().contrasts
        if ablation.looked and ablation.looked.found
        else judge(scored.beside, [question], ablation.rope, ablation.basis, sign=sign).contrasts
    )
    row = ArmRow(scored.found, {}, tuple(runs), tuple(scored.column(runs).values()))
    return Found(row, judged[0], question.weights)
