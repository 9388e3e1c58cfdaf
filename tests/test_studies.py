"""Every shipped study: a lab note that says what it costs, arms that differ, and a fallback
that anybody can run.
"""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.core.finished.final import Final
from pipeline.errors import UserError
from pipeline.session.cli import options, parser
from pipeline.session.dropped import without_idle_factors
from pipeline.session.parameter_matching import counts, matched
from pipeline.session.resolve import chosen
from pipeline.study.around import own_knobs
from pipeline.study.designs import LeaveOneOut
from pipeline.study.expression import parse
from pipeline.study.load import load_study
from pipeline.study.study import Study

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "pipeline" / "studies"
STUDIES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
EVERY_STUDY = pytest.mark.parametrize("name", STUDIES)


def test_photos_go_on_without_weights_by_one_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """The arm without transfer was the recipe itself, which was refused as a mistake."""
    key = "baseline.transfer.weights"
    photos = load_study("photos")
    assert [arm.name for arm, _ in photos.arms()][:2] == ["all 4", "without transfer"]
    bare = photos.override({key: ""}, source="--set")
    with pytest.raises(UserError, match="are the same configuration"):
        bare.arms()
    left = without_idle_factors(bare, {key: ""})
    assert [arm.name for arm, _ in left.arms()] == [
        "all 3",
        "without augmentation",
        "without falling rate",
        "without label smoothing",
        "none of them",
    ]
    assert "no factor any more, as nothing of it is left: transfer" in capsys.readouterr().err
    assert without_idle_factors(bare, {"baseline.epochs": 3}) is bare, "nobody asked for it"


def note(name: str) -> str:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return text.split('"""')[1]


def fallen(name: str) -> Study:
    """The study as its fallback makes it."""
    study = load_study(name)
    assert study.fallback is not None
    return study.override(study.fallback.overrides)


def asked(*flags: str) -> tuple[Study, Path | None, str]:
    """What the command line makes of the flags: study, folder of pictures, note."""
    found = chosen(options(parser("test", "", trains=True, searches=True), flags))
    return found.study, found.data, found.note


def commands(text: str, part: str) -> list[list[str]]:
    """The flags of the commands in `text` that hold `part`, as a shell reads them, over the ends of
    lines too.
    """
    return [
        shlex.split(words.replace("\n", " "))
        for words in re.findall(r"`(--[^`]+)`", text)
        if part in words
    ]


def num_epochs(study: Study) -> float:
    """Of the arms and, on average, of the search and of the arms' own searches."""
    arms = sum(config.epochs for _, config in study.arms()) * study.ablation.replicates
    trials = study.search.num_trials + sum(target.num_trials for target in study.targets())
    return arms + trials * study.search.ladder.expected(study.baseline.epochs)


@EVERY_STUDY
def test_a_study_is_legal_and_its_arms_differ(name):
    for study in (load_study(name), fallen(name)):
        study.check()
        prints = [config.fingerprint() for _, config in study.arms()]
        assert len(set(prints)) == len(prints) >= 2
        assert len({arm.name for arm, _ in study.arms()}) == len(prints)


@EVERY_STUDY
def test_the_search_begins_at_the_baseline(name):
    """But for its knobs that are no fields, of which something is derived."""
    for study in (load_study(name), fallen(name)):
        own = {path: study.space.knobs[path].edges()[0] for path in own_knobs(study.space)}
        assert study.space.point({**study.baseline.flat(), **own}) is not None


@EVERY_STUDY
def test_the_lab_note_has_its_parts(name):
    text = note(name)
    assert "Question:" in text
    assert "Cost:" in text
    assert name == "hw3" or "Expected reading:" in text
    assert not re.search(r"(?<!\w)/(?:home|tmp|work|mnt|data)/", text)


@EVERY_STUDY
def test_the_lab_note_says_what_the_budget_costs(name):
    """Within a tenth, so that whoever changes the budget changes the note."""
    stated = re.search(r"Cost:\s+about\s+([\d,]+)\s+epochs", note(name))
    assert stated is not None
    assert int(stated[1].replace(",", "")) == pytest.approx(num_epochs(load_study(name)), rel=0.1)


