"""What a command line asks for, made by hand: options and the study that they choose."""

from pathlib import Path
from typing import Any

from pipeline.session.options import Options
from pipeline.session.resolve import Chosen
from pipeline.session.resume import BUDGET
from pipeline.study.study import Study


def options(root: Path, **flags: Any) -> Options:
    return Options("pipeline.ablate", "small", mlruns=str(root), **flags)


def chosen(study: Study, data: Path | None = None, **fields: Any) -> Chosen:
    """`study` as if no flag had changed it."""
    flat = study.flat()
    return Chosen(study, data, "", {key: flat[key] for key in BUDGET}, **fields)
