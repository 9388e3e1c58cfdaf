"""What a study needs besides its pictures' labels, looked at before anything is trained."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.config import TrainConfig
from pipeline.data.listing import TRAIN, UNKNOWN
from pipeline.errors import UserError, printable
from pipeline.study import Study

if TYPE_CHECKING:
    from pipeline.data.cache import Data


def require_inputs(study: Study, data: "Data") -> None:
    """Raise UserError where the baseline or an arm needs a teacher, weights or unlabeled pictures that are not there."""
    seen: set[str] = set()
    for where, config in _configs(study):
        needs = "".join(part.model_dump_json() for part in (config.model, config.transfer, config.distill, config.pseudo))
        if needs not in seen:
            seen.add(needs)
            try:
                _require(config, data)
            except UserError as error:
                raise UserError(f"study '{study.name}', {where}: {error}") from error


def _configs(study: Study) -> Iterator[tuple[str, TrainConfig]]:
    yield "baseline", study.baseline
    for arm, config in study.arms():
        yield f"arm '{printable(arm.name)}'", config


def _require(config: TrainConfig, data: "Data") -> None:
    if config.pseudo.threshold and not ((data.labels == UNKNOWN) & (data.parts == TRAIN)).any():
        raise UserError(
            "pseudo.threshold: pseudo-labels need unlabeled training pictures, and there are none: put them into a folder "
            "'unlabeled' beside the classes, or set pseudo.threshold=0"
        )
    if not config.distill.teacher and not config.transfer.weights:
        return
    from pipeline.core.artifact import Artifact, read  # torch takes seconds to import
    from pipeline.core.weights import apply

    _, channels, size, _ = data.images.shape
    if config.distill.teacher:
        teacher, _ = read(config.distill.teacher, key="distill.teacher")
        mine = Artifact(config, channels, size, len(data.classes), data.mean, data.std)
        teacher.require_like(mine, key="distill.teacher")
        if teacher.config.transfer.weights and not config.allow_pretrained:
            raise UserError("distill.teacher: it began from pretrained weights, and allow_pretrained is false")
    if config.transfer.weights:
        model = config.model.build(channels, size, len(data.classes))
        apply(config.transfer, config.model, model, num_classes=len(data.classes))
