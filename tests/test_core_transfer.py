import argparse
import copy
import io
import json
import pickle
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from pipeline.core import foreign, libraries, weights
from pipeline.core.models import CNN, MODELS
from pipeline.core.models.alexnet import AlexNet
from pipeline.core.models.convnext import ConvNeXt
from pipeline.core.models.densenet import DenseNet
from pipeline.core.models.efficientnet import EfficientNet
from pipeline.core.models.external import Library
from pipeline.core.models.mobilenet import MobileNet
from pipeline.core.models.resnet import ResNet
from pipeline.core.models.resnext import ResNeXt
from pipeline.core.models.shufflenet import ShuffleNet
from pipeline.core.models.timm_arch import Timm
from pipeline.core.models.vgg import VGG
from pipeline.core.models.vit import ViT
from pipeline.core.transfer import Transfer, has_published, library_sources, published_source
from pipeline.errors import UserError

NUM_CLASSES, SIZE = 5, 32
UNPUBLISHED = "densenet264d"  # a name of timm without weights


def small(member: Any) -> Any:
    """A member at a width that trains in an instant, where it has one."""
    knobs: dict[str, Any] = {"variant": "x0.5"} if member is ShuffleNet else {}
    knobs |= {"variant": "v3_small"} if member is MobileNet else {}
    width = member.model_fields.get("width")
    return member(**knobs, **({"width": 4} if width and width.default > 8 else {}))


NETWORKS = [small(member) for member in MODELS]
EVERY = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)


NAMES = tuple("abcde")


def made(
    network: Any,
    transfer: Transfer,
    *,
    seed: int = 0,
    num_classes: int = NUM_CLASSES,
    classes: tuple[str, ...] = NAMES,
) -> nn.Module:
    torch.manual_seed(seed)
    model = network.build(3, SIZE, num_classes)
    return weights.apply(transfer, network, model, num_classes=num_classes, classes=classes)


