"""Points of the user's own that a search tries before its sampler is asked."""

import shutil
from typing import get_args

import pytest

from pipeline.errors import UserError
from pipeline.session.cli import options, parser
from pipeline.session.dry_run import preview
from pipeline.session.resolve import chosen
from pipeline.session.resume import changed_settings, grown
from pipeline.study.samplers import Sampler
from pipeline.study.space import Choice, Int, Space
from pipeline.study.study import Search
from tests.driver import Worker, drive, facts, open_plan
from tests.studies import small_study
from tests.test_plan import prefixes

POINTS = (
    {"batch_size": 16, "model.dropout": 0.3},
    {"optimizer.name": "sgd", "optimizer.lr": 0.1, "optimizer.momentum": 0.9},
)
FINITE = Space(
    knobs={"batch_size": Choice(options=(16, 32)), "model.width": Int(low=4, high=12, step=4)}
)
KINDS = pytest.mark.parametrize("kind", get_args(Sampler))


def study(kind: str = "tpe", **fields):
    space = {"space": FINITE, "first": ({"batch_size": 16}, {"model.width": 8})}
    other = {"first": POINTS} if kind != "grid" else space
    return small_study(**{"num_trials": 9, "replicates": 1, "sampler": kind, **other, **fields})


@KINDS
def test_they_come_right_after_the_baseline_whatever_proposes(tmp_path, kind):
    given = study(kind)
    record = drive(open_plan(tmp_path, given), Worker())
    whole = given.first_points()
    for number, (point, named) in enumerate(zip(whole, given.search.first, strict=True), 1):
        run = record.trials()[number]
        assert run.knobs == point
        assert run.asked is None
        flat = given.baseline.override(point).flat()
        assert given.baseline.override(run.knobs).model_dump(mode="json") == run.config
        assert {path: flat[path] for path in named} == named
    assert record.trials()[3].asked == 0 or len(record.trials()) == 3
    if kind == "grid":
        assert {run.key for run in record.trials()} == set(record.trial_keys)
        assert len(record.trial_keys) == 9
        assert len(record.trials()) == 6, "a grid still holds every point"


@KINDS
def test_a_search_that_was_killed_ends_as_if_it_had_not_been(tmp_path, kind):
    given = study(kind, num_trials=4, race=0)
    expected = facts(drive(open_plan(tmp_path / "whole", given), Worker()))
    for folder in prefixes(tmp_path / "whole", tmp_path / "killed")[:24:3]:
        assert facts(drive(open_plan(folder, given), Worker())) == expected
        shutil.rmtree(folder)


def test_what_they_reached_informs_the_sampler(tmp_path):
    """The same point, worth more or less: what is proposed after eight values is another."""
    found = []
    for worth in (0.0, 1.0):

        def acc(config, _, worth=worth):
            return worth if config.batch_size == 16 and config.model.dropout == 0.3 else 0.5

        given = study(num_trials=14, num_rungs=1)
        record = drive(open_plan(tmp_path / str(worth), given), Worker(acc=acc))
        found.append([run.knobs for run in record.trials()])
    assert found[0][:8] == found[1][:8]
    assert found[0] != found[1]


def test_what_equals_an_earlier_trial_is_its_twin(tmp_path):
    given = study(first=({"batch_size": 16}, {"batch_size": 16}, {"batch_size": 32}), num_trials=4)
    record = drive(open_plan(tmp_path, given), Worker())
    first, second = record.trial_keys[1:3]
    assert first == second
    assert record.trial_keys[3] == record.trial_keys[0]
    assert len(record.trial_keys) == 4


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"batch_size": 64}, "point 2: batch_size: got 64; allowed: 16 | 32"),
        ({"batchsize": 16}, "no knob of the space; got 'batchsize'; allowed: "),
        ({"batchsize": 16}, "did you mean 'batch_size'?"),
        ({"optimizer.momentum": 0.9}, "point 2: optimizer.momentum: no knob of this point"),
        ({"optimizer.name": "lion"}, "optimizer.name: got 'lion'; allowed: sgd | adam"),
        ({"model.dropout": None}, "model.dropout: got None"),
        ({"model.dropout": [1]}, r"model.dropout: got \[1\]"),
    ],
)
def test_a_point_that_is_none_is_refused_before_anything_starts(point, words):
    with pytest.raises(UserError, match=words.replace("|", r"\|").replace("?", r"\?")):
        study(first=({"batch_size": 16}, point)).check()


