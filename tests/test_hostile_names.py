"""Names that would be code in some format (HTML, LaTeX, CSV, terminals, Markdown, JSON, YAML) are
text in all of them.

One study has them wherever a user can name something: title, arms, factors, classes, picture files,
errors, commands. A twin with plain names says what its report may be built of; real parsers say
what it is built of.
"""

import base64
import csv
import hashlib
import io
import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]
from markdown_it import MarkdownIt
from pyarrow import parquet

from pipeline.core.finished import evidence
from pipeline.core.finished.artifact import Artifact
from pipeline.export.ensemble_card import Ensembled, ensemble_card, ensemble_json
from pipeline.export.model_card import Facts, card, config_json
from pipeline.export.predictions import form_of, table
from pipeline.export.selection import select
from pipeline.record import events
from pipeline.record.ledger import FILE, read_events
from pipeline.record.record import Record
from pipeline.report import Report, write_report
from pipeline.report.compose import read, texts
from pipeline.report.document import clean
from pipeline.report.formats import latex_text as letters
from pipeline.report.formats import markdown
from pipeline.study.designs import Factorial
from tests.formats import Tree, csv_rows
from tests.records import Scribe, make_study
from tests.test_report_classes import answers_of

HTML = '<script>alert(1)</script>"><img src=x onerror=alert(2)><!--'
LATEX = r"\input{/etc/passwd}%\end{table}^^5cwrite18{id}$\frac$#1~&_\\[9cm]"
TERMINAL = "\x1b[31mred\x1b]8;;http://e.example\x1b\\link\x1b]8;;\x1b\\\x9b2J\r\u202egpj.exe\u2066\x07\x00\x7f"
FORMULA = "=cmd|'/c calc'!A1"
MARKDOWN = (
    "[a](http://e.example) ![b](x.png) | `c` <http://d.example> **e**\n\n# f\n```\n~~~ javascript:x"
)
DATA = (
    '"},"crc":"00000000"}\n{"seq":0,"a: [b\n---\nc: !!python/object/apply:os.system [id]\n{{ '
    "7*7 }}{% raw %}"
)
FORMULAS = (
    "\t=1+1",
    "  +1+1",
    "-2+3",
    "@SUM(1)",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20A1",
    "\ufeff=1",
    "\u00a0=1",
    "|x",
    "%0a",
)
CLASSES = (HTML, LATEX, TERMINAL, FORMULA, MARKDOWN, DATA, *FORMULAS)
CONTROL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
TEXTS = (".html", ".md", ".tex", ".csv", ".svg", ".txt")
RISKY = ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True)
class Written:
    """A report on disk, what it is about, and the names in it."""

    record: Record
    report: Report
    folder: Path
    names: tuple[str, ...]

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


def written(root: Path, names: tuple[str, ...], title: str) -> Written:
    """A report of eight arms, an interaction, a search, classes and pictures; `names[:4]` are those
    of the design.
    """
    reference, *factors = names[:4]
    changes = ({"model.name": "resnet18"}, {"augment.strength": 1.0}, {"model.width": 96})
    study = make_study(replicates=3, num_trials=24, epochs=9, title=title)
    design = Factorial(on=dict(zip(factors, changes, strict=True)), reference=reference)
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": design})}
    )
    bad = {"unreadable": [{"file": name, "reason": name} for name in names], "warnings": [title]}
    book = Scribe(root, study, note=title, data={"title": title, "classes": list(names), **bad})
    book.session(f"python -m pipeline.search --study '{title}'\n```\nrm", commit="$(rm -rf ~)")
    book.trials()
    true = np.repeat(np.arange(len(names)), 6)
    for place, (arm, _) in enumerate(study.arms()):
        for replicate in (1, 2, 3):
            path = evidence.evidence_path(root, f"arm-{place}-r{replicate}")
            found = answers_of(
                true, (true + (np.arange(len(true)) % 6 < 2)) % len(names), embedded=replicate == 1
            )
            files = tuple(f"t/{names[true[row]]}{row}.jpg" for row in found.wrong.rows)
            sha = evidence.write(path, replace(found, wrong=replace(found.wrong, files=files)))
            if (place, replicate) == (3, 2):
                book.arm(arm.name, replicate, status="diverged", error=title)
            else:
                book.arm(
                    arm.name,
                    replicate,
                    0.5 + 0.04 * place + 0.004 * replicate,
                    evidence=sha,
                    num_train=800,
                    num_macs=10**7,
                )
    book.ledger.append(events.Mlflow(uri=f"https://{title}", what="arm-0-r1", id=names[0]))
    record = book.record()
    return Written(record, write_report(record, root / "report"), root / "report", names)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Written:
    names = (
        FORMULA,
        HTML,
        LATEX,
        TERMINAL,
        *(name for name in CLASSES if name not in (HTML, LATEX, TERMINAL, FORMULA)),
    )
    return written(
        tmp_path_factory.mktemp("hostile"), names, f"{HTML} {LATEX} {TERMINAL} {MARKDOWN} {DATA}"
    )