def save_ours(model: nn.Module, path: Path, classes: tuple[str, ...] = NAMES) -> str:
    """As a finished run leaves its weights: with the names of its classes."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, path, metadata={"classes": json.dumps(classes)})
    return str(path)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed_by_a_step(model: nn.Module) -> set[str]:
    """The names of what a training step changes, statistics of norms included."""
    before = state(model)
    model.eval().train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=0.1, weight_decay=0.1)
    torch.manual_seed(1)
    logits = model(torch.randn(4, 3, SIZE, SIZE))
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    optimizer.step()
    return {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }


def below(names: set[str], parts: list[str]) -> set[str]:
    return {name for name in names if any(name.startswith(f"{part}.") for part in parts)}


def below_not(model: nn.Module, head: str) -> dict[str, torch.Tensor]:
    return {
        name: value for name, value in model.state_dict().items() if not name.startswith(f"{head}.")
    }


@EVERY
def test_off_is_the_network_itself(network: Any) -> None:
    torch.manual_seed(0)
    model = network.build(3, SIZE, NUM_CLASSES)
    before, random = state(model), torch.get_rng_state()
    assert weights.apply(Transfer(), network, model, num_classes=NUM_CLASSES) is model
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


@EVERY
def test_head_alone_leaves_all_else_bit_for_bit(network: Any) -> None:
    model = made(network, Transfer(train="head"))
    head = weights.find_head(model, NUM_CLASSES)
    assert changed_by_a_step(model) == below(set(model.state_dict()), [head])


@EVERY
def test_last_changes_the_last_stages_alone(network: Any) -> None:
    model = made(network, Transfer(train="last"))
    head = weights.find_head(model, NUM_CLASSES)
    stages = weights.stages(model, head)
    assert len(stages) >= 2
    trained = below({name for name, _ in model.named_parameters()}, [head, *stages[-1]])
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trained
    changed = changed_by_a_step(model)
    assert changed == below(changed, [head, *stages[-1]])
    assert below(changed, [head])
    assert below(changed, stages[-1])


@EVERY
def test_stages_hold_every_module_with_weights_once(network: Any) -> None:
    with torch.device("meta"):
        model = network.build(3, SIZE, NUM_CLASSES)
    head = weights.find_head(model, NUM_CLASSES)
    parts = [part for stage in weights.stages(model, head) for part in stage]
    inside = {name for name, _ in model.named_parameters() if "." in name} - below(
        set(model.state_dict()), [head]
    )
    for name in inside:
        assert sum(name.startswith(f"{part}.") for part in parts) == 1
    order = [name for name, _ in model.named_modules()]
    assert parts == sorted(parts, key=order.index)


@EVERY
def test_hidden_puts_a_layer_into_a_new_head(network: Any) -> None:
    plain = made(network, Transfer())
    head = weights.find_head(plain, NUM_CLASSES)
    model = made(network, Transfer(hidden=12, train="head"))
    new: Any = model.get_submodule(head)
    assert [type(layer) for layer in new] == [
        type(new[0]),
        nn.ReLU,
        nn.Dropout if network.dropout else nn.Identity,
        type(new[0]),
    ]
    assert [tuple(p.shape[:2]) for p in (new[0].weight, new[3].weight)] == [
        (12, new[0].weight.shape[1]),
        (NUM_CLASSES, 12),
    ]
    own = model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in below_not(plain, head).items())
    assert changed_by_a_step(model) == {
        f"{head}.{rest}" for rest in ("0.weight", "0.bias", "3.weight", "3.bias")
    }


@EVERY
def test_a_file_gives_its_weights_exactly(network: Any, tmp_path: Path) -> None:
    source = made(network, Transfer(), seed=7)
    changed_by_a_step(source)  # so that statistics of norms are not at their defaults
    transfer = Transfer(weights=save_ours(source, tmp_path / "best.safetensors"))
    model = made(network, transfer)
    learnt, loaded = source.state_dict(), model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in learnt.items())
    # other classes: all but the head
    other = made(network, transfer, num_classes=NUM_CLASSES + 2)
    head = weights.find_head(other, NUM_CLASSES + 2)
    fresh = made(network, Transfer(), num_classes=NUM_CLASSES + 2).state_dict()
    for name, value in other.state_dict().items():
        expected = fresh if name.startswith(f"{head}.") else learnt
        assert torch.equal(value, expected[name]), name


def test_a_head_of_two_layers_is_loaded_too(tmp_path: Path) -> None:
    network = CNN(width=4, dropout=0.2)
    source = made(network, Transfer(hidden=6), seed=7)
    save_ours(source, tmp_path / "best.safetensors")
    model = made(network, Transfer(hidden=6, weights=str(tmp_path / "best.safetensors")))
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in source.state_dict().items()
    )


WRAPS: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "plain.pth": dict,
    "parallel.pth": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3},
    "compiled.pt": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "stacked.pth.tar": lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}},
    "lightning.ckpt": lambda s: {
        "state_dict": {f"model.{k}": v for k, v in s.items()},
        "optimizer_states": [{}],
    },
    "hub.bin": lambda s: {f"backbone.{k}": v for k, v in s.items()} | {"queue": torch.zeros(2, 3)},
    "encoder.pth": lambda s: {"model_state_dict": {f"encoder.{k}": v for k, v in s.items()}},
    "net.pth": lambda s: {"net": s, "acc": 93.1},
    "deep.pth": lambda s: {"checkpoint": {"student": {"model": s}}},
    "timm.pth.tar": lambda s: {
        "state_dict": s,
        "args": argparse.Namespace(lr=0.1, output=Path("out"), betas=(0.9, 0.99)),
        "metric": np.float64(81.2),
        "best": np.array([1.5, 2.5])[0],
        "num": np.int64(3),
    },
}


@pytest.mark.parametrize("name", WRAPS)
def test_checkpoints_of_others_are_read(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All but the head, which is of other classes for all that the file says."""
    source = made(CNN(width=4), Transfer(), seed=7)
    torch.save(WRAPS[name](source.state_dict()), tmp_path / name)
    model = made(CNN(width=4), Transfer(weights=str(tmp_path / name)))
    fresh = made(CNN(width=4), Transfer())
    for key in source.state_dict():
        expected = fresh if key.startswith("12.") else source
        assert torch.equal(model.state_dict()[key], expected.state_dict()[key]), key
    assert "24 of 24 parameters taken" in caplog.text
    assert "the head is new: the file does not say which classes its own is for" in caplog.text


