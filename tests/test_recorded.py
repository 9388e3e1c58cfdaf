"""Studies that former versions recorded, in `recorded/VERSION/`: today's code, and tomorrow's,
reports, exports and goes on.

Recorded by the version itself, killed twice: trials 0 and 1 wait at their first rung, one replicate
of `augmentation` is in the middle, one is not begun.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.preregistration import Outlook
from pipeline.core.checkpoints import META
from pipeline.errors import UserError
from pipeline.export.__main__ import main as export
from pipeline.record.event_form import read
from pipeline.record.events import Line
from pipeline.record.ledger import FILE, Ledger
from pipeline.record.lines import seal
from pipeline.record.record import Record
from pipeline.report.__main__ import main as report
from pipeline.search import main
from tests import commands
from tests.driver import Worker, drive, open_plan
from tests.records import lines
from tests.studies import small_study

RECORDED = Path(__file__).parent / "recorded"
FORMER = RECORDED / "dcfe179"
STUDY = FORMER / "study.json"


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def put(home: Path, former: Path = FORMER) -> Path:
    """The recorded study as it would lie in `home`."""
    return Path(shutil.copytree(former / "small-digits", home / "small-digits"))


def search(flags: list[str]) -> int:
    """The command in this process: one that is handed its words begins a process of its own."""
    with commands.as_it_was():
        sys.argv = ["search", *flags]
        return main()


def one_more_knob(root: Path) -> Path:
    """The code of tomorrow: one more field in the run's config and one in a part of it, both off by
    default.
    """
    commands.copied(root)
    commands.edit(
        root / "pipeline" / "core" / "config.py",
        "    epochs: int = Field(default=30",
        '    label_noise: float = Field(default=0.0, ge=0, description="share of labels drawn '
        'anew")\n'
        "    epochs: int = Field(default=30",
    )
    commands.edit(
        root / "pipeline" / "core" / "models" / "cnn.py",
        '    name: Literal["cnn"] = "cnn"\n',
        '    name: Literal["cnn"] = "cnn"\n    gate: bool = False\n',
    )
    return root


def without_the_knobs(home: Path) -> Record:
    """What is recorded, for the classes of this process, which lack those of `one_more_knob`."""
    told = lines(home / "small-digits")
    for event in told:
        if event["type"] in ("trial", "arm"):
            event["config"].pop("label_noise", None)
            event["config"]["model"].pop("gate", None)
    return Record.of(map(read, told))


@pytest.mark.parametrize(
    ("version", "tomorrow"),
    [("dcfe179", True), ("a4621cd", False)],
    ids=["without code, by tomorrow's", "with code, by today's"],
)
def test_a_study_of_a_former_version_is_reported_exported_and_gone_on_with(
    version: str, tomorrow: bool, tmp_path: Path
) -> None:
    """That of `a4621cd` has digests of its code, which has been moved and renamed since."""
    former, home, shown = RECORDED / version, tmp_path / "mlruns", tmp_path / "shown"
    study = former / "study.json"
    folder = put(shown, former)
    before, recorded = files(folder), commands.record(shown)
    waiting = {run.key for run in recorded.trials() if run.status == "paused"}
    unfinished = {run.key for run in recorded.runs.values() if run.status == "running"}
    assert (len(waiting), len(unfinished)) == (2, 1)

    put(home, former)
    asked = (
        (shown, "report", "--study", study),
        (shown, "export", "--study", study, "--no-onnx"),
        (home, "search", "--study", study, "--debug"),
    )
    assert _codes(tomorrow, tmp_path, *asked) == [3, 0, 0]
    pages = (folder / "report" / "report.md").read_text()
    assert "INCOMPLETE" in pages
    unknown = "Of 7 of 7 runs the code was not recorded: a change cannot be seen." in pages
    assert unknown == (version == "dcfe179")
    best = {name: content for name, content in before.items() if name.endswith("best.safetensors")}
    assert (folder / "export" / "model.safetensors").read_bytes() in best.values()
    assert {name: content for name, content in files(folder).items() if name in before} == before

    folder = home / folder.name
    record = without_the_knobs(home)
    assert set(recorded.runs) < set(record.runs)
    assert (len(record.trials()), {arm: len(runs) for arm, runs in record.arms().items()}) == (
        4,
        {"baseline": 3, "augmentation": 3},
    )
    assert all(run.status == "complete" for runs in record.arms().values() for run in runs)
    assert commands.repeated_epochs(home) == 0
    gone_on = {
        run.key
        for run in record.runs.values()
        if run.key in waiting | unfinished and len(run.epochs) == 3
    }
    assert gone_on >= unfinished
    assert gone_on & waiting
    # the seconds of an epoch are those that it took when it was trained, and never twice the same
    for key in gone_on:
        (meta,) = (folder / "checkpoints" / key).glob(f"*/{META}")
        was = max((former / "small-digits" / "checkpoints" / key).glob(f"*/{META}"))
        known = json.loads(was.read_text())["history"]
        assert json.loads(meta.read_text())["history"][: len(known)] == known
    for key in recorded.runs.keys() - waiting - unfinished:
        own = {name: content for name, content in before.items() if key in name}
        assert {name: content for name, content in files(folder).items() if key in name} == own


def _codes(tomorrow: bool, place: Path, *asked: tuple[object, ...]) -> list[int]:
    """The exit codes of these commands, as `commands.in_a_row` takes them."""
    if tomorrow:
        root = one_more_knob(place / "code")
        return [code for code, _ in commands.in_a_row(*asked, root=root)]
    return [commands.here(*words, home=home) for home, *words in asked]  # type: ignore[misc, arg-type]


def rewritten(told: list[Line], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(b"".join(seal(line) for line in told))


def with_field(tree: dict[str, Any]) -> dict[str, Any]:
    return tree | {"label_noise": 0.1}


@pytest.mark.parametrize("place", ["study", "run"])
@pytest.mark.parametrize(
    "command", [search, report, export, lambda flags: search([*flags, "--dry-run"])]
)
def test_a_setting_that_there_is_no_more_is_refused_in_words_and_nothing_is_changed(
    command: Callable[[list[str]], int], place: str, tmp_path: Path
) -> None:
    folder = put(tmp_path)
    told = lines(folder)
    for event in told:
        if event["type"] == "study" and place == "study":
            event["study"]["baseline"] = with_field(event["study"]["baseline"])
        if event["type"] in ("trial", "arm") and place == "run":
            event["config"] = with_field(event["config"])
    rewritten(told, folder)
    before = files(folder)
    with pytest.raises(
        UserError,
        match=r"(?s)label_noise: unknown key.*another version of the code; nothing has been",
    ):
        command(["--study", str(STUDY), "--mlruns", str(tmp_path)])
    assert {name: content for name, content in files(folder).items() if name != "lock"} == before


def test_runs_recorded_with_fewer_fields_are_known_by_what_they_are(tmp_path: Path) -> None:
    """Nothing is trained again, and a configuration proposed again is a twin of the run that was
    recorded for it.
    """
    study, worker = small_study(num_trials=2), Worker()
    whole = drive(open_plan(tmp_path / "whole", small_study(num_trials=8)), worker)
    drive(open_plan(tmp_path / "cut", study), worker)
    told = lines(tmp_path / "cut")
    renamed: dict[str, str] = {}
    for event in told:
        if event["type"] in ("trial", "arm"):
            del event["config"]["allow_pretrained"]
            renamed[event["run"]] = f"former-{len(renamed)}"
        if "run" in event:
            event["run"] = renamed[event["run"]]
    rewritten(told, tmp_path / "cut")
    again = Worker()
    plan = open_plan(tmp_path / "cut", small_study(num_trials=8))
    for key, run in plan.record.runs.items():
        assert plan.keys.of(study.baseline.parse(run.config, source="test"), run.replicate) == key
    record = drive(plan, again)
    assert [run.knobs for run in record.trials()] == [run.knobs for run in whole.trials()]
    done = {key: len(run.epochs) for key, run in Record.of(map(read, told)).runs.items()}
    assert not [(key, epoch) for key, epoch in again.trained if epoch <= done.get(key, 0)]


@pytest.mark.usefixtures("unmeasured")
def test_a_budget_and_a_line_of_the_plan_that_are_newer_than_the_record_are_no_change(
    tmp_path: Path,
) -> None:
    folder = put(tmp_path)
    told = lines(folder)
    for event in told:
        if event["type"] == "session":
            del event["budget"]["ablation.rope"], event["default"]["ablation.rope"]
        if event["type"] == "plan":
            del event["plan"]["margin"]
    rewritten(told, folder)
    assert search(["--study", str(STUDY), "--mlruns", str(tmp_path), "--dry-run"]) == 0
    record = Record.of(map(read, told))
    with Ledger(folder, record.apply) as ledger:
        Outlook(record.study, ledger, record, workers=1)
    assert not any("margin" in plan.changed for plan in record.plans)
