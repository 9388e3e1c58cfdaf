"""The report begins with the study's question and its answer, in every format."""

import re
from pathlib import Path

import pytest

from pipeline.report.compose import read, texts
from pipeline.report.formats.terminal import render
from pipeline.session.resume import changed_settings
from pipeline.study.designs import Arms, LeaveOneOut
from pipeline.study.load import SHIPPED, load_study
from pipeline.study.study import Study
from tests.records import Scribe, make_study, with_arms

QUESTION = "Do a residual network and augmentation help?"
HARMED = {"baseline": 0.557, "ResNet": 0.371, "augmentation": 0.493, "ResNet + augmentation": 0.409}


def scribe(folder: Path, study: Study, levels: dict[str, float]) -> Scribe:
    book = Scribe(folder, study)
    book.session()
    for replicate in range(1, study.ablation.replicates + 1):
        for arm, acc in levels.items():
            book.arm(arm, replicate, acc + float(book.rng.normal(0, 0.01)))
    return book


def asking(question: str, replicates: int = 5) -> Study:
    return make_study(num_trials=0, replicates=replicates).model_copy(update={"question": question})


def test_the_first_sentence_answers_the_question_in_every_format(tmp_path: Path) -> None:
    findings = read(scribe(tmp_path, asking(QUESTION), HARMED).record())
    said = (
        "After 9 epochs, at learning rate 0.0003, tuned for no arm, none is found better than "
        "baseline; ResNet ("
    )
    pages = {name: page.replace("\u00a0", " ") for name, page in texts(findings, {}).items()}
    pages["screen"] = " ".join(render(findings, Path("report.html")).split())
    assert [name for name, page in pages.items() if f"{QUESTION} {said}" not in page] == []
    assert pages["report.md"].split("\n\n")[2].startswith(QUESTION)
    assert "Seeds 1 to 5; 20 looks at the test set" in pages["report.md"]
    chinese = texts(findings, {}, "zh")["report.md"]
    assert (
        f"{QUESTION} 训练 9 轮后（学习率为 0.0003，没有为任何变体调参）："
        "没有任何变体被发现比 baseline 更优；ResNet (" in chinese
    )


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("optimizer.weight_decay", 0.1, "at learning rate 0.0003, tuned for no arm"),
        ("optimizer.lr", 0.01, "at the learning rates that the arms set, tuned for no arm"),
        ("optimizer.name", "sgd", "at the learning rates that the arms set, tuned for no arm"),
    ],
)
def test_learning_rates_are_the_arms_own_only_where_they_set_them(
    tmp_path: Path, path: str, value: object, said: str
) -> None:
    study = with_arms(asking(QUESTION), {"baseline": {}, "changed": {path: value}})
    findings = read(scribe(tmp_path, study, {"baseline": 0.5, "changed": 0.6}).record())
    assert f"After 9 epochs, {said}, " in texts(findings, {})["report.md"]


def test_without_a_question_it_begins_with_the_answer(tmp_path: Path) -> None:
    findings = read(scribe(tmp_path, asking(""), HARMED).record())
    assert (
        texts(findings, {})["report.md"]
        .split("\n\n")[2]
        .startswith("After 9 epochs, at learning rate 0.0003")
    )


def test_pairs_that_the_design_names_are_answered_in_the_first_sentence(tmp_path: Path) -> None:
    """Half of a question, as 'does the rule make up for it', was of pairs that nothing compared."""
    study = asking(QUESTION)
    arms = {"64": {}, "same": {"batch_size": 32}, "rule": {"batch_size": 32, "optimizer.lr": 0.01}}
    design = Arms(arms=arms, against={"rule": "same"})
    ablation = study.ablation.model_copy(update={"design": design})
    study = study.model_copy(update={"ablation": ablation})
    found = read(scribe(tmp_path, study, {"64": 0.6, "same": 0.5, "rule": 0.58}).record())
    first = texts(found, {})["report.md"].split("\n\n")[2]
    assert re.search(r"none is found better than 64; same \(−[\d.]+\) is worse\. Of the", first)
    assert re.search(r"Of the other pairs, better: rule against same \(\+[\d.]+\)\.$", first)
    assert "其余各对：更优：rule 相对 same" in texts(found, {}, "zh")["report.md"]


def test_changes_that_only_all_together_are_told_apart_are_told_of(tmp_path: Path) -> None:
    """Each taken back alone changed nothing, all of them 77 points, and no sentence said so."""
    on = {"ema": {"ema": 0.9}, "slow": {"optimizer.lr": 1e-4}, "clip": {"clip_norm": 1.0}}
    design = LeaveOneOut(on=on, with_none=True, by_lack=True)
    study = asking(QUESTION)
    ablation = study.ablation.model_copy(update={"design": design})
    study = study.model_copy(update={"ablation": ablation})
    alone = {"all 3": 0.7, "without ema": 0.699, "without slow": 0.701, "without clip": 0.7}
    found = read(scribe(tmp_path / "a", study, alone | {"baseline": 0.3}).record())
    first = texts(found, {})["report.md"].split("\n\n")[2]
    assert re.search(
        r"No change alone is told apart, all of them together are: baseline \(−", first
    )
    assert "没有任何单项改动能被单独区分" in texts(found, {}, "zh")["report.md"]
    told = alone | {"without ema": 0.5, "baseline": 0.3}
    other = read(scribe(tmp_path / "b", study, told).record())
    assert "No change alone" not in texts(other, {})["report.md"]


def test_what_was_not_tested_answers_nothing(tmp_path: Path) -> None:
    findings = read(scribe(tmp_path, asking(QUESTION, replicates=2), HARMED).record())
    first = texts(findings, {})["report.md"].split("\n\n")[2]
    assert re.search(
        r"no arm, ResNet \([^;]*, ResNet \+ augmentation \([^;]* are not tested\.", first
    )
    assert "none is found" not in first
    assert "worse" not in first


def test_without_a_reference_nothing_is_found(tmp_path: Path) -> None:
    book = scribe(
        tmp_path, asking(QUESTION), {arm: acc for arm, acc in HARMED.items() if arm != "baseline"}
    )
    first = texts(read(book.record()), {})["report.md"]
    assert "tuned for no arm, ResNet (not compared), augmentation (not" in first
    assert "none is found" not in first


@pytest.mark.parametrize("name", [path.stem for path in SHIPPED.glob("[!_]*.py")])
def test_every_study_asks(name: str) -> None:
    assert load_study(name).question.endswith("?")


def test_a_question_changes_no_recorded_study(tmp_path: Path) -> None:
    record = scribe(tmp_path, asking(""), HARMED).record()
    del record.header.study["question"]  # as earlier versions wrote it
    assert changed_settings(record, asking(QUESTION)) == []
