"""How a command's study comes about: `chosen` from the command line alone, `resolve` with the
record, the machine and the pictures. Nothing else changes a study.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.config import TrainConfig
from pipeline.core.identity import as_today
from pipeline.core.precision import resolve_precision
from pipeline.errors import UserError, printable
from pipeline.frozen import unplaced
from pipeline.machine import Resources
from pipeline.record.folders import study_folder
from pipeline.record.ledger import FILE
from pipeline.record.record import Record
from pipeline.record.revision import looked_for, searches
from pipeline.session.dropped import (
    require_dropped,
    tell_left,
    without_dropped_points,
    without_idle_factors,
    without_lost_knobs,
)
from pipeline.session.options import AUTO, BEST, Options
from pipeline.session.resume import GO_ON, KEPT, changed_settings, elsewhere, grown, recorded_in
from pipeline.session.warm_start import require_warm, warmed
from pipeline.study.load import load_study
from pipeline.study.looks import MAXIMUM
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.data.cache import Data
    from pipeline.data.datasets import PictureSet

FLAGS = {
    "trials": "search.num_trials",
    "epochs": "baseline.epochs",
    "seed": "search.seed",
    "replicates": "ablation.replicates",
    "race": "search.race",
    "until_answered": "ablation.until_answered",
    "against": "search.objectives",
    "variance": "ablation.variance",
}  # option → the field of the study that it sets

IN_255 = tuple(
    f"baseline.{part}.{field}" for part in ("attack", "adversary") for field in ("epsilon", "alpha")
)  # fields that reports show, and papers give, as 8/255
FRACTION = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*255")

OF_ARMS = (
    "ablation.replicates",
    "ablation.rope",
    "ablation.until_answered",
    "ablation.variance",
)


@dataclass(frozen=True)
class Chosen:
    """A study as the command line asks for it, before a record, the machine or pictures are seen.

    `data` is its folder of pictures, `note` what must be shown where its fallback is used ('':
    nothing), `budget` what the study says of its budgets before the flags do. `searched`: what the
    record of the search keeps of the pictures, for the path to its best configuration.
    """

    study: Study
    data: Path | None
    note: str
    budget: Mapping[str, Any]
    searched: Mapping[str, Any] | None = None


def chosen(options: Options) -> Chosen:
    """The study by its name or file, then its fallback, the flags and `--set` upon it; checked as a
    whole. Raises UserError.
    """
    study = load_study(options.study)
    alone = {"ablation.found": {}, "search.warmed": [], "search.past": [], "search.past_of": ""}
    study = study.override(alone, source="study")
    sets = dict(_assignment(text) for text in options.sets)
    data, note, overrides = _data_folder(study, options.data, sets)
    if note:
        study = study.override(overrides, source=f"study '{study.name}', fallback")
    budget = _budget(study)
    asked = {key: getattr(options, flag) for flag, key in FLAGS.items()}
    if options.against is not None:
        asked["search.objectives"] = [name.strip() for name in options.against.split(",")]
    given = {key: value for key, value in asked.items() if value is not None}
    if options.until_answered and not study.ablation.until_answered:
        given = {"ablation.replicates": MAXIMUM, **given}
    for flag, key in FLAGS.items():
        if asked[key] is not None and key in sets and given[key] != sets[key]:
            raise UserError(
                f"--{flag.replace('_', '-')} {getattr(options, flag)} and --set "
                f"{key}={printable(sets[key], 40)} set the same field: give one of them"
            )
    study = study.override(given, source="flags")
    require_dropped(study, sets)
    before, study = study, study.override(sets, source="--set")
    tell_left(before, study, sets)
    study = without_dropped_points(without_lost_knobs(before, study), sets)
    study = without_idle_factors(study, sets)
    if options.data is not None and study.baseline.dataset.folder == "unused":
        name = study.baseline.dataset.name
        raise UserError(
            f"--data: got {printable(repr(options.data))}, but this study's pictures ({name}) are "
            "in no folder"
        )
    study.check()
    return Chosen(study, data, note, budget)


def resolve(
    options: Options,
    asked: Chosen,
    record: Record,
    means: Resources | None = None,
    pictures: "Data | None" = None,
) -> Study:
    """The study that is trained; what is not known yet (pictures, say) leaves it as it was."""
    study = as_recorded(record, asked.study)
    require_warm(record, options.warm_start)
    _require_portfolio(options, asked.study, study)
    if options.warm_start not in ("", AUTO) and not record.begun:
        study = warmed(study, options.warm_start)
    study = _with_kept_budget(options, asked, record, study)
    if study.baseline.precision == "auto" and means is not None:
        precision = resolve_precision(study.baseline, means.device, means.fast)
        study = study.override({"baseline.precision": precision}, source="machine")
    if study.ablation.match and pictures is not None and not record.begun:
        from pipeline.session import parameter_matching  # it needs torch

        study = with_matched(study, *parameter_matching.shape_of(pictures))
    return study


def from_search(options: Options, asked: Chosen) -> Chosen:
    """The study that is derived from the best configuration of the search: the recorded one, else
    made anew.

    Raises UserError where no search of this very study is recorded, or it found nothing better than
    the baseline.
    """
    from pipeline.session.derived import derive, derived_name

    if options.around not in ("", BEST):
        raise UserError(f"--around: got {printable(repr(options.around))}; allowed: {BEST}")
    study, root = asked.study, Path(options.mlruns)
    path = study.model_copy(update={"name": derived_name(study.name, options.way)})
    folders = (study_folder(root, one, asked.data) for one in (study, path))
    searched, own = (recorded_in(folder) for folder in folders)
    lines = []
    if searched.begun:
        same = as_recorded(searched, study)
        lines = changed_settings(searched, same) + grown(searched, same)
        lines = [line for line in lines if not line.startswith("ablation.design.")]  # has its own
    if lines:
        shown = "\n".join(printable(line, 300) for line in lines[:20])
        raise UserError(
            f"--{options.way}: the search of '{study.name}' was recorded with other "
            f"settings:\n{shown}\n{GO_ON}"
        )
    budget = {**asked.budget, "search.num_trials": 0}
    grown_since = searched.revisions and own.begun and searched.revisions[-1].time > own.changed
    if own.begun and not options.fresh and not grown_since:
        kept = {key: value for key, value in study.flat().items() if key in OF_ARMS}
        made = own.study.override(kept, source="flags")
        return replace(asked, study=made, budget=budget)
    if searched.begun:
        study = _with_kept_budget(options, asked, searched, study)
    made = derive(searched, study, options.way)
    return replace(asked, study=made, budget=budget, searched=searched.data)


def recorded_folder(options: Options, asked: Chosen) -> Path:
    """The folder that the study is recorded in, with `--path` or `--around` that of what is derived
    from it. Raises UserError where nothing is recorded there.
    """
    from pipeline.session.derived import derived_name

    study, root = asked.study, Path(options.mlruns)
    study = study.model_copy(update={"name": derived_name(study.name, options.way)})
    folder = study_folder(root, study, asked.data)
    if not (folder / FILE).exists():
        raise UserError(f"--study: nothing is recorded in {printable(folder)}; {elsewhere(root)}")
    return folder


def as_recorded(record: Record, study: Study) -> Study:
    """The study with what the recorded one's machine, pictures and search decided: its `auto`
    precision, its matched arms, what was found; and its objectives, where none are asked for.
    """
    if not record.begun:
        return study
    old = as_today(Study, record.asked)
    known: dict[str, Any] = {
        "search.warmed": list(old.search.warmed),
        "search.past": list(old.search.past),
        "search.past_of": old.search.past_of,
        "search.portfolio": list(old.search.portfolio),  # of its version, or that it began with
    }
    if not study.search.objectives:
        known["search.objectives"] = list(old.search.objectives)
    if study.baseline.precision == "auto":
        known["baseline.precision"] = old.baseline.precision
    if study.ablation.match and study.ablation.match == old.ablation.match:
        known["ablation.matched"] = old.ablation.matched
    study = study.override(known, source="ledger")
    if looked_for(searches(study)[0]) != looked_for(searches(old)[0]):
        return study
    return study.override({"ablation.found": old.ablation.found}, source="ledger")


def _require_portfolio(options: Options, asked: Study, study: Study) -> None:
    """Raise UserError where a command wants other first points than its study began with."""
    said = {_assignment(text)[0] for text in options.sets}
    if "search.portfolio" in said and asked.search.portfolio != study.search.portfolio:
        raise UserError(
            "search.portfolio: this study has begun, and its first trials are recorded; allowed: "
            "leave it out, or --fresh to begin anew"
        )


def _with_kept_budget(options: Options, asked: Chosen, record: Record, study: Study) -> Study:
    """The study with the budgets of the last session, where neither this command nor an edit of the
    study says otherwise.
    """
    if not record.sessions:
        return study
    said = said_by(options)
    last, default = record.sessions[-1].budget, record.sessions[-1].default
    if study.ablation.until_answered and not last.get("ablation.until_answered"):
        said.add("ablation.replicates")  # which was a fixed number
    known = last.keys() & default.keys()  # not a budget that is newer than the record
    kept = {
        key: last[key]
        for key in KEPT
        if key in known and key not in said and asked.budget[key] == default[key]
    }
    if (
        "race" not in record.header.study["search"]
        and not said & {"search.race"}
        and "search.race" not in last
    ):
        kept["search.race"] = 0  # it was begun by a version that had none
    return study.override(kept, source="ledger")


def said_by(options: Options) -> set[str]:
    """The fields of the study that a command's own flags and `--set` give."""
    flags = {key for flag, key in FLAGS.items() if getattr(options, flag) is not None}
    return flags | {_assignment(text)[0] for text in options.sets}


