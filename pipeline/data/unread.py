"""Pictures that are listed and not read: for what can be told of them by their number alone."""

from pathlib import Path

import numpy as np

from pipeline.data.cache import Data, counts_of
from pipeline.data.datasets.base import PictureSet
from pipeline.data.dealt import codes
from pipeline.data.listing import Listing


def unread(dataset: PictureSet, listing: Listing) -> Data:
    """What `dataset` would make of a listing where every picture can be read: shapes, labels, parts
    and groups as they will be, and every pixel black (one byte of memory for all of them).
    """
    shape = (len(listing.files), dataset.channels, dataset.size, dataset.size)
    labels, parts = np.array(listing.labels, np.int64), np.array(listing.parts, np.int8)
    black = np.broadcast_to(np.zeros((), np.uint8), shape)
    return Data(
        path=Path(),
        images=black,  # type: ignore[arg-type]  # read as an array, and mapped from no file
        labels=labels,
        parts=parts,
        files=listing.files,
        classes=listing.classes,
        title=listing.title,
        fingerprint="",
        unreadable=(),
        counts=counts_of(parts, labels),
        is_food11=False,
        warnings=listing.warnings,
        copies={},
        mean=(0.0,) * dataset.channels,
        std=(1.0,) * dataset.channels,
        taken=listing.taken,
        reading=dataset.reading,
        written=listing.written or listing.classes,
        columns=listing.columns,
        groups=codes(listing.groups) if listing.groups else None,
    )