def test_of_several_tables_that_fit_the_first_is_taken_and_the_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (made(CNN(width=4), Transfer(), seed=seed) for seed in (7, 8))
    torch.save(
        {"model": first.state_dict(), "model_ema": second.state_dict()}, tmp_path / "both.pth"
    )
    model = made(CNN(width=4), Transfer(weights=str(tmp_path / "both.pth")))
    assert torch.equal(model.get_parameter("0.0.weight"), first.get_parameter("0.0.weight"))
    assert "found in 'model' (model_ema would fit as well)" in caplog.text


@pytest.mark.parametrize("classes", [("b", "a", "c", "d", "e"), ("other", *NAMES[1:])])
def test_a_head_of_as_many_other_classes_is_not_taken(
    classes: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, fresh = made(CNN(width=4), Transfer(), seed=7), made(CNN(width=4), Transfer())
    model = made(
        CNN(width=4), Transfer(weights=save_ours(source, tmp_path / "best.safetensors", classes))
    )
    assert torch.equal(model.get_parameter("12.weight"), fresh.get_parameter("12.weight"))
    assert torch.equal(model.get_parameter("0.0.weight"), source.get_parameter("0.0.weight"))
    assert "the head is new: it was learnt on other classes" in caplog.text


def theirs(source: str) -> nn.Module:
    """A library's network whose norms are those of no fresh one."""
    torch.manual_seed(3)
    model = libraries.create(source, 3, 1000)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, mean in (
                (module.weight, 1.0),
                (module.bias, 0.0),
                (module.running_mean, 0.0),
            ):
                nn.init.normal_(value, mean, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


TWINS = [
    (ResNet(), "torchvision:resnet18"),
    (ResNet(depth=50, dropout=0.1), "torchvision:resnet50"),
    (ResNet(depth=34), "timm:resnet34"),
    (ResNeXt(), "torchvision:resnext50_32x4d"),
    (ResNeXt(), "timm:resnext50_32x4d"),
    (VGG(depth=13, norm="batch"), "torchvision:vgg13_bn"),
    (VGG(), "timm:vgg11"),
    (DenseNet(), "torchvision:densenet121"),
    (MobileNet(), "torchvision:mobilenet_v2"),
    (MobileNet(variant="v3_small"), "torchvision:mobilenet_v3_small"),
    (EfficientNet(), "torchvision:efficientnet_b0"),
    (ConvNeXt(variant="tiny"), "torchvision:convnext_tiny"),
    (Timm(arch="vit_base_patch32_224"), "torchvision:vit_b_32"),
    (ShuffleNet(), "torchvision:shufflenet_v2_x1_0"),
    (Timm(arch="googlenet"), "torchvision:googlenet"),
]


@pytest.mark.parametrize(
    ("network", "source"), TWINS, ids=lambda value: value if isinstance(value, str) else value.name
)
def test_the_files_of_libraries_give_their_outputs(
    network: Any, source: str, tmp_path: Path
) -> None:
    """As the libraries write them; the head, which is new here, is copied by hand."""
    other = theirs(source).eval()
    tensors = {name: value for name, value in other.state_dict().items() if value is not None}
    if "densenet" in source:  # the names in the file that torchvision publishes
        tensors = {
            re.sub(r"(layer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
            for name, value in tensors.items()
        }
        assert any(".norm.1." in name for name in tensors)
    torch.save(tensors, tmp_path / "weights.pth")
    torch.manual_seed(0)
    if isinstance(network, VGG):  # 130 million weights that all come from the file are not drawn
        with torch.device("meta"):
            model = network.build(3, 224, 1000)
        model = model.to_empty(device="cpu")
        nn.init.zeros_(model.get_submodule(weights.find_head(model, 1000)).weight)  # type: ignore[arg-type]
    else:
        model = network.build(3, 224, 1000)
    weights.apply(Transfer(weights=str(tmp_path / "weights.pth")), network, model, num_classes=1000)
    mine: Any = model.eval().get_submodule(weights.find_head(model, 1000))
    head: Any = other.get_submodule(weights.find_head(other, 1000))
    assert not torch.equal(mine.weight, head.weight)
    mine.load_state_dict(head.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = other(x)
        assert torch.allclose(
            model(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
        )


LARGE = {
    "torchvision:vgg16": VGG(depth=16),
    "timm:vgg13_bn": VGG(depth=13, norm="batch"),
    "torchvision:resnet101": ResNet(depth=101),
    "torchvision:resnext101_32x8d": ResNeXt(depth=101, base_width=8),
    "timm:vit_base_patch16_224": Timm(arch="vit_b_16"),
    "torchvision:vit_l_16": Timm(arch="vit_large_patch16_224"),
    "torchvision:densenet201": DenseNet(depth=201),
    "torchvision:efficientnet_b2": EfficientNet(variant="b2"),
    "torchvision:mobilenet_v3_large": MobileNet(variant="v3_large"),
    "torchvision:wide_resnet50_2": Timm(arch="wide_resnet50_2.tv_in1k"),
}


@pytest.mark.parametrize("source", LARGE)
def test_every_weight_of_a_larger_network_has_a_place_in_the_file_of_a_library(source: str) -> None:
    """Shapes alone: on a device without memory."""
    assert source in library_sources(LARGE[source])
    with torch.device("meta"):
        model = LARGE[source].build(3, 224, 1000)
        other = libraries.create(source, 3, 1000)
    form = foreign.library_form(source, model, weights.find_head(model, 1000))
    assert form is not None
    head, own = weights.find_head(other, 1000), model.state_dict()
    for name, value in other.state_dict().items():
        if not name.startswith(f"{head}."):
            assert own[form.names[name]].numel() == value.numel(), name


def test_networks_that_only_share_a_name_with_a_library_are_refused_in_one_clear_line(
    tmp_path: Path,
) -> None:
    torch.save(
        {f"module.{k}": v for k, v in theirs("torchvision:alexnet").state_dict().items()},
        tmp_path / "alexnet.pth",
    )
    with pytest.raises(UserError) as caught:
        made(AlexNet(), Transfer(weights=str(tmp_path / "alexnet.pth")))
    message = str(caught.value)
    assert re.search(
        r"weights of another network: [0-4] of 14 parameters agree in name and shape \(tried: its "
        r"own names",
        message,
    )
    assert "without the prefix 'module.features.'" in message
    assert "in the file: module.features.0.weight (64, 3, 11, 11)" in message
    assert "--set model.name=timm --set model.arch=NAME" in message
    assert message.isprintable()


def test_an_object_that_is_not_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    torch.save(made(CNN(width=4), Transfer()), tmp_path / "whole.pth")
    with pytest.raises(UserError) as caught:
        made(CNN(width=4), Transfer(weights=str(tmp_path / "whole.pth")))
    message = str(caught.value)
    assert "it holds an object of torch.nn.modules.container.Sequential" in message
    assert message.endswith("save the weights alone: torch.save(model.state_dict(), 'weights.pth')")
    assert message.isprintable()


class Bomb:
    """What a file may hold that somebody else made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_wrong_files_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files: dict[str, tuple[bytes | None, str]] = {
        "missing.safetensors": (None, "no such file"),
        "missing.pth": (None, "no such file"),
        "empty.pth": (b"", "cannot be read as weights"),
        "empty.safetensors": (b"", "cannot be read as weights"),
        "noise.safetensors": (bytes(range(256)), "cannot be read as weights"),
        "page.pth": (
            b"<!doctype html>",
            "cannot be read as weights: it is no file of PyTorch, or a damaged one",
        ),
        "pointer.pth": (
            b"version https://git-lfs.github.com/spec/v1\n",
            "cannot be read as weights: it is a pointer of Git LFS",
        ),
        "bomb.pth": (pickle.dumps(Bomb(), protocol=2), "cannot be read as weights"),
    }
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    files["list.pt"] = (buffer.getvalue(), "holds no weights by name")
    for name, (content, _) in files.items():
        if content is not None:
            Path(name).write_bytes(content)
    for name, (_, message) in files.items():
        with pytest.raises(
            UserError, match=re.escape(f"transfer.weights: '{name}': {message}")
        ) as caught:
            made(CNN(width=4), Transfer(weights=name))
        assert "\n" not in str(caught.value)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("value", ["pretraind", "weights.onnx", "imagenet"])
def test_weights_are_published_or_a_file(value: str) -> None:
    with pytest.raises(
        UserError,
        match=(
            rf"transfer: weights: got '{value}'; allowed: '', 'pretrained', or a file "
            r".safetensors"
        ),
    ):
        Transfer.parse({"weights": value}, source="transfer")
    with pytest.raises(UserError, match="did you mean 'pretrained'"):
        Transfer.parse({"weights": "pretraind"}, source="transfer")


def test_without_load_nothing_is_read() -> None:
    network = CNN(width=4)
    model = network.build(3, SIZE, NUM_CLASSES)
    before = state(model)
    transfer = Transfer(weights="missing.pth", train="head", hidden=7)
    weights.apply(transfer, network, model, num_classes=NUM_CLASSES, load=False)
    assert all(torch.equal(value, before[name]) for name, value in below_not(model, "12").items())
    assert {name for name, p in model.named_parameters() if p.requires_grad} == below(
        set(model.state_dict()), ["12"]
    )
    assert model.get_parameter("12.0.weight").shape[0] == 7


def test_weights_of_another_network_are_refused_with_numbers_and_names(tmp_path: Path) -> None:
    source = ResNet(width=8).build(3, SIZE, NUM_CLASSES)
    save_file(source.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(UserError) as caught:
        made(ResNet(width=4), Transfer(weights=str(tmp_path / "other.safetensors")))
    assert "0 of 60 parameters agree" in str(caught.value)
    assert "0.weight (4, 3, 7, 7)" in str(caught.value)
    assert "0.weight (8, 3, 7, 7)" in str(caught.value)


def test_what_a_file_lacks_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = made(CNN(width=4), Transfer(), seed=7).state_dict()
    del source["1.1.weight"]
    save_file(source, tmp_path / "part.safetensors")
    made(CNN(width=4), Transfer(weights=str(tmp_path / "part.safetensors")))
    assert "23 of 24 parameters taken; not in it: 1.1.weight (8,); the head is new" in caplog.text


def test_a_deeper_network_and_missing_statistics_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "resnet34.pth")
    made(ResNet(depth=18), Transfer(weights=str(tmp_path / "resnet34.pth")))
    assert "60 of 60 parameters taken" in caplog.text
    assert (
        "98 tensors of it have no place here: layer1.2.conv1.weight (64, 64, 3, 3)" in caplog.text
    )
    source = made(CNN(width=4), Transfer(), seed=7).state_dict()
    save_file(
        {k: v for k, v in source.items() if "running" not in k}, tmp_path / "bare.safetensors"
    )
    made(CNN(width=4), Transfer(weights=str(tmp_path / "bare.safetensors")))
    assert "norms have no running statistics in it and begin without" in caplog.text


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    source = made(CNN(width=4), Transfer(), seed=7).state_dict()
    source["1.1.weight"][0] = float("nan")
    save_file(source, tmp_path / "nan.safetensors")
    with pytest.raises(
        UserError, match=r"1 tensors hold values that are not finite: 1.1.weight \(8,\)"
    ):
        made(CNN(width=4), Transfer(weights=str(tmp_path / "nan.safetensors")))


def test_frozen_norms_stay_in_evaluation_in_every_copy() -> None:
    model = made(CNN(width=4), Transfer(train="head"))
    for again in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        norms = [module for module in again.train().modules() if isinstance(module, nn.BatchNorm2d)]
        assert again.training
        assert len(norms) == 5
        assert not any(norm.training for norm in norms)
    copied = copy.deepcopy(model)
    changed_by_a_step(copied)
    assert changed_by_a_step(model) == {"12.weight", "12.bias"}


def test_more_stages_than_there_are_is_refused() -> None:
    model = made(CNN(width=4), Transfer(train="last", num_last=7))
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(
        UserError, match=r"transfer.num_last: the network has 7 stages before its head \(got 8\)"
    ):
        made(CNN(width=4), Transfer(train="last", num_last=8))


def test_stages_are_what_their_authors_call_so() -> None:
    def found(network: Any) -> list[list[str]]:
        model = network.build(3, SIZE, NUM_CLASSES)
        return weights.stages(model, weights.find_head(model, NUM_CLASSES))

    assert found(Timm(arch="resnet18")) == [
        ["conv1", "bn1"],
        ["layer1"],
        ["layer2"],
        ["layer3"],
        ["layer4"],
    ]
    assert found(ShuffleNet()) == [["conv1"], ["stage2"], ["stage3"], ["stage4"], ["conv5"]]
    blocks = [[f"blocks.{i}"] for i in range(11)]
    assert found(ViT()) == [["patch_embed"], *blocks, ["blocks.11", "norm"]]


def test_networks_with_several_heads_are_refused() -> None:
    network = Timm(arch="pit_ti_distilled_224")
    model = network.build(3, 224, NUM_CLASSES)
    with pytest.raises(UserError, match=r"one head .got 'pit_ti_distilled_224', with 2"):
        weights.apply(Transfer(train="head"), network, model, num_classes=NUM_CLASSES)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, whatever this machine has, and empty caches."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    from huggingface_hub import constants

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


@pytest.mark.parametrize(
    "network", [MobileNet(), ShuffleNet(), ResNet(), Timm(arch="resnet18")], ids=lambda n: n.name
)
def test_without_a_network_it_says_what_to_do(network: Any, offline: Path) -> None:
    with pytest.raises(UserError) as caught:
        made(network, Transfer(weights="pretrained"))
    message = str(caught.value)
    assert "cannot get the published weights of" in message
    assert "transfer.weights to a file" in message
    assert "\n" not in message
    assert not list(offline.rglob("*.pth"))


@pytest.mark.parametrize("channels", [1, 3])
def test_published_weights_of_torchvision_are_taken(channels: int, offline: Path) -> None:
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.linspace(-0.1, 0.1, module.num_features)
    stored = {
        name: value for name, value in theirs.state_dict().items() if "num_batches" not in name
    }  # as in old files
    url = torchvision.models.get_model_weights("resnet18").DEFAULT.url
    (offline / "torch" / "checkpoints").mkdir(parents=True)
    torch.save(stored, offline / "torch" / "checkpoints" / url.rsplit("/")[-1])
    network, transfer = ResNet(), Transfer(weights="pretrained")
    model = weights.apply(
        transfer, network, network.build(channels, 64, NUM_CLASSES), num_classes=NUM_CLASSES
    ).eval()
    theirs.fc = model[-1]
    x = torch.randn(2, 1, 64, 64)
    expected = theirs.eval()(x.expand(-1, 3, -1, -1))
    np.testing.assert_allclose(
        model(x.expand(-1, channels, -1, -1)).detach(), expected.detach(), rtol=1e-4, atol=1e-5
    )


def test_published_weights_of_timm_are_taken_and_fitted_to_patches(offline: Path) -> None:
    """The hub's own cache, as a download leaves it."""
    import timm

    torch.manual_seed(3)
    theirs = timm.create_model("vit_tiny_patch16_224")
    commit = (
        offline
        / "hub"
        / "models--timm--vit_tiny_patch16_224.augreg_in21k_ft_in1k"
        / "snapshots"
        / ("a" * 40)
    )
    commit.mkdir(parents=True)
    (commit.parents[1] / "refs").mkdir()
    (commit.parents[1] / "refs" / "main").write_text("a" * 40)
    source = published_source(ViT(patch_size=8))
    assert libraries.to_download(source).startswith("model.safetensors of huggingface.co/timm/vit_")
    save_file(theirs.state_dict(), commit / "model.safetensors")
    assert libraries.to_download(source) == ""
    model: Any = made(ViT(patch_size=8), Transfer(weights="pretrained"))
    assert torch.equal(model.blocks[3].attn.qkv.weight, theirs.blocks[3].attn.qkv.weight)
    assert model.patch_embed.proj.weight.shape == (192, 3, 8, 8)
    fresh: Any = made(ViT(patch_size=8), Transfer())
    assert not torch.equal(model.patch_embed.proj.weight, fresh.patch_embed.proj.weight)
    assert not torch.equal(model.pos_embed, fresh.pos_embed)
    assert torch.equal(model.head.weight, fresh.head.weight)


def test_who_has_published_weights() -> None:
    assert all(has_published(network) for network in NETWORKS if isinstance(network, Library))
    assert has_published(ResNet(depth=101, dropout=0.3, zero_gamma=True))
    for network in (
        CNN(),
        ResNet(width=32),
        ResNet(plain=True),
        ResNet(activation="gelu"),
        Timm(arch=UNPUBLISHED),
    ):
        assert not has_published(network)
        with pytest.raises(
            UserError,
            match=r"transfer.weights: no published weights .* allowed: convnext, densenet",
        ):
            made(network, Transfer(weights="pretrained"))


def test_published_weights_bring_their_own_normalisation() -> None:
    published = Transfer(weights="pretrained")
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert weights.normalisation(published, ResNet()) == imagenet
    assert weights.normalisation(published, ShuffleNet()) == imagenet
    assert weights.normalisation(published, ViT()) == ((0.5,) * 3, (0.5,) * 3)
    assert weights.normalisation(published, ViT(), channels=1) == ((0.5,), (0.5,))
    assert weights.normalisation(published, CNN()) is None
    assert weights.normalisation(Transfer(), ResNet()) is None
    assert weights.normalisation(Transfer(weights="some.pth"), ResNet()) is None


def test_what_would_be_downloaded_is_named_without_asking_for_it(offline: Path) -> None:
    """And no more once it lies where torch keeps it."""
    said = libraries.to_download("torchvision:resnet18")
    address, size = said.split(" ", 1)
    assert (address[:8], address[-4:], size) == ("https://", ".pth", "(45 MB)")
    place = offline / "torch" / "checkpoints" / address.rpartition("/")[2]
    place.parent.mkdir(parents=True)
    place.touch()
    assert libraries.to_download("torchvision:resnet18") == ""
    assert libraries.to_download("timm:gcvit_tiny").endswith(".pth"), "of no hub"


def test_silence_is_given_up_and_settings_are_put_back(offline: Path) -> None:
    from huggingface_hub import constants

    before = (socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE)
    with pytest.raises(OSError, match="cannot find the requested files in the local cache"):
        libraries.published("timm:resnet18", 3)
    assert (socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE) == before
    assert not list(offline.rglob("*.safetensors"))
