import os

import pytest

# One thread a test process, as in the product's workers: there are as many processes as cores, and
# threads that wait for each other would take more time than the tests. Read by torch on import,
# also in the commands that tests start.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """A test must not write to the tracking server or read the pictures of whoever runs it."""
    for name in ("MLFLOW_TRACKING_URI", "FOOD11"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def quick_disk(monkeypatch):
    """For tests that write hundreds of events and are not about surviving a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def pytest_collection_modifyitems(items):
    """The files that take minutes first, so that two workers end at about the same time."""
    slow = ("test_faults", "test_end_to_end")
    items.sort(key=lambda item: slow.index(item.path.stem) if item.path.stem in slow else len(slow))
