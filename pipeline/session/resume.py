"""A study's first event in the ledger: what is written of its pictures, and whether a study is the
one recorded.
"""

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core import CORE_VERSION
from pipeline.core.config import TrainConfig
from pipeline.core.identity import as_today
from pipeline.core.transfer import PUBLISHED
from pipeline.counts import plural
from pipeline.errors import UserError, printable
from pipeline.frozen import digest
from pipeline.record.events import Revision
from pipeline.record.ledger import FILE, read_events
from pipeline.record.pasted import from_here
from pipeline.record.record import Record, Run
from pipeline.record.revision import place, searches
from pipeline.record.sources import changed, code
from pipeline.study.looks import LOOKS
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.data.cache import Data

BUDGET = (
    "search.num_trials",
    "ablation.replicates",
    "ablation.rope",
    "search.race",
    "ablation.until_answered",
    "ablation.variance",
)  # may change from command to command
KEPT = (*BUDGET, "baseline.epochs")
"""What stays as it was where a command does not say it."""
GO_ON = (
    "to go on, leave the study as it was and give the same flags (or --study FOLDER/study.json of "
    "the recorded study's folder)"
)
LOST = "the code of a run whose description a repair of the ledger lost: it is not today's"
COMMAND = 4000  # characters of one that is shown, to be pasted
IGNORED = ("data", "data_env", "title", "question", "fallback")  # change nothing that is trained


def recorded_in(folder: Path) -> Record:
    """What the ledger of a study's folder says; an empty record where there is none."""
    return Record.of(read_events(folder)) if (folder / FILE).exists() else Record()


def elsewhere(root: Path) -> str:
    """What to do where nothing is recorded in a study's folder: the folders of `root` that have
    something.
    """
    known = sorted(printable(path.parent.name, 60) for path in root.glob(f"*/{FILE}"))
    if not known:
        return "run pipeline.search or pipeline.ablate first, or name their folder with --mlruns"
    return (
        f"recorded there: {', '.join(known)}; --study and --data must be those of the recorded "
        "study"
    )


def describe_data(data: "Data") -> dict[str, Any]:
    """What the ledger keeps of the pictures."""
    return {
        "title": data.title,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "counts": data.counts,
        "labelled": {part: len(labels) for part, labels in _labels(data).items()},
        "copies": data.copies,
        "most_frequent": _most_frequent(data),
        "is_food11": data.is_food11,
        "channels": int(data.images.shape[1]),
        "unreadable": [
            {"file": printable(bad.file), "reason": bad.reason} for bad in data.unreadable
        ],
        "warnings": list(data.warnings),
        "taken": data.taken.dump(),
        "reading": dataclasses.asdict(data.reading),
    }


def _most_frequent(data: "Data") -> dict[str, float]:
    """Part → share of its most frequent class: what guessing always that class gets right."""
    found = _labels(data).items()
    return {
        part: Counter(labels).most_common(1)[0][1] / len(labels) for part, labels in found if labels
    }


def _labels(data: "Data") -> dict[str, list[int]]:
    """Part → the labels of its pictures that have one."""
    parts = enumerate(("train", "valid", "test"))
    return {
        part: data.labels[(data.parts == number) & (data.labels >= 0)].tolist()
        for number, part in parts
    }


def require_same(
    record: Record, study: Study, data: "Data", files: Mapping[str, str], folder: Path
) -> None:
    """Raise UserError where the study, its pictures, its `files` or the training core are not those
    recorded in `folder`.
    """
    lines = changed_settings(record, study)
    if record.data["fingerprint"] != data.fingerprint:
        lines.append(
            f"pictures: recorded {record.data['counts']}, now {data.counts}, or their content "
            "changed"
        )
    if record.data["classes"] != list(data.classes):
        now, then = (
            ", ".join(f"'{name}'" for name in names[:12])
            for names in (data.classes, record.data["classes"])
        )
        lines.append(f"classes: recorded {printable(then, 130)}, now {printable(now, 130)}")
    recorded = record.header.files
    lines += [
        f"{path}: its content is not the recorded one"
        for path in files
        if recorded.get(path) != files[path]
    ]
    taken = {
        run.config["transfer"]["weights"]
        for run in record.runs.values()
        if run.epochs and not run.code
    }
    lines += [
        (
            f"{printable(path)}: recorded by a version that took the head of such a file over, "
            "this one begins with a new one"
        )
        for path in sorted(taken - {"", PUBLISHED})
    ]
    if record.header.core_version != CORE_VERSION:
        lines.append(
            f"training core: recorded version {record.header.core_version}, now {CORE_VERSION}"
        )
    _refuse(lines, folder, recorded_command(record, folder))


