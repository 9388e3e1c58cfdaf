"""The networks of 1998 to 2014: shapes of every layer at the original's size, parameter counts,
knobs.
"""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import vgg as torchvision_vgg

from pipeline.core.blocks import Branches, ScaledSigmoid
from pipeline.core.models.alexnet import AlexNet
from pipeline.core.models.base import Own
from pipeline.core.models.googlenet import GoogLeNet
from pipeline.core.models.lenet import LeNet
from pipeline.core.models.nin import NiN
from pipeline.core.models.vgg import VGG

CLASSIC = (LeNet, AlexNet, VGG, NiN, GoogLeNet)
CONVOLVES, POOLS = (nn.Conv2d,), (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
LAYERS = (*CONVOLVES, *POOLS, nn.Linear)
every_network = pytest.mark.parametrize("config", CLASSIC)


@dataclasses.dataclass
class Built:
    """A network on the meta device, where shapes cost nothing, and what each of its layers gave."""

    model: nn.Module
    logits: tuple[int, ...]
    layers: list[tuple[int, ...]]

    @property
    def num_params(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def on_meta(
    config: Own,
    size: int,
    channels: int = 1,
    num_classes: int = 10,
    kinds: tuple[type, ...] = LAYERS,
) -> Built:
    found: list[tuple[int, ...]] = []
    with torch.device("meta"):
        model = config.build(channels, size, num_classes)
        for module in model.modules():
            if isinstance(module, kinds):
                module.register_forward_hook(
                    lambda _, __, output: found.append(tuple(output.shape[1:]))
                )
        logits = model(torch.empty(2, channels, size, size))
    return Built(model, tuple(logits.shape), found)


def square(*maps: tuple[int, int]) -> list[tuple[int, ...]]:
    return [(channels, side, side) for channels, side in maps]


def kinds(model: nn.Module) -> set[type]:
    return {type(module) for module in model.modules()}


def test_lenet_is_the_textbooks_layer_by_layer() -> None:
    built = on_meta(LeNet(), 28)
    assert built.layers == [*square((6, 28), (6, 14), (16, 10), (16, 5)), (120,), (84,), (10,)]
    assert built.num_params == 61_706
    assert kinds(built.model) >= {nn.Sigmoid, nn.AvgPool2d}
    assert not kinds(built.model) & {
        nn.ReLU,
        nn.MaxPool2d,
        nn.BatchNorm2d,
        nn.Dropout,
        nn.Dropout2d,
    }


def test_lenet_has_its_variants() -> None:
    modern = kinds(on_meta(LeNet(activation="relu", pool="max"), 28).model)
    assert modern >= {nn.ReLU, nn.MaxPool2d}
    assert not modern & {nn.Sigmoid, nn.AvgPool2d}
    assert on_meta(LeNet(norm="batch"), 28).num_params == 61_706 + 2 * (6 + 16)
    assert on_meta(LeNet(width=12), 28).layers == [
        *square((12, 28), (12, 14), (32, 10), (32, 5)),
        (240,),
        (168,),
        (10,),
    ]


def test_alexnet_is_the_textbooks_layer_by_layer() -> None:
    built = on_meta(AlexNet(), 224)
    first = [(96, 54), (96, 26), (256, 26), (256, 12), (384, 12), (384, 12), (256, 12), (256, 5)]
    assert built.layers == [*square(*first), (4096,), (4096,), (10,)]
    linear = [
        module.in_features for module in built.model.modules() if isinstance(module, nn.Linear)
    ]
    assert linear == [
        6400,
        4096,
        4096,
    ]  # 256·5·5; 9216 would be 256·6·6, of a first convolution that gives 55
    convolutions = (
        (96 * 121 + 96)
        + (256 * 96 * 25 + 256)
        + (384 * 256 * 9 + 384)
        + (384 * 384 * 9 + 384)
        + (256 * 384 * 9 + 256)
    )
    assert (
        built.num_params
        == convolutions + (6400 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 10 + 10)
        == 46_764_746
    )


@pytest.mark.parametrize(
    ("depth", "convolutions"), [(11, (1, 1, 2, 2, 2)), (13, (2, 2, 2, 2, 2)), (16, (2, 2, 3, 3, 3))]
)
def test_vgg_has_the_papers_shapes(depth: Any, convolutions: tuple[int, ...]) -> None:
    expected: list[tuple[int, ...]] = []
    for channels, side, count in zip(
        (64, 128, 256, 512, 512), (224, 112, 56, 28, 14), convolutions, strict=True
    ):
        expected += square(*[(channels, side)] * count, (channels, side // 2))
    assert on_meta(VGG(depth=depth), 224, 3, 1000).layers == [*expected, (4096,), (4096,), (1000,)]


@pytest.mark.parametrize(
    ("depth", "norm", "num_params"),
    [
        (11, "none", 132_863_336),
        (13, "none", 133_047_848),
        (16, "none", 138_357_544),
        (11, "batch", 132_868_840),
        (13, "batch", 133_053_736),
        (16, "batch", 138_365_992),
    ],
)
def test_vgg_is_torchvisions(depth: Any, norm: Any, num_params: int) -> None:
    """All weights in the same order at full size; the same logits at a width of 4, which
    torchvision's pieces allow too.
    """
    with torch.device("meta"):
        theirs = getattr(torchvision_vgg, f"vgg{depth}{'_bn' * (norm == 'batch')}")()
    full = on_meta(VGG(depth=depth, norm=norm), 224, 3, 1000)
    assert [p.shape for p in full.model.parameters()] == [p.shape for p in theirs.parameters()]
    assert full.num_params == num_params

    torch.manual_seed(0)
    ours = VGG(depth=depth, norm=norm, width=4).build(3, 64, 5).eval()
    plan = torchvision_vgg.cfgs[{11: "A", 13: "B", 16: "D"}[depth]]
    features = torchvision_vgg.make_layers(
        [c if isinstance(c, str) else c // 16 for c in plan], batch_norm=norm == "batch"
    )
    theirs = torchvision_vgg.VGG(features, num_classes=5, init_weights=False).eval()
    theirs.avgpool = nn.Identity()
    theirs.classifier[0], theirs.classifier[3], theirs.classifier[6] = (
        nn.Linear(128, 256),
        nn.Linear(256, 256),
        nn.Linear(256, 5),
    )
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 64, 64)
    assert ours(x).std() > 1e-3
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-5)


def test_nin_is_the_papers_layer_by_layer() -> None:
    built = on_meta(NiN(), 224)
    blocks = [*[(96, 54)] * 3, (96, 26), *[(256, 26)] * 3, (256, 12), *[(384, 12)] * 3, (384, 5)]
    assert built.layers == square(*blocks, (1024, 5), (1024, 5), (10, 5), (10, 1))
    assert built.logits == (2, 10)
    assert nn.Linear not in kinds(built.model)
    first = [(1, 96, 11), (96, 256, 5), (256, 384, 3)]
    last = (384 * 1024 * 9 + 1024) + (1024 * 1024 + 1024) + (1024 * 10 + 10)
    assert built.num_params == sum(i * o * k * k + o + 2 * (o * o + o) for i, o, k in first) + last


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_nin_has_class_maps_without_norm_and_activation(norm: Any) -> None:
    model = on_meta(NiN(norm=norm), 224).model
    leaves = [type(m) for m in model.children() if not isinstance(m, nn.Identity)]
    assert leaves[-3:] == [nn.Conv2d, nn.AdaptiveAvgPool2d, nn.Flatten]


def test_googlenet_is_the_papers_stage_by_stage() -> None:
    blocks = on_meta(GoogLeNet(), 96, kinds=(Branches,)).layers
    third, fourth = square((256, 12), (480, 12)), square(*[(512, 6)] * 3, (528, 6), (832, 6))
    assert blocks == third + fourth + square((832, 3), (1024, 3))
    stages = on_meta(GoogLeNet(dropout=0.1, dropout_place="stages"), 96, kinds=(nn.Dropout2d,))
    assert stages.layers == square((64, 24), (192, 12), (480, 6), (832, 3), (1024, 3))
    assert on_meta(GoogLeNet(), 224, 3, 1000).num_params == 6_998_552


def test_googlenet_has_the_papers_inception_blocks() -> None:
    """Table 1 of the paper, a row a block: 1x1, 3x3, 5x5, after pooling."""
    built = on_meta(GoogLeNet(), 96)
    blocks = [
        list(module.children()) for module in built.model.modules() if isinstance(module, Branches)
    ]
    outs = [
        [[m.out_channels for m in branch.modules() if isinstance(m, nn.Conv2d)] for branch in block]
        for block in blocks
    ]
    assert outs[0] == [[64], [96, 128], [16, 32], [32]]
    assert outs[4] == [[128], [128, 256], [24, 64], [64]]
    assert outs[8] == [[384], [192, 384], [48, 128], [128]]
    kernels = [
        [m.kernel_size for m in branch.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d))]
        for branch in blocks[0]
    ]
    assert kernels == [[(1, 1)], [(1, 1), (3, 3)], [(1, 1), (5, 5)], [3, (1, 1)]]
    totals = [sum(branch[-1] for branch in block) for block in outs]
    assert totals == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_branches_stack_what_each_gives() -> None:
    torch.manual_seed(0)
    one, two = nn.Conv2d(3, 2, 1), nn.MaxPool2d(3, 1, 1)
    x = torch.randn(2, 3, 5, 5)
    y = Branches([one, two])(x)
    assert torch.equal(y[:, :2], one(x))
    assert torch.equal(y[:, 2:], two(x))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@every_network
def test_the_smallest_size_is_the_smallest_that_works(config: Any) -> None:
    smallest = config.min_size
    assert not on_meta(config(), smallest).model._forward_pre_hooks
    if smallest > 1:
        assert on_meta(config(), smallest - 1).model._forward_pre_hooks
        with pytest.raises(RuntimeError), torch.device("meta"):
            config().assemble(1, smallest - 1, 10)(torch.empty(2, 1, smallest - 1, smallest - 1))


@every_network
@pytest.mark.parametrize("width", [2, 5])
def test_any_width_gives_logits_and_finite_gradients(config: Any, width: int) -> None:
    torch.manual_seed(0)
    model = config(width=width).build(1, 28, 7)
    logits = model(torch.randn(3, 1, 28, 28))
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@every_network
@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "none"])
def test_every_convolution_has_its_norm(config: Any, norm: Any) -> None:
    model = on_meta(config(norm=norm), 96).model
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))]
    assert len(norms) == (0 if norm == "none" else len(convolutions) - (config is NiN))
    assert all(isinstance(m, nn.BatchNorm2d) == (norm == "batch") for m in norms)
    groups = {
        m.num_groups if norm == "layer" else m.num_groups / m.num_channels
        for m in norms
        if isinstance(m, nn.GroupNorm)
    }
    if norm in ("layer", "instance"):
        assert groups == {1}


