"""`python -m tests.faults.record`: real commands lose their folder, their lock or a line of their
ledger in the middle.

Prints a table; the exit code says whether all went as promised. Takes some minutes, so pytest does
not collect it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.record.ledger import FILE
from tests import commands

TINY = (
    "--study",
    "hw3",
    "--workers",
    1,
    "--epochs",
    2,
    "--trials",
    3,
    "--replicates",
    2,
    "--set",
    "model.width=4",
)


def begun(home: Path, lines: int = 9) -> "subprocess.Popen[str]":
    """A search that has written so many lines."""
    process = commands.start("search", *TINY, home=home)
    while commands.num_lines(home) < lines:
        assert process.poll() is None, commands.output(home)
        time.sleep(0.05)
    return process


def ended(process: "subprocess.Popen[str]", home: Path, code: int, *words: str) -> float:
    """Wait for the end that was promised; returns the seconds that it took."""
    since = time.monotonic()
    found = process.wait(commands.HANGS)
    text = commands.output(home)
    assert found == code, (found, text)
    assert "Traceback" not in text, text
    assert "complete after" not in text, text
    assert all(word in said(home) for word in words), text
    return time.monotonic() - since


def said(home: Path) -> str:
    """What the commands printed, without the breaks of lines."""
    return " ".join(commands.output(home).split())


def goes_on(home: Path, calm: Path) -> None:
    assert commands.run("search", *TINY, home=home) == 0, commands.output(home)
    assert "Traceback" not in commands.output(home), commands.output(home)
    assert commands.results(home) == commands.results(calm)


def folder_removed(home: Path, calm: Path) -> str:
    process = begun(home)
    folder = commands.folder(home)
    before = (folder / FILE).read_bytes()
    shutil.rmtree(folder, ignore_errors=True)
    seconds = ended(process, home, 4, "has been removed", "written anew from memory")
    assert (folder / FILE).read_bytes().startswith(before)
    assert commands.run("report", "--study", "hw3", home=home) == 3, commands.output(home)
    goes_on(home, calm)
    return f"rc 4 after {seconds:.0f} s, ledger written anew, goes on"


def folder_moved(home: Path, calm: Path) -> str:
    process = begun(home)
    folder = commands.folder(home)
    folder.rename(home / "elsewhere")
    seconds = ended(process, home, 4, "has been moved", "elsewhere")
    shutil.rmtree(folder, ignore_errors=True)  # what workers may have made
    (home / "elsewhere").rename(folder)
    goes_on(home, calm)
    return f"rc 4 after {seconds:.0f} s, whole where it was moved to, goes on"


def silent(home: Path, calm: Path) -> str:
    """Nothing is reported, as in an epoch of an hour: the worker stands still."""
    process = begun(home)
    workers = subprocess.run(
        ("pgrep", "-P", str(process.pid), "-f", "ray::"),
        capture_output=True,
        text=True,
        check=False,
    )
    raylets = subprocess.run(
        ("pgrep", "-P", str(process.pid), "raylet"), capture_output=True, text=True, check=True
    ).stdout
    found = subprocess.run(
        ("pgrep", "-P", raylets.split()[0]), capture_output=True, text=True, check=True
    ).stdout
    for pid in (*workers.stdout.split(), *found.split()):
        if "ray::" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(int(pid), signal.SIGSTOP)
    (commands.folder(home) / FILE).unlink()
    seconds = ended(process, home, 4, "has been removed")
    goes_on(home, calm)
    return f"rc 4 after {seconds:.0f} s without an event"


def lock_removed(home: Path, calm: Path) -> str:
    process = begun(home)
    (commands.folder(home) / "lock").unlink()
    assert commands.run("search", *TINY, home=home) == 4
    assert commands.run("search", *TINY, "--fresh", home=home) == 4
    assert said(home).count("in use by another process") == 2, commands.output(home)
    assert process.wait(commands.HANGS) == 0, commands.output(home)
    assert commands.results(home) == commands.results(calm)
    return "second commands refused, the first undisturbed"


def killed(home: Path, calm: Path) -> str:
    process = begun(home)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    goes_on(home, calm)
    assert "did not end in good order" not in commands.output(home)
    return "goes on at once"


def line_lost(home: Path, calm: Path) -> str:
    shutil.copytree(calm, home)
    path = commands.folder(home) / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[12] = b"\0" * (len(lines[12]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    assert commands.run("search", *TINY, home=home) == 4
    assert f"python -m pipeline.repair {path.parent}" in said(home), commands.output(home)
    words = (sys.executable, "-m", "pipeline.repair", str(path.parent))
    found = subprocess.run(words, cwd=commands.ROOT, capture_output=True, text=True, check=True)
    assert commands.run("report", "--study", "hw3", home=home) in (0, 3), commands.output(home)
    goes_on(home, calm)
    assert "has been mended" in (path.parent / "report" / "report.md").read_text()
    return "; ".join(found.stdout.splitlines()[1:4])


def foreign_file(home: Path, calm: Path) -> str:
    folder = home / commands.folder(calm).name
    folder.mkdir(parents=True)
    (folder / ".DS_Store").touch()
    process = commands.start(
        "search", *TINY, "--set", "transfer.weights=/nonexistent.pt", home=home
    )
    ended(process, home, 2, "/nonexistent.pt")
    assert [path.name for path in folder.iterdir()] == [".DS_Store"]
    return "rc 2 in words, the file stays"


CASES: tuple[Callable[[Path, Path], str], ...] = (
    *(folder_removed, folder_moved, silent, lock_removed, killed, line_lost, foreign_file),
)


def main() -> int:
    wanted = set(sys.argv[1:])
    failures = 0
    with tempfile.TemporaryDirectory() as temp:
        calm = Path(temp) / "calm"
        assert commands.run("search", *TINY, home=calm) == 0, commands.output(calm)
        for case in CASES:
            if wanted and case.__name__ not in wanted:
                continue
            try:
                verdict = case(Path(temp) / case.__name__, calm)
            except Exception as error:
                failures += 1
                verdict = f"FAILED {type(error).__name__}: {error}"
            print(f"{case.__name__:<16} {verdict}", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
