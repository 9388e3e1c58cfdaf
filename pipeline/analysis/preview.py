"""What training sees of a picture: results of the augmentations of a study's arms."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from pipeline.analysis.augmented import SHOWN, Bytes, Row, Sheet, augmented
from pipeline.core.augmentation.config import Amounts, Notes
from pipeline.core.augmentation.draws import draw
from pipeline.core.augmentation.mixing import mix
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.own.parts import at_fault
from pipeline.study.study import Study

MIXES = ("mixup", "cutmix")


def rows(config: TrainConfig, pictures: Bytes, *, seed: int) -> Iterator[Row]:
    """Of the first picture, all that is on at once as training does it, but for mixing; then each
    amount alone, where mixing takes the other pictures.

    `pictures` uint8 [N, C, S, S]. Other draws than those of any run. Raises UserError where an
    augmentation of the user's own fails.
    """
    augment, mixing = config.augment, dict.fromkeys(MIXES, 0.0)
    on = [name for name, amount in augment.amounts()._asdict().items() if amount]
    whole = augment.override(mixing, source="augment")
    with at_fault("augment.name", augment):
        title = "all together, but for mixing" if {*on} & {*MIXES} else "all together"
        yield Row(title, _made(config.model_copy(update={"augment": whole}), pictures, seed))
    for name in on if len(on) > 1 or augment.policy() is not None else ():
        nothing = dict.fromkeys(Amounts._fields, 0.0)
        alone = Notes(strength=augment.strength, **nothing | {name: getattr(augment, name)})
        others = ", with other pictures" if name in MIXES else ""
        made = _made(config.model_copy(update={"augment": alone}), pictures, seed)
        yield Row(f"{name} {getattr(alone.amounts(), name):.3g}{others}", made)


def _made(config: TrainConfig, pictures: Bytes, seed: int) -> Bytes:
    """uint8 [SHOWN, C, S', S']: the first picture, before each of which stands another one."""
    others = pictures[np.arange(1, SHOWN + 1) % len(pictures)]
    own = np.stack([others, np.broadcast_to(pictures[0], others.shape)], 1).reshape(
        -1, *pictures.shape[1:]
    )
    num, channels, size, _ = own.shape
    draws = draw(config.augment, seed=seed, epoch=1, num_samples=num, size=size)
    as_is = Pixels((0.0,) * channels, (1 / 255,) * channels, device=torch.device("cpu"))
    x, _ = mix(as_is(torch.from_numpy(own), draws), torch.zeros(num).long(), draws, 1)
    side = config.input_size or size
    if side != size:
        x = functional.interpolate(x, (side, side), mode="bilinear", antialias=side < size)
    return x[1::2].round().clamp(0, 255).to(torch.uint8).numpy()


def sheets(study: Study, pictures: Bytes) -> tuple[Sheet, ...]:
    """Of the first of `pictures` uint8 [N, C, S, S], a sheet for each augmentation of the arms;
    none where nothing is augmented. Raises UserError as `rows` does.
    """
    found = []
    for arms, config in augmented(study).items():
        name, strength = config.augment.model_dump()["name"], config.augment.strength
        about = f"{name}, strength {strength:g}"
        found.append(Sheet(arms, about, pictures[0], tuple(rows(config, pictures, seed=0))))
    return tuple(found)
