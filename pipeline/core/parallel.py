"""One run on several devices: torch's own data parallelism, one process each."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import FileStore
from torch.nn.parallel import DistributedDataParallel

PATIENCE = datetime.timedelta(
    hours=6
)  # the other processes wait while the first evaluates and writes


@dataclass(frozen=True)
class Group:
    """The processes that train one run together, and which of them this is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process evaluates, reports and writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """What forward passes go through: gradients are averaged over the group in `backward`.

        Norm statistics are taken over all devices on GPUs; on CPUs, where torch cannot, over each
        process's own pictures. So they are in norms that do more than torch's (timm's, with their
        activation), and frozen norms stay as they are.
        """
        if self.size == 1:
            return model
        device = next(model.parameters()).device
        if device.type == "cuda":
            synchronise(model)
        return DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None
        )

    def add(self, value: Tensor) -> Tensor:
        """The sum over the group, on every process."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def share(self, value: Any) -> Any:
        """The leader's value, on every process."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


def synchronise(model: nn.Module) -> None:
    """Put torch's synchronised batch norm in the place of each plain one that is trained."""
    plain = {
        name: module
        for name, module in model.named_modules()
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d)
        and "train" not in vars(module)  # a frozen one has a `train` of its own
    }
    for name, module in plain.items():
        model.set_submodule(name, nn.SyncBatchNorm.convert_sync_batchnorm(module))  # type: ignore[no-untyped-call]


@contextmanager
def joined(rank: int, size: int, meeting: Path, device: str) -> Iterator[Group]:
    """Meet the other processes at the file `meeting` (which must not exist yet), and leave them at
    the end. After an error NCCL is left as it is, since its end waits for the others: the process
    must be ended.
    """
    if size == 1:
        yield Group()
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(rank)
    backend = "nccl" if cuda else "gloo"
    store = FileStore(str(meeting), size)
    distributed.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=PATIENCE
    )
    try:
        yield Group(rank, size)
    except BaseException:
        if not cuda:
            distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()