def test_what_a_point_does_not_name_is_the_baseline_s_where_the_space_has_it():
    space = Space(knobs={"batch_size": Choice(options=(16, 64)), "model.width": Int(low=4, high=8)})
    given = study(space=space, first=({"batch_size": 16},))
    assert given.first_points() == ({"batch_size": 16, "model.width": 4},)
    with pytest.raises(UserError, match=r"batch_size: not given, and the baseline has 32; allowed"):
        study(space=space, first=({"model.width": 8},)).check()


def test_a_point_that_no_configuration_is_made_of_is_refused():
    space = Space(knobs={"batch_size": Choice(options=(2, 32)), "accumulate": Int(low=1, high=8)})
    study(space=space, first=({"batch_size": 32, "accumulate": 8},)).check()
    with pytest.raises(UserError, match=r"search.first, point 1: .*accumulate=8 leaves parts"):
        study(space=space, first=({"batch_size": 2, "accumulate": 8},)).check()


def test_the_command_line_takes_them(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def asked(given):
        flags = parser("pipeline.search", "", trains=True, searches=True)
        return chosen(options(flags, ["--study", "hw3", "--set", given])).study

    text = 'search.first=[{"batch_size": 32, "model.dropout": 0.25}]'
    given = asked(text)
    assert given.search.first == ({"batch_size": 32, "model.dropout": 0.25},)
    assert given.first_points()[0]["model.name"] == "cnn"
    with pytest.raises(UserError, match=r"search\.first, point 1: batch_size: got 33"):
        asked('search.first=[{"batch_size": 33}]')
    with pytest.raises(UserError, match=r"search\.first: a list is expected"):
        asked("search.first=no")


def test_a_dry_run_shows_them(tmp_path):
    shown = preview(study(num_trials=2), None, "", tmp_path, with_search=True)
    words = " ".join(shown.split())
    assert "first after the baseline 2 points of the study's own: " in words
    assert "trial 1: batch_size=16, model.dropout=0.3" in words
    assert "search.num_trials=2 leaves no room for 1 more" in words
    assert "first " not in preview(study(first=()), None, "", tmp_path, with_search=True)


def test_a_begun_search_keeps_its_own(tmp_path):
    record = drive(open_plan(tmp_path, study(num_trials=3)), Worker())
    other = study(num_trials=3, first=POINTS[:1])
    assert any("search.first" in line for line in changed_settings(record, other))
    assert not grown(record, other)
    assert Search().first == ()


def test_a_search_that_has_grown_begins_with_them_again_and_trains_nothing_twice(tmp_path):
    """Then it takes over what the former one found, and only then asks its sampler."""
    before = study("random", num_trials=6)
    known = drive(open_plan(tmp_path, before), Worker()).trial_keys
    wider = before.space.model_dump() | {"where": ["batch_size < 100"]}
    worker = Worker()
    record = drive(open_plan(tmp_path, before.override({"space": wider})), worker)
    assert record.revisions
    assert record.trial_keys[:6] == known
    points = [record.runs[key].knobs for key in record.trial_keys[1:3]]
    assert points == list(before.first_points())
    assert not {key for key, _ in worker.trained} & {*known}


def test_a_knob_that_is_left_out_is_left_out_of_them(tmp_path, capsys):
    path = tmp_path / "mine.json"
    path.write_text(study().model_dump_json())
    sets = ["--set", "space.knobs.model.dropout=null"]
    given = options(parser("x", "", trains=True), ["--study", str(path), *sets])
    assert [dict(point) for point in chosen(given).study.search.first] == [
        {"batch_size": 16},
        POINTS[1],
    ]
    assert "left out of search.first: model.dropout" in " ".join(capsys.readouterr().err.split())
