"""What runs of a command need of its disk, for nodes that do not see that: file by file, by the
keys of the depot's pieces.
"""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pipeline.core.config import TrainConfig
from pipeline.core.transfer import PUBLISHED, published_source
from pipeline.data.shelf import IMAGES, META
from pipeline.own.at_hand import at_hand
from pipeline.own.blame import is_users
from pipeline.record import sources


def pictures(data: Path) -> dict[str, Path]:
    """The decoded pictures."""
    return {f"pictures/{name}": data / name for name in (IMAGES, META)}


def code() -> dict[str, Path]:
    """The user's modules that this process has imported, of packages all of their Python files: by
    the place that they are imported from.
    """
    found = {}
    for name, module in [*sys.modules.items()]:
        path, place = Path(getattr(module, "__file__", None) or ""), name.replace(".", "/")
        inside = f"{place}/__init__.py" if hasattr(module, "__path__") else f"{place}.py"
        if not path.is_absolute() or not is_users(str(path)):
            continue
        if not path.as_posix().endswith(f"/{inside}"):  # of a script, or made up
            continue
        found[f"code/{inside}"] = path
        if hasattr(module, "__path__"):
            for one in path.parent.rglob("*.py"):
                found[f"code/{place}/{one.relative_to(path.parent).as_posix()}"] = one
    return found


def named(config: TrainConfig) -> dict[str, Path]:
    """The files that a configuration names: a teacher, weights; the published weights that lie
    here; and what its parts reach of the user's code, imported yet or not.
    """
    found = _reached(config)
    if teacher := config.distill.teacher:
        found[f"given/{teacher}"] = _teacher(teacher)
    weights = config.transfer.weights
    if weights == PUBLISHED:
        return found | _published(published_source(config.model))
    return found | ({f"given/{weights}": at_hand(weights)} if weights else {})


def _reached(config: TrainConfig) -> dict[str, Path]:
    labels = {label for files in sources.code(config).values() for label in files}
    ways = ((label, Path(folder, label)) for label in labels for folder in reversed(sys.path))
    there = ((label, way.absolute()) for label, way in ways if way.is_file())
    return {f"code/{label}": way for label, way in there if is_users(str(way))}


def _teacher(given: str) -> Path:
    from pipeline.core.finished.artifact import read  # torch takes seconds to import

    return read(given, key="distill.teacher")[1]


def _published(source: str) -> dict[str, Path]:
    """What the source's library finds its weights by in its cache; nothing where they are not
    there.
    """
    import timm  # takes seconds to import, as torch does
    import torch
    from huggingface_hub import constants, try_to_load_from_cache
    from torchvision import models

    library, name = source.split(":")
    cache: Any = timm.get_pretrained_cfg(name) if library == "timm" else None
    if cache is not None and cache.hf_hub_id:
        hub, _, revision = cache.hf_hub_id.partition("@")
        place = Path(constants.HF_HUB_CACHE)
        names = filter(None, [cache.hf_hub_filename, "model.safetensors", "pytorch_model.bin"])
        known = (try_to_load_from_cache(hub, file, revision=revision or None) for file in names)
        paths = [Path(path) for path in known if isinstance(path, str)][:1]
        paths += [path.parents[2] / "refs" / (revision or "main") for path in paths]
        kind, inside = "hub", Path("hub")
    else:
        url = str(cache.url) if cache is not None else models.get_model_weights(name).DEFAULT.url
        file = urlparse(url).path.rpartition("/")[2]
        place = Path(torch.hub.get_dir())
        paths, kind, inside = [place / "checkpoints" / file], "torch", Path("hub")
    return {
        f"{kind}/{(inside / path.relative_to(place)).as_posix()}": path
        for path in paths
        if path.is_file()
    }
