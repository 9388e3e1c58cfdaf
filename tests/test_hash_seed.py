"""The same record gives the same report in every process: no order of a set, no hash of a text
comes into it.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.records import full_record
from tests.test_report_classes import known, study_with

ROOT = Path(__file__).parent.parent
WRITE = """
import sys
from pathlib import Path
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import compose, write_report
from pipeline.report.language.catalogue import LANGUAGES
place, *studies = map(Path, sys.argv[1:])
for study in studies:
    record = Record.of(read_events(study))
    report = write_report(record, study / "report")
    files = {path.relative_to(study / "report"): path.read_bytes() for path in report.paths}
    files[Path("screen.txt")] = report.text.encode()
    findings = compose.read(record, study)
    drawn = {path.stem: files[path] for path in files if path.suffix == ".svg"}
    for lang in LANGUAGES:  # the language is that of the pages alone
        for name, text in compose.texts(findings, drawn, lang).items():
            files[Path(lang) / name] = text.encode()
    for name, content in files.items():
        target = place / study.name / name
        target.parent.mkdir(exist_ok=True, parents=True)
        target.write_bytes(content)
"""


def test_two_hash_seeds_give_the_same_bytes(tmp_path: Path) -> None:
    """Of a search, and of all that is told of single answers."""
    studies = [tmp_path / "search", tmp_path / "answers"]
    full_record(studies[0], num_trials=24)
    study_with(studies[1], known, replicates=3)
    written = []
    for seed in "01":
        out = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", WRITE, out, *studies],
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
    for study in studies:
        kinds = {Path(name).suffix for name in written[0] if name.startswith(study.name)}
        assert {".md", ".html", ".tex", ".csv", ".parquet", ".svg", ".png"} <= kinds
