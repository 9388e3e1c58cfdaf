"""Foreign: weights in files of others, by whatever names and however deep, matched with a network
of here.
"""

import argparse
import json
import pathlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.serialization import safe_globals

from pipeline.core.blocks import find_head
from pipeline.errors import UserError, printable
from pipeline.own.at_hand import at_hand

MAX_DEPTH = 4  # of tables within tables, and of words before a name
NUM_PREFIXES = 8  # that are tried, the most frequent ones
POINTER = "it is a pointer of Git LFS; fetch the file itself: git lfs pull"
NUM_CLASSES = 1000  # of the networks that names are taken from; their heads are never
SYNONYMS = {
    "layer_scale": "gamma",
    "class_token": "cls_token",
    "pos_embedding": "pos_embed",
    "in_proj_weight": "weight",
    "in_proj_bias": "bias",
}
OLD_DENSENET = re.compile(
    r"(denselayer\d+\.(?:norm|conv))\.([12])\."
)  # as in the files of torchvision's first ones
_scalar: Any = np.float64(0).__reduce__()[0]
HARMLESS: list[
    Any
] = [  # besides tensors and plain values; none of them does anything while it is made
    argparse.Namespace,
    _scalar,
    (_scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdSU"},
    pathlib.PosixPath,
    pathlib.PurePosixPath,
]


@dataclass(frozen=True)
class Table:
    """Tensors by name. `place`: the keys that lead to them in their file; '' where they are the
    file itself.
    """

    place: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class File:
    """Every table of a weights file, and the classes of its head where it is one of ours that says
    them.
    """

    tables: tuple[Table, ...]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """Names that the same weights go by. `source`: the "timm:NAME" or "torchvision:NAME" that calls
    them so, '' for the network's own; `names`: name there → name here; `shifts`: what a running
    variance here is larger by."""

    source: str
    names: Mapping[str, str]
    shifts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """What of a file fits. `tensors`: name here → tensor; `others`: places that fit as well;
    `tried`: in words.
    """

    tensors: Mapping[str, Tensor]
    form: Form
    table: Table
    prefix: str
    others: tuple[str, ...]
    tried: str

    @property
    def found(self) -> str:
        """Where the weights were found, in words; '' where there was nothing to find."""
        said = [f"by the names of {self.form.source}"] if self.form.source else []
        said += [f"in '{printable(self.table.place)}'"] if self.table.place else []
        said += [f"behind the prefix '{printable(self.prefix)}'"] if self.prefix else []
        said += [f"({printable(', '.join(self.others))} would fit as well)"] if self.others else []
        return " ".join(said)

    @property
    def spare(self) -> list[str]:
        """The tensors of the table that have no place in the network."""
        start = len(self.prefix)
        return [
            name
            for name in self.table.tensors
            if not _tidy(name).startswith(self.prefix)
            or self.form.names.get(_tidy(name)[start:]) not in self.tensors
        ]


def read(text: str) -> File:
    """The tensors of a weights file; nothing of it is run. Raises UserError."""
    path, where, begin = at_hand(text), f"transfer.weights: '{printable(text)}'", b""
    try:
        with path.open("rb") as file:
            begin = file.read(9)
        if begin[8:] == b"{" or path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                about = opened.metadata() or {}
                tables = (Table("", {name: opened.get_tensor(name) for name in opened.keys()}),)  # noqa: SIM118
            return File(tables, tuple(json.loads(about.get("classes", "[]"))))
        with safe_globals(HARMLESS):
            tree = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except Exception as error:  # a damaged file fails in one of many ways
        why = POINTER if begin == b"version h" else brief(error)
        raise UserError(f"{where}: cannot be read as weights: {why}") from None
    found = File(tuple(_tables(tree, ())))
    if not found.tables:
        raise UserError(f"{where}: holds no weights by name")
    return found


def brief(error: Exception) -> str:
    """A line of what went wrong, without advice that is none here."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if found:
        return (
            f"it holds an object of {found[1]}, and only tensors and plain values are read, since "
            "others could run anything; save the weights alone: torch.save(model.state_dict(), "
            "'weights.pth')"
        )
    if "weights_only" in str(error):  # what PyTorch advises then runs whatever the file says
        return "it is no file of PyTorch, or a damaged one"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}: {printable(text, 300)}"


def _tables(tree: object, keys: tuple[str, ...]) -> Iterator[Table]:
    if not isinstance(tree, Mapping):
        return
    tensors = {
        name: value
        for name, value in tree.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield Table(".".join(keys), tensors)
    for key, value in tree.items():
        if len(keys) < MAX_DEPTH:
            yield from _tables(value, (*keys, str(key)))


def own_form(model: nn.Module) -> Form:
    """The names of the network itself."""
    return Form("", {name: name for name in model.state_dict()})


def library_form(source: str, model: nn.Module, head: str) -> Form | None:
    """The names by which a library's network has the weights of `model`, both without heads; None
    where they differ.

    Both have the same layers in the same order; of a layer's weights those of one role (weight,
    bias, running mean …) are matched in that order, since libraries group layers differently. A
    library's larger epsilon of a norm becomes part of the running variance, which gives the same
    outputs.
    """
    from pipeline.core.libraries import create  # timm takes seconds to import

    channels = next(
        module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)
    )
    with torch.device("meta"):
        theirs = create(source, channels, NUM_CLASSES)
    mine, others = _roles(model, head), _roles(theirs, find_head(theirs, NUM_CLASSES))
    if {role: len(names) for role, names in mine.items()} != {
        role: len(names) for role, names in others.items()
    }:
        return None
    names = {
        other: own for role in mine for other, own in zip(others[role], mine[role], strict=True)
    }
    shifts = {}
    for other, own in names.items():
        if own.endswith("running_var"):
            there, here = (
                m.get_submodule(n.rpartition(".")[0]) for m, n in ((theirs, other), (model, own))
            )
            shifts[own] = getattr(there, "eps", 0.0) - getattr(here, "eps", 0.0)
    return Form(source, names, shifts)


def _roles(model: nn.Module, head: str) -> dict[tuple[str, bool], list[str]]:
    """(last word of a name, whether it is a matrix) → names in order, those of the head left
    out.
    """
    found: defaultdict[tuple[str, bool], list[str]] = defaultdict(list)
    for name, value in model.state_dict().items():
        if not name.startswith(f"{head}."):
            word = name.rpartition(".")[2]
            found[SYNONYMS.get(word, word), value.squeeze().ndim > 1].append(name)
    return found


def match(
    tables: Sequence[Table], forms: Iterable[Form], own: Mapping[str, Tensor], wanted: Sequence[str]
) -> Match:
    """The table, names and prefix by which most of the `wanted` tensors of `own` agree in name and
    shape; of equal ones the first. Forms are made only until one fits as a whole."""
    best: tuple[int, dict[str, Tensor], Form, Table, str] | None = None
    equal: list[str] = []
    tried: dict[str, None] = {}
    for form in forms:
        tried[f"the names of {form.source}" if form.source else "its own names"] = None
        for table in tables:
            for prefix in _prefixes(table.tensors, form.names):
                tried |= {f"without the prefix '{printable(prefix, 40)}'": None} if prefix else {}
                found = _fitting(table, form, prefix, own)
                num = sum(name in found for name in wanted)
                if best is None or num > best[0]:
                    best, equal = (num, found, form, table, prefix), []
                elif (
                    num == best[0] == len(wanted)
                    and table is not best[3]
                    and table.place not in equal
                ):
                    equal.append(table.place)
        if best and best[0] == len(wanted):
            break
    assert best is not None
    num, tensors, form, table, prefix = best
    return Match(tensors, form, table, prefix, tuple(equal), ", ".join(tried))


def _prefixes(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """What stands before known names, the most frequent first; none at all is always among them."""
    count = Counter({"": 0})
    for name in map(_tidy, tensors):
        words = name.split(".")
        count.update(
            "".join(f"{word}." for word in words[:num])
            for num in range(min(MAX_DEPTH + 1, len(words)))
            if ".".join(words[num:]) in names
        )
    return [prefix for prefix, _ in count.most_common(NUM_PREFIXES)]


def _fitting(table: Table, form: Form, prefix: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, value in table.tensors.items():
        mine = (
            form.names.get(_tidy(name).removeprefix(prefix))
            if _tidy(name).startswith(prefix)
            else None
        )
        if mine is None:
            continue
        shape = own[mine].shape
        alike = (
            value.numel() == shape.numel() and value.shape[:1] == shape[:1]
        )  # a linear layer there, a convolution here
        if value.shape == shape or (form.source and alike):
            shift = form.shifts.get(mine, 0.0)
            found[mine] = value.reshape(shape) + shift if shift else value.reshape(shape)
    return found


def _tidy(name: str) -> str:
    return OLD_DENSENET.sub(r"\1\2.", name)
