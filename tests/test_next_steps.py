"""What a report says to do next: commands that are accepted, and numbers that keep their word."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.analysis.stats import ALPHA, Basis, basis, fit, replicates_to_find
from pipeline.report.compose import read
from pipeline.report.document import Code, Heading, Text
from pipeline.report.sections import next_steps
from pipeline.report.sections.sentences import points
from pipeline.session.cli import options, parser
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
    "way", [basis("resplit"), basis("resplit", held_out=False), basis("kfold", held_out=False)]
)
@pytest.mark.parametrize("size", [1.0, 2.5])
def test_so_many_replicates_find_it_in_four_of_five_tables(way: Basis, size: float) -> None:
    """Differences of two arms with an sd of 1; and one replicate fewer finds it less often."""
    found = replicates_to_find(size, 1.0, way, ALPHA, least=3, most=100)
    if way.ratio:  # folds share pictures: more of them do not tell without end
        assert found is None or size > 1
        return
    assert found is not None
    draw = np.random.default_rng(0).normal(0, 1 / math.sqrt(2), (20_000, found, 2))
    draw[..., 0] += size
    power = [
        float((fit(draw[:, :n], np.array([1.0, -1.0]), way).p < ALPHA).mean())
        for n in (found, found - 1)
    ]
    assert power[0] > 0.79
    assert power[1] < 0.81 or found == 3


def test_what_takes_more_than_anyone_would_train_is_none() -> None:
    assert replicates_to_find(0.01, 1.0, basis("resplit"), ALPHA, least=3, most=100) is None