def changed_since(record: Record, runs: Iterable[Run], part: str = "") -> list[str]:
    """The files of the code that changed since these runs were trained; of the part of their
    configs alone, where given.

    Of runs whose code was not recorded nothing is known, and nothing said.
    """
    found, seen = set[str](), set[str]()
    for run in runs:
        for name in set(run.code) - seen:
            seen.add(name)
            now = code(TrainConfig.parse(run.config, source=f"run {run.key}"))
            then = {
                of: files for of, files in record.code.get(name, {}).items() if of.startswith(part)
            }
            found |= changed(then, now) if name in record.code or name == digest(now) else {LOST}
    return sorted(found)


def require_code(record: Record, folder: Path, outstanding: Callable[[], bool]) -> None:
    """Raise UserError where more is to be trained by other code than that of the runs recorded in
    `folder`.
    """
    files = changed_since(record, record.runs.values())
    if files and outstanding():
        raise UserError(
            (
                f"{printable(folder)}: the code that its runs were trained by has changed, and "
                "results of both must not mix:\n"
            )
            + "\n".join(printable(file, 300) for file in files[:20])
            + "\nto go on, take the changes back; to train by the changed code, add --fresh (what "
            "is recorded is moved aside, not deleted) or give the study another name (--set "
            "name=NAME)"
        )


def require_settings(record: Record, study: Study, folder: Path) -> None:
    """Raise UserError where a resolved study is not the one recorded in `folder`, or asks for other
    replicates of arms that were tuned replicate by replicate: seen at once, before pictures are
    decoded.
    """
    if not record.begun:
        return
    _refuse(changed_settings(record, study), folder, recorded_command(record, folder))
    _require_looks(record, study)
    begun = record.header.study["ablation"]["replicates"]
    if study.ablation.tuning.name == "replicated" and study.ablation.replicates != begun:
        raise UserError(
            f"ablation.replicates: recorded {begun}, now {study.ablation.replicates}: with tuning "
            "'replicated' each has a search of its own, whose trials would be other ones; take the "
            "change back to go on, or add --fresh"
        )


def _require_looks(record: Record, study: Study) -> None:
    """Raise UserError where results that were seen as of a fixed number of replicates would be
    judged by looks, or the other way round: the error that either may make is spent by then.
    """
    was, now = (one.ablation.until_answered for one in (record.study, study))
    ended = ("complete", "diverged", "failed")
    numbers = (sum(run.status in ended for run in own) for own in record.arms().values())
    if was == now or max(numbers, default=0) < LOOKS[0]:
        return
    if now:
        raise UserError(
            "ablation.until_answered: recorded false, now true: this study has results of a fixed "
            "number of replicates, and looks at them would be one more test of what was seen, and "
            "a weaker one; leave it out to go on (more replicates: --replicates N, whose verdicts "
            "are exploratory), or begin anew with replicates of another seed: --fresh --seed N"
        )
    raise UserError(
        "ablation.until_answered: recorded true, now false: results have been looked at on the "
        "way, and tests for a fixed number of replicates do not hold after that; take the "
        "change back to go on (the maximum may change, --max-replicates), or add --fresh"
    )


def recorded_command(record: Record, folder: Path) -> str:
    """The line that says by what command the study in `folder` was recorded last; '' where that is
    unknown.
    """
    if not record.sessions:
        return ""
    return f"recorded by: {from_here(record.sessions[-1], folder.parent)}"


