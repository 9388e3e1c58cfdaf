"""What a study lacks is said before anything is trained, in one line that names the arm and the
key.
"""

import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pictures import class_folder
from scans import SMALL, digits

from pipeline.core import CORE_VERSION
from pipeline.core.config import TrainConfig
from pipeline.core.train import train
from pipeline.data.cache import Data, prepare
from pipeline.data.datasets import Digits
from pipeline.data.unread import unread
from pipeline.doctor.__main__ import _lacking
from pipeline.errors import UserError
from pipeline.record.record import Record
from pipeline.session.preflight import (
    _fresh,
    external_files,
    is_promising,
    require_inputs,
    to_download,
)
from pipeline.session.resume import require_same
from pipeline.study.load import load_study
from pipeline.study.study import Study
from tests.records import Scribe, make_study, with_arms
from tests.studies import small_study


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    train(SMALL.override({"epochs": 1}), digits(), seed=0, folder=folder)
    return folder


def study(**knobs: Any) -> Study:
    return small_study().override({f"baseline.{key}": value for key, value in knobs.items()})


def test_runs_are_made_ready_for_where_they_will_follow(tmp_path: Path) -> None:
    record, begun = Record(), Scribe(tmp_path, study()).record()
    own = study(**{"loss.name": "torch.nn.functional:cross_entropy"})
    assert is_promising(study(), record)
    assert not is_promising(own, record), "the user's own code has yet to take a step"
    assert is_promising(own, begun)
    begun.ended = "complete"
    assert not is_promising(study(), begun)


def test_a_study_that_needs_nothing_passes(scans: Data) -> None:
    assert external_files(study()) == {}
    require_inputs(study(), scans)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (
            {"pseudo.threshold": 0.9},
            "baseline: pseudo.threshold: pseudo-labels need unlabeled training pictures",
        ),
        ({"transfer.train": "last", "transfer.num_last": 500}, "baseline: transfer.num_last: "),
        (
            {"metrics": ["macro_f1", {"name": "top_k", "k": 10}]},
            "baseline: metrics.1 'top_k': k=10: of 10 classes it is 1 whatever is answered; "
            "allowed: below 10",
        ),
        ({"split": "kfold", "folds": 100, "dataset.num_train": 20, "dataset.num_valid": 20}, ""),
    ],
    ids=["pseudo", "stages", "top_k", "folds"],
)
def test_what_is_missing_is_named(
    knobs: dict[str, Any], message: str, scans: Data, tmp_path: Path
) -> None:
    asked = study(**knobs)
    data = scans if message else prepare(asked.baseline.dataset, None, tmp_path)
    with pytest.raises(UserError) as error:
        require_inputs(asked, data)
    message = message or "baseline: folds: got 100, but there are 40 labeled pictures"
    assert f"study 'small', {message}" in str(error.value)


def test_a_batch_must_do_for_all_processes_and_parts(scans: Data) -> None:
    asked = study(batch_size=16, accumulate=4)
    require_inputs(asked, scans, 2)
    with pytest.raises(
        UserError,
        match="batch_size: got 16; each of its 4 parts needs 2 pictures for each of 3 processes",
    ):
        require_inputs(asked, scans, 3)


