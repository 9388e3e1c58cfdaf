from typing import Any

import pytest

from pipeline.core.finished.final import COMPRESSIONS, Final, Half, Int8Static, NoCompression, Prune
from pipeline.errors import UserError


@pytest.mark.parametrize("member", COMPRESSIONS)
def test_every_member_survives_json_and_is_known_by_its_name(member: Any) -> None:
    final = Final(tta=3, compress=member())
    assert Final.model_validate_json(final.model_dump_json()) == final
    assert Final().override({"compress.name": member().name}).compress == member()
    assert member.__doc__


def test_off_is_the_default_and_nothing_else_is() -> None:
    assert Final().is_plain
    assert Final(compress=NoCompression()).is_plain
    assert not Final(tta=1).is_plain
    assert not any(Final(compress=member()).is_plain for member in COMPRESSIONS[1:])


@pytest.mark.parametrize(
    "knobs",
    [
        {"tta": -1},
        {"compress.name": "int4"},
        {"compress.name": "prune", "compress.amount": 0.0},
        {"compress.name": "prune", "compress.amount": 1.0},
        {"compress.name": "half", "compress.dtype": "fp8"},
        {"compress.name": "int8_static", "compress.num_calibration": 0},
        {"compress.name": "int8_dynamic", "compress.amount": 0.5},
    ],
)
def test_illegal_values_are_refused_by_name(knobs: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"tta|compress"):
        Final().override(knobs)


def test_values_are_kept() -> None:
    assert Final().override({"compress.name": "prune", "compress.amount": 0.9}).compress == Prune(
        amount=0.9
    )
    assert Final().override({"compress": Half(dtype="fp16")}).compress == Half(dtype="fp16")
    assert Final(compress=Int8Static(num_calibration=8)).compress == Int8Static(num_calibration=8)
