import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.core.augmentation.config import Notes
from pipeline.core.config import TrainConfig
from pipeline.core.models import ResNet18
from pipeline.core.optimizers import SGD
from pipeline.core.schedules import Cosine
from pipeline.data.datasets import Digits
from pipeline.errors import UserError
from pipeline.study.designs import Arms, Factorial
from pipeline.study.load import load_study
from pipeline.study.space import Choice, Float, Space
from pipeline.study.study import Study
from tests.studies import small_study

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "pipeline" / "studies"
STUDIES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
EVERY_STUDY = pytest.mark.parametrize("name", STUDIES)


def with_design(design) -> Study:
    study = small_study()
    return study.override({"ablation": study.ablation.override({"design": design})})


@EVERY_STUDY
def test_a_study_is_the_same_in_every_process(name):
    code = f"from pipeline.study.load import load_study; print(load_study({name!r}).fingerprint())"
    prints = set()
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        prints.add(found.stdout.strip())
    assert prints == {load_study(name).fingerprint()}


@EVERY_STUDY
def test_a_study_is_legal_as_it_stands_and_as_its_fallback(name):
    study = load_study(name)
    study.check()
    assert study.name == name
    assert len(study.arms()) >= 2
    if study.fallback is not None:
        fallen = study.override(study.fallback.overrides)
        fallen.check()
        assert fallen.baseline.dataset.name == "digits"
        assert study.fallback.note


