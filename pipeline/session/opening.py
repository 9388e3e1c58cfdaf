"""How a session begins: pictures decoded, what the machine and the pictures decide made definite,
the record opened.
"""

import json
import shlex
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bar

from pipeline.core import CORE_VERSION
from pipeline.core.precision import fast_precision, is_emulated, resolve_precision
from pipeline.counts import plural
from pipeline.data.listing import FIRST_RULES
from pipeline.errors import MachineError, PipelineError, printable
from pipeline.frozen import Scalar
from pipeline.machine import Resources, commit, describe, versions
from pipeline.record import events
from pipeline.record.folders import usual_folder
from pipeline.record.ledger import FORMAT, Ledger
from pipeline.record.published import place
from pipeline.record.record import Record
from pipeline.screen import folded, redraws
from pipeline.session.about import about_of, compare
from pipeline.session.options import HANDED_OVER, Options, parted
from pipeline.session.preflight import external_files, require_inputs
from pipeline.session.resolve import FLAGS, Chosen, resolve, said_by
from pipeline.session.resume import KEPT, describe_data, grown
from pipeline.session.similar import warm_start
from pipeline.session.windows import wanted
from pipeline.study.looks import MAXIMUM
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.data.cache import Data


OF_SEARCH = ("trials", "race", "against")  # flags that other commands have not


def tell_other_folder(asked: Chosen, folder: Path, console: Console) -> None:
    """Where the study's usual folder is the record of other pictures."""
    usual = usual_folder(folder.parent, asked.study, asked.data).name
    if folder.name.startswith(usual) and folder.name != usual:
        note = f"{usual} is recorded of other pictures of that name: this study is kept in {folder}"
        console.print(folded(printable(note, 2000)), markup=False, soft_wrap=True)


def prepare(
    options: Options, asked: Chosen, record: Record, means: Resources, console: Console
) -> tuple[Study, "Data"]:
    """(the study, resolved to the end; its pictures, decoded once).

    Raises UserError where the study cannot be trained on them.
    """
    from pipeline.data.cache import prepare as decode

    for told in compare(about_of(options), record):
        console.print(folded(told), markup=False, soft_wrap=True)
    study = resolve(options, asked, record, means)
    began, decoded = time.monotonic(), False
    with Bar(console=console, transient=True, disable=not redraws(console)) as bar:
        task = bar.add_task("decoding the pictures once", visible=False)

        def on_progress(done: int, total: int) -> None:
            nonlocal decoded
            decoded = True
            bar.update(task, completed=done, total=total, visible=True)

        data = decode(
            study.baseline.dataset,
            asked.data,
            Path(options.mlruns) / "cache",
            on_progress=on_progress,
            recorded=record.data if record.begun else asked.searched,
        )
    if decoded and time.monotonic() - began > 2:
        console.print(
            f"decoded {plural(len(data.labels), 'picture')} once in "
            f"{time.monotonic() - began:.0f} s"
        )
    _tell_rules(data, console)
    options, said = warm_start(options, asked, study, record, data.taken)
    if said:
        console.print(folded(said), markup=False, soft_wrap=True)
    study = resolve(options, asked, record, means, data)
    if study.ablation.match and not record.begun:
        _tell_matched(study, data, console)
    require_inputs(study, data, means.processes)
    for said in emulation(study, means, recorded=bool(record.begun)):
        console.print(folded(said), markup=False, soft_wrap=True)
    return study, data


