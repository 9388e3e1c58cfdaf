"""Pictures of a split on the device that trains: on a GPU uploaded once per process where they fit, else batch by batch."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.data.splits import Split

Rows = npt.NDArray[np.int64]
SHARE = 0.6  # of the free device memory that pictures may take

_resident: dict[object, tuple[npt.NDArray[np.uint8], Tensor]] = {}


class Pictures:
    """One split; batches are copies, so that nothing is ever written into the (memory-mapped) source."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self.device = device
        self.images = split.images
        self.index: Rows = np.asarray(split.index)
        self.labels = torch.from_numpy(np.asarray(split.labels)[self.index]).to(device)
        self.resident = resident(split.images, device)

    def __len__(self) -> int:
        return len(self.index)

    def batches(self, order: Rows, cuts: Iterable[slice]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(positions in the split [B], uint8 pictures [B, C, S, S], labels [B]), all on the device.

        `order` holds positions in the split, `cuts` the batches as slices of it.
        """
        rows = self.index[order]
        positions = torch.from_numpy(order).to(self.device)
        rows_there = torch.from_numpy(rows).to(self.device) if self.resident is not None else None
        for cut in cuts:
            if self.resident is not None and rows_there is not None:
                images = self.resident[rows_there[cut]]
            else:
                images = torch.from_numpy(np.asarray(self.images[rows[cut]]))
                if self.device.type == "cuda":
                    images = images.pin_memory().to(self.device, non_blocking=True)
            yield positions[cut], images, self.labels[positions[cut]]


def resident(images: npt.NDArray[np.uint8], device: torch.device) -> Tensor | None:
    """All pictures on a GPU, kept for the next trial of this process; None on a CPU or where they do not fit."""
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


def cut(num_samples: int, batch_size: int) -> list[slice]:
    """Batches as slices; the last one is kept, but a lone last sample joins the batch before (batch norm needs two)."""
    stops = list(range(batch_size, num_samples, batch_size))
    if stops and num_samples - stops[-1] == 1:
        stops.pop()
    return [slice(start, stop) for start, stop in zip([0, *stops], [*stops, num_samples], strict=True)]
