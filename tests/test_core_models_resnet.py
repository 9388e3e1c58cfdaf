"""Residual networks: against torchvision's and timm's, and against their papers' formulas written
out.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models as torchvision_models

from pipeline.core.blocks import Instance
from pipeline.core.config import TrainConfig
from pipeline.core.models.attention import CBAMResNet, SEResNet
from pipeline.core.models.res2net import Res2Net
from pipeline.core.models.resnet import ResNet, ResNet18
from pipeline.core.models.resnext import ResNeXt
from pipeline.core.residual import CBAM, Block, Hierarchy, Pad, SqueezeExcitation
from pipeline.errors import UserError

ROOT = Path(__file__).parents[1]
FAMILY = (ResNet, ResNeXt, Res2Net, SEResNet, CBAMResNet)
NORMS = (nn.BatchNorm2d, nn.GroupNorm)
EACH = pytest.mark.parametrize("config", FAMILY)


def num_params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def on_meta(config: Any, num_classes: int = 1000) -> nn.Module:
    with torch.device("meta"):
        return config.build(3, 224, num_classes)


def layers(model: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, kinds)]


def blocks(model: nn.Module) -> list[Block]:
    return layers(model, Block)


def seeded(config: Any, *, channels: int = 3, size: int = 32, num_classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return config.build(channels, size, num_classes)


def trained(model: nn.Module) -> nn.Module:
    """Norms as after training: no longer 1 and 0, and small enough for a signal to stay small in a
    hundred layers.
    """
    for norm in layers(model, *NORMS):
        n = len(norm.weight)
        norm.weight.data, norm.bias.data = torch.linspace(0.1, 0.5, n), torch.linspace(0.2, -0.2, n)
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean, norm.running_var = (
                torch.linspace(-0.1, 0.1, n),
                torch.linspace(0.5, 1.5, n),
            )
    return model.eval()


def copied(source: nn.Module, target: nn.Module) -> nn.Module:
    """The values of `source` in `target`, which must have the same layers of each kind in the same
    order.
    """
    for kind in ((nn.Conv2d,), NORMS, (nn.Linear,)):
        for ours, theirs in zip(layers(target, *kind), layers(source, *kind), strict=True):
            values = theirs.state_dict()
            if ours.bias is not None and theirs.bias is None:
                values["bias"] = torch.zeros(ours.bias.shape)
            ours.load_state_dict(values, assign=True)
    return target.eval()


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert theirs.std() > 1e-2


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (ResNet18(), 11_689_512 + 64 + 4 * 64 + 5 * (128 + 256 + 512)),  # the convolutions' biases
        (ResNet(), 11_689_512),
        (ResNet(depth=34), 21_797_672),
        (ResNet(depth=50), 25_557_032),
        (ResNet(depth=101), 44_549_160),
        (ResNeXt(), 25_028_904),
        (ResNeXt(depth=101, base_width=8), 88_791_336),
        (ResNeXt(depth=101, cardinality=64), 83_455_272),
        (Res2Net(), 25_699_120),
        (Res2Net(depth=101), 45_206_688),
        # 2 / 16 · Σ channels² over the blocks more than ResNet (SENet, section 4), 2.5 million at
        # 50 layers
        (SEResNet(), 11_689_512 + 2 * 2 * (64**2 + 128**2 + 256**2 + 512**2) // 16),
        (
            SEResNet(depth=50),
            25_557_032 + 2 * (3 * 256**2 + 4 * 512**2 + 6 * 1024**2 + 3 * 2048**2) // 16,
        ),
    ],
)
def test_sizes_are_the_published_ones(config: Any, published: int) -> None:
    assert num_params(on_meta(config)) == published


@pytest.mark.parametrize(
    ("depth", "millions"), [(18, 11.78), (34, 21.96), (50, 28.09), (101, 49.33)]
)
def test_cbams_sizes_are_the_papers(depth: Any, millions: float) -> None:
    assert round(num_params(on_meta(CBAMResNet(depth=depth))) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("config", "make"),
    [
        (ResNet18(), torchvision_models.resnet18),
        (ResNet(), torchvision_models.resnet18),
        (ResNet(depth=34), torchvision_models.resnet34),
        (ResNet(depth=50), torchvision_models.resnet50),
        (ResNet(depth=101), torchvision_models.resnet101),
        (ResNeXt(), torchvision_models.resnext50_32x4d),
        (
            Res2Net(),
            lambda num_classes: timm.create_model("res2net50_26w_4s", num_classes=num_classes),
        ),
    ],
    ids=lambda value: (
        f"{value.name}{getattr(value, 'depth', '')}" if hasattr(value, "name") else ""
    ),
)
def test_the_network_is_the_librarys(config: Any, make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    theirs = trained(make(num_classes=5))
    ours = copied(theirs, on_meta(config, 5))
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        same(ours(x), theirs(x))


def test_resnet18s_layers_are_drawn_in_the_order_of_the_courses_code() -> None:
    """Its results at a seed hang on this order: a block's two convolutions, its projection, the
    next block; with biases.
    """
    ours = seeded(ResNet18(width=4))
    torch.manual_seed(0)
    drawn: list[Any] = [nn.Conv2d(3, 4, 7)]
    for inputs, outputs in [(4, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16), (16, 32), (32, 32)]:
        drawn += [nn.Conv2d(inputs, outputs, 3), nn.Conv2d(outputs, outputs, 3)]
        drawn += [nn.Conv2d(inputs, outputs, 1)] if inputs != outputs else []
    drawn.append(nn.Linear(32, 5))
    for layer, expected in zip(layers(ours, nn.Conv2d, nn.Linear), drawn, strict=True):
        assert torch.equal(layer.weight, expected.weight)
        assert torch.equal(layer.bias, expected.bias)


def test_stages_have_the_papers_shapes() -> None:
    def shapes(config: Any, size: int) -> list[tuple[int, ...]]:
        x, found = torch.empty(1, 3, size, size, device="meta"), []
        for module in on_meta(config).children():
            x = module(x)
            found.append(tuple(x.shape[1:]))
        return found

    stages = [(64, 56, 56)] * 2 + [(128, 28, 28)] * 2 + [(256, 14, 14)] * 2 + [(512, 7, 7)] * 2
    assert shapes(ResNet(), 224)[2:12] == [(64, 112, 112), (64, 56, 56), *stages]
    bottlenecks = (
        [(256, 56, 56)] * 3 + [(512, 28, 28)] * 4 + [(1024, 14, 14)] * 6 + [(2048, 7, 7)] * 3
    )
    for config in (
        ResNet(depth=50),
        ResNeXt(),
        Res2Net(),
        SEResNet(depth=50),
        CBAMResNet(depth=50),
    ):
        assert shapes(config, 224)[4:20] == bottlenecks
    small = [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2 + [(512, 4, 4)] * 2
    assert shapes(ResNet(stem="small"), 32)[2:11] == [(64, 32, 32), *small]


VARIANTS: list[tuple[Any, dict[str, Any]]] = [
    *(
        (config, {"shortcut": kind, "stem": stem})
        for config in FAMILY
        for kind, stem in (("A", "small"), ("B", "imagenet"), ("C", "small"))
    ),
    *(
        (ResNet, {"pre_activation": True, "shortcut": kind, "depth": depth})
        for kind in "ABC"
        for depth in (18, 50)
    ),
    *(
        (ResNet, {"plain": True, "depth": depth, "pre_activation": pre})
        for depth in (18, 50)
        for pre in (False, True)
    ),
    *((config, {"zero_gamma": True}) for config in FAMILY),
    *(
        (config, {"norm": norm})
        for config in FAMILY
        for norm in ("none", "layer", "group", "instance")
    ),
    (ResNet, {"pre_activation": True, "norm": "none"}),
    (ResNeXt, {"cardinality": 1, "base_width": 64}),
    (Res2Net, {"scale": 1}),
    (Res2Net, {"scale": 8, "base_width": 8, "stem": "small"}),
    (SEResNet, {"depth": 34, "dropout": 0.2, "dropout_place": "both"}),
    (CBAMResNet, {"depth": 50, "activation": "gelu", "init": "he"}),
]


@pytest.mark.parametrize(("config", "knobs"), VARIANTS)
def test_every_variant_has_finite_gradients(config: Any, knobs: dict[str, Any]) -> None:
    model = seeded(config(width=8, **knobs), size=28)
    logits = model(torch.randn(4, 3, 28, 28))
    functional.cross_entropy(logits, torch.arange(4)).backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert any(g is not None and g.any() for g in gradients[:2]), "nothing reaches the stem"


KNOBS: dict[str, Any] = {
    "depth": 101,
    "shortcut": "C",
    "stem": "small",
    "zero_gamma": True,
    "width": 16,
    "norm": "group",
    "activation": "gelu",
    "init": "he",
    "dropout": 0.5,
    "dropout_place": "stages",
    "pre_activation": True,
    "plain": True,
    "cardinality": 8,
    "base_width": 16,
    "scale": 2,
    "reduction": 4,
}


@EACH
def test_every_knob_does_something(config: Any) -> None:
    def logits(**knobs: Any) -> Tensor:
        model = seeded(config(width=knobs.pop("width", 8), **knobs))
        torch.manual_seed(1)
        return model(torch.randn(2, 3, 32, 32)).detach()

    default, dropped = logits(), logits(dropout=0.5)
    assert torch.equal(default, logits())
    for knob in config.model_fields.keys() - {"name"}:
        given = {knob: KNOBS[knob]} | ({"dropout": 0.5} if knob == "dropout_place" else {})
        assert not torch.equal(dropped if knob == "dropout_place" else default, logits(**given)), (
            knob
        )


def test_shortcuts_differ_in_nothing_but_their_projections() -> None:
    def size(**knobs: Any) -> int:
        return num_params(on_meta(ResNet(depth=34, **knobs)))

    widths = [64, 128, 256, 512]
    b = sum(a * c + 2 * c for a, c in itertools.pairwise(widths))
    c = sum(n * (a * a + 2 * a) for n, a in zip([3, 3, 5, 2], widths, strict=True))
    assert (
        size(shortcut="A")
        == size(shortcut="B") - b
        == size(shortcut="C") - b - c
        == size(plain=True)
    )


def test_shortcut_a_pads_with_zeros() -> None:
    model = seeded(ResNet(width=8, shortcut="A", depth=50))
    pads = layers(model, Pad)
    assert len(pads) == 4  # one where each stage starts: bottlenecks widen already in the first
    assert not any(list(pad.parameters()) for pad in pads)
    x = torch.randn(2, 32, 5, 5)
    y = pads[1](x)
    assert y.shape == (2, 64, 3, 3)
    assert torch.equal(y[:, :32], x[:, :, ::2, ::2])
    assert not y[:, 32:].any()


@pytest.mark.parametrize("knobs", [{}, {"depth": 50}, {"pre_activation": True}], ids=str)
def test_plain_has_the_same_layers_and_no_way_around(knobs: dict[str, Any]) -> None:
    knobs = knobs | {"width": 8, "init": "he"}  # by He, a signal survives fifty plain layers
    plain, residual = seeded(ResNet(plain=True, **knobs)), seeded(ResNet(shortcut="A", **knobs))
    ours, theirs = plain.state_dict(), residual.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    x = torch.randn(2, 3, 32, 32)
    for model in (plain, residual):
        model.eval()
        assert not torch.equal(*model(x))
        last = layers(blocks(model)[1].branch, nn.Conv2d, *NORMS)[-1]
        nn.init.zeros_(last.weight)
        assert torch.equal(*model(x)) == (model is plain)


@EACH
def test_zero_gamma_starts_blocks_at_their_shortcuts(config: Any) -> None:
    for zero in (True, False):
        for block in blocks(seeded(config(width=8, zero_gamma=zero))):
            first = layers(block, nn.Conv2d)[0]
            assert block.branch(torch.randn(2, first.in_channels, 8, 8)).any() != zero


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("kind", ["A", "B", "C"])
@pytest.mark.parametrize("depth", [18, 50])
def test_pre_activation_is_the_papers(norm: Any, kind: Any, depth: Any) -> None:
    """He et al. 2016, eq. 1 with f the identity; the stem activates for the first block, and an
    activation ends the last.
    """
    model = trained(
        seeded(ResNet(width=8, depth=depth, pre_activation=True, norm=norm, shortcut=kind))
    )
    norms = iter(layers(model, nn.BatchNorm2d))

    def active(x: Tensor) -> Tensor:
        return functional.relu(x if norm == "none" else next(norms)(x))

    stem, *_ = layers(model, nn.Conv2d)
    x = picture = torch.randn(2, 3, 64, 64)
    x = functional.max_pool2d(active(stem(x)), 3, 2, 1)
    for number, block in enumerate(blocks(model)):
        *convs, projection = layers(block, nn.Conv2d)
        projects = kind == "C" or (kind == "B" and len(convs) == (2 if depth == 18 else 3))
        if not projects:
            convs.append(projection)
        y = h = x if number == 0 else active(x)
        for place, conv in enumerate(convs):
            y = conv(y if place == 0 else active(y))
        stride = x.shape[-1] // y.shape[-1]
        x = functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        x = (projection(h) if projects else x) + y
    same(model(picture), layers(model, nn.Linear)[0](active(x).mean((2, 3))))
    assert not list(norms)


def test_the_grouped_form_is_the_sum_of_the_branches() -> None:
    """Xie et al. 2016, fig. 3a: split, transform, merge, each branch with three convolutions of its
    own.
    """
    model = trained(seeded(ResNeXt(width=16, cardinality=4, base_width=16)))
    for block, stride in ((blocks(model)[1], 1), (blocks(model)[3], 2)):
        one, two, three = layers(block.branch, nn.Conv2d)
        norm1, norm2, norm3 = layers(block.branch, nn.BatchNorm2d)
        x = torch.randn(2, one.in_channels, 8, 8)
        group = one.out_channels // 4
        assert two.weight.shape == (4 * group, group, 3, 3)
        merged = torch.zeros(())
        for branch in range(4):
            own = slice(branch * group, (branch + 1) * group)
            y = functional.relu(normed(functional.conv2d(x, one.weight[own]), norm1, own))
            y = functional.relu(
                normed(functional.conv2d(y, two.weight[own], stride=stride, padding=1), norm2, own)
            )
            merged = merged + functional.conv2d(y, three.weight[:, own])
        assert block.shortcut is not None
        same(block(x), functional.relu(normed(merged, norm3, slice(None)) + block.shortcut(x)))


def normed(x: Tensor, norm: nn.BatchNorm2d, own: slice) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return functional.batch_norm(
        x, norm.running_mean[own], norm.running_var[own], norm.weight[own], norm.bias[own]
    )


@pytest.mark.parametrize("scale", range(2, 9))
def test_the_hierarchy_is_the_papers(scale: int) -> None:
    """Gao et al. 2019, eq. 1, with K a convolution, norm, activation; in a stage's first block no
    sums, and an average.
    """
    model = trained(seeded(Res2Net(width=16, scale=scale, base_width=16)))
    for number, stride in ((0, 1), (1, 1), (3, 2)):
        (hierarchy,) = layers(blocks(model)[number], Hierarchy)
        convs, norms = layers(hierarchy, nn.Conv2d), layers(hierarchy, nn.BatchNorm2d)
        assert len(convs) == len(norms) == scale - 1
        x = torch.randn(2, convs[0].in_channels * scale, 8, 8)
        parts = x.chunk(scale, 1)
        results: list[Tensor] = []
        for i in range(scale - 1):
            given = parts[i] if i == 0 or number != 1 else parts[i] + results[-1]
            y = functional.conv2d(given, convs[i].weight, stride=stride, padding=1)
            results.append(functional.relu(normed(y, norms[i], slice(None))))
        results.append(parts[-1] if number == 1 else functional.avg_pool2d(parts[-1], 3, stride, 1))
        same(hierarchy(x), torch.cat(results, 1))


@pytest.mark.parametrize(
    "config",
    [ResNeXt(width=8, cardinality=1, base_width=64), Res2Net(width=8, scale=1, base_width=64)],
)
def test_one_group_or_one_scale_is_resnet(config: Any) -> None:
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(seeded(config)(x), seeded(ResNet(depth=50, width=8))(x))


def test_squeeze_and_excitation_is_the_papers() -> None:
    gate = layers(seeded(SEResNet(depth=50, width=8)), SqueezeExcitation)[0]
    x = torch.randn(2, 32, 5, 5)
    first, second = (layer.weight for layer in layers(gate, nn.Linear))
    assert (first.shape, second.shape) == ((2, 32), (32, 2))
    for i in range(2):
        z = torch.stack([x[i, c].sum() / 25 for c in range(32)])
        s = 1 / (1 + torch.exp(-(second @ (first @ z).clamp(min=0))))
        same(gate(x)[i], torch.stack([s[c] * x[i, c] for c in range(32)]))


def test_cbam_is_the_papers() -> None:
    gate = layers(seeded(CBAMResNet(depth=50, width=8)), CBAM)[0]
    x = torch.randn(2, 32, 5, 5)
    first, second = layers(gate, nn.Linear)

    def mlp(v: Tensor) -> Tensor:
        return second.weight @ (first.weight @ v + first.bias).clamp(min=0) + second.bias

    for i in range(2):
        flat = x[i].reshape(32, 25)
        y = torch.sigmoid(mlp(flat.mean(1)) + mlp(flat.max(1).values))[:, None, None] * x[i]
        pooled = functional.pad(torch.stack([y.mean(0), y.max(0).values]), (3, 3, 3, 3))
        weight = gate.conv.weight[0]
        places = [
            [(pooled[:, r : r + 7, c : c + 7] * weight).sum().item() for c in range(5)]
            for r in range(5)
        ]
        same(gate(x)[i], y * torch.sigmoid(torch.tensor(places)))


@pytest.mark.parametrize("config", [SEResNet, CBAMResNet])
@pytest.mark.parametrize("depth", [18, 50])
def test_without_its_attention_the_network_is_resnet(config: Any, depth: Any) -> None:
    model, x = trained(seeded(config(width=8, depth=depth))), torch.randn(2, 3, 32, 32)
    before = model(x)
    for block in blocks(model):
        assert isinstance(block.branch[-1], (SqueezeExcitation, CBAM))
        block.branch[-1] = nn.Identity()
    same(model(x), copied(model, on_meta(ResNet(width=8, depth=depth), 5))(x))
    assert not torch.allclose(model(x), before)


@EACH
def test_norm_none_has_biases_and_no_norms(config: Any) -> None:
    for norm, bias in (("none", True), ("batch", False), ("instance", False)):
        model = on_meta(config(norm=norm))
        convs = [
            conv for conv in layers(model, nn.Conv2d) if conv.out_channels > 1
        ]  # without CBAM's map of places
        assert all((conv.bias is not None) == bias for conv in convs)
        assert {type(m) for m in layers(model, *NORMS)} == {
            "none": set(),
            "batch": {nn.BatchNorm2d},
        }.get(norm, {Instance})


@EACH
def test_dropout_stands_where_it_is_said(config: Any) -> None:
    for place, heads, stages in (("head", 1, 0), ("stages", 0, 4), ("both", 1, 4)):
        modules = list(on_meta(config(dropout=0.3, dropout_place=place)).children())
        assert [m.p for m in modules if isinstance(m, nn.Dropout)] == [0.3] * heads
        assert isinstance(modules[-2], nn.Dropout) == bool(heads)
        before = [
            sum(isinstance(m, Block) for m in modules[:i])
            for i, m in enumerate(modules)
            if isinstance(m, nn.Dropout2d)
        ]
        assert before == ([2, 4, 6, 8] if config().depth == 18 else [3, 7, 13, 16])[:stages]


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"model.zero_gamma": True, "model.norm": "none"}, "norm 'none' has none"),
        ({"model.plain": True, "model.shortcut": "A"}, "shortcut 'A' would do nothing"),
        ({"model.plain": True, "model.zero_gamma": True}, "every output would be the same"),
        ({"model.pre_activation": True, "model.zero_gamma": True}, "they end in a convolution"),
    ],
)
def test_knobs_that_contradict_each_other_are_refused(knobs: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        TrainConfig().override({"model.name": "resnet", **knobs})


def test_a_relative_keeps_the_knobs_of_the_family() -> None:
    config = TrainConfig().override(
        {"model.name": "resnet", "model.depth": 34, "model.stem": "small", "model.width": 8}
    )
    assert config.override({"model.name": "se_resnet"}).model == SEResNet(
        depth=34, stem="small", width=8
    )
    assert config.override({"model.name": "resnext"}).model == ResNeXt(
        depth=50, stem="small", width=8
    )
    assert config.override({"model.name": "resnet18"}).model == ResNet18(width=8)
    attentive = TrainConfig().override({"model.name": "se_resnet", "model.reduction": 4})
    assert attentive.override({"model.name": "cbam_resnet"}).model == CBAMResNet(reduction=4)
    grouped = TrainConfig().override(
        {"model.name": "resnext", "model.depth": 101, "model.base_width": 8}
    )
    assert grouped.override({"model.name": "res2net"}).model == Res2Net(depth=101)


NARROW = """
import numpy as np, torch
from torch.nn import functional
from pipeline.core.config import TrainConfig
from pipeline.core.setup import Inputs, build_model
from pipeline.data.splits import Split

