"""The machine that is checked, in a few facts."""

import os
import re
import subprocess

import torch

from benchmarks.gpu.bench import Bench, Facts
from pipeline.machine import describe

UNKNOWN = "unknown"


def facts(bench: Bench) -> Facts:
    """Names and versions; of a GPU those of its driver and what it is a slice of, too."""
    about = describe(bench.where.type)
    found = {"device": bench.device, "name": about["name"], "torch": torch.__version__}
    found |= {"cpus": about["cpus"], "cpus_of_machine": os.cpu_count() or 0}
    if not bench.gpu:
        return found | {"cuda": torch.version.cuda or "none"}
    properties = torch.cuda.get_device_properties(bench.where)
    return found | {
        "driver": driver(),
        "cuda": torch.version.cuda or "none",
        "cudnn": torch.backends.cudnn.version() or 0,  # type: ignore[no-untyped-call]
        "mig": slices(),
        "capability": f"{properties.major}.{properties.minor}",
        "gigabytes": properties.total_memory / 2**30,
        "gpus": torch.cuda.device_count(),
        "compiled_for": " ".join(torch.cuda.get_arch_list()),
    }


def driver() -> str:
    """The driver's version."""
    said = smi("--query-gpu=driver_version", "--format=csv,noheader")
    return said.splitlines()[0].strip() if said else UNKNOWN


def slices() -> str:
    """The MIG devices that this process may see; `none` where GPUs are whole."""
    said = smi("-L")
    return ", ".join(re.findall(r"MIG (\S+)\s+Device", said)) or ("none" if said else UNKNOWN)


def smi(*words: str) -> str:
    """What NVIDIA's own tool says; empty where it is missing or refuses: it is only looked at."""
    try:
        ran = subprocess.run(
            ("nvidia-smi", *words), capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ran.stdout.strip()
