"""What is said of runs that did not fit their device's memory: as they run, and in the report."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.engine.order import Segment
from pipeline.engine.queue import Plan
from pipeline.record.record import Record
from pipeline.report.compose import FIGURES, document, read, texts
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.session.progress import Progress
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study
from tests.test_report_lang import strings


def needs(parts: int) -> Worker:
    """What has augmentation fits in so many parts."""
    return Worker(needs=lambda config: parts * (config.augment.strength > 0))


def recorded(folder: Path, worker: Worker) -> Record:
    return drive(open_plan(folder, small_study(num_trials=0, replicates=3)), worker)


def test_the_report_names_the_arms_that_were_cut_finer_than_asked(tmp_path: Path) -> None:
    findings = read(recorded(tmp_path / "cut", needs(4)))
    page = texts(findings, {})["report.md"]
    said = page[page.index("Memory: ") :].partition("\n")[0]
    assert "more parts than asked for, as they, or those of runs that take as much" in said
    assert "augmentation (3 of 3 runs, up to 4 parts)" in said
    assert "dropout + augmentation (3 of 3 runs, up to 4 parts)" in said
    assert "batch norm, mixing" in said
    say = Translator(catalogue("zh"), findings.ablation.scores)
    found = "\n".join(strings(translated(document(findings, FIGURES), say, title="")))
    assert "augmentation（3 次运行中的 3 次，至多 4 份）" in found
    assert "A step's batch" not in found
    plain = read(recorded(tmp_path / "plain", Worker()))
    assert "Memory: " not in texts(plain, {})["report.md"]


def test_trials_are_counted_and_what_fits_nowhere_is_a_hole_with_its_reason(
    tmp_path: Path,
) -> None:
    worker = Worker(
        needs=lambda config: (
            1000 if config.augment.strength > 0 else 2 * (config.optimizer.name == "adam")
        )
    )
    record = drive(open_plan(tmp_path, small_study(num_trials=3, replicates=1)), worker)
    page = texts(read(record), {})["report.md"]
    num = sum(run.kind == "trial" and run.parts == 2 for run in record.runs.values())
    assert f"{num} trial{'s' * (num > 1)} of the search. A step's batch" in page
    assert "failed: no memory" in page


def test_it_is_told_once_when_a_run_begins_to_be_cut(tmp_path: Path) -> None:
    out, holder = io.StringIO(), list[Progress]()
    plan = open_plan(
        tmp_path,
        small_study(num_trials=4, replicates=1),
        listener=lambda event: [one.event(event) for one in holder],
    )
    with Progress(plan, Console(file=out, width=200), verbosity=0) as progress:
        holder.append(progress)
        drive(plan, Worker(needs=lambda config: 2 * (config.optimizer.name == "adam")))
    said = [
        line
        for line in out.getvalue().replace("\n    ", " ").splitlines()
        if "a batch is computed in" in line
    ]
    cut = [run for run in plan.record.runs.values() if run.parts]
    assert len(said) == len(cut) > 0
    assert said[0].endswith("trial 0  out of memory: from here on a batch is computed in 2 parts")
    like = "as much memory as others that ran out of it: a batch is computed in 2 parts"
    assert any(line.endswith(like) for line in said)


def test_what_one_run_found_out_others_of_its_memory_need_not(tmp_path: Path) -> None:
    """Nor does a later command; what takes more or less memory finds out by itself."""
    study = small_study(num_trials=0, replicates=3)
    asked: list[tuple[bool, int]] = []

    class Watched(Worker):
        def steps(self, plan: Plan, segment: Segment) -> list[Callable[[], None]]:
            asked.append((segment.config.augment.strength > 0, segment.parts))
            return super().steps(plan, segment)

    worker = Watched(needs=needs(4).needs)
    plan = open_plan(tmp_path, study)
    while len(asked) < 9 or asked[-1][1] == 2:  # killed where no run was found not to fit
        worker.run(plan, plan.next() or pytest.fail("nothing is left"))
    plan.ledger.close()
    record = drive(open_plan(tmp_path, study), worker)
    whole = [parts for heavy, parts in asked if not heavy]
    cut = [parts for heavy, parts in asked if heavy]
    assert set(whole) == {0}
    # two arms have augmentation: dropout is off in one of them, which is another weight
    assert sorted(cut) == [0, 0, 2, 2, *[4] * 6], "each weight found out once"
    assert all(run.parts == 4 for run in record.runs.values() if run.config["augment"]["strength"])
