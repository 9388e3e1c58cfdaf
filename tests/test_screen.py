"""What commands print: in any encoding and width, to closed pipes and full disks."""

import contextlib
import io
import itertools
import os
import random
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from driver import Worker, open_plan, train
from records import full_record
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress as Bar
from rich.text import Text
from studies import small_study
from test_cli import COMMANDS, ROOT

from pipeline import ablate, caches, compare, labels, new, repair, search, status, ui
from pipeline.doctor import __main__ as doctor
from pipeline.doctor.environment import surroundings
from pipeline.doctor.findings import Finding, table
from pipeline.errors import UserError
from pipeline.export import __main__ as export
from pipeline.machine import resources
from pipeline.record import mlflow_views
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import __main__ as report
from pipeline.report import write_report
from pipeline.screen import Steady, console, fold, folded, redraws, spelt, steadily, steady
from pipeline.session import cli
from pipeline.session.progress import Progress
from pipeline.studies import __main__ as studies

ENCODINGS = ("ascii", "gbk", "big5", "cp1252", "latin-1", "utf-8", "cp437", "shift_jis")
OURS = "Δ −0.5 ± 0.1 † ² · × ≤ … 食物 ─│┌━█ é \udce9"
MAINS = {
    "search": search,
    "ablate": ablate,
    "doctor": doctor,
    "export": export,
    "ui": ui,
    "repair": repair,
}
MAINS |= {"report": report, "caches": caches, "new": new, "compare": compare, "studies": studies}
MAINS |= {"labels": labels, "status": status}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_takes_what_we_print_and_no_sign_is_lost(encoding: str) -> None:
    shown = spelt(OURS, encoding)
    assert shown.encode(encoding).decode(encoding) == shown
    assert "?" not in shown
    assert re.search("[-−]0.5", shown)
    assert spelt("plain", encoding) == "plain"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_letter_can_be_written_in_any_encoding(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    written = Steady(stream)
    for start in range(0, 0x30000, 0x1000):
        print("".join(map(chr, range(start, start + 0x1000))), file=written, flush=True)
    assert written.trouble is None


@pytest.mark.parametrize("columns", [8, 20, 60, 80])
def test_lines_are_broken_between_words_alone(columns: int) -> None:
    draw = random.Random(columns)
    for _ in range(200):
        words = [
            "".join(draw.choices("ab-/.,'(=é±", k=draw.randint(1, 30)))
            for _ in range(draw.randint(1, 40))
        ]
        text = " ".join(words)
        lines = fold(text, columns, then="  ")
        assert (
            " ".join(
                line.removeprefix("  ") if number else line for number, line in enumerate(lines)
            )
            == text
        )
        assert all(cell_len(line) <= columns or " " not in line.strip() for line in lines)


def test_a_command_stays_whole_and_wide_letters_count_as_two() -> None:
    command = "python -m pipeline.ui --mlruns '/home/ada/my results'"
    lines = fold(f"compare the arms in the MLflow UI: {command}, then http://127.0.0.1:5000/", 40)
    assert f"{command}," in lines
    for shown in (
        "optuna-dashboard sqlite:////home/ada/o.db",
        "tensorboard --logdir '/home/a b/t'",
    ):
        assert shown in [line.strip() for line in fold(f"look at it in its window: {shown}", 40)]
    assert all(cell_len(line) <= 30 for line in fold("图像分类" * 20, 30))
    assert "/data/食物/训练" * 5 in fold("in " + "/data/食物/训练" * 5, 30)


def screen_lines(text: str) -> list[str]:
    assert "\x1b" not in text
    return text.splitlines()


def fits(text: str, columns: int) -> None:
    """No line is too long but one of a single word or command."""
    for line in screen_lines(text):
        whole = " ".join(re.sub(r"python -m [^,;]*", "command", line).split())
        assert cell_len(line) <= columns or " " not in re.sub(r"^(error: |Report: )", "", whole), (
            line
        )


@pytest.fixture(params=[80, 60])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study in a folder of its own."""
    folder = tmp_path_factory.mktemp("mlruns") / "demo-digits"
    full_record(folder, num_trials=8)
    return folder


@pytest.mark.usefixtures("unmeasured")
def test_a_dry_run_fits_and_shows_arms_as_they_are_set(
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
        sys, "argv", ["x", "--study", "hw3", "--mlruns", str(tmp_path / "a folder"), "--dry-run"]
    )
    for main in (search.main, ablate.main):
        assert main() == 0
        text = capsys.readouterr().out
        fits(text, columns)
        assert "ResNet + augmentation: model.name=resnet18, augment.strength=1.0" in " ".join(
            text.split()
        )
        assert "{" not in text


def test_what_a_study_says_fits(
    columns: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = small_study(num_trials=2, replicates=1)
    with steady():
        out = console()
        holder: list[Progress] = []
        plan = open_plan(
            tmp_path, study, listener=lambda event: [one.event(event) for one in holder]
        )
        holder.append(Progress(plan, out, verbosity=1))
        train(plan, Worker())
        plan.ledger.close()
        out.print(holder[0]._block())
        place = mlflow_views.invitation("sqlite:///x", "12", str(tmp_path))
        out.print(folded(place), soft_wrap=True)
    text = capsys.readouterr().out
    fits(text, columns)
    assert re.search(r"rung \d/", text)
    assert " · replicate 1  done" in text
    assert f"python -m pipeline.ui --mlruns {tmp_path}" in text


def told(folder: Path, verbosity: int, num_trials: int, ends: float = float("inf")) -> list[str]:
    """The lines of a study's progress where there is no terminal."""
    out, holder = io.StringIO(), list[Progress]()
    plan = open_plan(
        folder,
        # to draw evenly is quick, and what is told does not depend on how points are found
        small_study(num_trials=num_trials, replicates=3, sampler="random"),
        listener=lambda event: [one.event(event) for one in holder],
    )
    quiet = Console(file=out, width=200)
    with Progress(plan, quiet, verbosity=verbosity, ends=ends) as progress:
        holder.append(progress)
        train(plan, Worker())
    plan.ledger.close()
    return out.getvalue().splitlines()


def test_no_more_is_left_than_a_limit_of_time_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: float(next(ticks)))
    monkeypatch.setattr("pipeline.session.progress.time", clock)
    free, short = (
        re.findall(
            r" · ([^·]*?) left\b", " ".join(" ".join(told(tmp_path / name, 1, 4, ends)).split())
        )
        for name, ends in (("free", float("inf")), ("short", 0.0))
    )
    assert min(len(free), len(short)) > 4
    assert all(said.startswith("about ") for said in free)
    assert set(short) == {"0 s of the limit"}


