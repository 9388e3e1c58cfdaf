"""Several replicates of an arm handed on as one model: the mean of their probabilities."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from pipeline.counts import plural
from pipeline.data.cache import Data
from pipeline.data.splits import Split
from pipeline.errors import printable
from pipeline.export.caveats import of_members
from pipeline.export.delivery import CARD, CONFIG, member_file
from pipeline.export.ensemble_card import Ensembled, ensemble_card, ensemble_json
from pipeline.export.files import Handover
from pipeline.export.measured import Measured, average, measure
from pipeline.export.onnx import Mean
from pipeline.export.selection import Members, Selection
from pipeline.record.record import Record


class Ensemble(Handover):
    """Files of replicates that are averaged; what is of one run (splits, shape of the pictures) is
    that of the first.
    """

    def __init__(self, record: Record, chosen: Members, study_folder: Path, *, device: str) -> None:
        """`device`: where test pictures are answered. Raises UserError as `Handover` does, of any
        member.
        """
        each = [Selection(run, chosen.why, chosen.runs, chosen.asked) for run in chosen.runs]
        super().__init__(record, each[0], study_folder)
        self.chosen, self.device = chosen, device
        self.members = [Handover(record, one, study_folder) for one in each]
        self.warnings = list(dict.fromkeys(text for one in self.members for text in one.warnings))
        self.measured: Measured | None = None

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """What is to be said first."""
        return of_members(self.record, self.chosen)

    def model_files(self) -> dict[str, bytes]:
        """One for each member."""
        return {
            member_file(one.selection.run.replicate): content
            for one in self.members
            for content in one.model_files().values()
        }

    def graph(self) -> nn.Module:
        """The members as the files hold them, averaged."""
        return Mean([one.graph() for one in self.members])

    def described(self, data: Data, *, with_onnx: bool) -> dict[str, bytes]:
        """The card and the configuration; the ensemble is measured for them."""
        self.measured = self._measure(data, plain=False)
        if self.measured is not None:
            self._compare_with_record(self.measured)
        facts = Ensembled(
            tuple(one.facts(data, self.caveats, with_onnx=with_onnx) for one in self.members),
            self.measured,
            None if self.config.final.is_plain else self._measure(data, plain=True),
            independent=self._independent,
        )
        return {
            CONFIG: ensemble_json(facts).encode(),
            CARD: ensemble_card(facts).encode("utf-8", "replace"),
        }

    def classify(
        self, data: Data, split: Split, device: str, *, plain: bool = False
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """As of one model, by the mean of the members' probabilities."""
        return average([one.classify(data, split, device, plain=plain)[1] for one in self.members])

    def headline(self) -> list[str]:
        """What is handed on, and why it."""
        numbers = ", ".join(str(run.replicate) for run in self.chosen.runs)
        title = f"ensemble of replicates {numbers} of arm '{printable(self.chosen.arm, 80)}'"
        times = f"it takes {len(self.members)} times the time and the space of one member"
        if self.measured is None:
            return [f"{title}; {times}", f"chosen thus: {self.chosen.why}"]
        own, mean = self.measured.own["test_acc"], self.measured.mean("test_acc")
        of = plural(self.measured.num_pictures, "picture")
        return [
            f"{title}: test_acc {own:.4f} on {of}, {own - mean:+.4f} over its members' mean of "
            f"{mean:.4f}; {times}",
            f"chosen thus: {self.chosen.why}",
        ]

    @property
    def _independent(self) -> bool:
        groups: Mapping[str, object] = self.record.data.get("taken", {})
        return not groups.get("groups")

    def _measure(self, data: Data, *, plain: bool) -> Measured | None:
        test = self.splits(data).test  # the same for every replicate
        if test is None:
            return None
        found = [one.classify(data, test, self.device, plain=plain)[1] for one in self.members]
        labels = test.labels[test.index]
        return measure(self.config, found, labels, independent=self._independent)

    def _compare_with_record(self, measured: Measured) -> None:
        for run, now in zip(self.chosen.runs, measured.members, strict=True):
            then = run.metric("test_acc")
            if then is not None and abs(now["test_acc"] - then) > 0.5 / measured.num_pictures:
                self.warnings.append(
                    f"replicate {run.replicate}: test_acc {now['test_acc']:.4f} on this machine, "
                    f"recorded {then:.4f}; the gain is of what was measured here"
                )
