import json
import math
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import commands
import pytest
import torch
from pictures import class_folder

from pipeline.doctor import environment, network
from pipeline.doctor.__main__ import main
from pipeline.doctor.environment import available_bytes, size, surroundings
from pipeline.doctor.findings import Finding
from pipeline.doctor.sanity import RangeTest
from pipeline.machine import Resources

ROOT = Path(__file__).parents[1]


Rows = list[tuple[str, str]]
Doctor = Callable[..., tuple[int, Rows]]


def rows_of(text: str) -> Rows:
    """[(level, the rest of the line with those it was wrapped to)]."""
    rows: Rows = []
    for line in text.splitlines():
        level = re.match(r"(ok|warning|error)  +", line)
        if level:
            rows.append((level[1], line[level.end() :].strip()))
        elif line.startswith("        ") and rows:
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {line.strip()}")
    return [(level, re.sub(r"\s+", " ", said)) for level, said in rows]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    """The command in this process, which spares the seconds that it takes to load torch."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
        network, "CHECK_SECONDS", 1e9
    )  # as many steps and pictures as it wants, on any machine
    monkeypatch.setattr(network, "STEP_SECONDS", math.inf)
    threads = torch.get_num_threads()

    def ask(home: Path, *flags: object) -> tuple[int, Rows]:
        code = main(["--study", "hw3", "--mlruns", str(home), *map(str, flags)])
        return code, rows_of(capsys.readouterr().out)

    yield ask
    torch.set_num_threads(threads)


def find(rows: Rows, start: str) -> tuple[str, str]:
    return next(row for row in rows if row[1].startswith(start))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures are decoded once for all that look at the embedded default."""
    return tmp_path_factory.mktemp("doctor") / "mlruns"


def test_the_embedded_default_is_sound_and_nothing_is_recorded(home: Path) -> None:
    ((code, text),) = commands.in_a_row((home, "doctor", "--study", "hw3"), root=ROOT)
    rows = rows_of(text)
    assert code == 0, text
    assert "error" not in {level for level, _ in rows}
    for what in (
        "versions python 3",
        "processors",
        "memory",
        "results",
        "disk",
        "shared memory",
        "loopback",
        "sockets",
    ):
        assert find(rows, what)
    assert "300 train, 500 valid, 997 test; 10 classes; 8x8" in find(rows, "found")[1]
    assert find(rows, "classes")[1].startswith("classes 10: 0 (178), 1 (182), 2 (177)")
    assert find(rows, "left out") == ("ok", "left out nothing")
    assert find(rows, "embedded default")[0] == "warning"
    assert text.count("network of") == 2, (
        "arms with the same network and optimizer are looked at once"
    )
    assert "network of 'baseline', 'augmentation'" in text
    assert "78,906 parameters" in find(rows, "size")[1]
    assert "ln 10 = 2.303" in find(rows, "initial loss")[1]
    for what in ("learns one batch", "learning rate"):
        assert {level for level, said in rows if said.startswith(what)} == {"ok"}, rows
    assert find(rows, "runs none yet")[0] == "ok"
    assert {path.name for path in home.iterdir()} == {"cache"}


def test_a_sound_network_learns_a_batch_and_its_rate_is_near_the_range_tests(
    home: Path, doctor: Doctor
) -> None:
    code, rows = doctor(home)
    assert code == 0
    assert float(find(rows, "learns one batch")[1].split(" to ")[1].split()[0]) < 0.2
    assert re.search(
        r"0\.001; a range test suggests about \d\.\de-0[345]", find(rows, "learning rate")[1]
    )


