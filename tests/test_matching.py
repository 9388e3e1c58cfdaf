"""Arms with as many parameters as the reference."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from asked import chosen, options
from records import Scribe
from rich.console import Console
from studies import small_study

from pipeline.errors import UserError
from pipeline.machine import resources
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record
from pipeline.report import write_report
from pipeline.session.dry_run import dry_run
from pipeline.session.opening import open_record, prepare
from pipeline.session.parameter_matching import counts, matched, num_params
from pipeline.session.preflight import external_files
from pipeline.session.resume import require_same
from pipeline.study.designs import Arms, Factorial
from pipeline.study.study import Ablation, Study

SHAPE = (3, 32, 10)
RESNET = {"baseline": {}, "ResNet": {"model.name": "resnet18"}}


def study_of(arms: dict[str, dict[str, Any]], match: str = "model.width", **baseline: Any) -> Study:
    study = small_study(replicates=3)
    changed = {
        "baseline": study.baseline.override(baseline),
        "ablation": Ablation(design=Arms(arms=arms), match=match, replicates=3),
    }
    return study.model_copy(update=changed)


def with_numbers(study: Study) -> Study:
    return study.override({"ablation.matched": matched(study, *SHAPE)})


@pytest.mark.parametrize("name", ["resnet18", "lenet", "vgg", "nin"])
@pytest.mark.parametrize("width", [8, 33])
def test_the_nearest_number_is_found(name: str, width: int) -> None:
    """Against every number near it."""
    study = study_of({"baseline": {}, "other": {"model.name": name}}, **{"model.width": width})
    if "model.width" not in study.arms()[1][1].flat():
        pytest.skip("no width")
    number = matched(study, *SHAPE)["other"]
    config = study.arms()[1][1]
    goal = num_params(study.arms()[0][1], *SHAPE)
    gaps = {
        n: abs(num_params(config.override({"model.width": n}), *SHAPE) - goal)
        for n in range(max(2, number - 3), number + 4)
        if _legal(config, n)
    }
    assert gaps[number] == min(gaps.values())


def _legal(config: Any, number: int) -> bool:
    try:
        return num_params(config.override({"model.width": number}), *SHAPE) > 0
    except (UserError, ValueError):
        return False


def test_counted_parameters_are_those_of_the_network() -> None:
    study = with_numbers(study_of(RESNET, **{"model.width": 16}))
    for arm, config in study.arms():
        model = config.model.build(*SHAPE)
        assert counts(study, *SHAPE)[arm.name] == sum(p.numel() for p in model.parameters())


def test_an_arm_with_the_references_network_keeps_its_number() -> None:
    study = study_of({"baseline": {}, "aug": {"augment.strength": 1.0}}, **{"model.width": 12})
    assert matched(study, *SHAPE) == {"aug": 12}


def test_an_ensembles_networks_are_narrow_enough_together() -> None:
    study = with_numbers(study_of({"baseline": {}, "trio": {"members": 3}}, **{"model.width": 32}))
    assert study.ablation.matched["trio"] < 32
    one, trio = counts(study, *SHAPE).values()
    assert trio == pytest.approx(one, rel=0.1)


def test_the_stored_study_is_read_back_and_its_arms_take_the_numbers() -> None:
    study = with_numbers(study_of(RESNET, **{"model.width": 16}))
    again = Study.parse(study.model_dump(mode="json"), source="ledger")
    assert again.flat() == study.flat()
    arm, config = again.arms()[1]
    assert config.flat()["model.width"] == study.ablation.matched["ResNet"] != 16
    assert arm.overrides["model.width"] == study.ablation.matched["ResNet"]
    assert again.arms()[0][1].flat()["model.width"] == 16
    assert external_files(again) == {}


def test_nothing_is_matched_unless_it_is_asked_for() -> None:
    assert matched(study_of(RESNET, match=""), *SHAPE) == {}


@pytest.mark.parametrize(
    ("arms", "match", "said"),
    [
        (RESNET, "model.widht", "did you mean 'model.width'"),
        (RESNET, "model.dropout", "no whole number"),
        (
            RESNET | {"narrow": {"model.width": 4}},
            "model.width",
            "'narrow': ablation.match: model.width: the arm sets it",
        ),
        (
            RESNET | {"whole": {"model": {"name": "cnn", "width": 4}}},
            "model.width",
            "'whole': ablation.match: model.width",
        ),
        (
            {"baseline": {}, "vit": {"model.name": "vit"}},
            "model.width",
            "arm 'vit': ablation.match: no whole number",
        ),
        (RESNET, "batch_size", "got 'batch_size'; allowed: model.width"),
    ],
)
def test_what_cannot_be_matched_is_refused_before_anything_is_read(
    arms: dict[str, dict[str, Any]], match: str, said: str
) -> None:
    with pytest.raises(UserError, match=r"arm '") as error:
        study_of(arms, match).check()
    assert said in str(error.value)


def test_a_reference_out_of_reach_is_warned_of_in_report_and_terminal(tmp_path: Path) -> None:
    """The narrowest VGG is larger than the narrowest CNN."""
    study = study_of(
        {"baseline": {}, "deep": {"model.name": "vgg"}}, **{"model.width": 2, "epochs": 2}
    )
    study = with_numbers(study)
    sizes = counts(study, *SHAPE)
    assert sizes["deep"] > 1.1 * sizes["baseline"]
    scribe = Scribe(tmp_path / "study", study)
    scribe.session()
    for replicate in (1, 2, 3):
        for arm, size in sizes.items():
            scribe.arm(arm, replicate, num_params=size)
    report = write_report(scribe.record(), tmp_path / "report")
    warnings = [warning for warning in report.warnings if "not matched" in warning]
    assert len(warnings) == 1
    assert warnings[0].startswith("deep: even the nearest model.width")
    assert "the arms are not matched" in " ".join(report.text.split())
    page = (tmp_path / "report/report.md").read_text()
    assert "Parameter-matched" in page
    assert f"{sizes['deep']:,}" in page


def test_a_session_matches_once_and_compares_equal_when_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, means = chosen(study_of(RESNET, **{"model.width": 6})), resources(1, 0)
    given = options(tmp_path / "mlruns")
    begun, data = prepare(given, asked, Record(), means, Console(width=300))
    number = begun.ablation.matched["ResNet"]
    params = counts(begun, 1, 8, 10)
    assert f"ResNet {number}: {params['ResNet']:,}" in " ".join(capsys.readouterr().out.split())
    with Ledger(tmp_path / "study") as ledger:
        record = Record()
        ledger.listener = record.apply
        open_record(begun, data, ledger, record, given, asked, means)
    again, _ = prepare(given, asked, record, means, Console(width=300))
    assert again == begun == record.study
    require_same(record, again, data, {}, tmp_path)
    assert "matched" not in capsys.readouterr().out
    other = chosen(study_of(RESNET, "", **{"model.width": 6}))
    with pytest.raises(UserError, match=r"ablation\.match: recorded 'model.width', now ''"):
        require_same(record, prepare(given, other, record, means, Console())[0], data, {}, tmp_path)


def test_a_dry_run_plans_the_networks_that_are_trained(tmp_path: Path) -> None:
    asked, given = chosen(study_of(RESNET, **{"model.width": 6})), options(tmp_path / "mlruns")
    trained, _ = prepare(given, asked, Record(), resources(1, 0), Console())
    plan = next(dry_run(given, asked, tmp_path, nullcontext, with_search=False))
    width = trained.ablation.matched["ResNet"]
    assert f"ResNet: model.name=resnet18, model.width={width}\n" in plan


def test_a_factorial_is_matched_arm_by_arm() -> None:
    study = small_study()
    design = Factorial(on={"ResNet": {"model.name": "resnet18"}, "aug": {"augment.strength": 1.0}})
    study = study.model_copy(update={"ablation": Ablation(design=design, match="model.width")})
    found = matched(study, *SHAPE)
    assert found["ResNet"] == found["ResNet + aug"]
    assert set(found) == {"ResNet", "aug", "ResNet + aug"}
