"""Configurations that were good on other pictures, which a search begins with."""

import shutil
from pathlib import Path

import pytest

from pipeline.analysis.search_results import read_search
from pipeline.errors import UserError
from pipeline.report.sections.search import overview
from pipeline.search_spaces.hw3 import PORTFOLIO, SMALL_PORTFOLIO
from pipeline.session.dry_run import preview
from pipeline.session.options import Options
from pipeline.session.resolve import as_recorded, chosen, resolve
from pipeline.study.study import Study
from tests.driver import Worker, drive, facts, open_plan
from tests.studies import small_study
from tests.test_plan import prefixes

POINTS = (
    {"model.dropout": 0.3, "epochs": 3},  # as the study's own
    {"model.dropout": 0.3, "unheard.of": 1},
    {"model.dropout": 0.2, "model.width": 64},  # which is not searched, and 4
    {"model.dropout": 7.0},
    {"batch_size": 16},
)


def study(**fields: object) -> Study:
    given = {"num_trials": 6, "replicates": 1, "first": ({"model.dropout": 0.1},), **fields}
    return small_study(portfolio=POINTS, **given)


@pytest.mark.parametrize("sets", [(), ("dataset.name=digits",)])
def test_all_of_hw3_s_lie_in_its_spaces(
    sets: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = chosen(Options("pipeline.search", "hw3", data=None if sets else str(tmp_path))).study
    found = asked.first_points()
    given = PORTFOLIO if not sets else SMALL_PORTFOLIO
    assert len(found) == len(given) == 4
    for point, whole in zip(found, given, strict=True):
        assert whole == point
        asked.baseline.override(point)


def test_they_come_after_the_study_s_own_and_what_lies_outside_is_left_out(tmp_path: Path) -> None:
    given = study()
    record = drive(open_plan(tmp_path / "whole", given), Worker())
    first, second, third = (run.config for run in record.trials()[1:4])
    assert first["model"]["dropout"] == 0.1
    assert second["model"]["dropout"] == 0.3
    assert third["batch_size"] == 16
    assert [run.asked for run in record.trials()[:5]] == [None] * 4 + [0]
    shown = " ".join(preview(given, None, "", tmp_path, with_search=True).split())
    assert (
        "1 point of the study's own and 2 good on other pictures: trial 1: model.dropout=0.1"
        in (shown)
    )
    said = overview(read_search(record, given), given)
    assert said.endswith("Trials 2 to 3 were chosen beforehand, as good on other pictures.")
    assert "beforehand" not in overview(read_search(record, given), small_study())
    one = drive(open_plan(tmp_path / "one", short := study(num_trials=2)), Worker())
    assert "beforehand" not in overview(read_search(one, short), short)
    for folder in prefixes(tmp_path / "whole", tmp_path / "killed")[:24:4]:
        assert facts(drive(open_plan(folder, given), Worker())) == facts(record)
        shutil.rmtree(folder)


def test_a_study_goes_on_with_those_that_it_began_with(tmp_path: Path) -> None:
    begun = drive(open_plan(tmp_path, small_study(num_trials=2)), Worker())
    assert as_recorded(begun, study()).search.portfolio == ()
    asked = chosen(
        Options("pipeline.search", "hw3", sets=('search.portfolio=[{"batch_size":32}]',))
    )
    options = Options("pipeline.search", "hw3", sets=('search.portfolio=[{"batch_size":32}]',))
    with pytest.raises(UserError, match=r"search.portfolio: this study has begun"):
        resolve(options, asked, begun)
