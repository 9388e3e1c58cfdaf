"""`--warm-start`: a search begins with the best configurations of another study's record."""

import functools
from dataclasses import dataclass
from pathlib import Path

from pipeline.counts import plural
from pipeline.errors import UserError, printable
from pipeline.frozen import Scalar, flatten
from pipeline.record.ledger import FILE
from pipeline.record.record import Record
from pipeline.session.resume import elsewhere, recorded_in
from pipeline.study.around import Around
from pipeline.study.study import Study

MOST_POINTS = 4
"""More would cost a small search a part of its trials where the other study misleads."""


def require_warm(record: Record, folder: str) -> None:
    """Raise UserError where a study has begun without the points that it now is to begin with."""
    if folder and record.begun and not record.study.search.warmed:
        raise UserError(
            f"--warm-start: got {printable(folder)}, but this study has begun, and its first "
            "trials are recorded; allowed: leave it out, or --fresh to begin anew"
        )


def warmed(study: Study, folder: str) -> Study:
    """The study, which has not begun, with the other one's best points as the first of its search.

    Raises UserError where nothing is recorded there, or nothing of it lies in this study's space.
    """
    taken = _taken(study, folder)
    if not taken.points:
        others = plural(taken.passed_over, "trial with a result", "trials with a result")
        raise UserError(
            f"--warm-start: {printable(folder)}: none of {others} lies in the space of this study, "
            "or is another than its baseline"
        )
    return study.override({"search.warmed": list(taken.points)}, source="--warm-start")


def taken_in_words(study: Study, folder: str) -> str:
    """What a study that has not begun takes of the other one."""
    taken = _taken(study, folder)
    numbers = ", ".join(map(str, taken.trials))
    said = f"warm start: trials {numbers} of {printable(folder)} are tried first, best first"
    if taken.passed_over:
        better = plural(taken.passed_over, "better one is", "better ones are")
        said += f"; {better} outside of this study's space, or its baseline"
    return said


@dataclass(frozen=True)
class _Taken:
    """The best trials' points in this study's space, their numbers there, and how many better ones
    have none.
    """

    points: tuple[dict[str, Scalar], ...]
    trials: tuple[int, ...]
    passed_over: int


@functools.lru_cache(maxsize=1)
def _other(place: Path, _: tuple[int, int]) -> Record:
    """The record there, read once as long as its file is the same."""
    return recorded_in(place)


def _taken(study: Study, folder: str) -> _Taken:
    place = Path(folder).expanduser()
    if not (place / FILE).exists():
        raise UserError(
            f"--warm-start: nothing is recorded in {printable(folder)}; give the folder of a study "
            f"({elsewhere(place.parent)})"
        )
    around = Around(study.space, study.baseline)
    baseline = around.point(study.baseline.flat())
    points: list[dict[str, Scalar]] = []
    trials: list[int] = []
    passed_over = 0
    found = (place / FILE).stat()
    for run in _other(place, (found.st_mtime_ns, found.st_size)).ranked_trials():
        point = around.point(dict(flatten(run.config)), run.knobs)
        if point is None or point == baseline or around.refusal(point):
            passed_over += 1
        elif point not in points:
            points.append(point)
            trials.append(run.number)
        if len(points) == MOST_POINTS:
            break
    return _Taken(tuple(points), tuple(trials), passed_over)
