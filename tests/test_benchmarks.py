import argparse

import pytest

from benchmarks.utilisation import Side, study_of
from pipeline.study import load_study


def flags(**given):
    return argparse.Namespace(**({"data": None, "trials": 4, "sets": []} | given))


def test_utilisation_is_one_where_epochs_follow_each_other_on_every_worker():
    side = Side([(101, 1), (102, 2), (103, 2), (103, 1)], num_trials=2, workers=2, whole=6, load=0)
    assert side.steady == 3
    assert side.utilisation(side.steady) == 1
    assert side.idle() == 0
    assert side.utilisation(side.whole) == 0.5


def test_utilisation_counts_start_gaps_and_the_tail_as_idle():
    # one worker trains 100-102 and 105-108, the other 101-104; reports may come in any order
    side = Side([(108, 3), (102, 2), (104, 3)], num_trials=4, workers=2, whole=20, load=0)
    assert side.steady == 8
    assert side.utilisation(side.steady) == pytest.approx(8 / 16)
    assert side.utilisation(side.whole) == pytest.approx(8 / 40)
    assert side.idle() == pytest.approx(2)


def test_both_sides_search_the_space_of_hw3(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOD11", str(tmp_path))  # must not turn the default into somebody's photos
    study, data = study_of(flags(sets=["epochs=9", "search.reduction=2"]), tmp_path)
    assert data is None
    assert study.baseline.dataset.name == "digits"
    assert study.space.model_dump(mode="json") == load_study("hw3").fallback.overrides["space"]
    assert (study.search.num_trials, study.search.reduction, study.baseline.epochs) == (4, 2, 9)
    assert [config.model.width for _, config in study.arms()] == [4, 5]
    assert load_study(str(tmp_path / "study.json")) == study


def test_a_folder_keeps_the_settings_of_the_study(tmp_path):
    study, data = study_of(flags(data=str(tmp_path)), tmp_path)
    assert data == tmp_path
    assert study.baseline == load_study("hw3").baseline
