"""Ensembles of really trained replicates: what is handed on is the mean of its members, and what
its card says can be counted again.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from pictures import hw3_folder, save
from PIL import Image
from safetensors.torch import load_file
from studies import small_study
from test_export import Trained, contents, of_two_arms, trained

from pipeline.analysis.confusion import wilson
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.checkpoints import BEST, epochs
from pipeline.core.config import TrainConfig
from pipeline.core.finished.artifact import load
from pipeline.core.finished.evidence import evidence_path
from pipeline.core.finished.evidence import read as read_evidence
from pipeline.core.metrics import MacroF1
from pipeline.data.splits import splits
from pipeline.engine.order import checkpoint_folder
from pipeline.errors import UserError
from pipeline.export.caveats import of_members
from pipeline.export.ensemble import Ensemble
from pipeline.export.measured import MIN_DIFFERENT, gain_interval, measure
from pipeline.export.selection import members, select
from pipeline.record import events
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.study.designs import Arms
from tests.records import Scribe, make_study

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_process() -> Any:
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Labelled test pictures, three replicates; another arm is judged in int8 and by views."""
    arms = Arms(
        arms={
            "plain": {},
            "changed": {
                "augment.strength": 1.0,
                "final.tta": 1,
                "final.compress.name": "int8_static",
                "final.compress.num_calibration": 40,
            },
        }
    )
    study = small_study(num_trials=0, replicates=3, epochs=4).override(
        {"baseline.optimizer.lr": 0.01}
    )
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": arms})}
    )
    return trained(study, tmp_path_factory.mktemp("digits"), None)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Test pictures without labels, one of them unreadable; two replicates."""
    root = tmp_path_factory.mktemp("photos")
    pictures = hw3_folder(root / "food", counts=(8, 4, 0))
    for n in range(12):
        save(pictures / "evaluation" / f"{n:04d}.jpg", n % 3, 5000 + n)
    (pictures / "evaluation" / "0007.jpg").write_bytes(b"")
    study = of_two_arms({"name": "folder", "size": 16, "max_unreadable": 0.1})
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"replicates": 2})}
    )
    return trained(study, root, pictures)


def own_probabilities(study: Trained, arm: str, images: np.ndarray[Any, Any]) -> list[torch.Tensor]:
    """Of each replicate, from its own checkpoint, by no code of the export."""
    found = []
    for run in study.record.arms()[arm]:
        path = epochs(checkpoint_folder(study.folder, run.key))[-1] / BEST
        artifact, model = load(str(path), key="x", device=CPU)
        pixels = Pixels(artifact.mean, artifact.std, device=CPU)
        with torch.inference_mode():
            found.append(model(pixels(torch.from_numpy(images))).softmax(1))
    return found


def test_images(study: Trained) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    test = splits(study.data, 1, "resplit").test
    assert test is not None
    return np.asarray(test.images[test.index]), test.labels[test.index]


test_images.__test__ = False  # type: ignore[attr-defined]


def rows_of(study: Trained) -> list[list[str]]:
    path = study.folder / "export" / "predictions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_predictions_are_the_mean_of_the_members_probabilities(
    photos: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert photos.export("--no-onnx", "--ensemble", "--arm", "dropout", "--probabilities") == 0
    head, *rows = rows_of(photos)
    assert head[:2] == ["Id", "Category"]
    assert [row[0] for row in rows] == [f"{n:04d}" for n in range(12)]
    row = {name: number for number, name in enumerate(photos.data.files)}
    readable = [n for n in range(12) if n != 7]
    images = np.stack([photos.data.images[row[f"evaluation/{n:04d}.jpg"]] for n in readable])
    own = own_probabilities(photos, "dropout", images)
    assert len(own) == 2
    assert not torch.allclose(own[0], own[1], atol=1e-3), "members must differ to show anything"
    expected = torch.stack(own).mean(0).numpy()
    found = np.array([[float(cell) for cell in rows[n][2:]] for n in readable])
    assert found == pytest.approx(expected, abs=2e-6)
    assert [rows[n][1] for n in readable] == [
        photos.data.written[label] for label in expected.argmax(1)
    ]
    assert rows[7][2:] == [""] * 3
    said = " ".join(capsys.readouterr().out.split())
    assert "ensemble of replicates 1, 2 of arm 'dropout'; it takes 2 times the time" in said
    assert "1 of 12 pictures cannot be read and is given the label" in said
    text = (photos.folder / "export" / "README.md").read_text()
    assert "No number: no test picture has a label" in text
    assert "> **No test picture has a label: nothing is known of how good this ensemble is" in text
    assert "There is no validation number of the ensemble: each member was trained on" in text
    about = json.loads((photos.folder / "export" / "config.json").read_text())
    assert about["metrics"] == {}
    assert about["measured"] is None


def test_the_card_has_numbers_that_can_be_counted_again(digits: Trained, tmp_path: Path) -> None:
    assert digits.export("--ensemble", "--arm", "plain", "--to", tmp_path / "out") == 0
    images, labels = test_images(digits)
    own = own_probabilities(digits, "plain", images)
    runs = digits.record.arms()["plain"]
    accs = [float((one.argmax(1).numpy() == labels).mean()) for one in own]
    assert accs == pytest.approx([run.test_acc for run in runs], abs=1e-9)
    mean = torch.stack(own).mean(0).numpy()
    acc = float((mean.argmax(1) == labels).mean())
    loss = float(-np.log(mean[np.arange(len(labels)), labels]).mean())
    text = (tmp_path / "out" / "README.md").read_text()
    sd = np.std(accs, ddof=1)
    gain = acc - np.mean(accs)
    assert f"| test_acc | {np.mean(accs):.4f} ± {sd:.4f} (3) | {acc:.4f} | {gain:+.4f} |" in text
    assert re.search(rf"\| test_loss \| [^|]*\| {loss:.4f} \|", text)
    for run in runs:
        assert (
            f"| {run.replicate} | `model-{run.replicate}.safetensors` | {run.best_epoch} |" in text
        )
    low, high = wilson(acc, len(labels))
    assert f"test_acc: {low:.4f} to {high:.4f} (Wilson)" in text
    right = np.stack([one.argmax(1).numpy() == labels for one in own]).mean(0)
    each = (mean.argmax(1) == labels) - right
    assert np.count_nonzero(each) >= MIN_DIFFERENT
    half = 1.959964 * each.std(ddof=1) / np.sqrt(len(each))
    assert f"picture by picture, {gain - half:+.4f} to {gain + half:+.4f}." in text
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    assert about["run"] == {"kind": "ensemble", "arm": "plain", "replicates": [1, 2, 3]}
    assert about["metrics"]["test_acc"] == pytest.approx(acc)
    assert [one["run"]["key"] for one in about["members"]] == [run.key for run in runs]
    assert "val_acc" not in about["metrics"]


def test_one_onnx_file_answers_as_all_members_and_the_cards_code_runs(
    digits: Trained, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert digits.export("--ensemble", "--arm", "plain", "--to", out) == 0
    assert contents(out).keys() == {
        *(f"model-{n}.safetensors" for n in (1, 2, 3)),
        "config.json",
        "model.onnx",
        "README.md",
    }
    for run in digits.record.arms()["plain"]:
        path = epochs(checkpoint_folder(digits.folder, run.key))[-1] / BEST
        mine, theirs = load_file(out / f"model-{run.replicate}.safetensors"), load_file(path)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    images, _ = test_images(digits)
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"pixels": images[:50]})
    expected = torch.stack(own_probabilities(digits, "plain", images[:50])).mean(0)
    assert torch.from_numpy(logits).softmax(1).numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    Image.fromarray(images[3][0]).resize((40, 40)).save(out / "picture.jpg")
    said = []
    for code in re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=out,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    assert len(said) == 2
    assert digits.data.classes[int(said[0])] == said[1]


def test_members_are_averaged_as_they_were_judged(digits: Trained, tmp_path: Path) -> None:
    images, labels = test_images(digits)
    for place, image in enumerate(images):
        Image.fromarray(image[0]).save(tmp_path / f"{place:05d}.png")
    arm, runs = "changed", digits.record.arms()["changed"]
    assert digits.export("--no-onnx", "--ensemble", 2, "--arm", arm, "--predict", tmp_path) == 0
    found = [int(row[1]) for row in rows_of(digits)[1:]]
    text = (digits.folder / "export" / "README.md").read_text()
    acc = float((np.array(found) == labels).mean())
    assert f"| {acc:.4f} |" in next(line for line in text.splitlines() if "| test_acc |" in line)
    plain = torch.stack(own_probabilities(digits, arm, images)[:2]).mean(0).argmax(1).numpy()
    assert f"test_acc is {(plain == labels).mean():.4f}" in text
    assert found != plain.tolist(), "views and integers must matter, or this shows nothing"
    handed = Ensemble(
        digits.record, members(digits.record, arm=arm, num=2), digits.folder, device="cpu"
    )
    test = splits(digits.data, 1, "resplit").test
    assert test is not None
    for one, run in zip(handed.members, runs, strict=False):
        evidence = read_evidence(evidence_path(digits.folder, run.key))
        assert evidence is not None
        pred, _ = one.classify(digits.data, test, "cpu")
        assert pred.tolist() == evidence.judged.pred.tolist()
    assert "(--arm and --ensemble 2), not chosen by validation" in text
    assert not (digits.folder / "export" / "model-3.safetensors").exists()


def test_members_are_the_first_by_number_of_the_arm_that_validation_chose(tmp_path: Path) -> None:
    book = Scribe(tmp_path, make_study(replicates=3, num_trials=0), data={})
    book.session()
    vals = {"baseline": (0.6, 0.61, 0.62), "ResNet": (0.7, 0.71, 0.72)}
    for arm, accs in vals.items():
        for replicate, acc in enumerate(accs, 1):
            # test says the opposite of validation, of arms and of replicates
            book.arm(arm, replicate, acc, test_acc=1 - acc)
    record = book.record()
    found = members(record, num=2)
    assert (found.arm, [run.replicate for run in found.runs]) == ("ResNet", [1, 2])
    assert found.arm == select(record).run.arm
    assert [run.replicate for run in members(record).runs] == [1, 2, 3]
    assert members(record).asked == ""
    assert "the first 2 by number of its 3 complete replicates" in found.why
    assert any("--ensemble 2" in text for text in of_members(record, found))


BAD = {
    "one": (("--ensemble", 1), "--ensemble: got 1; allowed: 2 to 3, the complete replicates of"),
    "too many": (("--ensemble", 4), "--ensemble: got 4; allowed: 2 to 3"),
    "a trial": (("--ensemble", "--trial", 0), "got --trial, which names one run"),
    "a replicate": (
        ("--ensemble", "--arm", "plain", "--replicate", 1),
        "got --replicate, which names one run",
    ),
    "unknown arm": (("--ensemble", "--arm", "plan"), "did you mean 'plain'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_ensemble_is_refused(digits: Trained, name: str) -> None:
    words, message = BAD[name]
    with pytest.raises(UserError, match=re.escape(message)):
        digits.export(*words)


def test_one_complete_replicate_is_no_ensemble(tmp_path: Path) -> None:
    for num, told in ((0, "no arm has one"), (1, "'baseline' has 1")):
        book = Scribe(tmp_path / str(num), make_study(replicates=3, num_trials=0), data={})
        book.session()
        if num:
            book.arm("baseline", 1, 0.6)
        with pytest.raises(UserError, match=f"{told}: go on with the study first"):
            members(book.record())


def test_a_member_without_its_file_or_of_changed_code_is_refused(
    digits: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = digits.record.arms()["plain"][1]
    place = epochs(checkpoint_folder(digits.folder, run.key))[-1]
    kept = shutil.move(place, tmp_path / "kept")
    try:
        with pytest.raises(UserError, match=r"arm 'plain', replicate 2: no sound model file"):
            digits.export("--ensemble", "--arm", "plain")
    finally:
        shutil.move(kept, place)
    seen = []

    def changed(_: Any, runs: Any, part: str = "") -> list[str]:
        seen.append([one.key for one in runs])
        return ["my_parts.py"] if part and seen[-1] == [run.key] else []

    monkeypatch.setattr("pipeline.export.files.changed_since", changed)
    with pytest.raises(UserError, match=r"replicate 2: the code of its network has changed"):
        digits.export("--ensemble", "--arm", "plain")


def test_nothing_is_written_to_the_record(digits: Trained, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in digits.folder.glob("*.jsonl*")}
    assert before
    assert digits.export("--no-onnx", "--ensemble", "--to", tmp_path / "out") == 0
    assert {path: path.read_bytes() for path in digits.folder.glob("*.jsonl*")} == before
    first = contents(tmp_path / "out")
    assert digits.export("--no-onnx", "--ensemble", "--to", tmp_path / "out") == 0
    assert contents(tmp_path / "out") == first
    assert digits.export("--no-onnx", "--to", tmp_path / "out") == 0
    assert "model-1.safetensors" not in contents(tmp_path / "out")


def test_a_number_that_this_machine_does_not_give_again_is_said(digits: Trained) -> None:
    record = digits.record
    chosen = members(record, arm="plain")
    odd = replace(chosen.runs[1], final={**chosen.runs[1].final, "test_acc": 0.1}, test_acc=0.1)
    runs = (chosen.runs[0], odd, chosen.runs[2])
    handed = Ensemble(record, replace(chosen, runs=runs), digits.folder, device="cpu")
    handed.files(digits.data, with_onnx=False)
    assert [text for text in handed.warnings if "recorded 0.1000" in text] == handed.warnings
    assert handed.warnings[0].startswith("replicate 2: test_acc 0.")


def test_pictures_of_one_subject_give_no_interval(digits: Trained) -> None:
    def grouped(event: events.Event) -> events.Event:
        if not isinstance(event, events.Study):
            return event
        taken = {**event.data.get("taken", {}), "groups": "40 subjects, by group_table"}
        return replace(event, data={**event.data, "taken": taken})

    record = Record.of(map(grouped, read_events(digits.folder)))
    texts = []
    for one in (record, digits.record):
        handed = Ensemble(one, members(one, arm="plain"), digits.folder, device="cpu")
        texts.append(handed.files(digits.data, with_onnx=False)["README.md"].decode())
    assert "No interval is given: several of the pictures show one subject" in texts[0]
    assert "Wilson" not in texts[0]
    assert "Wilson" in texts[1]


def test_metrics_of_the_mean_and_no_interval_where_pictures_are_not_independent() -> None:
    config = TrainConfig(dataset={"name": "digits"}, metrics=(MacroF1(),))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    members_ = [rng.dirichlet(np.ones(3), 60).astype(np.float32) for _ in range(3)]
    found = measure(config, members_, labels, independent=True)
    mean = np.mean(members_, axis=0)
    right = mean.argmax(1) == labels
    assert found.own["test_acc"] == pytest.approx(right.mean())
    assert found.above("test_acc") == pytest.approx(
        right.mean() - np.mean([(one.argmax(1) == labels).mean() for one in members_])
    )
    assert found.own["test_macro_f1"] == pytest.approx(_macro_f1(mean.argmax(1), labels))
    assert found.acc is not None
    assert found.gain is not None
    assert found.gain[0] < found.above("test_acc") < found.gain[1]
    grouped = measure(config, members_, labels, independent=False)
    assert (grouped.acc, grouped.gain) == (None, None)
    assert grouped.own == found.own


def _macro_f1(pred: Any, labels: Any) -> float:
    both = [
        2 * ((pred == k) & (labels == k)).sum() / ((pred == k).sum() + (labels == k).sum())
        for k in range(3)
    ]
    return float(np.mean(both))


def test_too_few_pictures_that_differ_give_no_interval() -> None:
    own = np.ones(100, dtype=bool)
    right = np.full(100, 3)
    right[: MIN_DIFFERENT - 1] = 2
    assert gain_interval(own, right, 3) is None
    right[MIN_DIFFERENT - 1] = 2
    assert gain_interval(own, right, 3) is not None


def test_the_interval_of_the_gain_covers_it() -> None:
    """Pictures drawn anew, members fixed: about 95 % of the intervals hold the true gain."""
    rng = np.random.default_rng(1)
    kinds = np.array([(1, 3), (1, 2), (1, 1), (0, 0), (0, 1), (0, 2)])
    shares = np.array([0.7, 0.1, 0.03, 0.1, 0.05, 0.02])
    truth = float(shares @ (kinds[:, 0] - kinds[:, 1] / 3))
    covered = []
    for _ in range(2000):
        drawn = kinds[rng.choice(len(kinds), 300, p=shares)]
        interval = gain_interval(drawn[:, 0] == 1, drawn[:, 1], 3)
        assert interval is not None
        covered.append(interval[0] <= truth <= interval[1])
    assert 0.935 < np.mean(covered) < 0.965