@pytest.fixture(scope="module")
def tame(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(
        tmp_path_factory.mktemp("tame"),
        tuple(f"name{i}" for i in range(len(CLASSES))),
        "A plain title",
    )


@pytest.fixture(scope="module", params=["en", "zh"])
def pages(request: pytest.FixtureRequest, hostile: Written, tame: Written) -> list[dict[str, str]]:
    """The texts of both reports by name, in each language; in English as they are on disk."""
    if request.param == "en":
        return [
            {name: found.text(name) for name in ("report.html", "report.md", "ablation.tex")}
            for found in (hostile, tame)
        ]
    return [
        texts(read(found.record, found.folder.parent), {}, request.param)
        for found in (hostile, tame)
    ]


def outside_figures(source: str) -> str:
    return re.sub(r"<svg.*?</svg>", "", source, flags=re.DOTALL)


def test_no_control_character_is_in_any_text_or_on_the_screen(
    hostile: Written, pages: list[dict[str, str]]
) -> None:
    written = [path for path in hostile.report.paths if path.suffix in TEXTS]
    assert {path.suffix for path in written} == set(TEXTS)
    for path in written:
        assert not CONTROL.search(path.read_bytes().decode("utf-8")), path.name
    assert not CONTROL.search(hostile.report.text)
    for found in pages[0].values():
        assert not CONTROL.search(found)
    assert not any(CONTROL.search(clean(warning)) for warning in hostile.report.warnings)
    assert "red" in hostile.report.text, "the names are there"
    assert "\\x1b[31m" in hostile.report.text


def test_no_file_is_named_by_a_user(hostile: Written, tame: Written) -> None:
    names, plain = ({str(p.relative_to(w.folder)) for p in w.report.paths} for w in (hostile, tame))
    assert names == plain
    assert all(re.fullmatch(r"(figures/|frames/)?[a-z_]+(-\d+)?\.[a-z]+", name) for name in names)


def test_the_page_has_no_element_and_no_attribute_that_its_twin_has_not(
    pages: list[dict[str, str]],
) -> None:
    sources = [found["report.html"] for found in pages]
    trees = [Tree(source) for source in sources]
    assert trees[0].wrong == trees[1].wrong == []
    assert trees[0].declared == trees[1].declared
    used, allowed = (
        {(tag, *sorted(attributes)) for tag, attributes in tree.tags} for tree in trees
    )
    assert used <= allowed
    counts = [
        Counter(
            (tag, *sorted(attributes))
            for tag, attributes in Tree(outside_figures(source)).tags
            if tag != "b"
        )
        for source in sources
    ]
    assert counts[0] == counts[1]


def test_nothing_in_the_page_leads_out_of_it_or_runs_but_its_own_script(
    pages: list[dict[str, str]],
) -> None:
    tree, twin = (Tree(found["report.html"]) for found in pages)
    assert tree.inside("script") == twin.inside("script")
    assert tree.inside("style") == twin.inside("style")
    policy = next(
        a["content"]
        for tag, a in tree.tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert (
        base64.b64encode(hashlib.sha256(tree.inside("script").encode()).digest()).decode() in policy
    )
    for tag, attributes in tree.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name.endswith(("href", "src")):
                assert str(value).startswith(("#", "data:image/png;base64,")), (tag, name, value)
            assert "javascript:" not in str(value) or name in ("title", "alt", "aria-label"), (
                tag,
                name,
            )
    assert clean(HTML) in tree.text, "shown as it is written"


def test_the_command_to_reproduce_is_quoted_for_a_shell(pages: list[dict[str, str]]) -> None:
    assert "git checkout '$(rm -rf ~)'" in Tree(pages[0]["report.html"]).inside("pre")
    fences = [token for token in tokens(pages[0]["report.md"]) if token.type == "fence"]  # type: ignore[attr-defined]
    *following, code = [fence.content for fence in fences]  # type: ignore[attr-defined]
    assert code.startswith("git checkout '$(rm -rf ~)'\n")
    assert code.count("\n") == 2
    known = shlex.split(code.splitlines()[1])
    assert following
    for line in following:  # the same words, and no command of anybody else's
        words = shlex.split(line)
        assert words[:2] == ["python", "-m"]
        assert line.count("\n") == 1
        own = {"--replicates", "--epochs", "--around", "best", "pipeline.export", "pipeline.ablate"}
        assert all(word in {*known, *own} or word.isdigit() for word in words)


def tokens(text: str) -> Iterator[object]:
    """All tokens of CommonMark with tables and raw HTML, those within lines too."""
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        yield token
        yield from token.children or ()


def check_markdown(text: str, twin: str, *, images: str, links: str, raw: str) -> None:
    """Built of the same blocks as `twin`; `images`, `links` and `raw` HTML match these patterns."""
    found = list(tokens(text))
    kinds = {
        "strong_open",
        "strong_close",
        "text",
        "softbreak",
    }  # which differ with lengths and bold letters
    built = [
        Counter(t.type for t in tokens(source) if t.type not in kinds) for source in (text, twin)
    ]  # type: ignore[attr-defined]
    assert built[0] == built[1]
    for token in found:
        if token.type == "image":  # type: ignore[attr-defined]
            assert re.fullmatch(images, token.attrs["src"])  # type: ignore[attr-defined]
        if token.type == "link_open":  # type: ignore[attr-defined]
            assert re.fullmatch(links, token.attrs["href"])  # type: ignore[attr-defined]
        if token.type in ("html_inline", "html_block"):  # type: ignore[attr-defined]
            assert re.fullmatch(raw, token.content)  # type: ignore[attr-defined]


def test_markdown_is_built_as_its_twin(pages: list[dict[str, str]]) -> None:
    text, twin = (found["report.md"] for found in pages)
    check_markdown(
        text,
        twin,
        images=r"figures/[a-z_]+(-\d+)?\.(svg|png)",
        links=r"#runs-\d+",
        raw=r'<a id="runs-\d+">|</a>',
    )
    shown = {token.content for token in tokens(text) if token.type == "text"}  # type: ignore[attr-defined]
    assert any(clean(HTML) in line for line in shown), "shown as it is written"
    assert "javascript:x" not in {str(token.attrs) for token in tokens(text)}  # type: ignore[attr-defined]


def test_a_markdown_name_that_is_not_escaped_would_be_noticed(tame: Written) -> None:
    twin = tame.text("report.md")
    for name in (HTML, MARKDOWN):
        with pytest.raises(AssertionError):
            check_markdown(
                twin.replace("name1", name),
                twin,
                images="figures/.*",
                links="#runs-.*",
                raw=r'<a id="runs-\d+">|</a>',
            )


def spreadsheet(text: str) -> Iterator[str]:
    """Cells that a spreadsheet would take for a formula."""
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            bare = cell.strip("\ufeff\u00a0 \t\r\n")
            if bare.startswith(RISKY) and not re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", bare):
                yield cell


def test_no_cell_of_a_sheet_is_a_formula(hostile: Written, tame: Written) -> None:
    assert set(spreadsheet('a,=1\n-5,"\t@x"\n-2e-05,x\n')) == {"=1", "\t@x"}
    sheets = sorted((hostile.folder / "frames").glob("*.csv"))
    assert len(sheets) == 7
    for path in sheets:
        text = path.read_bytes().decode()
        assert not list(spreadsheet(text)), path.name
        assert len(csv_rows(text)) == len(csv_rows(tame.text(f"frames/{path.name}"))), path.name
        assert len({len(row) for row in csv.reader(io.StringIO(text, newline=""))}) == 1, path.name


def test_parquet_holds_the_names_as_they_are(hostile: Written) -> None:
    arms = parquet.read_table(hostile.folder / "frames" / "arms.parquet")
    assert arms.column("arm").to_pylist() == [arm.name for arm, _ in hostile.record.study.arms()]
    classes = (
        parquet.read_table(hostile.folder / "frames" / "confusion.parquet")
        .column("true")
        .to_pylist()
    )
    assert set(classes) == set(hostile.names)


def test_figures_are_drawings_without_script_link_or_entity(
    hostile: Written, tame: Written
) -> None:
    drawings = sorted((hostile.folder / "figures").glob("*.svg"))
    assert len(drawings) >= 9
    for path in drawings:
        assert b"<!ENTITY" not in path.read_bytes()
        here, there = (
            list(ElementTree.parse(folder / "figures" / path.name).iter())
            for folder in (hostile.folder, tame.folder)
        )
        assert {element.tag for element in here} <= {element.tag for element in there} | {
            "{http://www.w3.org/2000/svg}text"
        }
        for element in here:
            for name, value in element.attrib.items():
                assert not name.startswith("on")
                if name.endswith("href"):
                    assert value.startswith(("#", "data:image/png;base64,"))
                assert "url(" not in value or "url(#" in value


def test_latex_is_closed_and_holds_no_command_but_ours(pages: list[dict[str, str]]) -> None:
    text, twin = (found["ablation.tex"] for found in pages)
    escapes = set(
        itertools.chain(
            *(re.findall(r"\\([a-zA-Z]+)", command) for command in letters.SPECIAL.values())
        )
    )
    used, ours = (
        set(re.findall(r"\\([a-zA-Z]+)", source.replace(r"\\", " "))) for source in (text, twin)
    )
    assert used <= ours | escapes | {
        "parbox",
        "raggedright",
        "strut",
        "medskip",
        "shortstack",
        "scriptsize",
    }
    assert set(re.findall(r"\\begin\{(\w+)\}", text)) == {"table", "tabular"}
    assert "^^" not in text
    bare = re.sub("(?m:^%.*$)", "", text)
    for command in sorted(letters.SPECIAL.values(), key=len, reverse=True):
        bare = bare.replace(command, "")
    assert not re.search(r"[$#^_]", bare)
    assert bare.count("{") == bare.count("}")
    comments = [line for line in text.splitlines() if "%" in re.sub(r"\\%", "", line)]
    assert comments
    assert all(
        line in twin.splitlines() or re.fullmatch(r"% runs: [\w, -]+", line) for line in comments
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles_and_reads_no_other_file(hostile: Written, tmp_path: Path) -> None:
    shutil.copy(hostile.folder / "ablation.tex", tmp_path)
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,amssymb,textcomp}"
    (tmp_path / "page.tex").write_text(head + r"\begin{document}\input{ablation}\end{document}")
    command = [
        "pdflatex",
        "-no-shell-escape",
        "-recorder",
        "-halt-on-error",
        "-interaction=nonstopmode",
        "page.tex",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "passwd" not in (tmp_path / "page.fls").read_text()
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_the_ledger_reads_back_as_it_was_written(hostile: Written) -> None:
    folder = hostile.folder.parent
    lines = (folder / FILE).read_bytes().decode("ascii").splitlines()
    assert not any(CONTROL.search(line) for line in lines)
    assert [json.loads(line)["seq"] for line in lines] == list(range(len(lines)))
    assert Record.of(read_events(folder)) == hostile.record
    assert hostile.record.data["classes"] == list(hostile.names)


def handed_over(found: Written) -> Facts:
    """What an exported model says, of the study's best run."""
    chosen = select(found.record)
    config = found.record.study.baseline
    artifact = Artifact(config, 3, 32, len(found.names), (0.5,) * 3, (0.25,) * 3)
    return Facts(found.record, chosen, artifact, 800, 200, with_onnx=True)


def of_two(facts: Facts) -> Ensembled:
    """An ensemble of the run and itself."""
    return Ensembled((facts, facts), None, None, independent=True)


WRITERS = {
    "one": (card, config_json),
    "ensemble": (
        lambda facts: ensemble_card(of_two(facts)),
        lambda facts: ensemble_json(of_two(facts)),
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_model_card_has_our_front_matter_and_no_markup_of_others(
    hostile: Written, tame: Written, kind: str
) -> None:
    in_words, in_json = WRITERS[kind]
    texts = [in_words(handed_over(found)) for found in (hostile, tame)]
    parts = [re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL) for text in texts]
    assert parts[0] is not None
    assert parts[1] is not None
    assert yaml.safe_load(parts[0][1]) == yaml.safe_load(parts[1][1])
    check_markdown(parts[0][2], parts[1][2], images="(?!)", links="(?!)", raw="(?!)")
    assert not CONTROL.search(texts[0])
    text = in_json(handed_over(hostile))
    assert not CONTROL.search(text)
    assert len(json.loads(text)["classes"]) == len(hostile.names)


def test_predictions_are_inert_and_whole() -> None:
    names = {f"{name}{number}.jpg": name for number, name in enumerate(CLASSES)}
    text = table(
        form_of(tuple(names), None, ())[0], names, {name: [0.5] for name in names}, ["=1+1"]
    )
    assert not CONTROL.search(text)
    assert not list(spreadsheet(text))
    assert len(csv_rows(text)) == len(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_one_escaped_name_is_one_line_of_text(name: str) -> None:
    found = list(tokens(markdown.escape(name)))
    assert {t.type for t in found} <= {
        "paragraph_open",
        "inline",
        "text",
        "text_special",
        "paragraph_close",
    }  # type: ignore[attr-defined]
    assert not CONTROL.search(clean(name))
