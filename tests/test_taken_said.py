"""What was taken of the pictures is said: at the start of a command, in the dry run, by doctor and
in the report.
"""

import html
from pathlib import Path

import pytest
from pictures import class_folder
from records import Scribe, make_study

from pipeline.data.cache import prepare
from pipeline.data.datasets import Folder
from pipeline.data.taken import Source, Taken
from pipeline.record.record import Record
from pipeline.report import write_report
from pipeline.report.compose import FIGURES, document, read
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator

PETS = ("cat", "dog")

WARNINGS = (
    "the folders 'train' are taken for classes, not for splits: they hold pictures as the others "
    "beside them do",
    "the class folders 'a', 'b' hold folders, not pictures ('c', 'd'): all that is below a class "
    "folder is of that class",
    "folders without pictures are no classes: 'tmp'",
    "the names of the files say splits (test 10, train 20), which are not followed: move the files "
    "to folders of splits",
    "classes of fewer than 2 training pictures are left out (dataset.min_pictures): 'yeti' (1)",
    "train.csv: 4 pictures have no label in column 'label'",
    "train.csv: 4 pictures have no label in column 2",
    "train.csv: 1 pictures are listed more than once",
    "the labels of 5 test pictures were read from test_labels.csv",
    "column 'fold' of train.csv is not used as split: it holds '0', '1'",
    "all test pictures have one label ('0'): they are taken as unlabeled",
    "2 pictures have an exact copy with another label (a/1.jpg ~ b/1.jpg)",
    "the test part shows 2 groups: what it says holds for these alone; add groups",
    "if several pictures show one subject, dataset.group_pattern keeps them on one side",
    "no test part: 15 % of the training pictures were cut off, whole groups",
    "no validation part: no whole group could be cut off",
    "leak: groups with pictures in more than one part: 2 in train and valid, 1 in train and valid "
    "and test; what is judged on these parts as they are is flattered",
)
LEFT = {
    "hidden files": 3,
    "hidden folders": 1,
    "pictures outside the split folders": 2,
    "pictures that are annotations of others": 2,
    "pictures without a label": 1,
    "pictures in deeper folders": 1,
    "pictures whose name says no label": 1,
    "pictures in folders of annotations": 1,
    "pictures of classes too small": 1,
    "pictures that no table lists": 1,
    "links to folders that are read anyway": 1,
    "broken links": 1,
    "sockets, pipes or devices": 1,
    "files without an ending": 1,
    "files of odd endings": 1,
    ".xcf files": 12,
    "folders @eaDir": 2,
}
SOURCES = (
    Source(
        "the names of the folders",
        parts={"train": "folder seg_train", "valid": "cut from train: 15 % of each class"},
    ),
    Source(
        "the number before _ in the names of the files", parts={"train": "no folders of splits"}
    ),
    Source(
        "the names of the files, before their number",
        parts={"test": "given with the set"},
        left_out=LEFT,
    ),
    Source(
        "columns a, b (one for each class) of t.csv",
        "column 'x' of t.csv",
        {"train": "table t.csv"},
    ),
    Source(
        "column 'c', in the order of column 'n' of t.csv",
        "column 1 of t.csv",
        {"train": "column 'split' of t.csv"},
    ),
    Source(
        "column 'c' (a guess: it is the other one of two) of t.csv",
        parts={
            "test": "folder test, which no table lists (dataset.test_table= leaves it out)",
            "train": "table t.csv",
        },
    ),
    Source(
        "the names of the folders",
        parts={"valid": "cut from train, whole groups"},
        groups="3 groups of 1 to 2 pictures, by column 'c' of t.csv; 1 picture belongs to none",
    ),
    Source(
        "the names of the folders",
        groups="3 groups of 2 pictures, by dataset.group_pattern=(p[0-9]+)_",
    ),
    Source(
        "given with the set",
        parts=dict.fromkeys(("train", "valid", "test"), "drawn once and for all"),
    ),
)


def recorded(folder: Path, source: Source, warnings: tuple[str, ...] = ()) -> Record:
    """A study in whose ledger the pictures were taken by `source`."""
    taken = Taken.of(source, PETS, [0, 1, 0, 1, 0, -1], [0, 0, 0, 1, 2, 2])
    book = Scribe(
        folder,
        make_study(replicates=3, num_trials=3),
        data={"taken": taken.dump(), "warnings": list(warnings)},
    )
    book.session()
    book.trials(2)
    book.arms()
    return book.record()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.labels[:30])
def test_the_report_says_what_was_taken_in_both_languages(source, tmp_path):
    record = recorded(tmp_path / "study", source, WARNINGS)
    findings = read(record)
    made = document(findings, FIGURES)
    say = Translator(catalogue("zh"), findings.ablation.scores)
    translated(made, say, title=findings.study.title)
    taken = Taken.parse(record.data["taken"])
    words = {line for _, line in taken.lines()} | set(WARNINGS)
    assert not [
        missed for missed in say.missed if any(missed in word or word in missed for word in words)
    ]
    report = write_report(record, tmp_path / "report")
    for name in ("report.md", "report.html"):
        page = " ".join(
            html.unescape((tmp_path / "report" / name).read_text()).replace("\\", "").split()
        )
        assert all(line in page for _, line in taken.lines()[1:]), name
        assert "a/1.jpg ~ b/1.jpg" in page
    assert report.complete


def test_80_columns_hold_what_is_said():
    classes = tuple(f"a class of a long name {n}" for n in range(200))
    source = Source(
        "the names of the folders", left_out={f".e{n} files": 7 * n + 1 for n in range(30)}
    )
    taken = Taken.of(source, classes, list(range(200)) * 3, [0] * 400 + [1] * 200)
    lines = taken.text(WARNINGS).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("classes    200: a class of a long name 0 (3), ")
    assert "and 195 more; 3 pictures each" in " ".join(" ".join(lines).split())
    assert all(line.startswith(" " * 11) or line[:11].strip() in SAID for line in lines)


SAID = ("classes", "labels", "train", "validation", "test", "left out", "warning")


def test_files_that_contradict_each_other_are_named(tmp_path):
    root = class_folder(tmp_path / "set", PETS, num=8)
    (root / "dog" / "copy.jpg").write_bytes((root / "cat" / "3.jpg").read_bytes())
    warnings = prepare(Folder(size=8), root, tmp_path / "cache").warnings
    assert "2 pictures have an exact copy with another label (cat/3.jpg ~ dog/copy.jpg)" in warnings
