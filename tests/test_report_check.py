"""`pipeline.report --check`: the same bytes in every process; drift is named; what is not the
report's is left alone.
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.record.events import End
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import drift, files, write_report
from pipeline.report.__main__ import main
from tests.asked import chosen
from tests.records import Scribe, full_record, make_study

ROOT = Path(__file__).parents[1]
ELSEWHERE = """
import sys
from pathlib import Path
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import drift
print(*drift(Record.of(read_events(Path(sys.argv[1]))), Path(sys.argv[1]) / "report"), sep="\\n")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with every section of a report in it: search with importance, factorial, a
    diverged trial.
    """
    home = tmp_path_factory.mktemp("check") / "study"
    write_report(full_record(home, num_trials=24, replicates=3), home / "report")
    return home


def small(folder: Path) -> Record:
    book = Scribe(folder, make_study(num_trials=0, replicates=1, epochs=1))
    book.session()
    book.arm("baseline", 1)
    return book.record()


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in found
    }


def test_another_process_draws_up_the_same_bytes(home: Path) -> None:
    seed = (
        "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    )  # without the variable, this process has a random one
    environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Taipei", "LC_ALL": "C"}
    command = [sys.executable, "-c", ELSEWHERE, str(home)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_every_kind_of_drift_is_named(tmp_path: Path) -> None:
    record, folder = small(tmp_path / "study"), tmp_path / "study" / "report"
    assert "report.html: missing" in drift(record, folder)
    assert not folder.exists()
    write_report(record, folder)
    assert drift(record, folder) == ()
    (folder / "report.md").write_bytes((folder / "report.md").read_bytes() + b" ")
    (folder / "frames/runs.parquet").unlink()
    (folder / "mine\x1b[31m.txt").write_text("a note of the reader's")
    before = snapshot(folder)
    named = (
        "frames/runs.parquet: missing",
        "mine\\x1b[31m.txt: not of this report",
        "report.md: differs",
    )
    assert drift(record, folder) == named
    assert snapshot(folder) == before


def test_the_command_checks_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    write_report(small(folder), folder / "report")
    monkeypatch.setattr("pipeline.session.resolve.chosen", lambda _: chosen(make_study()))
    monkeypatch.setattr("pipeline.session.resolve.study_folder", lambda *_: folder)
    flags = ["--study", "demo", "--mlruns", str(tmp_path), "--check"]
    assert main(flags) == 0
    assert "every file is what the ledger gives" in " ".join(capsys.readouterr().out.split())
    (folder / "report/frames/arms.csv").write_text("arm\n")
    before = snapshot(folder)
    assert main(flags) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("frames/arms.csv: differs ")
    assert said.count(": differs") == 1
    assert "1 file is not what the ledger gives" in said
    assert "Other versions of the libraries" in said
    assert snapshot(folder) == before
    (folder / "report/mine.txt").write_text("a note of the reader's")
    assert main(flags) == 3
    assert "stay when it is written again: move them" in " ".join(capsys.readouterr().out.split())


def test_what_a_later_report_lacks_is_removed_and_only_that(tmp_path: Path) -> None:
    first = {
        "report.html": b"page",
        "figures/a.svg": b"a",
        "figures/b.svg": b"b",
        "figures/c.svg": b"c",
    }
    files.replace_all(tmp_path, files.listed(first))
    (tmp_path / "figures/mine.svg").write_bytes(b"the reader's")
    (tmp_path / "figures/b.svg").write_bytes(b"b, with the reader's marks")
    files.replace_all(tmp_path, files.listed({"report.html": b"page"}))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"files.txt", "report.html", "figures/mine.svg", "figures/b.svg"}


def test_a_forged_list_removes_nothing_outside(tmp_path: Path) -> None:
    outside, folder = tmp_path / "thesis.txt", tmp_path / "report"
    outside.write_bytes(b"years of work")
    checksum = hashlib.sha256(b"years of work").hexdigest()
    folder.mkdir()
    (folder / "link.txt").symlink_to(outside)
    names = ("../thesis.txt", str(outside), "link.txt", "figures")
    (folder / "figures").mkdir()
    (folder / files.LIST).write_text("".join(f"{checksum}  {name}\n" for name in names))
    files.replace_all(folder, files.listed({"report.html": b"page"}))
    assert outside.read_bytes() == b"years of work"
    assert (folder / "link.txt").is_symlink()


def test_the_list_is_what_sha256sum_reads(home: Path) -> None:
    lines = (home / "report" / files.LIST).read_text().splitlines()
    listed = dict(reversed(line.split("  ", 1)) for line in lines)
    written = {
        str(p.relative_to(home / "report")): p.read_bytes()
        for p in (home / "report").rglob("*")
        if p.is_file()
    }
    del written[files.LIST]
    assert listed == {
        name: hashlib.sha256(content).hexdigest() for name, content in written.items()
    }


def test_a_study_that_went_on_is_drift(tmp_path: Path) -> None:
    write_report(small(tmp_path), tmp_path / "report")
    events = list(read_events(tmp_path))
    last = events[-1]
    assert isinstance(last, End)
    assert last.test_acc is not None
    changed = dataclasses.replace(last, test_acc=last.test_acc + 0.01)
    record = Record.of([*events[:-1], changed])
    found = drift(record, tmp_path / "report")
    assert {
        "frames/runs.csv: differs",
        "frames/runs.parquet: differs",
        "report.html: differs",
    } <= set(found)
    assert not any(line.startswith("frames/curves") for line in found)
