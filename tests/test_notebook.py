"""The quickstart notebook, run as a reader runs it: in a kernel of its own, in an empty folder."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests import commands

NOTEBOOK = commands.ROOT / "docs" / "notebooks" / "quickstart.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def run(notebook: nbformat.NotebookNode, place: Path) -> list[str]:
    """Execute every cell; returns what each cell of code shows, as text."""
    resources = {"metadata": {"path": str(place)}}
    NotebookClient(notebook, timeout=commands.HANGS, resources=resources).execute()
    return [
        "\n".join(
            out.get("text") or str(out.get("data", {}).get("text/plain")) for out in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_the_notebook_is_kept_without_what_a_run_left(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.source.strip()
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)


def short(notebook: nbformat.NotebookNode) -> None:
    """Fewer epochs of a narrower network, one run at a time, few pictures left to test on."""
    (cell,) = (cell for cell in notebook.cells if "pipeline.search(" in cell.source)
    sets = '"model.width": 4, "dataset.num_train": 480, "dataset.num_valid": 1200, "optimizer'
    for old, new in (("epochs=6", "epochs=3, workers=1, race=2"), ('"optimizer', sets)):
        assert cell.source.count(old) == 1
        cell.source = cell.source.replace(old, new)


def test_the_quickstart_runs_and_goes_on(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(commands.ROOT))
    short(notebook)
    first = run(notebook, tmp_path)
    home = tmp_path / "mlruns"
    assert "image/png" in str(notebook.cells), "a figure shows itself"
    assert "test_acc_mean" in str(notebook.cells), "the outcome shows its table"
    assert max(len(shown.splitlines()) for shown in first) < 300, "no cell is flooded"
    assert not (home / "README.md").exists(), "that is the checkout's alone"
    found = commands.record(home)
    runs, arms = len(found.runs), found.arms().values()
    assert len(found.trials()) == 4
    assert [len(own) for own in arms] in ([3] * 4, [3] * 5), "the best trial may be an arm already"
    assert commands.repeated_epochs(home) == 0
    run(notebook, tmp_path)  # the session has ended, and all cells are run again
    assert len(commands.record(home).runs) == runs
    assert commands.repeated_epochs(home) == 0
