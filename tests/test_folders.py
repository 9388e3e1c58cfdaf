"""Which record belongs to which pictures: by where they lie, else by what they are; old names are
found again.
"""

import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from pictures import class_folder, save

from pipeline.record import events
from pipeline.record.folders import digest, slug, study_folder
from pipeline.record.ledger import Ledger
from pipeline.record.published import place
from pipeline.session.cli import options, parser
from pipeline.session.resolve import chosen
from pipeline.study.study import Study

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(ROOT)
    flags = parser("pipeline.search", "", trains=True, searches=True)
    return chosen(options(flags, ["--study", "hw3", "--data", "unused"])).study


def record(
    root: Path,
    study: Study,
    data: Path,
    *,
    old: bool = False,
    folder: Path | None = None,
    command: str = "",
) -> Path:
    """Begin a record as a session does, or as an earlier version did; returns its folder."""
    folder = folder or study_folder(root, study, data)
    listing = study.baseline.dataset.scan(data)
    counts = {
        part: listing.parts.count(number) for number, part in enumerate(("train", "valid", "test"))
    }
    facts: dict[str, Any] = {"classes": list(listing.classes), "counts": counts, "unreadable": []}
    new = {} if old else {"listing": digest(listing)}
    where = {} if old else {"place": place(root, data)}
    with Ledger(folder) as ledger:
        ledger.append(events.Study(study=study.model_dump(mode="json"), data=facts, note="", **new))
        ledger.append(
            events.Session(
                command=command or f"python -m pipeline.search --study hw3 --data '{data}'",
                **where,
            )
        )
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("food-11", "food-11"),
        ("my  photos (2)", "my-photos-2"),
        ("食物", "食物"),
        ("кошки", "кошки"),
        ("हिन्दी", "हिन्दी"),
        (unicodedata.normalize("NFD", "Café"), "Café"),
        ("...hidden", "hidden"),
        ('a<b>:"c|?*\\d', "a-b-c-d"),
        ("🍕🍕", "data"),
        ("/", "data"),
        ("a\x00b\nc", "a-b-c"),
    ],
)
def test_names_of_every_script_are_kept(name: str, expected: str) -> None:
    assert slug(name) == expected
    assert slug(slug(name)) == slug(name)


@pytest.mark.parametrize("letter", ["x", "é", "食", "𝒳", "ह"])
def test_a_long_name_fits_the_file_system(letter: str, tmp_path: Path) -> None:
    name = slug(letter * 300)
    assert len(name) >= 30
    (tmp_path / f"hw3-{name}-3f2a1c.old12").mkdir()


def test_names_are_the_same_bytes_under_any_locale() -> None:
    code = (
        "import os, sys; from pipeline.record.folders import slug; "
        "sys.stdout.buffer.write(os.fsencode(slug(sys.argv[1])))"
    )
    for variables in ({"LC_ALL": "C", "PYTHONUTF8": "0"}, {"LC_ALL": "C.UTF-8"}):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONCOERCECLOCALE": "0",
            **variables,
        }
        found = subprocess.run(
            [sys.executable, "-c", code, "食物"], env=environment, capture_output=True, check=True
        )
        assert found.stdout.decode() == "食物"


def test_two_folders_of_one_name_are_two_records(study: Study, tmp_path: Path) -> None:
    one = class_folder(tmp_path / "a" / "dataset", num=6)
    other = class_folder(tmp_path / "b" / "dataset", num=7)
    root = tmp_path / "mlruns"
    first = record(root, study, one)
    assert first.name == "hw3-dataset"
    second = study_folder(root, study, other)
    assert re.fullmatch("hw3-dataset-[0-9a-f]{6}", second.name)
    assert record(root, study, other) == second
    for _ in range(2):
        assert (study_folder(root, study, one), study_folder(root, study, other)) == (first, second)
        save(
            one / "bread" / "new.jpg", 1, 5
        )  # changed pictures are to be refused, not begun with anew
        save(other / "bread" / "new.jpg", 1, 6)


