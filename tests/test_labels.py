"""Pictures that look mislabelled: the paper's definition, planted labels, and what is said."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import class_folder, photo
from studies import small_study
from test_export import Trained, trained

from pipeline import labels
from pipeline.analysis.mislabels import (
    CLEAR,
    alike,
    confident,
    contradicting,
    doubted,
    side,
    thresholds,
)
from pipeline.core.checkpoints import BEST
from pipeline.core.identity import Seeds
from pipeline.core.parts import parts_of
from pipeline.data.datasets import Folder
from pipeline.data.listing import TEST
from pipeline.errors import UserError
from pipeline.export.out_of_sample import answers
from pipeline.report import labels as page
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.report.sections.next_steps import cross_validated
from tests.records import make_study

PLANTED = ("egg/=bread.jpg", "rice/egg, moved.jpg")
COPY, COPIED = "rice/=copy.jpg", "egg/3.jpg"


@pytest.fixture(autouse=True)
def _own_process() -> Any:
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    torch.backends.cudnn.benchmark = benchmark


def study_of(**changes: Any) -> Any:
    changes = {
        "baseline.dataset": Folder(size=16, valid_share=0.25, test_share=0.2),
        "baseline.optimizer.lr": 0.01,
        "baseline.batch_size": 8,
        "baseline.split": "kfold",
        "baseline.folds": 2,
    } | changes
    return small_study(num_trials=0, replicates=2, epochs=8).override(changes)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Classes of one hue each; two pictures lie in the folder of another class, and a copy of a
    third.
    """
    root = tmp_path_factory.mktemp("photos")
    pictures = class_folder(root / "food", num=24)
    photo(0, 777).save(pictures / PLANTED[0])
    photo(1, 999).save(pictures / PLANTED[1])
    shutil.copyfile(pictures / COPIED, pictures / COPY)
    return trained(study_of(), root, pictures)


def listed(study: Trained, lang: str = "") -> list[dict[str, str]]:
    path = study.folder / f"labels{lang}" / "labels.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_definition(probs: np.ndarray[Any, Any], given: list[int]) -> list[tuple[int, int]]:
    """(row, believed class), picture by picture as equations 1 and 2 of the paper read."""
    num, num_classes = probs.shape
    usual = {}
    for j in range(num_classes):
        own = [float(probs[x, j]) for x in range(num) if given[x] == j]
        if own:
            usual[j] = sum(own) / len(own)
    found = []
    for x in range(num):
        reached = [j for j in usual if probs[x, j] >= usual[j]]
        if reached:
            best = max(reached, key=lambda j: probs[x, j])
            if best != given[x]:
                found.append((x, best))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_suspects_are_those_of_the_papers_definition(seed: int) -> None:
    draw = np.random.default_rng(seed)
    num, num_classes = int(draw.integers(1, 60)), int(draw.integers(2, 7))
    probs = draw.dirichlet(np.full(num_classes, 0.4), num)
    given = draw.integers(0, num_classes, num)
    counted = confident(probs, given)
    off = np.flatnonzero((counted >= 0) & (counted != given))
    paper = by_definition(probs, given.tolist())
    assert list(zip(off.tolist(), counted[off].tolist(), strict=True)) == paper
    rows, believed, shares = doubted(probs, given)
    assert (np.diff(shares) >= 0).all()
    assert shares == pytest.approx(probs[rows, given[rows]] / thresholds(probs, given)[given[rows]])
    found = dict(zip(rows.tolist(), believed.tolist(), strict=True))
    likelier = {row: to for row, to in paper if probs[row, to] > probs[row, given[row]]}
    assert likelier.items() <= found.items()
    assert all(probs[row, to] > probs[row, given[row]] for row, to in found.items())
    assert {row for row, share in zip(rows.tolist(), shares, strict=True) if share >= CLEAR} <= {
        row for row, _ in paper
    }
    assert all(found[row] != given[row] for row in found)


