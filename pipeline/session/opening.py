"""How a session begins: pictures decoded, what the machine and the pictures decide made definite,
the record opened.
"""

import argparse
import json
import shlex
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress as Bar

from pipeline.core import CORE_VERSION
from pipeline.counts import plural
from pipeline.data.listing import FIRST_RULES
from pipeline.errors import MachineError, printable
from pipeline.machine import Resources, commit, describe, versions
from pipeline.record.ledger import FORMAT, Ledger
from pipeline.record.published import place
from pipeline.record.record import Record
from pipeline.screen import folded
from pipeline.session.preflight import external_files, require_inputs
from pipeline.session.resume import BUDGET, as_recorded, describe_data
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.data.cache import Data


def prepare(
    study: Study,
    folder: Path | None,
    record: Record,
    mlruns: Path,
    means: Resources,
    console: Console,
    recorded: Mapping[str, Any] | None = None,
) -> tuple[Study, "Data"]:
    """(the study with `auto` precision and matched arms made definite, once for good; the pictures,
    decoded once).

    `folder` holds the pictures; `recorded`: what another record keeps of them, that of a search
    whose path this is. Raises UserError where the study cannot be trained on them.
    """
    from pipeline.data.cache import prepare as decode

    study = as_recorded(record, study)
    if study.baseline.precision == "auto":
        from pipeline.core.train import resolve_precision  # torch takes seconds to import

        study = study.override(
            {"baseline.precision": resolve_precision(study.baseline, means.device)},
            source="machine",
        )
    began = time.monotonic()
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("decoding the pictures once", visible=False)
        data = decode(
            study.baseline.dataset,
            folder,
            mlruns / "cache",
            on_progress=lambda done, total: bar.update(
                task, completed=done, total=total, visible=True
            ),
            recorded=record.data if record.header else recorded,
        )
    _tell_rules(data, console)
    if study.ablation.match and not record.header:
        study = _with_matched(study, data, console)
    require_inputs(study, data, means.processes)
    if time.monotonic() - began > 2:
        console.print(
            f"decoded {plural(len(data.labels), 'picture')} once in "
            f"{time.monotonic() - began:.0f} s"
        )
    return study, data


def _tell_rules(data: "Data", console: Console) -> None:
    if data.reading.rules == FIRST_RULES:
        console.print(
            folded(
                "the pictures are found and decoded as when they were recorded, by rules that have "
                "changed since; --fresh reads them by today's"
            ),
            soft_wrap=True,
        )


def open_record(
    study: Study,
    data: "Data",
    ledger: Ledger,
    record: Record,
    args: argparse.Namespace,
    means: Resources,
    note: str,
) -> None:
    """Write the header of a new study, then the session's own event; keep the resolved study as
    JSON.
    """
    tree = study.model_dump(mode="json")
    if not record.header:
        ledger.append(
            "study",
            format=FORMAT,
            commit=commit(),
            id=uuid.uuid4().hex,
            study=tree,
            data=describe_data(data),
            files=external_files(study),
            note=note,
            core_version=CORE_VERSION,
            listing=getattr(args, "listing", ""),
        )
    flat = study.flat()
    ledger.append(
        "session",
        command=shlex.join(["python", "-m", args.command, *sys.argv[1:]]),
        versions=versions(),
        commit=commit(),
        place=place(ledger.folder.parent, getattr(args, "pictures", None)),
        machine=describe(means.device),
        workers=means.workers,
        budget={key: flat[key] for key in BUDGET},
        default={key: args.defaults[key] for key in BUDGET},
    )
    try:
        (ledger.folder / "study.json").write_text(
            json.dumps(tree, indent=1) + "\n", encoding="utf-8"
        )
    except OSError as error:
        ledger.check()  # where the folder was taken away
        raise MachineError(
            f"{printable(ledger.folder)}: cannot write study.json: {error.strerror}"
        ) from error


def _with_matched(study: Study, data: "Data", console: Console) -> Study:
    """The study with the numbers that match its arms' parameters; says what they are."""
    from pipeline.session.parameter_matching import counts, matched  # torch takes seconds to import

    _, channels, size, _ = data.images.shape
    shape = (int(channels), int(size), len(data.classes))
    study = study.override({"ablation.matched": {}}, source="pictures")
    study = study.override({"ablation.matched": matched(study, *shape)}, source="pictures")
    found = [
        f"{arm} {study.ablation.matched.get(arm, '(reference)')}: {n:,}"
        for arm, n in counts(study, *shape).items()
    ]
    text = f"matched by {study.ablation.match}, parameters: {'; '.join(found)}"
    console.print(folded(printable(text, 2000)), markup=False, soft_wrap=True)
    return study
