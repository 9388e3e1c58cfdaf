"""Over- and underfitting, divergence, too few epochs: what the recorded curves show, per arm and
for the best trial.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from pipeline.analysis.chance import best_of, sizes, train_rate, trained_by
from pipeline.analysis.curve_flags import Flag
from pipeline.analysis.curve_numbers import RULES, Rules, slope
from pipeline.analysis.curve_rules import diagnose
from pipeline.core.transfer import PUBLISHED
from pipeline.record.record import Record, Run
from pipeline.study.study import Study

__all__ = [
    "RULES",
    "ArmFlag",
    "Flag",
    "Rules",
    "collapsing",
    "diagnose",
    "judge_arms",
    "judge_best",
    "unconverged",
    "unlike",
]

LOW = 0.1  # of the highest learning rate: the schedule ends low
NOT_LEARNING = ("diverged", "not_learning")  # one rule, two ends
IMPROVING = ("still_improving", "best_at_end")  # seen in the losses, or in what selects alone
MERGED = dict.fromkeys(NOT_LEARNING, NOT_LEARNING[1]) | dict.fromkeys(IMPROVING, IMPROVING[0])
COLLAPSE = "late_collapse"


@dataclass(frozen=True)
class ArmFlag:
    """A flag that more than half of an arm's runs have, those of one meaning counted together;
    `flag` is that of `replicate`, the first of them.
    """

    flag: Flag
    replicate: int
    count: int
    num_runs: int
    runs: tuple[str, ...]  # keys of those that have it

    @property
    def name(self) -> str:
        return self.flag.name


def judge_arms(record: Record, study: Study) -> dict[str, tuple[ArmFlag, ...]]:
    """Arm → its flags, over its complete runs; of rule 1 over the diverged ones too. Arms with
    neither are left out.
    """
    names = {arm.name for arm, _ in study.all_arms()}
    arms = {arm: _ended(runs) for arm, runs in record.arms().items() if arm in names}
    target = _target(arms)
    return {
        arm: _majority([(run, _flags(run, record, target)) for run in runs])
        for arm, runs in arms.items()
        if runs
    }


def judge_few(record: Record, study: Study) -> dict[str, ArmFlag]:
    """Arm → that some of its complete runs, and not most, learned nothing that would have lasted to
    the end or made a best epoch: their mean describes neither kind. A train loss near chance alone
    does not tell them apart.
    """
    names = {arm.name for arm, _ in study.all_arms()}
    found = {}
    for arm, runs in record.arms().items():
        complete = [run for run in runs if run.status == "complete"] if arm in names else []
        low = [
            (run, flag)
            for run in complete
            for flag in _flags(run, record, None)
            if flag.name in (NOT_LEARNING[1], COLLAPSE)
            and "val_acc" in flag.numbers
            and not trained_by(run, record.data)
        ]
        if 0 < 2 * len(low) <= len(complete):
            run, flag = low[0]
            keys = tuple(run.key for run, _ in low)
            found[arm] = ArmFlag(flag, run.replicate, len(low), len(complete), keys)
    return found


def judge_best(record: Record, study: Study) -> tuple[Flag, ...]:
    """The flags of the search's best trial, that which the race left where there was one; it is
    held against the arms only where it was trained as long as they.
    """
    best = record.stayed() or record.best_trial()
    if best is None:
        return ()
    as_long = len(best.epochs) >= study.baseline.epochs
    return _flags(
        best,
        record,
        _target({arm: _ended(runs) for arm, runs in record.arms().items()}) if as_long else None,
    )


def unlike(judged: Mapping[str, Sequence[ArmFlag]]) -> tuple[str, ...]:
    """The arms that still improve, where not all of them do: their differences from the others may
    be due to the budget.
    """
    improving = tuple(arm for arm, flags in judged.items() if _improving(flags))
    others = [arm for arm, flags in judged.items() if arm not in improving and not _lost(flags)]
    return improving if others else ()


def unconverged(judged: Mapping[str, Sequence[ArmFlag]]) -> tuple[str, ...]:
    """The arms that still improve at the end, by their losses or because most of their runs are
    best in their last epoch.
    """
    return tuple(arm for arm, flags in judged.items() if any(f.name in IMPROVING for f in flags))


def collapsing(judged: Mapping[str, Sequence[ArmFlag]]) -> tuple[str, ...]:
    """The arms whose best epochs come before a late collapse."""
    return tuple(arm for arm, flags in judged.items() if any(f.name == COLLAPSE for f in flags))


def _above_chance(run: Run, record: Record) -> bool:
    """Whether its best val accuracy can be told from chance."""
    chance, num_val = 1 / len(record.data["classes"]), sizes(run, record.data)[1]
    return run.best is not None and (
        run.best["val_acc"] >= best_of(len(run.epochs), num_val, chance)
        or trained_by(run, record.data)
    )


def _best_at_end(run: Run, flags: Sequence[Flag], record: Record) -> Iterator[Flag]:
    """That its best epoch is the last, and where there are epochs enough for a tail that what
    selects it rises there as well.

    Of a run that does not learn, where it is above chance all the same: after few epochs the train
    loss is near that of chance in any case. A run of one epoch says nothing of it.
    """
    told = any(flag.name == IMPROVING[0] for flag in flags)
    values = run.sign * np.array([epoch[run.selects] for epoch in run.epochs])
    if told or not run.best or not run.best["epoch"] == len(values) > 1:
        return
    if any(flag.name in NOT_LEARNING for flag in flags) and not _above_chance(run, record):
        return
    tail = values[-max(RULES.min_tail, round(RULES.tail * len(values))) :]
    rise = float(slope(tail)) * RULES.horizon * len(values)
    if len(values) < RULES.min_epochs or rise > RULES.gain * float(values.max() - values[0]):
        seen = f"the best epoch is the last, {len(values)}"
        advice = "needs more epochs, or a longer schedule; what it can reach is not known yet"
        yield Flag(IMPROVING[1], seen, advice, {"epoch": len(values)})


def _improving(flags: Sequence[ArmFlag]) -> bool:
    return any(flag.name == IMPROVING[0] for flag in flags)


def _lost(flags: Sequence[ArmFlag]) -> bool:
    return any(flag.name in NOT_LEARNING for flag in flags)


def _ended(runs: Sequence[Run]) -> list[Run]:
    return [
        run for run in runs if run.status == "diverged" or (run.status == "complete" and run.epochs)
    ]


def _majority(judged: Sequence[tuple[Run, tuple[Flag, ...]]]) -> tuple[ArmFlag, ...]:
    complete = sum(run.status == "complete" for run, _ in judged)
    having: dict[str, list[tuple[Run, Flag]]] = {}
    for run, flags in judged:
        for flag in flags:
            having.setdefault(MERGED.get(flag.name, flag.name), []).append((run, flag))
    found = []
    for name, pairs in having.items():
        of = len(judged) if name in NOT_LEARNING else complete
        if 2 * len(pairs) > of:
            run, flag = pairs[0]
            found.append(
                ArmFlag(flag, run.replicate, len(pairs), of, tuple(run.key for run, _ in pairs))
            )
    return tuple(found)


def _flags(run: Run, record: Record, target: float | None) -> tuple[Flag, ...]:
    num_train, num_val = sizes(run, record.data)
    rates = [epoch["lr"] for epoch in run.epochs]
    flags = diagnose(
        run.epochs,
        num_classes=len(record.data["classes"]),
        num_val=num_val,
        num_train_subset=min(num_train, num_val),
        train_rate=train_rate(record.data),
        planned_epochs=int(run.config["epochs"]),
        status=run.status,
        target_train_acc=target,
        schedule_ends_low=bool(rates) and rates[-1] <= LOW * max(rates),
        gap_void=_gap_void(run.config),
        soft_targets=_soft_targets(run.config),
    )
    ended = run.status == "complete"
    return (*flags, *_best_at_end(run, flags, record)) if ended else flags


def _gap_void(config: Mapping[str, Any]) -> str:
    """Why train and val do not compare: on which pictures its source was trained is not known."""
    if config["distill"]["teacher"]:
        return "its teacher may have been trained on the val pictures"
    if config["transfer"]["weights"] not in ("", PUBLISHED):
        return "the weights that it began with may have been trained on the val pictures"
    return ""


def _soft_targets(config: Mapping[str, Any]) -> bool:
    """Whether it was trained on anything else than plain cross entropy of whole labels on plain
    pictures.
    """
    loss, augment = config["loss"], config["augment"]
    mixed = augment["strength"] > 0 and (augment["mixup"] > 0 or augment["cutmix"] > 0)
    plain = (
        loss["name"] == "cross_entropy"
        and not loss["smoothing"]
        and not loss["balanced"]
        and loss["hardest"] == 1
    )
    return (
        not plain
        or mixed
        or bool(config["distill"]["teacher"])
        or config["adversary"]["epsilon"] > 0
    )


def _target(arms: Mapping[str, Sequence[Run]]) -> float | None:
    """Train acc that an arm should reach: a little below that of the arm with the highest val acc,
    at its best epochs.
    """
    best: dict[str, list[dict[str, float]]] = {}
    for arm, runs in arms.items():
        best[arm] = [epoch for run in runs if run.status == "complete" and (epoch := run.best)]
    known = {arm: epochs for arm, epochs in best.items() if epochs}
    if len(known) < 2:
        return None
    top = max(known.values(), key=lambda epochs: fmean(epoch["val_acc"] for epoch in epochs))
    return fmean(epoch["train_acc"] for epoch in top) - RULES.short_of_best