def with_matched(study: Study, channels: int, size: int, num_classes: int) -> Study:
    """The study with the numbers that match its arms' parameters on such pictures."""
    from pipeline.session.parameter_matching import matched  # it needs torch

    study = study.override({"ablation.matched": {}}, source="pictures")
    found = matched(study, channels, size, num_classes)
    return study.override({"ablation.matched": found}, source="pictures")


def _budget(study: Study) -> dict[str, Any]:
    flat = study.flat()
    return {key: flat[key] for key in KEPT}


def _assignment(text: str) -> tuple[str, Any]:
    """(path in the study, value) of `KEY=VALUE`; a field of the training configuration means the
    baseline's. An attack's `8/255` is that number.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise UserError(f"--set: expected KEY=VALUE, got {printable(repr(text))}")
    if key == "ablation.tuning" and not value.startswith("{"):
        key = "ablation.tuning.name"
    head = key.split(".")[0]
    if head in TrainConfig.model_fields:
        key = f"baseline.{key}"
    elif head in ("data", "data_env", "fallback"):
        raise UserError(f"--set: {printable(key)}: give the folder of pictures with --data")
    elif head not in Study.model_fields:
        known = unplaced(head, TrainConfig, Study)
        raise UserError(f"--set: {printable(key)}: unknown; {known}")
    if key in IN_255 and (found := FRACTION.fullmatch(value)):
        return key, float(found[1]) / 255
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def _data_folder(
    study: Study, flag: str | None, sets: dict[str, Any]
) -> tuple[Path | None, str, dict[str, Any]]:
    """(folder, note, overrides): the flag, else the environment, else the study's own folder, else
    its fallback.

    A dataset that `--set` names in the study's place has neither the study's folder nor its
    fallback.
    """
    if flag is not None:
        return Path(flag).expanduser(), "", {}
    own, chosen = study.baseline.dataset, _chosen_dataset(study, sets)
    if (chosen.name, chosen.folder) != (own.name, own.folder):
        if chosen.folder == "needed":
            raise UserError(
                f"--set: dataset.name: {chosen.name}: its pictures lie in a folder; give it with "
                "--data"
            )
        return None, "", {}
    if own.folder == "unused":
        return None, "", {}
    if study.data_env and os.environ.get(study.data_env):
        return Path(os.environ[study.data_env]).expanduser(), "", {}
    if study.data is not None and Path(study.data).is_dir():
        return Path(study.data), "", {}
    if own.folder == "optional":
        return None, "", {}
    if study.fallback is not None:
        return None, study.fallback.note, study.fallback.overrides
    looked = f"{study.data}/" if study.data else "(the study names no folder)"
    raise UserError(
        f"study '{study.name}': its pictures were not found at {printable(looked)}; give the "
        "folder with --data"
    )


def _chosen_dataset(study: Study, sets: dict[str, Any]) -> "PictureSet":
    """The study's dataset as `--set` has it; fields that it does not know may be meant for the
    fallback's.
    """
    part = {key: value for key, value in sets.items() if key.startswith("baseline.dataset")}
    try:
        return study.override(part, source="--set").baseline.dataset
    except UserError:
        if "baseline.dataset.name" in part:
            raise
        return study.baseline.dataset
