"""The export command on studies that were really trained: files that load, agree with what was
judged, and lie to nobody.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from driver import Worker, drive, open_plan
from mlflow import MlflowClient
from pictures import hw3_folder, save
from PIL import Image
from segments import work
from studies import small_study
from test_contracts import every, narrow

from pipeline.analysis.arm_summary import summary
from pipeline.core import CORE_VERSION
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.checkpoints import BEST, epochs
from pipeline.core.finished.artifact import Artifact, load
from pipeline.core.finished.evidence import evidence_path
from pipeline.core.finished.evidence import read as read_evidence
from pipeline.core.models import MODELS
from pipeline.data.cache import Data, prepare
from pipeline.data.datasets import Folder
from pipeline.data.decode import read_picture
from pipeline.data.listing import Reading
from pipeline.data.splits import splits
from pipeline.engine.order import checkpoint_folder
from pipeline.engine.queue import Plan
from pipeline.errors import MachineError, UserError
from pipeline.export import files as handover
from pipeline.export import onnx
from pipeline.export.__main__ import main
from pipeline.export.delivery import replace_folder
from pipeline.export.predictions import form_of, ids, in_folder, natural, table, templates
from pipeline.export.selection import select
from pipeline.export.served import _load_pyfunc
from pipeline.machine import Resources
from pipeline.record import events
from pipeline.record.folders import study_folder
from pipeline.record.ledger import Ledger, read_events
from pipeline.record.mlflow_places import tracking_uri
from pipeline.record.record import Record
from pipeline.record.tracking import Tracker
from pipeline.session.resume import describe_data
from pipeline.study.designs import Arms
from pipeline.study.study import Study

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Trained:
    """A finished study on disk, and the flags that name it."""

    folder: Path
    flags: tuple[str, ...]
    record: Record
    data: Data

    def export(self, *more: object) -> int:
        return main([*self.flags, *map(str, more)])

    def predictions(self) -> list[tuple[str, str]]:
        with (self.folder / "export" / "predictions.csv").open(
            encoding="utf-8", newline=""
        ) as file:
            head, *rows = csv.reader(file)
        assert head == ["Id", "Category"]
        return [(name, category) for name, category in rows]


def trained(study: Study, root: Path, pictures: Path | None) -> Trained:
    """Train the study in this process: a session's ledger, real workers, real checkpoints."""
    mlruns, folder = root / "mlruns", study_folder(root / "mlruns", study, pictures)
    data = prepare(study.baseline.dataset, pictures, mlruns / "cache")
    ledger = Ledger(folder)
    record = Record.of([])
    ledger.listener = record.apply
    tree, facts = study.model_dump(mode="json"), describe_data(data)
    ledger.append(
        events.Study(
            id="feed", study=tree, data=facts, files={}, note="", core_version=CORE_VERSION
        )
    )
    ledger.append(
        events.Session(
            command="",
            versions={"torch": "2"},
            commit="c0ffee",
            machine={},
            workers=1,
            budget={},
        )
    )
    plan = Plan(
        study, ledger, record, core_version=CORE_VERSION, with_search=study.search.num_trials > 0
    )
    while (segment := plan.next()) is not None:
        outcome = work(
            segment.order(folder, data.path, Resources(1, 0.0)),
            lambda metrics, name=segment.name: plan.epoch(name, metrics),  # type: ignore[misc]
        )
        assert outcome.status == "reached", outcome
        plan.finish(segment.name, outcome)
    plan.close_search()
    ledger.close()
    (root / "study.json").write_text(json.dumps(tree))
    flags = ("--study", str(root / "study.json"), "--mlruns", str(mlruns))
    return Trained(
        folder, flags if pictures is None else (*flags, "--data", str(pictures)), record, data
    )


