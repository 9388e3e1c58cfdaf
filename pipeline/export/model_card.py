"""What goes with an exported model: the card (README.md in the style of model hubs) and
config.json.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from pipeline.analysis.stats import MIN_REPLICATES
from pipeline.core.config import TrainConfig
from pipeline.core.finished.artifact import Artifact
from pipeline.counts import plural
from pipeline.data.listing import FULL_DEPTH
from pipeline.errors import printable
from pipeline.export.delivery import CONFIG, MODEL
from pipeline.export.loading import ONNX, loading
from pipeline.export.onnx import INPUT, OPSET, OUTPUT, TOLERANCE
from pipeline.export.selection import Selection
from pipeline.record.events import Session
from pipeline.record.record import Record, Run
from pipeline.report.formats.markdown import escape
from pipeline.study.judged import Judged

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
    return json_text(config_tree(facts))


def json_text(tree: Mapping[str, Any]) -> str:
    """As `config.json` is written."""
    return json.dumps(tree, indent=1, ensure_ascii=True) + "\n"


def config_tree(facts: Facts) -> dict[str, Any]:
    """What `config.json` holds."""
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
    return tree


def card(facts: Facts) -> str:
    """README.md; every name from outside is escaped."""
    return page(facts, {title: section(facts) for title, section in SECTIONS})


def page(facts: Facts, sections: Mapping[str, str]) -> str:
    """A card of these sections by their titles, caveats first."""
    parts = [_front(facts), f"# {escape(facts.record.study.title or facts.record.study.name)}"]
    said = [facts.record.note] if facts.record.note else []
    parts += [f"> **{escape(text)}**" for text in (*said, *facts.caveats)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
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
    run = facts.selection.run
    blind = (
        ""
        if facts.selection.asked
        else f" {_upper(_judged(facts).long)} had no part in the choice."
    )
    params = f", {plural(run.num_params, 'parameter')}" if run.num_params else ""
    return what_it_does(
        facts,
        f"{facts.artifact.config.networks}{params}. It is "
        f"{escape(facts.selection.title)} of the study `{facts.record.study.name}` (run "
        f"`{run.key}`), chosen thus: {escape(facts.selection.why)}.{blind}",
    )


def what_it_does(facts: Facts, by_what: str) -> str:
    """A section of the card: what is classified, into which classes, by what."""
    artifact = facts.artifact
    classes = "\n".join(f"- `{number}` {escape(name)}" for number, name in enumerate(facts.classes))
    kind = "grey" if artifact.channels == 1 else "RGB"
    side = artifact.config.input_size
    seen = f"of which the model makes {side} x {side}, " if side not in (0, artifact.size) else ""
    return (
        f"A classifier of {kind} pictures, brought to {artifact.size} x {artifact.size} pixels, "
        f"{seen}into {artifact.num_classes} classes: {by_what}\n\nClasses, by the index of the "
        f"output:\n\n{classes}"
    )


def _data(facts: Facts) -> str:
    sizes = f"this run trained on {facts.num_train:,} and validated on {facts.num_val:,}"
    return of_data(facts, sizes)


def of_data(facts: Facts, sizes: str) -> str:
    """A section of the card; `sizes` in words: how many pictures taught, how many validated."""
    data, config = facts.record.data, facts.artifact.config
    counts = ", ".join(f"{count:,} {name}" for name, count in data["counts"].items())
    lines = [
        f"Set: {escape(data['title'])}; pictures: {counts}; fingerprint of the content: "
        f"`{data['fingerprint']}`",
        f"Split: `{config.split}`: {SPLITS[config.split]}; {sizes}",
    ]
    if (share := config.train_share) < 1:
        rest = f"; the others, guessed at, from epoch {config.pseudo.start}"
        lines.append(f"Of each class {share:.3g} of the training pictures were learnt from")
        lines[-1] += rest * bool(config.pseudo.threshold)
    if bad := len(data["unreadable"]):
        lost = plural(
            bad, "picture could not be read and was", "pictures could not be read and were"
        )
        lines.append(f"{lost} left out")
    return "\n".join(f"- {line}" for line in lines)


def _training(facts: Facts) -> str:
    config, run = facts.artifact.config, facts.selection.run
    best = run.best or {}
    lines = [
        f"{len(run.epochs)} of {plural(config.epochs, 'epoch')}, {config.batches}; "
        f"the weights are those of epoch {int(best.get('epoch', 0))}, the best on validation",
        parts_in_words(config),
    ]
    if config.transfer.weights:
        lines.append(f"Begun from other weights: {escape(config.transfer.weights)}")
    lines += config.transfer.words
    lines.append(f"The whole configuration is in `{CONFIG}` and in the header of `{MODEL}`")
    return "\n".join(f"- {line}" for line in lines)


def parts_in_words(config: TrainConfig) -> str:
    """`optimizer: `sgd`, schedule: …`."""
    names = ("optimizer", "schedule", "loss", "augment")
    return ", ".join(f"{name}: `{getattr(config, name).model_dump()['name']}`" for name in names)


def _metrics(facts: Facts) -> str:
    run, peers = facts.selection.run, facts.selection.peers
    rows = []
    own = facts.artifact.config.further
    judged = _judged(facts)
    first = (judged.column, "test_loss", judged.selects, "val_loss", "test_acc", "val_acc")
    for name in dict.fromkeys((*first, *own)):
        found = [value for peer in peers if (value := peer.metric(name)) is not None]
        rows.append(f"| {name} | {moments(found)} | {number(run.metric(name))} |")
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
    notes += of_a_search(facts)
    if run.kind == "trial":
        notes[0] = (
            "A trial of a search has no replicates, and of many trials the best by validation is "
            "chosen: no spread is known."
        )
    if run.kind == "trial" and run.value is not None:
        notes.append(
            f"The search ranks this trial by {run.selects} {number(run.value[1])}, that at its "
            "highest rung; the numbers above are those of its best epoch, whose weights these are."
        )
    if run.test_acc is None:
        notes.append(
            f"No {judged.long} is recorded: no test picture has a label, or a trial of a search is "
            "not tested."
        )
    if run.final:
        kept = ", ".join(f"{name} {number(value)}" for name, value in _as_trained(run).items())
        notes.append(
            "These numbers are of the model as it was judged "
            f"(`{json.dumps(facts.artifact.config.final.model_dump())}`); the files hold the "
            f"weights as trained, in fp32, of one plain view: {kept}."
        )
    return "\n".join([head, *rows]) + "\n\n" + "\n".join(f"- {note}" for note in notes)


def of_a_search(facts: Facts) -> list[str]:
    """What is to be said of an arm that a search found; of others nothing."""
    run = facts.selection.run
    if run.kind != "arm" or run.arm not in (facts.record.found or {}):
        return []
    raced = ", chosen once more by a race of fresh runs" * facts.record.has_raced
    return [
        f"This arm is what a search found: the best of its trials by validation{raced}. Its "
        "replicates chose nothing; the other arms were not tuned so."
    ]


def limits(facts: Facts) -> str:
    """A section of the card."""
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
    return loading([facts.artifact], facts.white, with_onnx=facts.with_onnx)


SECTIONS: Sequence[tuple[str, Callable[[Facts], str]]] = (
    ("What it is", _what),
    ("Data", _data),
    ("Training", _training),
    ("Metrics", _metrics),
    ("Limits", limits),
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


def moments(values: Sequence[float]) -> str:
    """`0.9312 ± 0.0041 (5)`."""
    if not values:
        return "–"
    sd = f" ± {stdev(values):.4f}" if len(values) >= MIN_REPLICATES else ""
    return f"{fmean(values):.4f}{sd} ({len(values)})"


def number(value: float | None) -> str:
    """Of four places; a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"
