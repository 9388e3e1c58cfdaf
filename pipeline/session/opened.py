"""A recorded study to look at in a notebook: frames, figures, the table of its arms."""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError, choices, printable
from pipeline.record.ledger import FILE
from pipeline.record.record import Record
from pipeline.session.resume import elsewhere, recorded_in
from pipeline.study.judged import Judged
from pipeline.study.study import Study
from pipeline.study.tuning import RACE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from pipeline.report.compose import Findings


def open_record(folder: str | os.PathLike[str]) -> "OpenedRecord":
    """What is recorded in a study's folder, or in the one study of an mlruns folder; nothing is
    locked and nothing written. Raises UserError where that is none or one of several, MachineError
    where the ledger cannot be read.
    """
    path = Path(folder).expanduser()
    if not (path / FILE).exists():
        found = sorted(path.glob(f"*/{FILE}"))
        if len(found) != 1:
            what = f"{len(found)} studies are" if found else "nothing is"
            raise UserError(f"{printable(path)}: {what} recorded there; {elsewhere(path)}")
        path = found[0].parent
    return OpenedRecord(path)


class OpenedRecord:
    """A study as it stood when it was opened. One row of a frame is one run, arm, contrast or epoch
    of a run; accuracies are shares of 1, seconds are seconds. A frame without rows has no columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: Record = recorded_in(path)

    @property
    def study(self) -> Study:
        """The study as it is recorded."""
        return self.record.study

    def trials(self) -> "pd.DataFrame":
        """The trials of all searches; not the runs of a race, which train some of them again."""
        found = self._runs("trial")
        return found[found["search"] != RACE] if len(found) else found

    def runs(self) -> "pd.DataFrame":
        """Trials and replicates: how they ended, every metric at the best epoch, the whole
        configuration.
        """
        return self._frame("runs")

    def curves(self) -> "pd.DataFrame":
        """Every epoch of every run."""
        return self._frame("curves")

    def arms(self) -> "pd.DataFrame":
        """The arms with mean and spread over their replicates."""
        return self._frame("arms")

    def contrasts(self) -> "pd.DataFrame":
        """The differences that were asked for, with intervals and verdicts."""
        return self._frame("contrasts")

    @cached_property
    def figures(self) -> "Figures":
        """The report's figures by name; each shows itself inline."""
        return Figures(self._findings)

    def _runs(self, kind: str) -> "pd.DataFrame":
        runs = self._frame("runs")
        return runs[runs["kind"] == kind].reset_index(drop=True) if len(runs) else runs

    def _frame(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        return self._frames.get(name, pd.DataFrame()).copy()

    @cached_property
    def _frames(self) -> "dict[str, pd.DataFrame]":
        from pipeline.report import frames

        return frames.read(self._findings)

    @cached_property
    def _findings(self) -> "Findings":
        from pipeline.report import compose

        return compose.read(self.record, self.path)

    def __repr__(self) -> str:
        runs = len(self.record.runs)
        return f"<record of study '{self.study.name}' in {printable(self.path)}, runs: {runs}>"

    def _repr_html_(self) -> str:
        """The table of the arms, under the study's title."""
        import html

        arms = self._frame("arms")
        judged = Judged.of(self.study.baseline)
        means = [
            f"{name}_{part}" for name in (judged.selects, judged.column) for part in ("mean", "sd")
        ]
        table = arms[[name for name in ("arm", "complete", *means) if name in arms]].to_html(
            index=False, float_format="{:.4f}".format, na_rep="", border=0
        )
        title = html.escape(self.study.title)
        return f"<p><b>{title}</b> ({html.escape(str(self.path))})</p>{table}"


class Figures(Mapping[str, "Figure"]):
    """Name → matplotlib figure; drawn when first looked at."""

    def __init__(self, findings: "Findings") -> None:
        self._findings = findings

    @cached_property
    def _drawn(self) -> "dict[str, Figure]":
        from pipeline.report.figures.draw import figures, png

        found = dict(figures(self._findings))
        for figure in found.values():  # as IPython asks for it, with or without %matplotlib inline
            figure._repr_png_ = partial(png, figure)  # type: ignore[attr-defined]
        return found

    def __getitem__(self, name: str) -> "Figure":
        if name not in self._drawn:
            raise KeyError(f"no figure {name!r}; {choices(name, self._drawn)}")
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)

    def __repr__(self) -> str:
        return f"<figures {', '.join(self)}>"
