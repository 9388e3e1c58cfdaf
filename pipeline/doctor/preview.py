"""What training sees of a picture: a contact sheet of the augmentations of a study's arms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch.nn import functional

from pipeline.analysis.wording import listed
from pipeline.core.augmentation.config import Amounts, Notes
from pipeline.core.augmentation.draws import draw
from pipeline.core.augmentation.mixing import mix
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.errors import UserError, printable
from pipeline.own.parts import at_fault
from pipeline.study.ranges import Choice, Float
from pipeline.study.study import Study

SHOWN = 6  # results beside the picture itself
NUM = SHOWN + 1  # pictures that a sheet takes: one, and others to mix it with
SIDE = 96  # pixels of a picture on the sheet
MARGIN, LETTERS = 8, 16
LATIN = 0xFF
MIXES = ("mixup", "cutmix")
MADE_BY, MARK = "Software", "pipeline.doctor --preview"
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """A line of the sheet: what was done, and what came of it, uint8 [SHOWN, C, S, S]."""

    title: str
    results: Bytes


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


def augmented(study: Study) -> dict[str, TrainConfig]:
    """Arms → how their pictures are augmented, where they are; of a search whose arms are not, at
    the highest `augment.strength` that it may draw.
    """
    found: dict[str, tuple[TrainConfig, list[str]]] = {}
    for arm, config in study.arms():
        if config.augment.strength:
            key = f"{config.augment.model_dump_json()} {config.input_size}"
            found.setdefault(key, (config, []))[1].append(arm.name)
    knob = study.space.knobs.get("augment.strength")
    if not found and isinstance(knob, Float | Choice):
        most = knob.high if isinstance(knob, Float) else max(map(float, knob.options))
        top = study.baseline.override({"augment.strength": most}, source="augment.strength")
        found[""] = (top, ["the search's highest augment.strength"])
    return {listed(arms): config for config, arms in found.values()}


def require_place(file: Path) -> None:
    """Raises UserError where the sheet may not be written: over what is no such sheet, say."""
    where = f"--preview: {printable(str(file))}"
    if file.suffix.lower() != ".png":
        raise UserError(f"{where}; allowed: the name of a .png file")
    if not file.parent.is_dir():
        raise UserError(f"{where}: there is no folder {printable(str(file.parent))}")
    try:
        found = Image.open(file)
    except FileNotFoundError:
        return
    except OSError as error:  # no picture, or a name that no disk takes
        why = error.strerror or "is there already, and no picture; name another file"
        raise UserError(f"{where}: {why}") from None
    with found as image:
        if image.info.get(MADE_BY) != MARK:
            raise UserError(f"{where}: is there already, and is no such sheet; name another file")


def sheet(study: Study, pictures: Bytes, file: Path) -> str:
    """Write the sheet of `pictures` uint8 [N, C, S, S] as a PNG file; gives what to say of it.
    Raises UserError where nothing is augmented, or the file cannot be written.
    """
    wanted = augmented(study)
    if not wanted:
        raise UserError(
            "--preview: no arm of the study is augmented, nor does its search try any; allowed: "
            "with augmentation, as by --set augment.strength=1"
        )
    if not len(pictures):
        raise UserError("--preview: there is no training picture to show")
    blocks, more = [], ""
    for number, (arms, config) in enumerate(wanted.items(), 1):
        shown = arms
        if any(ord(letter) > LATIN for letter in arms):  # which the font has no letters for
            shown, more = f"arms {number}", f"{more}; arms {number} are {printable(arms)}"
        name, strength = config.augment.model_dump()["name"], config.augment.strength
        own = list(rows(config, pictures, seed=0))
        blocks.append((f"{shown}: {name}, strength {strength:g}", own))
    image, about = _drawn(pictures[0], blocks), PngInfo()
    about.add_text(MADE_BY, MARK)
    try:
        image.save(file, "PNG", pnginfo=about)
    except (OSError, ValueError) as error:
        raise UserError(f"--preview: cannot write {printable(str(file))}: {error}") from error
    num = sum(len(own) for _, own in blocks)
    said = f"one training picture and {SHOWN} results of each of {num} rows"
    return f"{printable(str(file))}: {said}{more}"


def _drawn(original: Bytes, blocks: Sequence[tuple[str, Sequence[Row]]]) -> Image.Image:
    step, band = SIDE + MARGIN, SIDE + MARGIN + LETTERS
    height = sum(2 * LETTERS + band * len(own) for _, own in blocks) + MARGIN
    page = Image.new("RGB", ((SHOWN + 1) * step + MARGIN, height), "white")
    pen, font, y = ImageDraw.Draw(page), ImageFont.load_default(12), MARGIN

    def put(pixels: Bytes, x: int, y: int) -> None:
        picture = Image.fromarray(_colours(pixels)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        page.paste(picture, (MARGIN + x * step, y))

    for title, own in blocks:
        pen.text((MARGIN, y), printable(title, 110), fill="black", font=font)
        y += 2 * LETTERS
        for row in own:
            pen.text((MARGIN + step, y - LETTERS), row.title, fill="black", font=font)
            put(original, 0, y)
            for place, pixels in enumerate(row.results, 1):
                put(pixels, place, y)
            y += band
    return page


def _colours(pixels: Bytes) -> npt.NDArray[Any]:
    """[C, S, S] -> [S, S, 3]."""
    return np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0).copy()
