"""The second interval of a contrast: for other pictures of this kind. Runs and pictures are crossed
random effects. Pure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.analysis.stats.contrasts import Contrast
from pipeline.analysis.stats.student import ALPHA, MIN_REPLICATES, Fit, Floats
from pipeline.analysis.stats.verdicts import Ask, conclude
from pipeline.study.questions import Question

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Marks:
    """What an arm's runs got right, picture by picture.

    `right` [N]: the share of its `runs` that had the picture right; `rest`: the mean square of what
    runs and pictures, added up, leave unexplained.
    """

    right: Floats
    runs: int
    rest: float

    @classmethod
    def of(cls, answers: Bools) -> "Marks":
        """Of [R, N], at least two runs and two pictures."""
        runs, pictures = answers.shape
        right, accuracies = answers.mean(axis=0), answers.mean(axis=1)
        total = float(right.sum()) - float(
            (right**2).sum()
        )  # over runs: of 0 and 1 the squares are the values
        squares = runs * total - pictures * (
            float((accuracies**2).sum()) - runs * float(accuracies.mean()) ** 2
        )
        return cls(right, runs, max(squares, 0.0) / ((runs - 1) * (pictures - 1)))


def widened(found: Fit, marks: Sequence[Marks], weights: Sequence[float]) -> Fit:
    """A contrast of arms that were all judged on the same pictures, for runs on other pictures of
    the same kind.

    Two-way analysis of variance with random runs (each arm has its own) and random pictures (the
    arms share them): the variance of the estimate is that of the runs, as `found` has it, plus that
    of the pictures, minus the rest, which is in both; its degrees of freedom are Satterthwaite's
    (1946, Biometrics Bulletin 2). Never narrower than `found`.
    """
    num = len(marks[0].right)
    contrast = np.array(weights) @ np.stack([mark.right for mark in marks])
    runs, pictures = float(found.error) ** 2, float(contrast.var(ddof=1)) / num
    rests = [
        weight**2 * mark.rest / (mark.runs * num)
        for weight, mark in zip(weights, marks, strict=True)
    ]
    variance = runs + pictures - sum(rests)
    if variance <= runs:
        return found
    parts = [(runs, float(found.df)), (pictures, num - 1.0)]
    parts += [
        (rest, (mark.runs - 1.0) * (num - 1)) for rest, mark in zip(rests, marks, strict=True)
    ]
    df = variance**2 / sum(part**2 / free for part, free in parts)
    wide = replace(found, error=np.asarray(math.sqrt(variance)), df=np.asarray(df))
    return wide if wide.half() > found.half() else found


def widen(contrast: Contrast, question: Question, marks: Mapping[str, Marks]) -> Contrast:
    """An estimate with the interval and the p-value that it has for other pictures; `marks` of all
    arms of the question.
    """
    weights = list(question.weights.values())
    wide = widened(contrast.fit, [marks[arm] for arm in question.weights], weights)
    half = float(wide.half(1 - ALPHA * contrast.share))
    return replace(
        contrast,
        low=contrast.delta - half,
        high=contrast.delta + half,
        error=float(wide.error),
        df=float(wide.df),
        p=max(contrast.p, min(float(wide.p) / contrast.share, 1.0)),
        even=False,
    )


def for_other_pictures(
    contrasts: Sequence[Contrast],
    questions: Sequence[Question],
    marks: Mapping[str, Marks],
    rope: float,
) -> tuple[Contrast, ...]:
    """The contrasts, each tested one with what it is `beyond` these pictures, corrected and judged
    as it was itself.

    `questions` are those that the contrasts answer, in their order. Nothing is added where `marks`
    lacks an arm.
    """
    if any(
        arm not in marks
        for c, q in zip(contrasts, questions, strict=True)
        if c.family
        for arm in q.weights
    ):
        return tuple(contrasts)
    wide = [
        widen(c, q, marks) if c.family else c for c, q in zip(contrasts, questions, strict=True)
    ]
    judged = conclude(wide, questions, rope, list(marks)).contrasts
    return tuple(
        replace(c, beyond=b if c.family else None) for c, b in zip(contrasts, judged, strict=True)
    )


def leads_beyond(ask: Ask, top: str, marks: Mapping[str, Marks]) -> bool:
    """Whether the best arm on these pictures is above every other with results, each at 5 %, on
    others of their kind; `ask` gives the estimates.
    """
    questions = [Question(arm, "delta", {top: 1.0, arm: -1.0}) for arm in marks if arm != top]
    tests = [(ask(question), question) for question in questions]
    return all(
        widen(test, question, marks).p < ALPHA
        for test, question in tests
        if test.n >= MIN_REPLICATES
    )
