"""Resources: how many runs fit the GPUs, which cores there are, where Ray's sockets go."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from studies import small_study

from pipeline import machine
from pipeline.doctor.environment import surroundings
from pipeline.errors import MachineError, UserError
from pipeline.machine import (
    RAY_SOCKET,
    SOCKET_PATH_BYTES,
    Resources,
    num_cores,
    resources,
    temp_folder,
)
from pipeline.session.opening import emulation
from pipeline.study.designs import Arms


def test_the_commit_is_that_of_this_code_and_not_of_whoever_installed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(Path(machine.__file__).parent, tmp_path / "site-packages" / "pipeline")
    for words in (("init", "-q"), ("add", "-N", "."), ("commit", "-q", "--allow-empty", "-m", "x")):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        if words[0] == "add":
            (tmp_path / "mine.py").touch()
            words = (*words[:2], "mine.py")
        subprocess.run(("git", *identity, *words), cwd=tmp_path, check=True)
    monkeypatch.setattr(machine, "__file__", str(own / "machine.py"))
    assert machine.commit() == ""


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    monkeypatch.setattr(machine, "count_gpus", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("gpus", "share", "workers"),
    [
        (2, None, 2),
        (2, 1.0, 2),
        (2, 2.0, 1),
        (5, 2.0, 2),
        (4, 4.0, 1),
        (2, 0.6, 2),
        (2, 0.5, 4),
        (1, 0.1, 10),
        (1, 0.2, 5),
        (1, 0.3, 3),
        (3, 0.3, 9),
        (1, 1 / 3, 3),
        (2, 0.3333, 6),
        (1, 1 / 6, 6),
        (1, 1 / 49, 49),
    ],
    indirect=["gpus"],
)
def test_a_run_lies_on_one_gpu_or_on_whole_ones(gpus, share, workers):
    found = resources(None, share)
    assert (found.workers, found.device) == (workers, "cuda")
    assert found.gpus_per_trial == (share or 1.0)
    assert found.processes == max(1, int(share or 1))
    assert resources(workers, share) == found
    with pytest.raises(
        UserError,
        match=(
            rf"^--workers: got {workers + 1}, but at .* a run {gpus} GPUs? holds? {workers} "
            r"runs?$"
        ),
    ):
        resources(workers + 1, share)


@pytest.mark.parametrize(
    ("gpus", "workers", "share", "asked", "idle"),
    [
        (2, 2, 0.5, 1.0, ""),
        (2, 3, 0.5, 0.5, ""),
        (2, 3, 0.25, 0.5, ""),
        (2, 5, 0.25, 0.3333, ""),
        (4, 2, 0.5, 1.0, "2 of 4 GPUs idle: 2 runs at the same time, each on 1;"),
        (4, 3, 1.0, 1.0, "1 of 4 GPUs idle: 3 runs at the same time, each on 1;"),
        (4, None, 3.0, 3.0, "1 of 4 GPUs idle: 1 run at the same time, each on 3;"),
        (4, None, 2.0, 2.0, ""),
        (4, None, 0.5, 0.5, ""),
        (1, 2, 0.25, 0.5, ""),
    ],
    indirect=["gpus"],
)
def test_runs_are_spread_over_gpus_and_what_is_idle_is_said(gpus, workers, share, asked, idle):
    found = resources(workers, share)
    assert found.gpus_per_trial == asked
    assert found.workers <= machine.places(gpus, found.gpus_per_trial)
    assert machine.shortage(found).startswith(idle)
    assert bool(idle) == bool(machine.shortage(found))


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("gpus", [4], indirect=True)
@pytest.mark.parametrize("share", [1.5, 3.25, 0.00001])
def test_a_share_that_no_gpu_can_give_is_refused(share):
    with pytest.raises(
        UserError, match=rf"^--gpus-per-trial: got {share:g}; allowed: 0, 0.0001 to 1"
    ):
        resources(None, share)


@pytest.mark.parametrize(("gpus", "share"), [(0, 0.5), (2, 3.0)], indirect=["gpus"])
def test_more_gpus_than_there_are_are_refused(gpus, share):
    with pytest.raises(UserError, match=f"got {share:g}, but this machine has {gpus} usable GPUs"):
        resources(None, share)


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(("gpus", "share"), [(0, None), (2, 0.0)], indirect=["gpus"])
def test_without_a_gpu_every_core_takes_a_run(share):
    found = resources(None, share)
    assert (found.workers, found.gpus_per_trial, found.device) == (num_cores(), 0.0, "cpu")
    assert resources(64, share).workers == 64


def test_cores_are_counted_with_and_without_an_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert num_cores() == 3
    assert machine.describe("cpu")["cpus"] == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert num_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1


def test_a_short_temporary_folder_is_kept_and_each_study_has_its_own(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    one, other = temp_folder(Path("/studies/a")), temp_folder(Path("/studies/b"))
    assert one.parent == other.parent == Path("/var/tmp")
    assert one != other
    assert temp_folder(Path("/studies/a")) == one


@pytest.mark.parametrize("uid", [0, 1000, 2**32 - 2])
def test_rays_longest_socket_fits_under_any_temporary_folder(monkeypatch, uid):
    monkeypatch.setattr(os, "getuid", lambda: uid)
    parents = []
    for length in range(2, 120):
        monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * (length - 1))
        folder = temp_folder(Path("/studies/a"))
        assert len(bytes(folder / RAY_SOCKET)) <= SOCKET_PATH_BYTES
        parents.append(str(folder.parent))
    kept = [parent for parent in parents if parent != "/tmp"]
    assert kept == ["/" + "x" * n for n in range(1, len(kept) + 1)], (
        "the short ones are kept, all longer ones replaced"
    )
    assert 8 <= len(kept) < 40


def test_a_socket_of_that_length_can_be_bound(tmp_path):
    """The limit is the system's own: a path of that many bytes works, one beyond Linux's 107 does
    not.
    """
    room = SOCKET_PATH_BYTES - len(bytes(tmp_path)) - 1
    if room < 1:
        pytest.skip("the tests' own folder is too long")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ("s" * room)))
    with socket.socket(socket.AF_UNIX) as listener, pytest.raises(OSError, match="too long"):
        listener.bind(str(tmp_path / ("s" * (room + 5))))


def test_a_folder_that_a_killed_runs_last_processes_write_in_is_made_anew(tmp_path, monkeypatch):
    real, calls = shutil.rmtree, []

    def rmtree(folder: Path, *, ignore_errors: bool) -> None:
        real(folder, ignore_errors=ignore_errors)
        calls.append(folder)
        if len(calls) < 3:  # a process of the killed run was quicker
            (folder / "session").mkdir(parents=True)

    monkeypatch.setattr(machine.shutil, "rmtree", rmtree)
    machine.make_anew(tmp_path / "temp")
    assert len(calls) == 3
    assert list((tmp_path / "temp").iterdir()) == []
    assert (tmp_path / "temp").stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(machine, "PATIENCE_SECONDS", 0.0)
    calls.clear()
    with pytest.raises(FileExistsError):
        machine.make_anew(tmp_path / "temp")


@pytest.fixture
def foreign(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The place of the temporary folder, taken by something that another user of the machine put
    there.
    """
    place, other = tmp_path / "temp", tmp_path / "other"
    (other / "r").mkdir(parents=True)
    (other / "r" / "kept").touch()
    if request.param == "link":
        place.symlink_to(other)
    elif request.param == "broken link":
        place.symlink_to(tmp_path / "none")
    elif request.param == "file":
        place.touch()
    else:
        other.rename(place)
        if os.getuid() != 0:
            pytest.skip("only root can give a folder to another user")
        os.chown(place, 65534, 65534)
    return place