@EVERY_STUDY
def test_the_cuts_of_the_lab_note_work(name, monkeypatch):
    """What it gives for a machine without a GPU is legal and makes the study cheaper."""
    monkeypatch.chdir(ROOT)
    (flags,) = commands(note(name), "--epochs")
    study, _, _ = asked("--study", name, "--data", "pictures", *flags)
    assert num_epochs(study) < num_epochs(load_study(name)) / 2


@EVERY_STUDY
def test_without_pictures_the_study_falls_back(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = load_study(name)
    monkeypatch.delenv(study.data_env or "", raising=False)
    path = tmp_path / "study.json"
    path.write_text(study.model_dump_json(), encoding="utf-8")
    chosen, data, said = asked("--study", str(path))
    assert data is None
    assert said == study.fallback.note
    assert "digits" in said
    assert chosen.baseline.dataset.name == "digits"


@EVERY_STUDY
def test_pictures_lie_below_the_working_directory(name):
    study = load_study(name)
    assert study.data is not None
    assert study.data_env is not None
    assert not Path(study.data).is_absolute()


def test_every_study_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`(\w+)`\]\(pipeline/studies/(\w+)\.py\) \|", text, re.MULTILINE)
    assert sorted(rows) == [(name, name) for name in STUDIES]


def test_degradation_compares_networks_of_the_same_layers():
    arms = {arm.name: config.model for arm, config in load_study("degradation").arms()}
    assert {(model.plain, model.depth) for model in arms.values()} == {
        (True, 18),
        (False, 18),
        (True, 34),
        (False, 34),
    }
    assert arms["18 plain layers"].plain


def test_regularizers_leaves_each_one_out():
    study = load_study("regularizers")
    assert isinstance(study.ablation.design, LeaveOneOut)
    arms = {arm.name: config for arm, config in study.arms()}
    amounts = {
        name: (c.model.dropout, c.optimizer.weight_decay, c.augment.mixup, c.loss.smoothing)
        for name, c in arms.items()
    }
    assert all(amounts["all 4"])
    assert not any(amounts["none of them"])
    off = [amount.index(0.0) for name, amount in amounts.items() if name.startswith("without ")]
    assert sorted(off) == [0, 1, 2, 3]
    assert all(
        amount.count(0.0) == 1 for name, amount in amounts.items() if name.startswith("without ")
    )


def test_lenet_tuning_starts_from_the_original_network():
    study = load_study("lenet_tuning")
    model = study.baseline.model
    assert (model.activation, model.pool, model.norm, model.width) == ("sigmoid", "avg", "none", 6)
    rates = {config.model.activation: config.optimizer.lr for _, config in study.arms()}
    assert rates["sigmoid"] > rates["relu"]


def test_leaves_takes_transfer_as_its_note_says(monkeypatch):
    """The command of the note, with a file in place of a download."""
    monkeypatch.chdir(ROOT)
    (words,) = commands(note("leaves"), '"pretrained"')
    flags = [
        "--study",
        "leaves",
        "--data",
        "pictures",
        *(word.replace("pretrained", "other.pth") for word in words),
    ]
    study, _, _ = asked(*flags)
    weights = {arm.name: config.transfer.weights for arm, config in study.arms()}
    assert weights == {
        "baseline": "",
        "augmentation": "",
        "transfer": "other.pth",
        "augmentation + transfer": "other.pth",
    }
    with pytest.raises(UserError, match="allow_pretrained"):
        asked(*flags, "--set", "allow_pretrained=false")


def test_photos_does_without_published_weights_as_its_note_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    (words,) = commands(note("photos"), "transfer.weights= ")
    flags = ["--study", "photos", "--data", "pictures", *words, "--set", "allow_pretrained=false"]
    study, _, _ = asked(*flags)
    assert len(study.arms()) == 5
    assert not any(config.transfer.active for _, config in study.arms())
    with pytest.raises(UserError, match="allow_pretrained"):
        asked("--study", "photos", "--data", "pictures", "--set", "allow_pretrained=false")


def test_photos_leaves_transfer_out():
    weights = {arm.name: config.transfer.weights for arm, config in load_study("photos").arms()}
    assert [name for name, found in weights.items() if not found] == [
        "without transfer",
        "none of them",
    ]


