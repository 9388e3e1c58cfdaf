"""What goes with an exported model: the card (README.md in the style of model hubs) and
config.json.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from pipeline.analysis.stats import MIN_REPLICATES
from pipeline.core.finished.artifact import Artifact
from pipeline.core.metrics import metric_names
from pipeline.counts import plural
from pipeline.data.listing import FULL_DEPTH
from pipeline.errors import printable
from pipeline.export.loading import ONNX, loading
from pipeline.export.onnx import INPUT, OPSET, OUTPUT, TOLERANCE
from pipeline.export.selection import Selection
from pipeline.record.events import Session
from pipeline.record.record import Record, Run
from pipeline.report.formats.markdown import escape
from pipeline.study.judged import Judged
from pipeline.study.tuning import RACE

MODEL, CONFIG, CARD, PREDICTIONS = (
    "model.safetensors",
    "config.json",
    "README.md",
    "predictions.csv",
)
OURS = (MODEL, CONFIG, ONNX, CARD, PREDICTIONS)
SPLITS = {
    "resplit": (
        "train and validation drawn anew for every replicate from the two official parts together"
    ),
    "kfold": "one fold of train and validation together validates, the others train",
    "official": "the official parts as they are, the same for every replicate",
}


@dataclass(frozen=True)
class Facts:
    """Everything the two files say. `num_train`, `num_val`: pictures of this run's own split;
    `caveats`: said first.
    """

    record: Record
    selection: Selection
    artifact: Artifact
    num_train: int
    num_val: int
    with_onnx: bool
    caveats: tuple[str, ...] = ()

    @property
    def classes(self) -> list[str]:
        return [printable(name, 200) for name in self.record.data["classes"]]

    @property
    def white(self) -> int:
        """The value that pictures of 16 bits have white at."""
        found: int = self.record.data.get("reading", {}).get("top", FULL_DEPTH)
        return found


def config_json(facts: Facts) -> str:
    """The model's facts for programs."""
    record, run, artifact = facts.record, facts.selection.run, facts.artifact
    judged = _judged(facts)
    session = record.sessions[-1] if record.sessions else Session(command="")
    number = (
        {"trial": run.number}
        if run.kind == "trial"
        else {"arm": run.arm, "replicate": run.replicate}
    )
    tree: dict[str, Any] = {
        "study": record.study.name,
        "run": {
            "key": run.key,
            "kind": run.kind,
            **number,
            "best_epoch": int((run.best or {}).get("epoch", 0)),
        },
        "mlflow_run": run.mlflow_id,
        "classes": facts.classes,
        "pictures": {
            "channels": artifact.channels,
            "size": artifact.size,
            "mean": artifact.mean,
            "std": artifact.std,
            "white_of_16_bits": facts.white,
            "normalisation": (
                "(pixels / 255 - mean) / std per channel; model.onnx does it itself and takes uint8"
            ),
        },
        "data": {key: record.data[key] for key in ("title", "fingerprint", "counts")},
        "metrics": {
            name: run.metric(name)
            for name in (
                "val_loss",
                "val_acc",
                "test_loss",
                "test_acc",
                judged.selects,
                judged.column,
            )
        },
        "as_trained": _as_trained(run),
        "caveats": list(facts.caveats),
        "versions": session.versions,
        "commit": session.commit,
        "core_version": run.core_version or record.header.core_version or None,
        "config": artifact.config.model_dump(mode="json"),
    }
    if facts.with_onnx:
        tree["onnx"] = {
            "file": ONNX,
            "opset": OPSET,
            "input": INPUT,
            "output": OUTPUT,
            "tolerance": TOLERANCE,
        }
    return json.dumps(tree, indent=1, ensure_ascii=True) + "\n"


def card(facts: Facts) -> str:
    """README.md; every name from outside is escaped."""
    parts = [_front(facts), f"# {escape(facts.record.study.title or facts.record.study.name)}"]
    said = [facts.record.note] if facts.record.note else []
    parts += [f"> **{escape(text)}**" for text in (*said, *facts.caveats)]
    for title, section in SECTIONS:
        parts.append(f"## {title}\n\n{section(facts)}")
    return "\n\n".join(parts) + "\n"


def _front(facts: Facts) -> str:
    tags = ["image-classification", "safetensors", *(["onnx"] if facts.with_onnx else [])]
    lines = [
        "pipeline_tag: image-classification",
        f"tags: {json.dumps(tags)}",
        f"metrics: [{_judged(facts).noun}]",
    ]
    return "\n".join(("---", *lines, "---"))


def _judged(facts: Facts) -> Judged:
    return Judged.of(facts.artifact.config)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _what(facts: Facts) -> str:
    artifact, run = facts.artifact, facts.selection.run
    classes = "\n".join(f"- `{number}` {escape(name)}" for number, name in enumerate(facts.classes))
    kind = "grey" if artifact.channels == 1 else "RGB"
    blind = (
        ""
        if facts.selection.asked
        else f" {_upper(_judged(facts).long)} had no part in the choice."
    )
    params = f", {plural(run.num_params, 'parameter')}" if run.num_params else ""
    return (
        f"A classifier of {kind} pictures, brought to {artifact.size} x {artifact.size} pixels, "
        f"into {artifact.num_classes} classes: a network "
        f"`{artifact.config.model.model_dump()['name']}`{params}. It is "
        f"{escape(facts.selection.title)} of the study `{facts.record.study.name}` (run "
        f"`{run.key}`), chosen thus: {escape(facts.selection.why)}.{blind}\n\nClasses, by the "
        f"index of the output:\n\n{classes}"
    )


