"""`import pipeline`: the names it gives, what that loads, and the commands called as functions."""

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline import Ablation, Arms, Digits, Int, Own, Space, Study, UserError
from pipeline.core.config import TrainConfig
from pipeline.core.metrics import METRICS
from pipeline.core.models import MODELS
from pipeline.data.datasets import DATASETS
from pipeline.record import sources
from pipeline.record.sources import code
from pipeline.session.calls import Outcome, _told_as_arguments
from pipeline.session.options import Options
from pipeline.study.designs import DESIGNS
from pipeline.study.load import load_study
from tests import commands
from tests.own import NETS, written
from tests.test_layout import HEAVY

ROOT = Path(__file__).parents[1]
NAMES = (
    "AUROC Ablation Adagrad Adam AdamW AddOneIn Adversary AlexNet Arm Arms Attack Auto BalancedAcc "
    "Both CBAMResNet CNN Choice CifarResNet Constant ConvNeXt Cosine Crops CrossEntropy Crossed "
    "Csv "
    "DenseBlocks DenseNet Digits Distill ECE EfficientNet Exponential Factorial Fallback Final "
    "Fixed Float Focal Folder Fractional GoogLeNet Half HuggingFace Idx Inputs Int Int8Dynamic "
    "Int8Static LAMB Ladder LeNet LeaveOneOut Lion LogLoss MLP MSE MachineError MacroF1 MobileNet "
    "NAdam NiN NoCompression Notes Npz OneCycle OpenedRecord OrderedPath Outcome Own PerArm "
    "Photos PipelineError Plateau Prune Pseudo RAdam RMSprop Rand Replicated Res2Net ResNeXt "
    "ResNet ResNet18 Result SEResNet SGD Search ShuffleNet Space Step Study Timm TopK Torchvision "
    "TrainConfig Transfer Trivial UserError VGG ViT WarmRestarts ablate load_inputs load_study "
    "open_record report search train"
)


def python(program: str, *words: str, folder: Path = ROOT) -> str:
    """What a fresh process prints that runs `program`."""
    command = (sys.executable, *(words or ("-c", program)))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_exported_names() -> None:
    assert " ".join(pipeline.__all__) == NAMES
    assert {*NAMES.split()} <= set(dir(pipeline))
    members = {kind.__name__ for kind in (*MODELS, *DATASETS, *DESIGNS, *METRICS)}
    assert members <= {*NAMES.split()}, "every part that a study can name"


def test_each_name_is_what_type_checkers_take_it_for() -> None:
    tree = ast.parse((ROOT / "pipeline" / "__init__.py").read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == pipeline._HOME
    for name, module in seen.items():
        found, meant = getattr(pipeline, name), getattr(importlib.import_module(str(module)), name)
        assert found is meant or inspect.signature(found) == inspect.signature(meant)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        pipeline.Studdy  # noqa: B018


def test_importing_the_package_loads_none_of_its_modules_and_nothing_heavy() -> None:
    program = "import sys, pipeline; print(*sorted(sys.modules))"
    loaded = python(program).split()
    assert [name for name in loaded if name.startswith("pipeline")] == ["pipeline"]
    assert not (HEAVY | {"pydantic", "rich"}) & set(loaded)
    loaded = python("import sys; from pipeline import *; print(*sorted(sys.modules))").split()
    assert "ray" not in loaded


@pytest.mark.parametrize(
    "before",
    [
        "import pipeline; pipeline.search, pipeline.ablate, pipeline.report",
        "from pipeline.search import main; from pipeline.ablate import main",
        "import pipeline.report.__main__, pipeline.search as search, pipeline.ablate",
        "from pipeline import ablate, report, search",
    ],
)
def test_a_command_is_a_module_and_a_function_whoever_came_first(before: str) -> None:
    program = f"""
import sys
{before}
import inspect, pipeline
for name in ("search", "ablate", "report"):
    command = getattr(pipeline, name)
    print(command is sys.modules[f"pipeline.{{name}}"], *inspect.signature(command).parameters)
    try:
        command("no such study")
    except pipeline.UserError as error:
        print(error)
from pipeline.search import main
from pipeline.report import write_report
"""
    said = python(program).splitlines()
    assert [line.split()[:2] for line in said[::2]] == [
        ["True", "study"],
        ["True", "study"],
        ["True", "folder"],
    ]
    assert said[1] == said[3]
    assert said[1].startswith("study: no study of that name; got 'no such study'")
    assert said[5].startswith("no such study: nothing is recorded there")


def test_a_command_is_still_run_by_its_module() -> None:
    for name in ("search", "ablate", "report"):
        assert python("", "-m", f"pipeline.{name}", "--help").startswith("usage: ")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trials": "many"}, r"arguments: search\.num_trials: .*'many'"),
        ({"time": "never"}, r"time: expected a time such as 6h"),
        ({"sets": {"optimizer.lrr": 1}}, r"^sets: baseline\.optimizer\.lrr: unknown"),
        ({"workers": 0}, r"^workers: expected a whole number of at least 1, got '0'"),
        ({"resume": True}, r"^resume: nothing is recorded"),
        ({"max_core_hours": -1, "debug": True}, r"^max_core_hours: expected hours .* got '-1'"),
        ({"price_per_hour": "two", "debug": True}, r"^price_per_hour: expected an amount"),
        ({"tags": "course=ml"}, r"^tags: got 'course=ml'; allowed: "),
        ({"also": "tensorbord"}, r"also: .*'?tensorbord'?"),
    ],
    ids=str,
)
def test_what_is_wrong_is_raised_and_leaves_nothing(
    given: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=words):
        pipeline.search("hw3", mlruns=tmp_path / "mlruns", **given)
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "mlruns").exists()


