"""The columns of the tidy frames: which type each has, by its name first."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

METRICS = ("train_loss", "train_acc", "val_loss", "val_acc", "lr")
NUMBERS = {
    *METRICS,
    *[
        "test_loss",
        "test_acc",
        "last_val_loss",
        "last_val_acc",
        "val_acc_at_rung",
        "images_per_s",
        "mde80",
        "look_share",
    ],
    *[
        "delta",
        "sd",
        "se",
        "df",
        "ci95_low",
        "ci95_high",
        "p",
        "p_holm",
        "share",
        "noise_floor",
        "recall",
        "precision",
        "f1",
    ],
    *["best_epoch_median", "grad_norm", "seconds", "time"],
    *(
        f"{name}_{part}"
        for name in ("val_acc", "val_loss", "last_val_acc", "test_acc", "test_loss")
        for part in ("mean", "sd", "ci95_low", "ci95_high", "min", "max")
    ),
}
COUNTS = {
    *[
        "trial",
        "replicate",
        "rung",
        "epoch",
        "best_epoch",
        "best_epoch_min",
        "best_epoch_max",
        "num_params",
    ],
    *["look", "settled_at"],
    *["num_macs", "num_train", "split_seed", "init_seed", "order_seed"],
}


def frame(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Of rows, which need not have the same columns."""
    lines = list(rows)
    names = dict.fromkeys(chain.from_iterable(lines))
    return columns({name: [line.get(name) for line in lines] for name in names})


def columns(table: Mapping[str, Sequence[object]]) -> pd.DataFrame:
    """Of columns by their names, each typed."""
    return pd.DataFrame({_text(name): _column(name, values) for name, values in table.items()})


def _is_number(name: str) -> bool:
    return name in NUMBERS or name.startswith("last_val_") or name.endswith("_at_rung")


def _column(name: str, values: Sequence[object]) -> Any:
    """Typed by its name, else by what is in it; whole numbers too large for 64 bits and mixed kinds
    become texts.
    """
    kinds = {type(value) for value in values if value is not None}
    if _is_number(name) or (kinds <= {int, float} and float in kinds and name not in COUNTS):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    if name in COUNTS or kinds == {int}:
        if all(value is None or -(2**63) <= value < 2**63 for value in values):  # type: ignore[operator]
            return pd.array(list(values), dtype="Int64")
    elif kinds == {bool}:
        return pd.array(list(values), dtype="boolean")
    return pd.array([None if value is None else _text(value) for value in values], dtype="string")


def _text(value: object) -> str:
    """As it is, but for what no UTF-8 can say (parts of a file name in another encoding)."""
    return str(value).encode("utf-8", "replace").decode()