def _data(facts: Facts) -> str:
    data, config = facts.record.data, facts.artifact.config
    counts = ", ".join(f"{count:,} {name}" for name, count in data["counts"].items())
    lines = [
        f"Set: {escape(data['title'])}; pictures: {counts}; fingerprint of the content: "
        f"`{data['fingerprint']}`",
        f"Split: `{config.split}`: {SPLITS[config.split]}; this run trained on {facts.num_train:,} "
        f"and validated on {facts.num_val:,}",
    ]
    if data["unreadable"]:
        lines.append(
            plural(
                len(data["unreadable"]),
                "picture could not be read and was",
                "pictures could not be read and were",
            )
            + " left out"
        )
    return "\n".join(f"- {line}" for line in lines)


def _training(facts: Facts) -> str:
    config, run = facts.artifact.config, facts.selection.run
    parts = {
        name: getattr(config, name).model_dump()["name"]
        for name in ("optimizer", "schedule", "loss", "augment")
    }
    best = run.best or {}
    lines = [
        f"{len(run.epochs)} of {plural(config.epochs, 'epoch')}, batches of {config.batch_size}; "
        f"the weights are those of epoch {int(best.get('epoch', 0))}, the best on validation",
        ", ".join(f"{part}: `{name}`" for part, name in parts.items()),
    ]
    if config.transfer.weights:
        lines.append(f"Begun from other weights: {escape(config.transfer.weights)}")
    lines.append(f"The whole configuration is in `{CONFIG}` and in the header of `{MODEL}`")
    return "\n".join(f"- {line}" for line in lines)


def _metrics(facts: Facts) -> str:
    run, peers = facts.selection.run, facts.selection.peers
    rows = []
    own = metric_names(facts.artifact.config.metrics)
    judged = _judged(facts)
    first = (judged.column, "test_loss", judged.selects, "val_loss", "test_acc", "val_acc")
    for name in dict.fromkeys((*first, *own)):
        found = [value for peer in peers if (value := peer.metric(name)) is not None]
        rows.append(f"| {name} | {_moments(found)} | {_number(run.metric(name))} |")
    spread = "mean ± sd (n)" if len(peers) >= MIN_REPLICATES else "mean (n)"
    head = f"| metric | arm: {spread} | this file: {escape(facts.selection.title)} |\n|---|--:|--:|"
    notes = [
        "The arm's mean over replicates says what to expect of this way of training; cite that.",
        (
            f"This replicate was chosen by its validation {judged.noun}, so its own validation "
            "numbers are optimistic."
        )
        if len(peers) > 1
        else (
            f"The epoch was chosen by validation {judged.noun}, so the validation numbers are "
            "optimistic."
        ),
    ]
    if run.kind == "arm" and run.arm in (facts.record.found or {}):
        raced = ", chosen once more by a race of fresh runs" * bool(facts.record.trials(RACE))
        notes.append(
            f"This arm is what a search found: the best of its trials by validation{raced}. Its "
            "replicates chose nothing; the other arms were not tuned so."
        )
    if run.kind == "trial":
        notes[0] = (
            "A trial of a search has no replicates, and of many trials the best by validation is "
            "chosen: no spread is known."
        )
    if run.kind == "trial" and run.value is not None:
        notes.append(
            f"The search ranks this trial by {run.selects} {_number(run.value[1])}, that at its "
            "highest rung; the numbers above are those of its best epoch, whose weights these are."
        )
    if run.test_acc is None:
        notes.append(
            f"No {judged.long} is recorded: no test picture has a label, or a trial of a search is "
            "not tested."
        )
    if run.final:
        kept = ", ".join(f"{name} {_number(value)}" for name, value in _as_trained(run).items())
        notes.append(
            "These numbers are of the model as it was judged "
            f"(`{json.dumps(facts.artifact.config.final.model_dump())}`); the files hold the "
            f"weights as trained, in fp32, of one plain view: {kept}."
        )
    return "\n".join([head, *rows]) + "\n\n" + "\n".join(f"- {note}" for note in notes)


def _limits(facts: Facts) -> str:
    lines = [
        "Trained and measured on one set of pictures; nothing here says how it does on others.",
        "It knows its classes alone: a picture of anything else gets one of them too, perhaps with "
        "a high probability.",
        "The probabilities were not calibrated.",
        "Not for decisions about people, health, allergies or safety.",
        "Whether the pictures' licence allows this model to be handed on was not looked at.",
    ]
    lines += [f"About the data: {escape(warning)}" for warning in facts.record.data["warnings"]]
    return "\n".join(f"- {line}" for line in lines)


def _loading(facts: Facts) -> str:
    return loading(facts.artifact, facts.white, with_onnx=facts.with_onnx)


SECTIONS: Sequence[tuple[str, Callable[[Facts], str]]] = (
    ("What it is", _what),
    ("Data", _data),
    ("Training", _training),
    ("Metrics", _metrics),
    ("Limits", _limits),
    ("How to load it", _loading),
)


def _as_trained(run: Run) -> dict[str, float]:
    """Accuracies of the plain model, where the recorded ones are of a changed one."""
    if not run.final:
        return {}
    return {
        name: run.final[f"plain_{name}"]
        for name in ("val_acc", "test_acc")
        if f"plain_{name}" in run.final
    }


def _moments(values: Sequence[float]) -> str:
    if not values:
        return "–"
    sd = f" ± {stdev(values):.4f}" if len(values) >= MIN_REPLICATES else ""
    return f"{fmean(values):.4f}{sd} ({len(values)})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
