"""Parts of the training pictures: which are kept, what is said of more, the studies that ask."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.data_share import Curve, _with_more, read_curves
from pipeline.core.config import TrainConfig
from pipeline.core.identity import Seeds
from pipeline.core.parts import parts_of
from pipeline.data.cache import Data, prepare
from pipeline.data.datasets import Digits
from pipeline.data.listing import num_kept
from pipeline.data.splits import splits
from pipeline.errors import UserError
from pipeline.report.compose import read, texts
from pipeline.session.preflight import require_inputs
from pipeline.study.load import load_study
from tests.records import Scribe, make_study, with_arms
from tests.studies import small_study

SHARES = (1.0, 0.5, 0.25, 0.125)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return prepare(Digits(num_train=300, num_valid=200), None, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("scheme", ["resplit", "official", "kfold"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_smaller_share_lies_in_a_larger_one_and_has_every_class(
    digits: Data, scheme: str, grouped: bool
) -> None:
    data = digits
    if grouped:
        data = dataclasses.replace(data, groups=np.arange(len(data.labels)) // 7)
    for replicate in (0, 1, 2):
        whole = splits(data, replicate, scheme, seed=3)  # type: ignore[arg-type]
        larger = whole
        for share in SHARES[1:]:
            found = splits(data, replicate, scheme, seed=3, share=share)  # type: ignore[arg-type]
            assert set(found.train.index) < set(larger.train.index)
            assert (found.val.index == whole.val.index).all()
            labels = data.labels
            for label in range(10):
                num = int((labels[whole.train.index] == label).sum())
                assert (labels[found.train.index] == label).sum() == num_kept(num, share)
            assert found.unlabeled
            together = np.union1d(found.train.index, found.unlabeled.index)
            assert (together == whole.train.index).all(), "what is not learnt from is unlabeled"
            larger = found


def test_a_part_is_drawn_anew_in_each_replicate_and_the_whole_is_what_it_was(digits: Data) -> None:
    one, other = (splits(digits, r, "resplit", share=0.25).train.index for r in (1, 2))
    assert len(one) == len(other)
    assert set(one) != set(other)
    fixed, same = (splits(digits, r, "official", share=0.25).train.index for r in (1, 2))
    assert (fixed == same).all(), "an official split is the same for all, its parts too"
    assert splits(digits, 1, "resplit", share=1.0).unlabeled is None
    config = TrainConfig(dataset=Digits(num_train=300, num_valid=200), train_share=0.25)
    assert len(parts_of(config, digits, Seeds(0, 1)).train) == len(one)


def test_whole_groups_are_taken_one_after_another(digits: Data) -> None:
    data = dataclasses.replace(digits, groups=np.arange(len(digits.labels)) // 20)
    found = splits(data, 1, "official", share=0.25)
    _, alone = np.unique(data.groups[found.train.index], return_counts=True)
    spread = splits(digits, 1, "official", share=0.25).train.index
    assert len(alone) < len(np.unique(data.groups[spread]))


@given(st.integers(0, 10_000), st.floats(0.001, 1.0))
def test_how_many_are_kept(num: int, share: float) -> None:
    kept = num_kept(num, share)
    assert kept == 0 if num == 0 else 1 <= kept <= num
    assert kept <= share * num + 1
    assert num_kept(num, 1.0) == num
    assert num_kept(30, 0.1) == 3, "not what a float of 0.1 makes of it"


def study_of(folder: Path, levels: dict[float, float], *, replicates: int = 4) -> Scribe:
    arms: dict[str, dict[str, Any]] = {f"{share:g}": {"train_share": share} for share in levels}
    study = with_arms(make_study(replicates=replicates, num_trials=0, epochs=12), arms)
    book = Scribe(folder / "study", study)
    book.session()
    for replicate in range(1, replicates + 1):
        for number, (share, acc) in enumerate(levels.items()):
            wiggle = 0.004 * ((replicate + number) % 3 - 1)
            book.arm(f"{share:g}", replicate, acc + wiggle, num_train=int(800 * share))
    return book


def curves(book: Scribe, folder: Path) -> tuple[Curve, ...]:
    findings = read(book.record(), folder)
    return read_curves(findings.record, findings.study, findings.ablation)


def test_a_power_law_says_what_twice_the_pictures_would_give(tmp_path: Path) -> None:
    """Errors of .1, .2, .4: each doubling halves them, so the next one gives five points."""
    book = study_of(tmp_path, {1.0: 0.9, 0.5: 0.8, 0.25: 0.6})
    (found,) = curves(book, tmp_path)
    assert found.more == pytest.approx(0.05, abs=0.004)
    assert found.doubling is not None
    assert found.doubling.delta == pytest.approx(0.15, abs=0.004)
    assert [point.num_train for point in found.points] == [800, 400, 200]
    last = found.points[0].doubling
    assert last is not None
    assert last.delta == pytest.approx(0.1, abs=0.01)
    assert found.points[-1].doubling is None
    page = texts(read(book.record(), tmp_path), {})["report.md"]
    assert "Would more pictures help?" in page
    assert re.search(r"1,600 of them would change it by \+[45]\.\d+ points; by less", page), page[
        page.index("Would more") :
    ][:900]
    assert "fewer pictures were fewer steps, too" in page
    chinese = texts(read(book.record(), tmp_path), {}, "zh")["report.md"]
    assert "更多图像会有帮助吗" in chinese
    assert "each doubling" not in chinese


def test_nothing_is_promised_where_nothing_follows(tmp_path: Path) -> None:
    for number, (levels, why) in enumerate(
        (
            ({1.0: 0.81, 0.5: 0.8, 0.25: 0.6, 0.125: 0.2 + 0.1}, "flat"),
            ({1.0: 0.9, 0.5: 0.8}, "shares"),
            ({1.0: 0.9, 0.5: 0.6, 0.25: 0.08}, "chance"),
            ({1.0: 0.75, 0.5: 0.78, 0.25: 0.8}, "level"),
            ({1.0: 0.8, 0.5: 0.8, 0.25: 0.8}, "level"),
            ({0.5: 0.9, 0.25: 0.8, 0.125: 0.6}, "part"),
        )
    ):
        folder = tmp_path / str(number)
        (found,) = curves(study_of(folder, levels), folder)
        assert found.silence == why
        assert found.more is None
        assert (found.doubling is None) == (why == "chance"), "nothing is told of guesses"
    few = study_of(tmp_path / "few", {1.0: 0.9, 0.5: 0.8, 0.25: 0.6}, replicates=2)
    (found,) = curves(few, tmp_path / "few")
    assert found.silence == "replicates"
    assert found.doubling is None
    plain = Scribe(tmp_path / "plain" / "study", make_study(replicates=2, num_trials=0))
    plain.session()
    assert curves(plain, tmp_path / "plain") == ()


def test_what_is_said_of_more_was_planted_and_is_above_it_where_errors_have_a_floor(
    tmp_path: Path,
) -> None:
    """2,000 tables of five replicates: errors by a power law, with chance of each run."""
    book = study_of(tmp_path, dict(zip(SHARES, (0.9, 0.8, 0.7, 0.6), strict=True)))
    findings = read(book.record(), tmp_path)
    (known,) = read_curves(findings.record, findings.study, findings.ablation)
    empty = dataclasses.replace(known, more=None)
    draws, steps = np.random.default_rng(0), np.log2(np.array([800, 400, 200, 100]))
    means = 0.2 * 2 ** (-0.5 * (steps - steps[0]))
    truth, said = 0.2 - 0.2 * 2**-0.5, []
    for _ in range(2000):
        table = 1 - means * np.exp(draws.normal(0, 0.05, (5, 4)))
        if (more := _with_more(empty, table, steps, findings.ablation).more) is not None:
            said.append(more)
    assert len(said) >= 0.95 * 2000, "a line is taken for a bend in at most one of forty"
    assert np.mean(said) == pytest.approx(truth, abs=0.001)
    floor = 0.08 + 0.12 * 2 ** (-0.5 * (steps - steps[0]))
    promised = [
        _with_more(empty, 1 - floor * np.exp(draws.normal(0, 0.05, (5, 4))), steps, judged).more
        for judged in [findings.ablation] * 500
    ]
    above = [more for more in promised if more is not None]
    assert np.mean(above) > 0.12 - 0.12 * 2**-0.5, "at best, it says, since a floor takes from it"


@pytest.mark.parametrize("name", ["data_size", "pseudo_labels"])
def test_the_studies_compare_shares_of_the_same_pictures(name: str) -> None:
    study = load_study(name)
    arms = {arm.name: config for arm, config in study.arms()}
    for question in study.ablation.design.questions():
        plain, other = arms[question.against], arms[question.name]
        same = other.model_copy(update={"train_share": plain.train_share})
        by_share = same.fingerprint() == plain.fingerprint()
        assert by_share or other.train_share == plain.train_share, "one thing differs at a time"


def test_guesses_need_pictures_to_guess_at(digits: Data) -> None:
    made = {"dataset": {"name": "digits", "num_train": 300, "num_valid": 200}, "epochs": 2}
    asked = TrainConfig.parse(made | {"pseudo": {"threshold": 0.5, "start": 2}}, source="test")
    for share, fits in ((1.0, False), (0.99, False), (0.5, True)):
        study = small_study().override({"baseline.train_share": share}, source="test")
        base = asked.model_copy(update={"train_share": share})
        study = study.model_copy(update={"baseline": base})
        if fits:
            require_inputs(study, digits)
        else:
            with pytest.raises(UserError, match="unlabeled training pictures"):
                require_inputs(study, digits)


def test_labels_are_counted_where_the_rest_is_guessed(tmp_path: Path) -> None:
    folder = tmp_path / "guessed"
    arms: dict[str, dict[str, Any]] = {
        f"{share:g} guessed": {"train_share": share, "pseudo.threshold": 0.9}
        for share in (0.5, 0.25, 0.125)
    }
    book = Scribe(folder / "study", with_arms(make_study(replicates=3, num_trials=0), arms))
    book.session()
    for replicate in (1, 2, 3):
        for number, (arm, acc) in enumerate(zip(arms, (0.9, 0.8, 0.6), strict=True)):
            wiggle = 0.004 * ((replicate + number) % 3)
            book.arm(arm, replicate, acc + wiggle, num_train=400 >> number)
    (found,) = curves(book, folder)
    assert (found.guessed, found.silence) == (True, "part")
    page = texts(read(book.record(), folder), {})["report.md"]
    assert "from 100 to 400 labels each doubling was worth" in page
    assert "the other pictures guessed at" in page
    assert "fewer steps" not in page
    assert "guessed at" not in texts(read(book.record(), folder), {}, "zh")["report.md"]
