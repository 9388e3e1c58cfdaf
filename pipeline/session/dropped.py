"""Knobs that a command leaves out of the search: those that it says, and those of a part that it
puts another one in the place of.
"""

import functools
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.errors import UserError, choices, printable
from pipeline.screen import fold
from pipeline.study.around import Around
from pipeline.study.expression import parse
from pipeline.study.study import Study


def require_dropped(study: Study, sets: Mapping[str, Any]) -> None:
    """Raise UserError where a knob that is to be left out of the search is not in it."""
    for part, known in (("knobs", study.space.knobs), ("branches", study.space.branches)):
        for path in (path for path in sets if path.startswith(f"space.{part}.")):
            name = path.removeprefix(f"space.{part}.")
            if sets[path] is None and name not in known:
                raise UserError(
                    f"--set: {printable(path)}=null: nothing of that name is searched; "
                    f"{choices(name, list(known))}"
                )


def without_lost_knobs(before: Study, after: Study) -> Study:
    """The study without the knobs, and rules about them, of a part that `--set` has put another one
    in the place of.
    """
    had, has = before.baseline.flat(), after.baseline.flat()
    space, gone = after.space, [path for path in had if path not in has]
    unknown = {*gone} - {*_fields(after)}
    lost = [path for path in space.knobs if path in gone]
    lost += [path for path in space.derived if path in unknown]
    rules = [text for text in space.where if unknown & {*parse(text).names}]
    if not lost and not rules:
        return after
    named = {name for text in rules for name in parse(text).names if name in unknown}
    parts = {path.rpartition(".")[0] for path in (*lost, *named)}
    now = ", ".join(str(has[f"{part}.name"]) for part in sorted(parts) if f"{part}.name" in has)
    said = ", ".join([*lost, *(f"where {text}" for text in rules)])
    note = f"note: --set: dropped: {said} ({now} has no such field)"
    print("\n".join(fold(printable(note, 1000))), file=sys.stderr)
    left: dict[str, Any] = {"space.where": [text for text in space.where if text not in rules]}
    left |= {f"space.knobs.{path}": None for path in lost if path in space.knobs}
    left |= {f"space.derived.{path}": None for path in lost if path in space.derived}
    return after.override(left, source="--set")


def without_dropped_points(study: Study, sets: Mapping[str, Any]) -> Study:
    """The study without knobs in its first points that the command leaves out of the search."""
    lost = [path.removeprefix("space.knobs.") for path in sets if sets[path] is None]
    points = [{k: v for k, v in point.items() if k not in lost} for point in study.search.first]
    if points == list(study.search.first):
        return study
    gone = [path for path in lost if any(path in point for point in study.search.first)]
    note = f"note: --set: not searched, so left out of search.first: {', '.join(gone)}"
    print("\n".join(fold(printable(note, 1000))), file=sys.stderr)
    return study.override({"search.first": points}, source="--set")


def without_idle_factors(study: Study, sets: Mapping[str, Any]) -> Study:
    """The study without factors that the command has taken away from its baseline, so that there is
    nothing left to take: of weights that are not to be had, the arm without them.
    """
    off = getattr(study.ablation.design, "off", {})
    on = getattr(study.ablation.design, "on", {})
    baseline = study.baseline.flat()
    idle = [
        factor
        for factor, own in off.items()
        if factor not in on
        and any(f"baseline.{path}" in sets for path in own)
        and all(path in baseline and baseline[path] == value for path, value in own.items())
    ]
    left = {factor: own for factor, own in off.items() if factor not in idle}
    if not idle or not (left or on):
        return study
    note = f"note: --set: no factor any more, as nothing of it is left: {', '.join(idle)}"
    print("\n".join(fold(printable(note, 1000))), file=sys.stderr)
    return study.override({"ablation.design.off": left}, source="--set")


def _fields(study: Study) -> list[str]:
    """What some variant that is searched may have beside the baseline's own fields."""
    around = Around(study.space, study.baseline)
    named = [slot for slot in around.space.slots() if slot.path.endswith(".name")]
    return [f for s in named for value in s.knob.edges() for f in around.flat({s.path: value})]


def tell_left(before: Study, after: Study, sets: Mapping[str, Any]) -> None:
    """Say what a part that is chosen by its name does not take over of the study's own."""
    for path in sets:
        part, dot, name = path.rpartition(".")
        if not dot or name != "name" or not path.startswith("baseline."):
            continue  # an arm's own says itself what it sets
        old, new = (functools.reduce(getattr, part.split("."), one) for one in (before, after))
        said = [
            f"{part.removeprefix('baseline.')}.{key}={getattr(old, key)}"
            for key, field in type(old).model_fields.items()
            if key != "name"
            and f"{part}.{key}" not in sets
            and getattr(old, key) not in (field.default, getattr(new, key, None))
        ]
        if said and type(old) is not type(new):
            note = f"note: --set {path.removeprefix('baseline.')}={sets[path]}: it begins from "
            note += f"its own defaults; the study's {', '.join(said)} "
            note += f"{'is' if len(said) == 1 else 'are'} not taken over"
            print("\n".join(fold(printable(note, 1000))), file=sys.stderr)
