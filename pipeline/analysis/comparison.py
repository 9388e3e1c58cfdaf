"""Arms of several records, judged as the arms of one study are: is the other one to be kept?"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pipeline.analysis.chance import Guess, Part
from pipeline.analysis.collapse import barred, trained
from pipeline.analysis.fairness import CHOOSERS, chosen_by_the_judge, unequal
from pipeline.analysis.missing_runs import has_numbers
from pipeline.analysis.scores import Scored
from pipeline.analysis.stats import Basis, Contrast, judge, replicates_to_find
from pipeline.core.config import TrainConfig
from pipeline.counts import plural
from pipeline.errors import UserError, choices, printable
from pipeline.frozen import flatten
from pipeline.record.record import Record, Run
from pipeline.record.sources import changed
from pipeline.study.judged import Judged
from pipeline.study.questions import differences
from pipeline.study.study import EQUAL

Decision = Literal["keep", "discard", "undecided"]
NONE = "–"
MOST = 1000
"""Replicates that are still named as what would tell."""


@dataclass(frozen=True)
class Side:
    """An arm of a record, under a name of its own."""

    label: str
    record: Record
    arm: str
    place: Path = Path()
    only: frozenset[int] | None = None

    @classmethod
    def of(cls, label: str, record: Record, arm: str = "", place: Path | None = None) -> "Side":
        """Its reference, where no arm is named; `place`: the record's folder. Raises UserError
        where there is no such arm, or nothing is recorded.
        """
        if record.begun is None:
            raise UserError(f"{printable(label)}: nothing is recorded yet")
        names = [own.name for own, _ in record.study.all_arms()]
        if arm and arm not in names:
            raise UserError(f"{printable(label)}: {choices(arm, names)}")
        return cls(label, record, arm or names[0], place or Path(label))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All of its replicates, with results or without."""
        return tuple(self.record.arms().get(self.arm, ()))

    @cached_property
    def scored(self) -> Scored:
        return Scored(self.record, self.record.study, {self.arm: self.runs}, "")

    @cached_property
    def values(self) -> dict[int, float]:
        """Replicate → what it is judged by, of `only` these replicates where some are named."""
        found = self.scored.column(self.runs)
        return {r: value for r, value in found.items() if self.only is None or r in self.only}

    @property
    def mean(self) -> float:
        return sum(self.values.values()) / len(self.values)

    @property
    def planned(self) -> int:
        """Replicates that it is to have."""
        return self.record.study.ablation.replicates

    @property
    def open(self) -> int:
        """Those of them that have not ended."""
        return self.planned - sum(not run.unfinished for run in self.runs[: self.planned])

    @cached_property
    def config(self) -> TrainConfig:
        """What its first replicate was trained by; where arms are tuned that is not the study's."""
        return TrainConfig.parse(self.runs[0].config, source=f"run {self.runs[0].key}")


@dataclass(frozen=True)
class Comparison:
    """`contrasts` of every other side from the first, in the order of `sides`; `rope`: the smallest
    difference of practical interest.
    """

    sides: tuple[Side, ...]
    judged: Judged
    basis: Basis
    rope: float
    contrasts: tuple[Contrast, ...]
    barred: Mapping[str, str] = field(default_factory=dict)

    def why_open(self, contrast: Contrast) -> str:
        """What forbids a decision, whatever the numbers say; '' where nothing does."""
        names = (contrast.name, contrast.against)
        found = (f"{printable(n)}: {self.barred[n]}" for n in names if n in self.barred)
        return "; ".join(found)

    def decision(self, contrast: Contrast) -> Decision:
        """keep: found better; discard: found worse, or equivalent within the margin; else
        undecided, and where one of the two may not be judged.
        """
        if self.why_open(contrast):
            return "undecided"
        verdict = contrast.verdict
        if verdict == "better":
            return "keep"
        return "discard" if verdict in ("worse", "equivalent") else "undecided"

    def needed(self, contrast: Contrast) -> int | None:
        """The replicates of each that would tell a difference as large as the margin, where it is
        open; None: MOST would not, or it is not tested.
        """
        if self.decision(contrast) != "undecided" or not contrast.family:
            return None
        if self.why_open(contrast):
            return None
        return replicates_to_find(contrast, self.rope, self.basis.ratio, MOST)

    def differing(self, other: Side) -> Iterator[str]:
        """What distinguishes a side from the first: settings, then files of the code."""
        mine, theirs = (
            dict(flatten(s.config.model_dump(mode="json"))) for s in (self.sides[0], other)
        )
        for path in sorted(mine.keys() | theirs.keys()):
            if mine.get(path) != theirs.get(path):
                yield f"{path} {mine.get(path, NONE)} → {theirs.get(path, NONE)}"
        yield from sorted(_code(self.sides[0], other))


def compare(sides: Sequence[Side], rope: float | None = None) -> Comparison:
    """The sides' scores as the arms of one table, the first one the reference: the same test, one
    family, the same verdicts. `rope`: in the first one's place.

    Raises UserError where they were not judged alike: on other pictures or splits, by another
    metric, trained for other epochs; or where a fixed number of replicates was not what ended one.
    """
    first = sides[0]
    if len({side.place.resolve() for side in sides}) < len(sides):
        raise UserError(
            "arms of one study are compared in its own report, where all of its questions are one "
            "family; given here: two of one record"
        )
    for side in sides:
        _require_sound(side)
    for other in sides[1:]:
        _require_alike(first, other)
    basis, judged = first.scored.basis, first.scored.judged
    margin = first.record.study.ablation.rope if rope is None else rope
    if judged.is_share and margin >= 1:
        raise UserError(f"--margin: got {margin:g}; allowed: below 1, a share of 1")
    sides = tuple(sides)
    if basis.test != "Welch's t":
        common = set.intersection(*(set(side.values) for side in sides))
        if not common:
            raise UserError("no replicate has a result on every side: nothing is paired")
        sides = tuple(replace(side, only=frozenset(common)) for side in sides)
    columns = {side.label: side.values for side in sides}
    answers = _answers(columns, margin, basis, judged)
    return Comparison(sides, judged, basis, margin, answers, _barred(sides, judged))