HOSTILE = '<b>=cmd|"|!A1 \x1b[31m`x`'


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """HW3's layout whose test pictures have no labels, two of them unreadable; one arm has a
    hostile name.
    """
    root = tmp_path_factory.mktemp("photos")
    pictures = hw3_folder(root / "food", counts=(12, 6, 0))
    for n in range(30):
        save(pictures / "evaluation" / f"{n:04d}.jpg", n % 3, 5000 + n)
    (pictures / "evaluation" / "0007.jpg").write_bytes(b"")
    (pictures / "classes.json").write_text(json.dumps(["bread", "=2+5", "<i>soup</i> | \\`"]))
    study = small_study(num_trials=0).override(
        {"baseline.dataset": Folder(size=16, max_unreadable=0.1), "baseline.optimizer.lr": 0.01}
    )
    arms = Arms(arms={"baseline": {}, HOSTILE: {"model.dropout": 0.2}})
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": arms})}
    )
    return trained(study, root, pictures)


@pytest.fixture(autouse=True)
def _own_process() -> Iterator[None]:
    """Workers and the command set their process up for themselves; other tests keep theirs."""
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Scans with labelled test pictures; models are judged in int8 and by views; two trials of a
    search.
    """
    final: dict[str, Any] = {
        "baseline.final.tta": 1,
        "baseline.final.compress.name": "int8_static",
        "baseline.optimizer.lr": 0.01,
    }
    final |= {"baseline.final.compress.num_calibration": 40}
    study = small_study(num_trials=2, num_rungs=2, epochs=6).override(final)
    arms = Arms(arms={"plain": {}, "augmentation": {"augment.strength": 1.0}})
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": arms})}
    )
    return trained(study, tmp_path_factory.mktemp("digits"), None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_record_gives_the_same_bytes_and_nothing_else_is_left(photos: Trained) -> None:
    assert photos.export() == 0
    first = contents(photos.folder / "export")
    assert first.keys() == {
        "model.safetensors",
        "config.json",
        "model.onnx",
        "README.md",
        "predictions.csv",
    }
    assert photos.export() == 0
    assert contents(photos.folder / "export") == first
    assert photos.export("--no-onnx") == 0
    assert contents(photos.folder / "export").keys() == first.keys() - {"model.onnx"}
    assert (
        "model.onnx"
        not in (photos.folder / "export" / "README.md")
        .read_text()
        .partition("## How to load it")[2]
    )
    assert [path.name for path in photos.folder.iterdir() if path.name.startswith(".")] == []


def test_predictions_cover_every_unlabeled_test_picture(
    photos: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert photos.export("--no-onnx") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "warning: 1 of 30 pictures cannot be read and is given the label '0', the most frequent in "
        "training, a guess: evaluation/0007.jpg (zero bytes)"
    ) in said
    assert (
        "predictions.csv: columns Id, Category; labels: the labels that the pictures have (0, 1, "
        "2); --names writes names"
    ) in said
    rows = photos.predictions()
    assert [name for name, _ in rows] == [f"{n:04d}" for n in range(30)]
    assert dict(rows)["0007"] == "0"
    readable = [(n, int(dict(rows)[f"{n:04d}"])) for n in range(30) if n != 7]
    artifact, model = load(
        str(photos.folder / "export" / "model.safetensors"), key="x", device=torch.device("cpu")
    )
    pixels = Pixels(artifact.mean, artifact.std, device=torch.device("cpu"))
    row = {name: number for number, name in enumerate(photos.data.files)}
    images = torch.from_numpy(
        np.stack([photos.data.images[row[f"evaluation/{n:04d}.jpg"]] for n, _ in readable])
    )
    assert model(pixels(images)).argmax(1).tolist() == [label for _, label in readable]
    assert photos.export("--no-onnx", "--names") == 0
    assert {name for _, name in photos.predictions()} <= {"bread", "'=2+5", "<i>soup</i> | \\`"}


def test_a_folder_of_any_pictures_is_predicted(photos: Trained, tmp_path: Path) -> None:
    save(tmp_path / "a" / "10.png", 0)
    save(tmp_path / "b" / "10.webp", 1)
    save(tmp_path / "2.jpg", 2)
    save(tmp_path / "=cmd.bmp", 2)
    (tmp_path / "3.gif").write_text("no picture")
    assert photos.export("--no-onnx", "--predict", tmp_path) == 0
    assert [name for name, _ in photos.predictions()] == [
        "2",
        "3",
        "'=cmd",
        "a/10.png",
        "b/10.webp",
    ]
    assert {category for _, category in photos.predictions()} <= {"0", "1", "2"}


def test_predictions_are_those_that_were_judged(digits: Trained, tmp_path: Path) -> None:
    run = digits.record.arms()["augmentation"][1]
    test = splits(digits.data, run.replicate, "resplit").test
    assert test is not None
    for place, index in enumerate(test.index):
        Image.fromarray(np.asarray(digits.data.images[index][0])).save(
            tmp_path / f"{place:05d}.png"
        )
    assert (
        digits.export("--no-onnx", "--arm", "augmentation", "--replicate", 2, "--predict", tmp_path)
        == 0
    )
    found = np.array([int(category) for _, category in digits.predictions()])
    assert (found == digits.data.labels[test.index]).mean() == pytest.approx(run.test_acc, abs=1e-9)
    evidence = read_evidence(evidence_path(digits.folder, run.key))
    assert evidence is not None
    assert found.tolist() == evidence.judged.pred.tolist()
    assert run.final["plain_test_acc"] != run.test_acc, (
        "the views must matter, or this shows nothing"
    )
    text = (digits.folder / "export" / "README.md").read_text()
    assert "the files hold the weights as trained" in text
    assert f"test_acc {run.final['plain_test_acc']:.4f}" in text


def test_the_card_leads_with_the_arms_mean_and_its_code_runs(
    digits: Trained, tmp_path: Path
) -> None:
    assert digits.export("--arm", "augmentation", "--to", tmp_path / "out") == 0
    text = (tmp_path / "out" / "README.md").read_text()
    accs = [run.test_acc for run in digits.record.arms()["augmentation"]]
    best = max(digits.record.arms()["augmentation"], key=lambda run: run.metric("val_acc"))
    # of two runs no spread is claimed
    expected = f"| test_acc | {np.mean(accs):.4f} (2) | {best.test_acc:.4f} |"
    assert expected in text
    assert "own validation numbers are optimistic" in text
    assert digits.record.data["fingerprint"] in text
    Image.fromarray(np.asarray(digits.data.images[5][0])).resize((40, 40)).save(
        tmp_path / "out" / "picture.jpg"
    )
    said = []
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path / "out",
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    assert len(said) == 2
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    assert about["classes"][int(said[0])] == said[1]
    assert about["run"] == {
        "key": best.key,
        "kind": "arm",
        "arm": "augmentation",
        "replicate": best.replicate,
        "best_epoch": best.best_epoch,
    }


IN_A_FRESH_PROCESS = """
import json, sys
from pathlib import Path
import mlflow, pandas as pd
name, folder = sys.argv[1:]
model = mlflow.pyfunc.load_model(name)
files = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
found = model.predict(pd.DataFrame({"picture": files}))
import pipeline
example = model.predict(model.input_example)
print(json.dumps([found.to_numpy().tolist(), list(found), pipeline.__file__, example.shape]))
"""


@pytest.fixture
def sent(photos: Trained, tmp_path: Path) -> Trained:
    """The study at a place of its own, and in the MLflow store there."""
    mlruns = photos.folder.parent
    home = Path(shutil.copytree(mlruns, tmp_path / "mlruns"))
    folder = home / photos.folder.name
    with Ledger(folder) as ledger:
        tracker = Tracker(home, folder, ledger.events, ledger.append, summary)
        ledger.listener = tracker.put
        assert tracker.close() == ""
    flags = tuple(str(home) if flag == str(mlruns) else flag for flag in photos.flags)
    return replace(photos, folder=folder, flags=flags)


def test_a_registered_model_answers_in_another_process_as_the_exported_one(
    sent: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sent.export("--no-onnx", "--arm", "baseline", "--register", "food") == 0
    said = capsys.readouterr().out
    assert "models:/food/1 takes a column 'picture'" in " ".join(said.split())
    assert f"mlflow.set_tracking_uri('{tracking_uri(sent.folder.parent)}')" in said
    pictures, home = tmp_path / "pictures", sent.folder.parent
    for number in range(3):
        save(pictures / f"{number}.{('jpg', 'png', 'webp')[number]}", number, 77 + number)
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, "models:/food/1", str(pictures)],
        cwd=tmp_path,
        env={"MLFLOW_TRACKING_URI": tracking_uri(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    probabilities, columns, place, example = json.loads(done.stdout)
    device = torch.device("cpu")
    exported = sent.folder / "export"
    artifact, model = load(str(exported / "model.safetensors"), key="x", device=device)
    images = [read_picture(file, 16).pixels for file in sorted(pictures.iterdir())]
    pixels = Pixels(artifact.mean, artifact.std, device=device)
    with torch.inference_mode():
        own = model(pixels(torch.from_numpy(np.stack(images)))).softmax(1)
    assert np.array(probabilities) == pytest.approx(own.numpy(), abs=1e-6)
    assert columns == json.loads((exported / "config.json").read_text())["classes"]
    assert place.startswith(str(home)), "the code that is loaded is that of the model"
    assert example == [1, 3]
    client = MlflowClient(tracking_uri(home))
    version = client.get_model_version("food", "1")
    runs = sent.record.arms()["baseline"]
    best = max(runs, key=lambda run: run.metric("val_acc"))
    mean = np.mean([run.metric("val_acc") for run in runs])
    assert version.tags == {
        **{"study": "small", "arm": "baseline", "replicate": str(best.replicate)},
        **{"run": best.key, "git.commit": "c0ffee", "val_acc": f"{best.metric('val_acc'):.6g}"},
        **{"arm.val_acc_mean": f"{mean:.6g}", "arm.val_acc_n": "2"},  # of two no interval
    }
    run = client.get_run(version.run_id)
    assert run.data.tags["pipeline.id"].endswith(f"/{best.key}")
    assert run.info.status == "FINISHED"


def test_an_ensemble_is_registered_as_the_mean_of_its_members(
    sent: Trained, tmp_path: Path
) -> None:
    for version in ("1", "2"):
        assert sent.export("--no-onnx", "--ensemble", "--register", "food") == 0
        found = MlflowClient(tracking_uri(sent.folder.parent)).get_model_version("food", version)
        assert found.tags["replicate"] == "1, 2"
    save(tmp_path / "one.png", 1)
    asked = pd.DataFrame({"picture": [(tmp_path / "one.png").read_bytes()]})
    each = []
    for number in (1, 2):
        folder = tmp_path / f"member-{number}"
        folder.mkdir()
        for name in ("config.json", f"model-{number}.safetensors"):
            shutil.copy(sent.folder / "export" / name, folder)
        each.append(_load_pyfunc(str(folder)).predict(asked).to_numpy())
    own = _load_pyfunc(str(sent.folder / "export"))
    assert own.predict(asked).to_numpy() == pytest.approx(np.mean(each, axis=0), abs=1e-6)
    assert own.predict(asked.iloc[:0]).shape == (0, 3)
    with pytest.raises(UserError, match="picture 0: cannot be read"):
        own.predict(pd.DataFrame({"picture": [b"no picture"]}))


def test_a_model_is_not_registered_where_its_study_is_not(
    photos: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(kind: type[Exception], name: str = "food") -> str:
        with pytest.raises(kind) as error:
            photos.export("--no-onnx", "--to", tmp_path / "out", "--register", name)
        assert not (tmp_path / "out").exists()
        assert not list(photos.folder.parent.glob("mlflow.db*"))
        return str(error.value)

    assert "does not have the runs of this study: give the study's" in refused(UserError)
    for name in ("a/b", "a:b", " ", "x" * 257):
        assert "--register: got " in refused(UserError, name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = refused(MachineError)
    assert told.startswith("--register: MLflow at http://127.0.0.1:9: ")
    assert told.endswith("nothing was registered")
    assert "s3cret" not in told
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    assert "names a folder of files" in refused(MachineError)


def test_the_model_file_is_the_runs_own(photos: Trained) -> None:
    assert photos.export("--no-onnx", "--arm", HOSTILE, "--replicate", 2) == 0
    run = photos.record.arms()[HOSTILE][1]
    own = epochs(checkpoint_folder(photos.folder, run.key))[-1] / BEST
    assert (photos.folder / "export" / "model.safetensors").read_bytes() == own.read_bytes()


def test_hostile_names_are_inert(photos: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert photos.export("--no-onnx", "--arm", HOSTILE) == 0
    assert "\x1b" not in capsys.readouterr().out
    text = (photos.folder / "export" / "README.md").read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert "\x1b" not in text
    assert not re.search(r"<[a-z/]", prose)
    assert r"&lt;i&gt;soup&lt;/i&gt; \| \\\`" in prose
    table_rows = [line for line in prose.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table_rows} == {4}


def test_ids_are_unique_natural_and_no_formulas() -> None:
    files = [
        "b/1.jpg",
        "a/1.png",
        "x/10.jpg",
        "x/9.jpg",
        "-5.jpg",
        "-cmd.jpg",
        "tab\tnew\nline.jpg",
        "@x.jpg",
    ]
    text = table(form_of(files, None, ())[0], dict.fromkeys(files, "3"), {}, ())
    lines = list(csv.reader(text.splitlines()))
    assert [line[0] for line in lines] == [
        *("Id", "9", "10", "'-cmd", "'@x", "-5", "a/1.png", "b/1.jpg", r"tab\tnew\nline"),
    ]
    assert sorted(["10", "9", "007", "7a"], key=natural) == ["007", "7a", "9", "10"]
    with pytest.raises(UserError, match="the same Id"):
        ids(["a\tb.jpg", "a\\tb.jpg", "a\tb.png", "a\\tb.png"])


@pytest.mark.parametrize("side", [20, 40])
def test_an_onnx_file_brings_its_pictures_to_the_side_that_was_trained_at(side: int) -> None:
    config = narrow(MODELS[0]).override({"input_size": side})
    own = Artifact(config, 3, 32, 5, (0.4,) * 3, (0.2,) * 3)
    graph = onnx.Graph(own, own.build().eval())
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    assert onnx.compare(onnx.to_onnx(own, graph, ["a", "b", "c", "d", "e"]), graph, images).holds


@every(MODELS)
def test_every_network_answers_alike_in_onnx(member: Any) -> None:
    config, channels, size = narrow(member), 3, 32
    own = Artifact(config, channels, size, 5, (0.4,) * channels, (0.2,) * channels)
    torch.manual_seed(3)
    model = own.build().eval()
    graph = onnx.Graph(own, model)
    content = onnx.to_onnx(own, graph, ["a", "b", "c", "d", "é"])
    images = np.random.default_rng(0).integers(0, 256, (3, channels, size, size), dtype=np.uint8)
    found = onnx.compare(content, graph, images)
    assert found.holds, found
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"])[4] == "é"
    for num in (1, 7):
        (logits,) = session.run(None, {"pixels": np.zeros((num, channels, size, size), np.uint8)})
        assert logits.shape == (num, 5)


def test_an_onnx_file_that_disagrees_is_not_written(
    photos: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = onnx.to_onnx

    def wrong(own: Artifact, graph: onnx.Graph, classes: Any) -> bytes:
        with torch.no_grad():
            for parameter in graph.model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        content = right(own, graph, classes)
        graph.model.load_state_dict(
            load(str(model_file), key="x", device=torch.device("cpu"))[1].state_dict()
        )
        return content

    run = select(photos.record).run
    model_file = epochs(checkpoint_folder(photos.folder, run.key))[-1] / BEST
    monkeypatch.setattr(handover, "to_onnx", wrong)
    assert photos.export() == 3
    assert "warning: model.onnx is not written: on 18 pictures" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not (photos.folder / "export" / "model.onnx").exists()
    assert (photos.folder / "export" / "model.safetensors").exists()


def test_an_operation_without_a_counterpart_is_said() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(x.mean(1)).real

    own = Artifact(narrow(MODELS[0]), 1, 8, 8, (0.4,), (0.2,))
    with pytest.raises(onnx.Unexportable, match="linalg_eigvals"):
        onnx.to_onnx(own, onnx.Graph(own, Odd()), ["x"] * 8)


def test_missing_packages_are_named(photos: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match=r"needs no_such_package.*--no-onnx"):
        photos.export()


BAD = {
    "unknown arm": (("--arm", "basline"), "did you mean 'baseline'"),
    "replicate of no arm": (("--replicate", 1), "--replicate: of which arm"),
    "missing replicate": (
        ("--arm", "baseline", "--replicate", 9),
        "--replicate: not complete; got 9; allowed: 1, 2",
    ),
    "no trials": (("--trial", 0), "no trial is recorded"),
    "odd trial": (("--trial", "²"), "no such trial"),
    "no best trial": (("--trial", "best"), "nothing to export"),
    "missing pictures": (("--predict", "/no/such/folder"), "no such folder"),
    "no pictures": (("--predict", ROOT / "pipeline" / "studies"), "no pictures"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_nothing_changes(photos: Trained, name: str) -> None:
    words, message = BAD[name]
    assert photos.export("--no-onnx") == 0
    before = contents(photos.folder / "export")
    with pytest.raises(UserError, match=re.escape(message)):
        photos.export("--no-onnx", *words)
    assert contents(photos.folder / "export") == before


def test_a_folder_with_other_files_is_not_replaced(photos: Trained, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds files that no export wrote \(thesis.tex\)"):
        photos.export("--to", tmp_path)
    (tmp_path / "thesis.tex").rename(tmp_path / "README.md")
    with pytest.raises(UserError, match=r"README\.md"):
        photos.export("--to", tmp_path)
    with pytest.raises(UserError, match="--to"):
        photos.export("--to", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == "years of work"


def test_names_without_predictions_are_refused(digits: Trained) -> None:
    for flag in ("--names", "--probabilities"):
        with pytest.raises(UserError, match=f"{flag}: no predictions are made"):
            digits.export("--no-onnx", flag)


def test_a_labelled_test_part_says_why_there_are_no_predictions_and_how_to_get_some(
    digits: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert digits.export("--no-onnx", "--to", tmp_path / "out") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "no predictions.csv: every test picture has a label; to classify other pictures, add "
        "--predict FOLDER"
    ) in said


def test_a_missing_or_damaged_model_file_says_how_to_get_it(
    digits: Trained, tmp_path: Path
) -> None:
    run = digits.record.trials()[1]
    place = epochs(checkpoint_folder(digits.folder, run.key))[-1]
    kept = shutil.copytree(place, tmp_path / "kept")
    (place / BEST).write_bytes((place / BEST).read_bytes()[:-1] + b"?")
    with pytest.raises(
        UserError,
        match=r"trial 1 .*no sound model file.*SHA-256 differs.*--fresh.*--arm 'augmentation'",
    ):
        digits.export("--trial", 1)
    assert place.is_dir(), "looking must not remove it"
    shutil.rmtree(place)
    with pytest.raises(UserError, match="not there"):
        digits.export("--trial", 1)
    record = Record.of(
        read_events(digits.folder)
    )  # a trial of an arm's search has the number of another one of the study's
    record.runs["of-an-arm"] = replace(
        record.runs[run.key], key="of-an-arm", number=77, search="arm:both", arm="both"
    )
    shutil.copytree(kept, digits.folder / "checkpoints" / "of-an-arm" / place.name)
    with pytest.raises(UserError, match=r"there are files of: .*--trial 0(?!.*--trial (1|77)\b)"):
        handover.Handover(record, select(record, trial="1"), digits.folder)
    shutil.rmtree(digits.folder / "checkpoints" / "of-an-arm")
    shutil.copytree(kept, place)
    assert digits.export("--trial", 1, "--no-onnx") == 0
    text = (digits.folder / "export" / "README.md").read_text()
    assert "trial 1 of the search" in text
    assert "A trial of a search has no replicates" in text


def test_other_pictures_are_refused(photos: Trained, tmp_path: Path) -> None:
    other = shutil.copytree(Path(photos.flags[-1]), tmp_path / "food")
    save(other / "training" / "0_3.jpg", 1, 77)
    with pytest.raises(UserError, match="not the pictures of the study"):
        main([*photos.flags[:-1], str(other)])


def test_a_full_disk_leaves_the_last_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "export"
    replace_folder(target, {"a": b"1", "b": b"2"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(MachineError, match="No space left"):
            replace_folder(target, {"a": b"3"})
    assert contents(target) == {"a": b"1", "b": b"2"}
    moves = []

    def stopped(source: Path, place: Path) -> None:
        moves.append(source)
        if len(moves) == 2:
            raise KeyboardInterrupt
        Path(source).rename(place)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(target, {"a": b"4"})
    assert contents(target) == {"a": b"1", "b": b"2"}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_the_best_arm_is_by_mean_and_an_arm_with_a_hole_does_not_win(tmp_path: Path) -> None:
    study = small_study(num_trials=0, replicates=3, epochs=2)
    reached = {
        (0.0, 0.0): (0.5, 0.9, 0.5),
        (0.25, 0.0): (0.7, 0.7, 0.71),
        (0.0, 1.0): (0.1, 0.1, 0.1),
    }

    def acc(config: Any, replicate: int) -> float:
        return reached.get((config.model.dropout, config.augment.strength), (0.99,) * 3)[
            replicate - 1
        ]

    def hole(config: Any) -> bool:
        return (config.model.dropout, config.augment.strength) == (0.25, 1.0)

    plan = open_plan(tmp_path, study, with_search=False)
    record = drive(plan, Worker(acc=acc, diverges=hole))
    found = select(record)
    assert (found.run.arm, found.run.replicate, len(found.peers)) == ("dropout", 3, 3)
    with pytest.raises(UserError, match="no complete replicate"):
        select(record, arm="dropout + augmentation")


def of_two_arms(dataset: dict[str, Any]) -> Study:
    """A study that is trained in a second or two."""
    study = small_study(num_trials=0).override(
        {"baseline.dataset": dataset, "baseline.optimizer.lr": 0.01}
    )
    arms = Arms(arms={"baseline": {}, "dropout": {"model.dropout": 0.2}})
    return study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": arms, "replicates": 1})}
    )


def lines_of(study: Trained) -> list[list[str]]:
    with (study.folder / "export" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def holes(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """HW3's layout with the labels 1, 2, 5 and 7; test pictures without labels, one of a kind that
    nothing reads.
    """
    root = tmp_path_factory.mktemp("holes")
    pictures = hw3_folder(root / "food", (1, 2, 5, 7), counts=(8, 4, 0))
    for n in range(12):
        save(pictures / "evaluation" / f"{n:04d}.jpg", (1, 2, 5, 7)[n % 4], 5000 + n)
    (pictures / "evaluation" / "0012.psd").write_bytes(b"8BPS")
    return trained(of_two_arms({"name": "folder", "size": 16}), root, pictures)


def test_labels_with_gaps_are_written_as_they_are(
    holes: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert holes.export("--no-onnx", "--probabilities") == 0
    head, *rows = lines_of(holes)
    assert head == ["Id", "Category", *(f"probability {label}" for label in (1, 2, 5, 7))]
    assert [row[0] for row in rows] == [f"{n:04d}" for n in range(13)]
    for row in rows[:12]:
        probabilities = [float(cell) for cell in row[2:]]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row[1] == ("1", "2", "5", "7")[int(np.argmax(probabilities))]
    assert rows[12] == ["0012", "1", "", "", "", ""]
    said = " ".join(capsys.readouterr().out.split())
    assert "labels: the names of the classes (1, 2, 5, 7)" in said
    assert "1 of 13 pictures cannot be read and is given the label '1'" in said
    assert "evaluation/0012.psd (.psd is not read)" in said


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """As in "classify leaves": tables of image and label, the test table in an order of its own."""
    root = tmp_path_factory.mktemp("leaves")
    pictures = root / "leaves"
    names = ("acer", "betula", "=cornus")
    rows = [f"images/{n}.jpg,{names[n % 3]}" for n in range(36)]
    for n in range(44):
        save(pictures / "images" / f"{n}.jpg", n % 3, n)
    (pictures / "train.csv").write_text("\n".join(["image,label", *rows]))
    (pictures / "test.csv").write_text(
        "\n".join(["image", *(f"images/{n}.jpg" for n in range(43, 35, -1))])
    )
    return trained(of_two_arms({"name": "csv", "size": 16}), root, pictures)


def test_a_table_gives_the_names_of_columns_the_ids_and_their_order(listed: Trained) -> None:
    assert listed.export("--no-onnx") == 0
    head, *rows = lines_of(listed)
    assert head == ["image", "label"]
    assert [row[0] for row in rows] == [f"images/{n}.jpg" for n in range(43, 35, -1)]
    assert {row[1] for row in rows} <= {"acer", "betula", "'=cornus"}


def test_a_sample_of_a_submission_is_followed_before_all_else(
    listed: Trained, tmp_path: Path
) -> None:
    for n in (3, 1, 2):
        save(tmp_path / "new" / f"{n}.png", n % 3, n)
    (tmp_path / "sample_submission.csv").write_text("id,species\n2,acer\n3,acer\n1,acer\n")
    assert listed.export("--no-onnx", "--predict", tmp_path / "new") == 0
    head, *rows = lines_of(listed)
    assert head == ["id", "species"]
    assert [row[0] for row in rows] == ["2", "3", "1"]


def test_a_sample_of_other_pictures_is_not_followed_and_one_of_fewer_leaves_none_out(
    tmp_path: Path,
) -> None:
    sample = tmp_path / "sampleSubmission.csv"
    sample.write_text("Id,Category\n1,0\n2,0\n9,0\n")
    assert templates([tmp_path], tmp_path / "test.csv") == [sample]
    form, notes = form_of(["a/2.jpg", "a/1.jpg", "a/3.jpg"], ("image", "label"), [sample])
    assert (list(form.ids.values()), form.columns) == (["1", "2", "3"], ("image", "label"))
    assert notes == [
        "sampleSubmission.csv lists 1 picture that is not there: its form is not followed"
    ]
    sample.write_text("Id,Category\n2,0\n1,0\n")
    form, notes = form_of(["a/2.jpg", "a/1.jpg", "a/3.jpg"], ("image", "label"), [sample])
    assert (list(form.ids.values()), form.columns) == (["2", "1", "3"], ("Id", "Category"))
    assert notes == ["1 picture is not listed in sampleSubmission.csv and stands at the end"]


def test_no_picture_of_a_folder_is_missing_whatever_its_ending(
    photos: Trained, tmp_path: Path
) -> None:
    save(tmp_path / "1.jpg")
    save(tmp_path / "2.png").rename(tmp_path / "2")
    save(tmp_path / "3.png").rename(tmp_path / "3.jpg_large")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "4.HEIC", "HEIF")
    for name in ("5.psd", "6.CR2", "7.jxl", "8.jpeg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    wanted = in_folder(str(tmp_path), photos.data, Folder(size=16))
    assert wanted.files == ("1.jpg", "2", "3.jpg_large", "4.HEIC")
    assert sorted(wanted.unreadable) == ["5.psd", "6.CR2", "7.jxl", "8.jpeg"]


def test_pictures_to_classify_get_the_scale_of_the_set(photos: Trained, tmp_path: Path) -> None:
    """Of 12 bits: dark by themselves, white at 4095 as those that were learnt from."""
    Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(tmp_path / "white.png")
    scaled = replace(photos.data, reading=Reading(top=4095))
    assert in_folder(str(tmp_path), scaled, Folder(size=16)).split.images.min() == 255
    assert in_folder(str(tmp_path), photos.data, Folder(size=16)).split.images.max() == 16


def test_a_choice_between_equals_is_called_so(tmp_path: Path) -> None:
    study = small_study(num_trials=0, replicates=3, epochs=2)
    record = drive(open_plan(tmp_path, study, with_search=False), Worker(acc=lambda *_: 0.1))
    assert select(record).why == (
        "of 4 arms with 3 complete replicates each this one has the highest mean validation "
        "accuracy (as 3 more; it is the first of them); of its 3 replicates this one has the "
        "highest validation accuracy (as 2 more; it is the first of them)"
    )
