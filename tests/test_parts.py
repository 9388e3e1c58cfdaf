"""Parts of the user's own: named, imported, checked, searched, hashed as those of the product."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from own import NETS, folder, written
from scans import SMALL, digits, numbers

from pipeline.core.config import TrainConfig
from pipeline.core.identity import as_today
from pipeline.core.losses import CrossEntropy
from pipeline.core.models import CNN
from pipeline.core.rehearsal import rehearse
from pipeline.core.train import train
from pipeline.errors import UserError
from pipeline.own.code import FOLDERS
from pipeline.own.parts import Own, own_parts
from pipeline.record.sources import changed, code
from pipeline.study.around import Around
from pipeline.study.load import load_study
from pipeline.study.space import Choice, Int, Space
from pipeline.study.survey import check

__all__ = ["folder"]

OWN = {
    "model.name": "my_nets:MyNet",
    "loss.name": "my_nets:my_loss",
    "optimizer.name": "my_nets:my_sgd",
    "schedule.name": "my_nets:my_schedule",
}


@pytest.fixture
def nets(folder: Path) -> Path:
    return written(folder, "my_nets.py", NETS)


@pytest.mark.usefixtures("nets")
def test_a_signature_gives_the_knobs_and_json_gives_the_same_part_back() -> None:
    config = SMALL.override(OWN | {"model.width": 16, "loss.temperature": 2})
    assert config.flat()["model.width"] == 16
    assert config.flat()["model.pool"] == 2
    assert config.flat()["loss.temperature"] == 2.0
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    again = TrainConfig.parse(config.model_dump(mode="json"), source="test")
    assert again.fingerprint() == config.fingerprint()
    assert [path for path, _ in own_parts(config)] == ["model", "optimizer", "schedule", "loss"]


@pytest.mark.usefixtures("nets")
def test_a_part_is_named_by_its_tag_by_itself_or_with_knobs() -> None:
    import my_nets  # type: ignore[import-not-found]

    named = TrainConfig().override({"model.name": "my_nets:MyNet", "model.width": 16})
    for given in (Own("my_nets:MyNet", width=16), Own(my_nets.MyNet, width=16)):
        assert TrainConfig(model=given) == named  # type: ignore[arg-type]
    assert TrainConfig(loss=my_nets.my_loss).loss.model_dump() == {
        "name": "my_nets:my_loss",
        "temperature": 1.0,
    }
    assert named.override({"model.name": "cnn"}).model == CNN()
    with pytest.raises(ValueError, match="define it at the top level of a module"):
        Own(lambda logits, _: logits.mean())


def test_a_config_class_of_the_users_keeps_what_it_shares_with_ours(folder: Path) -> None:
    text = """
from typing import Literal
from pipeline.core.models.base import Own

