"""Who a study is for and why, as its commands said: tags, notes, the MLflow experiment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.record.events import Session

BETWEEN = ", "  # of several values of one tag
MAX_TEXT = 5000  # characters of a tag in MLflow; what is longer is cut there, in the ledger nothing


@dataclass(frozen=True)
class About:
    """`tags`: key → what was given for it, the first first; `notes` likewise; `experiment`: '' for
    the one that is named after the study's folder.
    """

    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    experiment: str = ""

    @classmethod
    def of(cls, sessions: Iterable[Session]) -> "About":
        """What all of them said: nothing that one left out or said otherwise is taken back."""
        tags: dict[str, tuple[str, ...]] = {}
        notes: dict[str, None] = {}
        experiment = ""
        for session in sessions:
            for key, value in session.tags.items():
                tags[key] = tuple(dict.fromkeys((*tags.get(key, ()), value)))
            notes |= dict.fromkeys([session.note] if session.note else [])
            experiment = experiment or session.experiment
        return cls(tags, tuple(notes), experiment)

    def rows(self) -> Iterator[tuple[str, str]]:
        """(what, in words), of what was said."""
        if self.experiment:
            yield "MLflow experiment", self.experiment
        if self.tags:
            yield "tags", "; ".join(f"{key} = {self.text_of(key)}" for key in self.tags)
        if self.notes:
            yield "note", " · ".join(self.notes)

    def text_of(self, key: str) -> str:
        """The values of a tag as one text."""
        return BETWEEN.join(self.tags[key])

    @property
    def mlflow_tags(self) -> dict[str, str]:
        """For every run. A value that was added comes after those before it."""
        return {key: self.text_of(key) for key in self.tags}

    @property
    def mlflow_note(self) -> str:
        return "\n\n".join(self.notes)
