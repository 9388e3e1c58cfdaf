"""`python -m pipeline.doctor --study hw3`: is the machine fit, are the pictures sound, will the
networks learn?
"""

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.counts import plural
from pipeline.screen import console, redraws, steadily
from pipeline.session.cli import guarded, options, parser
from pipeline.session.options import Options

if TYPE_CHECKING:
    from pipeline.core.config import TrainConfig
    from pipeline.core.setup import Inputs
    from pipeline.data.cache import Data
    from pipeline.doctor.findings import Finding
    from pipeline.machine import Resources
    from pipeline.record.record import Record
    from pipeline.study.study import Study


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0 where nothing is wrong, warnings aside; 3 where something is. Raises UserError as the
    training commands do.
    """
    flags = parser(
        "pipeline.doctor",
        "Check the machine, the pictures and every network of the study in about a minute; nothing "
        "is trained for good.",
        trains=False,
    )
    flags.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="sets",
        help="override a field of the study; repeatable",
    )
    flags.add_argument(
        "--preview",
        metavar="FILE.png",
        type=Path,
        help="write what training sees of a picture: all augmentation, and each amount alone",
    )
    file = flags.parse_args(argv).preview
    if file is not None:
        from pipeline.doctor.preview import require_place

        require_place(file)
    return examine_study(options(flags, argv), file)


def examine_study(asked: Options, preview: Path | None = None) -> int:
    """All checks, each section shown as soon as it is done; returns the exit code. `preview`: where
    to write what augmentation makes of a picture.
    """
    from pipeline.doctor.environment import surroundings
    from pipeline.doctor.findings import Finding, table
    from pipeline.machine import at_hand
    from pipeline.record.folders import study_folder
    from pipeline.record.record import Record
    from pipeline.session.resolve import chosen, with_matched

    found = chosen(asked)
    study, folder, note = found.study, found.data, found.note
    out, seen, mlruns = console(), list[Finding](), Path(asked.mlruns)

    def show(title: str, findings: Iterable[Finding]) -> None:
        part = list(findings)
        seen.extend(part)
        out.print(table(title, part), soft_wrap=True)
        out.print()

    means, wrong = at_hand()
    show("machine", surroundings(mlruns, means, wrong))
    recorded = study_folder(mlruns, study, folder)
    record = _record(recorded)
    data = _pictures(study, folder, mlruns, record.data if isinstance(record, Record) else None)
    show("pictures", _pictures_findings(data, study, folder, note))
    show(
        "caches of decoded pictures (python -m pipeline.caches --remove frees what no study uses)",
        _caches(mlruns),
    )
    if preview is not None:
        show("augmentation", _augmented(study, data, preview))
    show("inputs", _lacking(study, data))
    inputs = _inputs(study, data)
    if study.ablation.match:
        from pipeline.session.parameter_matching import shape_of  # it needs torch

        study = with_matched(study, *shape_of(data))
    for names, config in _networks(study):
        show(f"network of {names}", _network(config, inputs, means, study.search.seed))
    show("curvature where training ended", _end_points(record, recorded, data, means))
    counts = {
        level: sum(one.level == level for one in seen) for level in ("ok", "warning", "error")
    }
    said = [
        f"{number} ok" if level == "ok" else plural(number, level)
        for level, number in counts.items()
    ]
    out.print(", ".join(said), markup=False)
    return 3 if counts["error"] else 0


def _record(folder: Path) -> "Record | Finding":
    """What is recorded of the study, or why there is nothing to look at."""
    from pipeline.doctor.findings import Finding
    from pipeline.errors import MachineError
    from pipeline.record.ledger import FILE, read_events
    from pipeline.record.record import Record

    try:
        record = Record.of(read_events(folder)) if (folder / FILE).exists() else Record()
    except MachineError as error:
        return Finding("ledger", str(error), "error")
    return (
        record
        if record.begun
        else Finding("runs", "none yet: come back when the study has been run")
    )


def _pictures(
    study: "Study", folder: Path | None, mlruns: Path, recorded: "Mapping[str, Any] | None"
) -> "Data":
    """The pictures, decoded into the cache that training reads: this is done once, here or
    there.
    """
    from rich.progress import Progress

    from pipeline.data.cache import prepare

    out = console()
    with Progress(transient=True, console=out, disable=not redraws(out)) as bar:
        task = bar.add_task("decoding the pictures once", visible=False)
        return prepare(
            study.baseline.dataset,
            folder,
            mlruns / "cache",
            on_progress=lambda done, total: bar.update(
                task, completed=done, total=total, visible=True
            ),
            recorded=recorded,
        )


def _pictures_findings(
    data: "Data", study: "Study", folder: Path | None, note: str
) -> "Iterator[Finding]":
    from pipeline.analysis.few_pictures import few_pictures, labelled
    from pipeline.doctor.findings import Finding
    from pipeline.report.sections.provenance import UNREAD
    from pipeline.session.resume import describe_data

    counts = ", ".join(f"{count:,} {name}" for name, count in data.counts.items())
    _, channels, size, _ = data.images.shape
    where = str(folder) if folder else data.title
    yield Finding(
        "found",
        f"{where}: {counts}; {len(data.classes)} classes; {size}x{size}, "
        f"{plural(channels, 'channel')}",
    )
    yield from (Finding(what, said) for what, said in data.taken.lines())
    few = few_pictures(labelled(describe_data(data)), study)
    yield from (Finding("few pictures", warning, "warning") for warning in few)
    if note:
        yield Finding("embedded default", note, "warning")
    for bad in data.unreadable[:10]:
        yield Finding("unreadable", f"{bad.file}: {bad.reason}", "warning")
    if len(data.unreadable) > 10:
        yield Finding("unreadable", plural(len(data.unreadable) - 10, "more picture"), "warning")
    for warning in data.warnings:
        if not data.unreadable or UNREAD not in warning:
            yield Finding("of the pictures", warning, "warning")


def _augmented(study: "Study", data: "Data", file: Path) -> "Iterator[Finding]":
    from pipeline.analysis.augmented import NUM
    from pipeline.doctor.findings import Finding
    from pipeline.doctor.preview import sheet
    from pipeline.errors import PipelineError

    train = _inputs(study, data).train
    try:
        yield Finding("preview", sheet(study, train.images[train.index[:NUM]], file))
    except PipelineError as error:
        yield Finding("preview", str(error), "error")


def _lacking(study: "Study", data: "Data") -> "Iterator[Finding]":
    """Whether weights, teachers and pictures are there that runs need; what is not is a finding,
    and the rest is looked at all the same.
    """
    from pipeline.doctor.findings import Finding
    from pipeline.errors import PipelineError
    from pipeline.session.preflight import require_inputs

    try:
        with _hushed():
            require_inputs(study, data)
    except PipelineError as error:
        yield Finding("what runs need", str(error), "error")
    else:
        yield Finding("what runs need", "all there")


@contextlib.contextmanager
def _hushed() -> "Iterator[None]":
    """Without the line in which a library says that it downloads weights."""
    nowhere = io.StringIO()
    with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield


def _caches(mlruns: Path) -> "Iterator[Finding]":
    from pipeline.doctor.findings import Finding
    from pipeline.doctor.holdings import findings, holdings
    from pipeline.errors import PipelineError

    try:
        yield from findings(holdings(mlruns))
    except PipelineError as error:
        yield Finding("caches", str(error), "warning")


def _inputs(study: "Study", data: "Data", replicate: int = 0) -> "Inputs":
    from pipeline.core.identity import Seeds
    from pipeline.core.parts import parts_of
    from pipeline.core.setup import Inputs

    seeds = Seeds(study.search.seed, replicate)
    return Inputs.of(data, parts_of(study.baseline, data, seeds))


def _networks(study: "Study") -> "list[tuple[str, TrainConfig]]":
    """The arms, those together whose networks begin and step alike."""
    groups: dict[str, tuple[list[str], TrainConfig]] = {}
    for arm, config in study.arms():
        tree = config.model_dump(mode="json")
        parts = [
            "model",
            "optimizer",
            "transfer",
            "final",
            "batch_size",
            "accumulate",
            "ema",
            "normalize",
            "precision",
            "input_size",
            "members",
        ]
        parts += ["augment"] if config.final.tta else []
        key = json.dumps([tree[part] for part in parts])
        groups.setdefault(key, ([], config))[0].append(arm.name)
    return [(", ".join(f"'{name}'" for name in names), config) for names, config in groups.values()]


def _network(
    config: "TrainConfig", inputs: "Inputs", means: "Resources", seed: int
) -> "Iterator[Finding]":
    """What is seen of one network; a check that fails is a finding, and the next network is looked
    at.
    """
    import torch

    from pipeline.core.process import tune_process
    from pipeline.doctor.findings import Finding
    from pipeline.doctor.network import Patient, examine
    from pipeline.errors import PipelineError

    tune_process()
    try:
        with _hushed():
            patient = Patient.of(config, inputs, torch.device(means.device), seed=seed)
        yield from examine(patient, means.workers)
    except PipelineError as error:
        yield Finding("network", str(error), "error")
    except Exception as error:  # whatever a network does in training it may do here
        yield Finding("network", f"{type(error).__name__}: {error}", "error")


def _end_points(
    record: "Record | Finding", folder: Path, data: "Data", means: "Resources"
) -> "Iterator[Finding]":
    """Of every arm, its first replicate that is complete."""
    from pipeline.doctor.findings import Finding

    if isinstance(record, Finding):
        yield record
        return
    complete = [
        next((run for run in runs if run.status == "complete"), None)
        for runs in record.arms().values()
    ]
    if not any(complete):
        yield Finding("runs", "none of the arms is complete yet")
    for run in filter(None, complete):
        import torch

        from pipeline.doctor.network import end_point
        from pipeline.session.resume import changed_since

        if files := changed_since(record, [run], part="model "):
            yield Finding(
                run.arm,
                f"not computed: the code of its network has changed: {', '.join(files)}",
                "warning",
            )
            continue
        try:
            inputs = _inputs(record.study, data, run.replicate)
            yield end_point(run, folder, inputs, torch.device(means.device))
        except Exception as error:
            yield Finding(run.arm, f"not computed: {type(error).__name__}: {error}", "warning")


if __name__ == "__main__":
    guarded(main)