class Mine(Own):
    name: Literal["mine"] = "mine"
    depth: int = 2

    def assemble(self, channels, size, num_classes):
        from torch import nn
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, num_classes))
"""
    written(folder, "my_config.py", text)
    config = SMALL.override({"model.width": 5}).override({"model.name": "my_config:Mine"})
    assert config.flat()["model.width"] == 5
    assert config.flat()["model.depth"] == 2
    import my_config  # type: ignore[import-not-found]

    assert TrainConfig(model=my_config.Mine(width=5)).model == config.model
    assert SMALL.override({"model": Own(my_config.Mine, width=5)}).model == config.model
    assert "model Mine" in code(config)
    written(folder, "my_config.py", text.replace("(Own)", "(Frozen)").replace(
        "models.base import Own", "models.base import Frozen"))  # fmt: skip
    with pytest.raises(UserError, match=r"my_config.py, line 5: Mine: .* derives from .*Network"):
        SMALL.override({"model.name": "my_config:Mine"})


@pytest.mark.usefixtures("nets")
def test_parts_train_the_same_twice_and_are_searched() -> None:
    config = SMALL.override(OWN | {"epochs": 2, "model.width": 4})
    inputs = digits(num_train=60)
    assert numbers(train(config, inputs, seed=1)) == numbers(train(config, inputs, seed=1))
    plain = SMALL.override({"epochs": 2, "model.width": 4})
    own = plain.override({"loss.name": "my_nets:my_loss"})
    assert numbers(train(own, inputs, seed=1)) == numbers(train(plain, inputs, seed=1))
    space = Space(
        knobs={"loss.name": Choice(options=("cross_entropy", "my_nets:MyFocal"))},
        branches={"model": {"my_nets:MyNet": {"width": Int(low=4, high=8)}, "cnn": {}}},
    )
    check(Around(space, TrainConfig()), source="space")
    point = space.point(TrainConfig().override({"model.name": "my_nets:MyNet"}).flat())
    assert point == {
        "loss.name": "cross_entropy",
        "model.name": "my_nets:MyNet",
        "model.width": 8,
    }


WRONG: list[tuple[str, str, str, str]] = [
    ("model.name", "", "my_nets:Nett", "nothing called Nett; .*did you mean 'MyNet'"),
    ("model.name", "", "no_nets:Net", "no module 'no_nets'.*beside the study's file"),
    ("model.name", "", "my_nets", "unknown; got 'my_nets'; allowed: alexnet"),
    ("model.name", "", "my-nets:Net", "a part of your own is named 'module:Name'"),
    ("model.name", "1 / 0", "my_nets:MyNet", r"my_nets.py, line 2: ZeroDivisionError"),
    ("model.name", "def f(:", "my_nets:MyNet", r"my_nets.py, line 2: SyntaxError"),
    ("model.name", "import no_such_thing", "my_nets:MyNet", "my_nets.py, line 2: ModuleNotFoundEr"),
    ("loss.name", "def f(logits): 0", "my_nets:f", "line 2: every loss takes logits and targets"),
    ("optimizer.name", "def f(params): 0", "my_nets:f", "my_nets.py, line 2: every optimizer .*lr"),
    ("schedule.name", "def f(p, warmup=1): 0", "my_nets:f", "line 2: warmup: this name has a mean"),
    ("model.name", "def f(width): 0", "my_nets:f", "my_nets.py, line 2: width: no JSON type is"),
    ("model.name", "def f(width, /): 0", "my_nets:f", "line 2: width: it cannot be passed by its"),
    ("model.name", "f = 3", "my_nets:f", "f: a class or function is expected, got 3"),
]


@pytest.mark.parametrize(("path", "text", "tag", "said"), WRONG)
def test_what_cannot_be_a_part_is_told_with_file_and_line(
    path: str, text: str, tag: str, said: str, folder: Path
) -> None:
    written(folder, "my_nets.py", f"\n{text}\n" if text else NETS)
    with pytest.raises(UserError, match=said):
        SMALL.override({path: tag})


@pytest.mark.usefixtures("nets")
def test_a_wrong_knob_is_told_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"model.widht: unknown key; .*allowed: name, width, pool"):
        SMALL.override({"model.name": "my_nets:MyNet", "model.widht": 3})
    with pytest.raises(UserError, match=r"model.width: a whole number is expected, got .wide."):
        SMALL.override({"model.name": "my_nets:MyNet", "model.width": "wide"})


FAILS: list[tuple[str, str, str]] = [
    ("model.name", "def f(num_classes): return nn.Flatten()", "line 3: of 4 .*got .4, 64."),
    ("model.name", "def f(): return 3", "my_nets.py, line 3: an nn.Module is expected, got int"),
    (
        "model.name",
        "class f(nn.Module):\n    def forward(self, x):\n        return x.no_such",
        "my_nets.py, line 5: AttributeError",
    ),
    ("loss.name", "def f(logits, targets): return logits", "a loss is one number, .*got .4, 10."),
    ("loss.name", "def f(a, b): return a.sum().detach()", "my_nets.py, line 3: RuntimeError"),
    ("optimizer.name", "def f(params, lr=1.0): return lr", "a torch.optim.Optimizer is expected"),
    (
        "optimizer.name",
        "class f(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=1.0):\n        super().__init__(params, lr)\n"
        "        self.param_groups[0]['count'] = 0\n"
        "    def step(self):\n        self.param_groups[0]['count'] += 1",
        "it changes 'count' of its parameter group",
    ),
    ("schedule.name", "def f(progress): return -1.0", "a number from 0 on, got -1.0"),
]


@pytest.mark.parametrize(("path", "text", "said"), FAILS)
def test_what_does_not_work_is_found_by_one_step(
    path: str, text: str, said: str, folder: Path
) -> None:
    written(folder, "my_nets.py", f"import torch\nfrom torch import nn\n{text}\n")
    config = SMALL.override({path: "my_nets:f"})
    with pytest.raises(UserError, match=f"{path} 'my_nets:f': .*{said}"):
        rehearse(config, channels=1, size=8, num_classes=10)


@pytest.mark.usefixtures("nets")
def test_what_works_passes() -> None:
    rehearse(SMALL.override(OWN), channels=1, size=8, num_classes=10)
    rehearse(SMALL, channels=1, size=8, num_classes=10)


def test_an_edit_is_a_change_of_code(nets: Path) -> None:
    config = SMALL.override({"model.name": "my_nets:MyNet"})
    before = code(config)
    assert set(before["model MyNet"]) == {"my_nets.py", "pipeline/core/models/plain.py"}
    written(nets.parent, "my_nets.py", NETS.replace("** self.gamma", "* self.gamma"))
    assert changed(before, code(config)) == set(), "of another part"
    written(nets.parent, "my_nets.py", NETS.replace("nn.ReLU()", "nn.Tanh()"))
    assert changed(before, code(config)) == {"my_nets.py"}


STUDY = """
from pipeline.core.config import TrainConfig
from pipeline.study.designs import LeaveOneOut
from pipeline.study.space import Float, Space
from pipeline.study.study import Ablation, Study
from torch import nn
import helpers

