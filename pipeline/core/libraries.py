"""Networks and published weights of timm and torchvision, under one set of calls."""

import functools
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib import parse, request
from urllib.error import HTTPError

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models, ops

from pipeline.core.blocks import find_head
from pipeline.errors import UserError

NAMES = tuple(models.list_models(module=models))  # torchvision's networks for classification
HUB_FILES = ["model.safetensors", "pytorch_model.bin"]  # as timm looks for them, in this order
PATIENCE = 20  # seconds until a silent server is given up


def create(
    source: str, channels: int, num_classes: int, *, dropout: float = 0.0, **options: Any
) -> nn.Module:
    """The network "timm:NAME" or "torchvision:NAME" with fresh weights; never asks a network for
    anything.

    All regularization that a library adds by itself (dropout, stochastic depth) is off; `dropout`
    acts before the head. The attribute `made_with` keeps the options, for weights that must fit
    them.
    """
    library, name = source.split(":")
    if library == "timm":
        model: nn.Module = timm.create_model(
            name, pretrained=False, in_chans=channels, num_classes=num_classes, **options
        )
    else:
        model = models.get_model(
            name, weights=None, num_classes=num_classes, **_torchvision_options(name), **options
        )
        for module in model.modules():
            if isinstance(module, (nn.Dropout, ops.StochasticDepth)):
                module.p = 0.0
        narrow(model, channels)
    vars(model)["made_with"] = options
    if dropout > 0:
        head = model.get_submodule(find_head(model, num_classes))
        head.register_forward_pre_hook(functools.partial(_drop, dropout))
    return model


def published(source: str, channels: int, **options: Any) -> dict[str, Tensor]:
    """The published weights, fitted to `channels` (one: the sum over red, green and blue) and, by
    timm, to the options.

    Raises what the libraries raise where the download fails: OSError, RuntimeError and others.
    """
    library, name = source.split(":")
    with torch.random.fork_rng(devices=[]), _patience():
        if library == "timm":
            model: nn.Module = timm.create_model(
                name, pretrained=True, in_chans=channels, **options
            )
            return model.state_dict()
        state: dict[str, Tensor] = models.get_model_weights(name).DEFAULT.get_state_dict(
            progress=False, check_hash=True
        )
        first = next(key for key, value in state.items() if value.ndim == 4)
        if channels != state[first].shape[1]:
            state[first] = state[first].sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
        return state


def to_download(source: str) -> str:
    """The file that `published` would have to download, '' where it lies in its library's cache;
    never asks a network for anything.
    """
    library, name = source.split(":")
    if library == "timm":
        found: Any = timm.get_pretrained_cfg(name)
        if found.hf_hub_id:
            hub, _, revision = found.hf_hub_id.partition("@")
            files = [found.hf_hub_filename] if found.hf_hub_filename else HUB_FILES
            known = (try_to_load_from_cache(hub, file, revision=revision or None) for file in files)
            there = any(isinstance(path, str) for path in known)
            return "" if there else f"{files[0]} of huggingface.co/{hub}"
        address, mega = str(found.url), 0.0
    else:
        weights = models.get_model_weights(name).DEFAULT
        address, mega = weights.url, weights.meta.get("_file_size", 0.0)
    file = parse.urlparse(address).path.rpartition("/")[2]
    if (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file():
        return ""
    return address + (f" ({mega:.0f} MB)" if mega else "")


def is_published(source: str) -> bool:
    """Whether the library names weights for the network."""
    library, name = source.split(":")
    return (
        timm.is_model_pretrained(name)
        if library == "timm"
        else len(models.get_model_weights(name)) > 0
    )


def statistics(source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, per channel of pictures in [0, 1], that the published weights
    were trained with.
    """
    library, name = source.split(":")
    if library == "timm":
        found: Any = timm.get_pretrained_cfg(name)
        return tuple(found.mean), tuple(found.std)
    if name == "googlenet":  # its weights stem from a network that was fed [-1, 1]
        return (0.5,) * 3, (0.5,) * 3
    preset = models.get_model_weights(name).DEFAULT.transforms()
    return tuple(preset.mean), tuple(preset.std)


def names() -> tuple[str, ...]:
    """Every name that `source_of` knows, without timm's tags."""
    return tuple(sorted({*timm.list_models(), *NAMES}))


def source_of(name: str) -> str | None:
    """The name with its library, "timm:NAME" or else "torchvision:NAME"; None where neither has it.

    timm's names may carry a tag: `resnet18.a1_in1k`.
    """
    base, _, tag = name.partition(".")
    if timm.is_model(base) and (not tag or name in timm.list_pretrained(base)):
        return f"timm:{name}"
    return f"torchvision:{name}" if name in NAMES else None


@functools.lru_cache
def fit(source: str, channels: int, size: int) -> tuple[int, dict[str, Any]]:
    """The side that pictures of `size` are brought to, and the options with which the network is
    made for it.

    That is `size` where the network takes it, for one of patches the next multiple of its patch;
    else the side that the network was made for. Found by trying, on a device without memory. Raises
    UserError where neither gives logits.
    """
    library, name = source.split(":")
    native, key = 224, "image_size" if name.startswith("vit_") else ""
    if library == "timm":
        found: Any = timm.get_pretrained_cfg(name)
        native, key = found.input_size[-1], "img_size" if found.fixed_input_size else ""
    patch = re.search(r"patch(\d+)|vit_\w_(\d+)", name)
    step = (int(patch[1] or patch[2]) if patch else 32) if key else 1
    side = -(-size // step) * step
    for place, options in ((side, {key: side} if key else {}), (native, dict[str, Any]())):
        if _works(source, channels, place, options):
            return place, options
    raise UserError(
        f"model.arch: no network for classification of pictures with {channels} channels (got "
        f"'{name}', which gives no logits at {side} or {native} px)"
    )


def narrow(model: nn.Module, channels: int) -> None:
    """Leave the first convolution its first `channels` inputs."""
    conv = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if channels != conv.in_channels:
        conv.in_channels = channels
        conv.weight = nn.Parameter(conv.weight.detach()[:, :channels].clone())


def _torchvision_options(name: str) -> dict[str, Any]:
    """Without the extra losses of the Inception networks, which no loss here reads."""
    return (
        {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    )


def _works(
    source: str, channels: int, side: int, options: dict[str, Any], device: str = "meta"
) -> bool:
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device), torch.no_grad():
            model = create(source, channels, 7, **options)
            find_head(model, 7)
            return tuple(model(torch.zeros(2, channels, side, side)).shape) == (2, 7)
    except NotImplementedError:  # a few look at their weights while they are made
        return device == "meta" and _works(source, channels, side, options, "cpu")
    except Exception:  # each of 1400 networks has its own way to refuse a size
        return False


def _drop(p: float, module: nn.Module, args: tuple[Tensor]) -> Tensor:
    return functional.dropout(args[0], p, module.training)


@contextmanager
def _patience() -> Iterator[None]:
    """Downloads fail soon: torch's have no limit of time, and the hub's go on trying for a minute
    where nobody answers.
    """
    before, offline = socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE
    socket.setdefaulttimeout(PATIENCE)
    try:
        constants.HF_HUB_OFFLINE = offline or not _answers(constants.ENDPOINT)
        yield
    finally:
        socket.setdefaulttimeout(before)
        constants.HF_HUB_OFFLINE = offline


def _answers(address: str) -> bool:
    """Whether anybody answers there, be it with an error."""
    try:
        request.urlopen(request.Request(address, method="HEAD")).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True