def tell_growth(record: Record, study: Study, folder: Path) -> list[str]:
    """What to say where the study in `folder` has grown: in what, and what becomes of the runs
    recorded so far.
    """
    lines = [printable(line, 300) for line in grown(record, study)] if record.begun else []
    if not lines:
        return []
    more = [f"and {plural(len(lines) - 10, 'more field')}"] if len(lines) > 10 else []
    then = as_grown(record, study)
    used = len(then.runs) - len({run.key for run in then.apart()} - taken_over(then, study))
    return [
        f"the study has grown; of {plural(len(then.runs), 'recorded run')} {used:,} "
        f"{'means' if used == 1 else 'mean'} the same in it and can be used again, what else there "
        "is is kept and not mixed in:",
        *lines[:10],
        *more,
        *filter(None, [printable(recorded_command(record, folder), COMMAND)]),
    ]


def as_grown(record: Record, study: Study) -> Record:
    """The record as it will be read once the study has grown to this one."""
    lines = grown(record, study) if record.begun else []
    if not lines:
        return record
    then = copy.deepcopy(record)
    then.apply(Revision(study=study.model_dump(mode="json"), changed=lines))
    return then


def taken_over(record: Record, study: Study) -> set[str]:
    """The runs from before the study grew that its searches could have proposed, as many as they
    have room for.
    """
    found: set[str] = set()
    for target in searches(study):
        known = record.searches.get(target.name, [])
        own = [
            key
            for key in dict.fromkeys(record.former.get(target.name, ()))
            if key not in known
            and record.runs[key].replicate == target.replicate
            and place(record.runs[key], target.config, target.space) is not None
        ]
        found |= set(own[: max(target.num_trials - len(known), 0)])
    return found


def _refuse(lines: list[str], folder: Path, command: str = "") -> None:
    if lines:
        shown = "\n".join(printable(line, 300) for line in lines[:20])
        said = f"{printable(command, COMMAND)}\n" if command else ""
        raise UserError(
            f"{printable(folder)}: recorded with other settings, and results of both must not "
            f"mix:\n{shown}\n{said}{GO_ON}, or add --fresh to begin anew (what is recorded is "
            "moved aside, not deleted), or keep both: begin this one in a place of its own with "
            "--mlruns FOLDER"
        )


def changed_settings(record: Record, study: Study) -> list[str]:
    """Where the study is not the recorded one and results would mix; a line each."""
    return [line for key, line in _differences(record, study) if not _grows(study, key)]


def grown(record: Record, study: Study) -> list[str]:
    """Where the study has grown since it was recorded last, a line each: a run is known by what it
    is, so those that mean the same in both are used in both, and no others are.
    """
    return [line for key, line in _differences(record, study) if _grows(study, key)]


def _grows(study: Study, key: str) -> bool:
    if key.startswith("ablation.design."):
        return not study.ablation.match  # its numbers are found when a study begins
    return key == "baseline.epochs" or key.startswith("space.")


def _differences(record: Record, study: Study) -> Iterator[tuple[str, str]]:
    """(field, what was recorded and what is asked for); budgets and what changes no training
    aside.
    """
    recorded = as_today(Study, record.asked)
    old, new = recorded.flat(), study.flat()
    for key in dict.fromkeys((*old, *new)):
        counts = key not in BUDGET and key.split(".")[0] not in IGNORED
        counts = counts and not key.startswith("ablation.found")
        if counts and old.get(key) != new.get(key):
            yield key, f"{key}: recorded {old.get(key)!r}, now {new.get(key)!r}"
    yield from _reordered(recorded, study)


def _reordered(record: Study, study: Study) -> Iterator[tuple[str, str]]:
    """Where a design is the same but for the order in which it was written, which names the
    reference and the base of a factor.
    """
    old, new = record.ablation.design, study.ablation.design
    if old == new and (old.expand(), old.questions()) != (new.expand(), new.questions()):
        arms = [", ".join(arm.name for arm in design.expand()) for design in (old, new)]
        yield "ablation.design.order", f"ablation.design.order: recorded {arms[0]}, now {arms[1]}"
