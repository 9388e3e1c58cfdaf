"""The diagnosis in the report: what the curves of every arm and of the best trial show."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from pipeline.analysis.chance import GUESSING, SLIGHT
from pipeline.analysis.diagnosis import (
    COLLAPSE,
    RULES,
    ArmFlag,
    Flag,
    judge_arms,
    judge_best,
    judge_few,
    unlike,
)
from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.wording import NONE, listed
from pipeline.counts import plural
from pipeline.frozen import flatten
from pipeline.record.record import Record
from pipeline.report.document import Block, Bullets, Cell, Column, Heading, Table, Text
from pipeline.study.study import Study

NO_FLAG = "no flag"
REGULARIZERS = (
    ".strength",
    ".mixup",
    ".cutmix",
    ".dropout",
    ".weight_decay",
    ".smoothing",
)  # fields of a configuration
OVERFITS = {"overfit", "overfit_calibration_only", "gap", "gap_not_interpretable"}
HARMFUL = (
    "not_learning",
    "train_loss_rising",
    COLLAPSE,
)  # of an arm: what its numbers may be due to
TITLES = {
    "diverged": "diverged",
    "not_learning": "not learning",
    COLLAPSE: "late collapse",
    "train_loss_rising": "train loss rising",
    "overfit": "overfitting",
    "overfit_calibration_only": "val loss rising, accuracy unhurt",
    "val_loss_rising": "val loss rising",
    "still_improving": "still improving",
    "best_at_end": "still improving",
    "gap": "gap",
    "underfit": "underfitting",
    "noisy_eval": "noisy evaluation",
    "saturated_early": "saturated early",
    "stalled": "stalled after a drop of the learning rate",
    "gap_not_interpretable": "gap not interpretable",
}


@dataclass(frozen=True)
class Diagnosis:
    """Flags of the arms that have a run to its end, and of the best trial (None: there is no
    trial).

    `regularized` are the arms that differ from the reference in regularization alone, `few` those
    of which fewer runs learned nothing than would make it a flag of the arm.
    """

    arms: Mapping[str, tuple[ArmFlag, ...]]
    best: tuple[Flag, ...] | None
    regularized: tuple[str, ...] = ()
    few: Mapping[str, ArmFlag] = field(default_factory=dict)

    def in_cells(self) -> dict[str, str]:
        """Arm → `gap 4/5; still_improving 3/5`, for the tidy frames."""
        return {
            arm: "; ".join(f"{flag.flag.name} {flag.count}/{flag.num_runs}" for flag in flags)
            or NO_FLAG
            for arm, flags in self.arms.items()
        }


def read_diagnosis(record: Record, study: Study) -> Diagnosis:
    """What the record's curves show."""
    best = judge_best(record, study) if record.best_trial() else None
    few = judge_few(record, study)
    return Diagnosis(judge_arms(record, study), best, _regularized(study), few)


def blocks(found: Diagnosis, ablation: Ablation) -> Iterator[Block]:
    """The section; nothing where no run has come to its end."""
    if not found.arms and found.best is None:
        return
    yield Heading("Diagnosis")
    if not ablation.judged.is_acc:
        yield Text(
            "The curves are read by accuracy and loss; the best epoch of this section is that of "
            f"the highest val acc, while runs are selected by {ablation.judged.val}."
        )
    if found.arms:
        yield _arms(found.arms, ablation)
    if apart := _apart(found):
        yield Text(f"{apart}.", small=True)
    if found.best is not None:
        named = [f"{TITLES[flag.name]}: {flag.text}" for flag in found.best]
        yield Text(
            f"The search's best trial, by its own curve: {'' if named else f'{NO_FLAG}.'}".rstrip()
        )
        if named:
            yield Bullets(tuple(named))
    short = [row.arm for row in ablation.rows if _short(row)]
    if short:
        yield Text(
            f"Too short for most rules, which need {RULES.min_epochs} epochs: {listed(short)}. "
            f"Without a flag they are not known to be sound.",
            small=True,
        )
    yield Text(thumb(), small=True)


def warnings(found: Diagnosis, ablation: Ablation) -> Iterator[str]:
    """What of it limits the comparison of the arms; that runs diverged is warned of elsewhere."""
    for arm, flags in found.arms.items():
        yield from (
            f"{arm}: {flag.flag.text} ({_count(flag)})"
            for flag in flags
            if flag.flag.name in HARMFUL
        )
    for arm, flag in found.few.items():
        if flag.replicate not in ablation.collapsed.get(arm, ()):  # else it is named already
            yield (
                f"{arm}: {_count(flag)}, replicate {flag.replicate} first: {flag.flag.seen}: not "
                "learning, unlike the others, so that the mean describes neither kind of run"
            )
    if apart := _apart(found):
        yield apart
    improving = [
        arm
        for arm in ablation.unconverged
        if any(flag.name == "still_improving" for flag in found.arms[arm])
    ]
    if improving and not apart:
        arms = "every arm" if len(improving) == len(found.arms) else listed(improving)
        yield (
            f"{arms}: still improving at the end, after {ablation.trained}; longer training "
            "could change the ranking"
        )
    late = [arm for arm in ablation.unconverged if arm not in improving]
    if late:
        yield (
            f"{listed(late)}: the best epoch is usually the last; longer training could change "
            "the ranking"
        )
    unknown = [
        row.arm for row in ablation.rows if _short(row) and row.arm not in ablation.unconverged
    ]
    if unknown:
        yield (
            f"{listed(unknown)}: trained for fewer than {RULES.min_epochs} epochs, too few to tell "
            "whether a longer training could change the ranking"
        )


