"""Tuning in the report: what it took and chose, and what that means for the comparison."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from pipeline.analysis.tuning_effort import Effort
from pipeline.analysis.wording import NONE, listed, value
from pipeline.counts import duration, plural
from pipeline.frozen import flatten
from pipeline.record.record import Record
from pipeline.report.document import Cell, Column, Table
from pipeline.study.judged import Judged
from pipeline.study.study import Study
from pipeline.study.tuning import PerArm, Replicated, num_trials


def hyperparameters(study: Study) -> str:
    """Whose hyperparameters the arms have, and what follows."""
    tuning = study.ablation.tuning
    rest = (
        "What no search tuned is the baseline's in all arms, apart from what an arm itself "
        "changes (its definition)."
    )
    if isinstance(tuning, PerArm):
        return (
            f"Each arm was tuned by a search of its own, of {plural(tuning.num_trials, 'trial')} "
            f"on one split; all its replicates have the configuration found. {rest} The intervals "
            "are about these configurations, not about the luck of the search that found them."
        )
    if isinstance(tuning, Replicated):
        (size, *_) = num_trials(tuning, study.ablation.replicates)
        return (
            "Each replicate of each arm was tuned by a search of its own, of "
            f"{plural(size, 'trial')} with initial weights and, unless the split is the official "
            f"one, a split that no arm is trained with. {rest} The intervals cover the luck of the "
            "tuning."
        )
    arms = "all arms of the design" if study.ablation.found else "all arms"
    return (
        f"Apart from what an arm itself changes (its definition), {arms} use the hyperparameters "
        "of the study's baseline; none was tuned for an arm. Tuned arms could rank differently."
    )


def column(found: Mapping[str, Effort]) -> dict[str, str]:
    """Arm → its effort in a table's cell."""
    return {
        arm: f"{plural(effort.num_trials, 'trial')}, {plural(effort.num_epochs, 'epoch')}"
        if effort.planned
        else "none"
        for arm, effort in found.items()
    }


def sheet(found: Mapping[str, Effort]) -> dict[str, dict[str, object]]:
    """Arm → its columns in the frame of arms."""
    return {
        arm: {
            "tune_trials": effort.num_trials,
            "tune_complete": effort.num_complete,
            "tune_epochs": effort.num_epochs,
            "tune_seconds": round(effort.seconds, 3),
            "edge_flag": "; ".join(effort.edges),
        }
        for arm, effort in found.items()
    }


def tuning_table(
    found: Mapping[str, Effort], runs: Mapping[str, Sequence[str]], judged: Judged
) -> Table:
    """A row an arm; `runs`: arm → the runs that its cells lead to."""
    rows = []
    for arm, effort in found.items():
        of = f" of {effort.planned}" if effort.num_trials != effort.planned else ""
        chosen = ", ".join(f"{path} = {value(scalar)}" for path, scalar in effort.chosen.items())
        none = "as defined" if effort.settled else NONE
        texts = [
            arm,
            f"{effort.num_trials}{of}",
            f"{effort.num_complete}",
            f"{effort.num_epochs:,}",
            duration(effort.seconds),
            chosen or none,
        ]
        texts.append("; ".join(effort.edges) or ("none" if effort.settled else NONE))
        if not effort.planned:
            texts[5:] = ["nothing to tune", NONE]
        rows.append(tuple(Cell(text, runs=tuple(runs.get(arm, ()))) for text in texts))
    columns = (
        Column("arm"),
        Column("trials", "right"),
        Column("to the end", "right"),
        Column("epochs", "right"),
        Column("training time", "right"),
        Column("chosen, where it differs from the arm's definition"),
        Column("at an end of its range"),
    )
    caption = (
        "Tuning: what each arm's own search took, and what it chose on val. Trials that two "
        f"searches propose alike are trained once and count for both. Chosen: the {judged.most} "
        f"{judged.val} among the trials that went furthest."
    )
    return Table(caption, columns, tuple(rows), key=0)


def warnings(found: Mapping[str, Effort]) -> Iterator[str]:
    """Arms whose tuning was not that of the others, or whose best values lie at an end of the
    space.
    """
    for arm, effort in found.items():
        if effort.num_trials < effort.planned:
            done = f"{effort.num_trials} of {plural(effort.planned, 'trial')}"
            yield f"{arm}: its search was cut short, {done}: it was tuned less than planned"
        if effort.failed:
            lost = f"{plural(effort.failed, 'trial')} of its search failed"
            yield f"{arm}: {lost}: it was tuned less than arms whose trials all ran"
    tuned = [arm for arm, effort in found.items() if effort.planned]
    bare = [arm for arm, effort in found.items() if not effort.planned]
    if bare and tuned:
        yield (
            f"{listed(bare)}: nothing of the space is left to tune, while {listed(tuned)} had a "
            "search: unequal effort"
        )
    elif bare:
        yield "No arm was tuned: the design sets all that the space holds"
    for arm, effort in found.items():
        for edge in effort.edges:
            yield (
                f"{arm}: its best value lies at the end of a range, {edge}: a wider range may "
                "hold a better one"
            )


def unpromoted(record: Record, study: Study) -> Iterator[str]:
    """Arms whose variant of a part the study's search left at its first rung, while it sent others
    on.
    """
    trials, num_rungs = (
        [(dict(flatten(run.config)), run) for run in record.trials() if run.rungs],
        study.search.ladder.num_rungs,
    )
    sent_on = [run for _, run in trials if len(run.rungs) > 1]
    for arm in study.ablation.design.expand():
        for path, variant in flatten(arm.overrides):
            own = [
                run for flat, run in trials if path.endswith(".name") and flat.get(path) == variant
            ]
            if own and sent_on and all(_culled(run.rungs, num_rungs) for run in own):
                rung = max(max(run.rungs) for run in own) + 1
                yield (
                    f"{arm.name}: none of the search's {plural(len(own), 'trial')} with {path} = "
                    f"{variant} went beyond rung {rung} of {num_rungs}: the search says little of "
                    "this variant, and slow starters are culled so"
                )


def _culled(rungs: Collection[int], num_rungs: int) -> bool:
    """Whether a trial went no further than its first rung, which was not the top one."""
    return len(rungs) == 1 and max(rungs) < num_rungs - 1
