"""Pictures of a split on the device that trains: on a GPU uploaded once per process where they fit,
else batch by batch.
"""

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.data.splits import Split

Rows = npt.NDArray[np.int64]
SHARE = 0.6  # of the free device memory that pictures may take
AHEAD = (
    12  # batches that the kernel is asked for before they are needed: enough to keep a disk busy
)

_resident: dict[object, tuple[npt.NDArray[np.uint8], Tensor]] = {}


class Pictures:
    """One split; batches are copies, so that nothing is ever written into the (memory-mapped)
    source.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        self.device = device
        self.images = split.images
        self.index: Rows = np.asarray(split.index)
        self.labels = torch.from_numpy(np.asarray(split.labels)[self.index]).to(device)
        self.resident = resident(split.images, device)
        self._ahead = (
            _Ahead(split.images) if self.resident is None and can_read_ahead(split.images) else None
        )

    def __len__(self) -> int:
        return len(self.index)

    def batches(
        self, order: Rows, cuts: Iterable[slice]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(positions in the split [B], uint8 pictures [B, C, S, S], labels [B]), all on the device.

        `order` holds positions in the split, `cuts` the batches as slices of it.
        """
        rows = self.index[order]
        positions = torch.from_numpy(order).to(self.device)
        rows_there = torch.from_numpy(rows).to(self.device) if self.resident is not None else None
        for cut in self._announced(rows, cuts):
            if self.resident is not None and rows_there is not None:
                images = self.resident[rows_there[cut]]
            else:
                images = torch.from_numpy(np.asarray(self.images[rows[cut]]))
                if self.device.type == "cuda":
                    images = images.pin_memory().to(self.device, non_blocking=True)
            yield positions[cut], images, self.labels[positions[cut]]

    def _announced(self, rows: Rows, cuts: Iterable[slice]) -> Iterator[slice]:
        """`cuts` as they are; the rows of the AHEAD next ones are being read from disk
        meanwhile.
        """
        if self._ahead is None:
            yield from cuts
            return
        waiting: deque[slice] = deque()
        for cut in cuts:
            self._ahead.want(rows[cut])
            waiting.append(cut)
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting


class _Ahead:
    """Asks the kernel to read rows of a memory map's file into the page cache, without waiting for
    them.

    A page fault reads one row after the other; told what comes, a disk serves many at once. Rows
    that are in memory already cost a system call of about a microsecond each.
    """

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        assert isinstance(images, np.memmap)
        self.descriptor = os.open(str(images.filename), os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self.start, self.num_bytes = images.offset, images[:1].nbytes

    def want(self, rows: Rows) -> None:
        """Begin to read these rows."""
        for row in rows.tolist():
            os.posix_fadvise(
                self.descriptor,
                self.start + row * self.num_bytes,
                self.num_bytes,
                os.POSIX_FADV_WILLNEED,
            )


def can_read_ahead(images: npt.NDArray[np.uint8]) -> bool:
    """Whether these are all rows of a file, in order, on a system that takes such advice."""
    if (
        not isinstance(images, np.memmap)
        or images.filename is None
        or not hasattr(os, "posix_fadvise")
    ):
        return False
    # A slice of a memory map keeps its parent's offset: its rows are not where that says.
    try:
        return (
            images.flags.c_contiguous
            and os.path.getsize(images.filename) == images.offset + images.nbytes
        )
    except OSError:  # the name is gone, the map still works
        return False


def resident(images: npt.NDArray[np.uint8], device: torch.device) -> Tensor | None:
    """All pictures on a GPU, kept for the next trial of this process; None on a CPU or where they
    do not fit.
    """
    if device.type != "cuda":
        return None
    name = getattr(images, "filename", None)
    key = (str(device), images.shape, id(images) if name is None else str(name))
    if key not in _resident:
        _resident.clear()
        if images.nbytes > SHARE * torch.cuda.mem_get_info(device)[0]:
            return None
        _resident[key] = (images, torch.from_numpy(np.array(images)).to(device))
    return _resident[key][1]


def evenly(total: int, num: int) -> Rows:
    """At most `num` places among `total`, spread evenly: rows are sorted by file name."""
    return np.unique(np.linspace(0, total - 1, min(num, total)).round().astype(np.int64))


def cut(num_samples: int, batch_size: int) -> list[slice]:
    """Batches as slices; the last one is kept, but a lone last sample joins the batch before (batch
    norm needs two), unless all are alone.
    """
    stops = list(range(batch_size, num_samples, batch_size))
    if batch_size > 1 and stops and num_samples - stops[-1] == 1:
        stops.pop()
    return [
        slice(start, stop) for start, stop in zip([0, *stops], [*stops, num_samples], strict=True)
    ]
