"""What training sees of a picture, as `pipeline.doctor --preview` draws it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.augmentation.config import AUGMENTS, Amounts
from pipeline.doctor.preview import SHOWN, augmentations, require_place, rows, sheet
from pipeline.errors import UserError
from pipeline.study.load import load_study
from pipeline.study.space import Float, Space
from tests.studies import small_study

PICTURES = np.random.default_rng(0).integers(0, 256, (SHOWN, 3, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("member", AUGMENTS, ids=lambda kind: kind.model_fields["name"].default)
def test_all_that_is_on_is_shown_together_and_each_amount_alone(member: Any) -> None:
    augment = member(strength=1.0, mixup=0.4, blur=0.02)
    found = list(rows(augment, PICTURES, seed=0))
    on = [name for name, amount in augment.amounts()._asdict().items() if amount]
    assert [row.title.split()[0] for row in found] == ["all", *on]
    for row in found:
        assert row.results.shape == PICTURES.shape
        own = PICTURES if row.title.startswith(("all", "mix")) else PICTURES[:1]
        assert (row.results != own).any(), row.title
    flipped = next(row for row in found if row.title.startswith("flip "))
    mirrored = [np.array_equal(one, PICTURES[0, :, :, ::-1]) for one in flipped.results]
    assert all(
        one or np.array_equal(kept, PICTURES[0])
        for one, kept in zip(mirrored, flipped.results, strict=True)
    ), "alone, a flip is nothing but that"


def test_every_amount_has_its_row() -> None:
    amounts = dict.fromkeys(Amounts._fields, 0.02)
    found = list(rows(AUGMENTS[0](strength=1.0, **amounts), PICTURES, seed=0))
    assert [row.title for row in found[1:]] == [f"{name} 0.02" for name in Amounts._fields]


def test_a_sheet_has_the_arms_that_are_augmented(tmp_path: Path) -> None:
    study, file = small_study(), tmp_path / "seen.png"
    assert list(augmentations(study)) == ["augmentation, dropout + augmentation"]
    assert f"{SHOWN} results of each of 5 rows" in sheet(study, PICTURES[:, :1], file)
    with Image.open(file) as image:
        assert image.size[0] > SHOWN * 96
        pixels = np.asarray(image)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    require_place(file)  # it may be made anew
    plain = study.override({"ablation.design.on": {"dropout": {"model.dropout": 0.25}}})
    with pytest.raises(UserError, match="no arm of the study is augmented, nor does its search"):
        sheet(plain, PICTURES, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    searched = plain.model_copy(
        update={"space": Space(knobs={"augment.strength": Float(low=0.0, high=1.5)})}
    )
    ((whose, augment),) = augmentations(searched).items()
    assert (whose, augment.strength) == ("the strongest of the search", 1.5)
    assert augmentations(load_study("hw3"))


def test_nothing_else_is_written_over(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    (tmp_path / "text.png").write_text("no picture")
    for name in ("mine.png", "text.png"):
        with pytest.raises(UserError, match=f"{name}: is there already, and is no such sheet"):
            require_place(tmp_path / name)
    with pytest.raises(UserError, match=r"sheet.jpg; allowed: the name of a .png file"):
        require_place(tmp_path / "sheet.jpg")
    with pytest.raises(UserError, match="there is no folder"):
        require_place(tmp_path / "none" / "sheet.png")
