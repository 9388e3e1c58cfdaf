"""Caveats: what keeps a model that is handed on from being what its numbers seem to say; the first
lines of its card.
"""

from collections.abc import Iterator, Sequence

from pipeline.analysis.chance import Guess, learned_by
from pipeline.analysis.results import read_ablation
from pipeline.counts import plural
from pipeline.data.taken import num_labelled
from pipeline.errors import printable
from pipeline.export.selection import Members, Selection, noun
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged


def caveats(record: Record, selection: Selection) -> tuple[str, ...]:
    """A sentence each, of the run itself first; nothing where there is nothing to say."""
    run = selection.run
    found = [*_at_chance(record, run)]
    found += _of_the_arm(record, run) if run.kind == "arm" else ()
    found += _asked(run, selection.asked, "model")
    if not num_labelled(record.data, "test"):
        found.append(
            f"No test picture has a label: every {noun(run)} here is of pictures that chose the "
            "epoch or the run"
        )
    return tuple(found)


def of_members(record: Record, members: Members) -> tuple[str, ...]:
    """A sentence each of an ensemble of replicates, as of a run."""
    runs = members.runs
    found = [
        f"Replicate {run.replicate}: {text}" for run in runs for text in _at_chance(record, run)
    ]
    low = read_ablation(record, record.study).collapsed.get(members.arm, ())
    if fallen := [run.replicate for run in runs if run.replicate in low]:
        found.append(
            f"{len(fallen)} of {plural(len(runs), 'member')} collapsed "
            f"({', '.join(map(str, fallen))}), and what it answers is averaged like the others'"
        )
    found += [*_lost(record.arms()[members.arm]), *_asked(runs[0], members.asked, "ensemble")]
    if not num_labelled(record.data, "test"):
        found.append("No test picture has a label: nothing is known of how good this ensemble is")
    return tuple(found)


def _asked(run: Run, asked: str, what: str) -> Iterator[str]:
    if asked:
        yield (
            f"This {what} was asked for by name ({printable(asked, 100)}), not chosen by "
            f"validation: if that was after its test {noun(run)} was seen, the test pictures "
            "chose it and that number is too good"
        )


def _at_chance(record: Record, run: Run) -> Iterator[str]:
    judged = Judged.of(run.config)
    tested = run.metric(judged.column)
    value = run.metric(judged.selects) if tested is None else tested
    part = "validation" if tested is None else "test"
    guess = Guess.of(record.data, "valid" if tested is None else "test", judged.name)
    if value is None or not guess.explains([value]):
        return
    judges = plural(guess.num_pictures, f"{part} picture")
    seen = (
        f"{value:.1%} of {judges} {'is' if guess.num_pictures == 1 else 'are'} right, and naming "
        f"the most frequent class gives {guess.rate:.1%}"
        if judged.is_acc
        else f"its {part} {judged.noun} is {value:.1%} on {judges}, and guessing gives "
        f"{guess.rate:.1%}"
    )
    if learned_by(run, record.data):
        yield (
            f"What this model scores cannot be told from guessing: {seen}. Its training accuracy "
            f"shows that it learned; the {part} pictures are too few, or of another kind"
        )
    else:
        yield (
            f"This model is at chance: {seen}; nothing that it learned can be told from guessing"
        )


def _of_the_arm(record: Record, run: Run) -> Iterator[str]:
    """Of the run's own replicates, and of those beside it."""
    own = record.arms().get(run.arm, [])
    low = read_ablation(record, record.study).collapsed.get(run.arm, ())
    if run.replicate in low:
        yield (
            "This very replicate collapsed: it is far below the others of its arm, or at chance "
            "where they are not"
        )
    if others := [replicate for replicate in low if replicate != run.replicate]:
        shown = ", ".join(map(str, others))
        yield (
            f"{len(others)} of {plural(len(own), 'replicate')} of its arm collapsed ({shown}): "
            "training this way is unsure"
        )
    yield from _lost(own)


def _lost(own: Sequence[Run]) -> Iterator[str]:
    for status in ("diverged", "failed"):
        if lost := [other for other in own if other.status == status]:
            shown = ", ".join(str(other.replicate) for other in lost)
            yield (
                f"{len(lost)} of {plural(len(own), 'replicate')} of its arm {status} ({shown}) and "
                f"{'is' if len(lost) == 1 else 'are'} not in the arm's numbers"
            )