def test_of_many_results_some_are_told_so_that_no_cell_is_flooded(tmp_path: Path) -> None:
    few, many, all_of_them = (
        told(tmp_path / str(number), verbosity, num_trials)
        for number, (verbosity, num_trials) in enumerate(((0, 6), (0, 400), (1, 400)))
    )
    arms = [line for line in few if "replicate" in line]
    assert len(arms) == 4 * 3, "a line a result"
    assert not any("results" in line for line in few)
    results = [line for line in all_of_them if "  done  " in line or "  rung " in line]
    assert len(results) > 400
    assert many[0] == "one line for 6 results, -v tells all"
    assert len(results) / 7 < len(many) < 130


@pytest.mark.parametrize("name", ["JPY_PARENT_PID", "COLAB_RELEASE_TAG"])
def test_a_cell_of_a_notebook_is_no_terminal_to_draw_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = os.openpty()
    with open(follower, "w", encoding="utf-8") as terminal:
        monkeypatch.setenv("TERM", "xterm-color")
        out = Console(file=terminal)
        assert redraws(out)
        monkeypatch.setenv(name, "7")
        assert not redraws(out)
    os.close(leader)


def test_the_end_of_a_study_fits(columns: int, recorded: Path, tmp_path: Path) -> None:
    text = write_report(Record.of(read_events(recorded)), tmp_path / "report").text
    fits(text, columns)
    assert "ResNet + augmentation" in text