@pytest.mark.parametrize("foreign", ["link", "broken link", "file", "folder"], indirect=True)
def test_what_another_user_put_in_the_temporary_folders_place_is_refused_and_left_alone(
    foreign: Path,
) -> None:
    before = sorted(foreign.parent.rglob("*")), foreign.lstat().st_mode
    with pytest.raises(
        MachineError,
        match=f"^{foreign}: a (link|file|folder) of user .* set TMPDIR to a folder of your own$",
    ):
        machine.make_anew(foreign)
    assert (sorted(foreign.parent.rglob("*")), foreign.lstat().st_mode) == before


def test_no_more_workers_than_the_memory_that_is_left_holds_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "count_gpus", lambda: 0)
    monkeypatch.setattr(machine, "num_cores", lambda: 64)
    monkeypatch.setattr(machine, "available_bytes", lambda: 4 * 2**30)
    assert machine.resources(None, None).workers == 5
    assert "5 runs at the same time, not 64" in machine.shortage(machine.resources(None, None))
    assert machine.resources(8, None).workers == 8
    monkeypatch.setattr(machine, "available_bytes", lambda: 0)
    assert machine.resources(None, None).workers == 1
    monkeypatch.setattr(machine, "available_bytes", lambda: 640 * 2**30)
    assert machine.shortage(machine.resources(None, None)) == ""


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 9), ["sm_75", "sm_86"], True),
        ((8, 0), ["sm_86"], False),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 3), ["sm_90a", "sm_100a"], False),
        ((10, 3), ["sm_100"], True),
        ((12, 0), ["compute_90"], True),
        ((7, 5), ["compute_90"], False),
        ((9, 0), ["gfx90a"], False),
    ],
)
def test_what_a_gpu_runs_is_what_was_built_for_its_kind_or_for_all_later_ones(
    capability: tuple[int, int], built: list[str], runs: bool
) -> None:
    assert machine.has_kernels(capability, built) == runs


