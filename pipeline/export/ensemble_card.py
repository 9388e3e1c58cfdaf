"""What goes with an ensemble: its card and config.json."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.stats import MIN_REPLICATES
from pipeline.counts import plural
from pipeline.errors import printable
from pipeline.export.delivery import CONFIG, member_file
from pipeline.export.loading import loading
from pipeline.export.measured import MIN_DIFFERENT, Interval, Measured
from pipeline.export.model_card import (
    Facts,
    config_tree,
    json_text,
    limits,
    moments,
    number,
    of_a_search,
    of_data,
    page,
    parts_in_words,
    what_it_does,
)
from pipeline.report.formats.markdown import escape
from pipeline.study.judged import Judged


@dataclass(frozen=True)
class Ensembled:
    """Everything the two files say. `measured`: on labelled test pictures, None without any;
    `plain`: so, of the weights as the files hold them, where members are judged otherwise;
    `independent`: no two test pictures show one subject.
    """

    members: tuple[Facts, ...]
    measured: Measured | None
    plain: Measured | None
    independent: bool

    @property
    def first(self) -> Facts:
        return self.members[0]

    @property
    def judged(self) -> Judged:
        return Judged.of(self.first.artifact.config)

    @property
    def replicates(self) -> list[int]:
        return [one.selection.run.replicate for one in self.members]


def ensemble_json(facts: Ensembled) -> str:
    """The ensemble's facts for programs; what is each member's own stands with it."""
    trees = [config_tree(one) for one in facts.members]
    own = ("run", "mlflow_run", "pictures", "metrics", "as_trained", "config")
    tree = {key: value for key, value in trees[0].items() if key not in ("as_trained", "config")}
    files = map(member_file, facts.replicates)
    arm = facts.first.selection.run.arm
    tree |= {
        "run": {"kind": "ensemble", "arm": arm, "replicates": facts.replicates},
        "mlflow_run": None,
        "metrics": facts.measured.own if facts.measured else {},
        "as_trained": facts.plain.own if facts.plain else {},
        "measured": _tree(facts.measured) if facts.measured else None,
        "members": [
            {"file": file, **{key: one[key] for key in own}}
            for file, one in zip(files, trees, strict=True)
        ],
    }
    return json_text(tree)


def _tree(found: Measured) -> dict[str, Any]:
    return {
        "test_pictures": found.num_pictures,
        "members_mean": {name: found.mean(name) for name in found.own},
        "above_members_mean": {name: found.above(name) for name in found.own},
        "interval_of_test_acc": found.acc,
        "interval_of_gain": found.gain,
    }


def ensemble_card(facts: Ensembled) -> str:
    """README.md; every name from outside is escaped."""
    return page(
        facts.first,
        {
            "What it is": _what(facts),
            "Data": _data(facts),
            "Members": _members(facts),
            "Metrics": _metrics(facts),
            "Limits": f"{limits(facts.first)}\n- {_cost(facts)}",
            "How to load it": loading(
                [one.artifact for one in facts.members],
                facts.first.white,
                with_onnx=facts.first.with_onnx,
            ),
        },
    )


def _what(facts: Ensembled) -> str:
    first = facts.first
    selection = first.selection
    networks = _once(one.artifact.config.model.model_dump()["name"] for one in facts.members)
    total = sum(one.selection.run.num_params or 0 for one in facts.members)
    params = f", {plural(total, 'parameter')} together" if total else ""
    averaged = plural(len(facts.members), "network")
    if (num := sum(one.artifact.config.members for one in facts.members)) > len(facts.members):
        averaged = f"{plural(len(facts.members), 'ensemble')}, {plural(num, 'network')} in all"
    long = facts.judged.long
    blind = "" if selection.asked else f" {long[:1].upper()}{long[1:]} had no part in the choice."
    return what_it_does(
        first,
        f"the mean of the probabilities of {averaged} "
        f"({networks}{params}). They are replicates {_numbers(facts)} of arm "
        f"'{escape(printable(selection.run.arm, 80))}' of the study `{first.record.study.name}`, "
        f"chosen thus: {escape(selection.why)}.{blind}",
    )


def _once(names: Iterable[str]) -> str:
    """`cnn`, `mlp`: each once."""
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


def _data(facts: Ensembled) -> str:
    train, val = (
        sorted({getattr(one, name) for one in facts.members}) for name in ("num_train", "num_val")
    )
    shown = (f"{few[0]:,}" + f" to {few[-1]:,}" * (len(few) > 1) for few in (train, val))
    return of_data(facts.first, "each member trained on {} and validated on {}".format(*shown))


def _members(facts: Ensembled) -> str:
    selects, columns = facts.judged.selects, _columns(facts)
    head = ["replicate", "file", "epoch", selects, *(f"{name}, recorded" for name in columns)]
    rows = []
    for one in facts.members:
        run = one.selection.run
        cells = [
            str(run.replicate),
            f"`{member_file(run.replicate)}`",
            str(int((run.best or {}).get("epoch", 0))),
            *(number(run.metric(name)) for name in (selects, *columns)),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    table = "\n".join([f"| {' | '.join(head)} |", "|--:|---|" + "--:|" * (len(head) - 2), *rows])
    configs = [one.artifact.config for one in facts.members]
    alike = all(config == configs[0] for config in configs)
    how = (
        f"Each: {plural(configs[0].epochs, 'epoch')} at most, {configs[0].batches}; "
        f"{parts_in_words(configs[0])}"
        if alike
        else "Their configurations differ, each was tuned by itself"
    )
    begun = dict.fromkeys(c.transfer.weights for c in configs if c.transfer.weights)
    where = "on a split of its own" if _own_splits(facts) else "all on one split"
    weights = "" if begun else "from initial weights and "
    lines = [
        f"Each was trained by itself, {weights}in an order of pictures of its own, {where}.",
        f"{how}. Every configuration is in `{CONFIG}` and in the header of the member's file.",
        f"Weights are those of the epoch that was best on the member's own validation pictures, so "
        f"{selects} is optimistic.",
    ]
    if begun:
        lines.append(f"Begun from other weights: {escape(', '.join(begun))}.")
    return table + "\n\n" + "\n".join(f"- {line}" for line in lines)


def _metrics(facts: Ensembled) -> str:
    validation = (
        "There is no validation number of the ensemble: each member was trained on a split of its "
        "own, so the pictures that validated one taught another."
        if _own_splits(facts)
        else "There is no validation number of the ensemble: the validation pictures are the same "
        "for all members and chose the epoch of each."
    )
    found = facts.measured
    if found is None:
        return f"- No number: no test picture has a label.\n- {validation}"
    num = len(facts.members)
    spread = "mean ± sd (n)" if num >= MIN_REPLICATES else "mean (n)"
    rows = [f"| metric | members: {spread} | the ensemble | above the mean |", "|---|--:|--:|--:|"]
    for name in dict.fromkeys((*_columns(facts), *found.own)):
        members = moments([one[name] for one in found.members])
        rows.append(
            f"| {name} | {members} | {number(found.own[name])} | {found.above(name):+.4f} |"
        )
    lines = [
        f"All of it was measured when this was exported, on the {found.num_pictures:,} labelled "
        "test pictures, members and ensemble by the same answers.",
        *_intervals(facts, found),
        "The members' mean says what to expect of one training"
        + "; their sd is of this arm's replicates." * (num >= MIN_REPLICATES)
        + "." * (num < MIN_REPLICATES),
        validation,
        *of_a_search(facts.first),
    ]
    if facts.plain is not None:
        lines.append(
            "These numbers are of the members as they were judged, compressed and by views, as the "
            "predictions are. The files hold the weights as trained, in fp32; averaged so, of one "
            f"plain view, test_acc is {number(facts.plain.own['test_acc'])}, the members' mean "
            f"{number(facts.plain.mean('test_acc'))}."
        )
    return "\n".join(rows) + "\n\n" + "\n".join(f"- {line}" for line in lines)


def _intervals(facts: Ensembled, found: Measured) -> list[str]:
    if not facts.independent:
        return [
            "No interval is given: several of the pictures show one subject, and it would take "
            "them as independent."
        ]
    gain = (
        f"that of its gain over the members' mean, picture by picture, {_range(found.gain, '+')}"
        if found.gain
        else f"of its gain there is none, since it takes {MIN_DIFFERENT} pictures on which the "
        "ensemble and a member differ in being right"
    )
    return [
        f"95 % interval of the ensemble's test_acc: {_range(found.acc)} (Wilson); {gain}.",
        "These intervals say what other pictures of this kind would give with these very members. "
        "They say nothing of other trainings: the ensemble was made once, so it has no sd.",
    ]


def _range(interval: Interval | None, sign: str = "") -> str:
    low, high = interval or (0.0, 0.0)
    return f"{low:{sign}.4f} to {high:{sign}.4f}"


def _cost(facts: Ensembled) -> str:
    num = sum(one.artifact.config.members for one in facts.members)
    return (
        f"It answers by {plural(num, 'network')}: a picture takes {num} times the time of "
        f"one of them, and the files {num} times the space."
    )


def _columns(facts: Ensembled) -> tuple[str, ...]:
    judged = facts.judged
    if facts.measured is None:
        return ()
    return tuple(dict.fromkeys((judged.column, "test_acc")))


def _own_splits(facts: Ensembled) -> bool:
    return facts.first.artifact.config.split != "official"


def _numbers(facts: Ensembled) -> str:
    return ", ".join(map(str, facts.replicates))
