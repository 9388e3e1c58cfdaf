"""By what a study selects and judges: all words that name the metric come from here."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.metrics import sign_of

if TYPE_CHECKING:
    from pipeline.core.config import TrainConfig

NOUNS = {
    "acc": "accuracy",
    "balanced_acc": "balanced accuracy",
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "log_loss": "log loss",
    "ece": "ECE",
}


@dataclass(frozen=True)
class Judged:
    """`name` is that of the metric, as it is recorded; `held_out`: arms are judged by labelled test
    pictures, else by val of each run's last epoch, as val chose the best one; `sign` is -1 where
    less of it is better. Values are ordered by sign times value, and shown as they are.
    """

    name: str = "acc"
    held_out: bool = True
    sign: int = 1

    @property
    def is_acc(self) -> bool:
        """Whether it is accuracy, of which more is known than of others: a picture is right or
        wrong.
        """
        return self.name == "acc"

    @property
    def is_share(self) -> bool:
        """Whether it is shown as per cent, and differences as points: what less is better of has a
        unit of its own.
        """
        return self.sign > 0

    @property
    def unit(self) -> str:
        """After the title of a column or an axis."""
        return " (%)" if self.is_share else ""

    @property
    def scale(self) -> int:
        """What figures multiply values by."""
        return 100 if self.is_share else 1

    @property
    def most(self) -> str:
        """What the best one is called."""
        return "highest" if self.sign > 0 else "lowest"

    @property
    def flattered(self) -> str:
        """How the value of the best of many is wrong on average: too `high`."""
        return "high" if self.sign > 0 else "low"

    def best(self, values: Iterable[float]) -> float:
        return max(values) if self.sign > 0 else min(values)

    @property
    def column(self) -> str:
        """What arms are judged by, as runs record it: `test_acc`."""
        return f"test_{self.name}" if self.held_out else f"last_val_{self.name}"

    @property
    def selects(self) -> str:
        """What chooses epochs and ranks trials, as epochs record it: `val_acc`."""
        return f"val_{self.name}"

    @property
    def short(self) -> str:
        """`test acc`"""
        return f"test {self.name}" if self.held_out else f"last val {self.name}"

    @property
    def val(self) -> str:
        """`val acc`"""
        return f"val {self.name}"

    @property
    def noun(self) -> str:
        """`accuracy`"""
        top = re.fullmatch(r"top_(\d+)", self.name)
        return f"top-{top[1]} accuracy" if top else NOUNS.get(self.name, self.name)

    @property
    def long(self) -> str:
        """`test accuracy`"""
        last = f"validation {self.noun} at each run's last epoch"
        return f"test {self.noun}" if self.held_out else last

    @property
    def drawn(self) -> str:
        """As axes of figures name it: `test accuracy`, `val accuracy`."""
        return f"{'test' if self.held_out else 'val'} {self.noun}"

    @classmethod
    def of(cls, config: "TrainConfig | Mapping[str, Any]", *, held_out: bool = True) -> "Judged":
        """Of a config, or of one as it is recorded."""
        if isinstance(config, Mapping):
            return cls(str(config.get("select", "acc")), held_out, sign_of(config))
        return cls(config.select, held_out, config.sign)


def margin_in_words(rope: float, judged: Judged) -> str:
    """The margin of no practical interest: `1 point`, `0.5 points`; `0.02` of what is no share."""
    size = f"{rope * judged.scale:g}"
    return f"{size} point{'s' * (size != '1')}" if judged.is_share else size
