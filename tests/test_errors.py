import pytest

from pipeline.errors import MachineError, PipelineError, UserError, choices, nearest, printable


def test_every_kind_of_error_has_its_own_exit_code():
    assert (PipelineError.exit_code, UserError.exit_code, MachineError.exit_code) == (1, 2, 4)


def test_a_hostile_text_cannot_drive_a_terminal():
    shown = printable("a\x1b[2J\nb\u202ec\udcff")
    assert shown.isprintable()
    assert shown == "a\\x1b[2J\\nb\\u202ec\\udcff"


@pytest.mark.parametrize("length", [9, 10, 11, 1000])
def test_long_texts_are_cut_to_the_limit(length):
    shown = printable("x" * length, 10)
    assert shown == ("x" * length if length <= 10 else "x" * 9 + "…")


def test_the_nearest_name_is_named_and_a_far_one_is_not():
    assert nearest("optimzer", ["model", "optimizer"]) == "; did you mean 'optimizer'?"
    assert nearest("zzz", ["model", "optimizer"]) == ""
    assert nearest("HW3", ["hw3", "leaves"]) == "; did you mean 'hw3'?", "capitals are a usual slip"


@pytest.mark.parametrize(
    "given",
    ["timm/resnet18", "hf_hub:timm/resnet18.a1_in1k", "hf-hub:timm/ResNet18", "timm:resnet18"],
)
def test_of_a_hubs_address_the_name_is_found(given):
    assert nearest(given, ["nf_resnet101", "resnet18d", "resnet18"]) == "; did you mean 'resnet18'?"


def test_choices_show_what_was_given_and_at_most_twenty_names():
    assert choices("adm", ["adam", "sgd"]) == "got 'adm'; allowed: adam, sgd; did you mean 'adam'?"
    assert choices(3, []) == "got 3; allowed: (none)"
    many = choices("?", [f"name{i}" for i in range(21)])
    assert "name19, …" in many
    assert "name20" not in many