class Net(nn.Module):
    def __init__(self, num_classes, size, channels, bias=True):
        super().__init__()
        self.layer = nn.Linear(channels * size * size, num_classes, bias)

    def forward(self, x):
        return self.layer(x.flatten(1))

STUDY = Study(
    name="mine",
    title=helpers.TITLE,
    baseline=TrainConfig(model=Net),
    space=Space(knobs={"optimizer.lr": Float(low=1e-4, high=1e-2)}),
    ablation=Ablation(design=LeaveOneOut(off={"net": {"model.name": "cnn"}})),
)
"""


def test_a_study_of_any_path_or_module_brings_its_own_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = folder
    written(tmp_path, "my repo/helpers.py", "TITLE = 'Mine'\n")
    path = written(tmp_path, "my repo/my_study.py", STUDY)
    study = load_study(str(path))
    assert study.title == "Mine"
    assert study.baseline.flat()["model.name"] == "my_study:Net"
    assert sys.path[-1] == str(path.parent), "last, so that it takes no package's place"
    asks = "from pipeline.core.config import TrainConfig as T; import torch; m = T().override({'model.name': 'my_study:Net'}).model; print(m.bias, T.__name__)"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=False)
    assert done.stdout == "True TrainConfig\n", done.stderr
    written(tmp_path, "my_package/__init__.py", "")
    written(tmp_path, "my_package/mine.py", STUDY.replace("import helpers", "").replace(
        "helpers.TITLE", "'Packed'"))  # fmt: skip
    monkeypatch.chdir(tmp_path)
    study = load_study("my_package.mine")
    assert study.title == "Packed"
    assert study.baseline.flat()["model.name"] == "my_package.mine:Net"
    with pytest.raises(UserError, match=r"no such file; got 'nowhere\.py'"):
        load_study("nowhere.py")


def test_a_study_called_like_a_package_is_loaded_but_has_no_parts(tmp_path: Path) -> None:
    text = STUDY.replace("import helpers", "").replace("helpers.TITLE", "'x'")
    path = written(tmp_path, "json.py", text.replace("model=Net", ""))
    assert load_study(str(path)).title == "x"
    import json

    assert hasattr(json, "dumps")
    path.write_text(text)
    with pytest.raises(UserError, match="called like no installed module"):
        load_study(str(path))


def test_a_part_that_is_gone_is_named_where_a_record_speaks_of_it(
    nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = TrainConfig(model=Own("my_nets:MyNet", width=4)).model_dump(mode="json")
    assert as_today(TrainConfig, tree).model.name == "my_nets:MyNet"  # type: ignore[union-attr]
    nets.unlink()
    monkeypatch.delitem(sys.modules, "my_nets")
    importlib.invalidate_caches()
    with pytest.raises(UserError) as told:
        as_today(TrainConfig, tree)
    assert "there is no module 'my_nets' for 'my_nets:MyNet'" in str(told.value)
    assert "put the code back" in str(told.value)
    assert "another version" not in str(told.value)


def test_a_parameter_without_a_value_is_asked_for(folder: Path) -> None:
    written(folder, "asks.py", NETS.replace("width: int = 8", "width: int"))
    with pytest.raises(UserError) as told:
        TrainConfig().override({"model": {"name": "asks:MyNet"}}, source="study")
    said = "study: model.width: this key is required: 'asks:MyNet' has no default for it"
    assert said in str(told.value)


def test_a_package_offers_parts_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.own import code as own_code

    written(folder, "my_nets.py", NETS)
    written(folder, "offers-1.0.dist-info/entry_points.txt",
        "[pipeline.parts]\nmynet = my_nets:MyNet\n")  # fmt: skip
    written(folder, "offers-1.0.dist-info/METADATA", "Name: offers\nVersion: 1.0\n")
    own_code.offered.cache_clear()
    try:
        config = SMALL.override({"model.name": "mynet", "model.width": 4})
        assert config.model.model_dump() == {"name": "mynet", "width": 4, "pool": 2}
        assert "my_nets.py" in code(config)["model MyNet"]
        with pytest.raises(UserError, match="did you mean 'mynet'"):
            SMALL.override({"model.name": "mynett"})
    finally:
        monkeypatch.undo()
        own_code.offered.cache_clear()


def test_nothing_of_it_is_loaded_where_no_part_is_ones_own() -> None:
    asks = (
        "import sys; from pipeline.core.config import TrainConfig; "
        "TrainConfig(); print('torch' in sys.modules, 'importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"
    assert isinstance(TrainConfig().loss, CrossEntropy)
    assert FOLDERS == "PIPELINE_CODE"
