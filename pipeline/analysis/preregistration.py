"""The plan, written down before results exist: what is trained, asked and judged by, and for how
long.
"""

import functools
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.analysis.pilot import due, said
from pipeline.analysis.to_come import expected
from pipeline.analysis.wording import race_in_words
from pipeline.core import CORE_VERSION
from pipeline.counts import duration, plural
from pipeline.data.taken import num_labelled
from pipeline.errors import MachineError, printable
from pipeline.frozen import flatten
from pipeline.record.event_form import written
from pipeline.record.events import End, Event, Plan
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record
from pipeline.screen import fold
from pipeline.study.judged import Judged, margin_in_words
from pipeline.study.looks import looks, looks_in_words
from pipeline.study.questions import Question
from pipeline.study.study import PILOT_RUNS, Study, is_default_margin
from pipeline.study.tuning import Fixed

__all__ = [
    "Outlook",
    "ahead",
    "assigned",
    "awaited",
    "column",
    "expected",
    "hours",
    "lines",
    "outline",
    "write",
]

Prospect = dict[str, Any]
WIDTH = 80  # of plan.md
LESS = ", less is better"
UNCHANGED = "the study's configuration, unchanged"
VARIES = {
    "resplit": (
        "train/val split, initial weights, order of the pictures; the test pictures are fixed"
    ),
    "official": "initial weights, order of the pictures; the train/val split is the official one",
    "kfold": (
        "the fold that validates, initial weights, order of the pictures; the test pictures "
        "are fixed"
    ),
}


def outline(study: Study, data: Mapping[str, Any] | None = None) -> Prospect:
    """What is to be done; `data` as the ledger describes the pictures, None where they have not
    been read.
    """
    ablation, base, arms = study.ablation, study.baseline, study.arms()
    num_runs = len(arms) * ablation.replicates
    tuning: dict[str, Any] = {"policy": ablation.tuning.name}
    if not isinstance(ablation.tuning, Fixed):
        tuning |= {"trials_per_arm": ablation.tuning.num_trials}
    made: Prospect = {
        "study": study.name,
        "core_version": CORE_VERSION,
        "design": ablation.design.name,
        "reference": arms[0][0].name,
        "arms": {arm.name: dict(arm.overrides) for arm, _ in arms},
        "replicates": ablation.replicates,
        "replicate_varies": VARIES[base.split],
        "runs": num_runs,
        "epochs_per_run": base.epochs,
        "epochs": sum(config.epochs for _, config in arms) * ablation.replicates,
        "patience": base.patience,
        "split": base.split if base.split != "kfold" else f"kfold, {base.folds} folds",
        "selects": f"{base.selects}{LESS * (base.sign < 0)}, of the epoch of each run",
        "questions": _families(ablation.design.questions()),
        "margin": ablation.rope,
        "tuning": tuning,
        "search_trials": study.search.num_trials,
        "race": raced(study),
        "seed": study.search.seed,
    }
    if len({config.epochs for _, config in arms}) > 1:
        made["epochs_by_arm"] = {arm.name: config.epochs for arm, config in arms}
    if study.search.objectives:
        made["objectives"] = list(study.search.objectives)
    if ablation.until_answered:
        made["looks"] = list(looks(ablation.replicates))
    if ablation.match:
        made["match"] = {"path": ablation.match, "numbers": dict(ablation.matched)}
    if data is not None:
        made |= {
            "reports": Judged.of(base, held_out=num_labelled(data, "test") > 0).column,
            "pictures": {"title": data["title"], "fingerprint": data["fingerprint"]},
        }
    return made


def raced(study: Study) -> int:
    """How many trials race."""
    fixed = isinstance(study.ablation.tuning, Fixed)
    return min(study.search.race, study.search.num_trials) if fixed else 0


