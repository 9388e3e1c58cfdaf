"""What to do next, each with its command: finish, tell what is open, train longer, hand on."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.analysis.few_pictures import judging, labelled, too_few
from pipeline.analysis.front import read_front
from pipeline.analysis.range_ends import End, ends
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import MIN_REPLICATES, Contrast, replicates_to_find
from pipeline.analysis.tuning_effort import efforts
from pipeline.analysis.wording import Points, listed
from pipeline.errors import UserError
from pipeline.record.pasted import ONCE
from pipeline.record.record import Record
from pipeline.report.document import Block, Code, Heading, Text
from pipeline.study.study import Study

MOST = 100  # replicates that anyone is told to train
NAMING = ("--study", "--data", "--mlruns")  # flags that say which record is meant
OTHER_RECORD = ("--path", "--around")  # and those that make another one of it
SEARCH_ONLY = ("--trials", "--race", "--against", "--warm-start")
HOURS = ("--max-gpu-hours", "--max-core-hours")
REPLICATES = ("--replicates", "--max-replicates")
SETS = {  # flag → fields that --set may give in its place
    "--replicates": ("ablation.replicates",),
    "--epochs": ("epochs", "baseline.epochs"),
}
WORD = re.compile(r"(?:'[^']*'|\"[^\"]*\"|\\.|[^ '\"\\])+")  # of a command, as it is quoted
MORE_PICTURES = (
    "More pictures that judge, before more runs: see the first warning. With these it is another "
    "study, which has a record of its own."
)
NOTHING_LEARNED = (
    "The reference learned nothing, so there is nothing to compare with: another learning rate "
    "(optimizer.lr) or more epochs, before more replicates. Its first steps are looked at by the "
    "doctor."
)
WIDER = "A wider range may hold a better value"
ANEW = "the search begins anew in it, and takes over what it can."
HIDDEN = "…/ stands for a place that reports do not name: put yours there."

LATE = " That changes the plan after results: the stated error rates do not hold for it."


def to_tell(contrast: Contrast, ablation: Ablation) -> tuple[float, int | None]:
    """(a true difference, the replicates that find it with 80 % power at the spread seen) of what
    is inconclusive: of the size seen, or of the margin where that is larger; None: more than MOST.
    """
    size = max(abs(contrast.delta), ablation.rope)
    return size, replicates_to_find(contrast, size, ablation.basis.ratio, MOST)


def blocks(
    ablation: Ablation, record: Record, shown: Points, recorded: str | None = None
) -> Iterator[Block]:
    """The section; nothing where the command is not known. `recorded`: that command as it is to be
    pasted, where it is not to be handed on.
    """
    if recorded is None:
        recorded = record.sessions[-1].command if record.sessions else ""
    command = [word for word in WORD.findall(recorded) if word not in ONCE]
    if not _kept(command, ("--study",)):
        return
    found = list(_steps(ablation, record, shown, command))
    if found:
        yield Heading("What next")
    hidden = "…/" in " ".join(line for _, line in found)
    for number, (text, line) in enumerate(found):
        yield Text(f"{text} {HIDDEN}" if hidden and not number else text)
        if line:
            yield Code((line,))


def _steps(
    ablation: Ablation, record: Record, shown: Points, command: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(why, command), what helps most first; no command where it takes another record."""
    if ablation.holes:
        yield _go_on(record, command)
    num, study = labelled(record.data), record.study
    if ablation.rows[0].arm in ablation.at_chance:
        yield NOTHING_LEARNED, _doctor(command)
    elif too_few(num, study, judging(num)):
        yield MORE_PICTURES, ""
    else:
        yield from _more_replicates(ablation, record, shown, command)
    epochs = {number for row in ablation.rows for number in row.planned_epochs}
    if ablation.unconverged and len(epochs) == 1:
        cut = record.ended == "time limit" and bool(_kept(command, ("--time", *HOURS)))
        yield (
            f"Longer training, as still improving at the end: {listed(ablation.unconverged)}."
            + " The limit of time, which cut this short, is left out." * cut,
            _with(
                _without(command, ("--time", *HOURS)) if cut else command,
                "--epochs",
                str(2 * epochs.pop()),
            ),
        )
    yield from _wider_ranges(record, command)
    if ablation.found is not None and ablation.found.contrast.n:
        yield (
            "Which of the settings that the search found matter: each taken back alone.",
            _with(_ablate(command), "--around", "best"),
        )
    export = ("python -m pipeline.export", *_kept(command[3:], NAMING))
    usual = _is_the_usual_record(command)
    if any(row.values for row in ablation.rows) and usual:
        yield "The best model by validation, with its card and predictions.", " ".join(export)
    front = read_front(record, record.study)
    cheaper = [point.run.number for point in front.points if point.stays] if front else []
    if usual and len(cheaper) > 1:
        yield (
            f"A cheaper point of the front that stayed in the race, as trial {cheaper[-1]}.",
            " ".join((*export, "--trial", str(cheaper[-1]))),
        )


def _go_on(record: Record, command: Sequence[str]) -> tuple[str, str]:
    begun = any(run.epochs for run in record.runs.values())
    if record.ended == "time limit" and _kept(command, HOURS):
        return (
            "Runs are missing, and the hours that the study may take are spent, or too few: the "
            "same command without their limit, or with more.",
            " ".join(_without(command, HOURS)),
        )
    if record.ended == "time limit" and not begun and _kept(command, ("--time",)):
        return (
            "Runs are missing, and the limit of time was too short for the first epoch: the same "
            "command without it.",
            " ".join(_without(command, ("--time",))),
        )
    return "Runs are missing: the same command goes on.", " ".join(command)


