"""What training sees of a picture, as sheets: which arms have one, and what the report keeps."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.analysis.wording import listed
from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import ABOUT, UNREADABLE, array, packed, put, require
from pipeline.study.ranges import Choice, Float
from pipeline.study.study import Study

SHOWN = 6  # results beside the picture itself
NUM = SHOWN + 1  # pictures that a sheet takes: one, and others to mix it with
GAP = 2  # pixels between two of them
MAX_SIDE, MAX_ROWS = 64, 16  # of what is kept for the report, all arms together
MOST_ROWS = 10**6  # that a file may claim to have had
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """What was done to the picture, and what came of it, uint8 [SHOWN, C, S, S]."""

    title: str
    results: Bytes


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


@dataclass(frozen=True)
class Sheet:
    """How the pictures of some arms are augmented. arms: their names; augment: its name and
    strength; picture: uint8 [C, S, S], before all that the rows show.
    """

    arms: str
    augment: str
    picture: Bytes
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Kept:
    """What the report has of the sheets, in small; `num_rows`: of all of them as they were.
    `tuned`: whether arms have searches of their own that choose amounts.
    """

    sheets: tuple[Sheet, ...] = ()
    num_rows: int = 0
    tuned: bool = False


def sheets_path(study_folder: Path) -> Path:
    """Where the sheets of a study lie, for its report."""
    return study_folder / "evidence" / "augmentation.npz"


def keep(path: Path, found: tuple[Sheet, ...]) -> None:
    """Write the first rows of each sheet in small, where they are not there as they are. Raises
    MachineError where the disk refuses.
    """
    about, strips = [], list[Bytes]()
    for sheet in found[:MAX_ROWS]:
        own = sheet.rows[: max(1, MAX_ROWS // len(found))]
        about.append([sheet.arms, sheet.augment, [row.title for row in own]])
        strips += [np.stack([_small(one) for one in (sheet.picture, *row.results)]) for row in own]
    said = {"rows": sum(len(sheet.rows) for sheet in found), "sheets": about}
    ascii_only = np.frombuffer(json.dumps(said).encode("ascii"), np.uint8)
    content = packed({ABOUT: ascii_only, "strips": np.stack(strips)})
    try:
        same = path.read_bytes() == content
    except OSError:
        same = False
    if not same:
        put(path, content)


def kept(path: Path, study: Study) -> Kept:
    """What `keep` wrote of the study's arms; nothing where these are others by now, or the file is
    missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(array(archive, ABOUT, np.uint8, 1).tobytes())
            strips = array(archive, "strips", np.uint8, 5)
        require(strips.shape[1:3] == (SHOWN + 1, 3) and len(strips) <= MAX_ROWS)
        require(0 < strips.shape[3] == strips.shape[4] <= MAX_SIDE)
        require(isinstance(about["rows"], int) and len(strips) <= about["rows"] < MOST_ROWS)
        found, left = [], iter(strips)
        for arms, augment, titles in about["sheets"]:
            require(all(isinstance(text, str) for text in (arms, augment, *titles)))
            require(len(titles) > 0)
            own = [(title, next(left)) for title in titles]
            made = tuple(Row(title, strip[1:]) for title, strip in own)
            found.append(Sheet(arms, augment, own[0][1][0], made))
    except (*UNREADABLE, StopIteration):
        return Kept()
    if {sheet.arms for sheet in found} != set(list(augmented(study))[: len(found)]):
        return Kept()
    return Kept(tuple(found), about["rows"], _tuned(study))


def _tuned(study: Study) -> bool:
    spaces = [target.space for target in study.targets()]
    paths = {
        path for space in spaces for path in (*space.derived, *(s.path for s in space.slots()))
    }
    given = any(config.augment.strength for _, config in study.arms())
    return given and any(path.startswith("augment.") for path in paths)


def _small(pixels: Bytes) -> Bytes:
    """[C, S, S] -> [3, T, T], T <= MAX_SIDE, the same for every picture of a study."""
    image = Image.fromarray(colours(pixels))
    smaller = Image.Resampling.BOX if image.width > MAX_SIDE else Image.Resampling.NEAREST
    side = (MAX_SIDE, MAX_SIDE)
    return np.asarray(image.resize(side, smaller)).transpose(2, 0, 1)


def strip_png(picture: Bytes, row: Row) -> bytes:
    """The picture and what came of it, side by side, as a PNG of few colours."""
    gap = np.full((3, picture.shape[1], GAP), 0xFF, np.uint8)
    line = [picture, *(part for one in row.results for part in (gap, one))]
    buffer = io.BytesIO()
    Image.fromarray(colours(np.concatenate(line, axis=2))).quantize(256).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def colours(pixels: Bytes) -> npt.NDArray[Any]:
    """[C, S, T] -> [S, T, 3]."""
    return np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0).copy()