def test_equal_names_and_sizes_of_other_content_are_other_pictures(
    study: Study, tmp_path: Path
) -> None:
    folders = [class_folder(tmp_path / where / "dataset", num=6) for where in "ab"]
    for number, folder in enumerate(folders):
        for path in folder.rglob("*.jpg"):
            path.unlink()
            path.with_suffix(".ppm").write_bytes(b"P6\n8 8\n255\n" + bytes([number * 90]) * 192)
    root = tmp_path / "mlruns"
    first = record(root, study, folders[0])
    assert study_folder(root, study, folders[1]) != first


def test_moved_pictures_keep_their_record(study: Study, tmp_path: Path) -> None:
    root, one = tmp_path / "mlruns", class_folder(tmp_path / "a" / "dataset", num=6)
    first = record(root, study, one)
    class_folder(tmp_path / "c" / "dataset", num=8)
    second = record(root, study, tmp_path / "c" / "dataset")
    (tmp_path / "b").mkdir()
    moved = one.rename(tmp_path / "b" / "dataset")
    for path in moved.rglob("*.jpg"):
        os.utime(path, (1, 1))  # as unzipping does
    assert study_folder(root, study, moved) == first != second
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "dataset").symlink_to(moved)
    assert study_folder(root, study, tmp_path / "link" / "dataset") == first
    assert study_folder(root, study, tmp_path / "gone" / "dataset") == first, (
        "by its name, where there are no pictures"
    )


def test_records_of_earlier_versions_are_found_under_their_names(
    study: Study, tmp_path: Path
) -> None:
    root, mine = tmp_path / "mlruns", class_folder(tmp_path / "我的照片", num=6)
    old = record(root, study, mine, old=True, folder=root / "hw3-data")
    assert study_folder(root, study, mine) == old
    food = class_folder(tmp_path / "食物", num=7)
    assert study_folder(root, study, food) == root / "hw3-食物"
    save(mine / "bread" / "new.jpg", 1, 5)
    assert study_folder(root, study, mine) == old, "changed pictures are to be refused"


@pytest.mark.parametrize(
    "command", ["python -m pipeline.search --study hw3", "python -m 'broken", "x --data=dataset"]
)
def test_an_older_record_whose_folder_is_unknown_is_taken_for_the_same(
    command: str, study: Study, tmp_path: Path
) -> None:
    root, one = tmp_path / "mlruns", class_folder(tmp_path / "dataset", num=6)
    old = record(root, study, one, old=True, command=command)
    os.chdir(tmp_path)
    save(one / "bread" / "new.jpg", 1, 5)
    assert study_folder(root, study, one) == old


def test_another_study_of_that_folder_name_is_another_record(study: Study, tmp_path: Path) -> None:
    root, one = tmp_path / "mlruns", class_folder(tmp_path / "path-dataset", num=6)
    other = study.model_copy(update={"name": "hw3-path"})
    first = record(root, other, class_folder(tmp_path / "dataset", num=6))
    assert first.name == "hw3-path-dataset"
    assert study_folder(root, study, one) not in (first, first.with_name("hw3-path-dataset.old1"))


def test_a_damaged_record_is_not_gone_round(study: Study, tmp_path: Path) -> None:
    root, one = tmp_path / "mlruns", class_folder(tmp_path / "dataset", num=6)
    first = record(root, study, one)
    (first / "ledger.jsonl").write_bytes(b"\xff" * 100)
    assert study_folder(root, study, one) == first


@pytest.mark.parametrize(
    "facts",
    [{"reading": {"rules": 2, "newer": 1}}, {"reading": 5}, {"counts": 5}, {"classes": None}],
)
def test_a_record_that_cannot_be_compared_is_of_other_pictures(
    study: Study, tmp_path: Path, facts: dict[str, Any]
) -> None:
    first, second = (class_folder(tmp_path / name / "photos", num=12) for name in "ab")
    folder = study_folder(tmp_path / "mlruns", study, first)
    known = {"classes": [], "counts": {}, "unreadable": []} | facts
    with Ledger(folder) as ledger:
        ledger.append(events.Study(study=study.model_dump(mode="json"), data=known, note=""))
        ledger.append(events.Session(command="python", place=place(tmp_path, first)))
    found = study_folder(tmp_path / "mlruns", study, second)
    assert found != folder
    assert found.name.startswith(folder.name)
