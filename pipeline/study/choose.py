"""The study that a command line asks for: its name or file, the flags that override it, where its
pictures lie.
"""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError, choices, printable

if TYPE_CHECKING:
    from pipeline.data.datasets import PictureSet
    from pipeline.study.study import Study


def chosen_study(args: argparse.Namespace) -> tuple["Study", Path | None, str]:
    """(the study with all flags applied and checked, its folder of pictures, the note that must be
    shown or '').
    """
    from pipeline.study.load import load_study

    study = load_study(args.study)
    sets = dict(_assignment(text) for text in getattr(args, "sets", ()))
    data, note, overrides = _data_folder(study, args.data, sets)
    if note:
        study = study.override(overrides, source=f"study '{study.name}', fallback")
    args.defaults = study.flat()  # what the study says before the flags do
    knobs: dict[str, Any] = {}
    for flag, key in (
        ("trials", "search.num_trials"),
        ("epochs", "baseline.epochs"),
        ("seed", "search.seed"),
    ):
        if getattr(args, flag, None) is not None:
            knobs[key] = getattr(args, flag)
    if getattr(args, "replicates", None) is not None:
        knobs["ablation.replicates"] = args.replicates
    study = study.override(knobs, source="flags")
    study = study.override(sets, source="--set")
    if args.data is not None and study.baseline.dataset.folder == "unused":
        name = study.baseline.dataset.name
        raise UserError(
            f"--data: got {printable(repr(args.data))}, but this study's pictures ({name}) are in "
            "no folder"
        )
    study.check()
    return study, data, note


def _assignment(text: str) -> tuple[str, Any]:
    """(path in the study, value) of `KEY=VALUE`; a field of the training configuration means the
    baseline's.
    """
    from pipeline.core.config import TrainConfig
    from pipeline.study.study import Study

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
        raise UserError(
            f"--set: {printable(key)}: unknown; "
            f"{choices(head, (*TrainConfig.model_fields, *Study.model_fields))}"
        )
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def _data_folder(
    study: "Study", flag: str | None, sets: dict[str, Any]
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


def _chosen_dataset(study: "Study", sets: dict[str, Any]) -> "PictureSet":
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
