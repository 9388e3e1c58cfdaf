"""What a study needs besides its pictures' labels, looked at before anything is trained."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.config import TrainConfig
from pipeline.core.identity import Seeds
from pipeline.core.metrics import Measure
from pipeline.core.parts import parts_of
from pipeline.core.transfer import PUBLISHED, published_source
from pipeline.counts import plural
from pipeline.data.listing import TEST, TRAIN, UNKNOWN, VALID
from pipeline.errors import UserError, printable
from pipeline.own.parts import own_parts
from pipeline.record.record import Record
from pipeline.session.whole_groups import require_whole_groups
from pipeline.study.around import Around
from pipeline.study.study import Study
from pipeline.study.survey import example

if TYPE_CHECKING:
    from pipeline.data.cache import Data

FRESH = (
    "; or go on without them, and without the arm that they are left out of: --set "
    "transfer.weights= (fresh weights want more epochs and mostly a higher rate, as --set "
    "optimizer.lr=0.001)"
)


def external_files(study: Study) -> dict[str, str]:
    """SHA-256 of every teacher and weights file of the baseline and the arms, by the path as it is
    given.

    Raises UserError where one is missing, or a teacher is no model file of a run.
    """
    files: dict[str, Path] = {}
    for where, config in _configs(study):
        try:
            if config.distill.teacher:
                from pipeline.core.finished.artifact import read  # torch takes seconds to import

                files[config.distill.teacher] = read(config.distill.teacher, key="distill.teacher")[
                    1
                ]
            if config.transfer.weights not in ("", PUBLISHED):
                files[config.transfer.weights] = _weights_file(config.transfer.weights)
        except UserError as error:
            raise UserError(f"study '{study.name}', {where}: {error}") from error
    return {given: _digest(path) for given, path in files.items()}


def to_download(study: Study, data: Path | None) -> list[str]:
    """What a command would have to download, a line each: pictures, and published weights of the
    baseline, the arms and the networks of the space. Asks no network for anything.
    """
    found = [study.baseline.dataset.to_download(data)]
    for _, config in (*_configs(study), *_variants(study)):
        if config.transfer.weights == PUBLISHED:
            from pipeline.core import libraries  # timm takes seconds to import

            source = published_source(config.model)
            file = libraries.to_download(source)
            found.append(file and f"{file}, the published weights of {source}{_fresh(study)}")
    return list(dict.fromkeys(filter(None, found)))


def is_promising(study: Study, record: Record) -> bool:
    """Whether runs will follow, as far as can be told before pictures are looked at: not where all
    is done, nor where the user's own code has yet to take its first step. That mostly fails first,
    and is not to wait for what runs need.
    """
    if record.begun:
        return record.ended != "complete"
    configs = (config for _, config in (*_configs(study), *_variants(study)))
    return not any(part for config in configs for part in own_parts(config))


def require_inputs(study: Study, data: "Data", num_processes: int = 1) -> None:
    """Raise UserError where the baseline or an arm cannot be trained on these pictures by so many
    processes a run.

    It may lack a teacher, weights, unlabeled pictures or stages to train; folds or batches may be
    too small.
    """
    # arms share their splits
    require_whole_groups(study.baseline, data, study.search.seed, study.ablation.replicates)
    seen: set[str] = set()
    for where, config in _configs(study):
        parts = (config.model, config.transfer, config.distill, config.pseudo)
        needs = "".join(part.model_dump_json() for part in parts)
        needs += f"{config.batch_size} {config.train_share < 1} {config.input_size}"
        needs += f" {config.bn_momentum > 0}"
        if needs not in seen:
            seen.add(needs)
            try:
                _require(config, data, num_processes, _fresh(study))
            except UserError as error:
                raise UserError(f"study '{study.name}', {where}: {error}") from error
    _rehearse(study, data)
    _require_norms(study, data)
    _require_members(study, data)


def _require_members(study: Study, data: "Data") -> None:
    """That members of an ensemble begin with weights that differ, where the search may ask for
    some, too.
    """
    _, channels, size, _ = data.images.shape
    configs = [*_configs(study)]
    if "members" in study.space.knobs:
        most = study.space.knobs["members"].edges()[-1]
        around = Around(study.space, study.baseline)
        if (point := example(around, "members", most)) is not None:
            configs.append(("space", around.made(point, source="space")))
    seen: set[str] = set()
    for where, config in configs:
        made_of = f"{config.model!r} {config.transfer!r}"
        if config.members == 1 or made_of in seen:
            continue
        seen.add(made_of)
        from pipeline.core.members import build  # torch takes seconds to import

        try:
            build(config, int(channels), int(size), len(data.classes), classes=data.classes)
        except UserError as error:
            raise UserError(f"study '{study.name}', {where}: {error}") from error


def _require_norms(study: Study, data: "Data") -> None:
    """That the networks of the search take what it may draw of batches of one picture and of batch
    norms' momentum.
    """
    around, knobs, drawn = Around(study.space, study.baseline), study.space.knobs, {}
    if "batch_size" in knobs and knobs["batch_size"].contains(1):
        drawn["batch_size"] = example(around, "batch_size", 1)
    if "bn_momentum" in knobs:
        most = knobs["bn_momentum"].edges()[-1]
        drawn["bn_momentum"] = example(around, "bn_momentum", most)
    elif study.baseline.bn_momentum:
        drawn["bn_momentum"] = {}
    for knob, point in drawn.items():
        if point is None:
            continue  # never drawn
        first = around.made(point, source="space")
        # of a knob that is one under conditions alone no other point is guessed
        others = () if knob in study.space.when else _variants(study)
        for where, config in (("space", first), *others):
            try:
                one = config.override({knob: getattr(first, knob)})
            except UserError:
                continue  # never drawn
            try:
                _require_drawn(one, knob, data, _fresh(study))
            except UserError as error:
                raise UserError(f"study '{study.name}', {where}: {error}") from error


def _require_drawn(config: TrainConfig, knob: str, data: "Data", fresh: str) -> None:
    if knob == "batch_size":
        _require_batches(config, data, 1)
    elif config.bn_momentum:
        _require_weights(config, data, fresh)


def _rehearse(study: Study, data: "Data") -> None:
    """Take a step with each of the user's own parts; what comes out wrong is told with its line."""
    _, channels, size, _ = data.images.shape
    seen: set[str] = set()
    for where, config in (*_configs(study), *_variants(study)):
        parts = list(own_parts(config))
        own = f"{parts} {config.input_size}"
        if parts and own not in seen:
            seen.add(own)
            from pipeline.core.rehearsal import rehearse  # torch takes seconds to import

            try:
                rehearse(
                    config, channels=int(channels), size=int(size), num_classes=len(data.classes)
                )
            except UserError as error:
                raise UserError(f"study '{study.name}', {where}: {error}") from error


