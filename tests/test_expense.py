"""What a study took of cores and GPUs, and what that cost."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.analysis.expense import (
    OTHERS,
    Expense,
    amount,
    digits,
    expense,
    hours,
    parts,
    price_of,
)
from pipeline.doctor.recorded import read as seen
from pipeline.errors import UserError
from pipeline.machine import Resources
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report.compose import read
from pipeline.report.formats import markdown
from pipeline.session.allowance import allowed, is_spent
from pipeline.session.forecast import ENDING_SECONDS, budget_of
from pipeline.session.options import Options
from pipeline.session.values import price
from pipeline.status import main as status
from tests import commands
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study
from tests.test_report_lang import chinese, strings

SECONDS = 36.0  # an epoch: a hundredth of an hour


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study with a search, a race and four arms."""
    study = small_study(num_trials=5, race=2, num_rungs=2)
    drive(open_plan(tmp_path / "small-digits", study), Worker(seconds=lambda _: SECONDS))
    return tmp_path / "small-digits"


def record_of(folder: Path, **session: object) -> Record:
    record = Record.of(read_events(folder))
    record.sessions = [replace(one, **session) for one in record.sessions]
    return record


def test_every_epoch_counts_once_on_what_it_was_trained(folder: Path) -> None:
    record = record_of(folder)
    epochs = sum(len(run.epochs) for run in record.runs.values())
    whole = expense(record, record.runs.values())
    assert whole == Expense(len(record.runs), pytest.approx(epochs / 100), 0.0)
    found = dict(parts(record))
    assert [*found][:4] == [arm.name for arm, _ in record.study.arms()]
    assert {"the search", "the race"} <= {*found}
    runs = [run.key for own in found.values() for run in own]
    assert sorted(runs) == sorted(record.runs)

    half = record_of(folder, gpus=0.5, machine={"device": "cuda"}, price=2.0)
    assert expense(half, half.runs.values()) == Expense(
        len(record.runs), 0.0, pytest.approx(epochs / 200), pytest.approx(epochs / 100)
    )
    early = record_of(folder, machine={"device": "cuda"})
    assert expense(early, early.runs.values()).guessed
    assert expense(early, early.runs.values()).gpu_hours == pytest.approx(epochs / 100)

    # another session on GPUs, from the middle of the epochs on
    seqs = sorted(seq for run in record.runs.values() for seq in run.epoch_seqs)
    middle = seqs[len(seqs) // 2]
    later = sum(seq >= middle for seq in seqs)
    first = record.sessions[0]
    for time in (first.time + 1e6, first.time - 1e6):  # a clock that went on, or back
        record.sessions = [first, replace(first, gpus=2.0, seq=middle, time=time)]
        both = expense(record, record.runs.values())
        assert both.gpu_hours == pytest.approx(2 * later / 100)
        assert both.core_hours == pytest.approx((epochs - later) / 100)


def test_an_arm_may_be_called_as_another_part(tmp_path: Path) -> None:
    arms: dict[str, dict[str, object]] = {"baseline": {}}
    arms |= {
        name: {"augment.strength": 0.1 * at} for at, name in enumerate(("the search", "all"), 1)
    }
    study = small_study(num_trials=3, num_rungs=2).override(
        {"ablation.design": {"name": "arms", "arms": arms}}
    )
    folder = tmp_path / "small-digits"
    drive(open_plan(folder, study), Worker(seconds=lambda _: SECONDS))
    record = record_of(folder, price=50.0)
    found = parts(record)
    names = [name for name, _ in found]
    assert {"'the search'", "'all'", "the search"} <= {*names}
    assert len(names) == len({*names})
    assert sorted(run.key for _, runs in found for run in runs) == sorted(record.runs)
    assert {run.kind for run in dict(found)["the search"]} == {"trial"}
    assert [run.arm for run in dict(found)["'all'"]] == ["all"] * len(dict(found)["'all'"])
    assert "all" in OTHERS
    english, other, _ = chinese(read(record, folder))
    assert "| 'the search' |" in markdown.render(english)
    assert "| 'all' |" in markdown.render(other)


def test_numbers_are_plain() -> None:
    told = {12345.67: "12345.67", 1234567.0: "1234567", 50.0: "50", 2.5: "2.5", 1e-5: "0.00001"}
    assert {value: amount(value) for value in told} == told
    assert amount(price("123456789.25")) == "123456789.25"
    shown = {0.0: "0", 1e-5: "<0.0001", 1e-4: "0.0001", 0.00123: "0.0012", 0.05: "0.05"}
    shown |= {0.1: "0.10", 12.345: "12.35", 1234.5: "1,234", 1234567.0: "1,234,567"}
    assert {value: digits(value) for value in shown} == shown


def test_the_price_is_that_which_was_given_last(folder: Path) -> None:
    record = record_of(folder)
    (one,) = record.sessions
    for given, meant in (
        ((None,), None),
        ((2.0, None), 2.0),
        ((2.0, 3.0, None), 3.0),
        ((2.0, 0.0), None),
    ):
        record.sessions = [replace(one, price=value) for value in given]
        assert price_of(record) == meant


def test_the_report_says_what_each_arm_cost_where_there_is_a_price(folder: Path) -> None:
    plain, english, say = chinese(read(record_of(folder), folder))
    assert not [text for text in strings(plain) if "What it cost" in text]
    english, other, say = chinese(read(record_of(folder, price=50.0), folder))
    text = markdown.render(english)
    assert (
        "## What it cost\n\nAt 50 for an hour of a core or a GPU, whichever a run was on." in text
    )
    record = record_of(folder)
    epochs = sum(len(run.epochs) for run in record.arms()["baseline"])
    cells = " | ".join(("baseline", "2", digits(epochs / 100), digits(epochs / 2)))
    assert cells in text
    whole = sum(len(run.epochs) for run in record.runs.values())
    assert f"| {len(record.runs)} | {digits(whole / 100)} | {digits(whole / 2)} |" in text
    found = markdown.render(other)
    assert "## 费用" in found
    assert "决选" in found
    assert not [text for text in say.missed if "Counted" in text or "an hour" in text]
    early = record_of(folder, price=50.0, machine={"device": "cuda"})
    english, other, say = chinese(read(early, folder))
    assert "count as on a whole one each." in markdown.render(english)
    assert "均按占用一整块 GPU 计算" in markdown.render(other)


def test_studies_and_status_say_it_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = seen(folder)
    assert one.took.core_hours == pytest.approx(
        sum(len(run.epochs) for run in record_of(folder).runs.values()) / 100
    )
    assert one.arms[0].took.num_runs == 2
    assert status([folder.name, "--mlruns", str(folder.parent)]) == 0
    assert f"took         {hours(one.took)}" in capsys.readouterr().out
    assert status([folder.name, "--mlruns", str(folder.parent), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["took"]["core_hours"] == one.took.core_hours
    assert tree["took"]["money"] is None


def test_hours_of_a_study_are_a_limit_of_a_commands_time(folder: Path) -> None:
    """For all commands together: what is spent is taken off, on as many workers as there are."""
    record, told = record_of(folder), list[str]()
    spent = expense(record, record.runs.values()).core_hours
    assert spent > 0.3

    def limit(options: Options, *means: float, since: float = 0.0) -> float:
        workers, gpus = means
        found = allowed(options, record, Resources(int(workers), gpus), told.append, since)
        assert is_spent(found) == ("nothing more is trained" in told[-1])
        return found.time or 0.0

    asked = Options("pipeline.search", "small", max_core_hours=spent + 2)
    around = ENDING_SECONDS + budget_of(1800.0)
    assert limit(asked, 4, 0) == pytest.approx(1800 + around)
    assert told == [
        f"core hours: {digits(spent)} of {spent + 2:g} are spent; what is left lasts "
        "30 min 00 s here (4 runs at once)"
    ]
    assert limit(asked, 4, 0, since=9.0) == pytest.approx(1809 + around)
    assert limit(replace(asked, time=60.0), 4, 0) == 60
    assert 0 < limit(replace(asked, max_core_hours=spent / 2), 4, 0) < 0.01
    gpus = Options("pipeline.search", "small", max_gpu_hours=3)
    for each, seconds in ((0.5, 5400), (1.0, 2700), (2.0, 1350)):
        assert limit(gpus, 4, each) == pytest.approx(seconds + ENDING_SECONDS + budget_of(seconds))
    plain, num = Options("pipeline.search", "small"), len(told)
    assert allowed(plain, record, Resources(4, 0), told.append) is plain
    assert len(told) == num
    with pytest.raises(UserError, match="--max-gpu-hours: got 3, and runs train on CPU cores"):
        limit(gpus, 4, 0)
    with pytest.raises(UserError, match=r"--max-core-hours: .* on GPUs; allowed: --max-gpu-hours"):
        limit(asked, 4, 1)


def test_a_command_ends_when_its_studys_hours_are_spent_and_a_later_one_goes_on(
    tmp_path: Path,
) -> None:
    home = tmp_path / "mlruns"
    flags = (*commands.SHORT, "--epochs", 1, "--debug")
    assert commands.here("ablate", *flags, "--max-core-hours", "0.0000001", home=home) == 3
    said = " ".join(commands.output(home).split())
    assert "nothing more is trained, but by --max-core-hours of more" in said
    assert "given up for want of hours: " in said
    assert "run the same command again, allowing more hours" in said
    assert "measuring" not in said
    report = (commands.folder(home) / "report" / "report.md").read_text()
    assert "are spent, or too few: the same command without their limit" in report
    assert commands.here("ablate", *flags, "--max-core-hours", "1", home=home) == 0
    assert commands.here("ablate", *flags, "--max-core-hours", "2h", home=home) == 2
    assert "expected hours such as 12 or 0.5, got '2h'" in commands.output(home)


def test_a_command_records_its_price(tmp_path: Path) -> None:
    home = tmp_path / "mlruns"
    flags = (*commands.SHORT, "--epochs", 1, "--debug")
    assert commands.here("ablate", *flags, "--price-per-hour", "2.5", home=home) == 0
    (session,) = commands.record(home).sessions
    assert (session.price, session.gpus) == (2.5, None)
    assert "--price-per-hour 2.5" in session.command
    report = (commands.folder(home) / "report" / "report.md").read_text()
    assert "What it cost" in report
    assert commands.here("ablate", *flags, "--price-per-hour", "two", home=home) == 2
    assert "expected an amount without a currency" in " ".join(commands.output(home).split())
    assert price("0") == 0.0
