"""A study to start from, as `python -m pipeline.new` writes it."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import new
from pipeline.__main__ import COMMANDS
from pipeline.__main__ import main as overview
from pipeline.errors import MachineError, UserError
from pipeline.session.cli import parser
from pipeline.study.load import load_study
from pipeline.study.names import SHIPPED, named
from tests.pictures import class_folder
from tests.test_layout import PATHS, room_of


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_command_is_listed():
    names = {name.removesuffix(".__main__") for name in PATHS if room_of(name) == "commands"}
    assert names == {*COMMANDS, "__main__"}


def test_the_list_of_commands_and_every_help_name_the_studies(capsys):
    def words() -> str:
        return " ".join(capsys.readouterr().out.split())

    assert overview([]) == 0
    assert f"Studies (--study NAME): {', '.join(named(SHIPPED))} The flags" in words()
    assert new.main(["mine"]) == 0
    assert overview([]) == 0
    assert "yours in studies/: mine The flags of one" in words()
    with pytest.raises(SystemExit):
        parser("pipeline.search", "", trains=True).parse_args(["--help"])
    assert f"else a shipped one: {', '.join(named(SHIPPED))};" in words()


def test_the_pictures_of_a_folder_are_said_and_used(capsys):
    class_folder(Path('my "photos"'), num=6)
    assert new.main(["mine", "--data", 'my "photos"']) == 0
    text = Path("studies/mine.py").read_text(encoding="utf-8")
    assert "# classes    " in text
    assert "# sizes      " in text
    assert "    Folder,\n" in text
    assert "Digits" not in text
    assert new.NAME not in text
    study = load_study("mine")
    study.check()
    assert (study.name, study.data) == ("mine", 'my "photos"')
    assert study.baseline.dataset.name == "folder"
    assert "--dry-run" in capsys.readouterr().out


def test_what_is_written_is_formatted_and_says_why_in_every_part():
    new.main(["mine"])
    command = (sys.executable, "-m", "ruff", "format", "--check", "--line-length", "100", "studies")
    subprocess.run(command, check=True, capture_output=True)
    text = Path("studies/mine.py").read_text(encoding="utf-8")
    assert text.count("    # ") >= 10
    assert "pipeline.new" not in text


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-x", "é", "x" * 65, "hw3"])
def test_a_name_that_cannot_be_used_is_refused(name):
    with pytest.raises((UserError, SystemExit)):
        new.main([name])
    assert not Path("studies").exists()


def test_nothing_is_left_of_a_study_that_cannot_be_written():
    with pytest.raises(UserError, match="no such folder"):
        new.main(["mine", "--data", "none"])
    assert not Path("studies").exists()
    Path("studies").symlink_to("nowhere/else")
    with pytest.raises(MachineError, match="cannot be written"):
        new.main(["mine"])
    Path("studies").unlink()
    Path("studies").mkdir()
    Path("studies/mine.py").symlink_to("nowhere")
    with pytest.raises(UserError, match="there already"):
        new.main(["mine"])


def test_the_list_of_commands_tells_its_version(capsys):
    assert overview(["--version"]) == 0
    number = importlib.metadata.version("ablation-pipeline")
    assert capsys.readouterr().out == f"ablation-pipeline {number}\n"
