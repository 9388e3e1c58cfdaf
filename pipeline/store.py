"""The MLflow store: a client on it, and its making. Beside `tracking`, the only import of mlflow."""

import logging
import os
from pathlib import Path
from typing import Any


def connect(uri: str, store: Path, scratch: Path) -> Any:
    """An MlflowClient on `uri`; `store` is made first where `uri` names it and it is not there.

    `scratch` is a file of the caller's alone. The tables are made there and moved to their place whole: of a store half
    made, as a kill would leave it, MLflow makes nothing any more.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    import mlflow

    for name in ("alembic", "mlflow", "mlflow.store.db.utils"):  # mlflow sets levels of its own on import
        logging.getLogger(name).setLevel(logging.ERROR)
    if uri == f"sqlite:///{store}" and not store.exists():
        for old in scratch.parent.glob(f"{scratch.name}*"):
            old.unlink()
        mlflow.MlflowClient(f"sqlite:///{scratch}").search_experiments(max_results=1)
        try:
            os.link(scratch, store)
        except FileExistsError:
            pass  # another study was faster
        except OSError:  # a file system without links
            os.rename(scratch, store)
        scratch.unlink(missing_ok=True)
    return mlflow.MlflowClient(uri)
