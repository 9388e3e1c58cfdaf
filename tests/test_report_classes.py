"""The report's section on classes: from evidence made by hand, with names that would break a page
if they could.
"""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.analysis.answers import Answers
from pipeline.core.finished import evidence
from pipeline.record.record import Record
from pipeline.report import write_report
from pipeline.report.compose import Findings, document, read, texts
from pipeline.report.document import Bullets, Figure, Gallery, Heading, Table, Text
from pipeline.report.formats import latex, markdown
from pipeline.report.formats.html import render
from pipeline.report.sections.classes import (
    TITLE,
    arms_table,
    blocks,
    class_table,
    confusions_table,
    roles,
)
from tests.records import Scribe, make_study
from tests.test_report import HOSTILE, Page

ARMS = ("baseline", "ResNet", "augmentation", "ResNet + augmentation")


def answers_of(
    true: Any,
    pred: Any,
    *,
    split: str = "test",
    files: str = "t/{}.jpg",
    embedded: bool = False,
    seed: int = 0,
) -> Any:
    """Evidence with these answers; wrong ones are the surer the later they come."""
    rng = np.random.default_rng(seed)
    true, pred = np.asarray(true), np.asarray(pred)
    sure = np.linspace(0.6, 0.95, len(true)).astype(np.float32)
    judged = evidence.Judged(
        true, pred, np.where(true == pred, sure, (1 - sure) / 2).astype(np.float32), sure
    )
    rows = np.flatnonzero(true != pred)[::-1][:24]
    pictures = rng.integers(0, 255, (len(rows), 3, 32, 32)).astype(np.uint8)
    wrong = evidence.Wrong(rows, pictures, tuple(files.format(row) for row in rows))
    layers = [("middle", "layers.3"), ("top", "head")] if embedded else []
    points = tuple(
        evidence.Embedding(
            layer, module, rng.normal(size=(len(true[:60]), 2)).astype(np.float32), true[:60]
        )
        for layer, module in layers
    )
    return evidence.Evidence(split, judged, wrong, points)


