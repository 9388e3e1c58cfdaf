"""Caveats: what keeps a model that is handed on from being what its numbers seem to say; the first
lines of its card.
"""

from collections.abc import Iterator

from pipeline.analysis.collapse import Guess
from pipeline.analysis.results import read_ablation
from pipeline.counts import plural
from pipeline.data.taken import num_labelled
from pipeline.errors import printable
from pipeline.export.selection import Selection, noun
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged


def caveats(record: Record, selection: Selection) -> tuple[str, ...]:
    """A sentence each, of the run itself first; nothing where there is nothing to say."""
    run = selection.run
    found = [*_at_chance(record, run)]
    found += _of_the_arm(record, run) if run.kind == "arm" else ()
    if selection.asked:
        found.append(
            f"This model was asked for by name ({printable(selection.asked, 100)}), not chosen by "
            f"validation: if that was after its test {noun(run)} was seen, the test pictures "
            "chose it and that number is too good"
        )
    if not num_labelled(record.data, "test"):
        found.append(
            f"No test picture has a label: every {noun(run)} here is of pictures that chose the "
            "epoch or the run"
        )
    return tuple(found)


def _at_chance(record: Record, run: Run) -> Iterator[str]:
    judged = Judged.of(run.config)
    tested = run.metric(judged.column)
    value = run.metric(judged.selects) if tested is None else tested
    part = "validation" if tested is None else "test"
    guess = Guess.of(record.data, "valid" if tested is None else "test", judged.name)
    if value is not None and value < guess.limit:
        seen = (
            f"{value:.1%} of the {part} pictures are right, and naming the most frequent class "
            "gives"
            if judged.is_acc
            else f"its {part} {judged.noun} is {value:.1%}, and guessing gives"
        )
        yield (
            f"This model is at chance: {seen} {guess.rate:.1%}; nothing that it learned can be "
            "told from guessing"
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
    for status in ("diverged", "failed"):
        if lost := [other for other in own if other.status == status]:
            shown = ", ".join(str(other.replicate) for other in lost)
            yield (
                f"{len(lost)} of {plural(len(own), 'replicate')} of its arm {status} ({shown}) and "
                f"{'is' if len(lost) == 1 else 'are'} not in the arm's numbers"
            )
