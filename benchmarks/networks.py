"""What each network costs: the table of docs/networks.md, made from the union of networks.

    python -m benchmarks.networks [--write] [--seconds 2]

All columns but the last are counted on a device without memory and are the same everywhere; a test
compares them with the table. The last is measured on one thread of this machine.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from pipeline.core.finished import macs
from pipeline.core.models import MODELS
from pipeline.core.models.base import Network
from pipeline.core.process import tune_process

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
SIZE, NUM_CLASSES, BATCH = 64, 11, 32
VARIED = ("depth", "variant")  # a network of several sizes says so in one of these; each gets a row
COLUMNS = ("network", "parameters", "MACs", "activations", "images per CPU-second")

HEAD = """# What the networks cost

For one RGB picture of {size} x {size} px and {classes} classes, all knobs at their defaults.
Networks made for larger pictures enlarge them first, which their numbers include.

- **parameters**: numbers that are trained.
- **MACs**: multiplications, each with its addition, of convolutions, linear layers and attention
  in one forward pass.
- **activations**: bytes that autograd keeps for the backward pass, in fp32, per picture of a batch
  of {batch}: what the operations save, counted once per memory it lies in, without the weights,
  attention in its plain form. Optimizer, gradients and the kernels' scratch come on top.
- **images per CPU-second**: forward and backward pass in fp32, batches of {batch}, channels last,
  one thread; median.

Made by `python -m benchmarks.networks --write`; the last column on {machine}, torch {torch}.

"""


def configs() -> Iterator[tuple[str, Network]]:
    """Every network with a name for its row; one of several depths or variants is there with
    each.
    """
    for member in cast(tuple[type[Network], ...], MODELS):
        fields = member.model_fields
        tag = fields["name"].default
        varied = next((name for name in VARIED if name in fields), "")
        values = get_args(fields[varied].annotation) if varied else ()
        if values:
            for value in values:
                yield f"{tag} {value}", member(**{varied: value})
        else:
            yield f"{tag} {fields['arch'].default}" if "arch" in fields else tag, member()


def counted(network: Network) -> tuple[int, int, int]:
    """Parameters, MACs and activation bytes, both per picture; nothing is computed."""
    with torch.device("meta"):
        model = network.build(3, SIZE, NUM_CLASSES)
        num_macs = macs.count(model, 3, SIZE)
        saved = saved_bytes(model.train(), torch.empty(BATCH, 3, SIZE, SIZE))
    return sum(p.numel() for p in model.parameters()), num_macs, saved // BATCH


def saved_bytes(model: nn.Module, x: Tensor) -> int:
    """Bytes of the memory that autograd holds after a forward pass, parameters and buffers left
    out.
    """
    kept: dict[int, Any] = {}  # the storages themselves too, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(x)
    for own in (*model.parameters(), *model.buffers()):
        kept.pop(own.untyped_storage()._cdata, None)
    del logits
    return sum(storage.nbytes() for storage in kept.values())


def speed(network: Network, seconds: float) -> float:
    """Images per CPU-second of training steps without the optimizer's; at least two, and `seconds`
    of them.
    """
    torch.manual_seed(0)
    model = network.build(3, SIZE, NUM_CLASSES).to(memory_format=torch.channels_last)
    x = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % NUM_CLASSES
    rates: list[float] = []
    spent = 0.0
    while len(rates) < 3 or spent < seconds:
        start = time.process_time()
        functional.cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)
        took = time.process_time() - start
        spent += took
        rates.append(BATCH / took)
    return statistics.median(rates[1:])  # the first step is cold


def cells(name: str, network: Network) -> list[str]:
    """The row's cells but for the speed."""
    params, macs, saved = counted(network)
    return [name, f"{params:,}", f"{macs:,}", f"{saved:,}"]


def line(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"


def machine() -> str:
    """The kind of processor."""
    info = Path("/proc/cpuinfo")
    found = (
        [
            row
            for row in info.read_text(encoding="utf-8").splitlines()
            if row.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return (
        found[0].partition(":")[2].strip() if found else platform.processor() or platform.machine()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} in docs/")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="CPU time for each network's speed, at least"
    )
    args = parser.parse_args()
    tune_process()
    table = [line(list(COLUMNS)), line(["---", *["---:"] * (len(COLUMNS) - 1)])]
    for row in table:
        print(row)
    for name, network in configs():
        table.append(line([*cells(name, network), f"{speed(network, args.seconds):.1f}"]))
        print(table[-1], flush=True)
    if args.write:
        head = HEAD.format(
            size=SIZE,
            classes=NUM_CLASSES,
            batch=BATCH,
            machine=machine(),
            torch=torch.__version__.split("+")[0],
        )
        PAGE.write_text(head + "\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
