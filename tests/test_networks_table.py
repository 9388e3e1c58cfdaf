import pytest

from benchmarks import networks
from pipeline.core.models import MODELS

ROWS = dict(networks.configs())


def table() -> dict[str, list[str]]:
    lines = [
        text
        for text in networks.PAGE.read_text(encoding="utf-8").splitlines()
        if text.startswith("|")
    ]
    assert lines[0] == networks.line(list(networks.COLUMNS))
    return {
        row[0]: row
        for row in ([cell.strip() for cell in text.strip("|").split("|")] for text in lines[2:])
    }


@pytest.mark.parametrize("name", ROWS)
def test_the_page_has_the_row_that_the_network_gives(name: str) -> None:
    *counted, speed = table()[name]
    assert counted == networks.cells(name, ROWS[name])
    assert float(speed) > 0


def test_every_network_has_a_row_and_every_row_a_network() -> None:
    assert {type(network) for network in ROWS.values()} == set(MODELS)
    assert list(table()) == list(ROWS)


def test_the_page_says_how_it_was_made() -> None:
    text = networks.PAGE.read_text(encoding="utf-8")
    assert "python -m benchmarks.networks --write" in text
    assert ", torch 2." in text
