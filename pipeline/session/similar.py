"""`--warm-start auto`: which of the records beside a study's own is most like it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.counts import plural
from pipeline.data.taken import Taken
from pipeline.errors import PipelineError, printable
from pipeline.record.folders import study_folder
from pipeline.record.ledger import ASIDE, FILE
from pipeline.record.record import Record
from pipeline.session.options import AUTO, Options
from pipeline.session.resolve import Chosen
from pipeline.session.resume import recorded_in
from pipeline.session.warm_start import taken_in_words, taken_of
from pipeline.study.judged import Judged
from pipeline.study.study import Study

LEAST_KNOBS = 0.5
"""Share of the space's knobs that a record must have searched too."""
LEAST_FULL = 3
"""Trials that a record must have at its top rung: the best of fewer is a matter of luck."""
UNREADABLE = (
    *(PipelineError, OSError, LookupError, TypeError, ValueError),
    *(ArithmeticError, AttributeError, RecursionError),
)


@dataclass(frozen=True)
class Pictures:
    """What two sets of pictures are compared by: classes, labelled training pictures, channels and
    side in pixels.
    """

    classes: int
    train: int
    channels: int
    size: int

    @classmethod
    def of(cls, study: Study, classes: int, train: int) -> "Pictures":
        """Those of a study: its configuration says what they are brought to."""
        dataset = study.baseline.dataset
        return cls(classes, train, dataset.channels, dataset.size)

    def unlike(self, other: "Pictures") -> float:
        """0 where they agree in all; twice as many pictures count as twice as large ones do."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return sum(abs(math.log(max(mine, 1) / max(theirs, 1))) for mine, theirs in pairs)

    def __str__(self) -> str:
        return (
            f"{plural(self.classes, 'class', 'classes')}, {plural(self.train, 'training picture')} "
            f"of {plural(self.channels, 'channel')} at {self.size} px"
        )


@dataclass(frozen=True)
class Choice:
    """`folder`: of the record that was chosen, '' where none fits; `words`: which and why."""

    folder: str
    words: str


@dataclass(frozen=True)
class _Like:
    """A record that fits, and how like it is. The least comes first."""

    minus_shared: int
    unlike: float
    name: str
    pictures: Pictures

    @property
    def place(self) -> tuple[int, float, str]:
        return self.minus_shared, self.unlike, self.name


def warm_start(
    options: Options, asked: Chosen, study: Study, record: Record, taken: Taken | None
) -> tuple[Options, str]:
    """(the options with the record that `auto` comes to, what to say of it). `taken`: of the
    pictures, None where they are not here yet.
    """
    given, past = options.warm_start, study.search.past_of
    if not given or (record.begun and given != AUTO):
        return options, ""
    if record.begun:
        began = f"the past of {printable(past)}" if past else "no past"
        return options, f"warm start: this study has begun with {began}, and none is chosen anew"
    if given != AUTO:
        return options, taken_in_words(study, given)
    if taken is None:
        return options, "warm start: the most similar record is chosen once the pictures are here"
    root = Path(options.mlruns)
    pictures = Pictures.of(study, len(taken.classes), taken.counts["train"][0])
    choice = most_similar(study, pictures, root, study_folder(root, asked.study, asked.data))
    options = replace(options, warm_start=choice.folder)
    more = f"\n{taken_in_words(study, choice.folder)}" if choice.folder else ""
    return options, choice.words + more


def most_similar(study: Study, pictures: Pictures, root: Path, own: Path) -> Choice:
    """The record under `root` that the study, kept in `own`, is to begin with: of those of its
    metric that searched at least half of its knobs and have LEAST_FULL trials at the top rung, some
    of them in its space, the one of the most knobs; of equal ones that of the most similar
    pictures, then by name.

    What was moved aside is passed over, and so is what cannot be read, which is counted.
    """
    found: list[_Like] = []
    num_read, unreadable = 0, 0
    knobs = {slot.name for slot in study.space.slots()}
    for folder in _others(root, own):
        try:
            record = recorded_in(folder)
            if record.begun is None:  # as of a command that is just beginning
                continue
            like = _like(study, knobs, pictures, folder.name, record)
        except UNREADABLE:
            unreadable += 1
        else:
            num_read += 1
            found += [like] if like is not None else []
    num_records = num_read + unreadable
    lost = f"; {unreadable} of them cannot be read (python -m pipeline.studies says why)"
    said = f"of {plural(num_records, 'record')} in {printable(root)}"
    if not found:
        return Choice(
            "",
            f"warm start: none {said} fits, so the search begins without; looked for: another "
            f"study by {Judged.of(study.baseline).val}, at least half of the "
            f"{plural(len(knobs), 'knob')} of this space, {LEAST_FULL} trials trained in full of "
            f"which one lies in it{lost * bool(unreadable)}",
        )
    best = min(found, key=lambda one: one.place)
    return Choice(
        str(root / best.name),
        f"warm start: {printable(best.name)} is the most similar {said}: {-best.minus_shared} of "
        f"{plural(len(knobs), 'knob')} shared, {best.pictures} (here {pictures})"
        f"{lost * bool(unreadable)}",
    )


def _others(root: Path, own: Path) -> Iterator[Path]:
    seen = {own.resolve()}
    for path in sorted(root.glob(f"*/{FILE}"), key=lambda path: (path.parent.is_symlink(), path)):
        real = path.parent.resolve()
        if real not in seen and not ASIDE.search(path.parent.name):
            seen.add(real)
            yield path.parent


def _like(
    study: Study, knobs: set[str], pictures: Pictures, name: str, record: Record
) -> _Like | None:
    """How like a record is; None where it does not fit."""
    other = record.study
    by, its = (Judged.of(one.baseline) for one in (study, other))
    top = other.search.ladder.num_rungs - 1
    full = sum(bool(run.value and run.value[0] == top) for run in record.ranked_trials())
    shared = len(knobs & {slot.name for slot in other.space.slots()})
    fits = (by.name, by.sign) == (its.name, its.sign) and full >= LEAST_FULL
    if not fits or shared < LEAST_KNOBS * len(knobs) or not taken_of(study, record).points:
        return None
    data = record.data
    known = Pictures.of(other, len(data["classes"]), data["counts"]["train"])
    return _Like(-shared, known.unlike(pictures), name, known)
