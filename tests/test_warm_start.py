"""A search that begins with what another study's record says is good."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.analysis.search_results import read_search
from pipeline.core.config import TrainConfig
from pipeline.data.taken import Taken
from pipeline.engine.past import LEAST_TRIALS, Past
from pipeline.engine.sampler import RungSampler
from pipeline.errors import UserError
from pipeline.record.ledger import FILE
from pipeline.record.lines import seal, unseal
from pipeline.record.record import Record
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translator import Translator
from pipeline.report.sections.search import heard_of, overview
from pipeline.session.cli import parser
from pipeline.session.dry_run import preview
from pipeline.session.options import AUTO, Options
from pipeline.session.resolve import as_recorded, chosen, resolve
from pipeline.session.similar import Pictures, most_similar, warm_start
from pipeline.session.warm_start import taken_in_words, warmed
from pipeline.study.space import Choice, Float, Space
from tests.driver import Worker, drive, facts, open_plan
from tests.studies import small_study
from tests.test_plan import prefixes


def dropped_out(config: TrainConfig, _: int) -> float:
    """A trial is worth the more, the less it drops out."""
    return 0.9 - config.model.dropout


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A study that is recorded."""
    folder = tmp_path_factory.mktemp("mlruns") / "other"
    return folder, drive(open_plan(folder, small_study(num_trials=12)), Worker(acc=dropped_out))


def study(num_trials: int = 12, **search):
    return small_study(num_trials=num_trials, replicates=1, **search)


def test_the_best_is_tried_early_and_the_order_is_kept(
    other: tuple[Path, Record], tmp_path: Path
) -> None:
    folder, record = other
    given = warmed(study(9, portfolio=({"model.dropout": 0.3},)), str(folder))
    ranked = [run for run in record.ranked_trials() if run.number]
    assert [dict(point) for point in given.search.past] == [run.knobs for run in ranked]
    assert given.search.past_of == "other"
    begun = drive(open_plan(tmp_path / "warm", given), Worker()).trials()
    assert begun[2].config == ranked[0].config, "after the portfolio"
    assert [run.asked for run in begun[:4]] == [None, None, None, 0]
    words = " ".join(taken_in_words(given, str(folder)).split())
    assert f"trial {ranked[0].number} of" in words
    assert f"the order of its {len(ranked)} trials is heard" in words
    deaf = taken_in_words(study(sampler="random"), str(folder))
    assert "order" not in deaf


def test_a_study_keeps_what_it_began_with(other: tuple[Path, Record], tmp_path: Path) -> None:
    """Also where the other one has gone on since, or the flag is left out; killed anywhere, it
    proposes what it would have.
    """
    folder, _ = other
    plain = study()
    given = warmed(plain, str(folder))
    worker = Worker(acc=dropped_out)
    expected = drive(open_plan(tmp_path / "whole", given), worker)
    assert as_recorded(expected, plain).search == given.search
    without = drive(open_plan(tmp_path / "without", plain), Worker(acc=dropped_out))
    assert {run.key for run in expected.trials()[8:]} - {run.key for run in without.trials()}
    for killed in prefixes(tmp_path / "whole", tmp_path / "killed")[2:90:11]:
        assert facts(drive(open_plan(killed, plain), Worker(acc=dropped_out))) == facts(expected)
        shutil.rmtree(killed)


def test_a_study_that_an_earlier_version_warmed_goes_on_as_it_was(tmp_path: Path) -> None:
    points = [{"model.dropout": 0.1, "batch_size": 16}, {"model.dropout": 0.2}]
    given = study(6).override({"search.warmed": points}, source="test")
    record = drive(open_plan(tmp_path / "whole", given), Worker())
    assert [run.config["model"]["dropout"] for run in record.trials()[1:3]] == [0.1, 0.2]
    for killed in prefixes(tmp_path / "whole", tmp_path / "killed")[2:30:9]:
        assert facts(drive(open_plan(killed, study(6)), Worker())) == facts(record)
        shutil.rmtree(killed)


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
    given = warmed(small_study(space=narrow), str(folder))
    assert given.search.past
    assert {p["batch_size"] for p in given.search.past} == {best.config["batch_size"]}
    assert "outside of this study's space" in taken_in_words(small_study(space=narrow), str(folder))
    nothing = Space(knobs={"model.dropout": Float(low=0.95, high=0.99)})
    with pytest.raises(UserError, match="none of 12 trials with a result lies in the space"):
        warmed(small_study(space=nothing), str(folder))


