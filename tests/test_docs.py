"""What README, docs/ and the lab notes print can be given as it stands there: commands parse,
fields exist, Python runs; generated pages are what their scripts give. `make docs` checks links.
"""

import argparse
import importlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import pipeline
from benchmarks import lesson, site, studies_page
from pipeline.__main__ import COMMANDS
from pipeline.session.cli import Parser, options, parser
from pipeline.session.options import Options
from pipeline.session.resolve import chosen
from pipeline.study.load import load_study
from pipeline.study.names import SHIPPED, named
from tests.commands import _home

ROOT = Path(__file__).parents[1]
PAGES = [*map(ROOT.joinpath, ("README.md", "CONTRIBUTING.md")), *sorted(ROOT.glob("docs/**/*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
NOTES = {path.name: path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*.py"))}
CALL = re.compile(r"!?(?:python -m pipeline[. ]|ablation-pipeline )([a-z]+)\b(?![(.])(.*)")
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"``?([^`]+)``?")
RUN_ELSEWHERE = {
    "README.md": "test_door",
    "docs/extending.md": "test_extending",
    "docs/space.md": "here",
}
# flags in the text that are of other programs
OF_OTHERS = {"--gres", "--nodes", "--num-cpus", "--simulator", "--write", "--seeds", "--methods"}
OF_OTHERS |= {"--find-links", "--no-index"}  # pip's
OF_OTHERS |= {"--artifacts-destination", "--no-serve-artifacts"}  # MLflow's server's
OF_OTHERS |= {"--default-artifact-root", "--logdir"}
OF_OTHERS |= {"--device", "--only", "--out", "--sets", "--take", "--no-deps", "--strict"}


class Parsed(Exception):
    """Where a command has read its flags: it goes no further."""


def code(text: str) -> list[str]:
    """What a page shows as code: lines of its blocks, continued ones in one, and spans, which may
    run over the ends of lines.
    """
    blocks = FENCED.findall(text.replace("\\\n", " "))
    rest = FENCED.sub("", text)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [line for line in rest.splitlines() if line.startswith("    ")]
    return [line.strip() for line in lines] + [
        " ".join(span.split()) for span in SPAN.findall(rest)
    ]


def calls() -> list[tuple[str, str, tuple[str, ...]]]:
    """(page, command, its words) of each command in the pages and lab notes, once."""
    found: dict[tuple[str, str, tuple[str, ...]], None] = {}
    for page, text in (TEXTS | NOTES).items():
        for call in filter(None, map(CALL.match, code(text))):
            words = shlex.split(call[2], comments=True) if "…" not in call[2] else []
            if words or call[1] in ("ui", "caches", "studies"):  # else it is but named
                found[page, call[1], tuple(words)] = None
    return list(found)


CALLS = calls()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> dict[str, argparse.Namespace]:
    """What the last command has read; its `main` ends there."""
    last: dict[str, argparse.Namespace] = {}
    real = Parser.parse_args

    def stop(self: Parser, args: Any = None, namespace: Any = None) -> Any:
        last["args"] = real(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(Parser, "parse_args", stop)
    return last


def read(command: str, words: tuple[str, ...], parsed: dict[str, Any]) -> argparse.Namespace:
    """The words as the command reads them."""
    main = importlib.import_module(f"pipeline.{_home(command)}").main
    with pytest.raises(Parsed):
        main(list(words))
    return parsed["args"]


def test_the_pages_print_commands() -> None:
    assert len(CALLS) > 90
    assert {command for _, command, _ in CALLS} == set(COMMANDS)


def test_every_command_that_is_printed_is_one(parsed: dict[str, Any]) -> None:
    """With flags that it has, and a study's fields where it sets some."""
    wrong, trained = [], 0
    for page, command, words in CALLS:
        try:
            args = read(command, words, parsed)
            if hasattr(args, "sets") and args.study in named(SHIPPED):
                study = chosen(Options.of(f"pipeline.{command}", args)).study
                trained += bool(study.all_arms())
        except (SystemExit, pipeline.UserError) as error:
            wrong.append(f"{page}: {command} {shlex.join(words)}: {error}")
    assert not wrong
    assert trained > 50


def test_every_setting_that_is_named_is_one() -> None:
    """`--set PATH=VALUE` of the pages in a study of photos, of a lab note in its own."""
    asked = [
        (
            page,
            span,
            (("photos", "hw3", "leaves") if page in TEXTS else (page.removesuffix(".py"),)),
        )
        for page, text in (TEXTS | NOTES).items()
        for span in map(str.strip, code(text))
        if span.startswith("--set ") and "…" not in span and page != "docs/studies.md"
    ]
    wrong = [(page, span) for page, span, studies in asked if not any(map(taken(span), studies))]
    assert wrong == [("README.md", "--set dataset.set=CIFAR10")], "that is of dataset.name, before"
    assert len(asked) > 50


def taken(span: str) -> Callable[[str], bool]:
    """Whether a study can be asked for with these flags."""

    def fits(study: str) -> bool:
        flags = parser("pipeline.search", "", trains=True, searches=True)
        try:
            chosen(options(flags, ["--study", study, "--data", "pictures", *shlex.split(span)]))
        except (SystemExit, pipeline.UserError):
            return False
        return True

    return fits


def test_every_flag_that_is_named_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    known = set(OF_OTHERS)
    for command in COMMANDS:
        main = importlib.import_module(f"pipeline.{_home(command)}").main
        with pytest.raises(SystemExit):
            main(["--help"])
        known |= set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    known |= {"--version"}
    unknown = {
        f"{page}: {flag}"
        for page, text in (TEXTS | NOTES).items()
        for span in SPAN.findall(FENCED.sub("", text))
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)
        if flag not in known
    }
    assert not unknown


def test_every_block_of_python_is_run_by_a_test() -> None:
    assert {page for page, text in TEXTS.items() if "```python" in text} == set(RUN_ELSEWHERE)
    (block,) = re.findall(r"```python\n# studies/wide\.py\n(.*?)```", TEXTS["docs/space.md"], re.S)
    found: dict[str, Any] = {}
    exec(block, found)
    study = found["STUDY"]
    study.check()
    assert study.name == "wide"
    assert len(study.arms()) == 2


def test_every_example_of_the_text_makes_a_design() -> None:
    """The designs of docs/ablation.md, of one line each."""
    designs = pipeline.HOMES["pipeline.study.designs"].split()
    known = {name: getattr(pipeline, name) for name in designs}
    made = [
        eval(line, known)
        for line in TEXTS["docs/ablation.md"].splitlines()
        if re.fullmatch(r"    [A-Z]\w+\(.*\)", line)
    ]
    assert len(made) == 5
    assert all(len(design.expand()) >= 3 for design in made)


def test_the_page_of_the_studies_is_what_they_say() -> None:
    assert studies_page.page() == studies_page.PAGE.read_text(encoding="utf-8")


def test_what_is_kept_of_reports_is_of_shipped_studies_and_their_arms() -> None:
    kept = sorted(studies_page.REPORTS.glob("*.md"))
    assert {page.stem for page in kept} <= set(named(SHIPPED))
    for page in kept:
        study, text = load_study(page.stem), page.read_text(encoding="utf-8")
        fallen = study.override(study.fallback.overrides) if study.fallback else study
        assert all(arm.name in text for arm, _ in fallen.arms()), page.name
        assert fallen.question in text


def test_a_kept_screen_ends_before_the_advice_and_has_no_dead_links() -> None:
    report = "# T\n\nYes. See [x](#runs-1) and ![p](figures/a.svg)\n\n## What next\n\nmore\n"
    assert studies_page.first_screen(report) == "# T\n\nYes. See x and ![p](figures/a.svg)\n"


def test_the_statistics_say_what_their_figures_show() -> None:
    text = " ".join(TEXTS["docs/statistics.md"].split())
    missing = [words for words in lesson.phrases() if words not in text]
    assert not missing
    shown = set(re.findall(r"images/statistics-([\w-]+)\.svg", text))
    assert shown == set(lesson.FIGURES)
    assert all((lesson.FOLDER / f"statistics-{name}.svg").stat().st_size < 30_000 for name in shown)


def test_the_api_page_names_all_that_is_exported() -> None:
    assert sorted(site.names(TEXTS["docs/api.md"])) == sorted(pipeline.__all__)
    assert "::: pipeline.study.study.Study" in site.documented(TEXTS["docs/api.md"])


def test_links_lead_to_where_the_site_has_them() -> None:
    text = "[a](docs/search.md#x) [b](pipeline/studies) ![p](docs/images/report.png) [c](#d)"
    assert site.staged(text, "") == "[a](search.md#x) b ![p](images/report.png) [c](#d)"
    assert site.staged("[m](../README.md#your-own-study) [n](nowhere.md)", "docs") == (
        "[m](manual.md#your-own-study) [n](nowhere.md)"
    )


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r": (\w+\.md)$", text, re.MULTILINE))
    pages = {page.name for page in ROOT.glob("docs/*.md")}
    assert listed == pages | set(site.FROM_ROOT.values())


def test_the_manifest_for_kubernetes_runs_a_command_that_there_is_on_one_volume() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    job = yaml.safe_load(found)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "pipeline.search"]
    flags = parser("pipeline.search", "", trains=True, searches=True)
    asked = options(flags, words[3:])
    assert asked.address == "auto"
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert [group["rayStartParams"].get("num-cpus") for group in groups] == ["0", None]
    pods = [group["template"]["spec"] for group in groups]
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for pod, container in zip(pods, containers, strict=True):
        ((volume,), (mount,)) = (pod["volumes"], container["volumeMounts"])
        assert volume["name"] == mount["name"]
        assert Path(asked.mlruns).is_relative_to(mount["mountPath"])
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