def emulation(study: Study, means: Resources, *, recorded: bool) -> Iterator[str]:
    """That the runs' precision, or an arm's own, is none that this device has hardware for, and
    what to do about it. Runs keep the precision that they began with, wherever they go on: numbers
    of two do not compare.
    """
    wanted, fast = study.baseline.precision, means.fast or fast_precision(means.device)
    name = printable((dict(means.machine) or describe(means.device))["name"], 80)
    for arm, config in study.arms():
        own = config.precision
        if own != wanted and is_emulated(own, means.device, fast):
            yield (
                f"arm '{printable(arm.name)}': precision={own}: {name} has no hardware for it and "
                "emulates it, which is slow"
            )
    if not is_emulated(wanted, means.device, fast):
        return
    best = resolve_precision(study.baseline.override({"precision": "auto"}), means.device, fast)
    lacks = f"precision={wanted}: {name} has no hardware for it and emulates it, which is slow"
    if recorded:
        yield (
            f"{lacks}; the study was begun in it, so its numbers stay comparable. A device that "
            f"has it is faster; --fresh --set precision={best} begins anew in what is fast here"
        )
    else:
        yield f"{lacks}; --set precision={best} is fast here"


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
    options: Options,
    asked: Chosen,
    means: Resources,
    listing: str = "",
) -> str:
    """Write the header of a new study, then the session's own event; keep the resolved study as
    JSON, and what the report shows of augmentation. Gives what to say of that. `listing`: digest of
    what the folder of pictures held.
    """
    tree = study.model_dump(mode="json")
    if not record.begun:
        header = events.Study(
            format=FORMAT,
            commit=commit(),
            id=uuid.uuid4().hex,
            study=tree,
            data=describe_data(data),
            files=external_files(study),
            note=asked.note,
            core_version=CORE_VERSION,
            listing=listing,
        )
        ledger.append(header)
    elif lines := grown(record, study):
        ledger.append(events.Revision(study=tree, changed=lines))
    flat, about = study.flat(), about_of(options)
    session = events.Session(
        command=_command(options, asked, study, ledger.folder),
        versions=versions(),
        commit=commit(),
        place=place(ledger.folder.parent, asked.data),
        machine=dict(means.machine) or describe(means.device),
        workers=means.workers,
        budget={key: flat[key] for key in KEPT},
        default=dict(asked.budget),
        gpus=means.gpus_per_trial or None,
        price=options.price_per_hour,
        tags={key: value for key, (value,) in about.tags.items()},
        note=about.mlflow_note,
        experiment=about.experiment,
        also=",".join(wanted(options.also)),
    )
    ledger.append(session)
    try:
        (ledger.folder / "study.json").write_text(
            json.dumps(tree, indent=1) + "\n", encoding="utf-8"
        )
    except OSError as error:
        ledger.check()  # where the folder was taken away
        raise MachineError(
            f"{printable(ledger.folder)}: cannot write study.json: {error.strerror}"
        ) from error
    return _keep_preview(study, data, ledger.folder)


def _keep_preview(study: Study, data: "Data", folder: Path) -> str:
    """For the report, what training sees of a picture; gives why not, where that cannot be had."""
    from pipeline.analysis.augmented import NUM, augmented, keep, sheets_path

    shown = ((data.parts == 0) & (data.labels >= 0)).nonzero()[0][:NUM]
    if not augmented(study) or not len(shown):
        return ""
    from pipeline.analysis.preview import sheets  # torch takes seconds

    try:
        keep(sheets_path(folder), sheets(study, data.images[shown]))
    except PipelineError as error:
        return f"warning: the report will not show augmented pictures: {error}"
    return ""


def _command(options: Options, asked: Chosen, study: Study, folder: Path) -> str:
    """The command as it was given, with the budgets and objectives that stayed as they were: so it
    makes the study anywhere. Where a program handed the study over, by the study's file. Without
    addresses that are told.
    """
    words, flat, given = parted(sys.argv[1:])[0], study.flat(), asked.study.flat()
    said, alone, looks = said_by(options), dict(asked.budget), FLAGS["until_answered"]
    if flat[looks] and not alone.get(looks):
        alone[FLAGS["replicates"]] = MAXIMUM  # --until-answered says so
    for flag, key in FLAGS.items():
        kept = key not in said and flat[key] != alone.get(key, given[key])
        flag = "max_replicates" if flag == "replicates" and flat[looks] else flag
        if kept and (flag not in OF_SEARCH or options.command == "pipeline.search"):
            words += _flag(flag, key, flat[key])
    if Path(options.study).name == HANDED_OVER:
        own = f"--study={folder / 'study.json'}"
        words = [own if word == f"--study={options.study}" else word for word in words]
    return shlex.join(["python", "-m", options.command, *words])


def _flag(flag: str, key: str, value: Scalar) -> list[str]:
    """The words that set a field to a value."""
    if flag == "against":
        return [f"--{flag}", ",".join(json.loads(str(value)))]
    if isinstance(value, bool):
        return [f"--{flag.replace('_', '-')}"] if value else ["--set", f"{key}=false"]
    return [f"--{flag.replace('_', '-')}", str(value)]


def _tell_matched(study: Study, data: "Data", console: Console) -> None:
    from pipeline.session.parameter_matching import counts, shape_of  # torch takes seconds

    found = [
        f"{arm} {study.ablation.matched.get(arm, '(reference)')}: {n:,}"
        for arm, n in counts(study, *shape_of(data)).items()
    ]
    text = f"matched by {study.ablation.match}, parameters: {'; '.join(found)}"
    console.print(folded(printable(text, 2000)), markup=False, soft_wrap=True)
