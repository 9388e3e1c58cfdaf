"""What is owed to MLflow's runs, gathered over many events and sent once a run: each call is a
transaction of a store that waits for its disk, and a run has a dozen events. Beside
`mlflow_store`, the only import of mlflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.frozen import flatten

MOST_ENTRIES = 1000  # that MLflow takes in one call, of all kinds
MOST_TEXT = 5000  # letters of a tag


@dataclass
class Owed:
    """To one run. Of a tag, the status and the end what came last counts; a point is never lost."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: list[Any] = field(default_factory=list)
    status: str = ""
    ended: int = 0  # milliseconds since 1970


class Batch:
    """Runs by id. What MLflow shows as a run's status is remembered, and not said twice."""

    def __init__(self) -> None:
        self._owed: dict[str, Owed] = {}
        self._shown: dict[str, str] = {}

    def forget(self) -> None:
        """Drop what was gathered, and what is known of MLflow: it is owed again, or gone."""
        self._owed.clear()
        self._shown.clear()

    def created(self, run_id: str) -> None:
        """A run was made by now, which MLflow shows as running."""
        self._shown[run_id] = "RUNNING"

    def params(self, run_id: str, config: Mapping[str, Any]) -> None:
        self._of(run_id).params |= {key: str(value) for key, value in flatten(config)}

    def tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        self._of(run_id).tags |= {key: str(value)[:MOST_TEXT] for key, value in tags.items()}

    def point(self, run_id: str, name: str, value: float, seconds: float, step: int) -> None:
        from mlflow.entities import Metric

        self._of(run_id).points.append(Metric(name, float(value), int(seconds * 1000), step))

    def status(self, run_id: str, status: str, ended_seconds: float = 0.0) -> None:
        owed = self._of(run_id)
        owed.status, owed.ended = status, int(ended_seconds * 1000) or owed.ended

    def send(self, client: Any) -> None:
        """Send all; where that raises, the events that it came from are to be gathered anew."""
        for run_id, owed in self._owed.items():
            self._log(client, run_id, owed)
            if owed.ended:
                client.set_terminated(run_id, owed.status, owed.ended)
            elif owed.status and owed.status != self._shown.get(run_id):
                client.update_run(run_id, status=owed.status)
            if owed.status:
                self._shown[run_id] = owed.status
        self._owed.clear()

    def _log(self, client: Any, run_id: str, owed: Owed) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(*pair) for pair in owed.params.items()]
        tags = [RunTag(*pair) for pair in owed.tags.items()]
        room = MOST_ENTRIES - len(params) - len(tags)
        first, rest = owed.points[:room], owed.points[room:]
        if params or tags or first:
            client.log_batch(run_id, metrics=first, params=params, tags=tags)
        for start in range(0, len(rest), MOST_ENTRIES):
            client.log_batch(run_id, metrics=rest[start : start + MOST_ENTRIES])

    def _of(self, run_id: str) -> Owed:
        return self._owed.setdefault(run_id, Owed())
