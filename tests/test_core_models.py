import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.core.models import CNN


def num_params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_cnn_has_the_course_networks_size() -> None:
    # convolutions with bias 3·64·9+64 + 64·128·9+128 + 128·256·9+256 + 256·512·9+512 +
    # 512·512·9+512 = 3,910,784 batch norm 2·(64+128+256+512+512) = 2,944 linear 8192·1024+1024 +
    # 1024·512+512 + 512·11+11 = 8,920,075
    assert num_params(CNN().build(3, 128, 11)) == 12_833_803


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [1, 4, 8, 28, 128])
def test_cnn_takes_pictures_down_to_one_pixel(channels: int, size: int) -> None:
    logits = CNN(width=4, dropout=0.2).build(channels, size, 7)(
        torch.randn(2, channels, size, size)
    )
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "none"])
@pytest.mark.parametrize("place", ["head", "stages", "both"])
def test_cnn_knobs_change_the_network(norm: Any, place: Any) -> None:
    modules = list(
        CNN(width=4, norm=norm, dropout=0.2, dropout_place=place).build(3, 32, 5).modules()
    )
    kinds = {
        "batch": nn.BatchNorm2d,
        "layer": nn.GroupNorm,
        "group": nn.GroupNorm,
        "instance": nn.GroupNorm,
    }
    assert sum(isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)) for m in modules) == (
        5 if norm in kinds else 0
    )
    assert norm not in kinds or any(isinstance(m, kinds[norm]) for m in modules)
    assert sum(isinstance(m, nn.Dropout) for m in modules) == (0 if place == "stages" else 2)
    assert sum(isinstance(m, nn.Dropout2d) for m in modules) == (0 if place == "head" else 5)


def test_cnn_has_dropout_before_the_last_two_linear_layers() -> None:
    modules = list(CNN(width=4, dropout=0.3).build(3, 32, 5).children())
    places = [i for i, m in enumerate(modules) if isinstance(m, nn.Dropout)]
    linear = [i for i, m in enumerate(modules) if isinstance(m, nn.Linear)]
    assert [i + 1 for i in places] == linear[-2:]
    assert all(modules[i].p == 0.3 for i in places)


def test_configurations_do_not_load_torch() -> None:
    """Loading it takes seconds; a wrong command line is answered before."""
    heavy = "{'torch', 'torchvision', 'numpy', 'sklearn', 'pandas'}"
    code = f"import sys, pipeline.core.config; print({heavy} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("set()\n", "")
