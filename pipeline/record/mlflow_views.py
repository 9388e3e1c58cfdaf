"""How a study's arms are compared in the MLflow UI: numbers of each arm, tags to group by, a saved
view and its address.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.identity import FIRST_RACE
from pipeline.errors import shell_word
from pipeline.record.events import End, Event, Source, Trial
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged
from pipeline.study.study import Study
from pipeline.study.tuning import RACE
from pipeline.study.variance import in_words

NOTE = "mlflow.note.content"  # the description that the UI shows
VIEW_TAG = "mlflow.sharedViewState.arms"  # where the UI keeps views that were saved to be shared

END = {  # status in the ledger → (MLflow's run status, our tag)
    "complete": ("FINISHED", "complete"),
    "stopped": ("FINISHED", "pruned"),
    "diverged": ("FAILED", "diverged"),
    "failed": ("FAILED", "failed"),
}


def results(end: End, best: Mapping[str, float], selects: str) -> dict[str, float]:
    """What a run came to, from its last event and its best epoch; its curves end with its last
    epoch instead.
    """
    facts: dict[str, float | None] = {"test_loss": end.test_loss, "test_acc": end.test_acc}
    facts |= {"best_epoch": end.best_epoch or None, "num_params": end.num_params or None}
    facts |= {
        f"best_{name}": best.get(name) for name in dict.fromkeys(("val_acc", "val_loss", selects))
    }
    facts |= end.metrics
    facts |= {f"final.{name}": value for name, value in end.final.items()}
    return {name: float(value) for name, value in facts.items() if value is not None}


def factor_tags(study: Study) -> dict[str, dict[str, str]]:
    """Arm → its tags `factor.NAME` on or off: every arm has the same keys, so that runs can be
    grouped by them.
    """
    return {
        arm.name: {f"factor.{name}": "on" if on else "off" for name, on in arm.levels.items()}
        for arm in study.ablation.design.expand()
    }


def run_tags(study: Study, kind: str, arm: str, facts: Mapping[str, object]) -> dict[str, object]:
    """The tags of a run of an arm (of none: of a trial of the study's own search): the same keys on
    all.
    """
    tags = {
        "kind": kind,
        "trial": "",
        "search": "",
        "arm": arm,
        "replicate": 0 if kind == "trial" else "",
    }
    own = {name: facts[name] for name in tags.keys() & facts.keys() - {"kind", "arm"}}
    return {**tags, **own, "status": "running", **factor_tags(study).get(arm, {})}


def trial_tags(study: Study, event: Trial | Source) -> dict[str, object]:
    """What a run is tagged with that is no replicate of an arm."""
    facts: dict[str, object] = {"replicate": event.replicate}
    if isinstance(event, Trial):
        facts |= {"trial": event.trial, "search": event.search}
    return run_tags(study, event.kind, event.arm, facts)


def replicate_tags(study: Study, run: Run) -> dict[str, object]:
    """What a replicate is in the study as it is now: its arm's, or of a former one."""
    arms = factor_tags(study)
    facts = {"replicate": run.replicate}
    tags = run_tags(study, "replicate" if run.arm else "former replicate", run.arm, facts)
    of_none = dict.fromkeys(key for own in arms.values() for key in own)
    factors = arms.get(run.arm, dict.fromkeys(of_none, ""))
    name = f"#{run.replicate} {run.arm or 'of a former arm'}"
    return {key: tags[key] for key in tags if key != "status"} | factors | {"mlflow.runName": name}


def trial_name(event: Trial | Source) -> str:
    """What a trial is called: by its number, the arm that it tunes, its round of the race; what
    tells sources of variance apart by the replicate that it varies.
    """
    if isinstance(event, Source):
        return f"#{in_words(event.replicate)}, {event.arm}"
    if event.search == RACE:
        return f"trial {event.trial:03d} again, race {event.replicate - FIRST_RACE}"
    return f"trial {event.trial:03d}{event.search.replace('arm:', ' of ', 1)}"


def arm_metrics(study: Study) -> tuple[str, ...]:
    """Of what an arm has mean and spread."""
    names = ("val_acc", "val_loss", "last_val_acc", "test_acc", "test_loss")
    own = (*study.baseline.further, f"last_{study.baseline.selects}")
    return tuple(dict.fromkeys((*names, *own)))


def values_of(record: Record, arm: str, event: Event) -> Iterator[tuple[str, list[float]]]:
    """(a metric, its values of the arm's replicates that had ended by this event): the record may
    be ahead of what is sent.
    """
    runs = [
        run for run in record.arms()[arm] if run.status == "complete" and run.ended_seq <= event.seq
    ]
    for name in arm_metrics(record.study):
        if values := [value for run in runs if (value := run.metric(name)) is not None]:
            yield name, values


def judged(record: Record) -> Judged:
    """What the arms are judged by, as far as is known by now."""
    tested = any(run.test_acc is not None for run in record.runs.values())
    return Judged.of(record.study.baseline, held_out=tested)


def saved_view(judged: Judged) -> str:
    """The state of the runs page with the replicates grouped by arm, as the UI stores it (MLflow
    3).
    """
    metrics = [
        *([judged.column, "test_loss"] if judged.held_out else []),
        f"best_{judged.selects}",
        "best_val_loss",
        "best_epoch",
    ]
    state = {
        "searchFilter": "tags.kind = 'replicate'",
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": judged.sign < 0,
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": "arm"}],
        },
        "selectedColumns": [*(f"metrics.`{name}`" for name in metrics), "tags.`status`"],
    }
    return json.dumps(state)


def invitation(uri: str, experiment: str, mlruns: str) -> str:
    """The line that says where the arms stand side by side; it ends with the command that starts
    the UI where one is needed.

    `experiment` is empty where MLflow was never reached; `mlruns` is the folder to give to the
    command, empty for none.
    """
    served = uri.startswith("http")
    server = uri.rstrip("/") if served else "http://127.0.0.1:5000"
    view = (
        f"#/experiments/{experiment}/runs?viewStateShareKey=arms&compareRunsMode=TABLE"
        if experiment
        else ""
    )
    line = f"compare the arms in the MLflow UI: {server}/{view}"
    if served:
        return line
    flag = (
        f" --mlruns{'=' if mlruns.startswith('-') else ' '}{shell_word(mlruns)}" if mlruns else ""
    )
    return f"{line} once it is started by: python -m pipeline.ui{flag}"


def common_tags(record: Record) -> dict[str, Any]:
    """What every run of a study is tagged with."""
    data, sessions = record.data, record.sessions
    tags = {"study": record.header.study["name"], "dataset": data["title"]}
    tags |= {
        "dataset.fingerprint": data["fingerprint"],
        "git.commit": sessions[-1].commit if sessions else "",
    }
    return record.about.mlflow_tags | tags | ({"note": record.note} if record.note else {})


def study_tags(record: Record) -> dict[str, Any]:
    """What the study's own run is tagged with."""
    said = (record.asked["title"], record.note, record.about.mlflow_note)
    return {"kind": "study", NOTE: "\n\n".join(text for text in said if text)}
