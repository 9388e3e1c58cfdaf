"""The LaTeX tables: they compile as they are, within the line, and what leads to the runs stays a
comment.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.record.record import Record
from pipeline.report.__main__ import main as report
from pipeline.report.compose import read, texts
from pipeline.report.document import Cell, Column, Table
from pipeline.report.formats import latex
from pipeline.report.paper import NAMES, USUAL, paper
from pipeline.study.designs import Both
from pipeline.study.study import Study
from tests.records import Scribe, make_study, with_arms

RECORDED = Path(__file__).parent / "recorded" / "a4621cd"

HOSTILE = (
    '<script> & "q" | `x` *b* _i_ $\\alpha$ 50% #1 {~^} [a](http://e) @all \\\\ % \\end{tabular}'
)
PAPER = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,amssymb,textcomp}
\begin{document}
\input{ablation.tex}
\end{document}
"""
ON = {
    "deep": {"model.name": "resnet18"},
    "flips": {"augment.strength": 1.0},
    "wide": {"model.width": 96},
    "large batches": {"batch_size": 128},
    "slow": {"optimizer.lr": 1e-4},
}


def four() -> Study:
    return make_study(replicates=3, num_trials=0, epochs=2)


def twelve() -> Study:
    study = four()
    return study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": Both(on=ON)})}
    )


def hostile() -> Study:
    return with_arms(
        four(),
        {
            "baseline": {},
            HOSTILE: {"model.width": 32},
            "中文 \u202e" + "a" * 60: {"model.width": 16},
        },
    )


def recorded(study: Study, folder: Path) -> Record:
    book = Scribe(folder, study, note=HOSTILE, data={"is_food11": False})
    book.session()
    for replicate in range(1, 4):
        for arm, _ in study.arms():
            acc = 0.5 + 0.03 * sum(arm.levels.values()) + float(book.rng.normal(0, 0.004))
            book.arm(arm.name, replicate, acc, num_macs=556_000_000, num_train=640)
    return book.record()


def tex(study: Study, folder: Path) -> str:
    return texts(read(recorded(study, folder)), {})["ablation.tex"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("study", [four, twelve, hostile])
def test_the_tables_compile_within_the_line(tmp_path: Path, study: Callable[[], Study]) -> None:
    (tmp_path / "ablation.tex").write_text(tex(study(), tmp_path / "study"), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(PAPER)
    command = [
        "pdflatex",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "paper.tex",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=3600)
    told = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, told[-2000:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")
    assert "Overfull \\hbox" not in told
    assert "Float too large" not in told


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("study", [four, twelve, hostile])
def test_a_paper_s_table_compiles_within_the_line(
    tmp_path: Path, study: Callable[[], Study]
) -> None:
    made = paper(read(recorded(study(), tmp_path / "study")), stars=True)
    assert not made.over
    (tmp_path / "ablation.tex").write_text(made.table + "\n\n" + made.notes, encoding="utf-8")
    (tmp_path / "paper.tex").write_text(PAPER)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=3600)
    told = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, told[-2000:]
    assert "Overfull \\hbox" not in told


COLUMNS = (USUAL, ("arm", "difference"), NAMES)


@pytest.mark.parametrize("study", [four, twelve, hostile])
def test_a_paper_s_table_is_one_tabular_of_the_columns_asked_for(
    tmp_path: Path, study: Callable[[], Study]
) -> None:
    found = read(recorded(study(), tmp_path))
    for columns in COLUMNS:
        made = paper(found, columns, stars=True)
        assert made.table.count(r"\begin{tabular}") == 1
        assert r"\caption" not in made.table
        assert "{*}{*}{*} p" in made.notes
        rows = re.findall(r"^[^%\n]*&.*$", made.table, re.MULTILINE)
        kept = len(columns) - len(made.absent)
        more = len(found.ablation.factors) - 1 if "factors" in {*columns} - {*made.absent} else 0
        assert {row.replace(r"\&", "").count("&") for row in rows} == {kept + more - 1}
        assert len(rows) >= len(found.ablation.rows)
    assert r"\params" not in paper(found, ("arm", "score")).table
    narrow = paper(found, ("arm", "score"), line=240.0)
    wide = paper(found, ("arm", "score"), line=2000.0)
    assert narrow.over == wide.over == 0
    assert r"\parbox" not in wide.table
    assert paper(found, ("arm", "score"), line=60.0).over > 0


def test_stars_say_the_level_of_holm_s_p(tmp_path: Path) -> None:
    found = read(recorded(four(), tmp_path))
    table = paper(found, ("arm", "difference", "p"), stars=True).table
    for contrast in found.ablation.deltas:
        stars = sum(contrast.p_holm < level for level in (0.001, 0.01, 0.05))
        name = latex.escape(contrast.name)
        row = next(line for line in table.splitlines() if line.startswith(f"{name} &"))
        assert row.count("{*}") == stars
    assert any(contrast.p_holm < 0.05 for contrast in found.ablation.deltas)


def test_the_command_writes_two_files_and_replaces_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(RECORDED / "small-digits", tmp_path / "mlruns" / "small-digits")
    study = shutil.copy(RECORDED / "study.json", tmp_path)
    flags = ["--study", study, "--mlruns", str(tmp_path / "mlruns"), "--tex"]
    made, mine = tmp_path / "made.tex", tmp_path / "mine.tex"
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):  # what it made itself is made anew
        assert (
            report([*flags, str(made), "--columns", "arm,score,tuning,difference", "--stars"]) == 0
        )
    assert "left out, since the study has nothing to say there: tuning" in " ".join(
        capsys.readouterr().out.split()
    )
    assert sorted({*tmp_path.rglob("*")} - {*before}) == [tmp_path / "made-notes.tex", made]
    mine.write_text("by hand")
    for words, said in (
        ([str(mine)], "was not made by --tex"),
        (["mine.txt"], "ends in .tex"),
        ([str(made), "--check"], "--check: the report's own files"),
    ):
        with pytest.raises(UserError, match=said):
            report([*flags, *words])
    with pytest.raises(UserError, match=r"give it too"):
        report([*flags[:-1], "--stars"])
    assert mine.read_text() == "by hand"


def test_stars_without_the_differences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="add 'difference' to --columns"):
        paper(read(recorded(four(), tmp_path)), ("arm", "score"), stars=True)


