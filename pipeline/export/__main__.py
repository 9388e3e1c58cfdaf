"""`python -m pipeline.export --study hw3`: the best model with its card, and predictions of
pictures without labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError, printable
from pipeline.screen import folded, steadily
from pipeline.session.cli import Parser, guarded, parser
from pipeline.session.options import Options
from pipeline.session.places import folder
from pipeline.session.values import positive

if TYPE_CHECKING:
    from pipeline.data.cache import Data
    from pipeline.export.files import Handover
    from pipeline.export.registry import Registry


@dataclass(frozen=True)
class Wanted:
    """Which model, and what of it: the flags that this command alone has."""

    arm: str | None
    trial: str | None
    replicate: int | None
    ensemble: int | None
    to: str | None
    predict: str | None
    names: bool
    probabilities: bool
    no_onnx: bool
    register: str | None


WANTED = tuple(field.name for field in fields(Wanted))


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0 where everything is written; 3 where the ONNX file is not, though it was wanted."""
    flags = _flags()
    args = flags.parse_args(argv)
    if args.replicate is not None and args.arm is None and args.ensemble is None:
        raise UserError("--replicate: of which arm? give it with --arm NAME")
    for other in ("replicate", "trial"):
        if args.ensemble is not None and getattr(args, other) is not None:
            raise UserError(
                f"--ensemble: averages replicates of an arm; got --{other}, which names one run: "
                "leave one of the two out"
            )
    return export(Options.of(flags.command, args), Wanted(**{k: getattr(args, k) for k in WANTED}))


def _flags() -> Parser:
    flags = parser(
        "pipeline.export",
        "Write the best model of a recorded study with its model card, and predictions of a test "
        "folder without labels.",
        trains=False,
    )
    _which(flags)
    flags.add_argument(
        "--to",
        type=folder,
        metavar="FOLDER",
        help="where to (default: the folder export/ of the study)",
    )
    flags.add_argument(
        "--predict",
        type=folder,
        metavar="FOLDER",
        help="pictures to classify (default: the study's unlabeled test part)",
    )
    flags.add_argument(
        "--names",
        action="store_true",
        help="predictions by the name of the class, not by its label",
    )
    flags.add_argument(
        "--probabilities",
        action="store_true",
        help="a column more in the predictions for every class",
    )
    flags.add_argument("--no-onnx", action="store_true", help="leave model.onnx out")
    flags.add_argument(
        "--register",
        metavar="NAME",
        help="register the model in MLflow too, where the study's runs are: models:/NAME/1 takes "
        "picture files and gives probabilities",
    )
    return flags


def _which(flags: Parser) -> None:
    """The flags that say which model."""
    which = flags.add_mutually_exclusive_group()
    which.add_argument(
        "--arm",
        metavar="NAME",
        help="an arm of the study (default: the best by the mean on validation)",
    )
    which.add_argument(
        "--trial", metavar="N", help="a trial of the search by its number, or 'best'"
    )
    flags.add_argument(
        "--replicate",
        type=positive,
        metavar="N",
        help="of --arm (default: the best on validation)",
    )
    flags.add_argument(
        "--ensemble",
        type=positive,
        nargs="?",
        const=0,
        metavar="N",
        help="the mean of the probabilities of the first N complete replicates of the arm "
        "(default: of all) instead of one model",
    )


