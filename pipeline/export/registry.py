"""MLflow's model registry: what was exported, registered under a name with what it takes, what it
gives, and where it came from.
"""

import io
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import pipeline
from pipeline.analysis.arm_summary import summary
from pipeline.core.finished.artifact import Artifact
from pipeline.errors import MachineError, UserError, printable
from pipeline.export.delivery import PREDICTIONS
from pipeline.export.served import PICTURE
from pipeline.own.parts import own_parts
from pipeline.record.mlflow_places import settle, sqlite_file, tracking_uri
from pipeline.record.mlflow_store import connect
from pipeline.record.mlflow_trouble import explain, redacted, refused
from pipeline.record.record import Record, Run

LOADED = "pipeline.export.served"
NEEDED = ("mlflow", "numpy", "pandas", "pillow", "pydantic", "safetensors", "torch", "torchvision")


def require_name(name: str) -> None:
    """Raise UserError where MLflow has no such names."""
    if not name.strip() or set("/:") & set(name) or not name.isprintable() or len(name) > 256:
        raise UserError(
            f"--register: got {printable(repr(name), 100)}; a name has at most 256 characters, no "
            "/ and no :"
        )


class Registry:
    """The one that a study's runs are in. Raises MachineError where it is not to be reached,
    UserError where it does not have the study's runs.
    """

    def __init__(self, root: Path, folder: Path, record: Record, runs: tuple[Run, ...]) -> None:
        self.uri, self.record, self.runs = tracking_uri(root), record, runs
        self.shown = redacted(self.uri)
        file = sqlite_file(self.uri)
        if wrong := refused(self.uri):
            raise MachineError(f"--register: {wrong.what}; {wrong.way}; nothing was registered")
        if file is not None and not file.exists():
            raise self._unknown()
        with self._told():
            self._client = connect(self.uri, root.resolve(), folder / "mlflow.new")
            self._client.search_registered_models(max_results=1)
            if file is not None:
                settle(file, root.resolve())
            self._run = self._found(folder.name)
        if self._run is None:
            raise self._unknown()

    def register(self, name: str, files: Mapping[str, bytes], artifact: Artifact) -> str:
        """Log the files as a model of the run and register it; what to say of it. Nothing of it
        stays where that fails.
        """
        with tempfile.TemporaryDirectory(prefix="pipeline-") as place, self._told():
            model = _saved(Path(place), files, artifact, self.record)
            info = self._run.info
            logged = self._client.create_logged_model(
                info.experiment_id, name="model", source_run_id=info.run_id, model_type="pyfunc"
            )
            try:
                self._client.log_model_artifacts(logged.model_id, str(model))
                self._client.finalize_logged_model(logged.model_id, "READY")
                version = self._version(name, logged)
            except BaseException:
                self._client.delete_logged_model(logged.model_id)
                raise
        return (
            f"registered in MLflow at {self.shown}: models:/{name}/{version} takes a column "
            f"'{PICTURE}' of the bytes of picture files and gives the probability of each class\n"
            "to load it in Python:\n"
            f"  mlflow.set_tracking_uri({self.shown!r})\n"
            f"  mlflow.pyfunc.load_model('models:/{name}/{version}')"
        )

    def _version(self, name: str, logged: Any) -> str:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = self._client.create_model_version(
            name,
            logged.artifact_location,
            run_id=self._run.info.run_id,
            tags=tags(self.record, self.runs),
            model_id=logged.model_id,
        )
        return str(made.version)

    def _found(self, folder: str) -> Any:
        """The first run as this MLflow has it; None where it has none."""
        from mlflow.exceptions import MlflowException

        key = self.runs[0].key
        if known := self.record.mlflow_ids.get(f"{self.shown}|{key}"):
            try:
                return self._client.get_run(known)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        name = self.record.about.experiment or folder
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return None
        own = f"tags.`pipeline.id` = '{self.record.header.id}/{key}'"
        found = self._client.search_runs([experiment.experiment_id], own, max_results=1)
        return found[0] if found else None

    def _unknown(self) -> UserError:
        return UserError(
            f"--register: MLflow at {self.shown} does not have the runs of this study: give the "
            "study's command once more with the same MLFLOW_TRACKING_URI, which sends them"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What MLflow raises in the block, in words."""
        try:
            yield
        except Exception as error:
            trouble = explain(error, self.uri)
            way = f"; {trouble.way}" if trouble.way else ""
            raise MachineError(
                f"--register: MLflow at {self.shown}: {trouble.what}{way}; nothing was registered"
            ) from error


def tags(record: Record, runs: tuple[Run, ...]) -> dict[str, str]:
    """Where a model comes from, and how good runs such as it are on validation: the mean of the
    arm's replicates with its 95 % interval, where there are enough of them.
    """
    first = runs[0]
    session = record.sessions[-1] if record.sessions else None
    found = record.about.mlflow_tags | {"study": record.study.name, "run": first.key}
    found |= {"git.commit": session.commit if session and session.commit else "unknown"}
    if first.kind == "trial":
        return found | {"trial": str(first.number), **_value(first)}
    found |= {
        "arm": printable(first.arm, 500),
        "replicate": ", ".join(str(run.replicate) for run in runs),
    }
    found |= _value(first) if len(runs) == 1 else {}
    peers = [run for run in record.arms().get(first.arm, ()) if run.status == "complete"]
    values = [value for run in peers if (value := run.metric(first.selects)) is not None]
    facts = summary(first.selects, values, record.study) if values else {}
    return found | {f"arm.{name}": f"{value:.6g}" for name, value in facts.items()}


def _value(run: Run) -> dict[str, str]:
    value = run.metric(run.selects)
    return {} if value is None else {run.selects: f"{value:.6g}"}


def _saved(place: Path, files: Mapping[str, bytes], artifact: Artifact, record: Record) -> Path:
    """A model as MLflow keeps them: the exported files and the code that answers with them."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    data = place / "export"
    data.mkdir()
    for name, content in files.items():
        if name != PREDICTIONS:
            (data / name).write_bytes(content)
    classes = [printable(name, 200) for name in record.data["classes"]]
    signature = ModelSignature(
        Schema([ColSpec("binary", PICTURE)]), Schema([ColSpec("double", name) for name in classes])
    )
    mlflow.pyfunc.save_model(
        str(place / "model"),
        loader_module=LOADED,
        data_path=str(data),
        code_paths=[str(path) for path in _code(artifact)],
        signature=signature,
        input_example=pd.DataFrame({PICTURE: [_example(artifact)]}),
        pip_requirements=list(_versions()),
    )
    return place / "model"


def _example(artifact: Artifact) -> bytes:
    """A picture that nobody took: a ramp, as PNG."""
    side = np.arange(artifact.size, dtype=np.float32) * (255 / max(artifact.size - 1, 1))
    ramp = np.add.outer(side, side)[..., None] / 2
    pixels = np.repeat(ramp, artifact.channels, axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def _code(artifact: Artifact) -> list[Path]:
    """This package, and the files of parts that are the user's own."""
    found = dict.fromkeys([Path(pipeline.__file__).parent])
    for path, part in own_parts(artifact.config):
        if path == "dataset":
            continue
        top = type(part).__module__.partition(".")[0]
        file = getattr(sys.modules.get(top), "__file__", None)
        if file and top != "pipeline":
            own = Path(file)
            found[own.parent if own.name == "__init__.py" else own] = None
    return list(found)


def _versions() -> Iterator[str]:
    from importlib.metadata import version

    for name in NEEDED:
        yield f"{name}=={version(name).partition('+')[0]}"
