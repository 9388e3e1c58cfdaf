"""The report in Chinese: what is translated, what never is, and that English stays as it was."""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.config import TrainConfig
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import drift, write_report
from pipeline.report.__main__ import main
from pipeline.report.compose import FIGURES, Findings, document, read, texts
from pipeline.report.document import Cell, Column, Document, Table, Thumb
from pipeline.report.language.catalogue import SLOT, Catalogue, catalogue
from pipeline.report.language.translate import table, translated
from pipeline.report.language.translator import Translator
from pipeline.study.designs import AddOneIn, Factorial, Fractional, Scheme
from pipeline.study.schedulers import SCHEDULERS
from pipeline.study.tuning import Replicated
from tests.asked import chosen
from tests.driver import Worker, drive, open_plan, quality
from tests.records import Scribe, full_record, make_study, with_arms
from tests.studies import small_study
from tests.test_beyond import made, told_apart
from tests.test_diagnosis import IMPROVING, family, study_of
from tests.test_prospect import conduct
from tests.test_report_classes import answers_of, confused, known, study_with, with_classes
from tests.test_report_designs import DESIGNS, ON, planned, searched, some, world
from tests.test_report_tuned import tuned_study, upward

COVERED = 0.98
NAMES = ("baseline", "better", "Warnings", "the reference", "not tested", "no flag", "Best: x.")


def chinese(findings: Findings) -> tuple[Document, Document, Translator]:
    """The document in English and in Chinese, and what was met on the way."""
    english = document(findings, FIGURES)
    say = Translator(catalogue("zh"), findings.ablation.scores)
    return english, translated(english, say, title=findings.study.title), say


def strings(thing: Any) -> list[str]:
    """Every text of a document, in order."""
    if isinstance(thing, str):
        return [thing]
    if isinstance(thing, Cell):
        return [thing.text]
    if isinstance(thing, Thumb):
        return [thing.label, thing.alt]
    if isinstance(thing, tuple):
        return [text for item in thing for text in strings(item)]
    if isinstance(thing, type) or not is_dataclass(thing):
        return []
    return [text for f in fields(thing) for text in strings(getattr(thing, f.name))]


def broken(folder: Path) -> Record:
    """Holes, diverged and failed runs, an arm without a result."""
    book = Scribe(
        folder,
        make_study(replicates=4, epochs=10),
        data={"unreadable": [{"file": "a.jpg", "reason": "broken"}]},
    )
    book.session()
    book.session(commit="feed00000000+")
    book.trials(20)
    for replicate in range(1, 5):
        gpu = "Tesla T4" if replicate > 2 else "NVIDIA A100-SXM4-40GB"
        book.arm("baseline", replicate, 0.6 + 0.01 * replicate, device=gpu)
        book.arm("ResNet", replicate, 0.6, status="diverged" if replicate == 2 else "complete")
        book.arm("augmentation", replicate, status="failed" if replicate < 3 else "running")
        if replicate < 4:
            book.arm("ResNet + augmentation", replicate, 0.62 + 0.001 * replicate**2)
    return book.record()


def of(design: Scheme) -> Callable[[Path], Record]:
    return lambda folder: world(folder, design).record()


def few(count: int) -> Callable[[Path], Record]:
    def make(folder: Path) -> Record:
        book = Scribe(
            folder, make_study(replicates=count, num_trials=3), note="a note of the study"
        )
        book.session()
        book.trials(2)
        book.arms()
        return book.record()

    return make


def unequal(folder: Path) -> Record:
    book = Scribe(folder, make_study(replicates=3, num_trials=0))
    book.session()
    for replicate in (1, 2, 3):
        for arm, _ in book.study.arms():
            book.arm(
                arm.name,
                replicate,
                0.6 + 0.01 * replicate,
                epochs=9 if arm.name != "ResNet" else 12,
            )
    return book.record()


def untested(folder: Path) -> Record:
    book = Scribe(folder, planned(AddOneIn(on=some(2)), replicates=3))
    book.session()
    for replicate in (1, 2, 3):
        for arm, _ in book.study.arms():
            book.arm(arm.name, replicate, test_acc=None, test_loss=None)
    return book.record()


def identical(folder: Path) -> Record:
    book = Scribe(
        folder,
        with_arms(
            make_study(replicates=3, num_trials=0), {"baseline": {}, "same": {"model.width": 96}}
        ),
    )
    book.session()
    for replicate in (1, 2, 3):
        for arm in ("baseline", "same"):
            book.arm(arm, replicate, 0.6 + 0.01 * replicate)
    return book.record()


