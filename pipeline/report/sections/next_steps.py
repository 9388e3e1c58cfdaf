"""What to do next, each with its command: finish, tell what is open, train longer, hand on."""

import math
import re
from collections.abc import Iterator, Sequence

from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import ALPHA, MIN_REPLICATES, Contrast, replicates_to_find
from pipeline.analysis.wording import Points, listed
from pipeline.record.record import Record
from pipeline.report.document import Block, Code, Heading, Text

MOST = 100  # replicates that anyone is told to train
NAMING = ("--study", "--data", "--mlruns")  # flags that say which record is meant
ONCE = ("--fresh", "--resume", "--dry-run")  # --fresh would begin anew, beside what is there
SEARCH_ONLY = ("--trials", "--race", "--warm-start")
WORD = re.compile(r"(?:'[^']*'|\"[^\"]*\"|\\.|[^ '\"\\])+")  # of a command, as it is quoted


def to_tell(contrast: Contrast, ablation: Ablation) -> tuple[float, int | None]:
    """(a true difference, the replicates that find it with 80 % power at the spread seen) of what
    is inconclusive: of the size seen, or of the margin where that is larger; None: more than MOST.
    """
    size = max(abs(contrast.delta), ablation.rope)
    alpha = ALPHA * contrast.share / max(contrast.family, 1)
    needed = replicates_to_find(
        size, contrast.sd, ablation.basis, alpha, least=MIN_REPLICATES, most=MOST
    )
    return size, needed


def blocks(ablation: Ablation, record: Record, shown: Points) -> Iterator[Block]:
    """The section; nothing where the command is not known."""
    command = WORD.findall(record.sessions[-1].command) if record.sessions else []
    command = [word for word in command if word not in ONCE]
    if not _kept(command, ("--study",)):
        return
    found = list(_steps(ablation, shown, command))
    if found:
        yield Heading("What next")
    for text, line in found:
        yield Text(text)
        yield Code((line,))


def _steps(ablation: Ablation, shown: Points, command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(why, command), what helps most first."""
    if ablation.holes:
        yield "Runs are missing: the same command goes on.", " ".join(command)
    if (asked := _cheapest(ablation)) is not None:
        contrast, size, number = asked
        yield (
            f"More replicates: with {number} of each arm, a true difference of "
            f"{shown.number(size)}{shown.points} of {contrast.name} would be found in 80 % of "
            "studies, at the spread seen.",
            _with(command, "--max-replicates" if ablation.looked else "--replicates", str(number)),
        )
    epochs = {number for row in ablation.rows for number in row.planned_epochs}
    if ablation.unconverged and len(epochs) == 1:
        yield (
            f"Longer training, as still improving at the end: {listed(ablation.unconverged)}.",
            _with(command, "--epochs", str(2 * epochs.pop())),
        )
    if ablation.found is not None and ablation.found.contrast.n:
        yield (
            "Which of the settings that the search found matter: each taken back alone.",
            _with(_ablate(command), "--around", "best"),
        )
    if any(row.values for row in ablation.rows):
        yield (
            "The best model by validation, with its card and predictions.",
            " ".join(("python -m pipeline.export", *_kept(command[3:], NAMING))),
        )


def _cheapest(ablation: Ablation) -> tuple[Contrast, float, int] | None:
    """What is open and takes the fewest replicates to tell; None where nothing is, or all take too
    many.
    """
    wanted = []
    for contrast in ablation.table.contrasts:
        if contrast.verdict != "inconclusive" or math.isnan(contrast.sd):
            continue
        size, number = to_tell(contrast, ablation)
        if number is not None and number > max(ablation.planned, contrast.n):
            wanted.append((contrast, size, number))
    return min(wanted, key=lambda one: one[2], default=None)


def _with(command: Sequence[str], flag: str, value: str) -> str:
    return " ".join((*_without(command, (flag,)), flag, value))


def _ablate(command: Sequence[str]) -> list[str]:
    """The command that trains arms alone, of one that may search too."""
    words = ["pipeline.ablate" if word == "pipeline.search" else word for word in command]
    return [word for word in _without(words, SEARCH_ONLY) if word not in ("--no-race", "--path")]


def _without(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """`words` less these flags and their values, as two words or joined by `=`."""
    gone = {i for i, word in enumerate(words) if word.split("=")[0] in flags}
    gone |= {i + 1 for i in gone if "=" not in words[i]}
    return [word for i, word in enumerate(words) if i not in gone]


def _kept(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    kept = {i for i, word in enumerate(words) if word.split("=")[0] in flags}
    kept |= {i + 1 for i in kept if "=" not in words[i]}
    return [word for i, word in enumerate(words) if i in kept]
