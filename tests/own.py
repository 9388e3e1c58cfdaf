"""A user's own code, as a module that tests write and import."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.own import code as own_code
from pipeline.record import sources

NETS = '''"""Parts of a user's own."""

import torch
from torch import nn


class MyNet(nn.Module):
    def __init__(self, channels, num_classes, width: int = 8, pool=2):
        super().__init__()
        conv = nn.Conv2d(channels, width, 3)
        self.body = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(pool), nn.Flatten())
        self.head = nn.Linear(pool * pool * width, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


def my_loss(logits, targets, temperature: float = 1.0):
    return nn.functional.cross_entropy(logits / temperature, targets)


class MyFocal(nn.Module):
    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, targets):
        return nn.functional.cross_entropy(logits, targets) ** self.gamma


def my_sgd(params, lr: float = 0.05, weight_decay: float = 0.0, nesterov=False):
    return torch.optim.SGD(params, lr=lr, momentum=0.9, nesterov=nesterov)


def my_schedule(progress, power=2.0):
    return (1 - progress) ** power
'''


def written(folder: Path, name: str, text: str) -> Path:
    """A file of the user's, ready to be imported anew."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    sys.modules.pop(path.stem, None)
    sources.forget()
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that modules are imported from, as beside a study."""
    before = set(sys.modules)
    monkeypatch.setenv(own_code.FOLDERS, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    own_code.add_folder(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


MORE = '''"""More parts of a user's own."""

import hashlib

import numpy as np
import torch
from pipeline.data.datasets import PictureSet
from pipeline.data.datasets.base import Channels, Side


def my_noise(pictures, generator, strength, amount: float = 0.1):
    noise = torch.randn(pictures.shape, generator=generator)
    return pictures + strength * amount * noise


def my_recall(logits, labels, of: int = 0):
    there = labels == of
    return (logits[there].argmax(1) == of).float().mean().item() if there.any() else 0.0


def my_penalty(logits, weight: float = 0.01):
    return weight * logits.square().mean()


class Stripes(PictureSet):
    """Stripes, upright or level."""

    size: Side = 8
    channels: Channels = 1

    @property
    def folder(self):
        return "unused"

    def scan(self, root):
        files = [f"stripes-{row:03d}" for row in range(120)]
        labels, parts = [row % 2 for row in range(120)], [row % 6 // 2 for row in range(120)]
        return self.listed(
            root, files=files, labels=labels, parts=parts, classes=("upright", "level")
        )

    def read(self, listing, row):
        drawn = np.random.default_rng(row).random((1, 8)) * 255
        pixels = np.repeat(drawn, 8, 0)
        pixels = pixels if listing.labels[row] else pixels.T
        return self.picture(pixels[None].astype(np.uint8))
'''