def test_a_gpu_that_torch_cannot_use_is_refused_and_never_silently_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real torch, which finds no GPU here: the driver's file alone is planted."""
    device = tmp_path / "nvidiactl"
    device.touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "GPU_DEVICES", (str(device),))
    monkeypatch.setattr(machine, "NVIDIA", (str(device),))
    with pytest.raises(UserError, match=r"^--gpus-per-trial: .* can use no GPU \(.+\); install"):
        machine.resources(None, None)
    assert machine.resources(2, 0).num_gpus == 0
    means, wrong = machine.at_hand()
    assert (means.device, "install a torch" in wrong) == ("cpu", True)
    assert "--gpus-per-trial" not in wrong, "a flag that not all commands have"
    found = next(one for one in surroundings(tmp_path, means, wrong) if one.what == "processors")
    assert (found.level, wrong in found.said) == ("error", True)
    for hidden in ("", " ", "-1", "-1,0", "NoDevFiles", "none"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert machine.resources(2, None).device == "cpu", "its owner has hidden it"
    for visible in ("0", " 1,0", "GPU-8932f937", "MIG-GPU-8932f937/1/2", "0,-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(UserError, match="can use no GPU"):
            machine.resources(2, None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(machine, "NVIDIA", ())
    assert machine.resources(2, None).device == "cpu", "WSL has its file without one of NVIDIA's"


def test_a_gpu_that_torch_has_no_code_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 6 * index))
    machine._require_kernels()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8 - index, 0))
    with pytest.raises(UserError, match=r"card 1 is of compute capability 7\.0, but .* sm_75, "):
        machine._require_kernels()


@pytest.mark.parametrize(
    ("precision", "fast", "recorded", "said"),
    [
        ("bf16", "bf16", True, ""),
        ("fp32", "fp16", True, ""),
        ("fp16", "bf16", False, ""),
        (
            "bf16",
            "fp16",
            True,
            "precision=bf16: Tesla T4 has no hardware for it and emulates it, which is slow; the "
            "study was begun in it, so its numbers stay comparable. A device that has it is "
            "faster; --fresh --set precision=fp16 begins anew in what is fast here",
        ),
        (
            "bf16",
            "fp32",
            False,
            "precision=bf16: Tesla T4 has no hardware for it and emulates it, which is slow; "
            "--set precision=fp32 is fast here",
        ),
    ],
)
def test_a_precision_that_the_gpu_lacks_is_said(
    precision: str, fast: Any, recorded: bool, said: str
) -> None:
    study = small_study().override({"baseline.precision": precision}, source="test")
    means = Resources(1, 1.0, 1, machine={"device": "cuda", "name": "Tesla T4"}, fast=fast)
    assert "".join(emulation(study, means, recorded=recorded)) == said
    design = Arms(arms={"as it is": {}, "own": {"precision": "bf16"}})
    ablation = study.ablation.model_copy(update={"design": design})
    other = study.model_copy(update={"ablation": ablation})
    if precision != "bf16":
        lines = list(emulation(other, means, recorded=False))
        lacks = any(line.startswith("arm 'own': precision=bf16: Tesla T4 has no") for line in lines)
        assert lacks == (fast != "bf16")
