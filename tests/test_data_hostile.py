"""Three hundred hostile files beside good ones: nothing crashes, nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_pictures import NUM, hostile, write_hostile
from pictures import class_folder

from pipeline.data.cache import Data, prepare
from pipeline.data.datasets import Folder
from pipeline.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = class_folder(tmp_path_factory.mktemp("hostile") / "set", num=110)
    write_hostile(root / "egg")
    return root


@pytest.fixture(scope="module")
def data(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    return prepare(Folder(size=16, max_unreadable=0.5), root, tmp_path_factory.mktemp("cache"))


def test_the_files_are_the_same_ones_every_time():
    assert len(hostile()) == NUM
    assert hostile() == hostile()


def test_every_file_is_read_or_named_with_its_reason(root, data):
    named = {bad.file for bad in data.unreadable}
    assert len(os.listdir(root / "egg")) == NUM + 110
    there = {f"{folder.name}/{file}" for folder in root.iterdir() for file in os.listdir(folder)}
    assert there == named | set(data.files)
    assert not named & set(data.files)
    assert len(named) > 150
    for bad in data.unreadable:
        assert bad.reason
        assert bad.reason.isprintable()
        assert " at 0x" not in bad.reason
    assert any(f"{len(named)} pictures could not be read" in warning for warning in data.warnings)


def test_good_pictures_survive(data, tmp_path):
    class_folder(tmp_path / "alone", num=110)
    alone = prepare(Folder(size=16), tmp_path / "alone", tmp_path / "cache")
    for row, file in enumerate(alone.files):
        there = data.files.index(file)
        assert np.array_equal(alone.images[row], data.images[there])
        assert alone.labels[row] == data.labels[there]


def test_odd_names_of_readable_pictures_are_kept(data):
    names = {os.fsencode(file) for file in data.files}
    for name in (
        "egg/new\nline.png",
        "egg/\u202egnp.rtl.png",
        "egg/-rf.png",
        "egg/quote'\"`$(id).png",
    ):
        assert (name.encode() in names) != any(bad.file == name for bad in data.unreadable)
    assert b"egg/invalid \xff\xfe utf8.png" in names
    assert b"egg/new\nline.png" in names


def test_two_runs_give_the_same_words(root, data, tmp_path):
    again = prepare(Folder(size=16, max_unreadable=0.5), root, tmp_path / "cache")
    assert again.unreadable == data.unreadable
    assert again.fingerprint == data.fingerprint


def test_the_refusal_names_them_on_a_clean_terminal(root, data, tmp_path):
    with pytest.raises(UserError) as caught:
        prepare(Folder(size=16), root, tmp_path / "cache")
    lines = str(caught.value).splitlines()
    assert f"{len(data.unreadable)} of 630 pictures cannot be read" in lines[0]
    assert len(lines) == 12
    assert lines[-1].strip() == f"and {len(data.unreadable) - 10} more"
    assert all(line.isprintable() for line in lines)


def test_the_script_writes_them(tmp_path):
    script = Path(__file__).parent / "hostile_pictures.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "out"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("300 files written")
    assert len(os.listdir(tmp_path / "out")) == NUM
