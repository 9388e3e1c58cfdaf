import itertools
import json
import typing

import pytest
from pydantic import ValidationError

from pipeline.core.augmentation.config import AUGMENTS, Notes
from pipeline.core.config import TrainConfig
from pipeline.core.losses import LOSSES
from pipeline.core.models import CNN, MODELS, ResNet18
from pipeline.core.optimizers import OPTIMIZERS, SGD, Adam, AdamW
from pipeline.core.schedules import SCHEDULES
from pipeline.core.transfer import Transfer
from pipeline.data.datasets import DATASETS
from pipeline.errors import UserError
from pipeline.frozen import explain, flatten, unplaced
from pipeline.study.designs import Factorial
from pipeline.study.study import Study
from tests.studies import small_study

UNIONS = {
    "model": MODELS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "augment": AUGMENTS,
    "dataset": DATASETS,
}
PARTS = [
    pytest.param(part, member, id=f"{part}-{member.__name__}")
    for part, members in UNIONS.items()
    for member in members
]
EVERY_MEMBER = pytest.mark.parametrize(("part", "member"), PARTS)
OPTIONS = {
    option
    for cls in (
        TrainConfig,
        Transfer,
        *(member for members in UNIONS.values() for member in members),
    )
    for field in cls.model_fields.values()
    if typing.get_origin(field.annotation) is typing.Literal
    for option in typing.get_args(field.annotation)
}
CANDIDATES = (
    False,
    0.05,
    0.25,
    0.5,
    1,
    3,
    30,
    150,
    True,
    "MNIST",
    "tests.studies:small_study",  # a part of one's own is any function
    "torch.nn.functional:cross_entropy",
    "resnet18",
    "weights.pth",
    "macro_f1",
    *sorted(OPTIONS, key=repr),
)


def name_of(member: type) -> str:
    return member.model_fields["name"].default


@EVERY_MEMBER
def test_a_part_starts_from_its_own_defaults(part, member):
    others = [
        TrainConfig(optimizer=SGD(lr=0.5, nesterov=True)),
        TrainConfig(augment=Notes(strength=1.5)),
    ]
    for config in others:
        made = getattr(config.override({f"{part}.name": name_of(member)}), part)
        assert isinstance(made, member)
        if getattr(config, part).name != made.name:
            assert made == (
                member(strength=1.5) if part == "augment" and config.augment.strength else member()
            )


def test_what_all_networks_share_is_kept_by_another_network():
    """Otherwise a narrower baseline would stand beside a wide ResNet."""
    config = TrainConfig(model=CNN(width=9, dropout=0.3))
    assert config.override({"model.name": "resnet18"}).model == ResNet18(width=9, dropout=0.3)
    assert config.override({"model.name": "resnet18", "model.width": 12}).model == ResNet18(
        width=12, dropout=0.3
    )


@EVERY_MEMBER
def test_json_and_flat_round_trips(part, member):
    config = TrainConfig().override({f"{part}.name": name_of(member)})
    assert TrainConfig.parse(json.loads(config.model_dump_json()), source="test") == config
    assert TrainConfig().override(config.flat()) == config
    assert list(config.flat()) == list(dict(flatten(config.model_dump(mode="json"))))
    assert config.flat()[f"{part}.name"] == name_of(member)


@EVERY_MEMBER
def test_every_single_field_is_part_of_the_identity(part, member):
    needed = {"model.norm": "batch"} if name_of(member) == "lenet" else {}  # hidden_norm is of it
    config = TrainConfig().override({f"{part}.name": name_of(member), **needed})
    own = {path: value for path, value in config.flat().items() if path.startswith(f"{part}.")}
    _every_field_counts(config, own)


def test_every_field_beside_the_parts_is_part_of_the_identity():
    config = TrainConfig.model_validate({"metrics": ["macro_f1"]})  # so that it may select
    _every_field_counts(config, config.flat())