def test_weights_that_are_not_to_be_had_are_a_finding_of_the_doctor(
    scans: Data, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It ended there, with half of its checks not made; and no way on but a file was named."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    asked = study(**{"model": {"name": "mobilenet"}, "transfer.weights": "pretrained"})
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (found,) = _lacking(asked, scans)
    assert (found.what, found.level) == ("what runs need", "error")
    assert "cannot get the published weights" in found.said
    assert "or go on without them" in found.said
    assert "--set transfer.weights= (fresh" in found.said
    assert "Downloading" not in "".join(capsys.readouterr())
    (sound,) = _lacking(study(), scans)
    assert sound.level == "ok"


def test_going_on_without_weights_is_offered_only_where_arms_still_differ() -> None:
    """Of `transfer` the offered flag was refused: two arms differ by the weights alone."""
    assert _fresh(load_study("transfer")) == ""
    for name in ("photos", "leaves"):
        assert "or go on without them" in _fresh(load_study(name))


@pytest.mark.parametrize("key", ["distill.teacher", "transfer.weights"])
def test_a_missing_file_is_found_without_the_pictures(key: str) -> None:
    with pytest.raises(
        UserError, match=rf"study 'small', baseline: {key}: .*nowhere.*: no such file"
    ):
        external_files(study(**{key: "nowhere.safetensors"}))


def test_files_are_known_by_their_content(teacher: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((teacher / "epoch_0001" / "best.safetensors").read_bytes())
    asked = study(**{"distill.teacher": str(teacher), "transfer.weights": str(copy)})
    files = external_files(asked)
    assert files.keys() == {str(teacher), str(copy)}
    assert len(set(files.values())) == 1
    copy.write_bytes(copy.read_bytes() + b" ")
    assert external_files(asked) != files


def test_a_teacher_must_know_these_pictures(teacher: Path, tmp_path: Path) -> None:
    data = prepare(Digits(size=16), None, tmp_path)
    with pytest.raises(
        UserError, match=r"baseline: distill\.teacher: trained on other pictures than this study's"
    ):
        require_inputs(study(**{"distill.teacher": str(teacher), "dataset.size": 16}), data)


def test_a_course_rule_forbids_weights_from_elsewhere() -> None:
    for weights in ("pretrained", "file.safetensors"):
        with pytest.raises(UserError, match="is refused, because allow_pretrained is false"):
            TrainConfig().override(
                {"transfer.weights": weights, "allow_pretrained": False, "model.name": "mobilenet"}
            )


def test_unlabeled_pictures_are_enough_for_pseudo_labels(tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "photos", num=8)
    class_folder(folder, classes=["unlabeled"], num=4)
    asked = study(**{"dataset.name": "folder", "dataset.size": 8, "pseudo.threshold": 0.9})
    data = prepare(asked.baseline.dataset, folder, tmp_path / "cache")
    assert data.counts["unlabeled"] == 4
    require_inputs(asked, data)


@pytest.mark.parametrize(
    ("weights", "refused"), [("far.pth", True), ("pretrained", False), ("", False)]
)
def test_runs_that_began_with_the_head_of_a_file_are_not_gone_on_with(
    tmp_path: Path, weights: str, refused: bool
) -> None:
    """Versions that recorded no code took over any head of as many classes; runs of today would
    begin with a new one.
    """
    arms = {"baseline": {}, "tuned on": {"transfer.weights": weights, "model.name": "mobilenet"}}
    book = Scribe(tmp_path, with_arms(make_study(num_trials=0), arms))
    book.session()
    book.arm("tuned on", 1, 0.5)
    record = book.record()
    record.begun = replace(record.header, core_version=CORE_VERSION, files={})
    same = SimpleNamespace(
        **{name: record.data[name] for name in ("fingerprint", "classes", "counts")}
    )
    lines = (
        [f"{weights}: recorded by a version that took the head of such a file over"]
        if refused
        else []
    )
    assert refusals(record, record.study, same, tmp_path) == lines


@pytest.mark.usefixtures("unmeasured")
def test_a_dry_run_refuses_what_the_command_would_once_its_pictures_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It passed, and the command ended where it had begun a record; of --set nothing was shown."""
    from pipeline.search import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(small_study().model_dump_json())
    flags = ["search", "--study", "mine.json", "--dry-run", "--workers", "1", "--set"]
    wrong = {
        "batch_size=1": "batch norm '",
        "pseudo.threshold=0.9": "unlabeled training pictures, and there are none",
        'metrics=[{"name": "top_k", "k": 10}]': "metrics.0 'top_k': k=10",
    }
    for changed, said in wrong.items():
        monkeypatch.setattr(sys, "argv", [*flags, changed])
        with pytest.raises(UserError, match="study 'small', baseline: ") as error:
            main()
        assert said in str(error.value)
    assert not capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*flags, "batch_size=8"])
    assert main() == 0
    said = " ".join(capsys.readouterr().out.split())
    assert " set batch_size=8 (of the arms; the search still varies it: space.knobs.batch" in said


def test_pictures_that_are_not_read_are_as_they_will_be(scans: Data) -> None:
    """All but what their pixels say."""
    dataset = Digits()
    found = unread(dataset, dataset.scan(None))
    assert found.images.shape == scans.images.shape
    assert found.images.strides == (0,) * 4, "no memory is taken for them"
    assert (found.labels == scans.labels).all()
    assert (found.parts == scans.parts).all()
    for name in ("files", "classes", "title", "counts", "written", "columns", "groups", "reading"):
        assert getattr(found, name) == getattr(scans, name), name


def refusals(record: Any, study: Study, data: Any, folder: Path) -> list[str]:
    try:
        require_same(record, study, data, {}, folder)
    except UserError as error:
        lines = str(error).splitlines()[1:-1]
        return [line.partition(",")[0] for line in lines if not line.startswith("recorded by: ")]
    return []


@pytest.mark.usefixtures("unmeasured")
def test_a_dry_run_names_what_would_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of arms too, each file once; without a network that is all there is to see beforehand."""
    from pipeline.ablate import main

    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    assert to_download(small_study(), None) == []
    bare = {"baseline.model.name": "resnet", "baseline.model.width": 64}
    bare |= {"baseline.model.stem": "imagenet"}
    arms = {"fresh": {}, "begun": {"transfer.weights": "pretrained"}}
    arms |= {"head": {"transfer.weights": "pretrained", "transfer.train": "head"}}
    made = with_arms(small_study().override(bare, source="test"), arms)
    (tmp_path / "mine.json").write_text(made.model_dump_json())
    flags = ["--study", "mine.json", "--dry-run", "--set", "dataset.name=torchvision"]
    flags += ["--set", "dataset.set=KMNIST", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["ablate", *flags])
    assert main() == 0
    pictures, weights = capsys.readouterr().out.split("\ndownload ")[1:]
    pictures, weights = (" ".join(text.split()) for text in (pictures, weights))
    assert "needs a network once: torchvision's KMNIST, not found in" in pictures
    assert "resnet18-" in weights
    assert "or go on without them" in weights
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"], "nothing is written"
