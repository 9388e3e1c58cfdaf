"""What a stranger has: the wheel, installed, in a folder without a checkout."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.record.ledger import FILE
from pipeline.study.load import load_study

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "tests" / "recorded" / "dcfe179"
DRY = ("--dry-run", "--time", "20s", "--workers", "1")  # a second of it for measuring


@pytest.fixture
def run(installed, tmp_path):
    """Runs a program of the environment in an empty folder; returns its end."""

    def run(program: str, *words: object) -> "subprocess.CompletedProcess[str]":
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        return subprocess.run(
            (installed / program, *map(str, words)),
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_all_that_the_code_reads_is_in_the_wheel(run):
    found = run("python", "-c", "import pipeline; print(pipeline.__path__[0])").stdout.strip()
    assert "site-packages" in found
    there = {path.relative_to(found) for path in Path(found).rglob("*") if path.is_file()}
    ours = (path for path in (ROOT / "pipeline").rglob("*") if path.is_file())
    source = {path.relative_to(ROOT / "pipeline") for path in ours if path.suffix != ".pyc"}
    assert {path for path in there if path.suffix != ".pyc"} == source
    assert Path("py.typed") in source


def test_the_shipped_studies_run_in_an_empty_folder(run, tmp_path):
    shown = run("python", "-m", "pipeline.search", "--study", "hw3", *DRY)
    assert shown.returncode == 0, shown.stderr
    assert "32 trials" in shown.stdout
    assert shown.stderr == ""
    assert not list(tmp_path.iterdir())


def test_a_record_is_reported_in_every_form_that_is_package_data(run, tmp_path):
    shutil.copytree(RECORDED / "small-digits", tmp_path / "mlruns" / "small-digits")
    shutil.copy(ROOT / "mlruns" / "README.md", tmp_path / "mlruns")  # as it is in a checkout
    study = shutil.copy(RECORDED / "study.json", tmp_path)
    assert run("ablation-pipeline", "caches").returncode == 0
    for flags in ((), ("--lang", "zh")):
        shown = run("ablation-pipeline", "report", "--study", study, *flags)
        assert shown.returncode in (0, 3), shown.stderr
    folder = tmp_path / "mlruns" / "small-digits"
    assert (folder / "report" / "report.html").exists()
    assert (folder / "report-zh" / "report.html").exists()
    assert (folder / FILE).exists()


def test_ones_own_study_imports_what_lies_beside_it(run, tmp_path):
    """Also by the script, whose own folder is the first place to import from, not the working
    one; and a module there hides no package.
    """
    (tmp_path / "studies").mkdir()
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    (tmp_path / "search_spaces" / "mine.py").write_text("TITLE = 'of mine'", encoding="utf-8")
    (tmp_path / "studies" / "mine.py").write_text(
        "from pipeline.studies.hw3 import STUDY\nfrom search_spaces.mine import TITLE\n"
        "STUDY = STUDY.override({'name': 'mine', 'title': TITLE})\n",
        encoding="utf-8",
    )
    shown = run("ablation-pipeline", "search", "--study", "mine", *DRY)
    assert shown.returncode == 0, shown.stderr
    assert "mine: of mine" in shown.stdout
    assert "32 trials" in shown.stdout
    assert shown.stderr == ""


def test_the_commands_are_listed(run):
    shown = run("ablation-pipeline")
    assert "\n  search    search the" in shown.stdout
    wrong = run("ablation-pipeline", "serch")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean 'search'?" in wrong.stderr


def test_a_new_study_runs_as_it_is_written(run, tmp_path, monkeypatch):
    assert run("ablation-pipeline", "new", "mine").returncode == 0
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["mine.py"]
    text = (tmp_path / "studies" / "mine.py").read_text(encoding="utf-8")
    again = run("ablation-pipeline", "new", "mine")
    assert (again.returncode, again.stdout) == (2, "")
    assert "is there already" in again.stderr
    assert (tmp_path / "studies" / "mine.py").read_text(encoding="utf-8") == text
    monkeypatch.chdir(tmp_path)
    load_study("mine").check()
    shown = run("python", "-m", "pipeline.doctor", "--study", "mine")
    assert shown.returncode == 0, shown.stdout + shown.stderr
