"""What is handed on names no home, no user, no host and no place on a machine; the ledger keeps
what it recorded.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from records import Scribe, make_study, with_arms
from safetensors.torch import load_file, save_file

from pipeline.core.config import TrainConfig
from pipeline.export.files import anonymous
from pipeline.record import events
from pipeline.record.ledger import FILE
from pipeline.record.published import Cutter, cutter, published
from pipeline.record.record import Record
from pipeline.report import drift, write_report

USER, HOST = "zaphodb", "heart-of-gold-07"
HOME = f"/srv/homes/{USER}"
CWD = f"{HOME}/my work"
PLACE = {
    "cwd": CWD,
    "home": HOME,
    "mlruns": f"/scratch/{USER}/mlruns",
    "pictures": "",
    "user": USER,
    "host": HOST,
}
KNOWN, OLD = Cutter((PLACE,)), Cutter()


@pytest.mark.parametrize(
    ("text", "new", "old"),
    [
        (f"--data '{CWD}/food' --x", "--data 'food' --x", "--data '…/food' --x"),
        ("--data /home/ada/food 11", "--data ~/food 11", "--data ~/food 11"),
        ("--data=/Users/ada/food", "--data=~/food", "--data=~/food"),
        (f"{HOME}/w.pth: No such file", "~/w.pth: No such file", "…/w.pth: No such file"),
        (
            f"sqlite:////scratch/{USER}/mlruns/mlflow.db",
            "sqlite:///mlruns/mlflow.db",
            "sqlite:///…/mlflow.db",
        ),
        ("file:///data/ada/mlruns/1", "file://…/1", "file://…/1"),
        (f"http://{HOST}:5000/#/a/b", "http://…:5000/#/a/b", f"http://{HOST}:5000/#/a/b"),
        (f"lost on {HOST}", "lost on …", f"lost on {HOST}"),
        (f"ssh {USER}@{HOST} x", "ssh …@… x", f"ssh {USER}@{HOST} x"),
        (f"../{USER}/food", "../…/food", f"../{USER}/food"),
        (
            "https://127.0.0.1:5000/home/x",
            "https://127.0.0.1:5000/home/x",
            "https://127.0.0.1:5000/home/x",
        ),
        (
            "val/test, 3/4 or 50 %/100 % of a/b",
            "val/test, 3/4 or 50 %/100 % of a/b",
            "val/test, 3/4 or 50 %/100 % of a/b",
        ),
        ("/dev/shm/x is full", "/dev/shm/x is full", "/dev/shm/x is full"),
        ("<b>x</b>/y/z", "<b>x</b>/y/z", "<b>x</b>/y/z"),
        (r"C:\Users\Ada\food", r"~\food", r"~\food"),
        ("/root/food and /root", "~/food and ~", "~/food and ~"),
        ("/homework/a and /rooted/b", "…/a and …/b", "…/a and …/b"),
    ],
)
def test_what_is_cut(text: str, new: str, old: str) -> None:
    assert (KNOWN.text(text), OLD.text(text)) == (new, old)
    assert KNOWN.text(new) == new, "twice is once"


def private_record(folder: Path, **place: Any) -> Record:
    """Of a study with paths wherever a record can hold one."""
    study = make_study(replicates=3, num_trials=4)
    arms = {"baseline": {}, "taught": {"distill.teacher": f"{HOME}/teachers/best.safetensors"}}
    arms |= {"begun": {"transfer.weights": f"/scratch/{USER}/other/w.pth"}}
    scribe = Scribe(folder, with_arms(study, arms), note=f"see {CWD}/notes.txt")
    scribe.data |= {"warnings": [], "title": "Food"}
    flags = f"--study {HOME}/study.json --data '{CWD}/food' --mlruns /scratch/{USER}/mlruns"
    ledger = scribe.ledger
    budget = {"search.num_trials": 4, "ablation.replicates": 3}
    facts = {
        "versions": {"python": "3"},
        "commit": "",
        "machine": {"device": "cpu"},
        "budget": budget,
        "workers": 1,
    }
    ledger.append(events.Session(command=f"python -m pipeline.search {flags}", **facts, **place))
    scribe.trials(4)
    for replicate in (1, 2, 3):
        for arm in arms:
            ended = (
                {"status": "diverged", "error": f"{CWD}/x.py: NaN on {HOST}"}
                if (arm, replicate) == ("begun", 3)
                else {}
            )
            run = scribe.arm(arm, replicate, **ended)
            ledger.append(
                events.Mlflow(
                    uri=f"sqlite:////scratch/{USER}/mlruns/mlflow.db",
                    what=run,
                    id="0a",
                    experiment="1",
                )
            )
    return scribe.record()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_byte_of_a_report_says_who_made_it_where(lang: str, tmp_path: Path) -> None:
    record = private_record(tmp_path / "study", place=PLACE)
    found = write_report(record, tmp_path / "study" / "report", lang)
    texts = {path.name: path.read_bytes() for path in found.paths}
    assert len(texts) > 15
    for name, content in texts.items():
        assert not re.search(
            rf"{USER}|{HOST}|/scratch|/srv|{re.escape(str(tmp_path))}".encode(), content
        ), name
    page = texts["report.md"].decode()
    commands = [line for line in page.splitlines() if "python -m pipeline.search" in line]
    assert commands
    assert all("--data food --mlruns …/mlruns" in line.replace("'", "") for line in commands)
    assert "--mlruns mlruns" not in page, "which would be another folder, and is there or is made"
    hidden = {"en": "…/ stands for a place", "zh": "…/ 代表报告不写出的位置"}[lang]
    assert page.count(hidden) == 1 + ("pipeline.export" in page)
    assert "sqlite:///mlruns/mlflow.db" in page
    assert b"~/teachers/best.safetensors" in texts["runs.csv"]
    assert USER in (tmp_path / "study" / FILE).read_text(), "the ledger is private and keeps it"
    assert not drift(record, tmp_path / "study" / "report", lang)


def test_older_records_are_cut_by_what_their_paths_look_like(tmp_path: Path) -> None:
    record = private_record(tmp_path / "study")
    found = write_report(record, tmp_path / "study" / "report")
    for path in found.paths:
        content = path.read_bytes()
        assert not re.search(
            rf"{USER}|/scratch|/srv|{re.escape(str(tmp_path))}".encode(), content
        ), path.name


def test_what_is_published_tells_runs_apart_as_before(tmp_path: Path) -> None:
    record = private_record(tmp_path / "study", place=PLACE)
    shown = published(record)
    assert shown.runs.keys() == record.runs.keys()
    assert [run.metric("test_acc") for run in shown.runs.values()] == [
        run.metric("test_acc") for run in record.runs.values()
    ]
    assert all(TrainConfig.parse(run.config, source="") for run in shown.runs.values())
    frame = write_report(record, tmp_path / "study" / "report")
    (runs,) = [path for path in frame.paths if path.name == "runs.csv"]
    recorded = TrainConfig.parse(record.arms()["taught"][0].config, source="").fingerprint()
    assert recorded in runs.read_text()


def test_a_record_without_paths_is_published_as_it_is(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path, make_study(num_trials=3))
    scribe.session()
    scribe.trials(3)
    record = scribe.record()
    assert published(record) == record
    assert cutter(record).kept == {"bread", "dairy", "dessert", "egg", *record.arm_names}


def test_a_model_file_is_handed_on_with_its_weights_alone(tmp_path: Path) -> None:
    config = {"name": "cnn", "transfer": {"weights": f"{HOME}/w.pth"}}
    about = {"config": json.dumps(config), "pictures": "[3]"}
    save_file(
        {"a": torch.arange(7.0), "b": torch.ones(3, dtype=torch.uint8)},
        tmp_path / "best.safetensors",
        about,
    )
    content = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(anonymous(content, KNOWN))
    there = load_file(tmp_path / "model.safetensors")
    assert torch.equal(there["a"], torch.arange(7.0))
    assert torch.equal(there["b"], torch.ones(3, dtype=torch.uint8))
    assert USER.encode() not in (tmp_path / "model.safetensors").read_bytes()
    assert b"~/w.pth" in (tmp_path / "model.safetensors").read_bytes()
    assert anonymous(content, Cutter(kept=frozenset({f"{HOME}/w.pth"}))) == content
