"""The MLflow store: a client on it, its making, the experiment of a study. Beside
`mlflow_batch`, the only import of mlflow.
"""

import logging
import os
import shlex
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.errors import printable
from pipeline.record.mlflow_places import FILE, place_of, settle, sqlite_file, store_uri
from pipeline.record.mlflow_trouble import Unusable, Withheld

NOISY = (
    "alembic",
    "mlflow",
    "mlflow.store.db.utils",
    "sqlalchemy",
    "urllib3",
)  # their tracebacks are for their authors


def connect(uri: str, root: Path, scratch: Path) -> Any:
    """An MlflowClient on `uri`; the store of mlruns folder `root` is made first where `uri` names
    it and it is not there.

    `scratch` is a file of the caller's alone. The tables are made there and moved to their place
    whole: of a store half made, as a kill would leave it, MLflow makes nothing any more. Raises
    Unusable where the store is none that this MLflow can use: MLflow itself would change an older
    one without asking.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # a server's client prints each run's address, with the password in it
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    store = root / FILE
    if uri == store_uri(store):
        require_usable(store)
    import mlflow

    for name in NOISY:  # mlflow sets levels of its own on import
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if uri == store_uri(store) and not store.exists():
        _make(store, scratch)
    return mlflow.MlflowClient(uri)


def _make(store: Path, scratch: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for old in scratch.parent.glob(f"{scratch.name}*"):
        old.unlink()
    # with the rights that the umask leaves: sqlite would leave its group none to write
    scratch.touch()
    made = SqlAlchemyStore(store_uri(scratch), (store.parent / "artifacts").as_uri())
    made.engine.dispose()
    try:
        os.link(scratch, store)
    except FileExistsError:
        pass  # another study was faster
    except OSError:  # a file system without links
        os.rename(scratch, store)
    scratch.unlink(missing_ok=True)


def require_usable(store: Path) -> None:
    """Raises Unusable where the file is there but no store of this very version of MLflow's
    tables.
    """
    shown = printable(store)
    try:
        str(store).encode()
    except UnicodeEncodeError:
        raise Unusable(
            f"{shown}: MLflow cannot name a folder that is not UTF-8", "rename it"
        ) from None
    if not store.exists():
        return
    aside = "move it away, and the next command on each study makes it anew from the ledger"
    try:
        with closing(sqlite3.connect(store)) as database:
            found = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise Unusable(f"{shown} is no MLflow store", aside) from error
        if "unable to open" in str(error):
            raise Unusable(
                f"{shown} cannot be opened", "see that it is a file and yours to read and write"
            ) from error
        raise  # locked, or the disk is full
    except sqlite3.DatabaseError as error:
        raise Unusable(f"{shown} is damaged ({error})", aside) from error
    if not found:
        raise Unusable(f"{shown} is no whole MLflow store", aside)
    _require_version(store, found[0][0])


def _require_version(store: Path, found: str) -> None:
    from alembic.script import ScriptDirectory
    from mlflow import __file__ as package
    from mlflow import __version__ as version

    scripts = ScriptDirectory(Path(package).parent / "store" / "db_migrations")
    if found in scripts.get_heads():
        return
    shown = printable(store)
    if found in {script.revision for script in scripts.walk_revisions()}:
        command = shlex.join(
            [Path(sys.executable).name, "-m", "mlflow", "db", "upgrade", store_uri(store)]
        )
        raise Unusable(
            f"{shown} was made by an older MLflow than {version}, whose tables are others",
            f"make a copy of the file as a backup, then run: {command}",
        )
    raise Unusable(
        f"{shown} was made by a newer MLflow than {version} (version {printable(found, 40)} of its "
        "tables)",
        "install that MLflow, or give another folder with --mlruns",
    )


def experiment_of(
    client: Any,
    uri: str,
    root: Path,
    folder: str,
    run_id: str,
    tell: Callable[[str], None],
    name: str = "",
) -> str:
    """The id of the experiment of the study in `folder`: that of its run `run_id` if that is known,
    else the one called `name` ('': as the folder), else a new one.

    One that was deleted is restored. Its artifacts lie in `root`, where `uri` is a sqlite file.
    """
    name = name or folder
    found = (
        client.get_experiment(client.get_run(run_id).info.experiment_id)
        if run_id
        else client.get_experiment_by_name(name)
    )
    file = sqlite_file(uri)
    if found is None:
        found = client.get_experiment(
            client.create_experiment(name, place_of(root, folder) if file else None)
        )
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        tell(
            f"MLflow's experiment '{printable(found.name)}' had been deleted, and was restored: "
            "this study is in it"
        )
    if file:
        settle(file, root, found.name)
    return str(found.experiment_id)


def restore_runs(client: Any, experiment: str, study: str, tell: Callable[[str], None]) -> None:
    """Restore the deleted runs of the study of this identity: MLflow lets nothing be written to
    them.
    """
    from mlflow.entities import ViewType

    own = f"tags.`pipeline.id` LIKE '{study}/%'"
    deleted = (
        client.search_runs([experiment], own, ViewType.DELETED_ONLY, max_results=50000)
        if study
        else []
    )
    for run in deleted:
        client.restore_run(run.info.run_id)
    if deleted:
        tell(f"runs of this study that had been deleted in MLflow were restored: {len(deleted)}")


def log_dataset(client: Any, run_id: str, data: dict[str, Any]) -> None:
    """That the run was trained on the pictures that the ledger's `data` event tells of."""
    from mlflow.entities import Dataset, DatasetInput

    pictures = Dataset(data["title"], data["fingerprint"], "local", data["title"])
    client.log_inputs(run_id, datasets=[DatasetInput(pictures, [])])


def log_tags(client: Any, run_id: str, tags: dict[str, Any]) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, str(value)[:5000]) for key, value in tags.items()])


def log_files(client: Any, run_id: str, source: Path, folder: str | None = None) -> None:
    """A file, or what is in a folder, as artifacts of the run. Raises Withheld where the place that
    they go to does not take them.

    MLflow's client remembers the place of a run's artifacts for as long as the process lives, also
    where it has changed.
    """
    place = client.get_run(run_id).info.artifact_uri
    try:
        if place.startswith("file:"):
            from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

            receiver: Any = LocalArtifactRepository(place)
            (receiver.log_artifacts if source.is_dir() else receiver.log_artifact)(
                str(source), folder
            )
        else:
            (client.log_artifacts if source.is_dir() else client.log_artifact)(
                run_id, str(source), folder
            )
    except Exception as error:
        raise Withheld(place) from error


def names_of_files(client: Any, run_id: str) -> set[str]:
    """What lies beside each other at the top of a run's artifacts; raises Withheld."""
    try:
        return {file.path for file in client.list_artifacts(run_id)}
    except Exception as error:
        raise Withheld(client.get_run(run_id).info.artifact_uri) from error
