"""What nobody needs of a study goes, and a study goes into one file: all that is left works as
before.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import checkpoints
from pipeline.doctor import archive as packing
from pipeline.doctor.spare import WITHIN, Spare, spares
from pipeline.errors import MachineError, UserError
from pipeline.record import pruned
from pipeline.record.events import Revision
from pipeline.record.ledger import Ledger, read_events
from pipeline.record.record import Record
from pipeline.session.places import record_in
from pipeline.studies.__main__ import main
from pipeline.study.space import Float, Space
from tests import commands
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study
from tests.test_in_process import FEW

FURTHER = ("--trials", 8, "--replicates", 3)
GOOD, HOPELESS = ({"optimizer.lr": 0.01}, {"optimizer.lr": 0.02}, {"optimizer.lr": 0.005}), 1e-9


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mlruns with a study that was searched, raced and ablated; two good trials of it wait at a
    rung, and all that are to come are hopeless.
    """
    home = tmp_path_factory.mktemp("whole") / "mlruns"
    home.mkdir()
    space = Space(knobs={"optimizer.lr": Float(low=1e-10, high=0.1, log=True)})
    points = (*GOOD, *({"optimizer.lr": HOPELESS * (1 + n)} for n in range(4)))
    small = small_study(space=space, first=points, num_rungs=2, reduction=2, race=2, num_trials=4)
    small = small.override({f"baseline.dataset.{name}": value for name, value in FEW.items()})
    arms = {"ablation.design": {"name": "arms", "arms": commands.ARMS}, "ablation.replicates": 2}
    small = small.override(arms)
    file = home.with_name("study.json")
    file.write_text(small.model_dump_json())
    assert commands.here("search", "--study", file, "--debug", home=home) == 0, commands.output(
        home
    )
    return home


@dataclass(frozen=True)
class Twin:
    """What a copy of that study, from which nothing is taken, hands on; and its numbers once it has
    gone on to more trials and replicates.
    """

    exports: tuple[dict[str, bytes], ...]
    results: dict[str, Any]