def confused(num_classes: int, size: int, seed: int) -> tuple[Any, Any]:
    """`size` pictures a class; a fifth of each class is taken for the next one, and a few for
    any.
    """
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(num_classes), size)
    pred = true.copy()
    pred[np.arange(len(true)) % size < size / 5] += 1
    some = rng.choice(len(true), max(1, len(true) // 20), replace=False)
    pred[some] = rng.integers(0, num_classes, len(some))
    return true, pred % num_classes


def study_with(folder: Path, give: Any, *, replicates: int = 3, **scribe: Any) -> Record:
    """Four arms; `give(arm, replicate)` is their evidence, or None."""
    book = Scribe(folder, make_study(replicates=replicates, num_trials=0, epochs=2), **scribe)
    book.session()
    for replicate in range(1, replicates + 1):
        for place, arm in enumerate(ARMS):
            found = give(arm, replicate)
            more: dict[str, Any] = {}
            if found:
                path = evidence.evidence_path(folder, f"arm-{place}-r{replicate}")
                more = {"evidence": evidence.write(path, found)}
                if found.split == "val":
                    more |= {"test_acc": None, "test_loss": None}
            book.arm(arm, replicate, 0.6 + 0.05 * place + 0.003 * replicate, **more)
    return book.record()


def found_in(folder: Path, give: Any, **scribe: Any) -> Findings:
    return read(study_with(folder, give, **scribe), folder)


def with_classes(*names: str) -> dict[str, Any]:
    return {"data": {"classes": list(names), "is_food11": False}}


def section(findings: Findings) -> list[Any]:
    return list(blocks(findings.answers, findings.ablation, dropped=frozenset()))


def words(found: list[Any]) -> str:
    texts = [block.text for block in found if isinstance(block, (Text, Heading))]
    texts += [item for block in found if isinstance(block, Bullets) for item in block.items]
    texts += [block.caption for block in found if isinstance(block, (Table, Figure, Gallery))]
    return " ".join(texts)


def grid(table: Table) -> list[list[str]]:
    return [[cell.text.replace("\u2007", " ") for cell in row] for row in table.rows]


TRUE = np.repeat(np.arange(4), 5)


def known(_: str, replicate: int) -> Any:
    """Bread (0) is taken for dairy (1) twice in every replicate, egg (3) for dessert (2) once, in
    the first alone.
    """
    pred = TRUE.copy()
    pred[:2] = 1
    if replicate == 1:
        pred[19] = 2
    return answers_of(TRUE, pred, embedded=replicate == 1)


def test_a_known_confusion_is_reported_as_it_is(tmp_path: Path) -> None:
    findings = found_in(tmp_path, known)
    answers, top = findings.answers, "ResNet + augmentation"
    assert grid(confusions_table(top, answers)) == [
        ["bread", "dairy", "40.0", "6", "3 of 3"],
        ["egg", "dessert", "6.7", "1", "1 of 3"],
    ]
    bread, dairy, _, egg = grid(class_table(top, answers))
    assert bread[:4] == ["bread", "5", "60.0 ± 0.0 (3)", "[23.1, 88.2]"]
    assert bread[4:] == ["3", "100.0 ± 0.0 (3)", "[43.9, 100.0]", "75.0 ± 0.0 (3)"], (
        "of three answers, all right"
    )
    assert dairy[4:6] == ["7", "71.4 ± 0.0 (3)"]
    assert egg[2] == "93.3 ± 11.5 (3)"
    row = grid(arms_table(answers, findings.ablation))[0]
    assert row[:4] == ["baseline", "88.3 ± 2.9 (3)", "bread", "60.0"]
    assert row[-2:] == ["dairy", "35.0"]
    cells = arms_table(answers, findings.ablation).rows[0]
    assert all(cell.runs == ("arm-0-r1", "arm-0-r2", "arm-0-r3") for cell in cells)


def test_the_reference_and_the_highest_mean_are_shown_and_named_so(tmp_path: Path) -> None:
    findings = found_in(tmp_path, known)
    shown = roles(findings.answers, findings.ablation)
    assert list(shown) == ["baseline", "ResNet + augmentation"]
    assert shown["baseline"] == "the reference"
    alone = findings.ablation.bold == {"ResNet + augmentation"}
    assert shown["ResNet + augmentation"] == (
        "the best arm" if alone else "the arm with the highest mean"
    )


def test_best_is_said_of_an_arm_alone_in_the_best_set(tmp_path: Path) -> None:
    from dataclasses import replace

    findings = found_in(tmp_path, known)
    for best, word in (
        ({"ResNet + augmentation"}, "the best arm"),
        (set(ARMS[2:]), "the arm with the highest mean"),
    ):
        ablation = replace(findings.ablation, best=frozenset(best), uncompared={}, barred={})
        assert roles(findings.answers, ablation)["ResNet + augmentation"] == word


def test_most_wrong_pictures_are_those_of_most_replicates(tmp_path: Path) -> None:
    galleries = [
        block for block in section(found_in(tmp_path, known)) if isinstance(block, Gallery)
    ]
    assert len(galleries) == 2
    labels = [item.label for item in galleries[1].items]
    assert len(labels) == 2  # the egg was wrong once
    assert labels[0].startswith("bread → dairy, p 0.19, wrong in 3 of 3 replicates: t/1.jpg")
    names = [item.name for gallery in galleries for item in gallery.items]
    assert names == ["wrong-01", "wrong-02", "wrong-03", "wrong-04"]
    assert all(
        item.png.startswith(b"\x89PNG") and len(item.png) < 8_000 for item in galleries[0].items
    )


def test_without_evidence_one_sentence_stands_for_all(tmp_path: Path) -> None:
    found = section(found_in(tmp_path, lambda *_: None))
    assert [type(block) for block in found] == [Heading, Text]
    assert "12 complete runs, none with answers" in found[1].text


def test_lacking_damaged_and_swapped_files_are_counted(tmp_path: Path) -> None:
    def give(arm: str, replicate: int) -> Any:
        return None if (arm, replicate) == ("ResNet", 2) else known(arm, replicate)

    record = study_with(tmp_path, give)
    where = {
        key: evidence.evidence_path(tmp_path, key) for key in ("arm-0-r1", "arm-0-r2", "arm-2-r1")
    }
    where["arm-0-r1"].unlink()
    where["arm-0-r2"].write_bytes(where["arm-2-r1"].read_bytes()[:-1])
    findings = read(record, tmp_path)
    text = words(section(findings))
    assert "9 of 12 complete runs" in text
    assert "1 (recorded none)" in text
    assert "1 (the file is missing or damaged)" in text
    assert "1 (the file is not the one that was recorded)" in text
    assert len(findings.answers.arms["baseline"].tallies) == 1


def test_val_pictures_carry_the_dagger(tmp_path: Path) -> None:
    def give(arm: str, replicate: int) -> Any:
        files = "v/{}-of-" + str(replicate) + ".jpg"
        return answers_of(TRUE, known(arm, replicate).judged.pred, split="val", files=files)

    findings = found_in(tmp_path, give, **with_classes("a", "b", "c", "d"))
    found = section(findings)
    text = words(found)
    assert "† Used for selection" in text
    assert "no labelled test pictures" in text
    titles = [column.title for column in arms_table(findings.answers, findings.ablation).columns]
    assert "accuracy† (%), mean ± sd (n)" in titles
    galleries = [block for block in found if isinstance(block, Gallery)]
    assert "a replicate judges only its own val pictures" in galleries[0].caption
    assert all(
        "wrong in 1 of 3" in item.label for item in galleries[0].items
    )  # every replicate has pictures of its own


def test_test_pictures_carry_no_dagger(tmp_path: Path) -> None:
    findings = found_in(tmp_path, known)
    assert "†" not in words(section(findings))
    assert not any(
        "†" in column.title for column in arms_table(findings.answers, findings.ablation).columns
    )


def test_macro_f1_and_balanced_accuracy_stand_beside_accuracy_of_uneven_classes(
    tmp_path: Path,
) -> None:
    true = np.repeat(np.arange(4), (12, 4, 4, 4))
    even, uneven = (
        found_in(tmp_path / "a", known),
        found_in(tmp_path / "b", lambda *_: answers_of(true, true)),
    )
    for findings, expected in ((even, False), (uneven, True)):
        titles = {
            column.title for column in arms_table(findings.answers, findings.ablation).columns
        }
        assert (titles >= {"balanced accuracy (%)", "macro-F1 (%)"}) is expected


def test_a_collapsed_replicate_is_warned_of(tmp_path: Path) -> None:
    def give(arm: str, replicate: int) -> Any:
        one = arm == "ResNet" and replicate == 2
        return answers_of(TRUE, np.full(20, 3) if one else TRUE)

    findings = found_in(tmp_path, give)
    found = [warning for warning in findings.warnings if "collapse" in warning]
    assert found == [
        "ResNet: nearly all answers go to one class, a sign of collapse: replicate 2 (100 % to egg)"
    ]
    assert (
        "(1 of 3 replicates collapsed)"
        in grid(arms_table(findings.answers, findings.ablation))[1][-2]
    )


def test_nothing_is_called_significant(tmp_path: Path) -> None:
    text = words(section(found_in(tmp_path, known)))
    assert "signific" not in text
    assert "are not tested" in text
    assert "training again is not in them" in text


@pytest.mark.parametrize("num_classes", [2, 11, 150])
def test_it_holds_from_two_to_many_classes(num_classes: int, tmp_path: Path) -> None:
    def give(_: str, replicate: int) -> Any:
        return answers_of(*confused(num_classes, 6, replicate), embedded=replicate == 1)

    names = [f"class {i}" for i in range(num_classes)]
    record = study_with(tmp_path, give, **with_classes(*names))
    report = write_report(record, tmp_path / "report")
    written = {str(path.relative_to(tmp_path / "report")) for path in report.paths}
    for name in (
        "confusion_reference",
        "confusion_highest",
        "embedding_reference",
        "embedding_highest",
    ):
        assert {f"figures/{name}.svg", f"figures/{name}.png"} <= written
        assert (
            ElementTree.parse(tmp_path / "report" / "figures" / f"{name}.svg")
            .getroot()
            .tag.endswith("svg")
        )
    page = (tmp_path / "report" / "report.html").read_text()
    assert len(page) < 5e6
    assert ("the 20 of the largest confusions" in page) is (num_classes == 150)
    assert ("the 30 of lowest recall" in page) is (num_classes == 150)
    if num_classes == 2:  # once more, the same bytes
        before = {path: path.read_bytes() for path in report.paths}
        assert before == {
            path: path.read_bytes() for path in write_report(record, tmp_path / "report").paths
        }
    linked = set(
        re.findall(r"\((figures/[^)]+)\)", (tmp_path / "report" / "report.md").read_text())
    )
    assert linked <= written
    assert "figures/wrong-01.png" in linked


@pytest.mark.parametrize("moved", [0, 1], ids=["all right", "all wrong"])
def test_an_arm_that_makes_no_mistake_or_nothing_else_is_drawn(moved: int, tmp_path: Path) -> None:
    true = np.repeat(np.arange(2), 6)
    record = study_with(
        tmp_path, lambda *_: answers_of(true, (true + moved) % 2), **with_classes("cat", "dog")
    )
    written = {path.name for path in write_report(record, tmp_path / "report").paths}
    assert {"report.html", "confusion_reference.svg"} <= written


def test_hostile_names_of_classes_and_files_are_inert(tmp_path: Path) -> None:
    file = HOSTILE.replace("{", "").replace("}", "") + "\x1b[31m{}.jpg"

    def give(_: str, replicate: int) -> Any:
        return answers_of(*confused(4, 6, replicate), files=file, embedded=replicate == 1)

    hostile = texts(
        found_in(tmp_path, give, **with_classes(HOSTILE, "\x1b]0;x\x07", "\u202eabc", "=1+1")), {}
    )
    plain = texts(found_in(tmp_path / "plain", give, **with_classes("a", "b", "c", "d")), {})
    page, other = (Page(files["report.html"]) for files in (hostile, plain))
    assert [tag for tag, _ in page.tags].count("script") == [tag for tag, _ in other.tags].count(
        "script"
    )
    assert not any(
        attribute.startswith("on") for _, attributes in page.tags for attribute in attributes
    )
    images = [dict(attributes) for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    for name in ("report.html", "report.md"):
        text = hostile[name]
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text), name
    text = hostile["report.md"]
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(http", text)


def test_galleries_are_left_out_where_there_is_no_room(tmp_path: Path) -> None:
    findings = found_in(tmp_path, known)
    content = document(findings, frozenset())
    assert any(isinstance(block, Gallery) for block in content.blocks)
    assert "wrong-01" not in texts(findings, {})["ablation.tex"]
    assert TITLE in markdown.render(content)
    assert latex.escape(TITLE) == TITLE
    assert "data:image/png" in render(content, {})


def test_answers_without_any_run_say_nothing(tmp_path: Path) -> None:
    findings = found_in(tmp_path, known)
    assert list(blocks(Answers(("a", "b")), findings.ablation, dropped=frozenset())) == []