def export(asked: Options, wanted: Wanted) -> int:
    """Choose, verify, write; returns the exit code. Raises PipelineError where nothing is
    written.
    """
    from pipeline.export.registry import Registry, require_name
    from pipeline.export.selection import Selection, members, select
    from pipeline.session.resolve import chosen, recorded_folder
    from pipeline.session.resume import recorded_in

    if wanted.register is not None:
        require_name(wanted.register)
    found = chosen(asked)
    folder = recorded_folder(asked, found)
    record = recorded_in(folder)
    selection = (
        select(record, arm=wanted.arm, replicate=wanted.replicate, trial=wanted.trial)
        if wanted.ensemble is None
        else members(record, arm=wanted.arm, num=wanted.ensemble)
    )
    from pipeline.export.delivery import require_ours
    from pipeline.export.ensemble import Ensemble
    from pipeline.export.files import Handover
    from pipeline.export.onnx import require_packages
    from pipeline.machine import at_hand

    if not wanted.no_onnx:
        require_packages()
    target = Path(wanted.to).expanduser() if wanted.to else folder / "export"
    require_ours(target)
    means, wrong = at_hand()
    device = means.device
    if wrong:
        print(folded(f"warning: what is measured is computed on the CPU: {printable(wrong, 1000)}"))
    handover = (  # models are looked for before pictures are decoded
        Handover(record, selection, folder)
        if isinstance(selection, Selection)
        else Ensemble(record, selection, folder, device=device)
    )
    runs = (selection.run,) if isinstance(selection, Selection) else selection.runs
    root = Path(asked.mlruns)
    registry = Registry(root, folder, record, runs) if wanted.register else None
    data = _pictures(handover, found.data, root)
    return _write(wanted, handover, data, found.data, target, device, registry)


def _pictures(handover: "Handover", data_folder: Path | None, root: Path) -> "Data":
    from pipeline.data.cache import prepare

    recorded = handover.record.data["fingerprint"]
    data = prepare(
        handover.config.dataset, data_folder, root / "cache", recorded=handover.record.data
    )
    if data.fingerprint != recorded:
        raise UserError(
            f"data: these are not the pictures of the study (recorded {recorded}, now "
            f"{data.fingerprint}); put them back as they were"
        )
    return data


def _write(
    wanted: Wanted,
    handover: "Handover",
    data: "Data",
    data_folder: Path | None,
    target: Path,
    device: str,
    registry: "Registry | None",
) -> int:
    from pipeline.core.process import tune_process
    from pipeline.export.delivery import PREDICTIONS, replace_folder
    from pipeline.export.predictions import form_of, in_folder, in_study

    tune_process()
    if wanted.predict is None:
        pictures = in_study(data, handover.config.dataset, data_folder)
    else:
        pictures = in_folder(wanted.predict, data, handover.config.dataset)
    flag = "--names" if wanted.names else "--probabilities" if wanted.probabilities else ""
    if pictures is None and flag:
        raise UserError(
            f"{flag}: no predictions are made: the study has no unlabeled test part; give "
            "--predict FOLDER"
        )
    files = handover.files(data, with_onnx=not wanted.no_onnx)
    if pictures is not None:
        form, notes = form_of(
            [*pictures.files, *pictures.unreadable],
            data.columns,
            _templates(wanted, handover, data_folder),
        )
        handover.warnings += notes
        text = handover.predictions(
            data,
            pictures,
            form,
            device=device,
            names=wanted.names,
            probabilities=wanted.probabilities,
        )
        files[PREDICTIONS] = text.encode()
    else:
        why = (
            "every test picture has a label"
            if data.counts["test"]
            else "there are no test pictures"
        )
        handover.lines.append(
            f"no {PREDICTIONS}: {why}; to classify other pictures, add --predict FOLDER"
        )
    replace_folder(target, files)
    print(folded("\n".join(handover.summary(target, files))))
    if registry is not None:
        print(folded(registry.register(str(wanted.register), files, handover.artifact)))
    return 3 if handover.problem else 0


def _templates(wanted: Wanted, handover: "Handover", data_folder: Path | None) -> list[Path]:
    """Where a competition's own tables may lie: with the pictures to classify, or with the
    study's.
    """
    from pipeline.export.predictions import templates

    own = handover.config.dataset if data_folder is not None else None
    given = [Path(wanted.predict).expanduser()] if wanted.predict else []
    folders = [
        *given,
        *(folder.parent for folder in given),
        *([data_folder] if data_folder else []),
    ]
    table = getattr(own, "test_table", "")
    return templates(folders, data_folder / table if data_folder and table else None)


if __name__ == "__main__":
    guarded(main)
