"""All recorded studies at a glance, and one of them moved aside."""

import json
import os
from pathlib import Path

import pytest

from pipeline.doctor.recorded import read
from pipeline.errors import MachineError, UserError
from pipeline.record.ledger import FILE, Ledger, read_events
from pipeline.record.record import Record
from pipeline.session.so_far import arms_done, trials_over
from pipeline.studies.__main__ import main
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    """A study that is complete, one that waits, one that is damaged, and what is no study."""
    drive(open_plan(tmp_path / "whole-digits", small_study(num_trials=3)), Worker())
    plan = open_plan(tmp_path / "half-digits", small_study(num_trials=3))
    for _ in range(3):
        segment = plan.next()
        assert segment is not None
        Worker().run(plan, segment)
    plan.ledger.close()
    (tmp_path / "hurt-digits").mkdir()
    (tmp_path / "hurt-digits" / FILE).write_bytes(b"no ledger\n" * 3)
    (tmp_path / "cache").mkdir()
    for number, name in enumerate(("whole", "half", "hurt")):
        os.utime(tmp_path / f"{name}-digits" / FILE, (1e9 - number, 1e9 - number))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], mlruns: Path, *words: str) -> str:
    assert main([*words, "--mlruns", str(mlruns)]) == 0
    return capsys.readouterr().out


def test_all_of_them_are_listed_with_how_far_they_are(
    mlruns: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mlruns)
    (mlruns / "studies").mkdir()
    (mlruns / "studies" / "own.py").touch()
    told = " ".join(said(capsys, mlruns).split())
    places = [told.index(f"{name}-digits state") for name in ("whole", "half", "hurt")]
    assert places == sorted(places), "what changed last comes first"
    whole, half, hurt = (told[a:b] for a, b in zip(places, [*places[1:], None], strict=True))
    assert "state complete; changed 2001-09-09" in whole
    assert "3 of 3 trials, 8 of 8 runs of 4 arms, on digits (1,797)" in whole
    assert "highest mean" in whole
    assert "state waiting" in half
    assert "8 runs of 4 arms" in half
    assert "state unreadable" in hurt
    assert "studies of yours: own shipped studies: activations" in told
    tree = json.loads(said(capsys, mlruns, "--json"))
    assert [one["state"] for one in tree] == ["complete", "waiting", "unreadable"]
    assert tree[0]["num_bytes"] == sum(
        path.lstat().st_size for path in (mlruns / "whole-digits").rglob("*") if path.is_file()
    )


def test_a_search_whose_trials_may_go_on_is_not_complete(tmp_path: Path) -> None:
    drive(open_plan(tmp_path / "x", small_study(num_trials=3)), Worker())
    assert read(tmp_path / "x").state == "complete"
    record = Record.of(read_events(tmp_path / "x"))
    record.trials()[1].status = "running"
    assert not trials_over(record)
    assert arms_done(record, record.study) == (8, 8)


def test_one_is_shown_with_its_arms(mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, mlruns, "show", "whole-digits")
    found = read(mlruns / "whole-digits")
    assert found.best == max(found.arms, key=lambda arm: arm.mean or 0).name
    assert [arm.replicates for arm in found.arms] == [2] * 4
    for arm in found.arms:
        assert f"{arm.name}: test acc {100 * (arm.mean or 0):.1f} % (2 replicates)" in told


def test_who_runs_one_is_named(mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger(mlruns / "half-digits"):
        told = " ".join(said(capsys, mlruns, "show", "half-digits").split())
        assert f"state running, process {os.getpid()} on" in told
        with pytest.raises(MachineError, match="is in use by process"):
            main(["remove", "half-digits", "--mlruns", str(mlruns)])
    assert read(mlruns / "half-digits").state == "waiting"


def test_what_is_removed_is_moved_aside_whole(
    mlruns: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in (mlruns / "whole-digits").iterdir()}
    told = " ".join(said(capsys, mlruns, "remove", "whole-digits").split())
    aside = mlruns / "whole-digits.old1"
    assert f"moved to {aside}" in told
    after = {path.name: path.read_bytes() for path in aside.iterdir()}
    assert after.items() >= {k: v for k, v in before.items() if k != "lock"}.items()
    assert read(aside).state == "moved aside"


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["shw"], "did you mean 'show'"),
        (["show"], "show: takes the name of a record"),
        (["list", "whole-digits"], "list: takes no name"),
        (["show", "whole-digit"], "did you mean 'whole-digits'"),
        (["remove", ".."], "records in"),
    ],
)
def test_a_wrong_word_changes_nothing(words: list[str], wrong: str, mlruns: Path) -> None:
    before = sorted(mlruns.iterdir())
    with pytest.raises(UserError, match=wrong):
        main([*words, "--mlruns", str(mlruns)])
    assert sorted(mlruns.iterdir()) == before


def test_where_nothing_is_recorded_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing is recorded in" in said(capsys, tmp_path)