@every_network
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sigmoid", nn.Sigmoid),
        ("tanh", nn.Tanh),
        ("relu", nn.ReLU),
        ("leaky_relu", nn.LeakyReLU),
        ("silu", nn.SiLU),
        ("gelu", nn.GELU),
        ("scaled_sigmoid", ScaledSigmoid),
    ],
)
def test_the_activation_follows_every_layer_but_the_last(
    config: Any, name: Any, kind: type
) -> None:
    model = on_meta(config(activation=name), 96).model
    count = sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules())
    assert sum(isinstance(m, kind) for m in model.modules()) == count - 1
    known = {nn.Sigmoid, nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.GELU, ScaledSigmoid}
    others = known - {kind}
    assert not kinds(model) & others


@every_network
def test_initialisation_changes_weights_and_leaves_no_biases(config: Any) -> None:
    def parameters(init: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return dict(config(width=4, init=init).build(3, 28, 5).named_parameters())

    default, xavier, he = (parameters(init) for init in ("default", "xavier", "he"))
    for name in default:
        if name.endswith("bias"):
            assert default[name].any()
            assert not xavier[name].any()
            assert not he[name].any()
        else:
            assert not torch.equal(default[name], xavier[name])
            assert not torch.equal(he[name], xavier[name])


@every_network
def test_dropout_has_its_places(config: Any) -> None:
    stages = {LeNet: 2, AlexNet: 3, VGG: 5, NiN: 3, GoogLeNet: 5}[config]
    heads = {LeNet: 2, AlexNet: 2, VGG: 2, NiN: 1, GoogLeNet: 1}[config]

    def count(place: Any, p: float = 0.3) -> tuple[int, int]:
        modules = list(on_meta(config(dropout=p, dropout_place=place), 96).model.modules())
        assert all(m.p == p for m in modules if isinstance(m, (nn.Dropout, nn.Dropout2d)))
        return sum(isinstance(m, nn.Dropout) for m in modules), sum(
            isinstance(m, nn.Dropout2d) for m in modules
        )

    assert count("head") == (heads, 0)
    assert count("stages") == (0, stages)
    assert count("both") == (heads, stages)
    assert count("both", 0.0) == (0, 0)


@every_network
def test_hidden_dropout_comes_before_the_last_layers(config: Any) -> None:
    """The next layer with weights after a dropout is one of the last linear ones, of NiN the first
    of its last block.
    """
    modules: list[nn.Module] = [
        m
        for m in on_meta(config(dropout=0.3), 96).model.children()
        if isinstance(m, (nn.Conv2d, nn.Linear, nn.Dropout))
    ]
    layers = [m for m in modules if not isinstance(m, nn.Dropout)]
    after = [
        layers.index(modules[i + 1]) - len(layers)
        for i, m in enumerate(modules)
        if isinstance(m, nn.Dropout)
    ]
    assert (
        after
        == {LeNet: [-2, -1], AlexNet: [-2, -1], VGG: [-2, -1], NiN: [-3], GoogLeNet: [-1]}[config]
    )