@pytest.mark.parametrize(
    "flags", [[], ["--set", "optimizer.lr=1e-9"], ["--set", "optimizer.lr=0.02"]]
)
def test_a_machine_too_slow_to_tell_raises_no_alarm(
    flags: list[str], home: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock ends both checks after their first step, which shows nothing of the network."""
    monkeypatch.setattr(network, "CHECK_SECONDS", 0.0)
    code, rows = doctor(home, *flags)
    assert code == 0
    for what in ("learns one batch", "learning rate"):
        level, said = find(rows, what)
        assert (level, "too slow to tell" in said) == ("ok", True), said


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (["optimizer.lr=50"], [("error", "learning rate", "too high")]),
        (
            ["optimizer.name=sgd", "optimizer.lr=50", "model.norm=none"],
            [("error", "learns one batch", "nan")],
        ),
        (
            ["optimizer.lr=1e-9", "final.tta=3", "model.init=he", "model.norm=none"],
            [
                ("warning", "initial loss", "look at the initialisation"),
                ("warning", "learns one batch", "should come near 0"),
                ("warning", "learning rate", "so low"),
                ("warning", "final.tta", "changes nothing"),
            ],
        ),
        (
            ["model.norm=none", "model.activation=sigmoid"],
            [("warning", "gradients", "vanishing in 0.0")],
        ),
    ],
)
def test_planted_faults_are_found(
    faults: list[str], expected: list[tuple[str, str, str]], home: Path, doctor: Doctor
) -> None:
    code, rows = doctor(home, *(word for fault in faults for word in ("--set", fault)))
    assert code == (3 if "error" in {found for found, _ in rows} else 0)
    for level, what, why in expected:
        assert [
            said for found, said in rows if found == level and said.startswith(what) and why in said
        ], rows


def test_of_arms_matched_by_parameters_the_networks_that_are_trained_are_looked_at(
    home: Path, doctor: Doctor
) -> None:
    code, rows = doctor(home, "--study", "hw3_report")
    sizes = [said.split()[1] for _, said in rows if said.startswith("size ")]
    assert (code, sizes) == (0, ["78,906", "81,270", "78,655"])


@pytest.mark.parametrize(
    ("lr", "level", "said"),
    [
        (1e-3, "ok", "suggests about 2.0e-03"),
        (
            1.5e-4,
            "warning",
            "0.00015; a range test suggests about 2.0e-03: it is 13 times below that",
        ),
        (0.02, "ok", "suggests about 2.0e-03"),
        (0.05, "warning", "0.05; a range test suggests about 2.0e-03: it is 25 times above that"),
        (1e-5, "warning", "so low that little will be learned"),
    ],
)
def test_a_rate_far_from_what_the_range_test_suggests_is_warned_of(
    lr: float, level: str, said: str
) -> None:
    found = network._learning_rate(
        lr, RangeTest((1e-6, 1.0), (2.0, 1.0), 2e-3, 0.04, None), 2, failed=False
    )
    assert (found.level, said in found.said) == (level, True), found


def test_a_leak_between_the_parts_and_a_broken_picture_are_shown(
    tmp_path: Path, doctor: Doctor
) -> None:
    folder = class_folder(tmp_path / "food", num=14)
    for split in ("train", "valid"):
        for name in ("bread", "egg", "rice"):
            for n in range(12) if split == "train" else range(12, 14):
                (folder / split / name).mkdir(parents=True, exist_ok=True)
                shutil.move(folder / name / f"{n}.jpg", folder / split / name / f"{n}.jpg")
    for name in ("bread", "egg", "rice"):
        (folder / name).rmdir()
    shutil.copy(folder / "train" / "egg" / "0.jpg", folder / "valid" / "egg" / "copy.jpg")
    (folder / "train" / "rice" / "0.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    small = ("dataset.size=16", "model.width=4", "batch_size=8")
    flags = [word for fault in small for word in ("--set", fault)]
    code, rows = doctor(tmp_path / "mlruns", "--data", folder, *flags)
    assert code == 0
    assert find(rows, "of the pictures leak")[0] == "warning"
    assert find(rows, "few pictures the validation part has 7")[0] == "warning"
    assert [said for _, said in rows if "rice/0.jpg" in said] == [find(rows, "unreadable")[1]]
    assert "16x16, 3 channels" in find(rows, "found")[1]


def test_the_end_points_of_finished_arms_are_looked_at_and_left_alone(
    tmp_path: Path, doctor: Doctor
) -> None:
    home = tmp_path / "mlruns"
    design = {"name": "arms", "arms": commands.ARMS | {"ResNet": {"model.name": "resnet18"}}}
    sets = ("epochs=2", "model.width=4", "dataset.num_valid=1200")
    sets = (*sets, f"ablation.design={json.dumps(design)}")
    flags = [word for text in sets for word in ("--set", text)]
    train = ("ablate", "--study", "hw3", *flags, "--replicates", 1, "--debug")
    assert commands.here(*train, home=home) == 0, commands.output(home)
    folder = commands.folder(home)
    (best,) = folder.glob(
        f"checkpoints/{commands.record(home).arms()['augmentation'][0].key}/*/best.safetensors"
    )
    best.write_bytes(best.read_bytes()[:-1])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, rows = doctor(home, *flags)
    assert code == 0
    for arm in ("baseline", "ResNet"):
        found = [
            said
            for level, said in rows
            if level == "ok" and re.match(rf"{re.escape(arm)} (saddle|minimum|no end point)", said)
        ]
        assert len(found) == 1, rows
        numbers = re.search(
            r"eigenvalues (\S+) \(±\S+\) to (\S+) \(±\S+\), gradient norm (\S+), loss (\S+)",
            found[0],
        )
        assert numbers is not None
        assert float(numbers[1]) < float(numbers[2])
        assert float(numbers[2]) > 0
    assert "SHA-256" in find(rows, "augmentation not computed")[1]
    # what is damaged is for the training commands to judge
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = {f.what: f for f in surroundings(tmp_path / "file" / "mlruns", Resources(1, 0.0))}
    assert found["results"].level == "error"
    assert {f.level for name, f in found.items() if name not in ("results", "disk")} == {"ok"}


def test_more_workers_than_memory_holds_are_too_many(tmp_path: Path) -> None:
    found = {f.what: f for f in surroundings(tmp_path, Resources(100_000, 0.0))}
    assert found["memory"].level == "warning"
    assert "--workers" in found["memory"].said
    assert available_bytes() > 2**20


def test_a_taken_port_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(environment, "UI_PORT", server.getsockname()[1])
        found = {f.what: f for f in surroundings(tmp_path, Resources(1, 0.0))}
    assert "another --port" in found["port"].said
    assert list(tmp_path.iterdir()) == []


def test_sizes_read_well() -> None:
    assert [size(n) for n in (2**20, 1.5 * 2**30)] == ["1.0 MB", "1.5 GB"]
    assert Finding("a", "b").level == "ok"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--study", "hw3", "--dta", "x"], "did you mean '--data'"),
        (["--study", "hw4"], "did you mean 'hw3'"),
        (["--study", "hw3", "--set", "modell.width=3"], "did you mean 'model'"),
        (["--study", "hw3", "--set", "model.name=resnet81"], "did you mean 'resnet18'"),
    ],
)
def test_a_wrong_flag_is_answered_before_torch_is_loaded(
    flags: list[str], said: str, tmp_path: Path
) -> None:
    words = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "pipeline.doctor",
        *flags,
        "--mlruns",
        str(tmp_path / "mlruns"),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not re.search(r"\| +(torch|numpy|ray|mlflow)$", done.stderr, re.MULTILINE)
    assert not (tmp_path / "mlruns").exists()
