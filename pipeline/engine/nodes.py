"""The machines of a cluster: what one is found to be, and whether runs of a command can be trained
on it. Knows nothing of Ray.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from pipeline.core.precision import Precision, common, fast_precision
from pipeline.counts import plural
from pipeline.errors import PipelineError, UserError, listed, printable
from pipeline.machine import WORKER_BYTES, count_gpus, describe, places, require_share, versions

DECIDE = ("torch", "torchvision", "numpy", "pydantic")  # packages that a run's numbers hang on


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster, with what the cluster counts on it."""

    id: str
    name: str
    num_cores: int
    num_gpus: int
    num_bytes: int

    def places(self, share: float) -> int:
        """Runs at once, each on a core, with `share` of a GPU or so many whole ones."""
        cores = min(self.num_cores, self.num_bytes // WORKER_BYTES)
        return min(cores, places(self.num_gpus, share)) if share else cores


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a process on a node found there. sees: the disk that the command writes on;
    where it does not, error also says why there is no place for copies."""

    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    fast: Precision
    sees: bool
    error: str = ""


def look(device: str, token: str, share: float) -> dict[str, Any]:
    """Run on a node: a `Look` as a dictionary, for runs on this device, with this share of a GPU;
    `token` is a file on the command's disk.
    """
    sees = Path(token).exists()
    found = Look(versions={}, machine={}, fast="fp32", sees=sees)
    try:
        if device == "cuda" and count_gpus() < max(1.0, share):
            raise UserError("Ray counts GPUs there, torch sees fewer")
        if not sees:
            from pipeline.engine import ferry  # torch takes seconds to import

            ferry.require_room(ferry.home())
        found = Look(
            versions=versions(),
            machine=describe(device),
            fast=fast_precision(device),
            sees=sees,
        )
    except PackageNotFoundError as error:
        return asdict(found) | {"error": f"{error.name} is not installed there"}
    except (PipelineError, ImportError, OSError, RuntimeError) as error:
        return asdict(found) | {"error": printable(str(error).partition("\n")[0], 300)}
    return asdict(found)


def refusal(found: Look, own: Mapping[str, str]) -> str:
    """Why nothing of this command is trained on the node; "" where it can be. `own` are the
    versions here: of others, the numbers of one study would not be of one kind.
    """
    if found.error:
        return found.error
    if other := [name for name in DECIDE if found.versions.get(name) != own[name]]:
        there = ", ".join(f"{name} {found.versions.get(name)}" for name in other)
        return f"{there} there, {', '.join(f'{name} {own[name]}' for name in other)} here"
    return ""


def machine(there: Sequence[tuple[Node, Look]]) -> dict[str, Any]:
    """The nodes in a few words for the report, as `describe` has one machine."""
    kinds = Counter(str(found.machine["name"]) for _, found in there)
    systems = dict.fromkeys(str(found.machine["system"]) for _, found in there)
    return {
        "device": there[0][1].machine["device"],
        "name": " and ".join(f"{plural(num, 'node')} of {name}" for name, num in kinds.items()),
        "cpus": sum(node.num_cores for node, _ in there),
        "system": ", ".join(systems),
    }


def fast(there: Sequence[tuple[Node, Look]]) -> Precision:
    """The precision that all nodes are fast at."""
    return common(found.fast for _, found in there)


def share_of(nodes: Sequence[Node], gpus_per_trial: float | None) -> float:
    """The share of a GPU, or the whole ones, that a run gets: one, where there is any and nobody
    says how many. Raises UserError where no node has what is asked for.
    """
    most = max((node.num_gpus for node in nodes), default=0)
    share = gpus_per_trial if gpus_per_trial is not None else float(most > 0)
    require_share(share)
    if share > most:
        raise UserError(
            f"--gpus-per-trial: got {share:g}, but no node of the cluster has more than "
            f"{plural(most, 'GPU')}"
        )
    if not any(node.places(share) for node in nodes):
        has = listed([f"{node.name}: {plural(node.num_cores, 'core')}" for node in nodes])
        raise UserError(
            f"--address: no node of the cluster has room for a run, which takes a core and "
            f"{WORKER_BYTES / 2**30:.1f} GB ({has})"
        )
    return share
