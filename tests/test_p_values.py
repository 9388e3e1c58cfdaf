"""p and Holm's p beside every tested difference, in every format and language."""

import re
from pathlib import Path

import pytest

from pipeline.analysis.wording import probability
from pipeline.report.compose import texts
from tests.formats import WORDED, plain, tell
from tests.records import full_record


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "<0.001"),
        (0.00099, "<0.001"),
        (0.001, "0.001"),
        (0.0123, "0.012"),
        (0.0496, "0.0496"),  # 0.050 beside "better" would contradict it
        (0.05004, "0.05004"),
        (0.05, "0.050"),
        (1.0, "1.000"),
    ],
)
def test_a_p_value_has_three_decimals_and_never_hides_which_side_of_five_percent_it_is_on(
    p: float, text: str
) -> None:
    assert probability(p) == text


def test_p_and_holms_p_stand_in_every_format(tmp_path: Path) -> None:
    found = tell(full_record(tmp_path))
    tested = [c for c in found.findings.ablation.contrasts if c.family]
    assert len(tested) == 6, "three differences, two main effects, an interaction"
    chinese = plain("report.md", texts(found.findings, {}, "zh")["report.md"])
    for contrast in tested:
        text = f"{probability(contrast.p)} ({probability(contrast.p_holm)})"
        for place in WORDED:
            assert text in found.plain[place], (place, contrast.name)
        assert text in chinese
        row = next(r for r in found.contrasts(contrast.kind) if r["name"] == contrast.name)
        assert float(row["p"]) == pytest.approx(contrast.p)
        assert float(row["p_holm"]) == pytest.approx(contrast.p_holm)
    assert "p（Holm 校正）" in chinese
    for place in WORDED:
        assert re.search(r"p \(Holm['’]s\)", found.plain[place]), place


def test_where_nothing_is_tested_there_is_no_column_for_it(tmp_path: Path) -> None:
    found = tell(full_record(tmp_path, replicates=2))
    assert all(
        "p (Holm's)" not in [column.title for column in table.columns] for table in found.tables[:1]
    )