def unlabelled(folder: Path) -> Record:
    def give(_: str, replicate: int) -> Any:
        return answers_of(*confused(4, 6, replicate), split="val", embedded=replicate == 1)

    return study_with(folder, give)


def many_classes(folder: Path) -> Record:
    def give(arm: str, replicate: int) -> Any:
        true, pred = confused(150, 6, replicate)
        return answers_of(
            true,
            np.zeros_like(pred) if (arm, replicate) == ("ResNet", 2) else pred,
            embedded=replicate == 1,
        )

    return study_with(folder, give, **with_classes(*(f"class {i}" for i in range(150))))


def uneven(folder: Path) -> Record:
    true = np.repeat(np.arange(4), (12, 4, 4, 4))
    return study_with(folder, lambda arm, _: None if arm == "ResNet" else answers_of(true, true))


def curves(folder: Path) -> Record:
    arms = {
        f"arm {kind}": [family(kind, np.random.default_rng(i)) for i in range(3)] for kind in CURVES
    }
    arms["arm lost"] = [IMPROVING] * 3
    ends = {
        arm: [{"status": "diverged", "error": "inf"} if arm == "arm lost" else {} for _ in runs]
        for arm, runs in arms.items()
    }
    return study_of(folder, arms, ends)


def tuned(folder: Path, tuning: Any = None) -> Record:
    return drive(open_plan(folder, tuned_study(tuning)), upward())


def foreseen(folder: Path) -> Record:
    """With a plan written before and a pilot, then more replicates: a plan that was changed."""
    for replicates in (4, 5):
        conduct(folder, small_study(replicates=replicates))
    return Record.of(read_events(folder))


def answered(folder: Path, rope: float) -> Record:
    """Looked at on the way, which began after results existed; settled, equivalent and open."""

    def acc(config: TrainConfig, replicate: int) -> float:
        return 0.7 - (config.model.dropout > 0) / 4 + quality(config, replicate) / 50

    fixed = small_study(replicates=3, epochs=1).override({"ablation.rope": rope})
    conduct(folder, fixed, Worker(acc=acc))
    looked = {"ablation.until_answered": True, "ablation.replicates": 7}
    return conduct(folder, fixed.override(looked), Worker(acc=acc))[0]


def finished(folder: Path) -> Record:
    """Models changed after training; costs known; warnings of the data."""
    warnings = [
        "imbalance: the training classes have 3 to 90 pictures",
        "leak: pictures with an exact copy in another part: 2 of train, 2 of test; test numbers "
        "are flattered",
        "4 pictures have an exact copy with another label",
        "classes with fewer than 10 training pictures: 'egg' (3)",
        "classes without a labelled test picture: 'egg', 'rice'; test numbers say nothing of them",
        "9 of 10 pictures of 16 bits use no more than 12 of them and are dark, since others use "
        "more (the brightest: a.png)",
        "val.csv is not read: put its lines into the first table, with a column split",
        "train.csv: 6 pictures have several labels ('cat|dog'): each combination is a class of its "
        "own",
        "column 'train' of train.csv is not used as split: it holds '0', '1'",
        "left out: 20 pictures that are annotations of others",
    ]
    book = Scribe(
        folder, make_study(replicates=3, num_trials=0, epochs=4), data={"warnings": warnings}
    )
    book.session()
    final = {
        "size_bytes": 2e6,
        "plain_size_bytes": 8e6,
        "plain_test_acc": 0.61,
        "latency_seconds": 0.002,
    }
    for replicate in (1, 2, 3):
        for i, (arm, _) in enumerate(book.study.arms()):
            more: dict[str, Any] = {
                "num_macs": 10**9,
                "num_train": 800,
                "final": final | {"plain_latency_seconds": 0.004},
            }
            book.arm(arm.name, replicate, 0.6 + 0.02 * i + 0.002 * replicate**2, **more)
    return book.record()


def hostile(folder: Path) -> Record:
    """Arms that are called as the report's own words are."""
    design = dict(zip(NAMES, ({}, *ON.values(), {"model.dropout": 0.3}), strict=True))
    book = Scribe(folder, with_arms(make_study(replicates=4, num_trials=0), design))
    book.session()
    for replicate in range(1, 5):
        for i, arm in enumerate(NAMES):
            book.arm(arm, replicate, 0.5 + 0.02 * i + 0.001 * replicate**2 * (i + 1))
    return book.record()


