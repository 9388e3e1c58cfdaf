import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from pipeline.core.models import CNN, MODELS, ResNet18


def num_params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("config", MODELS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [4, 8, 28, 32, 64, 128])
def test_any_size_gives_logits_and_gradients(config: Any, channels: int, size: int) -> None:
    model = config(width=4, dropout=0.2).build(channels, size, 7)
    logits = model(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_cnn_has_the_course_networks_size() -> None:
    # convolutions with bias 3·64·9+64 + 64·128·9+128 + 128·256·9+256 + 256·512·9+512 + 512·512·9+512 = 3,910,784
    # batch norm 2·(64+128+256+512+512) = 2,944
    # linear 8192·1024+1024 + 1024·512+512 + 512·11+11 = 8,920,075
    assert num_params(CNN().build(3, 128, 11)) == 12_833_803


def test_resnet18_has_the_published_size_and_biases() -> None:
    # torchvision's 11,689,512 with 1000 classes; less 513,000 and plus 5,643 for 11 classes
    # convolution biases 64 + 4·64 + 5·128 + 5·256 + 5·512 = 4,800
    assert num_params(ResNet18().build(3, 128, 11)) == 11_689_512 - 513_000 + 5_643 + 4_800


def test_resnet18_is_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = torchvision_models.resnet18(num_classes=5)
    ours = ResNet18().build(3, 64, 5)
    stems = ["conv1", "bn1", "", "", *(f"layer{i}.{j}" for i in range(1, 5) for j in range(2)), "", "", "", "fc"]
    source = theirs.state_dict()
    for name, target in ours.state_dict().items():
        stage, rest = name.split(".", 1)
        value = source.pop(f"{stems[int(stage)]}.{rest}", None)
        if value is None:
            assert name.endswith("bias")
            value = torch.zeros_like(target)
        target.copy_(value)
    assert not source
    for model in (ours, theirs):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.linspace(-0.1, 0.1, module.num_features)
                module.running_var = torch.linspace(0.5, 1.5, module.num_features)
    x = torch.randn(2, 3, 64, 64)
    np.testing.assert_allclose(ours.eval()(x).detach(), theirs.eval()(x).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", MODELS)
def test_the_seed_decides_the_weights(config: Any) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(config(width=4).build(1, 8, 3).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("config", MODELS)
def test_dropout_acts_and_zero_is_no_module(config: Any) -> None:
    def outputs(p: float) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = config(width=8, dropout=p).build(1, 8, 3)
        x = torch.randn(4, 1, 8, 8)
        model.train()
        return [model(x).detach() for _ in range(2)]

    assert torch.equal(*outputs(0.0))
    assert not torch.equal(*outputs(0.5))
    assert not any(isinstance(m, nn.Dropout) for m in config(dropout=0).build(1, 8, 3).modules())


def test_cnn_has_dropout_before_the_last_two_linear_layers() -> None:
    modules = list(CNN(width=4, dropout=0.3).build(3, 32, 5).children())
    places = [i for i, m in enumerate(modules) if isinstance(m, nn.Dropout)]
    linear = [i for i, m in enumerate(modules) if isinstance(m, nn.Linear)]
    assert [i + 1 for i in places] == linear[-2:]
    assert all(modules[i].p == 0.3 for i in places)


def test_configurations_do_not_load_torch() -> None:
    """Loading it takes seconds; a wrong command line is answered before."""
    heavy = "{'torch', 'torchvision', 'numpy', 'sklearn', 'pandas'}"
    code = f"import sys, pipeline.config; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")