def test_findings_fit(columns: int, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = f"{'/a/long/path' * 12}/picture.jpg:"
    long = Finding(
        "warning", f"{path} cannot be read, as are many of the others in there", "warning"
    )
    named = Finding(
        "an arm of a long name that goes on", "learns one batch: 2.3 to 0.01 in 40 steps", "error"
    )
    with steady():
        console().print(
            table("machine", [*surroundings(tmp_path, resources(1, 0)), long, named]),
            soft_wrap=True,
        )
    text = capsys.readouterr().out
    fits(text, columns)
    assert path in text
    assert re.search(r"^ok       memory   ", text, re.MULTILINE)


@pytest.mark.parametrize("name", MAINS)
def test_errors_usage_and_help_fit(
    name: str,
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert {f"pipeline.{one}" for one in MAINS} == {*COMMANDS} - {"pipeline.__main__"}
    monkeypatch.chdir(ROOT)
    for words in ("--help", "--trails 5 --study hw3", "--study hw4", "--study hw3 --data /nope"):
        monkeypatch.setattr(sys, "argv", ["x", *words.split(), "--mlruns", str(tmp_path)])
        with steady(), pytest.raises(SystemExit):
            sys.exit(cli._ended(MAINS[name].main))
        said = capsys.readouterr()
        fits(said.out + said.err, columns)
        assert "Traceback" not in said.err


def broken(kind: str, tmp_path: Path) -> io.TextIOWrapper:
    if kind == "full disk":
        return open("/dev/full", "w", encoding="utf-8")
    if kind == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
        return open(writer, "w", encoding="utf-8", buffering=1)
    if kind == "closed file":
        file = (tmp_path / "log").open("w")
        file.close()
        return file
    return io.TextIOWrapper(io.BytesIO(), encoding=kind)


@steadily
def chatty(_: object = None) -> int:
    print(OURS, flush=True)
    print(OURS, file=sys.stderr)
    console().print(Panel(Text(OURS), title="embedded default"))
    return 3


@pytest.mark.parametrize("kind", [*ENCODINGS, "full disk", "closed pipe", "closed file"])
def test_no_screen_ends_a_command_and_a_notebook_has_its_own_back(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = broken(kind, tmp_path), broken(kind, tmp_path)
    monkeypatch.setattr(sys, "stdout", mine[0])
    monkeypatch.setattr(sys, "stderr", mine[1])
    assert chatty() == 3
    assert (sys.stdout, sys.stderr) == mine
    if kind in ENCODINGS:
        assert re.search("[-−]0.5", mine[0].buffer.getvalue().decode(kind))  # type: ignore[attr-defined]
    for one in mine:
        with contextlib.suppress(OSError):
            one.close()


@pytest.mark.parametrize("kind", ["ascii", "closed pipe"])
def test_a_command_that_a_notebook_calls_ends_well_on_its_screen(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    mine = broken(kind, tmp_path)
    monkeypatch.setattr(sys, "stdout", mine)
    # in a process of its own, half a second of it for measuring
    words = ["--study", "hw3", "--mlruns", str(tmp_path / "食物"), "--dry-run"]
    assert search.main([*words, "--time", "10s", "--workers", "1"]) == 0
    assert sys.stdout is mine
    with contextlib.suppress(OSError):
        mine.close()


def test_a_long_error_comes_out_of_a_notebooks_command_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "60")
    studies = sorted(path.stem for path in (ROOT / "pipeline" / "studies").glob("[!_]*.py"))
    with pytest.raises(UserError, match=f"allowed: {', '.join(studies)}"):
        search.main(["--study", "hw4"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            "--help > /dev/full",
            0,
            "warning: the output could not be written: No space left on device",
        ),
        ("--study hw4 2> /dev/full", 2, ""),
        ("--help >&- 2>&- <&-", 0, ""),
        ("--help | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("--study hw4 2>&1 | true; exit ${PIPESTATUS[0]}", 2, ""),
    ],
)
def test_a_process_ends_with_its_own_code_whatever_becomes_of_its_output(
    words: str, code: int, said: str
) -> None:
    command = f"{sys.executable} -m pipeline.search {words}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.strip()) == (code, said)


def test_a_closed_output_is_not_taken_for_a_file() -> None:
    """The next file that was opened became standard output, and a library's prints went into it."""
    code = (
        "import os; from pipeline.screen import _open_streams as take; take(); "
        "os._exit(os.open(os.devnull, 0) > 2)"
    )
    command = f'{sys.executable} -c "{code}" <&- >&- 2>&-'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(["bash", "-c", command], env=environment, check=False).returncode == 1


@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "unknown")]
)
def test_a_plain_terminal_is_sent_no_escape_sequence(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv(name, value)
    leader, follower = os.openpty()
    with open(follower, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        out = console()
        plan = open_plan(tmp_path, small_study(num_trials=1, replicates=1))
        plan.ledger.close()
        with Bar(console=out, transient=True, disable=not out.is_terminal) as bar:
            bar.update(bar.add_task("decoding"), completed=1)
        with Progress(plan, out, verbosity=0) as progress:
            assert progress._live is None, "lines, not a block that is drawn again and again"
        out.print(Panel(Text("note"), title="embedded default", style="bold yellow"))
        out.print(table("machine", [Finding("disk", "full", "error")]))
    shown = b""
    with contextlib.suppress(OSError):  # the end
        while chunk := os.read(leader, 65536):
            shown += chunk
    os.close(leader)
    assert b"disk" in shown
    assert b"\x1b" not in shown


@pytest.mark.parametrize(
    "words",
    [
        "--against params,macs --variance 3 --race 2 --mlruns /tmp/somewhere/m2 --replicates 27",
        "--tex table.tex --columns arm,score,difference --stars --mlruns /tmp/somewhere/else",
        "--set 'a=[1, 2]' --set \"b=x, y\" --set c=d\\ e --mlruns /tmp/somewhere/else",
    ],
)
def test_a_command_stays_whole_whatever_its_values(words: str) -> None:
    command = f"python -m pipeline.search --study mine {words}"
    lines = fold(f"What to do next, as was asked for above: {command}, then look again.", 40)
    assert [line for line in lines if command in line], lines
    assert lines[-1].endswith("again.")
