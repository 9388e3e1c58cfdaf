"""What training sees of a picture, drawn: `doctor`'s contact sheet of the arms' augmentations."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from pipeline.analysis.augmented import SHOWN, Bytes, Sheet, colours
from pipeline.analysis.preview import sheets
from pipeline.errors import UserError, printable
from pipeline.study.study import Study

SIDE = 96  # pixels of a picture on the sheet
MARGIN, LETTERS = 8, 16
LATIN = 0xFF
MADE_BY, MARK = "Software", "pipeline.doctor --preview"


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
    if not len(pictures):
        raise UserError("--preview: there is no training picture to show")
    found, more = sheets(study, pictures), ""
    if not found:
        raise UserError(
            "--preview: no arm of the study is augmented, nor does its search try any; allowed: "
            "with augmentation, as by --set augment.strength=1"
        )
    blocks = []
    for number, block in enumerate(found, 1):
        shown = block.arms
        if any(ord(letter) > LATIN for letter in shown):  # which the font has no letters for
            shown, more = f"arms {number}", f"{more}; arms {number} are {printable(block.arms)}"
        blocks.append((f"{shown}: {block.augment}", block))
    image, about = _drawn(blocks), PngInfo()
    about.add_text(MADE_BY, MARK)
    try:
        image.save(file, "PNG", pnginfo=about)
    except (OSError, ValueError) as error:
        raise UserError(f"--preview: cannot write {printable(str(file))}: {error}") from error
    num = sum(len(block.rows) for block in found)
    said = f"one training picture and {SHOWN} results of each of {num} rows"
    return f"{printable(str(file))}: {said}{more}"


def _drawn(blocks: Sequence[tuple[str, Sheet]]) -> Image.Image:
    step, band = SIDE + MARGIN, SIDE + MARGIN + LETTERS
    height = sum(2 * LETTERS + band * len(block.rows) for _, block in blocks) + MARGIN
    page = Image.new("RGB", ((SHOWN + 1) * step + MARGIN, height), "white")
    pen, font, y = ImageDraw.Draw(page), ImageFont.load_default(12), MARGIN

    def put(pixels: Bytes, x: int, y: int) -> None:
        picture = Image.fromarray(colours(pixels)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        page.paste(picture, (MARGIN + x * step, y))

    for title, block in blocks:
        pen.text((MARGIN, y), printable(title, 110), fill="black", font=font)
        y += 2 * LETTERS
        for row in block.rows:
            pen.text((MARGIN + step, y - LETTERS), row.title, fill="black", font=font)
            put(block.picture, 0, y)
            for place, pixels in enumerate(row.results, 1):
                put(pixels, place, y)
            y += band
    return page