def test_refusals_name_the_flag_and_what_is_near(
    other: tuple[Path, Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = other
    with pytest.raises(UserError, match=r"nothing is recorded in .*allowed: auto, other; did you"):
        warmed(small_study(), str(folder.with_name("othr")))
    begun = drive(open_plan(tmp_path / "begun", small_study(num_trials=2)), Worker())
    asked = chosen(Options("pipeline.search", "hw3", sets=("dataset.name=digits",)))
    with pytest.raises(UserError, match="this study has begun, and its first trials are recorded"):
        resolve(Options("pipeline.search", "hw3", warm_start=str(folder)), asked, begun)
    past = {"search.past": [{"model.dropout": 0.1}], "search.past_of": "other"}
    given = small_study().override(past, source="test")
    path = tmp_path / "mine.json"
    path.write_text(given.model_dump_json())
    assert chosen(Options("pipeline.search", str(path))).study.search.past == (), (
        "only a record, or the flag, may say so"
    )
    with pytest.raises(SystemExit):
        parser("x", "", trains=True, searches=True).parse_args(["--help"])
    assert "auto: the most similar record under --mlruns" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_dry_run_lists_it(other: tuple[Path, Record], tmp_path: Path) -> None:
    folder, _ = other
    given = warmed(small_study(num_trials=2, first=({"model.dropout": 0.2},)), str(folder))
    words = " ".join(preview(given, None, "", tmp_path, with_search=True).split())
    assert "after the baseline 1 point of the study's own and 1 the best of other" in words
    assert "search.num_trials=2 leaves no room for 1 more" in words


# --warm-start auto


def record_of(root: Path, name: str, *, train: int = 100, by: str = "acc", **fields) -> None:
    """A study recorded under this name, on so many training pictures, judged by this metric."""
    drive(open_plan(root / name, small_study(**{"num_trials": 9, **fields})), Worker())
    path = root / name / FILE
    first, *rest = path.read_bytes().splitlines(keepends=True)
    event = unseal(first)
    assert event
    event["data"]["counts"]["train"] = train
    event["study"]["baseline"] |= {"select": by, "metrics": [{"name": by}] * (by != "acc")}
    path.write_bytes(seal(event) + b"".join(rest))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of part of the knobs, of more pictures, of unlike ones, of another metric, of too few
    trials; one moved aside, one damaged.
    """
    root = tmp_path_factory.mktemp("several")
    most = small_study().space
    record_of(
        root, "part", space=most.model_copy(update={"knobs": dict([*most.knobs.items()][:1])})
    )
    record_of(root, "near", train=120)
    record_of(root, "far", train=4000)
    record_of(root, "few", num_trials=2)
    record_of(root, "mine.old1")
    record_of(root, "metric", by="log_loss")
    shutil.copytree(root / "near", root / "torn")
    text = (root / "torn" / FILE).read_bytes()
    (root / "torn" / FILE).write_bytes(text[:2000] + b"?" * 300 + text[2300:])
    return root


def test_auto_takes_most_knobs_then_the_most_similar_pictures(several: Path) -> None:
    choice = most_similar(small_study(), here(), several, several / "mine")
    assert Path(choice.folder).name == "near"
    assert "near is the most similar of 6 records in" in choice.words
    assert "6 of 6 knobs shared, 10 classes, 120 training pictures" in choice.words
    assert "1 of them cannot be read" in choice.words
    again = most_similar(small_study(), here(train=5000), several, several / "mine")
    assert Path(again.folder).name == "far"
    left = most_similar(small_study(), here(), several, several / "near")
    assert Path(left.folder).name == "far", "a study is not its own past"


def test_auto_takes_what_fits_alone_and_says_what_was_looked_for(tmp_path: Path) -> None:
    none = most_similar(small_study(), here(), tmp_path, tmp_path / "mine")
    assert none.folder == ""
    assert "none of 0 records in" in none.words
    assert "so the search begins without; looked for: another study by val acc" in none.words
    assert "at least half of the 6 knobs of this space, 3 trials trained in full" in none.words
    record_of(tmp_path, "few", num_trials=2)
    assert most_similar(small_study(), here(), tmp_path, tmp_path / "mine").folder == ""


def here(train: int = 100) -> Pictures:
    return Pictures.of(small_study(), 10, train)


def test_what_auto_chose_is_not_chosen_anew(several: Path, tmp_path: Path) -> None:
    asked = replace(
        chosen(Options("pipeline.search", "hw3", sets=("dataset.name=digits",))),
        study=small_study(),
    )
    options = Options("pipeline.search", "hw3", mlruns=str(several), warm_start=AUTO)
    taken = Taken(tuple((str(n), 10) for n in range(10)), {"train": (100, 0)}, "", "", {}, {})
    found, said = warm_start(options, asked, small_study(), Record(), taken)
    assert found.warm_start == str(several / "near")
    assert said.startswith("warm start: near is the most similar")
    assert "is tried early" in said.splitlines()[1]
    given = resolve(found, asked, Record())
    assert given.search.past_of == "near"
    record = drive(open_plan(tmp_path / "mine", given), Worker())
    after, said = warm_start(options, asked, as_recorded(record, small_study()), record, taken)
    assert "begun with the past of near, and none is chosen anew" in said
    assert resolve(after, asked, record).search.past == given.search.past
    waiting, said = warm_start(options, asked, small_study(), Record(), None)
    assert "once the pictures are here" in said
    assert resolve(waiting, asked, Record()).search.past == ()
    begun = drive(open_plan(tmp_path / "plain", small_study()), Worker())
    same, said = warm_start(options, asked, small_study(), begun, taken)
    assert "begun with no past" in said
    assert resolve(same, asked, begun).search.past == ()


# the order of another study, and its guard

LINE = Space(knobs={"model.dropout": Float(low=0.0, high=1.0), "warm": Float(low=0.0, high=1.0)})


def points(num: int, seed: int) -> list[dict[str, float]]:
    chance = np.random.default_rng(seed)
    return [dict(zip(LINE.knobs, map(float, chance.random(2)), strict=True)) for _ in range(num)]


def worth(point) -> float:
    return 1.0 - point["model.dropout"]


BEST_FIRST = sorted(points(30, 7), key=worth, reverse=True)


def proposed(past, *, sign: int = 1, num: int = 24, **fields) -> list[dict[str, float]]:
    """What is proposed where all that is tried is worth what it is."""
    sampler = RungSampler(LINE, seed=3, num_rungs=1, past=past, **{"kind": "tpe", **fields})
    found = []
    for trial in range(1, num + 1):
        knobs, _ = sampler.ask(trial)
        sampler.tell(trial, 0, sign * worth(knobs))
        found.append(knobs)
    return found


def test_a_past_that_agrees_is_heard_and_one_that_misleads_is_not() -> None:
    without, right, wrong = proposed(()), proposed(BEST_FIRST), proposed(BEST_FIRST[::-1])
    assert right[:LEAST_TRIALS] == without[:LEAST_TRIALS], "not before it can be told"
    assert right[LEAST_TRIALS] != without[LEAST_TRIALS]
    assert wrong == without, "a past that misleads changes nothing"
    after = slice(LEAST_TRIALS, LEAST_TRIALS + 6)
    assert np.mean([worth(p) for p in right[after]]) > np.mean([worth(p) for p in without[after]])


def test_it_is_no_longer_heard_once_it_ranks_wrongly() -> None:
    past, own = Past(LINE, BEST_FIRST), points(14, 1)
    good = [worth(point) for point in own]
    assert past.heard(own[:LEAST_TRIALS], good[:LEAST_TRIALS])
    assert not past.heard(own[: LEAST_TRIALS - 1], good[: LEAST_TRIALS - 1])
    assert not past.heard(own, [-value for value in good])
    assert not past.heard(own, [0.5] * 14), "values that tell nothing"
    lost = [-np.inf, *good[1:]]
    assert past.heard(own, lost), "one that diverged is the last of them"
    assert Past(LINE, BEST_FIRST[:1]).agreement(own, good) == 0.0


def test_a_past_does_not_depend_on_the_order_of_what_is_told() -> None:
    told = points(9, 2)
    found = []
    for order in (range(9), reversed(range(9))):
        sampler = RungSampler(LINE, kind="tpe", seed=3, num_rungs=2, past=BEST_FIRST)
        for n in order:
            sampler.replay(n + 1, told[n], 0)
            sampler.diverge(n + 1, 0) if n == 4 else sampler.tell(n + 1, 0, worth(told[n]))
        found.append(sampler.ask(10))
    assert found[0] == found[1]


def test_the_report_says_what_was_heard(other: tuple[Path, Record], tmp_path: Path) -> None:
    folder, _ = other
    given = warmed(study(14), str(folder))

    def said(name: str, acc, given=given) -> str:
        record = drive(open_plan(tmp_path / name, given), Worker(acc=acc))
        return heard_of(read_search(record, given), given)

    right = said("right", dropped_out)
    assert right.startswith(" Trial 1 was the best of other. The order of its ")
    assert ": it would be heard for the next one." in right
    wrong = said("wrong", lambda config, _: 0.3 + config.model.dropout)
    assert re.search(r"the rank correlation is -\d\.\d\d: it would not be heard", wrong)
    past = {"search.past": list(given.search.past), "search.past_of": "other"}
    short = study(3).override(past, source="test")
    assert "There are fewer, so it was not heard." in said("short", dropped_out, short)
    say = Translator(catalogue("zh"), ["other"])
    for text in (right, wrong, said("few", dropped_out, short)):
        assert not re.search("[a-z]{3}", say.text(text.strip()).replace("other", "")), text
    record = drive(open_plan(tmp_path / "plain", study(4)), Worker())
    assert heard_of(read_search(record, study(4)), study(4)) == ""
    assert "Trial" not in overview(read_search(record, study(4)), study(4))


def test_a_point_that_is_proposed_again_is_compared_once() -> None:
    told = points(7, 2)
    once, twice = (
        RungSampler(LINE, kind="tpe", seed=3, num_rungs=1, past=BEST_FIRST) for _ in range(2)
    )
    for number, point in enumerate(told, 1):
        for sampler in (once, twice):
            sampler.replay(number, point, 0)
            sampler.tell(number, 0, worth(point))
    for number in (8, 9, 10):
        twice.replay(number, told[0], 0)
        twice.tell(number, 0, worth(told[0]))
    assert twice._compared() == once._compared()


def test_points_of_no_study_are_refused() -> None:
    with pytest.raises(UserError, match="past: got 1 point of no study; allowed: --warm-start"):
        study(4).override({"search.past": [{"model.dropout": 0.1}]}, source="test")
