"""The report of a study, from its Record alone: the same record gives the same bytes."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import MachineError
from pipeline.record import Record


@dataclass(frozen=True)
class Report:
    """What was written. `complete`: every planned arm × replicate has a result. `text` is plain, for the terminal."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...]
    complete: bool
    text: str


def write_report(record: Record, folder: Path) -> Report:
    """Write report.html, report.md, ablation.tex, the CSVs and the figures into `folder`.

    All is drawn up before anything is written, and each file is replaced as a whole: a failure leaves the last report as it
    was. Raises UserError where nothing is recorded, MachineError where the disk refuses.
    """
    from pipeline.report import compose, figures, terminal  # matplotlib and pandas take a second to import

    findings = compose.read(record)
    shown = findings.ablation, findings.search, findings.importance, findings.tuning
    drawings = {drawing.name: drawing for drawing in figures.draw_all(*shown)}
    files: dict[str, bytes] = {}
    for name, drawing in drawings.items():
        files |= {f"figures/{name}.svg": drawing.svg, f"figures/{name}.png": drawing.png}
    texts = compose.texts(findings, {name: drawing.svg for name, drawing in drawings.items()})
    files |= {name: text.encode("utf-8", "replace") for name, text in texts.items()}
    screen = terminal.render(findings, folder / "report.html")
    return Report(_replace_all(folder, files), findings.warnings, not findings.ablation.holes, screen)


def _replace_all(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write every file beside its place, then put them in place one after another; the page itself comes last."""
    waiting: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            waiting.append((Path(temporary), target))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
        for ready, target in waiting:
            os.replace(ready, target)
    except OSError as error:
        raise MachineError(f"{folder}: cannot write the report: {error.strerror}") from error
    finally:
        for ready, _ in waiting:
            with contextlib.suppress(OSError):
                ready.unlink()
    return tuple(target for _, target in waiting)
