"""Where the MLflow store of an mlruns folder and its artifacts are: their addresses, also after the
folder was moved.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlparse
from urllib.request import url2pathname

FILE = "mlflow.db"


def store_uri(file: Path) -> str:
    """The address of a store's file for MLflow and SQLAlchemy.

    MLflow makes the folder that a plain `sqlite:///` address names, undecoded: where `%` or `?` has
    to be encoded, that would be another folder. An address that names the driver it leaves alone.
    """
    path = str(file)
    return (
        f"sqlite+pysqlite:///{quote(os.fsencode(path))}"
        if set("%?") & set(path)
        else f"sqlite:///{path}"
    )


def place_of(root: Path, name: str) -> str:
    """Where the artifacts of the experiment `name` of a store in `root` lie, as an address."""
    return (root / "artifacts" / name).as_uri()


def settle(store: Path, root: Path, own: str = "") -> None:
    """Let the experiments of the sqlite file `store` whose artifacts lie in `root` say so.

    MLflow keeps the absolute places of artifacts. In an mlruns folder that was moved or copied they
    are those of before, and MLflow would make that old folder again and write there. An experiment
    follows if it is ours, by its place, and its artifacts are in `root`, or no longer where it
    says, or it is the one called `own`.
    """
    with closing(sqlite3.connect(store)) as database, database:
        rows = database.execute(
            "SELECT experiment_id, name, artifact_location FROM experiments"
        ).fetchall()
        for number, name, location in rows:
            old = _path(location)
            if old is None or old.parent.name != "artifacts" or old.parent.parent == root:
                continue
            new = root / "artifacts" / old.name
            ours = (
                old.name in (name, str(number))
                or database.execute(
                    "SELECT 1 FROM tags JOIN runs USING (run_uuid) WHERE experiment_id = ? AND key "
                    "= 'pipeline.id'",
                    (number,),
                ).fetchone()
            )
            if ours and (name == own or new.is_dir() or not old.exists()):
                _move(database, number, old, new)


def _move(database: sqlite3.Connection, experiment: int, old: Path, new: Path) -> None:
    database.execute(
        "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
        (new.as_uri(), experiment),
    )
    for table, key, column in (
        ("runs", "run_uuid", "artifact_uri"),
        ("logged_models", "model_id", "artifact_location"),
    ):
        rows = database.execute(
            f"SELECT {key}, {column} FROM {table} WHERE experiment_id = ?", (experiment,)
        ).fetchall()
        for identity, location in rows:
            path = _path(location)
            if path is not None and path.is_relative_to(old):
                place = (new / path.relative_to(old)).as_uri()
                database.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (place, identity)
                )


def _path(location: str | None) -> Path | None:
    """The path of an address of files."""
    return (
        Path(url2pathname(urlparse(location).path))
        if location and location.startswith("file:///")
        else None
    )


def sqlite_file(uri: str) -> Path | None:
    """The file that a sqlite address names; None for any other address."""
    scheme, mark, path = uri.partition(":///")
    return (
        Path(unquote(path.partition("?")[0]))
        if mark and scheme in ("sqlite", "sqlite+pysqlite")
        else None
    )


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI` where it is set, else the sqlite store under `root` (absolute, whatever
    the working folder).
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or store_uri(root.resolve() / FILE)
