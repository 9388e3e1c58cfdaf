"""Files of a study's runs in MLflow: logs of failures as they come, the report at the end. No
number waits for them, since a store of artifacts (S3) may refuse what the tracking server takes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.record.events import Event, Fail
from pipeline.record.mlflow_store import log_files, names_of_files
from pipeline.record.mlflow_trouble import Withheld


class Artifacts:
    """What of them is owed. `folder`: the study's; `known`: key of a run, or "study" → its MLflow
    run.
    """

    def __init__(self, folder: Path, known: Callable[[str], str]) -> None:
        self._folder, self._known = folder, known
        self._logs: dict[str, str] = {}  # log → run, of all that is recorded
        self._sent: set[str] = set()

    def take(self, event: Event) -> None:
        """See an event of the study, once, in order."""
        if isinstance(event, Fail) and event.log:
            self._logs[event.log] = event.run

    def log(self, client: Any, event: Fail) -> Withheld | None:
        """Send what a failure left; why it is not taken, which `rest` tries again."""
        try:
            self._send(client, event.run, event.log)
        except Withheld as trouble:
            return trouble
        return None

    def rest(self, client: Any, report: Path) -> None:
        """At the end: `report`, and what is missing of earlier files; raises Withheld."""
        for log, run in self._logs.items():
            known = self._known(run)
            if (
                log not in self._sent
                and known
                and Path(log).name not in names_of_files(client, known)
            ):
                self._send(client, run, log)
        log_files(client, self._known("study"), report, "report")

    def _send(self, client: Any, run: str, log: str) -> None:
        if (self._folder / log).is_file():
            log_files(client, self._known(run), self._folder / log)
            self._sent.add(log)
