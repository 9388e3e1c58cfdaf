"""docs/extending.md shows what works: every snippet is run."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from own import folder, written

from pipeline.core.rehearsal import rehearse
from pipeline.own.parts import Own, own_parts
from pipeline.study.load import load_study

__all__ = ["folder"]
TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT, re.S)


@pytest.fixture
def files(folder: Path) -> Path:
    """A user's folder with all that the document shows."""
    for name in dict.fromkeys(name for name, _ in BLOCKS):
        written(folder, name, "\n".join(text for own, text in BLOCKS if own == name))
    return folder


def test_each_part_takes_less_than_30_lines() -> None:
    assert len(BLOCKS) == TEXT.count("```python")
    assert all(len(text.splitlines()) < 30 for _, text in BLOCKS)


def test_the_study_is_legal_and_each_part_works_in_it(files: Path) -> None:
    study = load_study(str(files / "my_study.py"))
    study.check()
    assert [arm.name for arm, _ in study.arms()] == ["my net + my loss", "my loss", "my net"]
    config = study.baseline.override(
        {
            "optimizer.name": "my_parts:my_optimizer",
            "schedule.name": "my_parts:my_schedule",
            "augment": Own("my_parts:my_noise", strength=1.0),
            "penalty": Own("my_parts:my_penalty"),
        }
    )
    assert len(list(own_parts(config))) == 7
    rehearse(config, channels=1, size=8, num_classes=10)
    other = config.override({"model.name": "my_configs:MyConfig", "model.depth": 3})
    rehearse(other, channels=1, size=8, num_classes=10)


@pytest.mark.usefixtures("files")
def test_a_study_may_be_judged_by_a_metric() -> None:
    from my_baseline import BASELINE  # type: ignore[import-not-found]

    assert BASELINE.selects == "val_macro_f1"


@pytest.mark.usefixtures("files")
def test_its_test_passes() -> None:
    module = ModuleType("test_my_parts")
    exec(dict(BLOCKS)["test_my_parts.py"], vars(module))
    module.test_my_parts()
    assert "my_data" in sys.modules


BROKEN = [
    ("network", "class f(nn.Module):\n    def __init__(self, num_classes, size):\n"
     "        super().__init__()\n        self.h = nn.Linear(size * size, num_classes)\n"
     "        self.unused = nn.Linear(2, 2)\n"
     "    def forward(self, x):\n        return self.h(x.mean(1).flatten(1))",
     "unused.weight has no gradient"),
    ("network", "def f(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))",
     "it gives|mat1"),
    ("loss", "def f(logits, targets): return -nn.functional.cross_entropy(logits, targets)",
     "right answers are no better"),
    ("metric", "def f(logits, labels): return logits[0, 0]", "depends on the order"),
    ("penalty", "def f(logits): return 0 * logits.sum()", "it changes nothing"),
    ("augmentation", "def f(pictures): return pictures", "gives? .*same|has the same pictures"),
    ("schedule", "def f(progress): return 0.0", "all factors are 0"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "said"), BROKEN)
def test_a_part_that_breaks_a_rule_is_told_which(
    kind: str, text: str, said: str, folder: Path
) -> None:
    import pipeline.testing

    written(folder, "my_broken.py", f"from torch import nn\n{text}\n")
    with pytest.raises((AssertionError, RuntimeError), match=said):
        getattr(pipeline.testing, f"check_{kind}")("my_broken:f")