def test_a_class_that_everybody_confuses_is_no_list_of_errors_but_a_sentence() -> None:
    draw = np.random.default_rng(0)
    given = np.repeat([0, 1, 2], 100)
    probs = np.full((300, 3), 0.02)
    probs[np.arange(300), np.where((given == 1) & (draw.random(300) < 0.45), 2, given)] = 0.96
    found = side(np.arange(300), probs, np.ones(300, np.int64), given)
    assert found.confused.keys() == {(1, 2)}
    assert 0.3 < found.confused[1, 2] < 0.6
    assert all(one.given == 1 and one.believed == 2 for one in found.suspects)


def test_networks_that_guess_name_nobody() -> None:
    draw = np.random.default_rng(0)
    given = draw.integers(0, 4, 400)
    probs = draw.dirichlet(np.ones(4), 400)
    found = side(np.arange(400), probs, np.ones(400, np.int64), given)
    assert not found.learned
    assert found.suspects == ()
    assert found.answered == 400
    assert side(np.arange(9), probs, np.zeros(400, np.int64), given).answered == 0


def test_copies_are_pictures_of_the_same_pixels_with_two_known_labels() -> None:
    images = np.zeros((6, 1, 2, 2), np.uint8)
    images[2:] += np.arange(1, 5, dtype=np.uint8)[:, None, None, None]
    images[5] = images[4]
    same = alike(images)
    assert same.tolist() == [0, 0, 2, 3, 4, 4]
    assert contradicting(same, [0, 1, 0, 1, 0, -1]) == [(0, 1)]
    assert contradicting(same, [0, 0, 0, 1, 0, 1]) == [(4, 5)]


