"""Networks as lecture notes print them: shapes layer by layer, and numbers of parameters."""

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.core.blocks import norm
from pipeline.core.models import CNN
from pipeline.core.models.alexnet import AlexNet
from pipeline.core.models.dense import DenseBlocks
from pipeline.core.models.lenet import LeNet
from pipeline.core.models.mlp import MLP
from pipeline.core.models.mobilenet import MobileNet
from pipeline.core.models.nin import NiN
from pipeline.core.models.resnet import ResNet
from pipeline.core.models.resnet_cifar import CifarResNet


def made(config: Any, channels: int, size: int, num_classes: int) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = config.build(channels, size, num_classes)
        assert model(torch.empty(2, channels, size, size)).shape == (2, num_classes)
    return model


def num_params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def shapes(model: nn.Module, channels: int, size: int, kinds: tuple[type, ...]) -> list[Any]:
    """What each module of these kinds gives, without the batch."""
    seen: list[Any] = []
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
    model(torch.empty(2, channels, size, size, device="meta"))
    return seen


def test_alexnet_with_padding_2_is_that_of_the_notes() -> None:
    model = made(AlexNet(padding=2), 3, 224, 1000)
    assert num_params(model) == 62_378_344
    found = shapes(model, 3, 224, (nn.Conv2d, nn.MaxPool2d))
    assert found[0] == (96, 55, 55)
    assert found[-1] == (256, 6, 6)
    first = next(m for m in model.modules() if isinstance(m, nn.Linear))
    assert first.in_features == 9216


def test_lenet_with_batch_norm_is_the_textbooks() -> None:
    model = made(LeNet(norm="batch", hidden_norm=True, padding=0), 1, 28, 10)
    assert num_params(model) == 44_878
    assert shapes(model, 1, 28, (nn.Conv2d, nn.AvgPool2d)) == [
        (6, 24, 24),
        (6, 12, 12),
        (16, 8, 8),
        (16, 4, 4),
    ]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in model.modules()) == 2


@pytest.mark.parametrize("size", [12, 15, 16])
def test_lenet_without_padding_takes_any_size(size: int) -> None:
    model = LeNet(padding=0).build(1, size, 10)
    assert bool(model._forward_pre_hooks) == (size < 16)
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 10)


def test_norm_behind_hidden_layers_is_that_of_batches() -> None:
    with pytest.raises(ValueError, match="choose norm 'batch' or leave hidden_norm out"):
        LeNet(hidden_norm=True)


def test_nin_of_as_many_maps_as_classes_is_the_textbooks() -> None:
    model = made(NiN(last="classes"), 1, 224, 10)
    assert num_params(model) == 1_992_166
    assert shapes(model, 1, 224, (nn.Conv2d,))[-3:] == [(10, 5, 5)] * 3


def test_dense_blocks_are_the_textbooks() -> None:
    model = made(DenseBlocks(), 1, 96, 10)
    assert num_params(model) == 758_226
    from pipeline.core.blocks import Dense

    blocks = shapes(model, 1, 96, (Dense,))
    assert blocks == [(192, 24, 24), (224, 12, 12), (240, 6, 6), (248, 3, 3)]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_dense_layer_leaves_what_it_reads(norm: str) -> None:
    from pipeline.core.blocks import Dense

    torch.manual_seed(0)
    block = Dense(3, 4, 2, norm, "relu").eval()
    x = torch.randn(2, 3, 5, 5)
    before = x.clone()
    out = block(x)
    assert torch.equal(out[:, :3], before)
    assert torch.equal(x, before)
    assert torch.equal(out[:, 3:7], block[0](before))
    assert torch.equal(out[:, 7:], block[1](out[:, :7]))


@pytest.mark.parametrize("num_blocks", [1, 3, 5])
def test_dense_blocks_take_any_size(num_blocks: int) -> None:
    config = DenseBlocks(num_blocks=num_blocks, block_layers=1, width=4, growth_rate=2)
    for size in (config.smallest - 1, config.smallest):
        model = config.build(1, size, 3)
        assert bool(model._forward_pre_hooks) == (size < config.smallest)
        assert model(torch.zeros(2, 1, size, size)).shape == (2, 3)


@pytest.mark.parametrize(
    ("depth", "params"),
    [(20, 269722), (32, 464154), (44, 658586), (56, 853018), (110, 1727962), (1202, 19421274)],
)
def test_the_cifar_family_has_the_papers_sizes(depth: Any, params: int) -> None:
    """0.27, 0.46, 0.66, 0.85, 1.7 and 19.4 M in table 6."""
    model = made(CifarResNet(depth=depth), 3, 32, 10)
    assert num_params(model) == params
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules()) == depth


def test_resnet_152_has_the_papers_size() -> None:
    model = made(ResNet(depth=152), 3, 224, 1000)
    assert num_params(model) == 60_192_808  # as torchvision's


def test_mobilenet_v1_has_the_papers_size() -> None:
    """4.2 M in table 8."""
    assert num_params(made(MobileNet(variant="v1"), 3, 224, 1000)) == 4_231_976


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_mlp_has_its_layers(depth: int) -> None:
    model = made(MLP(width=32, depth=depth, norm="batch"), 3, 8, 5)
    linear = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert linear == [*zip([192] + [32] * depth, [32] * depth + [5], strict=True)]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in model.modules()) == depth
    dropped = made(MLP(depth=3, dropout=0.5, dropout_place="both"), 3, 8, 5)
    assert sum(isinstance(m, nn.Dropout) for m in dropped.modules()) == 3


def test_the_cnn_has_its_knobs() -> None:
    model = made(CNN(depth=3, kernel=5, width=8), 3, 32, 5)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size) for m in convolutions] == [
        (8, (5, 5)),
        (16, (5, 5)),
        (32, (5, 5)),
    ]
    halved = made(CNN(pool="stride", width=8), 3, 33, 5)
    assert shapes(halved, 3, 33, (nn.Conv2d,)) == [
        (8, 17, 17),
        (16, 9, 9),
        (32, 5, 5),
        (64, 3, 3),
        (64, 2, 2),
    ]
    assert not any(isinstance(m, nn.MaxPool2d) for m in halved.modules())


def test_averages_are_pooled_behind_the_activation() -> None:
    torch.manual_seed(0)
    stage = CNN(pool="avg", width=4, depth=1).build(1, 8, 2)[0]
    kinds = [type(m) for m in stage]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AvgPool2d]


@pytest.mark.parametrize(("kind", "channels"), [("group", 7), ("instance", 8)])
def test_a_single_value_has_its_norm_in_a_batch_of_one_too(kind: str, channels: int) -> None:
    layer = norm(kind, channels)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, channels, 1, 1)
    both = layer(x)
    near = {"atol": 1e-3, "rtol": 0}  # rounding of a value less itself, over a deviation of 0
    torch.testing.assert_close(both, layer.bias[:, None, None].expand_as(x), **near)
    torch.testing.assert_close(layer(x[:1]), both[:1], **near)
    assert layer(torch.randn(1, channels, 2, 2)).std() > 0.1
