"""Arms that come out exactly alike: the runs are compared before a mistake is suspected, in every
language.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.report.compose import read, texts
from tests.records import Scribe, make_study, with_arms

Score = Callable[[int], float]


def reported(
    folder: Path, first: Score, second: Score, *, copied: bool = False, split: str = "resplit"
) -> tuple[str, str, str]:
    """The reason given for `wide`, and the report in both languages; `copied`: its curves and
    losses are the first's.
    """
    study = make_study(num_trials=0)
    study = study.model_copy(
        update={"baseline": study.baseline.model_copy(update={"split": split})}
    )
    book = Scribe(folder, with_arms(study, {"plain": {}, "wide": {"model.width": 96}}))
    book.session()
    for replicate in range(1, 6):
        state = book.rng.bit_generator.state
        book.arm("plain", replicate, first(replicate), test_loss=1.0)
        if copied:
            book.rng.bit_generator.state = state
        book.arm("wide", replicate, second(replicate), test_loss=1.0 if copied else 1.1)
    findings = read(book.record())
    (contrast,) = findings.ablation.contrasts
    return contrast.reason, texts(findings, {})["report.md"], texts(findings, {}, "zh")["report.md"]


def rising(replicate: int) -> float:
    return 0.6 + 0.01 * replicate


def test_runs_that_are_the_same_to_the_last_bit_are_a_wiring_mistake(tmp_path: Path) -> None:
    reason, english, chinese = reported(tmp_path, rising, rising, copied=True)
    assert reason.endswith("does not reach the training, or it comes to the same there")
    assert "a wiring mistake" in english
    assert "实现上的疏漏" in chinese


@pytest.mark.parametrize("split", ["resplit", "official"])
def test_equal_accuracies_with_unlike_losses_are_none(tmp_path: Path, split: str) -> None:
    reason, english, chinese = reported(tmp_path, rising, rising, split=split)
    assert (
        "the losses differ, so the change does reach the training, but not the number of right "
        "answers, of 300"
    ) in reason
    assert "wiring" not in english
    assert "疏漏" not in chinese
    assert "损失并不相同" in chinese
    assert not re.search("losses differ", chinese)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            1.0,
            1.0,
            "look at wide (at the ceiling, 100 % in every run), plain (at the ceiling, 100 % in "
            "every run)",
        ),
        (
            0.25,
            0.25,
            "look at wide (at chance, guessing gives 25.0 %), plain (at chance, guessing gives "
            "25.0 %)",
        ),
        (
            0.25,
            1.0,
            "look at wide (at the ceiling, 100 % in every run), plain (at chance, guessing gives "
            "25.0 %)",
        ),
    ],
)
def test_arms_at_an_end_of_the_scale_are_said_to_be_there(
    tmp_path: Path, first: float, second: float, said: str
) -> None:
    reason, english, chinese = reported(tmp_path, lambda _: first, lambda _: second)
    assert reason.endswith(said)
    assert "wiring" not in english
    assert "Nothing is bold: no difference could be tested." in english
    assert any(word in chinese for word in ("已到上限", "处于随机水平"))
    assert "at the ceiling" not in chinese


def test_a_reference_at_chance_is_said_before_anything_is_called_better(tmp_path: Path) -> None:
    _, english, chinese = reported(tmp_path, lambda _: 0.25, rising)
    assert "At chance (guessing gives 25.0 %): plain" in english
    assert chinese.index("参考变体处于随机水平") < chinese.index("更优")
    assert english.index("the reference is at chance") < re.search("better|Best", english).start()  # type: ignore[union-attr]