def _doctor(command: Sequence[str]) -> str:
    """Of the study as this command has it."""
    sets = _kept(command, ("--set", *NAMING))
    return " ".join(("python -m pipeline.doctor", *sets))


def _more_replicates(
    ablation: Ablation, record: Record, shown: Points, command: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Nothing where the plan is not done, or where replicates cannot become more."""
    if ablation.holes or record.study.ablation.tuning.name == "replicated":
        return
    flag = "--max-replicates" if ablation.looked else "--replicates"
    if ablation.planned < MIN_REPLICATES:
        few = f"So few replicates test nothing; {MIN_REPLICATES} do, for large differences."
        yield few, _with(command, flag, str(MIN_REPLICATES))
        return
    asked = _cheapest(ablation)
    if asked is not None:
        contrast, size, number = asked
        main = "the main effect of " * (contrast.kind == "main")
        yield (
            f"More replicates: with {number} of each arm, a true difference of "
            f"{shown.number(size)}{shown.points} ({main}{contrast.name}) would be found in 80 % of "
            f"studies, at the spread seen.{'' if ablation.looked else LATE}",
            _with(command, flag, str(number)),
        )


def _wider_ranges(record: Record, command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Of the search, then of the arms' own, where a best value lies at the end of a range that can
    be wider."""
    study = record.study
    best = record.stayed() or record.best_trial()
    found = ends(study.space, best.knobs) if best else ()
    if best and (fields := _wider(found, study, best.config)):
        said = "; ".join(end.text for end in found)
        words = ["pipeline.search" if word == "pipeline.ablate" else word for word in command]
        yield f"{WIDER} ({said}): {ANEW}", _with_sets(words, fields)
    arms = {arm: own.ends for arm, own in efforts(record, study).items() if own.ends}
    fields, configs = dict[str, float](), {arm.name: config for arm, config in study.arms()}
    for arm, own in arms.items():
        fields |= _wider(own, study, configs[arm].model_dump(mode="json"))
    if fields:
        said = "; ".join(dict.fromkeys(end.text for own in arms.values() for end in own))
        yield f"{WIDER} for {listed(list(arms))} ({said}): {ANEW}", _with_sets(command, fields)


def _wider(found: Sequence[End], study: Study, config: Mapping[str, Any]) -> dict[str, float]:
    """Fields of the space → values further out, those that a study may have; `config` says of which
    variants the knobs are.
    """
    fields: dict[str, float] = {}
    for end in found:
        part, _, field = end.name.partition(".")
        variant = config[part]["name"] if part in study.space.branches else ""
        field = field.removeprefix(f"{variant}.")
        place = f"space.knobs.{end.name}"
        if variant and field in study.space.branches[part].get(variant, {}):
            place = f"space.branches.{part}.{variant}.{field}"
        elif end.name not in study.space.knobs:
            continue
        if end.wider is None:
            continue
        name, bound = end.wider
        wider = {f"{place}.{name}": bound}
        try:
            study.override(wider, source="wider").check()
        except UserError:  # the configuration allows no more
            continue
        fields |= wider
    return fields


def _with_sets(words: Sequence[str], fields: Mapping[str, float]) -> str:
    """The command with these `--set` in place of what set the same before."""
    for field in fields:
        words = _without_set(words, field)
    return " ".join((*words, *(f"--set {field}={value:g}" for field, value in fields.items())))


def _cheapest(ablation: Ablation) -> tuple[Contrast, float, int] | None:
    """What is open and takes the fewest replicates to tell, differences of arms before anything
    else; None where nothing is, or all take too many.
    """
    wanted = []
    for contrast in ablation.table.contrasts:
        if contrast.verdict != "inconclusive" or math.isnan(contrast.df):
            continue
        size, number = to_tell(contrast, ablation)
        if number is not None and number > ablation.planned:
            wanted.append((contrast, size, number))
    return min(wanted, key=lambda one: (one[0].kind not in ("delta", "step"), one[2]), default=None)


def cross_validated(recorded: str, study: Study) -> str:
    """The command changed so that each picture of train and validation validates a replicate of
    every arm; '' where it is not known what it is of. Another split is another record: the one that
    is there is moved aside.
    """
    command = [word for word in WORD.findall(recorded) if word not in ONCE]
    if not _kept(command, ("--study",)):
        return ""
    folds = max(study.baseline.folds, study.ablation.replicates)
    flag = "--max-replicates" if study.ablation.until_answered else "--replicates"
    command = _ablate(command)
    if study.baseline.split == "kfold":
        return _with(command, flag, str(folds))
    words = _without_set(_without_set(command, "split"), "baseline.split")
    return f"{_with(words, flag, str(folds))} --set split=kfold --fresh"


def _is_the_usual_record(command: Sequence[str]) -> bool:
    """Whether study and pictures alone say which record it is."""
    sets = _kept(command, ("--set",))
    keys = {word.removeprefix("--set").lstrip("=").strip("'\"").split("=")[0] for word in sets}
    return not keys & {"name", "dataset.name"} and not _kept(command, OTHER_RECORD)


def _with(command: Sequence[str], flag: str, value: str) -> str:
    """The command with one flag more, in place of what said the same before."""
    same = REPLICATES if flag in REPLICATES else (flag,)
    fields = SETS.get("--replicates" if flag in REPLICATES else flag, ())
    words = _without(command, same)
    for field in fields:
        words = _without_set(words, field)
    return " ".join((*words, flag, value))


def _without_set(words: Sequence[str], field: str) -> list[str]:
    """`words` less the `--set` of this field, in one word or two."""
    kept: list[str] = []
    for word in words:
        value = word.removeprefix("--set=").strip("'\"")
        if value.startswith(f"{field}="):
            if not word.startswith("--set="):
                kept.pop()
        else:
            kept.append(word)
    return kept


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
