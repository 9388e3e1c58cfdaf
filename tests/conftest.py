import contextlib
import functools
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# The same examples on every machine and at every run, and none is slow because others are at work.
hypothesis.settings.register_profile("house", derandomize=True, deadline=None)
hypothesis.settings.load_profile("house")

ROOT = Path(__file__).parents[1]

# One thread a test process, as in the product's workers: there are as many processes as cores, and
# threads that wait for each other would take more time than the tests. Read by torch on import,
# also in the commands that tests start.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """A test must not write to the tracking server or read the pictures of whoever runs it."""
    for name in ("MLFLOW_TRACKING_URI", "FOOD11"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _smallest_numbers():
    """A run trained in this very process takes the smallest numbers for 0 in its thread; the next
    test does not.
    """
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def unmeasured(monkeypatch):
    """For tests whose dry runs need not tell how long an epoch takes: seconds each."""
    monkeypatch.setattr("pipeline.session.forecast.DRY_SECONDS", 0.0)


@pytest.fixture(scope="session", autouse=True)
def _quick_disk():
    """No test cuts the power, and to wait for the disk after each of hundreds of events takes as
    long as all else of writing them; commands that tests start as processes of their own do wait.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory) -> Callable[[], Path]:
    """Gives an MLflow store without a run, made as the product makes one, when first asked for."""
    from pipeline.record.mlflow_places import FILE
    from pipeline.record.mlflow_store import _make

    @functools.cache
    def made() -> Path:
        root = tmp_path_factory.mktemp("store")
        _make(root / FILE, root / "scratch")
        return root / FILE

    return made


@pytest.fixture(autouse=True)
def _quick_store(monkeypatch, _empty_store):
    """To make a store takes MLflow a second: it is copied. Commands that tests start as processes
    of their own make theirs.
    """
    from pipeline.record import mlflow_store

    def make(store: Path, _: Path) -> None:
        if not store.exists():
            shutil.copy(_empty_store(), store)
            place = (store.parent / "artifacts" / "0").as_uri()
            with contextlib.closing(sqlite3.connect(store)) as database, database:
                database.execute("UPDATE experiments SET artifact_location = ?", (place,))

    monkeypatch.setattr(mlflow_store, "_make", make)


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """The programs of a virtual environment that holds the built wheel, and beside it, of where
    the tests run, all packages but the checkout's own.
    """
    place = tmp_path_factory.mktemp("wheel")
    source, home = place / "source", place / "venv"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline", source / "pipeline", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    build = (*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", place, source)
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", home), check=True)
    (wheel,) = place.glob("*.whl")
    python = home / "bin" / "python"
    install = (*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = home.glob("lib/python*/site-packages")
    # a line of a .pth is a place to import from; the .pth files there, such as an editable
    # install's, are not read
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return home / "bin"


SLOW = (
    *("test_cluster", "test_notebook", "test_door", "test_faults", "test_contracts"),
    *("test_team_server", "test_plan", "test_sources", "test_doctor", "test_own_repository"),
    *("test_core_transfer", "test_end_to_end", "test_space_rules", "test_segments"),
    *("test_timetable", "test_in_process", "test_team", "test_recorded", "test_tracking"),
    *("test_wheel", "test_sampler", "test_guest", "test_networks_table", "test_broken_worker"),
    *("test_claims", "test_screen", "test_cli", "test_hash_seed", "test_report_lang"),
    *("test_report_designs", "test_importance", "test_export", "test_tuning", "test_objectives"),
)


def pytest_configure(config):
    """With several workers: files in the order below, not those of the most tests first."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """The files that take longest first, so that two workers end at about the same time; files of
    commands with processes of their own and files without by turns.
    """
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))
