"""`--warm-start`: a search begins with what another study's record says is good."""

import functools
from dataclasses import dataclass
from pathlib import Path

from pipeline.counts import plural
from pipeline.errors import UserError, choices, printable
from pipeline.frozen import Scalar, flatten
from pipeline.record.ledger import FILE
from pipeline.record.record import Record
from pipeline.session.options import AUTO
from pipeline.session.resume import recorded_in
from pipeline.study.around import Around
from pipeline.study.study import Study

MOST_POINTS = 200
"""Of another study; of more as many are taken, evenly by their ranks."""


def require_warm(record: Record, folder: str) -> None:
    """Raise UserError where a study has begun without the points that it now is to begin with."""
    search = record.study.search if record.begun else None
    if folder not in ("", AUTO) and search and not (search.warmed or search.past):
        raise UserError(
            f"--warm-start: got {printable(folder)}, but this study has begun, and its first "
            "trials are recorded; allowed: leave it out, or --fresh to begin anew"
        )


def warmed(study: Study, folder: str) -> Study:
    """The study, which has not begun, with the other one's points as its past.

    Raises UserError where nothing is recorded there, or nothing of it lies in this study's space.
    """
    taken = _taken(study, folder)
    if not taken.points:
        others = plural(taken.passed_over, "trial with a result", "trials with a result")
        raise UserError(
            f"--warm-start: {printable(folder)}: none of {others} lies in the space of this study, "
            "or is another than its baseline"
        )
    past = {"search.past": list(taken.points), "search.past_of": Path(folder).resolve().name}
    return study.override(past, source="--warm-start")


def taken_in_words(study: Study, folder: str) -> str:
    """What a study that has not begun takes of the other one."""
    taken = _taken(study, folder)
    said = f"warm start: trial {taken.trials[0]} of {printable(folder)} is tried early"
    if study.search.listens:
        said += (
            f"; the order of its {plural(len(taken.points), 'trial')} is heard while it agrees "
            "with that of the search's own"
        )
    if taken.passed_over:
        others = plural(taken.passed_over, "trial is", "trials are")
        said += f"; {others} outside of this study's space, or its baseline"
    return said


@dataclass(frozen=True)
class Taken:
    """The trials' points in this study's space, best first, their numbers there, and how many have
    none.
    """

    points: tuple[dict[str, Scalar], ...]
    trials: tuple[int, ...]
    passed_over: int


def taken_of(study: Study, record: Record) -> Taken:
    """What a study can take of another one's record."""
    around = Around(study.space, study.baseline)
    baseline = around.point(study.baseline.flat())
    found: list[tuple[dict[str, Scalar], int]] = []
    seen: list[dict[str, Scalar]] = []
    passed_over = 0
    for run in record.ranked_trials():
        point = around.point(dict(flatten(run.config)), run.knobs)
        if point is None or point == baseline or around.refusal(point):
            passed_over += 1
        elif point not in seen:
            seen.append(point)
            found.append((point, run.number))
    found = found[:: -(-len(found) // MOST_POINTS) or 1]
    return Taken(tuple(p for p, _ in found), tuple(n for _, n in found), passed_over)


@functools.lru_cache(maxsize=1)
def _other(place: Path, _: tuple[int, int]) -> Record:
    """The record there, read once as long as its file is the same."""
    return recorded_in(place)


def _taken(study: Study, folder: str) -> Taken:
    place = Path(folder).expanduser()
    if not (place / FILE).exists():
        known = sorted(path.parent.name for path in place.parent.glob(f"*/{FILE}"))
        raise UserError(
            f"--warm-start: nothing is recorded in {printable(folder)}; give the folder of a "
            f"study: {choices(place.name, (AUTO, *known))}"
        )
    found = (place / FILE).stat()
    return taken_of(study, _other(place, (found.st_mtime_ns, found.st_size)))
