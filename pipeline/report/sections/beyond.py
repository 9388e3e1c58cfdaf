"""For other pictures of this kind: the second interval of each contrast, in the words and cells of
every format.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from pipeline.analysis.answers import Answers
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import Contrast, estimate, for_other_pictures, leads_beyond
from pipeline.analysis.wording import NONE, Points
from pipeline.report.document import Cell, Column
from pipeline.study.questions import FOUND, Question
from pipeline.study.study import Study

COLUMN = Column("other pictures [95 % CI]", "right", loose=True, name="beyond")


def with_other_pictures(ablation: Ablation, answers: Answers, study: Study) -> Ablation:
    """`ablation` with what its contrasts are for other pictures, from what the runs answered on
    these.
    """
    questions = study.ablation.design.questions()
    marks = {r.arm: answers.marks[r.arm] for r in ablation.designed if r.arm in answers.marks}
    found = for_other_pictures(ablation.contrasts, questions, marks, ablation.rope)
    shaken = {
        arm for contrast in found if contrast.only_here for arm in (contrast.name, contrast.against)
    }
    designed = ablation.scores[[row.arm for row in ablation.designed]]
    looked, fixed = ablation.looked, partial(estimate, designed, basis=ablation.basis)
    ask = looked.design.ask if looked else fixed
    alone = ablation.bold if answers.marks and len(ablation.bold) == 1 else frozenset()
    open_ = frozenset(arm for arm in alone if arm in shaken or not leads_beyond(ask, arm, marks))
    own = ablation.found
    if own is not None:
        asked = Question(own.row.arm, "delta", own.weights, FOUND, ablation.reference)
        both = {arm: mark for arm, mark in answers.marks.items() if arm in own.weights}
        wide = for_other_pictures((own.contrast,), [asked], both, ablation.rope)
        own = replace(own, contrast=wide[0])
    return replace(
        ablation, contrasts=found, no_beyond=answers.no_marks, best_here=open_, found=own
    )


def cells(
    contrasts: Sequence[Contrast | None], keys: Sequence[tuple[str, ...]], shown: Points
) -> list[Cell]:
    """The column; no cells where no contrast has such an interval."""
    if not any(contrast and contrast.beyond for contrast in contrasts):
        return []
    return [
        Cell(interval(c, shown) if c else NONE, runs=runs)
        for c, runs in zip(contrasts, keys, strict=True)
    ]


def interval(contrast: Contrast, shown: Points) -> str:
    """[low, high]"""
    return shown.interval(contrast.beyond.low, contrast.beyond.high) if contrast.beyond else NONE


def sentence(contrast: Contrast, shown: Points) -> str:
    """What must follow a verdict that holds for these pictures alone; else nothing."""
    return (
        f" For other pictures of this kind that is open: {interval(contrast, shown)}."
        if contrast.only_here
        else ""
    )


def notes(ablation: Ablation) -> Iterator[str]:
    """How the second interval comes about, or why there is none; of what is tested."""
    tested = [contrast for contrast in ablation.contrasts if contrast.family]
    if any(contrast.beyond for contrast in tested):
        yield (
            "Other pictures: the 95 % interval for training again and judging on other pictures of "
            "this kind, from the same runs' answers picture by picture (two-way analysis of "
            "variance, runs and pictures random; Satterthwaite 1946). The first interval and the "
            "verdict are for these very pictures; (these pictures) marks a verdict that is open "
            "for others. Near copies among the test pictures make the second interval too narrow."
        )
    elif tested and ablation.no_beyond:
        yield f"No interval for other pictures of this kind is given: {ablation.no_beyond}."
