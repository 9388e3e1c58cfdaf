"""What a report says to do next: commands that are accepted, and numbers that keep their word."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.stats import (
    ALPHA,
    Basis,
    Question,
    basis,
    estimate,
    fit,
    replicates_to_find,
)
from pipeline.report.compose import read
from pipeline.report.document import Code, Heading, Text
from pipeline.report.sections import next_steps
from pipeline.report.sections.sentences import points
from pipeline.session.cli import options, parser
from pipeline.study.looks import SHARES
from tests.records import full_record

LONG = (
    "python -m pipeline.search --study 'my study' --data=~/food-11 --trials 20 --replicates=5 "
    "--no-race --set optimizer.lr=0.001"
)


def told(record) -> dict[str, str]:
    """What for → command."""
    ablation = read(record).ablation
    found = list(next_steps.blocks(ablation, record, points(ablation)))
    assert found[0] == Heading("What next")
    pairs = zip(found[1::2], found[2::2], strict=True)
    said = {}
    for text, code in pairs:
        assert isinstance(text, Text)
        assert isinstance(code, Code)
        said[text.text.split(" ")[0]] = code.lines[0]
    return said


def test_every_command_is_the_recorded_one_with_what_changes(tmp_path: Path) -> None:
    record = full_record(tmp_path)
    record.sessions[-1] = replace(record.sessions[-1], command=LONG)
    said = told(record)
    more, number = said["More"].rsplit(" ", 1)
    assert more == LONG.replace(" --replicates=5", "") + " --replicates"
    assert int(number) > 5
    assert said["Longer"] == f"{LONG} --epochs 18"
    assert said["The"] == "python -m pipeline.export --study 'my study' --data=~/food-11"


def test_a_limit_that_cut_training_short_is_not_set_to_longer_training(tmp_path: Path) -> None:
    record = full_record(tmp_path)
    record.sessions[-1] = replace(record.sessions[-1], command=f"{LONG} --time 20m")
    assert told(record)["Longer"] == f"{LONG} --time 20m --epochs 18", "it was no hindrance"
    record.ended = "time limit"
    assert told(record)["Longer"] == f"{LONG} --epochs 18"
    ablation = read(record).ablation
    said = " ".join(str(block) for block in next_steps.blocks(ablation, record, points(ablation)))
    assert "The limit of time, which cut this short, is left out." in said


def test_what_it_says_is_accepted_by_the_command_line(tmp_path: Path) -> None:
    for line in told(full_record(tmp_path)).values():
        _, _, command, *words = line.split(" ")
        searches = command == "pipeline.search"
        flags = parser(command, "", trains=command != "pipeline.export", searches=searches)
        assert options(flags, words).study == "demo"


def test_no_advice_begins_anew(tmp_path: Path) -> None:
    record = full_record(tmp_path)
    record.sessions[-1] = replace(record.sessions[-1], command=f"{LONG} --fresh --resume")
    assert not any("--fresh" in line or "--resume" in line for line in told(record).values())


def test_nothing_is_said_without_a_command(tmp_path: Path) -> None:
    record = full_record(tmp_path)
    record.sessions.clear()
    ablation = read(full_record(tmp_path / "b")).ablation
    assert not list(next_steps.blocks(ablation, record, points(ablation)))


@pytest.mark.parametrize(
    "way", [basis("resplit"), basis("resplit", held_out=False)], ids=["Welch", "paired"]
)
@pytest.mark.parametrize("size", [1.0, 2.0])
@pytest.mark.parametrize("spread", [1.0, 0.1])
def test_so_many_replicates_find_it_in_four_of_five_tables(
    way: Basis, size: float, spread: float
) -> None:
    """Of two arms, of which one may vary less than the other; and fewer find it less often."""
    rng, sd = np.random.default_rng(0), np.array([1.0, spread])
    seen = rng.normal(0, 1, (4, 2))
    seen = (seen - seen.mean(0)) / seen.std(0, ddof=1) * sd  # of the very spread that is meant
    if way.test == "paired t":  # uncorrelated, as what is drawn below
        seen[:, 1] -= seen[:, 0] * (seen[:, 0] @ seen[:, 1]) / (seen[:, 0] @ seen[:, 0])
        seen[:, 1] *= spread / seen[:, 1].std(ddof=1)
    table = pd.DataFrame(seen, columns=["a", "b"])
    question = Question("a", "delta", {"a": 1.0, "b": -1.0}, "f", "b")
    contrast = replace(estimate(table, question, way), family=1)
    found = replicates_to_find(contrast, size, way.ratio, 100)
    assert found is not None
    draw = rng.normal(0, 1, (20_000, found, 2)) * sd
    draw[..., 0] += size
    power = [
        float((fit(draw[:, :n], np.array([1.0, -1.0]), way).p < ALPHA).mean())
        for n in (found, found - 1)
    ]
    assert power[0] > 0.78
    assert power[1] < 0.82 or found == 5


def test_at_a_look_its_share_counts_and_a_look_is_named() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(0, 1, (5, 2)), columns=["a", "b"])
    question = Question("a", "delta", {"a": 1.0, "b": -1.0}, "f", "b")
    contrast = replace(estimate(table, question, basis("resplit")), family=2, look=5)
    found = replicates_to_find(contrast, 1.5, 0.0, 100)
    alone = replicates_to_find(replace(contrast, look=0), 1.5, 0.0, 100)
    assert found is not None
    assert alone is not None
    assert found in SHARES
    assert found > alone


def test_what_takes_more_than_anyone_would_train_is_none() -> None:
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [2.0, 0.0, 1.0]})
    question = Question("a", "delta", {"a": 1.0, "b": -1.0}, "f", "b")
    contrast = replace(estimate(table, question), family=1)
    assert replicates_to_find(contrast, 0.01, 0.0, 100) is None


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        ("--set ablation.replicates=3", "ablation.replicates"),
        ("--set=ablation.replicates=3", "ablation.replicates"),
        ("--max-replicates 5", "--max-replicates 5"),
    ],
)
def test_a_number_is_given_once(tmp_path: Path, given: str, gone: str) -> None:
    record = full_record(tmp_path)
    command = f"python -m pipeline.search --study demo {given} --set optimizer.lr=0.1"
    record.sessions[-1] = replace(record.sessions[-1], command=command)
    assert gone not in told(record)["More"]
    assert "--set optimizer.lr=0.1" in told(record)["More"]


@pytest.mark.parametrize("more", ["--set name=mine", "--set=dataset.name=csv", "--around best"])
def test_a_record_of_another_name_is_not_handed_on_by_the_study(tmp_path: Path, more: str) -> None:
    record = full_record(tmp_path)
    command = f"python -m pipeline.ablate --study demo {more}"
    record.sessions[-1] = replace(record.sessions[-1], command=command)
    assert not any("pipeline.export" in line for line in told(record).values())


def test_a_place_that_is_not_named_is_said(tmp_path: Path) -> None:
    record = full_record(tmp_path)
    command = "python -m pipeline.search --study demo --data …/food-11"
    record.sessions[-1] = replace(record.sessions[-1], command=command)
    ablation = read(record).ablation
    _, first, *rest = next_steps.blocks(ablation, record, points(ablation))
    assert isinstance(first, Text)
    assert first.text.endswith(next_steps.HIDDEN)
    assert next_steps.HIDDEN not in repr(rest)
