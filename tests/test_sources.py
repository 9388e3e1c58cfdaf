"""Changed code is a changed method: what counts as a change, and that runs of different code are
never pooled.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.fairness import unequal
from pipeline.core.config import TrainConfig
from pipeline.frozen import Frozen, digest
from pipeline.record import event_form, events, sources
from pipeline.record.record import Record
from pipeline.record.sources import changed, code
from pipeline.report import compose, write_report
from pipeline.study.designs import Arms
from tests import commands
from tests.driver import Worker, drive, open_plan
from tests.records import Scribe, lines, make_study, with_arms
from tests.studies import small_study

PACKAGE = {
    "__init__.py": "",
    "net.py": '''
import math
from math import floor as rounded
import mymethod.patches
from mymethod import tools
from mymethod.layers import Block, UNUSED
from .deep import *
from pipeline.frozen import Frozen

SCALE = 2
ACTIVE = {}

def offered(function):
    ACTIVE[function.__name__] = function
    return function

@offered
def shift(x):
    return x + 7

if SCALE:
    import mymethod.branch

class Base(Frozen):
    depth: int = 1

    def build(self):
        from mymethod.late import late
        return late(Block, SCALE), rounded(math.pi)

class Net(Base):
    """A network."""

    width: int = 4

    def run(self, x: int) -> int:
        """Twice."""
        return tools.twice(x) + deep(x)  # a comment

class Other(Base):
    def run(self):
        return 5
''',
    "layers.py": """
def helper(x):
    return x + 1

class Block:
    size: int = 3
    def f(self, x):
        return helper(x)

UNUSED = 1
""",
    "tools.py": """
def twice(x):
    return 2 * x

def thrice(x):
    return 3 * x
""",
    "late.py": """
try:
    from mymethod.layers import helper
except ImportError:
    helper = None

def late(*parts):
    return helper
""",
    "deep.py": "def deep(x):\n    return x\n",
    "patches.py": "import mymethod.tools as t\nt.twice.mark = 1\n"
    "for name in ('a', 'b'):\n    t.last = 11\n",
    "branch.py": "import mymethod.tools as t\nt.factor = 21\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's package outside of the product, that can be imported."""
    folder = tmp_path / "mymethod"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "mymethod"]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    for cached in (sources._files, sources._module, sources._place, sources._of_environment):
        cached.cache_clear()


def read(name: str = "Net") -> sources.Code:
    """What is made of the user's class, read anew as another process would."""
    _forget()
    for module in [module for module in sys.modules if module.split(".")[0] == "mymethod"]:
        del sys.modules[module]
    importlib.invalidate_caches()
    part = getattr(importlib.import_module("mymethod.net"), name)

    class Config(Frozen):
        model: part  # type: ignore[valid-type]

    return code(Config(model=part()))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("net.py", "# a comment", "# another"),
        ("net.py", '"""A network."""\n', ""),
        ("net.py", '"""Twice."""', '"""Two times."""'),
        ("net.py", "x: int) -> int", "x)"),
        (
            "net.py",
            "tools.twice(x) + deep(x)",
            "(\n            tools.twice( x )\n            + deep(x))",
        ),
        ("net.py", "    width: int = 4\n", "    width: int = 4\n    gate: bool = False\n"),
        ("net.py", "return 5", "return 6"),
        ("net.py", "import math\n", "import math\nimport json\n"),
        ("tools.py", "3 * x", "4 * x"),
        ("layers.py", "UNUSED = 1", "UNUSED = 2"),
        ("layers.py", "size: int = 3", "size: float = 3"),
    ],
)
def test_form_and_what_is_not_used_are_no_change(
    file: str, old: str, new: str, package: Path
) -> None:
    before = read()
    assert set(before["model Net"]) == {f"mymethod/{name}" for name in PACKAGE} - {
        "mymethod/__init__.py"
    }
    commands.edit(package / file, old, new)
    assert changed(before, read()) == set()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("net.py", "tools.twice(x) + deep(x)", "tools.twice(x) - deep(x)"),
        ("net.py", "tools.twice(x)", "tools.thrice(x)"),
        ("net.py", "SCALE = 2", "SCALE = 3"),
        ("net.py", "rounded(math.pi)", "rounded(math.e)"),
        ("net.py", "floor as", "ceil as"),
        ("tools.py", "2 * x", "x * 2"),
        ("layers.py", "x + 1", "x + 2"),
        ("layers.py", "size: int = 3", "size: int = 4"),
        ("late.py", "return helper", "return None"),
        ("deep.py", "return x", "return -x"),
        ("patches.py", "mark = 1", "mark = 2"),
        ("patches.py", "last = 11", "last = 12"),
        ("branch.py", "factor = 21", "factor = 22"),
        ("net.py", "x + 7", "x + 8"),
        ("__init__.py", "", "print()\n"),
    ],
)
def test_a_change_of_what_is_used_names_its_file(
    file: str, old: str, new: str, package: Path
) -> None:
    before = read()
    if old:
        commands.edit(package / file, old, new)
    else:
        (package / file).write_text(new)
    after = read()
    assert f"mymethod/{file}" in changed(before, after)
    assert changed(before, after) <= {f"mymethod/{file}", "mymethod/tools.py"}, (
        "tools: another of its functions is used"
    )
    assert before[sources.CORE] == after[sources.CORE]


