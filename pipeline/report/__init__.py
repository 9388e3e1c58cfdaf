"""The report of a study, from its Record alone: the same record gives the same bytes."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import printable
from pipeline.record.pasted import from_here
from pipeline.record.record import Record
from pipeline.report import files

if TYPE_CHECKING:
    from pipeline.report.compose import Findings


@dataclass(frozen=True)
class Report:
    """What was written. `complete`: every planned arm × replicate has a result. `text` is plain,
    for the terminal.
    """

    paths: tuple[Path, ...]
    warnings: tuple[str, ...]
    complete: bool
    text: str


def write_report(record: Record, folder: Path, lang: str = "en") -> Report:
    """Write report.html, report.md, ablation.tex, the frames and the figures into `folder`, which
    lies in the study's own.

    All is drawn up before anything is written, and each file is replaced as a whole: a failure
    leaves the last report as it was. `lang` is that of the pages alone. Raises UserError where
    nothing is recorded, MachineError where the disk refuses.
    """
    from pipeline.report.formats import terminal

    findings, drawn_up = _draw_up(record, folder.parent, lang)
    command = from_here(record.sessions[-1], folder.parent.parent) if record.sessions else ""
    screen = terminal.render(findings, folder / "report.html", command)
    return Report(
        files.replace_all(folder, drawn_up), findings.warnings, not findings.ablation.holes, screen
    )


def drift(record: Record, folder: Path, lang: str = "en") -> tuple[str, ...]:
    """What `folder` holds that is not the report of `record`, a line a file; writes nothing."""
    _, drawn_up = _draw_up(record, folder.parent, lang)
    return tuple(f"{printable(name)}: {what}" for name, what in files.differences(folder, drawn_up))


def _draw_up(record: Record, home: Path, lang: str) -> tuple["Findings", dict[str, bytes]]:
    """The report as files, the page last; `home` is the study's folder."""
    # matplotlib and pandas take a second to import
    from pipeline.report import (
        compose,
        frame_files,
    )
    from pipeline.report.figures import draw as figures
    from pipeline.report.sections import augmented
    from pipeline.report.sections.classes import pictures

    with _uncollected():
        findings = compose.read(record, home)
        shown = (
            findings.ablation,
            findings.search,
            findings.importance,
            findings.tuning,
            findings.answers,
            findings.front,
        )
        drawings = {drawing.name: drawing for drawing in figures.draw_all(*shown)}
    drawn_up = frame_files.files(findings)
    for name, drawing in drawings.items():
        drawn_up |= {f"figures/{name}.svg": drawing.svg, f"figures/{name}.png": drawing.png}
    drawn_up |= pictures(findings.answers, findings.ablation)
    drawn_up |= augmented.pictures(findings.augmented)
    texts = compose.texts(findings, {name: drawing.svg for name, drawing in drawings.items()}, lang)
    drawn_up |= {name: text.encode("utf-8", "replace") for name, text in texts.items()}
    return findings, files.listed(drawn_up)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Drawing makes a million small objects; to look for garbage among them takes a tenth of its
    time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