def sent_on_by(scheduler: str) -> Callable[[Path], Record]:
    study = small_study(num_trials=24, epochs=9, replicates=1, scheduler=scheduler)
    return lambda folder: drive(open_plan(folder, study), Worker())


CURVES = (
    "overfit",
    "overfit_calibration_only",
    "underfit",
    "still_improving",
    "noisy_eval",
    "gap",
    "not_learning",
    "train_loss_rising",
)
CASES: dict[str, Callable[[Path], Record]] = {
    **{name: of(design) for name, design in DESIGNS.items()},
    "official": lambda folder: world(folder, Factorial(on=some(2)), split="official").record(),
    "kfold": lambda folder: world(folder, Factorial(on=some(2)), split="kfold", folds=5).record(),
    "resolution IV": lambda folder: world(folder, Fractional(on=some(4), resolution="IV")).record(),
    "importance": lambda folder: full_record(folder, num_trials=60),
    "winner": lambda folder: searched(folder, knobs={"model.dropout": 0.2})[0].record(),
    "holes": broken,
    "one replicate": few(1),
    "two replicates": few(2),
    "unequal": unequal,
    "no test labels": untested,
    "identical": identical,
    "curves": curves,
    "tuned": tuned,
    "tuned each time": lambda folder: tuned(folder, Replicated(num_trials=9)),
    "plan": foreseen,
    "until answered": lambda folder: answered(folder, 0.001),
    "until answered, equivalent": lambda folder: answered(folder, 0.05),
    "finished models": finished,
    "classes": lambda folder: study_with(folder, known),
    "classes on val": unlabelled,
    "many classes": many_classes,
    "other pictures": lambda folder: made(folder, told_apart()),
    "uneven classes": uneven,
    "hostile": hostile,
    **{name: sent_on_by(name) for name in SCHEDULERS if name != "promotion"},
}


@pytest.fixture(scope="module", params=CASES)
def page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Document, Document, Translator]:
    folder = tmp_path_factory.mktemp("case") / "study"
    return chinese(read(CASES[request.param](folder), folder))


def test_nearly_all_sentences_are_translated(page: tuple[Document, Document, Translator]) -> None:
    """Each of those that are not needs a line in pipeline/report/language/zh.toml."""
    _, _, say = page
    missed = list(dict.fromkeys(say.missed))
    for text in missed:
        print(f"not translated: {text}")
    assert say.num_said / (say.num_said + len(say.missed)) >= COVERED, missed
    assert [
        text for text in missed if "each run" in text or text.startswith("Δ")
    ] == []  # titles below three replicates


def test_every_number_stands_in_the_translation_too(
    page: tuple[Document, Document, Translator],
) -> None:
    english, other, _ = page
    for before, after in zip(strings(english)[:-1], strings(other)[:-1], strict=True):
        numbers = re.findall(r"[−+]?\d[\d.,]*\d|\d", before)
        for number in set(numbers):
            assert after.count(number) >= numbers.count(number), (number, before, after)


def test_no_sentence_is_half_english(page: tuple[Document, Document, Translator]) -> None:
    """What slots kept is names, numbers, settings: never a run of English words of the report."""
    _, _, say = page
    names = {
        "a note of the study",
        "train_loss is NaN at step 17",
        "train_loss is inf at step 3",
        "worker died",
    }
    for kept in say.kept - names:
        assert not re.search(
            r"\b(the|is|are|was|were|has|have|of|not|which|that|than)\b \w+ \w+", kept
        ), kept


def test_names_of_the_users_stay_whatever_they_say(tmp_path: Path) -> None:
    findings = read(hostile(tmp_path / "study"), tmp_path)
    english, other, _ = chinese(findings)
    said = [str(document.summary) for document in (english, other)]
    assert [text.count("Best: x.") for text in said] == [3, 3]
    ablation = next(block for block in other.blocks if isinstance(block, Table))
    assert [row[ablation.key or 0].text for row in ablation.rows] == list(NAMES)
    assert {row[-1].text for row in ablation.rows[1:]} <= {
        "更优",
        "更差",
        "等效",
        "不确定（证据不足）",
    }
    for name in NAMES[1:]:
        assert f"{name}：" in said[1]


def test_a_factor_called_like_a_column_keeps_its_name() -> None:
    say = Translator(catalogue("zh"))
    block = Table(
        "Search space.",
        (Column("verdict", "center"), Column("arm"), Column("verdict")),
        ((Cell("better"), Cell("worse"), Cell("worse")),),
        key=1,
    )
    found = table(block, say)
    assert [column.title for column in found.columns] == ["verdict", "变体", "结论"]
    assert [cell.text for cell in found.rows[0]] == ["better", "worse", "更差"]