@pytest.mark.parametrize(
    "name",
    ["activations", "hw3_report", "losses", "norms", "optimizers", "schedules", "transfer"],
)
def test_each_arm_is_tuned_at_a_rate_of_its_own(name):
    """As many trials each, and the learning rate alone."""
    for study in (load_study(name), fallen(name)):
        searches = study.targets()
        assert [target.arm for target in searches] == [arm.name for arm, _ in study.arms()]
        assert len({target.num_trials for target in searches}) == 1
        assert {slot.path for t in searches for slot in t.space.slots()} == {"optimizer.lr"}
        assert all(t.space.point(t.config.flat()) is not None for t in searches)


def test_batch_size_keeps_the_linear_rule():
    for study in (load_study("batch_size"), fallen("batch_size")):
        ruled = [c for arm, c in study.arms() if not arm.name.endswith("at the same rate")]
        shares = [config.optimizer.lr / config.batch_size for config in ruled]
        assert shares == pytest.approx([shares[0]] * 4)
        rate = study.space.derived["optimizer.lr"]
        assert parse(rate).value({"lr_per_64": 0.64, "batch_size": 100}) == pytest.approx(1)


def digits(study: Study) -> Study:
    """With the widths that match the reference's parameters on 8x8 grey pictures of ten classes."""
    return study.override({"ablation.matched": matched(study, 1, 8, 10)})


@pytest.mark.parametrize("name", ["cardinality", "hw3_report"])
def test_arms_have_the_references_parameters_as_nearly_as_nobody_is_warned(name):
    whole = load_study(name)
    size = whole.baseline.dataset.size
    real = whole.override({"ablation.matched": matched(whole, 3, size, 11)})
    for study, shape in ((real, (3, size, 11)), (digits(fallen(name)), (1, 8, 10))):
        goal, *others = counts(study, *shape).values()
        assert all(0.9 * goal <= number <= 1.1 * goal for number in others)


def test_cardinality_changes_the_block_alone():
    for study in (load_study("cardinality"), fallen("cardinality")):
        models = [config.model.model_dump() for _, config in study.arms()]
        own = {"name", "cardinality", "base_width", "scale", "reduction"}
        kept = [{key: model[key] for key in model.keys() - own} for model in models]
        shared = set.intersection(*({*one} for one in kept))
        assert {model["name"] for model in models} == {
            *("resnet", "resnext", "res2net", "se_resnet", "cbam_resnet")
        }
        assert all(one["depth"] == 50 for one in kept)
        assert len({tuple(sorted((k, str(one[k])) for k in shared)) for one in kept}) == 1


def test_hw3s_report_halves_the_depth():
    depths = [
        config.model.depth
        for arm, config in load_study("hw3_report").arms()
        if config.model.name == "cnn"
    ]
    assert depths == [5, 2]


def test_transfer_without_weights_trains_the_same_layers_of_fresh_ones():
    study = load_study("transfer")
    parts = {arm.name: config.transfer for arm, config in study.arms()}
    assert {name for name, part in parts.items() if not part.weights} == {
        "fresh weights",
        "head alone on fresh weights",
    }
    assert {part.train for part in parts.values()} == {"all", "last", "head"}
    fresh = {arm.name: config.transfer for arm, config in fallen("transfer").arms()}
    assert list(fresh) == list(parts)[:4]
    assert not any(part.weights for part in fresh.values())
    assert [part.train for part in fresh.values()] == [parts[name].train for name in fresh]
    assert "chance" in fallen("transfer").title, "what it asks then is something else"


def test_compression_takes_a_teacher_as_its_note_says(monkeypatch):
    """No arm by default, as no shipped file can be one."""
    monkeypatch.chdir(ROOT)
    (words,) = commands(note("compression"), '"distill.teacher"')
    study, _, _ = asked("--study", "compression", "--data", "pictures", *words)
    taught = {arm.name: config for arm, config in study.arms()}
    assert {name: config.distill.teacher for name, config in taught.items()} == {
        "half as wide": "",
        "taught": "model.safetensors",
    }
    assert len({config.model.width for config in taught.values()}) == 1


def test_compression_compares_the_same_trained_networks():
    for study in (load_study("compression"), fallen("compression")):
        configs = {arm.name: config for arm, config in study.arms()}
        narrow = configs.pop("half as wide")
        assert 2 * narrow.model.width == configs["as trained"].model.width
        plain = {"final": Final().model_dump()}
        assert len({config.override(plain).fingerprint() for config in configs.values()}) == 1
        kinds = [config.final.compress.name for config in configs.values()]
        assert kinds == ["none", "prune", "prune", "int8_dynamic", "int8_static", "half"]