def test_planted_labels_are_found_and_nothing_is_a_formula(
    photos: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert labels.main(list(photos.flags)) == 0
    rows = {row["file"]: row for row in listed(photos)}
    answered = {file for file, row in rows.items() if row["doubt"] in ("clear", "possible")}
    assert set(PLANTED) <= answered
    assert len(answered) <= 6, "72 pictures of three hues"
    assert rows[PLANTED[0]]["believed"] == "bread"
    assert rows[PLANTED[1]]["believed"] == "egg"
    assert rows[COPY]["same_picture_as"] == COPIED
    assert rows[COPIED]["same_picture_as"] == COPY
    assert rows[COPIED]["given"] == "egg"
    said = " ".join(capsys.readouterr().out.split())
    assert "look mislabelled" in said
    assert "labels.csv" in said
    html = (photos.folder / "labels" / "labels.html").read_text()
    assert html.count("data:image/png") >= 2
    assert "The same picture with two labels" in html
    first = (photos.folder / "labels" / "labels.html").read_bytes()
    assert labels.main(list(photos.flags)) == 0
    assert (photos.folder / "labels" / "labels.html").read_bytes() == first


def test_the_page_in_chinese_misses_no_sentence(photos: Trained) -> None:
    doubts = labels.read(photos.record, photos.data, photos.folder)
    suspect = doubts.pool.suspects[0]
    weak = replace(doubts.pool, acc=0.5, confused={(0, 1): 0.3}, answered=doubts.pool.num - 1)
    test = replace(weak, confused={}, suspects=(suspect,), num_clear=1)
    command = "python -m pipeline.ablate --study x --fresh"
    forms = [
        doubts,
        replace(doubts, pool=weak, test=test, command=command, lacking=("gone",), runs=1),
        replace(doubts, pool=replace(weak, learned=False, suspects=()), test=None, copies=()),
        replace(
            doubts, pool=replace(weak, learned=False, suspects=(), answered=0), lacking=("a", "b")
        ),
    ]
    for form in forms:
        say = Translator(catalogue("zh"), doubts.classes)
        english = page.document(form)
        chinese = translated(english, say, title=form.title)
        assert say.missed == []
        assert len(chinese.blocks) == len(english.blocks)
    assert page.files(forms[1], "zh")["labels.csv"] == page.files(forms[1])["labels.csv"]


def test_names_that_a_spreadsheet_would_run_are_inert(photos: Trained) -> None:
    doubts = labels.read(photos.record, photos.data, photos.folder)
    hostile = tuple(f"=cmd|{n}" for n in range(len(doubts.files)))
    text = page.rows(replace(doubts, files=hostile, classes=("=1+1", "@x", "-y")))
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert any("=cmd" in cell for cell in cells)
    assert not any(cell.startswith(("=", "@", "-", "+")) for cell in cells)


def test_what_no_run_left_out_has_no_answer_and_the_command_is_said(photos: Trained) -> None:
    """One replicate of two folds: half of the pictures were learned from by every run."""
    alone = replace(photos.record)
    alone.runs = {key: run for key, run in photos.record.runs.items() if run.replicate == 1}
    doubts = labels.read(alone, photos.data, photos.folder)
    assert 0.4 < doubts.pool.answered / doubts.pool.num < 0.6
    assert doubts.command == ""  # its session has none
    shown = page.document(doubts)
    assert any("no run kept them" in getattr(b, "text", "") for b in shown.blocks)


def test_the_command_that_has_each_picture_judged() -> None:
    study = make_study(replicates=3)
    command = "python -m pipeline.search --study hw3 --data x --trials 9 --replicates 3"
    assert cross_validated(command, study) == (
        "python -m pipeline.ablate --study hw3 --data x --replicates 5 --set split=kfold --fresh"
    )
    folds = study.override({"baseline.split": "kfold", "baseline.folds": 4})
    assert cross_validated(command, folds).endswith("--data x --replicates 4")
    assert cross_validated("", study) == ""


def test_pictures_that_moved_away_or_have_new_labels_are_named(
    photos: Trained, tmp_path: Path
) -> None:
    """No thumbnail of other pictures under an old answer."""
    food = Path(photos.flags[-1])
    moved = food / "egg" / "7.jpg"
    shutil.move(moved, tmp_path / "7.jpg")
    try:
        with pytest.raises(UserError, match=r"not the pictures of the study.*Put them back"):
            labels.main(list(photos.flags))
    finally:
        shutil.move(tmp_path / "7.jpg", moved)


def test_a_run_without_its_weights_is_left_out_and_said(photos: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(photos.folder, folder)
    run = photos.record.arms()["baseline"][0]
    for path in folder.glob(f"checkpoints/{run.key}/**/{BEST}"):
        path.unlink()
    doubts = labels.read(photos.record, photos.data, folder)
    total = sum(len(runs) for runs in photos.record.arms().values())
    assert doubts.runs == total - 1
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(UserError, match=r"none of \d complete replicates? can answer: arm 'base"):
        labels.read(photos.record, photos.data, folder)
    assert len(doubts.lacking) == 1
    assert re.search("no sound model file", doubts.lacking[0])


def test_a_run_that_learned_from_a_copy_does_not_answer(photos: Trained) -> None:
    """In two folds each picture validates where the other half is learned from."""
    runs = [run for own in photos.record.arms().values() for run in own]
    apart = np.arange(len(photos.data.labels))

    def asked(same: np.ndarray[Any, Any]) -> Any:
        data, folder = photos.data, photos.folder
        return answers(photos.record, runs, data, folder, same=same, device="cpu").runs

    usual, all_alike = asked(apart), asked(np.zeros_like(apart))
    assert usual.sum() > 0
    assert all_alike.sum() == 0
    study = photos.record.study
    seeds = Seeds(study.search.seed, runs[0].replicate)
    val = parts_of(study.baseline, photos.data, seeds).val.index
    pool = np.flatnonzero(photos.data.parts != TEST)
    inside, outside = val[0], np.setdiff1d(pool, val)[0]
    same = apart.copy()
    same[outside] = same[inside]
    assert np.flatnonzero(usual != asked(same)).tolist() == sorted((inside, outside))


def test_notes_in_the_table_are_kept(photos: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert labels.main(list(photos.flags)) == 0
    table = photos.folder / "labels" / "labels.csv"
    written = table.read_bytes()
    table.write_bytes(written + b"mine,checked\n")
    for kept in ("labels.changed1.csv", "labels.changed2.csv"):
        assert labels.main(list(photos.flags)) == 0
        assert kept in capsys.readouterr().out
        assert table.with_name(kept).read_bytes() == written + b"mine,checked\n"
        assert table.read_bytes() == written
        table.write_bytes(written + b"mine,checked\n")
    table.write_bytes(written)
    assert labels.main(list(photos.flags)) == 0
    assert "had been changed" not in capsys.readouterr().out
