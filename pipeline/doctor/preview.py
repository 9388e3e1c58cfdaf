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

from pipeline.analysis.wording import listed
from pipeline.core.augmentation.config import Amounts, Augmentation, Notes
from pipeline.core.augmentation.draws import draw
from pipeline.core.augmentation.mixing import mix
from pipeline.core.augmentation.pixels import Pixels
from pipeline.errors import UserError, printable
from pipeline.study.ranges import Choice, Float
from pipeline.study.study import Study

SHOWN = 6  # results beside the picture itself
SIDE = 96  # pixels of a picture on the sheet
MARGIN, LETTERS = 8, 16
MIXES = ("mixup", "cutmix")
MADE_BY, MARK = "Software", "pipeline.doctor --preview"
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """A line of the sheet: what was done, and what came of it, uint8 [SHOWN, C, S, S]."""

    title: str
    results: Bytes


def rows(augment: Augmentation, pictures: Bytes, *, seed: int) -> Iterator[Row]:
    """Of the first picture, all that is on at once as training does it, then each amount alone;
    mixing takes the others, too.

    `pictures` uint8 [SHOWN, C, S, S]. Other draws than those of any run.
    """
    yield Row("all together", _made(augment, pictures, seed))
    on = [name for name, amount in augment.amounts()._asdict().items() if amount]
    for name in on if len(on) > 1 or augment.policy() is not None else ():
        nothing = dict.fromkeys(Amounts._fields, 0.0)
        alone = Notes(strength=augment.strength, **nothing | {name: getattr(augment, name)})
        yield Row(f"{name} {getattr(alone.amounts(), name):.3g}", _made(alone, pictures, seed))


def _made(augment: Augmentation, pictures: Bytes, seed: int) -> Bytes:
    mixes = any(getattr(augment.amounts(), name) for name in MIXES)
    own = pictures if mixes else np.repeat(pictures[:1], len(pictures), 0)
    draws = draw(augment, seed=seed, epoch=1, num_samples=len(own), size=own.shape[-1])
    channels = own.shape[1]
    as_is = Pixels((0.0,) * channels, (1 / 255,) * channels, device=torch.device("cpu"))
    x, _ = mix(as_is(torch.from_numpy(own.copy()), draws), torch.zeros(SHOWN).long(), draws, 1)
    return x.round().clamp(0, 255).to(torch.uint8).numpy()


def augmentations(study: Study) -> dict[str, Augmentation]:
    """Arms → their augmentation, where it is on; of a search whose arms have none, the strongest
    that it may draw.
    """
    found: dict[Augmentation, list[str]] = {}
    for arm, config in study.arms():
        if config.augment.strength:
            found.setdefault(config.augment, []).append(arm.name)
    knob = study.space.knobs.get("augment.strength")
    if not found and isinstance(knob, Float | Choice):
        most = knob.high if isinstance(knob, Float) else max(map(float, knob.options))
        top = study.baseline.augment.override({"strength": most}, source="augment.strength")
        found[top] = ["the strongest of the search"]
    return {listed(arms): augment for augment, arms in found.items()}


def require_place(file: Path) -> None:
    """Raises UserError where the sheet may not be written: over what is no such sheet, say."""
    where = f"--preview: {printable(str(file))}"
    if file.suffix.lower() != ".png":
        raise UserError(f"{where}; allowed: the name of a .png file")
    if not file.parent.is_dir():
        raise UserError(f"{where}: there is no folder {printable(str(file.parent))}")
    if file.exists():
        try:
            with Image.open(file) as image:
                is_ours = image.info.get(MADE_BY) == MARK
        except OSError:
            is_ours = False
        if not is_ours:
            raise UserError(f"{where}: is there already, and is no such sheet; name another file")


def sheet(study: Study, pictures: Bytes, file: Path) -> str:
    """Write the sheet of `pictures` uint8 [SHOWN, C, S, S] as a PNG file; gives what to say of it.
    Raises UserError where nothing is augmented, or the file cannot be written.
    """
    wanted = augmentations(study)
    if not wanted:
        raise UserError(
            "--preview: no arm of the study is augmented, nor does its search try any; allowed: "
            "with augmentation, as by --set augment.strength=1"
        )
    blocks = [
        (
            f"{arms}: {augment.model_dump()['name']}, strength {augment.strength:g}",
            list(rows(augment, pictures, seed=0)),
        )
        for arms, augment in wanted.items()
    ]
    image, about = _drawn(pictures[0], blocks), PngInfo()
    about.add_text(MADE_BY, MARK)
    try:
        image.save(file, "PNG", pnginfo=about)
    except (OSError, ValueError) as error:
        raise UserError(f"--preview: cannot write {printable(str(file))}: {error}") from error
    number = sum(len(own) for _, own in blocks)
    return (
        f"{printable(str(file))}: one training picture and {SHOWN} results of each of {number} rows"
    )


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