@pytest.fixture(scope="module")
def twin(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Twin:
    home = copy(whole, tmp_path_factory.mktemp("twin") / "copy")
    exports = tuple(exported(home))
    assert on(home, *FURTHER) == 0, commands.output(home)
    return Twin(exports, commands.results(home))


def exported(home: Path) -> Iterator[dict[str, bytes]]:
    """By validation, the baseline, the search's winner, as an ensemble, the best trial."""
    found = next(name for name in commands.record(home).arms() if name.startswith("best of"))
    asked = ((), ("--arm", "baseline"), ("--arm", found), ("--ensemble",), ("--trial", "best"))
    for flags in asked:
        code = commands.here("export", *of(home), *flags, "--no-onnx", home=home)
        assert code == 0, commands.output(home)
        yield content(commands.folder(home) / "export")


def copy(whole: Path, place: Path) -> Path:
    """Of the study, its pictures and MLflow's store; the file that it was begun by beside it."""
    shutil.copytree(whole.parent, place, symlinks=True)
    return place / "mlruns"


def of(home: Path) -> tuple[object, ...]:
    return "--study", home.with_name("study.json")


def on(home: Path, *flags: object) -> int:
    """Go on with the study."""
    return commands.here("search", *of(home), "--debug", *flags, home=home)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def told(folder: Path) -> dict[str, bytes]:
    """The same, without what says who holds or held it."""
    return {n: text for n, text in content(folder).items() if not n.endswith(("lock", "/lease"))}


def found(home: Path) -> dict[str, Spare]:
    folder = commands.folder(home)
    return {one.kind: one for one in spares(folder, Record.of(read_events(folder)))}


def test_a_pruned_study_reports_exports_and_goes_on_as_its_twin(
    whole: Path, twin: Twin, tmp_path: Path
) -> None:
    home = copy(whole, tmp_path / "pruned")
    folder = commands.folder(home)
    before, record = content(folder), commands.record(home)
    best = record.best_trial()
    stopped = [run for run in record.trials() if run.status == "stopped"]
    assert best is not None
    assert len(stopped) == 2
    counts = {kind: len(one.runs) for kind, one in found(home).items()}
    assert counts == {"race": 6, "trials": 1, "stopped": 2}
    words = ["prune", folder.name, "--mlruns", str(home)]
    assert main(words) == 0
    assert main([*words, "--search"]) == 0
    assert content(folder) == before, "only looked at"
    assert main([*words, "--search", "--yes"]) == 0
    left = told(folder)
    del left[pruned.FILE]
    assert left.items() < before.items(), "nothing that is left is another"
    assert not found(home)
    assert not (folder / "checkpoints" / stopped[0].key).exists()
    assert (folder / "checkpoints" / best.key).exists()

    shutil.rmtree(folder / "report")
    assert commands.here("report", *of(home), home=home) == 0, commands.output(home)
    report = {n: text for n, text in before.items() if n.startswith("report/")}
    assert {f"report/{n}": text for n, text in content(folder / "report").items()} == report
    assert tuple(exported(home)) == twin.exports
    flags = ("--trial", stopped[0].number)
    assert commands.here("export", *of(home), *flags, home=home) == 2
    said = " ".join(commands.output(home).split())
    assert f"removed on {pruned.when(folder, stopped[0].key)} by `python -m" in said

    assert on(home, *FURTHER) == 0, commands.output(home)
    again = commands.record(home)
    sent_on = [again.runs[run.key] for run in stopped]
    assert [(run.status, len(run.epochs)) for run in sent_on] == [("complete", 3)] * 2
    assert commands.results(home) == twin.results
    assert commands.repeated_epochs(home) == 0
    assert len(again.arms()["augmentation"]) == 3


def test_what_nobody_needs_goes_without_a_price(whole: Path, tmp_path: Path) -> None:
    home = copy(whole, tmp_path / "pruned")
    folder = commands.folder(home)
    race = set(found(home)["race"].runs)
    trials = {run.key for run in commands.record(home).trials()}
    assert main(["prune", folder.name, "--yes", "--mlruns", str(home)]) == 0
    left = {path.name for path in (folder / "checkpoints").iterdir()}
    assert left == set(commands.record(home).runs) - race
    assert left >= trials
    assert main(["prune", folder.name, "--yes", "--mlruns", str(home)]) == 0
    assert (folder / pruned.FILE).read_text().count("\n") == 1, "there was nothing more"


def test_a_model_that_a_study_here_learns_from_stays(whole: Path, tmp_path: Path) -> None:
    home = copy(whole, tmp_path / "pruned")
    run = found(home)["race"].runs[0]
    (home / "pupil").mkdir()
    (home / "pupil" / "ledger.jsonl").write_text(
        json.dumps({"teacher": f"{commands.folder(whole).name}/checkpoints/{run}"})
    )
    folder = home / "small-digits"
    kept = spares(folder, Record.of(read_events(folder)))
    assert run not in next(one for one in kept if one.kind == "race").runs


def test_what_is_in_a_model_that_a_study_here_reads_stays_whatever_it_is_called(
    whole: Path, tmp_path: Path
) -> None:
    """A link to the file, a path with dots, or a copy: the header has its SHA-256."""
    home = copy(whole, tmp_path / "pruned")
    folder, race = commands.folder(home), found(home)["race"].runs
    (best,) = (folder / "checkpoints" / race[0]).glob("epoch_*/best.safetensors")
    files = {"~/teacher.safetensors": hashlib.sha256(best.read_bytes()).hexdigest()}
    lines = [
        {"files": files},
        {"teacher": f"{race[1]}/epoch_0003"},
        {"w": f"x/{race[2]}/./epoch_3"},
    ]
    (home / "pupil").mkdir()
    (home / "pupil" / "ledger.jsonl").write_text("\n".join(map(json.dumps, lines)))
    kept = {one.kind: one for one in spares(folder, Record.of(read_events(folder)))}
    assert {*race[:3]}.isdisjoint(kept["race"].runs)
    with contextlib.chdir(folder):
        kept = {
            one.kind: one for one in spares(record_in(home, "./"), Record.of(read_events(folder)))
        }
    assert len(kept["race"].runs) == len(race) - 3


def test_what_the_user_put_beside_stays_and_nothing_is_removed_through_a_link(
    whole: Path, tmp_path: Path
) -> None:
    home = copy(whole, tmp_path / "pruned")
    folder, (one, other, *_) = commands.folder(home), found(home)["race"].runs
    notes = folder / "checkpoints" / one / "my-notes.txt"
    draft = folder / "report" / ".draft.20240315"
    inside = next((folder / "checkpoints" / other).glob("epoch_*")) / "mine.csv"
    outside = tmp_path / "outside" / "epoch_0001" / "best.safetensors"
    draft.mkdir()
    outside.parent.mkdir(parents=True)
    for path in (notes, inside, outside, draft / "thesis.tex"):
        path.write_text("mine")
    (folder / "checkpoints" / other / "epoch_0002").symlink_to(outside.parent)
    (folder / "report-papers").symlink_to(tmp_path / "outside")
    os.utime(draft, (1e9, 1e9))
    assert main(["prune", folder.name, "--yes", "--mlruns", str(home)]) == 0
    kept = (notes, inside, outside, draft / "thesis.tex")
    assert all(path.read_text() == "mine" for path in kept)
    assert [path.name for path in notes.parent.iterdir()] == ["my-notes.txt"]
    (folder / "checkpoints").rename(tmp_path / "shared")
    (folder / "checkpoints").symlink_to(tmp_path / "shared")
    with pytest.raises(UserError, match="which another record may share"):
        main(["prune", folder.name, "--yes", "--search", "--mlruns", str(home)])


def test_of_a_study_that_has_grown_all_trials_stay(whole: Path, tmp_path: Path) -> None:
    home = copy(whole, tmp_path / "pruned")
    record, folder = commands.record(home), commands.folder(home)
    longer = record.study.override({"baseline.epochs": 9}).model_dump(mode="json")
    record.apply(Revision(seq=10**6, study=longer, changed=["baseline.epochs: 3, now 9"]))
    assert {one.kind for one in spares(folder, record)} <= {"race", "lost", "sources"}


def test_what_a_checkpoint_consists_of_is_known() -> None:
    assert {checkpoints.STATE, checkpoints.BEST, checkpoints.META} < {*WITHIN}


def test_what_diverged_and_what_killed_commands_left_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a worker that trains nothing: checkpoints are made by hand."""
    folder = tmp_path / "lost-digits"
    worker = Worker(diverges=lambda config: config.augment.strength > 0)
    record = drive(open_plan(folder, small_study(num_trials=3)), worker)
    lost = {run.key for run in record.runs.values() if run.status == "diverged"}
    assert lost
    for key in record.runs:
        (folder / "checkpoints" / key / "epoch_0001").mkdir(parents=True)
        (folder / "checkpoints" / key / "epoch_0001" / "best.safetensors").write_bytes(b"1234")
    kept = next(iter(set(record.runs) - lost))
    scratch = [
        folder / "checkpoints" / kept / ".epoch_0002.tmp",
        folder / "checkpoints" / ".pruned.0123456789abcdef",
        folder / "evidence" / ".0123456789abcdef.npz.tmp",
    ]
    young = folder / "report" / ".report.md.0a1b2c3d"
    others = [folder / "report" / "notes.md", folder / ".export.0a1b2c3d", young]
    for path in (*scratch, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345678")
        if path != young:
            os.utime(path, (1e9, 1e9))
    words = ["prune", folder.name, "--mlruns", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert {one["kind"]: one["num_bytes"] for one in tree["would_remove"]} == {
        "lost": 4 * len(lost),
        "leftovers": 8 * len(scratch),
    }
    assert all(path.exists() for path in scratch)
    assert tree["in_use_by"] is None
    with Ledger(folder):
        assert main(words) == 0, "to look is allowed"
        assert "cannot be pruned before that has ended" in " ".join(capsys.readouterr().out.split())
        with pytest.raises(MachineError, match="is in use by process"):
            main([*words, "--yes"])
    assert all(path.exists() for path in scratch)
    assert main([*words, "--yes", "--json"]) == 0
    gone = json.loads(capsys.readouterr().out)
    assert gone["num_bytes"] == tree["num_bytes"]
    assert {path.name for path in (folder / "checkpoints").iterdir()} == set(record.runs) - lost
    assert not any(path.exists() for path in scratch)
    assert all(path.exists() for path in others)


def test_without_a_name_every_study_says_what_it_could_free(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = copy(whole, tmp_path / "all")
    (home / "hurt").mkdir()
    (home / "hurt" / "ledger.jsonl").write_bytes(b"no ledger\n" * 3)
    assert main(["prune", "--mlruns", str(home)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "small-digits: " in said
    assert "that nobody needs; " in said
    assert "more with --search" in said
    assert "hurt: " in said
    assert main(["prune", "--json", "--mlruns", str(home)]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert {one["kind"] for one in tree["small-digits"]} == {"race", "trials", "stopped"}
    assert "error" in tree["hurt"]


def test_an_archive_is_the_study_and_goes_on_elsewhere(
    whole: Path, twin: Twin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = copy(whole, tmp_path / "archived")
    folder = commands.folder(home)
    before = told(folder)
    assert main(["archive", folder.name, "--json", "--mlruns", str(home)]) == 0
    said = json.loads(capsys.readouterr().out)
    file, aside = Path(said["path"]), Path(said["aside"])
    assert not folder.exists()
    assert told(aside) == before
    assert not list(home.glob(".*")), "nothing half made is left"

    other = tmp_path / "elsewhere" / "mlruns"  # as on another machine: no MLflow, no pictures
    other.mkdir(parents=True)
    shutil.copy(home.with_name("study.json"), other.with_name("study.json"))
    subprocess.run(["tar", "xf", file, "-C", other], check=True)
    opened = commands.folder(other)
    assert content(opened) == before
    assert len(before) == said["num_files"]
    assert commands.here("report", *of(other), "--check", home=other) == 0
    assert on(other, *FURTHER) == 0, commands.output(other)
    assert commands.results(other) == twin.results
    assert commands.repeated_epochs(other) == 0
    assert commands.here("export", *of(other), "--no-onnx", home=other) == 0


def test_an_archive_has_all_that_is_there_whatever_leads_to_it(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = copy(whole, tmp_path / "archived")
    folder = commands.folder(home)
    (folder / "best_models").symlink_to("checkpoints")
    (folder / "circle").symlink_to(".")
    (folder / "nowhere").symlink_to("gone")
    killed = home / f".{folder.name}.tar.gz.0a1b2c3d"
    killed.write_bytes(b"half")
    files = {str(path.relative_to(home)) for path in folder.rglob("*") if path.is_file()}
    assert main(["archive", folder.name, "--mlruns", str(home)]) == 0
    assert "not in it: 1 link that" in " ".join(capsys.readouterr().out.split())
    with tarfile.open(home / f"{folder.name}.tar.gz") as packed:
        names = {*packed.getnames()}
    held = {name for name in files if not name.endswith(("/lock", "/lease"))}
    assert held <= names
    assert any("/checkpoints/" in name for name in names)
    assert any("/best_models/" in name for name in names)
    assert not killed.exists()
    (home / "linked").symlink_to(next(home.glob("*.old*")))
    with pytest.raises(UserError, match="a link; name the folder"):
        main(["archive", "linked", "--mlruns", str(home)])


def test_an_archive_without_checkpoints_has_the_report(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = copy(whole, tmp_path / "archived")
    name = commands.folder(home).name
    assert main(["archive", name, "--without-checkpoints", "--mlruns", str(home)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "read back and compared" in said
    assert "without them `report` is the same" in said
    with tarfile.open(home / f"{name}.tar.gz") as packed:
        packed.extractall(tmp_path / "bare", filter="data")
    bare = tmp_path / "bare"
    shutil.copy(home.with_name("study.json"), tmp_path / "study.json")
    assert not (bare / name / "checkpoints").exists()
    assert commands.here("report", *of(bare), "--check", home=bare) == 0
    assert commands.here("export", *of(bare), home=bare) == 2


def test_an_archive_that_reads_back_as_something_else_moves_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy(whole, tmp_path / "archived")
    folder = commands.folder(home)
    before = told(folder)
    real = packing._write

    def hurt(folder: Path, path: Path, *, with_checkpoints: bool) -> tuple[dict[str, str], int]:
        """A disk that gives back a wrong byte."""
        written = real(folder, path, with_checkpoints=with_checkpoints)
        middle = path.stat().st_size // 2
        with path.open("r+b") as file:
            file.seek(middle)
            (byte,) = file.read(1)
            file.seek(middle)
            file.write(bytes([byte ^ 1]))
        return written

    words = ["archive", folder.name, "--mlruns", str(home)]
    with monkeypatch.context() as patched:
        patched.setattr(packing, "_write", hurt)
        with pytest.raises(MachineError, match="the study is as it was"):
            main(words)
    assert sorted(path.name for path in home.glob("*small*")) == [folder.name]
    assert told(folder) == before
    (home / f"{folder.name}.tar.gz").write_bytes(b"somebody's")
    with pytest.raises(UserError, match="is there already"):
        main(words)
    (home / f"{folder.name}.tar.gz").unlink()
    with Ledger(folder), pytest.raises(MachineError, match="is in use by process"):
        main(words)
    assert folder.exists()


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["show", "small-digits", "--yes"], "--yes: belongs to `prune NAME`"),
        (["prune", "--search"], "--search: belongs to `prune NAME`"),
        (["remove", "x", "--without-checkpoints"], "--without-checkpoints: belongs to `archive"),
        (["archive"], "archive: takes the name of a record"),
        (["prnue", "x"], "did you mean 'prune'"),
    ],
)
def test_a_flag_of_another_action_is_refused(words: list[str], wrong: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=wrong):
        main([*words, "--mlruns", str(tmp_path)])
