"""What training sees of a picture, as `pipeline.doctor --preview` draws it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.analysis.augmented import (
    GAP,
    MAX_ROWS,
    MAX_SIDE,
    SHOWN,
    Kept,
    augmented,
    keep,
    kept,
    sheets_path,
)
from pipeline.analysis.preview import rows, sheets
from pipeline.core.augmentation.config import AUGMENTS, Amounts
from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import ABOUT, packed
from pipeline.doctor.preview import require_place, sheet
from pipeline.errors import UserError
from pipeline.report.document import Gallery, Text
from pipeline.report.sections.augmented import blocks as section
from pipeline.study.load import load_study
from pipeline.study.space import Float, Space
from pipeline.study.tuning import PerArm
from tests.records import with_arms
from tests.studies import small_study

PICTURES = np.random.default_rng(0).integers(0, 256, (SHOWN, 3, 32, 32), dtype=np.uint8)
SHARED = np.arange(1, SHOWN + 1) % SHOWN  # the pictures that the first one is mixed with


@pytest.mark.parametrize("member", AUGMENTS, ids=lambda kind: kind.model_fields["name"].default)
def test_all_that_is_on_is_shown_together_and_each_amount_alone(member: Any) -> None:
    augment = member(strength=1.0, mixup=0.4, blur=0.02)
    found = list(rows(TrainConfig(augment=augment), PICTURES, seed=0))
    on = [name for name, amount in augment.amounts()._asdict().items() if amount]
    assert [row.title.split()[0] for row in found] == ["all", *on]
    assert found[0].title == "all together, but for mixing"
    for row in found:
        assert row.results.shape == PICTURES.shape
        assert (row.results != PICTURES[0]).any(), row.title
    mixed = next(row for row in found if row.title.startswith("mixup ")).results.astype(float)
    shares = ((mixed - PICTURES[0]) / (PICTURES[SHARED] * 1.0 - PICTURES[0] + 1e-9)).clip(0, 1)
    assert all(float(np.ptp(np.quantile(one, (0.3, 0.7)))) < 0.1 for one in shares), "one of each"
    flipped = next(row for row in found if row.title.startswith("flip "))
    mirrored = [np.array_equal(one, PICTURES[0, :, :, ::-1]) for one in flipped.results]
    assert all(
        one or np.array_equal(kept, PICTURES[0])
        for one, kept in zip(mirrored, flipped.results, strict=True)
    ), "alone, a flip is nothing but that"


def test_every_amount_has_its_row() -> None:
    amounts = dict.fromkeys(Amounts._fields, 0.02)
    config = TrainConfig(augment=AUGMENTS[0](strength=1.0, **amounts))
    found = list(rows(config, PICTURES, seed=0))
    mixing = dict.fromkeys(("mixup", "cutmix"), ", with other pictures")
    titles = [f"{name} 0.02{mixing.get(name, '')}" for name in Amounts._fields]
    assert [row.title for row in found[1:]] == titles


@pytest.mark.parametrize("num", [1, 2, 5])
def test_few_pictures_do_and_the_network_s_side_is_shown(num: int) -> None:
    augment = AUGMENTS[0](strength=1.0, mixup=0.4)
    for side, seen in ((0, 32), (8, 8), (48, 48)):
        config = TrainConfig(augment=augment, input_size=side)
        for row in rows(config, PICTURES[:num], seed=0):
            assert row.results.shape == (SHOWN, 3, seen, seen)


def test_a_sheet_has_the_arms_that_are_augmented(tmp_path: Path) -> None:
    study, file = small_study(), tmp_path / "seen.png"
    assert list(augmented(study)) == ["augmentation, dropout + augmentation"]
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
    ((whose, config),) = augmented(searched).items()
    assert (whose, config.augment.strength) == ("the search's highest augment.strength", 1.5)
    named = with_arms(study, {"原图": {}, "增强": {"augment.strength": 1.0}})
    assert sheet(named, PICTURES, file).endswith("; arms 1 are 增强")
    with pytest.raises(UserError, match="no training picture"):
        sheet(study, PICTURES[:0], file)
    assert augmented(load_study("hw3"))


def test_nothing_else_is_written_over(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, why in (("mine.png", "is no such sheet"), ("text.png", "no picture")):
        with pytest.raises(UserError, match=f"{name}: is there already, and {why}; name another"):
            require_place(tmp_path / name)
    with pytest.raises(UserError, match="File name too long"):
        require_place(tmp_path / f"{'x' * 300}.png")
    with pytest.raises(UserError, match=r"sheet.jpg; allowed: the name of a .png file"):
        require_place(tmp_path / "sheet.jpg")
    with pytest.raises(UserError, match="there is no folder"):
        require_place(tmp_path / "none" / "sheet.png")


def test_the_report_keeps_what_it_can_show(tmp_path: Path) -> None:
    study, path = small_study(), sheets_path(tmp_path)
    made = sheets(study, PICTURES[:, :1])
    keep(path, made)
    both = kept(path, study)
    assert both.num_rows == 5
    (found,) = both.sheets
    assert (found.arms, found.augment) == (made[0].arms, "notes, strength 1")
    assert [row.title for row in found.rows] == [row.title for row in made[0].rows]
    assert found.picture.shape == (3, MAX_SIDE, MAX_SIDE)
    assert (found.picture[0, ::2, ::2] == PICTURES[0, 0]).all(), "a small picture, enlarged"
    blocks = list(section(both))
    galleries = [block for block in blocks if isinstance(block, Gallery)]
    labels = [thumb.label for thumb in galleries[0].items]
    assert labels == [row.title for row in made[0].rows]
    with Image.open(io.BytesIO(galleries[0].items[0].png)) as image:
        assert image.size == ((SHOWN + 1) * MAX_SIDE + SHOWN * GAP, MAX_SIDE)
    before = path.stat().st_mtime_ns
    keep(path, made)
    assert path.stat().st_mtime_ns == before, "written where it differs alone"
    assert kept(path, with_arms(study, {"plain": {}, "other": {"augment.strength": 1.0}})) == Kept()
    (text,) = [block.text for block in section(both) if isinstance(block, Text)]
    assert "tuning" not in text
    space = Space(knobs={"augment.strength": Float(low=0.0, high=1.0)})
    each = study.ablation.model_copy(update={"tuning": PerArm()})
    tuned = study.model_copy(update={"space": space, "ablation": each})
    assert [name for name, (_, own) in tuned.spaces().items() if own] == []
    base = study.baseline.override({"augment.strength": 1.0}, source="test")
    alike = with_arms(tuned, {"plain": {}, "wide": {"model.width": 8}})
    keep(path, sheets(alike.model_copy(update={"baseline": base}), PICTURES))
    found = kept(path, alike.model_copy(update={"baseline": base}))
    (text,) = [block.text for block in section(found) if isinstance(block, Text)]
    assert text.endswith("Amounts are the arms' as given; their runs had those that tuning found.")
    keep(path, made)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-40], whole.replace(b"strips", b"string")):
        path.write_bytes(damaged)
        assert kept(path, study) == Kept()
    strips = np.zeros((2, SHOWN + 1, 3, 8, 8), np.uint8)
    for said, there in ((2, True), (1, False), (-6, False), (10**400, False)):
        claims = {"rows": said, "sheets": [[made[0].arms, "notes", ["a", "b"]]]}
        about = np.frombuffer(json.dumps(claims).encode("ascii"), np.uint8)
        path.write_bytes(packed({ABOUT: about, "strips": strips}))
        assert bool(kept(path, study).sheets) == there, "never fewer rows than there are"
    assert kept(tmp_path / "none", study) == Kept()


@pytest.mark.parametrize("num", [2, MAX_ROWS, MAX_ROWS + 3])
def test_of_many_rows_the_first_are_kept_and_the_rest_counted(num: int, tmp_path: Path) -> None:
    amounts = {f"augment.{name}": 0.02 for name in list(Amounts._fields)[:10]}
    arms = {"none": {}} | {
        f"arm {n}": {**amounts, "augment.strength": 1 - n / 100} for n in range(num)
    }
    study, path = with_arms(small_study(), arms), sheets_path(tmp_path)
    made = sheets(study, PICTURES[:, :, :8, :8])
    keep(path, made)
    found = kept(path, study)
    shown = [len(one.rows) for one in found.sheets]
    assert shown == ([MAX_ROWS // 2] * 2 if num == 2 else [1] * MAX_ROWS)
    texts = [block.text for block in section(found) if isinstance(block, Text)]
    more = sum(len(sheet.rows) for sheet in made) - MAX_ROWS
    assert texts[-1] == f"{more} rows more: pipeline.doctor --preview shows them."
