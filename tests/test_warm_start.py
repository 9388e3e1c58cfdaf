"""A search that begins with the best configurations of another study's record."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.record.record import Record
from pipeline.session.dry_run import preview
from pipeline.session.options import Options
from pipeline.session.resolve import as_recorded, chosen, resolve
from pipeline.session.warm_start import MOST_POINTS, taken_in_words, warmed
from pipeline.study.space import Choice, Float, Space
from tests.driver import Worker, drive, facts, open_plan
from tests.studies import small_study
from tests.test_plan import prefixes

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A study that is recorded."""
    folder = tmp_path_factory.mktemp("mlruns") / "other"
    return folder, drive(open_plan(folder, small_study(num_trials=9)), Worker())


def test_the_best_are_tried_first_and_the_sampler_knows_them(
    other: tuple[Path, Record], tmp_path: Path
) -> None:
    folder, record = other
    study = warmed(small_study(num_trials=9), str(folder))
    best = [run for run in record.ranked_trials() if run.number][:MOST_POINTS]
    assert [dict(point) for point in study.search.warmed] == [run.knobs for run in best]
    begun = drive(open_plan(tmp_path / "warm", study), Worker()).trials()
    assert [run.config for run in begun[1 : 1 + MOST_POINTS]] == [run.config for run in best]
    assert [run.asked for run in begun[: 1 + MOST_POINTS]] == [None] * (1 + MOST_POINTS)
    words = " ".join(taken_in_words(small_study(num_trials=9), str(folder)).split())
    assert f"trials {', '.join(str(run.number) for run in best)} of" in words


def test_a_study_keeps_the_points_that_it_began_with(
    other: tuple[Path, Record], tmp_path: Path
) -> None:
    """Also where the other one has gone on since, or the flag is left out."""
    folder, _ = other
    plain = small_study(num_trials=6)
    study = warmed(plain, str(folder))
    expected = drive(open_plan(tmp_path / "whole", study), Worker())
    assert as_recorded(expected, plain).search.warmed == study.search.warmed
    for killed in prefixes(tmp_path / "whole", tmp_path / "killed")[2:40:9]:
        assert facts(drive(open_plan(killed, plain), Worker())) == facts(expected)


def test_what_does_not_lie_in_the_space_is_passed_over_and_said(
    other: tuple[Path, Record],
) -> None:
    folder, record = other
    best = next(run for run in record.ranked_trials() if run.number)
    narrow = Space(
        knobs={
            "batch_size": Choice(options=(best.config["batch_size"],)),
            "model.dropout": Float(low=0.0, high=0.9),
        }
    )
    study = warmed(small_study(space=narrow), str(folder))
    assert study.search.warmed
    assert {p["batch_size"] for p in study.search.warmed} == {best.config["batch_size"]}
    nothing = Space(knobs={"model.dropout": Float(low=0.95, high=0.99)})
    with pytest.raises(UserError, match="none of 9 trials with a result lies in the space"):
        warmed(small_study(space=nothing), str(folder))


def test_refusals_name_the_flag(other: tuple[Path, Record], tmp_path: Path) -> None:
    folder, _ = other
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"--warm-start: nothing is recorded in .*empty"):
        warmed(small_study(), str(tmp_path / "empty"))
    begun = drive(open_plan(tmp_path / "begun", small_study(num_trials=2)), Worker())
    asked = chosen(Options("pipeline.search", "hw3", sets=("dataset.name=digits",)))
    with pytest.raises(UserError, match="this study has begun, and its first trials are recorded"):
        resolve(Options("pipeline.search", "hw3", warm_start=str(folder)), asked, begun)
    study = small_study().override({"search.warmed": [{"model.dropout": 0.1}]}, source="test")
    path = tmp_path / "mine.json"
    path.write_text(study.model_dump_json())
    assert chosen(Options("pipeline.search", str(path))).study.search.warmed == (), (
        "only a record, or the flag, may say so"
    )


def test_a_dry_run_lists_them(other: tuple[Path, Record], tmp_path: Path) -> None:
    folder, _ = other
    study = warmed(small_study(num_trials=3, first=({"model.dropout": 0.2},)), str(folder))
    text = preview(study, None, "", tmp_path, with_search=True)
    words = " ".join(text.split())
    assert "after the baseline 1 point of the study's own and 4 of another study" in words
    assert "search.num_trials=3 leaves no room for 3 more" in words
