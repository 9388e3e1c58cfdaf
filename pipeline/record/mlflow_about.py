"""Who a study is for and why, as MLflow shows it: tags of its runs, the description, and the same
of its experiment where nobody else has said something there.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.record.about import MAX_TEXT
from pipeline.record.events import Session
from pipeline.record.mlflow_store import log_tags
from pipeline.record.mlflow_views import NOTE, study_tags
from pipeline.record.record import Record


def send_about(
    client: Any, record: Record, said: Session, experiment: str, study: str, runs: Sequence[str]
) -> None:
    """What a session said, to the study's run and to the `runs` that are there by now; those that
    come have it from the start.
    """
    if not (said.tags or said.note):
        return
    tags, note = record.about.mlflow_tags, study_tags(record)[NOTE]
    for run in runs if said.tags else ():
        log_tags(client, run, tags)
    log_tags(client, study, {**tags, NOTE: note})
    there = client.get_experiment(experiment).tags
    for key, text in {**tags, NOTE: record.about.mlflow_note}.items():
        # what was added comes last, so what we wrote before is how it begins
        if text and text[:MAX_TEXT].startswith(there.get(key, "")):
            client.set_experiment_tag(experiment, key, text[:MAX_TEXT])
