"""Why arms come out exactly alike: the runs themselves are compared before a mistake is
suspected.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.analysis.chance import Guess
from pipeline.analysis.missing_runs import has_numbers
from pipeline.analysis.stats import MIN_REPLICATES, Contrast
from pipeline.analysis.wording import Points, is_zero, listed
from pipeline.counts import plural
from pipeline.record.record import Run
from pipeline.study.judged import Judged
from pipeline.study.questions import Question

CURVES = ("train_loss", "train_acc", "val_loss", "val_acc")
SHOWN = Points(1)

WIRING = "a wiring mistake"


def explained(
    contrasts: Sequence[Contrast],
    questions: Sequence[Question],
    runs: Mapping[str, Sequence[Run]],
    levels: Mapping[str, str],
    answers: str,
) -> tuple[Contrast, ...]:
    """The contrasts, those without any spread with what their runs say of it: `runs` and `levels`
    (see `level`) of every arm; `answers` is what is alike (see `alike_in`)."""
    found = []
    for contrast, question in zip(contrasts, questions, strict=True):
        if contrast.sd == 0 and contrast.n >= MIN_REPLICATES and not contrast.family:
            why = _why(question, runs, answers) if is_zero(contrast.delta) else ""
            where = listed([f"{arm} ({levels[arm]})" for arm in question.weights if levels[arm]])
            reason = "; ".join(filter(None, (contrast.reason, why, where and f"look at {where}")))
            contrast = replace(contrast, reason=reason)
        found.append(contrast)
    return tuple(found)


def alike_in(judged: Judged, num_pictures: int) -> str:
    """What is the same of arms that come out alike on so many pictures."""
    right = f"the number of right answers, of {plural(num_pictures, 'picture')}"
    return right if judged.is_acc else f"the {judged.noun}"


def _why(question: Question, runs: Mapping[str, Sequence[Run]], answers: str) -> str:
    """Whether losses and curves cancel as the scores do, run by run; then the change never
    reached the training.
    """
    complete = {
        arm: {run.replicate: run for run in runs[arm] if has_numbers(run)}
        for arm in question.weights
    }
    shared = set.intersection(*(set(own) for own in complete.values()))
    for replicate in shared:
        left: defaultdict[object, float] = defaultdict(float)
        for arm, weight in question.weights.items():
            left[_trace(complete[arm][replicate])] += weight
        if not all(map(is_zero, left.values())):
            return f"the losses differ, so the change does reach the training, but not {answers}"
    if not shared:
        return ""
    return (
        f"so is every loss of every epoch: either {WIRING}, the change does not reach the "
        "training, or it comes to the same there"
    )


def _trace(run: Run) -> object:
    """All that was measured of a run, to the last bit."""
    return (
        run.test_loss,
        run.test_acc,
        tuple(tuple(epoch[name] for name in CURVES) for epoch in run.epochs),
    )


def level(scores: Sequence[float], guess: Guess, *, low: bool) -> str:
    """Where all of an arm's runs are at an end of the scale, at chance where they are `low`; of
    shares alone.
    """
    if guess.is_share and len(scores) and min(scores) == 1:
        return "at the ceiling, 100 % in every run"
    return f"at chance, guessing gives {SHOWN.number(guess.rate)} %" if low else ""
