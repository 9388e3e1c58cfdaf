"""What the study runs on: devices, versions, the commit of the code."""

import importlib.metadata
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pipeline.counts import plural
from pipeline.errors import MachineError, UserError, printable
from pipeline.limits import available_bytes, num_cores

PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "pydantic")

GPU_DEVICES = (
    "/dev/nvidiactl",
    "/dev/nvgpu",
    "/dev/nvhost-gpu",
    "/dev/dxg",
    "/dev/kfd",
)  # NVIDIA, Jetson, WSL, ROCm
NVIDIA = GPU_DEVICES[:3]
INSTALL = "install a torch that is built for this GPU and its driver (README, `On a GPU`)"
WORKER_BYTES = (
    700 * 2**20
)  # what a worker process takes before its first picture: Python, torch, Ray
GPU_PARTS = 10_000  # Ray counts a GPU in these and drops fractions of them

PATIENCE_SECONDS = 60.0
SOCKET_PATH_BYTES = 103  # macOS; Linux takes 107
RAY_FOLDER = "r"
RAY_SOCKET = (
    f"{RAY_FOLDER}/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"  # the longest
)


@dataclass(frozen=True)
class Resources:
    """What runs may use: `workers` at once, each with a share of a GPU, with whole GPUs, or with
    one CPU core. num_gpus: those that torch sees, of which Ray is told: it counts by another way.

    machine, fast: what trains, as `describe` has it, and the precision that it is fast at, where
    that is not this machine.
    """

    workers: int
    gpus_per_trial: float
    num_gpus: int = 0
    machine: Mapping[str, Any] = field(default_factory=dict)
    fast: Literal["fp32", "fp16", "bf16"] | None = None

    @property
    def device(self) -> str:
        return "cuda" if self.gpus_per_trial else "cpu"

    @property
    def processes(self) -> int:
        """How many processes train one run together: one for each of its GPUs."""
        return max(1, int(self.gpus_per_trial))


