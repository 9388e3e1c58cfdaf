"""Segments through the real Ray Tune, with delays and deaths at every seam. By hand, in thousands:
`benchmarks.segments`.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.segments.audit import FAULTS, Audit, audit, handed_out, trained_twice, two_writers
from benchmarks.segments.stub import SEAMS, TIMER, read
from pipeline.record import events
from tests.records import lines

ROOT = Path(__file__).parents[1]


def test_nothing_is_lost_done_twice_or_told_wrongly_when_everything_is_late_or_dies(
    tmp_path: Path,
) -> None:
    flags = (
        "--trials",
        "50",
        "--workers",
        "4",
        "--rounds",
        "1",
        "--longest",
        "0.1",
        "--death",
        "0",
        "--error",
        "0.02",
    )
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.segments", *flags, "--out", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    total = json.loads(found.stdout.splitlines()[-1])
    assert {name: total[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert total["segments"] >= 60
    assert total["taken_for_dead"] >= 1
    (study,) = tmp_path.iterdir()
    died = [
        entry["seam"]
        for path in (study, *study.glob("checkpoints/*"))
        for entry in read(path)
        if entry["what"] == "died"
    ]
    assert set(died) == {*SEAMS, TIMER}
    assert audit(study, 50, 2, 4).whole
    assert not audit(study, 51, 2, 4).whole, "a run that is missing is seen"
    assert sum(event["type"] == "fail" for event in lines(study)) >= len(died) - died.count(TIMER)


def entry(segment: str, what: str, time: float, **more: Any) -> dict[str, Any]:
    return {"segment": segment, "what": what, "time": time, **more}


SOUND = [
    entry("a", "held", 1.0),
    entry("a", "train", 2.0, epoch=1),
    entry("a", "saved", 3.0, epoch=1),
    entry("a", "train", 4.0, epoch=2),
    entry("a", "died", 5.0, seam="trained"),
    entry("b", "held", 6.0),
    entry("b", "train", 7.0, epoch=2),
    entry("b", "saved", 8.0, epoch=2),
]


def test_the_audit_sees_an_epoch_that_is_trained_twice() -> None:
    assert trained_twice(SOUND) == 0
    assert trained_twice([one for one in SOUND if one["what"] != "died"]) == 1
    assert trained_twice([*SOUND, entry("c", "saved", 9.0, epoch=2)]) == 1


def test_the_audit_sees_two_writers() -> None:
    assert two_writers(SOUND) == 0
    assert two_writers([*SOUND, entry("a", "saved", 6.5, epoch=2)]) == 1


def test_the_audit_sees_a_run_that_is_handed_out_twice() -> None:
    start, rung = events.Start(run="r", rung=0), events.Rung(run="r", rung=0, value=0.5)
    fail, end = events.Fail(run="r", error=""), events.End(run="r", status="stopped")
    told = [events.Study(id="s", study={}, data={}, note="")]
    told += [start, rung, start, fail, start, start, end]
    told = [replace(event, seq=number) for number, event in enumerate(told)]
    assert handed_out(told) == ({"s.3"}, {"s.1", "s.3", "s.5", "s.6"}, 1, 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_any_fault_makes_a_round_unsound(fault: str) -> None:
    sound = Audit(*(0,) * 12)
    assert sound.whole
    assert not replace(sound, **{fault: 1}).whole