torch.set_num_threads(1)
torch.manual_seed(0)
split = Split(np.zeros((1, 3, 32, 32), np.uint8), np.zeros(1, np.int64), np.arange(1))
inputs = Inputs(split, split, 5, (0.5,) * 3, (0.5,) * 3)
x, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 5
last = x.contiguous(memory_format=torch.channels_last)
for width in (2, 4, 7):
    config = TrainConfig().override({"model.name": "resnet18", "model.width": width})
    model = build_model(config, inputs, torch.device("cpu"), pretrained=False)
    plain = config.model.build(3, 32, 5)
    plain.load_state_dict(model.state_dict())
    kept = []
    for step in range(60):
        model.zero_grad()
        loss = functional.cross_entropy(model(last), labels)
        loss.backward()
        kept = [*kept[-40:], torch.randn(step % 97 + 1)]
    model, plain = model.double(), plain.double()
    model.zero_grad()
    functional.cross_entropy(model(last.double()), labels).backward()
    functional.cross_entropy(plain(x.double()), labels).backward()
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-9, rtol=1e-6, msg=name)
print("sound")
"""


def test_a_narrow_networks_shortcuts_do_not_write_past_their_memory() -> None:
    """In a process of its own, whose memory is checked at each release: it died of the second or
    third step.
    """
    found = subprocess.run(
        [sys.executable, "-c", NARROW],
        env=os.environ | {"MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (found.returncode, found.stdout.split()) == (0, ["sound"]), found.stderr