def test_every_option_is_a_word_of_the_command_and_back() -> None:
    from pipeline.session.cli import options, parser

    flags = parser("pipeline.search", "", trains=True, searches=True)
    given = Options(
        "pipeline.search",
        "hw3",
        data="-photos of food",
        mlruns="a b",
        sets=("model.width=4", 'optimizer={"name": "sgd"}'),
        trials=0,
        epochs=2,
        replicates=3,
        seed=0,
        time=5400.0,
        workers=1,
        gpus_per_trial=0.0,
        address="10.0.0.1:6379",
        fresh=True,
        verbosity=-1,
    )
    assert options(flags, given.words()) == given
    assert {field.name for field in dataclasses.fields(given)} >= {
        *inspect.signature(pipeline.search).parameters
    } - {"on_progress"}


def test_a_study_of_an_earlier_version_is_told_where_the_names_are(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("import math\nfrom pipeline.config import TrainConfig\n")
    with pytest.raises(UserError) as raised:
        load_study("old", tmp_path)
    moved = "pipeline.config: moved; write from pipeline import TrainConfig"
    assert str(raised.value) == f"{tmp_path}/old.py, line 2: {moved}"
    (tmp_path / "old.py").write_text("from pipeline.study import (\n    Search,\n    Study,\n)\n")
    with pytest.raises(UserError, match=r"pipeline\.study: moved; .* import Search, Study"):
        load_study("old", tmp_path)
    (tmp_path / "old.py").write_text("from pipeline.core.optimizers import Admm\n")
    with pytest.raises(UserError, match="line 1: ImportError: cannot import name 'Admm'"):
        load_study("old", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "from pipeline import CNN\nclass Mine(CNN):\n    pass\n",
        "import pipeline\nclass Mine(pipeline.CNN):\n    pass\n",
    ],
)
def test_the_code_of_a_part_is_found_through_the_door(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mynet.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    sources._module.cache_clear()
    sources._place.cache_clear()
    found = dict(sources._files((("mynet", "Mine"),)))
    assert {"mynet.py", *code(TrainConfig())["model CNN"]} <= set(found)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the README's snippet leaves behind, run as it stands there but shorter."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found_all = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (snippet,) = (one for one in found_all if "pipeline.search(study" in one)
    found: dict[str, Any] = {"lines": []}
    snippet = snippet.replace("time=", "workers=1, race=0, on_progress=lines.append, time=")
    few = "Digits(size=8, num_train=480, num_valid=1200)"  # to test on and to draw planes of
    snippet = snippet.replace("Digits(size=8)", few).replace("epochs=6", "epochs=2")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        exec(snippet, found)
        found["again"] = pipeline.ablate(found["study"], debug=True, verbosity=-1)
        found["folder"] = found["outcome"].folder.resolve()
    return found


def test_a_study_object_is_searched_and_its_outcome_says_how_it_ended(
    outcome: dict[str, Any],
) -> None:
    first, again = outcome["outcome"], outcome["again"]
    for one in (first, again):
        assert (one.complete, one.exit_code) == (True, 0)
        assert one.folder == Path("mlruns/demo-digits")
    assert sorted(path.name for path in outcome["folder"].parents[1].iterdir()) == ["mlruns"]
    said = "\n".join(outcome["lines"])
    assert "complete after" in said
    assert "\x1b" not in said
    commands = [session.command for session in again.record.record.sessions]
    assert commands[0] == (
        "python -m pipeline.search --study=mlruns/demo-digits/study.json --trials=3 "
        "--replicates=2 --race=0 --time=7200.0 --workers=1"
    )
    assert commands[1].startswith("python -m pipeline.ablate --study=mlruns/demo-digits/study.json")
    assert len(again.record.runs()) == len(first.record.runs()), "nothing was left to train"


def test_a_record_is_frames_figures_and_a_table(outcome: dict[str, Any]) -> None:
    record = pipeline.open_record(outcome["folder"].parent)
    assert record.path == outcome["folder"]
    assert record.study.name == "demo"
    assert len(record.trials()) == 3
    assert len(record.runs()) == 3 + 4 * 2
    assert len(record.curves()) == record.runs()["epochs"].sum()
    assert list(record.arms()["arm"]) == ["baseline", "dropout", "AdamW", "dropout + AdamW"]
    assert len(record.contrasts()) > 0
    assert {"curves", "search", "differences"} <= set(record.figures)
    with pytest.raises(KeyError, match=r"no figure 'curve'; .*did you mean 'curves'"):
        record.figures["curve"]
    assert record.figures["curves"]._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    table = record._repr_html_()
    assert "Two small changes" in table
    assert "<td>dropout + AdamW</td>" in table


def test_the_report_is_written_again(outcome: dict[str, Any]) -> None:
    page = outcome["folder"] / "report" / "report.md"
    before = page.read_bytes()
    page.unlink()
    assert page in pipeline.report(outcome["folder"])
    assert page.read_bytes() == before


def test_a_process_of_its_own_opens_the_record(outcome: dict[str, Any]) -> None:
    program = (
        f"import pipeline; print(len(pipeline.open_record({str(outcome['folder'])!r}).runs()))"
    )
    assert python(program).strip() == "11"


def test_a_folder_without_one_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is recorded there"):
        pipeline.open_record(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ledger.jsonl").write_text("")
    with pytest.raises(UserError, match=r"2 studies are recorded there; .*one, two"):
        pipeline.open_record(tmp_path)


def test_one_configuration_is_trained_here(tmp_path: Path) -> None:
    config = TrainConfig().override(
        {"dataset.name": "digits", "dataset.size": 8, "model.width": 4, "epochs": 1}
    )
    inputs = pipeline.load_inputs(config, cache=tmp_path)
    found = pipeline.train(config, inputs, seed=0)
    assert found.complete
    assert 0 <= found.history[0]["val_acc"] <= 1


@pytest.fixture
def mynet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of one's own beside the notebook, imported."""
    written(tmp_path, "mynet.py", NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield importlib.import_module("mynet")
    del sys.modules["mynet"]
    sources.forget()


def test_code_that_was_edited_in_a_notebook_is_not_mixed_in(mynet: Any) -> None:
    few = Digits(num_train=480, num_valid=1200)  # to test on
    arms = Arms(arms={"baseline": {}, "clipped": {"clip_norm": 1.0}})

    def ablate(replicates: int) -> Outcome:
        study = Study(
            name="own",
            title="Own",
            baseline=TrainConfig(dataset=few, model=Own("mynet:MyNet"), epochs=1),
            space=Space(knobs={"model.width": Int(low=4, high=8)}),
            ablation=Ablation(design=arms, replicates=replicates),
        )
        return pipeline.ablate(study, debug=True, verbosity=-1)

    was = mynet.MyNet
    assert ablate(1).exit_code == 0
    assert (mynet.MyNet is was, sys.modules["mynet"] is mynet) == (True, True)
    commands.edit(Path(mynet.__file__), "nn.ReLU()", "nn.Tanh()")
    importlib.reload(mynet)  # as %autoreload does
    with pytest.raises(UserError, match=r"(?s)mynet\.py.*add fresh=True"):
        ablate(2)


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        ("--set: model.widt: unknown", "sets: model.widt: unknown"),
        ("argument --workers: expected", "workers: expected"),
        ("or add --fresh, or give --mlruns FOLDER", "or add fresh=True, or give mlruns=FOLDER"),
        ("name (--set name=NAME)", "name (sets={'name': 'NAME'})"),
        ("--set ablation.tuning.num_trials=3", "sets={'ablation.tuning.num_trials': 3}"),
        ("got '--fresh 3'; runs--seed/x", "got '--fresh 3'; runs--seed/x"),
        ("with --fresh, or by python -m x --fresh", "with fresh=True, or by python -m x --fresh"),
        ("--host 0.0.0.0 --remote", "--host 0.0.0.0 --remote"),
    ],
)
def test_errors_speak_of_arguments(flags: str, arguments: str) -> None:
    with pytest.raises(UserError) as told, _told_as_arguments():
        raise UserError(flags)
    assert str(told.value) == arguments