def _every_field_counts(config, fields):
    for path, value in fields.items():
        if path.endswith(".name"):
            continue
        others = (_legal(config, path, new) for new in CANDIDATES if new != value)
        changed = list(itertools.islice((c for c in others if c and c != config), 2))
        assert changed, f"no candidate value fits {path}"
        assert all(other.fingerprint() != config.fingerprint() for other in changed), path


def _legal(config, path, value):
    try:
        return config.override({path: value})
    except UserError:
        return None


def test_members_differ_in_identity():
    for part in UNIONS:
        members = [member for name, member in (p.values for p in PARTS) if name == part]
        prints = {
            TrainConfig().override({f"{part}.name": name_of(m)}).fingerprint() for m in members
        }
        assert len(prints) == len(members) > 1


def test_equal_values_have_equal_fingerprints_however_they_are_written():
    base = TrainConfig().override({"optimizer.lr": 1.0, "epochs": 5})
    assert base.override({"optimizer.lr": 1}).fingerprint() == base.fingerprint()
    assert base.override({"epochs": "5"}).fingerprint() == base.fingerprint()
    tree = dict(reversed(base.model_dump(mode="json").items()))
    assert TrainConfig.parse(tree, source="test").fingerprint() == base.fingerprint()


def test_an_object_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrainConfig().epochs = 3


def test_override_leaves_the_original_alone_and_returns_a_whole():
    base = TrainConfig()
    before = base.model_dump_json()
    assert base.override({"model.width": 8, "augment.strength": 1}).model.width == 8
    assert base.model_dump_json() == before
    assert base.override({}) == base


def test_a_name_is_set_before_the_other_knobs_of_its_part_in_any_order():
    knobs = {"optimizer.momentum": 0.5, "optimizer.lr": 0.1, "optimizer.name": "sgd"}
    for order in (knobs, dict(reversed(knobs.items()))):
        assert TrainConfig().override(order).optimizer == SGD(lr=0.1, momentum=0.5)


def test_the_same_name_again_keeps_the_part():
    config = TrainConfig(optimizer=Adam(lr=0.01, weight_decay=0.5))
    assert config.override({"optimizer.name": "adam", "optimizer.lr": 0.1}).optimizer == Adam(
        lr=0.1, weight_decay=0.5
    )


def test_a_part_can_be_given_whole():
    assert TrainConfig().override({"optimizer": AdamW(lr=0.5)}).optimizer == AdamW(lr=0.5)


def test_the_name_of_a_study_is_no_part():
    study = small_study()
    renamed = study.override({"name": "other"})
    assert renamed.name == "other"
    assert renamed.override({"name": "small"}) == study


