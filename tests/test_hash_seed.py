"""The same record gives the same report in every process: no order of a set, no hash of a text
comes into it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.records import full_record
from tests.test_report_classes import known, study_with

ROOT = Path(__file__).parent.parent
WRITE = """
import sys
from pathlib import Path
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import write_report
from pipeline.report.language.catalogue import LANGUAGES
study, out = map(Path, sys.argv[1:])
for lang in LANGUAGES:
    report = write_report(Record.of(read_events(study)), study / f"report-{lang}", lang)
    (out / lang).mkdir(parents=True)
    (out / lang / "screen.txt").write_text(report.text)
    for path in report.paths:
        target = out / lang / path.relative_to(study / f"report-{lang}")
        target.parent.mkdir(exist_ok=True, parents=True)
        target.write_bytes(path.read_bytes())
"""


@pytest.mark.parametrize(
    "build",
    [
        lambda folder: full_record(folder, num_trials=40),
        lambda folder: study_with(folder, known, replicates=3),
    ],
    ids=["search", "answers"],
)
def test_two_hash_seeds_give_the_same_bytes(
    build: Callable[[Path], object], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    build(study)
    written = []
    for seed in "01":
        out = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", WRITE, study, out],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        written.append(
            {
                str(path.relative_to(out)): path.read_bytes()
                for path in out.rglob("*")
                if path.is_file()
            }
        )
    assert written[0].keys() == written[1].keys()
    assert [name for name, content in written[0].items() if content != written[1][name]] == []
    kinds = {Path(name).suffix for name in written[0]}
    assert {".md", ".html", ".tex", ".csv", ".parquet", ".svg", ".png"} <= kinds