def lines(plan: Prospect) -> Iterator[tuple[str, str]]:
    """(what, in words) for a reader."""
    yield "design", f"{plan['design']}; reference: {plan['reference']}"
    count = runs_in_words(len(plan["arms"]), plan["replicates"])
    at_most = "at most " * ("looks" in plan)
    each = sorted({*plan.get("epochs_by_arm", {}).values()} or {plan["epochs_per_run"]})
    yield (
        "runs",
        f"{at_most}{count} of {' or '.join(map(str, each))} epoch{'s' * (each != [1])} each, "
        f"{plural(plan['epochs'], 'epoch')} in all",
    )
    if "looks" in plan:
        yield "looks", looks_in_words(plan["looks"], plan["replicates"])
    if plan["patience"]:
        yield (
            "patience",
            f"a run ends after {plural(plan['patience'], 'epoch')} without a better one",
        )
    for arm, overrides in plan["arms"].items():
        yield "arms", f"{arm}: {assigned(overrides)}"
    if "match" in plan:
        numbers = ", ".join(f"{arm} {number}" for arm, number in plan["match"]["numbers"].items())
        yield (
            "matched",
            f"{plan['match']['path']} by number of parameters: "
            f"{numbers or 'found once the pictures are known'}",
        )
    if plan.get("race"):
        objectives, by_looks = plan.get("objectives", ()), "looks" in plan
        said = race_in_words(plan["race"], plan["replicates"], objectives, by_looks=by_looks)
        yield "race", said
    yield "a replicate", f"varies: {plan['replicate_varies']}"
    yield "split", plan["split"]
    yield "selects", plan["selects"]
    selects = plan["selects"].partition(",")[0].removeprefix("val_")
    yield (
        "reports",
        plan.get(
            "reports",
            f"test_{selects} where the test pictures are labelled, else val_{selects} of each "
            "run's last epoch",
        ),
    )
    for family, asked in plan["questions"].items():
        yield "questions", f"{family} ({len(asked)}): {'; '.join(asked)}"
    judged = Judged(selects, sign=-1 if LESS in plan["selects"] else 1)
    why = "smaller differences are of no practical interest"
    default = "the default margin, as nobody set another"
    yield (
        "margin",
        f"{margin_in_words(plan['margin'], judged)}: "
        f"{default if is_default_margin(plan['margin']) else why}",
    )
    trials = plan["tuning"].get("trials_per_arm")
    yield (
        "tuning",
        plan["tuning"]["policy"] + (f", {plural(trials, 'trial')} for each arm" if trials else ""),
    )


def runs_in_words(num_arms: int, replicates: int) -> str:
    """`4 arms x 5 replicates = 20 runs`"""
    return (
        f"{plural(num_arms, 'arm')} x {plural(replicates, 'replicate')} = "
        f"{plural(num_arms * replicates, 'run')}"
    )


def assigned(overrides: Mapping[str, Any]) -> str:
    """What an arm sets, as `--set` takes it: `model.name=resnet18, augment.strength=1.0`."""
    pairs = flatten(overrides)
    shown = (
        f"{path}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for path, value in pairs
    )
    return ", ".join(shown) or UNCHANGED


