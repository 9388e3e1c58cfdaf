import argparse
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.core.config import TrainConfig
from pipeline.errors import UserError
from pipeline.record.folders import study_folder
from pipeline.session import resolve
from pipeline.session.cli import guarded, options, parser
from pipeline.session.places import folder
from pipeline.session.values import positive, seconds, share
from pipeline.study.study import Study
from tests.pictures import class_folder, save

ROOT = Path(__file__).parents[1]
COMMANDS = [
    *(
        f"pipeline.{p.stem}"
        for p in sorted((ROOT / "pipeline").glob("*.py"))
        if "__main__" in p.read_text(encoding="utf-8")
    ),
    *(f"pipeline.{p.parent.name}" for p in sorted((ROOT / "pipeline").glob("*/__main__.py"))),
]
HEAVY = (
    "torch",
    "torchvision",
    "numpy",
    "ray",
    "optuna",
    "mlflow",
    "pandas",
    "matplotlib",
    "sklearn",
    "scipy",
    "PIL",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working directory with studies and folders of pictures; no command here may leave anything
    in it.
    """
    place = tmp_path_factory.mktemp("place")
    (place / "studies").mkdir()
    (place / "studies" / "broken.py").write_text(
        "from pipeline.study.study import Study\nSTUDY = Study(", encoding="utf-8"
    )
    strict = (
        "import dataclasses\nfrom pipeline.studies.hw3 import STUDY\nSTUDY = "
        'STUDY.override({"fallback": None, "name": "strict"})\n'
    )
    (place / "studies" / "strict.py").write_text(strict, encoding="utf-8")
    (place / "broken.json").write_text('{"name": "x"', encoding="utf-8")
    (place / "empty").mkdir()
    class_folder(place / "photos", num=6)
    class_folder(place / "one-class", classes=("bread",), num=6)
    save(place / "photo.jpg")
    return place


@pytest.mark.parametrize(
    "command", ["search --study hw3 --mlruns", "caches --mlruns", "ui --mlruns", "repair"]
)
def test_a_folder_that_cannot_be_reached_is_said(command, tmp_path, capsys):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    name, *words = command.split()
    for path, why in (
        (tmp_path / ("x" * 300) / "y", "File name too long"),
        (tmp_path / "circle" / "y", "symbolic links"),
    ):
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(f"pipeline.{name}").main([*words, str(path)])
        assert ended.value.code == 2
        assert why in " ".join(capsys.readouterr().err.split())


def test_a_folder_may_be_there_or_not_yet(tmp_path):
    (tmp_path / "file").touch()
    assert [folder(str(tmp_path / name)) for name in ("", "none", "file")]


FORKS = """
import json, os, runpy, sys
import pipeline.session.session
from pipeline.session import forecast

forecast.DRY_SECONDS = 0.0  # how long an epoch takes need not be told, which takes seconds

for line in sys.stdin:
    words, folder, variables, *streams = json.loads(line)
    if not (child := os.fork()):
        for number, name in enumerate((os.devnull, *streams)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def forks() -> "subprocess.Popen[str]":
    """A process that has loaded what every command does, half a second each, and runs each in a
    process of its own as `python -m` would; it ends with this one.
    """
    return subprocess.Popen(
        (sys.executable, "-c", FORKS),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "NO_COLOR": "1", **environment}
    with tempfile.TemporaryDirectory() as temp:
        streams = [Path(temp) / "out", Path(temp) / "err"]
        words = json.dumps([arguments, str(place), variables, *map(str, streams)])
        print(words, file=forks().stdin, flush=True)
        code = int(forks().stdout.readline())
        return subprocess.CompletedProcess(arguments, code, *(file.read_text() for file in streams))


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in place.rglob("*")}


def refused(place: Path, *arguments: str, code: int = 2, **environment: str) -> str:
    """Run a command that must be refused; returns its message."""
    before = contents(place)
    found = run(place, *arguments, **environment)
    assert found.returncode == code, found.stderr
    assert "Traceback" not in found.stderr + found.stdout
    assert found.stdout == ""
    message = found.stderr.replace("\n       ", " ")  # what goes on stands below where it began
    assert all(line.startswith(("error: ", "usage: ")) for line in message.splitlines()), (
        found.stderr
    )
    assert contents(place) == before
    return message


BAD = {
    "no study": ([], ["--study"]),
    "unknown study": (
        ["--study", "hw4"],
        [
            "--study",
            "'hw4'",
            "allowed: broken, strict (yours, in studies/); activations",
            "did you mean 'hw3'?",
        ],
    ),
    "path for a study": (["--study", "../hw3"], ["'../hw3'", "hw3"]),
    "broken study": (["--study", "broken"], ["broken.py", "SyntaxError", "line 2"]),
    "missing json": (["--study", "none.json"], ["none.json", "No such file"]),
    "broken json": (["--study", "broken.json"], ["broken.json", "not JSON", "line 1"]),
    "misspelt flag": (
        ["--study", "hw3", "--trails", "5"],
        ["--trails", "did you mean '--trials'?"],
    ),
    "misspelt flag that is needed": (["--stdy", "hw3"], ["--stdy", "did you mean '--study'?"]),
    "flag cut short": (["--study", "hw3", "--tri", "5"], ["--tri", "did you mean '--trials'?"]),
    "stray word": (["--study", "hw3", "search"], ["unrecognized arguments: search"]),
    "trials in words": (["--study", "hw3", "--trials", "five"], ["--trials", "'five'"]),
    "negative trials": (
        ["--study", "hw3", "--trials", "-1"],
        ["search.num_trials", "-1", "at least 0 is expected, got -1"],
    ),
    "too many trials": (
        ["--study", "hw3", "--trials", "1000000"],
        ["search.num_trials", "1000000", "100000"],
    ),
    "no epochs": (["--study", "hw3", "--epochs", "0"], ["--epochs", "'0'", "at least 1"]),
    "half an epoch": (["--study", "hw3", "--epochs", "1.5"], ["--epochs", "'1.5'"]),
    "no replicates": (["--study", "hw3", "--replicates", "0"], ["--replicates", "'0'"]),
    "negative seed": (["--study", "hw3", "--seed", "-1"], ["search.seed", "-1"]),
    "a time without a unit known": (
        ["--study", "hw3", "--time", "6x"],
        ["--time", "'6x'", "6h, 90m, 1h30m or 45s"],
    ),
    "no time": (["--study", "hw3", "--time", "0"], ["--time", "'0'"]),
    "an empty time": (["--study", "hw3", "--time", ""], ["--time", "''"]),
    "no workers": (["--study", "hw3", "--workers", "0"], ["--workers", "'0'"]),
    "a negative GPU": (["--study", "hw3", "--gpus-per-trial", "-1"], ["--gpus-per-trial", "-1"]),
    "a GPU in words": (
        ["--study", "hw3", "--gpus-per-trial", "all"],
        ["--gpus-per-trial", "'all'"],
    ),
    "more GPUs than there are": (
        ["--study", "hw3", "--gpus-per-trial", "64"],
        ["--gpus-per-trial", "64", "usable GPUs"],
    ),
    "no assignment": (["--study", "hw3", "--set", "epochs"], ["--set", "KEY=VALUE", "'epochs'"]),
    "no key": (["--study", "hw3", "--set", "=3"], ["--set", "KEY=VALUE", "'=3'"]),
    "misspelt field": (
        ["--study", "hw3", "--set", "optimizer.lrr=1"],
        [
            "--set",
            "baseline.optimizer.lrr",
            "allowed: name, lr, weight_decay",
            "did you mean 'lr'?",
        ],
    ),
    "misspelt part": (
        ["--study", "hw3", "--set", "optimizr.lr=1"],
        ["--set: optimizr.lr", "did you mean 'optimizer'?"],
    ),
    "misspelt top-level field": (
        ["--study", "hw3", "--set", "epoch=1"],
        ["--set: epoch", "did you mean 'epochs'?"],
    ),
    "a word for a number": (
        ["--study", "hw3", "--set", "optimizer.lr=fast"],
        ["baseline.optimizer.lr", "'fast'"],
    ),
    "out of range": (
        ["--study", "hw3", "--set", "optimizer.lr=-1"],
        ["baseline.optimizer.lr", "-1", "more than 0"],
    ),
    "not a number": (
        ["--study", "hw3", "--set", "optimizer.lr=NaN"],
        ["baseline.optimizer.lr", "nan", "finite"],
    ),
    "overflow": (
        ["--study", "hw3", "--set", "optimizer.lr=1e999"],
        ["baseline.optimizer.lr", "inf", "finite"],
    ),
    "an abyss": (
        ["--study", "hw3", "--set", "optimizer.lr=" + "[" * 50_000],
        ["baseline.optimizer.lr"],
    ),
    "a study's file": (["--study", "studies/hw3.py"], ["'studies/hw3.py'", "did you mean 'hw3'?"]),
    "unknown member": (
        ["--study", "hw3", "--set", "model.name=resnet19"],
        ["baseline.model.name", "'resnet19'", "did you mean 'resnet18'?"],
    ),
    "a part for its name": (
        ["--study", "hw3", "--set", "model=resnet18"],
        ["did you mean 'baseline.model.name'?"],
    ),
    "unknown choice": (
        ["--study", "hw3", "--set", "precision=fp8"],
        ["baseline.precision", "auto, fp32, bf16, fp16"],
    ),
    "a range beyond the config": (
        ["--study", "hw3", "--set", "space.knobs.model.dropout.high=2"],
        ["study 'hw3', space: model.dropout", "2.0"],
    ),
    "several mistakes": (
        ["--study", "hw3", "--set", "epochs=0", "--set", "batch_size=0"],
        ["baseline.epochs", "baseline.batch_size"],
    ),
    "a factor without effect": (
        ["--study", "hw3", "--set", "augment.strength=1"],
        ["'augmentation'", "no effect"],
    ),
    "missing folder": (
        ["--study", "hw3", "--data", "photo"],
        ["photo", "no such folder", "did you mean 'photos'?"],
    ),
    "empty folder": (["--study", "hw3", "--data", "empty"], ["empty", "no pictures"]),
    "a file for a folder": (
        ["--study", "hw3", "--data", "photo.jpg"],
        ["photo.jpg", "this is a file"],
    ),
    "one class": (
        ["--study", "hw3", "--data", "one-class"],
        ["one-class", "at least 2 classes", "'bread'"],
    ),
    "no pictures anywhere": (["--study", "strict"], ["study 'strict'", "data/food-11", "--data"]),
    "nothing to resume": (
        ["--study", "hw3", "--resume"],
        ["--resume", "nothing is recorded in mlruns/hw3-digits"],
    ),
    "resume and fresh": (
        ["--study", "hw3", "--resume", "--fresh"],
        ["--fresh", "not allowed with", "--resume"],
    ),
    "loud and quiet": (["--study", "hw3", "-v", "-q"], ["-q", "not allowed with", "-v"]),
    "a hostile name": (["--study", "\x1b[2J"], ["\\x1b[2J"]),
    "a hostile flag": (["--study", "hw3", "--\x1b[2J"], ["\\x1b[2J"]),
    "a hostile key": (["--study", "hw3", "--set", "optimizer.\x1b[2J=1"], ["\\x1b[2J"]),
    "a hostile folder": (["--study", "hw3", "--data", "\x1b[2J"], ["\\x1b[2J"]),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_answered_and_leaves_nothing(place, arguments, words):
    message = refused(place, "pipeline.search", *arguments)
    for word in words:
        assert word in message
    assert all(line.isprintable() for line in message.splitlines())


def test_a_folder_named_by_the_environment_is_checked_too(place):
    assert "no such folder" in refused(place, "pipeline.search", "--study", "hw3", FOOD11="gone")


def test_the_ablation_has_no_trials(place):
    assert "unrecognized arguments: --trials" in refused(
        place, "pipeline.ablate", "--study", "hw3", "--trials", "5"
    )


def test_there_is_nothing_to_show_before_a_study_ran(place):
    assert "no results yet in" in refused(place, "pipeline.ui")


@pytest.mark.parametrize("command", ["pipeline.report", "pipeline.export"])
def test_what_reads_a_record_says_what_to_do_where_there_is_none(place, command):
    assert "run pipeline.search or pipeline.ablate first" in refused(
        place, command, "--study", "hw3"
    )
    message = refused(place, command, "--study", "hw3", "--set", "dataset.size=32")
    assert "the configuration is the recorded one here, leave it out" in message
    assert "did you mean" not in message


def test_a_place_that_cannot_be_written_to_is_the_surroundings_fault(place):
    message = refused(place, "pipeline.search", "--study", "hw3", "--mlruns", "photo.jpg", code=4)
    assert "photo.jpg" in message


HELP = """
import json, runpy, sys
command, *heavy = sys.argv[1:]
sys.argv = [command, "--help"]
try:
    runpy.run_module(command, run_name="__main__")
except SystemExit as end:
    print()
    print(json.dumps([end.code, sorted(set(heavy) & set(sys.modules))]))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_quick_since_it_imports_nothing_heavy(place, command):
    found = subprocess.run(
        [sys.executable, "-c", HELP, command, *HEAVY],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout.splitlines()[-1]) == [0, []]
    assert f"usage: python -m {command.removesuffix('.__main__')}" in found.stdout


@pytest.mark.parametrize("arguments", [["--data", "photos"], []])
def test_a_dry_run_shows_the_plan_and_writes_nothing(place, arguments):
    before = contents(place)
    found = run(
        place,
        "pipeline.search",
        "--study",
        "hw3",
        "--dry-run",
        "--trials",
        "7",
        "--epochs",
        "9",
        *arguments,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    assert contents(place) == before
    said = ("classes  ", "labels  ", "train  ", "validation ", "left out ")
    for word in (
        *said,
        "7 trials",
        "optimizer.sgd.lr",
        "4 arms",
        "ResNet + augmentation",
        "nothing was trained or written",
    ):
        assert word in found.stdout
    assert ("embedded default" in found.stdout) == (not arguments)
    assert ("mlruns/hw3-photos" in found.stdout) == bool(arguments)


def test_a_record_is_not_moved_aside_for_a_wrong_folder(place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    recorded = tmp_path / "mlruns" / "hw3-empty"
    recorded.mkdir(parents=True)
    (recorded / "ledger.jsonl").write_text("what was found out before")
    assert "no pictures" in refused(
        tmp_path, "pipeline.search", "--study", "hw3", "--data", "empty", "--fresh"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6h", 21600),
        ("90m", 5400),
        ("1h30m", 5400),
        ("45s", 45),
        ("45", 45),
        ("1.5H", 5400),
        (" 2m5s ", 125),
        ("0.5", 0.5),
    ],
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "0h0m", "-5", "h", "5d", "1m1h", "nan", "inf", "1e3", "6 h"]
)
def test_what_is_no_time(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a time"):
        seconds(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.0", "", "1_000", "٣", "1e3", "9" * 10])
def test_what_is_no_whole_positive_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        positive(text)


@pytest.mark.parametrize("text", ["-0.1", "64.1", "nan", "inf", "", "1,5"])
def test_what_is_no_share(text):
    with pytest.raises(argparse.ArgumentTypeError, match="between 0 and 64"):
        share(text)


def chosen(place: Path, monkeypatch, *arguments: str) -> tuple[Study, Path | None, str]:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(ROOT))
    flags = parser("pipeline.search", "", trains=True, searches=True)
    found = resolve.chosen(options(flags, ["--study", "hw3", *arguments]))
    return found.study, found.data, found.note


def test_flags_reach_the_study(place, monkeypatch):
    study, data, note = chosen(
        place,
        monkeypatch,
        *("--data", "photos", "--trials", "7", "--epochs", "3", "--replicates", "4", "--seed", "5"),
        *(
            "--set",
            "optimizer.name=sgd",
            "--set",
            "optimizer.momentum=0.5",
            "--set",
            "search.sampler=random",
        ),
        *(
            "--set",
            "space.knobs.batch_size.options=[16, 32]",
            "--set",
            "title=A title = with signs",
        ),
    )
    assert (data, note) == (Path("photos"), "")
    assert (
        study.search.num_trials,
        study.baseline.epochs,
        study.ablation.replicates,
        study.search.seed,
    ) == (7, 3, 4, 5)
    assert study.baseline.optimizer.model_dump() == {
        "name": "sgd",
        "lr": 0.05,
        "weight_decay": 0.0,
        "momentum": 0.5,
        "nesterov": False,
    }
    assert study.search.sampler == "random"
    assert study.space.knobs["batch_size"].edges() == (16, 32)
    assert study.title == "A title = with signs"


def test_what_another_part_does_not_take_over_is_said(place, monkeypatch, capsys):
    study, *_ = chosen(place, monkeypatch, "--set", "optimizer.name=sgd")
    said = " ".join(capsys.readouterr().err.split())
    assert "optimizer.lr=0.001, optimizer.weight_decay=1e-05 are not taken over" in said
    assert study.baseline.optimizer.lr == 0.05
    own = ("--set", "optimizer.lr=0.1", "--set", "optimizer.weight_decay=0")
    chosen(place, monkeypatch, "--set", "optimizer.name=sgd", *own)
    chosen(place, monkeypatch, "--set", "optimizer.name=adam")
    chosen(place, monkeypatch, "--set", "ablation.design.on.ResNet.model.name=resnet18")
    assert capsys.readouterr().err == ""


def test_a_knob_may_be_left_out_of_the_search(place, monkeypatch, capsys):
    whole, *_ = chosen(place, monkeypatch)
    fewer, *_ = chosen(
        place,
        monkeypatch,
        *("--set", "space.knobs.batch_size=null", "--set", "space.branches.optimizer=null"),
    )
    assert set(whole.space.knobs) - set(fewer.space.knobs) == {"batch_size"}
    assert (set(whole.space.branches), fewer.space.branches) == ({"optimizer"}, {})
    assert Study.parse(fewer.model_dump(mode="json"), source="test") == fewer
    assert capsys.readouterr().err == ""
    for path, meant in (("knobs.batchsize", "batch_size"), ("branches.optimiser", "optimizer")):
        with pytest.raises(UserError, match=rf"space\.{path}=null: .*did you mean '{meant}'"):
            chosen(place, monkeypatch, "--set", f"space.{path}=null")
    name = "space.knobs.model.width"
    wider = json.dumps({"kind": "int", "low": 4, "high": 8})
    no_arms = ("--set", 'ablation.design.on.ResNet={"clip_norm": 1.0}')
    swapped, *_ = chosen(
        place, monkeypatch, "--set", f"{name}={wider}", "--set", "model.name=vit", *no_arms
    )
    assert "model.width" not in swapped.space.knobs
    words = " ".join(capsys.readouterr().err.split())
    assert "note: --set: dropped: model.width (vit has no such field)" in words
    network = ("--set", "model.name=mobilenet", "--set", "space.knobs.model.name=null")
    where = ("--set", 'space.where=["batch_size * model.width <= 4096", "batch_size < 200"]')
    swapped, *_ = chosen(place, monkeypatch, *where, *network)
    words = " ".join(capsys.readouterr().err.split())
    assert "dropped: model.width, where batch_size * model.width <= 4096 (mobilenet has" in words
    assert swapped.space.where == ("batch_size < 200",)
    assert "model.width" not in swapped.space.knobs
    derived = ("--set", 'space.derived={"model.width": "round(batch_size / 8)"}')
    swapped, *_ = chosen(
        place, monkeypatch, *derived, "--set", "space.knobs.model.width=null", *network
    )
    assert "dropped: model.width (mobilenet has" in " ".join(capsys.readouterr().err.split())
    assert swapped.space.derived == {}
    swapped, *_ = chosen(place, monkeypatch, *where, *network[:2])
    assert len(swapped.space.where) == 2, "some of the networks that are searched have a width"


def test_the_flag_comes_before_the_environment_and_both_before_the_fallback(place, monkeypatch):
    monkeypatch.setenv("FOOD11", "/from/the/environment")
    assert chosen(place, monkeypatch)[1] == Path("/from/the/environment")
    assert chosen(place, monkeypatch, "--data", "photos")[1] == Path("photos")
    monkeypatch.delenv("FOOD11")
    study, data, note = chosen(place, monkeypatch)
    assert data is None
    assert "embedded default" in note
    assert study.baseline.dataset.name == "digits"


def test_a_dataset_that_lies_in_no_folder_needs_none(place, monkeypatch):
    monkeypatch.setenv(
        "FOOD11", "/from/the/environment"
    )  # the study's pictures, not those of the set that is named
    for sets in (
        ["dataset.name=torchvision", "dataset.set=SVHN"],
        ["dataset.name=huggingface", "dataset.path=a/b"],
    ):
        study, data, note = chosen(
            place, monkeypatch, *(word for text in sets for word in ("--set", text))
        )
        assert (data, note, study.baseline.dataset.name) == (None, "", sets[0].split("=")[1])
    torchvision = ("--set", "dataset.name=torchvision", "--data", "photos")
    study, data, _ = chosen(place, monkeypatch, *torchvision)
    assert data == Path("photos")
    assert study_folder(Path("mlruns"), study, data) == Path("mlruns/hw3-CIFAR10")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--set", "dataset.name=csv"),
            "dataset.name: csv: its pictures lie in a folder; give it with --data",
        ),
        (("--set", "dataset.name=foldr"), "did you mean 'folder'?"),
        (
            ("--set", "dataset.name=digits", "--data", "photos"),
            "this study's pictures (digits) are in no folder",
        ),
        (
            ("--set", "dataset.name=torchvision", "--set", "dataset.set=CIFAR-10"),
            "did you mean 'CIFAR10'?",
        ),
    ],
)
def test_a_dataset_and_a_folder_that_do_not_go_together(place, monkeypatch, arguments, words):
    with pytest.raises(UserError) as caught:
        chosen(place, monkeypatch, *arguments)
    assert words in str(caught.value)


def test_flags_of_the_fallbacks_dataset_reach_it(place, monkeypatch):
    study, _, note = chosen(place, monkeypatch, "--set", "dataset.num_train=200")
    assert note
    assert study.baseline.dataset.num_train == 200


def test_flags_are_stronger_than_the_fallback(place, monkeypatch):
    study, _, note = chosen(
        place, monkeypatch, "--epochs", "2", "--trials", "3", "--set", "model.width=4"
    )
    assert note
    assert (study.baseline.epochs, study.search.num_trials, study.baseline.model.width) == (2, 3, 4)


def test_a_short_key_means_the_baseline_and_no_field_has_two_meanings():
    assert not TrainConfig.model_fields.keys() & Study.model_fields.keys()


def test_a_home_folder_is_found(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert chosen(place, monkeypatch, "--data", "~/photos")[1] == place / "photos"


@pytest.mark.parametrize(
    "code", ["raise UserError('a\\nb')", "raise KeyboardInterrupt", "return 3"]
)
def test_the_guard_gives_the_exit_code(code, capsys):
    namespace = {"UserError": UserError}
    exec(f"def main(argv):\n    {code}", namespace)
    with pytest.raises(SystemExit) as end:
        guarded(namespace["main"])
    expected = {"raise K": 130, "return ": 3, "raise U": 2}[code[:7]]
    assert end.value.code == expected
    assert capsys.readouterr().err == ("error: a\nerror: b\n" if expected == 2 else "")