def _variants(study: Study) -> Iterator[tuple[str, TrainConfig]]:
    """The baseline with each of the parts that the search may choose."""
    around = Around(study.space, study.baseline)
    named = {path: knob.edges() for path, knob in study.space.knobs.items()}
    named |= {f"{part}.name": tuple(names) for part, names in study.space.branches.items()}
    for path, values in named.items():
        if path.endswith(".name"):
            for value in values:
                knobs = example(around, path, value)
                yield f"space, {path}", around.made(knobs or {path: value}, source="space")


def _configs(study: Study) -> Iterator[tuple[str, TrainConfig]]:
    yield "baseline", study.baseline
    for arm, config in study.arms():
        yield f"arm '{printable(arm.name)}'", config


def _fresh(study: Study) -> str:
    """How to go on without published weights; nothing where some arms differ by them alone, which
    would then be the same.
    """
    off = getattr(study.ablation.design, "off", {})  # a factor of which nothing is left then goes
    if not any("transfer.weights" in own for own in off.values()):
        try:
            study.override({"baseline.transfer.weights": ""}).arms()
        except UserError:
            return ""
    return FRESH


def _require(config: TrainConfig, data: "Data", num_processes: int, fresh: str) -> None:
    labeled = int(((data.labels != UNKNOWN) & (data.parts != TEST)).sum())
    if config.split == "kfold" and config.folds > labeled:
        raise UserError(
            f"folds: got {config.folds}, but there {'is' if labeled == 1 else 'are'} "
            f"{plural(labeled, 'labeled picture')} to train and validate on"
        )
    _require_batches(config, data, num_processes)
    if config.pseudo.threshold and parts_of(config, data, Seeds(0, 0)).unlabeled is None:
        raise UserError(
            "pseudo.threshold: pseudo-labels need unlabeled training pictures, and there are none: "
            "put them into a folder 'unlabeled' beside the classes, leave labels out by "
            "train_share, or set pseudo.threshold=0"
        )
    _require_classes(config, data)
    if config.distill.teacher or config.transfer.active or config.bn_momentum:
        _require_weights(config, data, fresh)


def _require_batches(config: TrainConfig, data: "Data", num_processes: int) -> None:
    """That batches suffice for the processes, and for batch norm."""
    alone = config.batch_size == 1 and num_processes == 1
    if config.block < 2 * num_processes * config.accumulate and not alone:
        raise UserError(
            f"batch_size: got {config.batch_size}; each of its {plural(config.accumulate, 'part')} "
            f"needs 2 pictures for each of {plural(num_processes, 'process', 'processes')}"
        )
    if alone:
        from pipeline.core.rehearsal import rehearse_alone  # torch takes seconds to import

        _, channels, size, _ = data.images.shape
        rehearse_alone(
            config, channels=int(channels), size=int(size), num_classes=len(data.classes)
        )


def _require_classes(config: TrainConfig, data: "Data") -> None:
    """That each metric says something of every part of the pictures that has labels."""
    for part in (TRAIN, VALID, TEST):
        labels = data.labels[(data.parts == part) & (data.labels != UNKNOWN)]
        for number, metric in enumerate(config.metrics):
            if len(labels) and isinstance(metric, Measure):
                problem = metric.problem(len(data.classes), len(set(labels.tolist())))
                if problem:
                    raise UserError(f"metrics.{number} '{metric.name}': {problem}")


def _require_weights(config: TrainConfig, data: "Data", fresh: str) -> None:
    from pipeline.core.finished.artifact import Artifact, read  # torch takes seconds to import
    from pipeline.core.setup import set_momentum
    from pipeline.core.weights import apply

    _, channels, size, _ = data.images.shape
    if config.distill.teacher:
        teacher, _ = read(config.distill.teacher, key="distill.teacher")
        mine = Artifact(
            config, channels, size, len(data.classes), data.mean, data.std, data.classes
        )
        teacher.require_like(mine, key="distill.teacher")
        if teacher.config.transfer.weights and not config.allow_pretrained:
            raise UserError(
                "distill.teacher: it began from pretrained weights, and allow_pretrained is false"
            )
    if config.transfer.active or config.bn_momentum:
        model = config.network(channels, size, len(data.classes))
        try:
            apply(
                config.transfer,
                config.model,
                model,
                num_classes=len(data.classes),
                classes=data.classes,
            )
        except UserError as error:
            way = fresh if config.transfer.weights == PUBLISHED else ""
            raise UserError(f"{error}{way}") from error
        if config.bn_momentum:
            set_momentum(model, config.bn_momentum)


def _weights_file(given: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise UserError(f"transfer.weights: {printable(path)}: no such file")
    return path


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{printable(path)}: cannot be read: {error.strerror}") from error