def test_the_classes_and_the_core_that_a_config_uses_are_seen() -> None:
    found = code(TrainConfig())
    core = found[sources.CORE]
    assert {
        "pipeline/core/loop.py",
        "pipeline/core/trainer.py",
        "pipeline/core/objective.py",
        "pipeline/data/splits.py",
    } <= set(core)
    assert not {
        file
        for file in core
        if file.startswith(("pipeline/core/models/cnn", "pipeline/core/losses", "pipeline/report"))
    }
    assert set(found["loss CrossEntropy"]) == {"pipeline/core/losses.py"}
    assert {
        "pipeline/core/models/cnn.py",
        "pipeline/core/models/base.py",
        "pipeline/core/blocks.py",
    } == set(found["model CNN"])
    other = code(TrainConfig().override({"loss.name": "focal"}))
    assert "loss CrossEntropy" not in other
    assert changed(found, other) == set(), "they share the core, which did not change"
    assert digest(other) != digest(found)
    assert "dataset" not in " ".join(found), "pictures are compared by their content"


def test_every_process_reads_the_same_and_none_needs_torch() -> None:
    """A driver has loaded next to nothing, a worker everything."""
    ask = """
import sys
from pipeline.core.config import TrainConfig
from pipeline.frozen import digest
from pipeline.record.sources import code
print(digest(code(TrainConfig())), 'torch' in sys.modules)
"""
    texts = []
    for seed, more in (
        ("0", ""),
        ("1", ""),
        ("2", "import pipeline.engine.worker, pipeline.engine.queue, pipeline.export.files"),
    ):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(commands.ROOT)}
        words = [sys.executable, "-c", more + ask]
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, cwd=commands.ROOT, check=True
        )
        texts.append(done.stdout.split())
    assert len({mark for mark, _ in texts}) == 1
    assert [loaded for _, loaded in texts] == ["False", "False", "True"]


def test_the_code_of_every_segment_is_recorded_and_each_kind_once(tmp_path: Path) -> None:
    record = drive(open_plan(tmp_path, small_study(num_trials=4)), Worker())
    assert all(len(run.code) == 1 for run in record.runs.values())
    for run in record.runs.values():
        assert record.code[run.code[0]] == code(TrainConfig.parse(run.config, source="test"))
    found = [event["id"] for event in lines(tmp_path) if event["type"] == "code"]
    assert sorted(found) == sorted(record.code)


def mixed(folder: Path, *, replicates: int = 3, other: Callable[[int, str], bool]) -> Record:
    """Finished arms, where `other(replicate, arm)` says which runs were trained by another version
    of a loss.
    """
    book = Scribe(
        folder,
        with_arms(
            make_study(replicates=replicates, num_trials=0, epochs=4),
            {"baseline": {}, "wide": {"model.width": 128}},
        ),
    )
    book.session()
    book.arms()
    book.ledger.close()
    known = {
        "old": {
            "loss CrossEntropy": {"pipeline/core/losses.py": "0" * 16},
            "training core": {"pipeline/core/loop.py": "1" * 16},
        }
    }
    known["new"] = {**known["old"], "loss CrossEntropy": {"pipeline/core/losses.py": "2" * 16}}
    told = lines(folder)
    runs = {event["run"]: event for event in told if event["type"] == "arm"}
    for event in told:
        if event["type"] == "start":
            run = runs[event["run"]]
            event["code"] = "new" if other(run["replicate"], run["arm"]) else "old"
    return Record.of(
        [
            event_form.read(told[0]),
            *(events.Code(id=name, parts=parts) for name, parts in known.items()),
            *map(event_form.read, told[1:]),
        ]
    )


@pytest.mark.parametrize(
    "other",
    [lambda replicate, _: replicate == 3, lambda _, arm: arm == "wide"],
    ids=["within an arm", "between arms"],
)
def test_a_table_of_runs_of_different_code_answers_nothing(
    other: Callable[[int, str], bool], tmp_path: Path
) -> None:
    record = mixed(tmp_path / "study", other=other)
    stated = "code: runs were trained by different versions of pipeline/core/losses.py"
    assert unequal(record, record.study) == (stated,)
    assert {c.verdict for c in compose.read(record).ablation.contrasts} == {"not tested"}
    for lang, said in (("en", "different versions of"), ("zh", "的不同版本训练")):
        report = write_report(record, tmp_path / lang, lang)
        for name in ("report.md", "report.html", "ablation.tex"):
            text = (tmp_path / lang / name).read_text()
            assert "losses.py" in text
            assert said in text or name == "ablation.tex"
        assert any("losses.py" in warning for warning in report.warnings)