def test_what_is_not_known_stays_english() -> None:
    say = Translator(catalogue("zh"))
    assert (
        say.text("A sentence of tomorrow. Nothing is tested.")
        == "A sentence of tomorrow. 未作任何检验。"
    )
    assert say.missed == ["A sentence of tomorrow."]
    assert say.phrase("verdict", "perfect") == "perfect"


def test_a_name_that_holds_an_and_is_not_cut() -> None:
    say = Translator(catalogue("zh"), ["crop and flip", "b"])
    assert say.text(
        "Highest mean: b; not found behind it after correction: crop and flip, b."
    ).endswith("：crop and flip, b。")


def test_every_template_says_all_its_slots_in_known_sections() -> None:
    found: Catalogue = catalogue("zh")
    known_kinds = {"", "w", "n", "v", "p", "i", "list", "names", *found.sections}
    for name, section in found.sections.items():
        for template in section.templates:
            assert sorted(template.kinds) == sorted(SLOT.findall(template.target)), (
                name,
                template.source,
            )
            assert {kind.rstrip("*;") for kind in template.kinds.values()} <= known_kinds, (
                template.source
            )
            assert not re.search("[\u4e00-\u9fff][,;:.?!]", template.target), template.target
    assert set(found.cells.values()) | set(found.rows.values()) <= set(found.sections)


def test_the_chinese_files_lie_beside_the_english_ones_which_stay(tmp_path: Path) -> None:
    record = full_record(tmp_path / "study", replicates=3, num_trials=4)
    write_report(record, tmp_path / "report")
    before = {
        path.name: path.read_bytes() for path in (tmp_path / "report").iterdir() if path.is_file()
    }
    write_report(record, tmp_path / "report-zh", "zh")
    assert before == {
        path.name: path.read_bytes() for path in (tmp_path / "report").iterdir() if path.is_file()
    }
    assert drift(record, tmp_path / "report-zh", "zh") == ()
    assert drift(record, tmp_path / "report") == ()
    assert any("report.html: differs" in line for line in drift(record, tmp_path / "report-zh"))
    html, tex, md = (
        (tmp_path / "report-zh" / name).read_text()
        for name in ("report.html", "ablation.tex", "report.md")
    )
    assert '<html lang="zh-Hans">' in html
    assert "Noto Sans CJK SC" in html
    assert "消融实验" in html
    assert "XeLaTeX" in tex
    assert r"\usepackage{ctex}" in tex
    assert "变体" in tex
    assert "[U+" not in tex.replace("{[}", "[")
    assert md.count("标签保留英文") == 1
    english = (tmp_path / "report" / "report.html").read_text()
    assert '<html lang="en">' in english
    assert not re.search("[\u4e00-\u9fff]", english)
    frames = {path.name: path.read_bytes() for path in (tmp_path / "report" / "frames").iterdir()}
    assert frames == {
        path.name: path.read_bytes() for path in (tmp_path / "report-zh" / "frames").iterdir()
    }


def test_long_and_odd_texts_take_a_time_in_proportion_to_their_length() -> None:
    def counted(num: int) -> int:
        say = Translator(catalogue("zh"))
        odd = "".join(
            f"arm {i}: +{i}.0 points [1.0, 2.0], better. Who knows, ({i}: what] is it? "
            for i in range(num)
        )
        said = say.text(odd)
        return said.count("更优")

    assert counted(40) == 40
    assert counted(400) == 400


def test_the_same_document_is_said_the_same_way(tmp_path: Path) -> None:
    findings = read(full_record(tmp_path / "study", replicates=3, num_trials=0), tmp_path)
    assert texts(findings, {}, "zh") == texts(findings, {}, "zh")
    assert texts(findings, {}) == texts(findings, {}, "en")


def test_the_command_writes_and_checks_the_chinese_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"
    full_record(folder, replicates=1, num_trials=0, epochs=1)
    monkeypatch.setattr("pipeline.session.resolve.chosen", lambda _: chosen(make_study()))
    monkeypatch.setattr("pipeline.session.resolve.study_folder", lambda *_: folder)
    flags = ["--study", "demo", "--mlruns", str(tmp_path), "--lang", "zh"]
    assert main([*flags, "--check"]) == 3
    assert main(flags) == 0
    assert main([*flags, "--check"]) == 0
    assert sorted(path.name for path in folder.glob("report*")) == ["report-zh"]