def _require_sound(side: Side) -> None:
    """That its numbers say of it what they say of the arms of one study."""
    label, study = printable(side.label), side.record.study
    if study.ablation.until_answered:
        raise UserError(
            f"{label}: its results were looked at until they answered its own questions: tests for "
            "a fixed number of replicates do not hold for others"
        )
    if not side.values:
        raise UserError(f"{label}: {side.arm} has no complete run")
    why = list(unequal(side.record, study))
    if not side.scored.judged.held_out:
        why += chosen_by_the_judge(side.record, study)
        if side.arm not in side.record.arm_names:
            why.append(CHOOSERS)
    if why:
        raise UserError(f"{label}: {'; '.join(why)}")


def _barred(sides: Sequence[Side], judged: Judged) -> dict[str, str]:
    """Name → why it may be neither kept nor what another is held against, as in a study's own
    report; and where replicates are still to come.
    """
    data = sides[0].record.data
    part: Part = "test" if judged.held_out else "valid"
    scores = pd.DataFrame({side.label: pd.Series(side.values, dtype=float) for side in sides})
    learned = {
        side.label: trained(side.scored.complete, side.record.data, last=not judged.held_out)[
            side.arm
        ]
        for side in sides
    }
    found = barred(
        {side.label: side.runs for side in sides},
        judged.sign * scores,
        Guess.of(data, part, judged.name, is_share=judged.is_share),
        {side.label: side.planned for side in sides},
        learned,
    )
    for side in sides:
        if side.open:
            left = f"{plural(side.open, 'planned replicate has', 'planned replicates have')}"
            found[side.label] = f"{left} not ended: compare when they have"
    return found


def _answers(
    columns: Mapping[str, Mapping[int, float]], margin: float, basis: Basis, judged: Judged
) -> tuple[Contrast, ...]:
    """Of name → replicate → value, every other one less the first."""
    scores = pd.DataFrame({name: pd.Series(own, dtype=float) for name, own in columns.items()})
    questions = differences(columns, next(iter(columns)))
    return judge(scores, questions, margin, basis, sign=judged.sign).contrasts


def _require_alike(first: Side, other: Side) -> None:
    names = f"{printable(first.label)} and {printable(other.label)}"
    mine, theirs = map(_conditions, (first, other))
    for what in sorted(mine.keys() | theirs.keys()):
        one, two = mine.get(what, NONE), theirs.get(what, NONE)
        if one != two:
            raise UserError(
                f"{names} cannot be compared, since they differ in {what}: {printable(one, 60)} "
                f"and {printable(two, 60)}"
            )


def _conditions(side: Side) -> dict[str, Any]:
    """What must be the same."""
    flat = dict(flatten(side.config.model_dump(mode="json")))
    scored = side.scored
    # what is shown beside accuracy decides nothing
    equal = {*EQUAL} - {"attack"} - ({"metrics"} if scored.judged.is_acc else set())
    found = {path: value for path, value in flat.items() if path.split(".")[0] in equal}
    found["the fingerprint of their pictures"] = side.record.data["fingerprint"]
    found["what judges them"] = scored.judged.column
    found["how they were tuned"] = str(side.record.study.ablation.tuning)
    found["their test"] = scored.basis.test
    if scored.basis.test != "Welch's t":  # replicates share their splits
        found["search.seed, which draws their splits"] = side.record.study.search.seed
    return found


def _code(first: Side, other: Side) -> set[str]:
    """The files of the code by which the two were trained that differ, as far as it is recorded."""
    found: list[dict[str, Any]] = []
    for side in (first, other):
        names = {name for run in side.runs for name in run.code if name in side.record.code}
        found.append({part: f for name in names for part, f in side.record.code[name].items()})
    return changed(*found)


def as_json(made: Comparison) -> dict[str, Any]:
    """What a program needs: numbers in the metric's own unit, shares of 1; None where not known."""

    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "judged_by": made.judged.column,
        "less_is_better": made.judged.sign < 0,
        "margin": made.rope,
        "test": made.basis.test,
        "sides": [
            {
                "name": side.label,
                "arm": side.arm,
                "replicates": len(side.values),
                "planned": side.planned,
                "without_result": sum(not has_numbers(run) for run in side.runs),
                "mean": known(side.mean),
            }
            for side in made.sides
        ],
        "comparisons": [
            {
                "name": one.name,
                "against": one.against,
                **{
                    key: known(value)
                    for key, value in dataclasses.asdict(one).items()
                    if key in ("delta", "low", "high", "p", "p_holm")
                },
                "verdict": one.verdict,
                "reason": one.reason,
                "decision": made.decision(one),
                "why_open": made.why_open(one),
                "replicates_needed": made.needed(one),
                "differs_in": list(made.differing(side)),
            }
            for one, side in zip(made.contrasts, made.sides[1:], strict=True)
        ],
    }