def test_one_code_for_all_is_compared(tmp_path: Path) -> None:
    record = mixed(tmp_path, other=lambda *_: False)
    assert unequal(record, record.study) == ()


FEATURES = """
from torch import nn

def features(channels, width):
    small = nn.AdaptiveAvgPool2d(2)
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), small, nn.Flatten())
"""
MINE = """
from typing import Literal
from pipeline.core.models.base import Own

class Mine(Own):
    name: Literal["mine"] = "mine"

    def assemble(self, channels, size, num_classes):
        from torch import nn
        from research.mymodel import features

        return nn.Sequential(features(channels, self.width), nn.Linear(4 * self.width, num_classes))
"""


def study_file(root: Path) -> Path:
    """A study of two arms with a network of the user's own, whose code lies outside the product's
    package.
    """
    (root / "research").mkdir()
    (root / "research" / "mymodel.py").write_text(FEATURES)
    (root / "pipeline" / "core" / "models" / "mine.py").write_text(MINE)
    few = {"baseline.dataset.num_train": 480, "baseline.dataset.num_valid": 1200}  # to test on
    study = small_study(num_trials=0, replicates=3, epochs=2).override(few)
    arms = Arms(arms={"baseline": {}, "augmentation": {"augment.strength": 1.0}})
    tree: dict[str, Any] = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": arms})}
    ).model_dump(mode="json")
    shared = {
        name: tree["baseline"]["model"][name]
        for name in ("dropout", "width", "norm", "activation", "init", "dropout_place")
    }
    tree["baseline"]["model"] = shared | {"name": "mine", "width": 4}
    path = root / "study.json"
    path.write_text(json.dumps(tree))
    return path


def test_code_that_was_edited_between_replicates_is_refused_and_named(tmp_path: Path) -> None:
    root, home = commands.copied(tmp_path / "tree"), tmp_path / "mlruns"
    flags = ("--study", study_file(root), "--debug")
    losses, network = root / "pipeline" / "core" / "losses.py", root / "research" / "mymodel.py"
    ledger = home / "small-digits" / "ledger.jsonl"

    def said(*those: tuple[object, ...]) -> list[tuple[int, str]]:
        told = commands.in_a_row(*((home, *words) for words in those), root=root)
        return [(code, " ".join(text.split())) for code, text in told]

    def ablate(replicates: int) -> None:
        ((code, text),) = said(("ablate", *flags, "--replicates", replicates))
        assert code == 0, text

    report, export = ("report", *flags[:2]), ("export", *flags[:2], "--no-onnx")
    third = ("ablate", *flags, "--replicates", 3)
    ablate(1)
    with losses.open("a") as file:
        file.write("\n\n# of no consequence\nclass Unused:\n    pass\n")
    commands.edit(
        root / "pipeline" / "core" / "config.py",
        "    epochs: int = Field(",
        "    knob: float = 0.0\n    epochs: int = Field(",
    )
    ablate(2)

    before = ledger.read_bytes()
    commands.edit(
        losses,
        "return functional.cross_entropy(logits, targets, label_smoothing",
        "return 2 * functional.cross_entropy(logits, targets, label_smoothing",
    )
    (refused, text), (dry, shown), (again, _), (code, exported) = said(
        third, (*third, "--dry-run"), ("ablate", *flags, "--replicates", 2), export
    )
    assert refused == 2
    assert "pipeline/core/losses.py" in text
    assert "research" not in text
    assert "--fresh" in text
    assert (dry, "the code has changed, pipeline/core/losses.py" in shown) == (0, True), shown
    assert again == 0, "nothing is left to train"
    more = [json.loads(line)["type"] for line in ledger.read_bytes()[len(before) :].splitlines()]
    assert ledger.read_bytes().startswith(before)
    assert more == ["session", "finish"], "of that command alone"
    assert (code, "warning: code changed since" in exported) == (0, True), exported

    before = ledger.read_bytes()
    commands.edit(losses, "return 2 * functional", "return functional")
    commands.edit(network, "nn.ReLU()", "nn.Tanh()")
    (refused, text), (not_exported, why), (reported, _) = said(third, export, report)
    assert (refused, not_exported, reported) == (2, 2, 0)
    assert "research/mymodel.py" in text
    assert "losses.py" not in text
    assert "research/mymodel.py" in why
    assert ledger.read_bytes() == before

    commands.edit(network, "nn.Tanh()", "nn.ReLU()")
    ablate(3)
