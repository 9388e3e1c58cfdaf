"""Arms that differ in what is done to the finished model alone: the same networks, and so said."""

from pathlib import Path
from typing import Any

from pipeline.report.compose import Findings, read, texts
from tests.records import Scribe, make_study, with_arms

PRUNED = {"final.compress.name": "prune", "final.compress.amount": 0.9}
ALIKE = "Trained alike: as trained, pruned."


def findings(folder: Path, arms: dict[str, dict[str, Any]], pruned: float = 0.55) -> Findings:
    """Three replicates; four classes and 300 test pictures, so that .25 is chance. All runs learned
    their training pictures.
    """
    book = Scribe(folder, with_arms(make_study(replicates=3, num_trials=0), arms))
    book.session()
    for replicate in (1, 2, 3):
        for number, arm in enumerate(arms):
            acc = (pruned if arm == "pruned" else 0.6) + 0.001 * replicate ** (1 + number)
            book.arm(arm, replicate, 0.6, test_acc=acc)
    return read(book.record(), folder)


def test_arms_of_the_same_training_are_said_not_to_be_independent(tmp_path: Path) -> None:
    found = findings(
        tmp_path / "a", {"as trained": {}, "pruned": PRUNED, "drop": {"model.dropout": 0.3}}
    )
    page = texts(found, {})["report.md"]
    assert ALIKE in page
    assert "among them it errs towards inconclusive" in page
    other = texts(found, {}, "zh")["report.md"]
    assert "Trained alike" not in other
    assert "errs towards" not in other
    assert "the same network" not in other
    assert "the distance" not in other
    apart = findings(tmp_path / "b", {"as trained": {}, "drop": {"model.dropout": 0.3}})
    assert "Trained alike" not in texts(apart, {})["report.md"]


def test_a_model_that_compression_spoiled_is_at_chance_whatever_it_had_learned(
    tmp_path: Path,
) -> None:
    """Its training accuracy is that of the model before; it was called not told from guessing."""
    found = findings(tmp_path / "a", {"as trained": {}, "pruned": PRUNED}, pruned=0.24)
    assert found.ablation.at_chance == {"pruned"}
    assert "training accuracy shows" not in texts(found, {})["report.md"]
    dropped = findings(
        tmp_path / "b", {"as trained": {}, "pruned": {"model.dropout": 0.3}}, pruned=0.24
    )
    assert dropped.ablation.at_chance == set(), "trained so, it shows that it learned"
