"""The recorded command on the screen: it runs where it is pasted, and names the record it is of."""

import os
import shlex
from pathlib import Path

import pytest

from pipeline.record.events import Session
from pipeline.record.pasted import from_here
from pipeline.record.published import place
from pipeline.report import write_report
from pipeline.session.resume import recorded_command
from tests.records import full_record

START = ["python", "-m", "pipeline.ablate"]


def session(*words: str, mlruns: Path, **facts: str) -> Session:
    where = {**place(mlruns, None), **facts}
    return Session(command=shlex.join([*START, *words]), place=where)


@pytest.mark.parametrize(
    ("words", "mlruns"),
    [
        (["--study", "hw3"], "mlruns"),
        (["--study", "hw3", "--mlruns", "my runs"], "my runs"),
        (["--study", "hw3", "--mlruns=../w/there", "--data", "~/it's"], "there"),
    ],
)
def test_where_it_was_typed_it_stays_as_it_was(
    words: list[str], mlruns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").mkdir()
    monkeypatch.chdir(tmp_path / "w")
    there = Path(mlruns)
    command = shlex.join([*START, *words])
    assert from_here(session(*words, mlruns=there), there) == command
    again = session(*words, "--fresh", mlruns=there)
    assert from_here(again, there) == command, "what is pasted goes on"


def test_elsewhere_it_names_the_folders_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("w/pictures", "w/runs", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "w" / "mine.py").touch()
    monkeypatch.chdir(tmp_path / "w")
    words = ["--study=mine.py", "--data", "pictures", "--mlruns", "runs", "--set", "name=pictures"]
    given = session(*words, mlruns=Path("runs"))
    monkeypatch.chdir(tmp_path / "other")
    home, runs = tmp_path / "w", Path("../w/runs")
    assert shlex.split(from_here(given, runs))[3:] == [
        f"--study={home / 'mine.py'}",
        *("--data", str(home / "pictures"), "--set", "name=pictures"),
        f"--mlruns={home / 'runs'}",
    ]
    (tmp_path / "w").rename(tmp_path / "x")  # the whole of it was moved, and is read from its place
    monkeypatch.chdir(tmp_path / "x")
    assert from_here(given, Path("runs")) == given.command
    usual = session("--study", "hw3", mlruns=Path("mlruns"))
    copy = tmp_path / "copy"
    assert from_here(usual, copy).endswith(f" --mlruns={copy}")


def test_a_record_that_does_not_say_where_it_ran_is_taken_at_its_word(tmp_path: Path) -> None:
    said = shlex.join([*START, "--study", "hw3"])
    assert from_here(Session(command=said), tmp_path) == said
    assert from_here(Session(command="an 'edited"), tmp_path) == "an 'edited"


def test_the_screen_has_it_whole_and_the_page_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `--mlruns /tmp/newcomer`, which a report cuts."""
    monkeypatch.chdir(tmp_path)
    mlruns = tmp_path / "far away" / "newcomer"
    record = full_record(mlruns / "demo")
    typed = ["--study", "demo", "--mlruns", str(mlruns)]
    record.sessions[-1] = session(*typed, mlruns=mlruns, cwd=os.path.expanduser("~"))
    report = write_report(record, mlruns / "demo" / "report")
    commands = [line for line in report.text.splitlines() if line.strip().startswith("python")]
    assert len(commands) >= 2
    for line in commands:
        words = shlex.split(line)
        assert words[words.index("--mlruns") + 1] == str(mlruns)
    page = (mlruns / "demo" / "report" / "report.md").read_text()
    assert "--mlruns newcomer" not in page
    assert str(tmp_path) not in page
    assert str(mlruns) in recorded_command(record, mlruns / "demo")