def resources(workers: int | None, gpus_per_trial: float | None) -> Resources:
    """All GPUs (one run each unless `gpus_per_trial` says otherwise), else all cores this process
    may use, or fewer where the memory that is left holds no more workers.

    Several GPUs for a run must be whole ones. Raises UserError where they are not, and where more
    is asked for than there is.
    """
    try:
        num_gpus = 0 if gpus_per_trial == 0 else count_gpus()
    except UserError as error:
        raise UserError(
            f"--gpus-per-trial: {error}, or ask for the CPU: --gpus-per-trial 0"
        ) from None
    share = gpus_per_trial if gpus_per_trial is not None else float(num_gpus > 0)
    if share > num_gpus:
        raise UserError(
            f"--gpus-per-trial: got {share:g}, but this machine has "
            f"{plural(num_gpus, 'usable GPU')}"
        )
    require_share(share)
    most = (
        places(num_gpus, share)
        if share
        else max(1, min(num_cores(), available_bytes() // WORKER_BYTES))
    )
    if share and workers and workers > most:
        raise UserError(
            f"--workers: got {workers}, but at {share:g} a run "
            f"{plural(num_gpus, 'GPU holds', 'GPUs hold')} {plural(most, 'run')}"
        )
    if workers and workers < most:
        share = spread(workers, num_gpus, share)
    return Resources(workers or most, share, num_gpus if share else 0)


def at_hand() -> tuple[Resources, str]:
    """All that works here, and what is wrong with a GPU that does not, '' where nothing is: for
    what takes a moment and trains nothing.
    """
    try:
        count_gpus()
    except UserError as error:
        return resources(None, 0), str(error)
    return resources(None, None), ""


def shortage(means: Resources) -> str:
    """Why fewer runs are trained at the same time than there are cores, where nobody asked for so
    few, or which GPUs are idle; "" where neither is so.
    """
    if means.gpus_per_trial:
        idle = means.num_gpus - min(means.num_gpus, means.workers * means.processes)
        if not idle:
            return ""
        runs = plural(means.workers, "run")
        return (
            f"{idle} of {plural(means.num_gpus, 'GPU')} idle: {runs} at the same time, each "
            f"on {means.gpus_per_trial:g}; --workers and --gpus-per-trial share them out"
        )
    if means.workers >= num_cores():
        return ""
    return (
        f"{plural(means.workers, 'run')} at the same time, not {num_cores()}: the memory that is "
        f"left holds no more workers of {WORKER_BYTES / 2**30:.1f} GB; --workers asks for more"
    )


def require_share(share: float) -> None:
    """Raise UserError where no run can have this share of a GPU, or this many."""
    if 0 < share < 1 / GPU_PARTS or (share > 1 and share != int(share)):
        allowed = f"0, {1 / GPU_PARTS:g} to 1, or several whole GPUs"
        raise UserError(f"--gpus-per-trial: got {share:g}; allowed: {allowed}")


def places(num_gpus: int, share: float) -> int:
    """Runs at once on the GPUs; a run does not lie across two that it shares with others."""
    return (
        int(num_gpus // share) if share >= 1 else num_gpus * (GPU_PARTS // int(share * GPU_PARTS))
    )


def spread(workers: int, num_gpus: int, share: float) -> float:
    """The share that runs ask of Ray, which fills a GPU before it takes the next: as much as there
    is of one where as few as can be are on it.
    """
    if not 0 < share < 1:
        return share
    return max(share, GPU_PARTS // -(-workers // num_gpus) / GPU_PARTS)


def temp_folder(study_folder: Path) -> Path:
    """A study's own folder for Ray's sockets and logs, in /tmp where the system's folder is too
    long for a socket.

    It is for its owner alone; Ray lies in its RAY_FOLDER, since Ray opens the folder that it is
    given to everybody.
    """
    name = f"pipeline-{os.getuid()}-{sha256(bytes(study_folder)).hexdigest()[:7]}"
    usual = Path(tempfile.gettempdir()) / name
    return usual if len(bytes(usual / RAY_SOCKET)) <= SOCKET_PATH_BYTES else Path("/tmp") / name


def make_anew(folder: Path) -> None:
    """Make `folder`, for its owner alone, without what a killed run left there.

    Its last processes may write in it for seconds; raises FileExistsError where they do for longer
    than PATIENCE_SECONDS, MachineError where something else than a folder of this user lies there:
    whose it is could listen in or answer.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        _require_own(folder)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            return folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)


def _require_own(folder: Path) -> None:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
        return
    what = (
        "a folder"
        if stat.S_ISDIR(found.st_mode)
        else "a link"
        if stat.S_ISLNK(found.st_mode)
        else "a file"
    )
    raise MachineError(
        f"{printable(folder)}: {what} of user {found.st_uid} is where Ray's sockets and logs are "
        f"kept; allowed: nothing, or a folder of user {os.getuid()}; remove it, or set TMPDIR to a "
        "folder of your own"
    )


def count_gpus() -> int:
    """Those that torch can use. Raises UserError where there is one of NVIDIA's that it cannot: a
    search of hours on the CPU instead is nothing to begin in silence.
    """
    device = next((one for one in GPU_DEVICES if Path(one).exists()), "")
    if not device or _hidden(os.environ.get("CUDA_VISIBLE_DEVICES")):
        return 0  # without waiting for torch
    import torch

    if torch.cuda.is_available():
        _require_kernels()
        return torch.cuda.device_count()
    if device not in NVIDIA:
        return 0  # of other makers, or WSL's for any
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        why = "none is free"
    except (RuntimeError, AssertionError) as error:
        why = printable(str(error).strip().partition("\n")[0].rstrip("."), 300)
    raise UserError(
        f"{device} is a driver of NVIDIA's, but torch {torch.__version__} can "
        f"use no GPU ({why}); {INSTALL}"
    )


def _hidden(visible: str | None) -> bool:
    """Whether CUDA_VISIBLE_DEVICES leaves no GPU: what comes before the first that is neither an
    index nor a UUID is all that counts (`-1`, Slurm's `NoDevFiles`).
    """
    return visible is not None and not re.match(r"\s*(\d|GPU-|MIG-)", visible)


def _require_kernels() -> None:
    """Raise UserError where torch was built for none of a GPU's kind: its first step would fail."""
    import torch

    built = torch.cuda.get_arch_list()
    if torch.version.cuda is None or not built:
        return
    for index in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(index)
        if not has_kernels(capability, built):
            name = torch.cuda.get_device_name(index)
            raise UserError(
                f"{name} is of compute capability "
                f"{capability[0]}.{capability[1]}, but torch {torch.__version__} was built for "
                f"{', '.join(built)}; CUDA_VISIBLE_DEVICES leaves a GPU out; {INSTALL}"
            )


def has_kernels(capability: tuple[int, int], built: list[str]) -> bool:
    """Whether code built for these (`sm_86`: for 8.6 and later ones of 8; `compute_90`: for 9.0 and
    all later, compiled at first use) runs on a GPU of this capability (CUDA C++ programming guide,
    "Binary compatibility" and "PTX compatibility").
    """
    for one in built:
        kind, _, digits = one.partition("_")
        number = digits.rstrip("af")  # sm_90a: for 9.0 alone
        if not number.isdigit():
            continue
        has = divmod(int(number), 10)
        later = number == digits and has < capability
        if has == capability or (later and (kind == "compute" or has[0] == capability[0])):
            return True
    return False


def versions() -> dict[str, str]:
    """Python's version and those of the packages that can change a result."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }


def commit() -> str:
    """The commit of this code, with `+` where files differ from it; empty where there is no git, or
    one that this code, installed inside of somebody's repository, is no part of.
    """
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ("git", *words),
            cwd=here,
            env=dict(os.environ),  # the real one may be moved by another thread ("Bad address")
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""


def describe(device: str) -> dict[str, Any]:
    """The machine in a few words for the report."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name
        )
    except OSError:
        pass
    if device == "cuda":
        import torch

        kinds = Counter(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
        named = (f"{num} x {kind}" if len(kinds) > 1 else kind for kind, num in kinds.items())
        name = " and ".join(named)
    return {"device": device, "name": name, "cpus": num_cores(), "system": platform.system()}
