from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from pipeline.core import libraries
from pipeline.core.models import MODELS
from pipeline.core.models.convnext import ConvNeXt
from pipeline.core.models.densenet import DenseNet
from pipeline.core.models.efficientnet import EfficientNet
from pipeline.core.models.external import Library
from pipeline.core.models.mobilenet import MobileNet
from pipeline.core.models.shufflenet import ShuffleNet
from pipeline.core.models.timm_arch import Timm
from pipeline.core.models.vit import ViT
from pipeline.errors import UserError

SMALL: dict[type, dict[str, Any]] = {
    ShuffleNet: {"variant": "x0.5"},
    MobileNet: {"variant": "v3_small"},
}
LIBRARY = [member(**SMALL.get(member, {})) for member in MODELS if issubclass(member, Library)]
EVERY = pytest.mark.parametrize("config", LIBRARY, ids=lambda config: config.name)


def num_params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@EVERY
@pytest.mark.parametrize("size", [64, 224])
def test_larger_pictures_keep_their_size(config: Any, size: int) -> None:
    with torch.device("meta"):
        model = config.build(3, size, 7)
        seen: list[torch.Size] = []
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
        assert model(torch.empty(2, 3, size, size)).shape == (2, 7)
    assert seen == [(2, 3, size, size)]


@EVERY
def test_dropout_acts_before_the_head_and_zero_draws_nothing(config: Any) -> None:
    x = torch.randn(4, 3, 32, 32)

    def twice(p: float) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = config.override({"dropout": p}).build(3, 32, 3).train()
        seen: list[torch.Tensor] = []
        head = model.get_submodule(libraries.find_head(model, 3))
        head.register_forward_hook(lambda _, args, __: seen.append(args[0].detach()))
        for _ in range(2):
            model(x)
        return seen

    torch.manual_seed(0)
    config.build(3, 32, 3)
    state = torch.get_rng_state()
    assert torch.equal(*twice(0.0))
    assert torch.equal(torch.get_rng_state(), state)
    one, other = twice(0.5)
    assert not torch.equal(one == 0, other == 0)
    assert (one == 0).float().mean() > 0.3


@pytest.mark.parametrize(
    ("config", "published"),
    [
        # with 1000 classes, as torchvision documents them, and for ConvNeXt atto to pico and
        # ViT-Tiny as timm does
        (DenseNet(), 7_978_856),
        (DenseNet(depth=169), 14_149_480),
        (DenseNet(depth=201), 20_013_928),
        (ShuffleNet(variant="x0.5"), 1_366_792),
        (ShuffleNet(), 2_278_604),
        (ShuffleNet(variant="x1.5"), 3_503_624),
        (ShuffleNet(variant="x2.0"), 7_393_996),
        (MobileNet(), 3_504_872),
        (MobileNet(variant="v3_small"), 2_542_856),
        (MobileNet(variant="v3_large"), 5_483_032),
        (EfficientNet(), 5_288_548),
        (EfficientNet(variant="b1"), 7_794_184),
        (EfficientNet(variant="b2"), 9_109_994),
        (ConvNeXt(variant="tiny"), 28_589_128),
        (ViT(), 5_717_416),
    ],
    ids=str,
)
def test_the_published_size(config: Any, published: int) -> None:
    with torch.device("meta"):
        assert num_params(config.build(3, 224, 1000)) == published


def test_vit_enlarges_to_a_multiple_of_its_patch() -> None:
    for size, patch, tokens in ((28, 7, 16), (28, 8, 16), (28, 16, 4), (64, 8, 64)):
        with torch.device("meta"):
            model: Any = ViT(patch_size=patch).build(3, size, 5)
            assert model.pos_embed.shape == (1, tokens + 1, 192)
            assert model(torch.empty(1, 3, size, size)).shape == (1, 5)


@pytest.mark.parametrize(
    ("arch", "size", "side"),
    [
        ("resnet18.a1_in1k", 40, 40),  # a name with a tag
        ("test_vit", 40, 64),  # no patch in the name: multiples of 32
        ("vit_small_patch14_dinov2", 40, 42),
        ("inception_v4", 40, 299),  # refuses small pictures
        ("squeezenet1_1", 40, 40),  # torchvision's; a convolution as head
        ("vit_b_16", 40, 48),
        ("maxvit_t", 40, 224),  # one size alone
        ("regnet_x_400mf", 40, 40),  # cannot be made without memory
    ],
)
def test_any_name_finds_its_size(arch: str, size: int, side: int) -> None:
    found, options = libraries.fit(Timm(arch=arch).source, 1, size)
    assert found == side
    assert all(value == side for value in options.values())


@pytest.mark.parametrize("arch", ["test_vit", "alexnet", "squeezenet1_1", "googlenet"])
def test_any_name_trains_and_drops_only_when_told(arch: str) -> None:
    x = torch.randn(2, 1, 40, 40)
    model = Timm(arch=arch, dropout=0.3).build(1, 40, 5).train()
    logits = [model(x) for _ in range(2)]
    assert not torch.equal(*logits)
    logits[0].square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert torch.equal(*(model.eval()(x) for _ in range(2)))
    quiet = Timm(arch=arch).build(1, 40, 5).train()
    assert torch.equal(*(quiet(x) for _ in range(2)))


@pytest.mark.parametrize(
    ("arch", "near"), [("resnt18", "resnet18"), ("shufflenet_v2_x05", "shufflenet_v2_x0_5")]
)
def test_an_unknown_name_gets_the_nearest(arch: str, near: str) -> None:
    with pytest.raises(
        ValidationError, match=f"got '{arch}'; allowed: the .* did you mean '{near}'"
    ):
        Timm(arch=arch)


@pytest.mark.parametrize(
    "arch", ["resnet18.no_such_tag", "hf-hub:somebody/something", "", "../resnet18"]
)
def test_only_names_that_the_libraries_list_are_networks(arch: str) -> None:
    with pytest.raises(ValidationError):
        Timm(arch=arch)


def test_an_encoder_without_a_head_is_refused() -> None:
    with pytest.raises(UserError, match="got 'mobilenetv5_300m_enc'"):
        Timm(arch="mobilenetv5_300m_enc").build(3, 64, 5)