class Outlook:
    """Keeps plan and pilot written down while a study is trained."""

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        record: Record,
        workers: int,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Write the plan where it is new or has changed: an event of the ledger, plan.json and
        plan.md beside it.

        `record` must be kept up to date by the ledger's listener. Raises MachineError where the
        disk refuses.
        """
        self.study, self.ledger, self.record, self.workers, self.say = (
            study,
            ledger,
            record,
            workers,
            say,
        )
        self._ended = True
        plan = outline(study, record.data)
        last = record.plans[-1].plan if record.plans else plan
        # what only one of them says is what another version of the code writes down
        both = (plan.keys() & last.keys()) | {"looks"}
        changed = sorted(key for key in both if plan.get(key) != last.get(key))
        if changed or not record.plans:
            runs = record.runs.values()  # those of arms that are no part of it any more, too
            judged = any(run.kind == "arm" and run.status == "complete" for run in runs)
            ahead = expected(study, record, workers)
            ledger.append(Plan(plan=plan, expected=ahead, changed=changed, after_results=judged))
            write(ledger.folder, record)
        self.step()

    def event(self, event: Event) -> None:
        """Take an event of the ledger."""
        self._ended = self._ended or isinstance(event, End)

    def step(self) -> None:
        """Write the pilot down and say it once it is complete; cheap where no run has ended
        since.
        """
        if not self._ended:
            return
        self._ended = False
        ahead = functools.partial(expected, self.study, self.record, self.workers)
        found = due(self.study, self.record, ahead)
        if found is not None:
            found = self.ledger.append(found)
            write(self.ledger.folder, self.record)
            told = fold(said(found, self.record), then="  ")
            self.say("\n".join(told))


def write(folder: Path, record: Record) -> None:
    """plan.json and plan.md of the newest plan; raises MachineError where the disk refuses."""
    newest = record.plans[-1]
    tree = {key: getattr(newest, key) for key in ("plan", "changed", "after_results", "expected")}
    tree |= {
        "written": newest.time,
        "first_written": record.plans[0].time,
        "pilot": written(record.pilot) if record.pilot else None,
    }
    body = column([*lines(newest.plan), *_status(record)])
    # indented, and so inert whatever the arms are called
    text = "\n".join(
        ("# Plan of the study", "", *(f"    {printable(line, 2000)}" for line in body), "")
    )
    try:
        (folder / "plan.json").write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
        (folder / "plan.md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{folder}: cannot write the plan: {error.strerror}") from error


def column(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Rows of (what, in words) under each other, each `what` said once."""
    before = ("", *(what for what, _ in rows))
    return [
        f"{what if what != last else '':<14}{text}"
        for (what, text), last in zip(rows, before, strict=False)
    ]


def _status(record: Record) -> Iterator[tuple[str, str]]:
    newest = record.plans[-1]
    when = (
        "after results of the arms existed"
        if newest.after_results
        else "before any arm had a result"
    )
    if newest.changed:
        yield "changed", f"{', '.join(newest.changed)}; {when}"
    else:
        yield "written", when
    yield "time", hours(ahead(record))
    pilot = record.pilot
    told = said(pilot, record).removeprefix("pilot: ") if pilot else awaited(newest.plan)
    yield from (("pilot", line) for line in textwrap.wrap(told, WIDTH - 18))


def ahead(record: Record) -> Mapping[str, Any]:
    """How long the arms will take yet, as it was last written down: by the newest plan, or by the
    pilot after it.
    """
    newest = record.plans[-1]
    pilot = record.pilot
    return pilot.expected if pilot and pilot.seq > newest.seq else newest.expected


def awaited(plan: Prospect) -> str:
    """What there is to know of a pilot that has said nothing."""
    if plan["replicates"] < PILOT_RUNS:
        return f"none: it takes {PILOT_RUNS} replicates"
    return (
        f"the first {PILOT_RUNS} runs of {plan['reference']} will say what "
        f"{plural(plan['replicates'], 'replicate')} can see, and how many to use; nothing where "
        "one of them has no result, or results were there before the plan"
    )


def hours(ahead: Mapping[str, Any]) -> str:
    """How long what is left of the arms will take."""
    if ahead["hours"] is None:
        return "not known before a run has trained an epoch"
    pace = f"{ahead['seconds_per_epoch']:.3g} s an epoch ({ahead['measured_on']})"
    left = f"{plural(ahead['epochs_left'], 'epoch')} of the arms, {ahead['workers']} at once"
    return f"{duration(3600 * ahead['hours'])} for {left}, at {pace}"


def _families(questions: tuple[Question, ...]) -> dict[str, list[str]]:
    names = dict.fromkeys(question.family for question in questions)
    return {
        name: [question.name for question in questions if question.family == name] for name in names
    }