@EVERY_STUDY
def test_a_study_begins_with_a_lab_note(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert "Question:" in text
    assert "TODO" not in text


@EVERY_STUDY
def test_a_study_goes_through_json(name, tmp_path):
    study = load_study(name)
    path = tmp_path / "resolved.json"
    path.write_text(study.model_dump_json(indent=1), encoding="utf-8")
    again = load_study(str(path))
    assert again == study
    assert again.fingerprint() == study.fingerprint()
    assert again.arms() == study.arms()


def test_a_changed_default_is_noticed():
    """New runs are named by this hash, recorded ones keep theirs: it may change with a new field,
    but never unnoticed.
    """
    config = TrainConfig(
        dataset=Digits(size=8, num_train=300, num_valid=500),
        model=ResNet18(width=16, dropout=0.1),
        optimizer=SGD(lr=0.1, weight_decay=1e-4, momentum=0.9, nesterov=True),
        schedule=Cosine(warmup=0.1, floor=0.0),
        augment=Notes(strength=1.0),
        epochs=9,
        batch_size=32,
    )
    assert config.fingerprint() == "2786180c55f9c9f0"
    assert TrainConfig().fingerprint() == "f8afc12d4a88256c"


@pytest.mark.parametrize(
    "name", ["hw4", "", "../hw3", "hw3.py", "studies/hw3", "-x", "hw3\n", "\x1b[2J", "x" * 5000]
)
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(UserError) as caught:
        load_study(name)
    assert "--study" in str(caught.value)
    assert "hw3" in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_shipped_studies_are_found_where_there_is_no_folder_of_studies(tmp_path, capsys):
    assert load_study("hw3", tmp_path / "studies") == load_study("hw3")
    with pytest.raises(UserError, match=r"allowed: .*hw3.* \(shipped; yours would be in "):
        load_study("hw4", tmp_path / "studies")
    assert capsys.readouterr() == ("", "")


def test_ones_own_study_goes_before_the_shipped_one_and_that_is_said(tmp_path, capsys):
    loaded = {"studies"} & sys.modules.keys()  # a module of the tests is called so too
    own = "from pipeline.studies.hw3 import STUDY\nSTUDY = STUDY.override({'title': 'mine'})\n"
    for name in ("hw3", "json"):  # of which the latter is a module's name: none is shadowed
        (tmp_path / f"{name}.py").write_text(own, encoding="utf-8")
    assert load_study("hw3", tmp_path).title == load_study("json", tmp_path).title == "mine"
    assert load_study("leaves", tmp_path) == load_study("leaves")
    said = capsys.readouterr().err
    assert said.count("note: ") == 1
    assert "not the shipped one" in " ".join(said.split())
    assert json.loads("1") == 1
    assert {"studies", "studies.hw3"} & sys.modules.keys() == loaded
    with pytest.raises(UserError, match=r"allowed: hw3, json \(yours, in .*leaves.* \(shipped\)"):
        load_study("hw4", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("STUDY = (", ["SyntaxError", "line 1"]),
        ("import no_such_package_here", ["ModuleNotFoundError", "no_such_package_here", "line 1"]),
        ("\n\n1 / 0", ["ZeroDivisionError", "line 3"]),
        ("study = 3", ["must define STUDY", "NoneType"]),
        ("STUDY = {}", ["must define STUDY", "dict"]),
        ("raise SystemExit(0)", ["SystemExit", "line 1"]),
        (
            "from pipeline.core.config import TrainConfig\nx = TrainConfig(epochs=0, batchsize=3)",
            ["line 2", "epochs: ", "got 0", "batchsize: unknown key", "did you mean 'batch_size'?"],
        ),
        (
            "from pipeline.study.space import Float\nx = Float(low=2, high=1)",
            ["line 2", "low must be below high"],
        ),
        ("\xff", ["SyntaxError"]),
    ],
)
def test_a_broken_study_is_answered_with_its_line(tmp_path, text, words):
    (tmp_path / "broken.py").write_text(text, encoding="latin-1")
    with pytest.raises(UserError) as caught:
        load_study("broken", tmp_path)
    for word in ("broken.py", *words):
        assert word in str(caught.value)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", r"\(whole\)"),
        ('{"name": "x"}', "baseline|title: this key is required"),
        ('{"nme": "x"}', "unknown key"),
        ("\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_broken_json_is_answered(tmp_path, text, words):
    path = tmp_path / "study.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=words):
        load_study(str(path))


def test_a_missing_json_is_answered(tmp_path):
    with pytest.raises(UserError, match=r"--study: cannot read .*No such file"):
        load_study(str(tmp_path / "none.json"))
    with pytest.raises(UserError, match="--study: zero"):
        load_study("zero\0byte.json")


def test_parts_given_as_objects_become_plain_data():
    study = with_design(
        Arms(arms={"plain": {}, "other": {"optimizer": SGD(lr=0.1), "model": {"name": "resnet18"}}})
    )
    (_, _), (arm, config) = study.arms()
    assert arm.overrides["optimizer"] == SGD(lr=0.1).model_dump(mode="json")
    assert config.optimizer == SGD(lr=0.1)
    assert Study.parse(json.loads(study.model_dump_json()), source="test") == study


def test_an_override_that_is_no_data_is_refused():
    with pytest.raises(ValidationError, match="serialize"):
        Arms(arms={"plain": {}, "other": {"optimizer": print}})


def test_identical_arms_are_refused():
    for design in (
        Factorial(on={"nothing": {"model.dropout": 0.0}, "something": {"augment.strength": 1.0}}),
        Arms(arms={"plain": {}, "same": {"optimizer.name": "adam"}}),
    ):
        with pytest.raises(UserError, match="are the same configuration"):
            with_design(design).arms()


def test_arms_on_other_pictures_are_refused():
    study = with_design(Arms(arms={"plain": {}, "large": {"dataset.size": 16}}))
    told = r"arm 'large': dataset: it must be the same for all arms; .*may differ: input_size"
    with pytest.raises(UserError, match=told):
        study.check()


def test_an_arm_may_be_longer_training_another_precision_or_other_pixels():
    own = {"long": {"epochs": 60}, "exact": {"precision": "fp32"}, "small": {"input_size": 4}}
    study = with_design(Arms(arms={"plain": {}, **own}))
    study.check()
    plain, long, exact, small = (config for _, config in study.arms())
    assert (long.epochs, exact.precision, small.input_size) == (60, "fp32", 4)
    assert plain == study.baseline
    for name, own in (("epochs", 60), ("precision", "fp32")):
        design = Arms(arms={"odd": {name: own}, "plain": {}})
        with pytest.raises(UserError, match=f"arm 'odd': {name}: the reference has the baseline's"):
            with_design(design).check()
    size = study.baseline.dataset.size
    with pytest.raises(UserError, match="'plain' and 'as it is' are the same configuration"):
        with_design(Arms(arms={"plain": {}, "as it is": {"input_size": size}})).check()
    with pytest.raises(UserError, match=r"arm 'any': precision: got auto, which is what"):
        with_design(Arms(arms={"plain": {}, "any": {"precision": "auto"}})).check()
    with pytest.raises(UserError, match=r"arm 'other': split: it must be the same for all arms$"):
        with_design(Arms(arms={"plain": {}, "other": {"split": "official"}})).check()


def test_an_illegal_arm_is_named():
    study = with_design(Arms(arms={"plain": {}, "odd": {"model.nme": "cnn"}}))
    with pytest.raises(UserError, match=r"arm 'odd': model.nme: unknown key.*did you mean 'name'"):
        study.check()


@pytest.mark.parametrize(
    "space",
    [
        Space(knobs={"dataset.size": Choice(options=(8, 16))}),
        Space(knobs={"precision": Choice(options=("fp32", "bf16"))}),
        Space(knobs={"split": Choice(options=("resplit", "official"))}),
        Space(branches={"dataset": {"digits": {}, "folder": {}}}),
    ],
)
def test_pictures_splits_and_precision_are_not_searched(space):
    with pytest.raises(UserError, match="it must be the same for all trials"):
        small_study(space=space).check()


def test_an_illegal_space_is_named():
    study = small_study(space=Space(knobs={"optimizer.lr": Float(low=1.0, high=1000.0)}))
    with pytest.raises(UserError, match=r"study 'small', space: optimizer.lr: .*1000"):
        study.check()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-x", "x\n", "é", "x" * 65])
def test_a_name_that_is_no_folder_name_is_refused(name):
    with pytest.raises(UserError, match="name: "):
        small_study().override({"name": name})


def test_a_study_needs_no_heavy_package():
    code = (
        "import sys, pipeline.study.load; pipeline.study.load.load_study('hw3').check();"
        "print(sorted({'torch', 'numpy', 'sklearn', 'pandas', 'PIL', 'ray', 'optuna', 'mlflow'} & "
        "set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout.replace("'", '"')) == []