def not_learning(found: Diagnosis) -> Iterator[str]:
    """The warnings of `warnings` that say of an arm that it learned nothing."""
    for arm, flags in found.arms.items():
        yield from (
            f"{arm}: {flag.flag.text} ({_count(flag)})"
            for flag in flags
            if flag.flag.name == "not_learning"
        )


def thumb() -> str:
    """That these are rules of thumb, with their thresholds."""
    r = RULES
    text = (
        "Rules of thumb, read off recorded curves. An arm has a flag where more than half of its "
        "complete runs have it (of diverged and not learning: of its diverged ones too); what was "
        "seen is that of the first such run. Train values are of plain cross entropy, without "
        "augmentation, on a fixed part of the training pictures. Val loss is smoothed (medians of "
        f"3); the tail is the last {r.tail:.0%} of the epochs, at least {r.min_tail}. Not "
        f"learning: val acc that guessing reaches in more than {GUESSING:.0%} of runs (binomial, "
        f"of the best epoch), or train loss above {r.chance_loss:g} ln K, where train acc is not "
        f"{SLIGHT:.0%} of the way from chance to 1. Late collapse: less than {r.lost:.0%} of the "
        "best val and train acc over chance in the last epochs, even one. A loss rises by "
        f"{r.train_rise:.0%} (train, and {r.train_rise_nats:g}) or {r.val_rise:.0%} (val), and by "
        f"{r.noise:g} times the noise of an epoch; it is overfitting where train loss falls "
        f"meanwhile, accuracy is unhurt within {r.unhurt_errors:g} standard errors. Still "
        f"improving: {r.horizon:.0%} more epochs would bring more than {r.gain:.0%} of the drop so "
        "far, over the tail or, where it is too noisy to tell, over up to "
        f"{r.window:.0%} of the epochs; or the best epoch is the last and what selects it rises "
        "there by as much. Epochs after a warm restart are "
        f"not held against those before it. Gap: above {100 * r.gap:g} points and {r.gap_errors:g} "
        f"standard errors. Underfitting: train acc {100 * r.short_of_best:g} points below that of "
        f"the arm with the best val acc. Noisy: {r.noisy:.0%} of the lowest val loss. Saturated "
        f"early: at its level before {r.early:.0%} of the epochs. Stalled: the same after a step "
        f"down of the learning rate before {r.dropped_early:.0%} of the epochs."
    )
    return text.replace("%", " %")


def _arms(arms: Mapping[str, tuple[ArmFlag, ...]], ablation: Ablation) -> Table:
    columns = tuple(map(Column, ("arm", "flag", "runs", "what it means", "seen in")))
    rows: list[tuple[Cell, ...]] = []
    rules = set()
    for arm, flags in arms.items():
        rules |= {len(rows)} if rows else set()
        for number, flag in enumerate(flags):
            name = Cell("" if number else arm, runs=ablation.keys(arm))
            title = Cell(
                TITLES[flag.flag.name],
                tone="even" if flag.flag.name == "gap_not_interpretable" else "open",
            )
            count = Cell(_count(flag), runs=flag.runs)
            rows.append(
                (name, title, count, Cell(flag.flag.advice), Cell(_where(flag), runs=flag.runs[:1]))
            )
        if not flags:
            rows.append(
                (
                    Cell(arm, runs=ablation.keys(arm)),
                    Cell(NO_FLAG),
                    Cell(NONE),
                    Cell(NONE),
                    Cell(NONE),
                )
            )
    return Table(
        "What the learning curves of the arms show.", columns, tuple(rows), frozenset(rules)
    )


def _where(flag: ArmFlag) -> str:
    return f"replicate {flag.replicate}: {flag.flag.seen}"


def _count(flag: ArmFlag) -> str:
    return f"{flag.count} of {plural(flag.num_runs, 'run')}"


def _regularized(study: Study) -> tuple[str, ...]:
    arms = study.ablation.design.expand()
    changed = {arm.name: [path for path, _ in flatten(arm.overrides)] for arm in arms}
    # what an arm takes away is nothing that regularizes it
    off = {path for own in getattr(study.ablation.design, "off", {}).values() for path in own}
    return tuple(
        arm
        for arm, paths in changed.items()
        if paths and all(path.endswith(REGULARIZERS) and path not in off for path in paths)
    )


def idle(found: Diagnosis, ablation: Ablation) -> str:
    """That nothing overfits, where arms differ by what should prevent it; else nothing."""
    rows = {row.arm: row for row in ablation.rows if row.complete}
    flags = {flag.name for own in found.arms.values() for flag in own}
    arms = [arm for arm in found.regularized if arm in rows]
    gaps = [fmean(row.metric("train_acc")) - fmean(row.metric("val_acc")) for row in rows.values()]
    if not arms or flags & OVERFITS or max(gaps) > RULES.gap:
        return ""
    lowest, highest = (
        pick(fmean(row.metric("train_acc")) for row in rows.values()) for pick in (min, max)
    )
    return (
        f"Nothing overfits: train acc is {100 * lowest:.0f} to {100 * highest:.0f} % at the best "
        f"epochs, in no arm more than {100 * RULES.gap:g} points above val acc. What regularizes "
        f"({listed(arms)}) has nothing to prevent yet and may only slow training"
    )


def _apart(found: Diagnosis) -> str:
    arms = unlike(found.arms)
    if not arms:
        return ""
    return (
        f"{listed(arms)}: still improving at the end in most runs, which the rules find of no "
        f"other arm; a longer budget could change the ranking"
    )


def _short(row: ArmRow) -> bool:
    """Whether no complete run is long enough for the rules about tails."""
    return bool(row.complete) and all(len(run.epochs) < RULES.min_epochs for run in row.complete)
