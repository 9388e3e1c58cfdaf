"""Studies of what a recorded search has found: the path from the baseline to its best
configuration, one change after another, and that configuration with each change taken back alone.
"""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.analysis.rung_sample import MIN_TRIALS, Sample, choose
from pipeline.counts import plural
from pipeline.errors import UserError
from pipeline.frozen import Scalar
from pipeline.record.record import Record, Run
from pipeline.study.around import Around, own_knobs
from pipeline.study.designs import LeaveOneOut, OrderedPath
from pipeline.study.designs.base import Scheme
from pipeline.study.expression import parse
from pipeline.study.study import Study

QUESTIONS = {
    "path": "Which changes on the way from the baseline to the best configuration matter?",
    "around": "Which settings of the best configuration matter?",
}
Steps = tuple[dict[str, Scalar], ...]


def derived_name(name: str, way: str) -> str:
    """What the study derived that `way` is called, and its folder begins with."""
    return f"{name[: 63 - len(way)]}-{way}" if way else name


def derive(record: Record, asked: Study, way: str = "path") -> Study:
    """The study of the "path", or of what lies "around" the best trial: the baseline of the
    recorded study, an arm more than there are steps (around the best two more: the baseline), and
    replicates as `asked`.

    A step is a knob in which the best trial differs from the baseline; where another variant of a
    part was chosen, all knobs of that part are one step. They are ordered by importance, which
    chooses no winner: every step is measured on replicates of its own. Raises UserError where no
    search is recorded, or its best trial is the baseline.
    """
    where, best = f"study '{asked.name}': --{way}", record.stayed() or record.best_trial()
    if best is None:
        raise UserError(
            f"{where}: no search of it is recorded that has a result; run pipeline.search first"
        )
    study = record.study
    steps = changes(study, best)
    if not steps:
        raise UserError(
            f"{where}: the best trial of the search, number {best.number}, is the baseline: it "
            "changes nothing"
        )
    steps, order = ranked(steps, record, best)
    baseline = study.baseline.override({"epochs": best.config["epochs"]}, source=where)
    num_rungs = study.search.ladder.num_rungs
    rung = f"rung {max(best.rungs) + 1} of {num_rungs}" if num_rungs > 1 else "trained in full"
    how = f"{plural(len(record.trial_keys), 'trial')} ({rung})"
    raced = "the one that stayed in the race of the best of" if record.stayed() else "the best of"
    trial = f"trial {best.number}, {raced} {how}"
    path = OrderedPath(steps=steps)
    design: Scheme = path
    said = f"the path from the baseline to {trial}; {order}"
    if way == "around":
        design = LeaveOneOut(
            on=dict(zip(path.factors(), steps, strict=True)), with_none=True, by_lack=True
        )
        said = f"{trial}, and it with each of its changes from the baseline taken back alone"
    title = f"{study.title}: {said}"
    ablation = asked.ablation.model_dump(mode="json") | {
        "design": design.model_dump(mode="json"),
        "tuning": {"name": "fixed"},
        "match": "",
        "matched": {},
        "found": {},
    }
    tree = study.model_dump(mode="json") | {
        "name": derived_name(study.name, way),
        "title": title,
        "question": QUESTIONS[way],
        "baseline": baseline.model_dump(mode="json"),
        "ablation": ablation,
        "fallback": None,
    }
    lists = ("search.first", "search.warmed", "search.portfolio", "search.past")
    first: dict[str, Any] = {**dict.fromkeys(lists, ()), "search.past_of": ""}
    return Study.parse(tree, source=where).override({"search.num_trials": 0, **first}, source=where)


def changes(study: Study, best: Run) -> Steps:
    """What the best trial sets other than the baseline, step by step in the order of the space; not
    its epochs.
    """
    flat = study.baseline.flat()
    made = Around(study.space, study.baseline).overrides(best.knobs)
    paths = [
        path
        for path in dict.fromkeys((*study.space.paths().values(), *study.space.derived))
        if path in made and path != "epochs"
    ]
    parts = {
        path.removesuffix("name")
        for path in paths
        if path.endswith(".name") and made[path] != flat[path]
    }
    steps: dict[str, dict[str, Scalar]] = {}
    for path in paths:
        part = next((part for part in parts if path.startswith(part)), None)
        if part or made[path] != flat.get(path):
            steps.setdefault(part or path, {})[path] = made[path]
    return tuple(steps.values())


def ranked(steps: Steps, record: Record, best: Run) -> tuple[Steps, str]:
    """(the steps by importance, where that order came from, in words)."""
    study = record.study
    sample = choose(record.trials(), study)
    if not sample.enough:
        few = (
            f"at most {len(sample.trials)} of its trials at one rung "
            f"{'lies' if len(sample.trials) == 1 else 'lie'} in it, importance needs {MIN_TRIALS}"
        )
        return steps, f"its steps are in the order of the search space ({few})"
    shares, clear = _shares(sample, study.space.active(best.knobs))
    own = own_knobs(study.space)
    for path, text in study.space.derived.items():
        used = [name for name in parse(text).names if name in own]  # no steps of their own
        shares[path] = math.fsum(shares.get(name, 0.0) for name in used)
        clear |= {path} if clear & {*used} else set()
    ordered = sorted(steps, key=lambda step: -math.fsum(shares.get(path, 0.0) for path in step))
    epochs = " or ".join(map(str, sample.epochs)) + (
        " epoch" if sample.epochs == (1,) else " epochs"
    )
    at = (
        f"{plural(len(sample.trials), 'trial')} after {epochs}"
        + f", rung {sample.rung + 1} of {sample.num_rungs}" * (sample.num_rungs > 1)
    )
    if not any(path in clear for step in steps for path in step):
        noise = "none is above its noise floor, so that another order is as good"
        return tuple(
            ordered
        ), f"its steps are in the order of their PED-ANOVA shares in that search ({at}); {noise}"
    return tuple(
        ordered
    ), f"its steps are in the order of their importance in that search (PED-ANOVA, {at})"


def _shares(sample: Sample, active: Mapping[str, Any]) -> tuple[dict[str, float], frozenset[str]]:
    """(path → share of the importance, of the knobs that are in force in the best trial; the paths
    above noise).
    """
    from pipeline.analysis.importance import measure  # numpy takes a moment to import

    found = {knob.name: knob for knob in measure(sample).knobs}
    known = {sample.paths[name]: found[name] for name in active if name in found}
    shares = {
        path: knob.ped_anova.share for path, knob in known.items() if knob.ped_anova is not None
    }
    clear = frozenset(path for path, knob in known.items() if knob.clear)
    return {path: 0.0 if math.isnan(share) else share for path, share in shares.items()}, clear