def test_keys_that_hold_dots_are_found():
    study = small_study()
    changed = study.override(
        {"space.knobs.model.dropout.high": 0.25, "ablation.design.on.dropout.model.dropout": 0.1},
        source="test",
    )
    assert changed.space.knobs["model.dropout"].high == 0.25
    assert isinstance(changed.ablation.design, Factorial)
    assert changed.ablation.design.on["dropout"] == {"model.dropout": 0.1}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "baseline.optimizer.lrr",
            1,
            ["baseline.optimizer.lrr: unknown key", "name, lr, weight_decay", "'lr'?"],
        ),
        (
            "baseline.optimzer.lr",
            1,
            ["baseline.optimzer.lr", "no part 'optimzer'", "did you mean 'optimizer'?"],
        ),
        (
            "baseline.optimizer.name",
            "adm",
            ["baseline.optimizer.name: unknown", "'adm'", "did you mean 'adam'?"],
        ),
        (
            "baseline.optimizer.momentum",
            0.9,
            ["baseline.optimizer.momentum: unknown key", "weight_decay"],
        ),
        ("baseline.model.bn_momentum", 0.05, ["did you mean 'baseline.bn_momentum'?"]),
        ("baseline.precision", "fp8", ["baseline.precision", "'fp8'", "auto, fp32, bf16, fp16"]),
        ("baseline.epochs", 0, ["baseline.epochs", "at least 1 is expected, got 0"]),
        ("baseline.epochs", 1.5, ["baseline.epochs", "a whole number is expected, got 1.5"]),
        ("baseline.epochs", "many", ["baseline.epochs", "a whole number is expected, got 'many'"]),
        ("baseline.epochs", None, ["baseline.epochs", "None"]),
        ("baseline.epochs.x", 1, ["baseline.epochs.x", "did you mean 'baseline.epochs'?"]),
        ("baseline.split.name", "kfold", ["'split' is a value", "did you mean 'baseline.split'?"]),
        ("baseline.optimizer.lr.name", 1, ["did you mean 'baseline.optimizer.lr'?"]),
        ("baseline.optimizer.lr", float("nan"), ["baseline.optimizer.lr", "finite", "nan"]),
        ("baseline.optimizer.lr", float("inf"), ["baseline.optimizer.lr", "finite"]),
        (
            "baseline.model",
            "resnet18",
            ["baseline.model", "'resnet18'", "did you mean 'baseline.model.name'?"],
        ),
        ("baseline", 5, ["baseline", "got 5"]),
        ("search.num_trials", -1, ["search.num_trials", "-1"]),
        (
            "space.knobs.model.dropout.lw",
            1,
            ["space.knobs.model.dropout.lw: unknown key", "did you mean 'low'?"],
        ),
        (
            "space.knobs.model.dropout.low",
            2,
            ["space.knobs.model.dropout: low must be below high", "low=2.0"],
        ),
        (
            "space.branches.optimizer.sgd.lr.kind",
            "flot",
            ["space.branches.optimizer.sgd.lr.kind", "'float'?"],
        ),
        ("ablation.design.name", "factor", ["ablation.design.name", "did you mean 'factorial'?"]),
        ("ablation.design.name", "arms", ["ablation.design.arms: this key is required"]),
        ("", 1, ["unknown key"]),
        (".", 1, ["no part ''"]),
        ("baseline..epochs", 1, ["baseline..epochs", "no part ''"]),
    ],
)
def test_a_wrong_override_is_answered_with_path_value_and_what_is_allowed(path, value, words):
    with pytest.raises(UserError) as caught:
        small_study().override({path: value}, source="here")
    lines = str(caught.value).splitlines()
    assert all(line.startswith("here: ") for line in lines)
    for word in words:
        assert word in str(caught.value)


def test_every_problem_is_named_at_once():
    wrong = {
        "baseline.optimzer.lr": 1,
        "baseline.epochs": 0,
        "baseline.batch_size": 0,
        "search.sampler": "gird",
    }
    with pytest.raises(UserError) as caught:
        small_study().override(wrong)
    for path in wrong:
        assert path in str(caught.value)


def test_a_hostile_key_or_value_cannot_drive_a_terminal():
    for knobs in (
        {"baseline.\x1b[2J": 1},
        {"\x1b]0;x\x07.y": 1},
        {"baseline.precision": "\x1b[2J\n"},
    ):
        with pytest.raises(UserError) as caught:
            small_study().override(knobs)
        assert str(caught.value).isprintable()


def test_a_study_that_is_no_mapping_is_refused():
    for tree in ([], None, "x", 3):
        with pytest.raises(UserError, match=r"test: \(whole\)"):
            Study.parse(tree, source="test")


def test_a_misspelt_field_of_a_part_is_told_with_those_there_are():
    with pytest.raises(ValidationError) as wrong:
        CNN(widht=4)
    (line,) = explain(wrong.value)
    assert line.startswith("widht: unknown key; got 'widht'; allowed: ")
    assert line.endswith("did you mean 'width'?")


def test_a_key_at_the_wrong_place_is_answered_with_its_place() -> None:
    assert unplaced("freeze_epochs", TrainConfig) == (
        "got 'freeze_epochs'; did you mean 'transfer.freeze_epochs'?"
    )
    assert unplaced("lr", TrainConfig).endswith("did you mean 'optimizer.lr'?")
    assert unplaced("epoch", TrainConfig).endswith("did you mean 'epochs'?")
    assert "allowed: dataset" in unplaced("name", TrainConfig)