@pytest.mark.parametrize(
    ("columns", "said"),
    [(("arm", "scroe"), "did you mean 'score'"), (("score",), "'arm' must be among them")],
)
def test_columns_that_there_are_not(tmp_path: Path, columns: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        paper(read(recorded(four(), tmp_path)), columns)


def test_a_wide_table_is_cut_into_panels_that_name_their_rows(tmp_path: Path) -> None:
    found = tex(twelve(), tmp_path)
    panels = re.findall(
        r"\\begin\{tabular\}.*?\\end\{tabular\}", found.split(r"\end{table}")[0], re.DOTALL
    )
    assert len(panels) > 1
    assert all(
        re.search(r"(^|& )without large batches (&|\\\\)", panel, re.MULTILINE) for panel in panels
    )
    assert "test acc" in panels[0], "results first"
    assert "verdict" in panels[0]
    assert "p (Holm's)" in panels[1].replace(r"\\", " ")
    assert found.count("test acc (\\%)") == 1
    for panel in panels:
        number = len(re.match(r"\\begin\{tabular\}\{@\{\}([lrc]+)@\{\}\}", panel)[1])  # type: ignore[index]
        assert {int(end) for end in re.findall(r"\\cmidrule\{1-(\d+)\}", panel)} <= {number}
    assert "\\cmidrule" in panels[0], "between arms with other references"


def test_every_row_names_its_runs_in_a_comment(tmp_path: Path) -> None:
    lines = tex(four(), tmp_path).split(r"\end{table}")[0].splitlines()
    for number, line in enumerate(lines):
        if re.match(r"ResNet & \d", line):
            assert lines[number - 1].startswith("% runs: arm-1-r1, arm-1-r2, arm-1-r3")


def test_a_comment_cannot_be_left() -> None:
    key = "abc\n\\input{/etc/passwd}\r\u2028\x85^^M}"
    block = Table("t", (Column("a"),), ((Cell("x", runs=(key,)),),), key=0)
    found = latex.render([block], ["t"], [])
    (line,) = [line for line in found.splitlines() if "passwd" in line]
    assert re.fullmatch(r"% runs: [0-9A-Za-z-]+", line)


def test_many_rows_go_into_several_floats() -> None:
    rows = tuple((Cell(f"row {i}"), Cell(str(i))) for i in range(100))
    found = latex.render(
        [Table("t", (Column("a"), Column("b", "right")), rows, frozenset({41}), key=0)],
        ["t"],
        ["a note"],
    )
    assert found.count(r"\begin{table}") == 3
    assert found.count("row ") == 100
    assert found.count("a note") == found.count(r"\cmidrule") == 1
    assert len(set(re.findall(r"\\label\{(.*?)\}", found))) == 3


def test_notes_of_a_tall_table_stand_apart_from_its_float() -> None:
    rows = tuple((Cell(f"row {i}"), Cell(str(i))) for i in range(25))
    block = Table("t", (Column("a"), Column("b", "right")), rows, key=0)
    short, long = (
        latex.render([block], ["t"], ["one"]),
        latex.render([block], ["t"], ["many words " * 30] * 8),
    )
    assert short.index("one") < short.index(r"\end{table}")
    assert long.index("many words") > long.index(r"\end{table}")
    assert r"Notes to Table~\ref{tab:t}" in long
