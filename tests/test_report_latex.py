"""The LaTeX tables: they compile as they are, within the line, and what leads to the runs stays a
comment.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.report.compose import read, texts
from pipeline.report.document import Cell, Column, Table
from pipeline.report.formats import latex
from pipeline.study.designs import Both
from pipeline.study.study import Study
from tests.records import Scribe, make_study, with_arms

pytestmark = pytest.mark.usefixtures("quick_disk")
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


def tex(study: Study, folder: Path) -> str:
    book = Scribe(folder, study, note=HOSTILE, data={"is_food11": False})
    book.session()
    for replicate in range(1, 4):
        for arm, _ in study.arms():
            acc = 0.5 + 0.03 * sum(arm.levels.values()) + float(book.rng.normal(0, 0.004))
            book.arm(arm.name, replicate, acc, num_macs=556_000_000, num_train=640)
    return texts(read(book.record()), {})["ablation.tex"]


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
