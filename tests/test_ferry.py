"""Copies for a node that does not see the command's disk, and what comes back; without Ray."""

import hashlib
import importlib
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.checkpoints import BEST, META, STATE, epochs, settle, write_meta
from pipeline.core.config import TrainConfig
from pipeline.core.identity import Seeds
from pipeline.engine import cargo, ferry
from pipeline.engine.depot import Depot, Piece
from pipeline.engine.ferry import Cargo, load
from pipeline.engine.nodes import look
from pipeline.engine.order import Order, Outcome, Segment
from pipeline.engine.voyage import Voyage
from pipeline.errors import MachineError, UserError
from pipeline.machine import Resources
from pipeline.own.at_hand import STAND_INS, at_hand
from pipeline.record import lease
from pipeline.record.lease import LeaseLost

KEY = "0123456789abcdef" * 2


class World:
    """The command's disk, its depot, and a node's own disk."""

    def __init__(self, place: Path) -> None:
        self.study, self.cache = place / "study", place / "cache" / KEY
        self.cache.mkdir(parents=True)
        (self.cache / "images.u8").write_bytes(bytes(range(256)) * 9)
        (self.cache / "meta.json").write_text("{}")
        self.depot = Depot(str(self.study))
        self.asked: list[str] = []

    def ask(self, method: str, *words: Any) -> Any:
        self.asked.append(method)
        return getattr(self.depot, method)(*words)

    def cargo(self, session: str = "one", **given: Path) -> Cargo:
        paths = cargo.pictures(self.cache) | {f"given/{name}": path for name, path in given.items()}
        pieces = self.depot.offer({key: str(path) for key, path in paths.items()})
        return Cargo(session, self.cache.name, tuple(Piece(**piece) for piece in pieces))

    def order(self, segment: str, run: str = "run") -> Order:
        lease.grant(self.study / "checkpoints" / run, segment)
        config = TrainConfig(epochs=3)
        whole = Segment(segment, run, config, Seeds(0, 1), stop=3, reported=0, test=True)
        return whole.order(self.study, self.cache, Resources(1, 0.0))

    def voyage(self, segment: str) -> Voyage:
        return Voyage(self.order(segment), load(self.cargo(), self.ask), self.ask, "node")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node"))
    monkeypatch.setattr(ferry, "_held", {})
    return World(tmp_path)


def save(folder: Path, epoch: int, best: bytes = b"best") -> None:
    """A checkpoint as far as anything but training is concerned."""
    place = folder / f"epoch_{epoch:04d}"
    place.mkdir(parents=True)
    files = {STATE: f"state {epoch}".encode(), BEST: best}
    for name, content in files.items():
        (place / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    write_meta(place, {"epoch": epoch, "sha256": hashes})


def trained(stop: int, outcome: Outcome | None = None) -> Callable[..., Outcome]:
    """What stands for training up to an epoch."""

    def work(order: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
        with lease.held(order.folder, order.segment):
            for epoch in range(
                (len(epochs(order.folder)) and int(_newest(order)) + 1) or 1, stop + 1
            ):
                save(order.folder, epoch)
                on_epoch({"epoch": epoch})
            if outcome:
                return outcome
            settle(order.folder, complete=stop == 3)
            order.evidence.parent.mkdir()
            order.evidence.write_bytes(b"evidence")
            return Outcome(status="reached", evidence="its digest")

    return work


def _newest(order: Order) -> int:
    return max([int(path.name.removeprefix("epoch_")) for path in epochs(order.folder)], default=0)


def test_a_run_that_goes_on_elsewhere_finds_what_was_given_back_before_it_was_told_of(
    world: World,
) -> None:
    there, told = world.study / "checkpoints" / "run", list[float]()

    def on_epoch(epoch: dict[str, float]) -> None:
        told.append(epoch["epoch"])
        assert (epochs(there)[-1].name, len(epochs(there))) == (f"epoch_{int(told[-1]):04d}", 1)

    first = world.voyage("s.1")
    assert first.carry_out(trained(1), on_epoch).status == "reached"
    shutil.rmtree(ferry.home())  # the node is gone
    ferry._held.clear()
    second = world.voyage("s.2")
    world.asked.clear()

    def and_on(epoch: dict[str, float]) -> None:
        told.append(epoch["epoch"])

    assert second.carry_out(trained(3), and_on).status == "reached"
    assert told == [1, 2, 3]
    assert world.asked.count("commit") == 2
    assert world.asked.count("write") == 2 * 2  # the best weights of the epoch before are there
    (last,) = epochs(there)
    assert sorted(path.name for path in last.iterdir()) == [BEST, META]  # settled
    assert (world.study / "evidence" / "run.npz").read_bytes() == b"evidence"
    assert sorted(path.name for path in there.iterdir()) == ["epoch_0003", lease.FILE]
    second.end()
    assert not second.home.exists()


def test_a_node_that_comes_back_overwrites_nothing_of_a_run_that_another_has(world: World) -> None:
    first, there = world.voyage("s.1"), world.study / "checkpoints" / "run"

    def handed_on(_: dict[str, float]) -> None:
        lease.grant(there, "s.2")

    outcome = first.carry_out(trained(3), handed_on)
    assert (outcome.status, outcome.retry) == ("failed", True)
    assert "no longer this worker's" in outcome.error
    assert [path.name for path in epochs(there)] == ["epoch_0001"]
    for ask in (
        lambda: world.depot.lacks("s.1", "run", "epoch_0002", {}),
        lambda: world.depot.write("s.1", "run", f"epoch_0002/{STATE}", 0, b""),
        lambda: world.depot.commit("s.1", "run", "epoch_0002"),
        lambda: world.depot.settle("s.1", "run", True),
        lambda: world.depot.evidence("s.1", "run", b""),
        lambda: world.depot.begin("s.1", "run", "node"),
    ):
        with pytest.raises(LeaseLost):
            ask()


def test_nothing_but_what_was_offered_and_no_other_place_can_be_asked_for(
    world: World, tmp_path: Path
) -> None:
    world.cargo()
    world.order("s.1")
    (tmp_path / "secret").write_text("secret")
    for key in ("pictures/../secret", str(tmp_path / "secret"), "given/secret"):
        with pytest.raises(KeyError):
            world.depot.read(key, 0)
    for name in ("../../secret", "epoch_0001/../lease", "epoch_0001/lease", "lease"):
        with pytest.raises(ValueError, match="no file of a checkpoint is called"):
            world.depot.read_checkpoint("s.1", "run", name, 0)
        with pytest.raises(ValueError, match="no file of a checkpoint is called"):
            world.depot.write("s.1", "run", name, 0, b"")
    for run in ("..", "../run", "/run", ".run"):
        with pytest.raises(ValueError, match="no run or segment is called"):
            world.depot.begin("s.1", run, "node")
        with pytest.raises(ValueError, match="no run or segment is called"):
            world.depot.output(run, b"")


def test_a_checkpoint_that_did_not_come_whole_takes_nobodys_place(world: World) -> None:
    there, folder = world.study / "checkpoints" / "run", world.study / "x"
    world.order("s.1")
    save(there, 1)
    save(folder, 2, best=b"another")
    meta = (folder / "epoch_0002" / META).read_bytes()
    hashes = {STATE: "", BEST: "", META: ""}
    assert world.depot.lacks("s.1", "run", "epoch_0002", hashes) == [STATE, BEST, META]
    world.depot.write("s.1", "run", f"epoch_0002/{META}", 0, meta)
    world.depot.write("s.1", "run", f"epoch_0002/{STATE}", 0, b"half")
    with pytest.raises(ConnectionError, match="did not arrive whole"):
        world.depot.commit("s.1", "run", "epoch_0002")
    assert [path.name for path in epochs(there)] == ["epoch_0001"]
    (there / "epoch_0001" / STATE).write_bytes(b"damaged")
    assert world.depot.begin("s.1", "run", "node") == []


@pytest.mark.parametrize("damage", ["half", "other", "unfinished", "part"])
def test_pictures_are_fetched_once_and_anew_where_they_are_not_whole(
    world: World, damage: str
) -> None:
    path = load(world.cargo(), world.ask).pictures
    assert (path / "images.u8").read_bytes() == (world.cache / "images.u8").read_bytes()
    world.asked.clear()
    load(world.cargo(), world.ask)
    load(world.cargo("two"), world.ask)
    assert "read" not in world.asked
    if damage == "half":
        (path / "images.u8").write_bytes(b"half")
    if damage == "other":
        content = (path / "images.u8").read_bytes()
        (path / "images.u8").write_bytes(content[::-1])
    if damage in ("unfinished", "part"):  # a kill amid a fetch
        path.rename(f"{path}.unfinished")
        (Path(f"{path}.unfinished") / ".images.u8.part").write_bytes(b"part")
    if damage == "part":
        (Path(f"{path}.unfinished") / "images.u8").unlink()
    load(world.cargo("three"), world.ask)
    assert "read" in world.asked
    assert (path / "images.u8").read_bytes() == (world.cache / "images.u8").read_bytes()
    assert sorted(one.name for one in path.iterdir()) == ["images.u8", "meta.json"]


def test_of_pictures_the_newest_are_kept_and_others_make_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.cache
    for number in range(ferry.KEPT + 2):
        world.cache = first.with_name(f"{number:032x}")
        shutil.copytree(first, world.cache)
        kept = load(world.cargo(f"s{number}"), world.ask).pictures.parent
    assert len([path for path in kept.iterdir() if path.is_dir()]) == ferry.KEPT
    assert (kept / world.cache.name).is_dir()

    usage = namedtuple("usage", "free")

    def free(path: Path) -> Any:
        there = len([one for one in Path(path).iterdir() if one.is_dir()])
        return usage(ferry.SPARE_BYTES + 10**6 if there < 2 else 0)

    monkeypatch.setattr(shutil, "disk_usage", free)
    world.cache = first
    load(world.cargo("room"), world.ask)
    assert (kept / first.name).is_dir()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(ferry.SPARE_BYTES - 1))
    assert "its disk is too small" in look("cpu", "/nowhere", 0.0)["error"]
    shutil.rmtree(kept / first.name)
    with pytest.raises(MachineError, match="its disk is too small"):
        load(world.cargo("full"), world.ask)


def test_where_nothing_can_be_written_is_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    monkeypatch.setattr(ferry.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    assert ferry.home().parent == tmp_path / "temporary"
    assert ferry.home().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(ferry.tempfile, "gettempdir", lambda: "/proc")
    with pytest.raises(MachineError, match="there is no place for copies"):
        ferry.home()
    assert "there is no place for copies" in look("cpu", "/nowhere", 0.0)["error"]


def test_files_that_a_study_names_are_found_by_their_names(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "my.weights.pth.tar"
    weights.write_bytes(b"weights")
    monkeypatch.setenv(STAND_INS, "{}")
    monkeypatch.setattr(ferry.sys, "path", [])
    config = TrainConfig.parse(
        {"transfer": {"weights": str(weights)}, "allow_pretrained": True}, source="test"
    )
    ((key, path),) = cargo.named(config).items()
    loaded = world.cargo(**{key.removeprefix("given/"): path})
    aboard = load(loaded, world.ask)
    weights.unlink()
    ferry.use(loaded, aboard)
    found = at_hand(str(weights))
    assert found.read_bytes() == b"weights"
    assert found.name.endswith(".pth.tar")
    assert at_hand("~/x") == Path.home() / "x"


def test_a_file_that_has_changed_since_the_command_began_is_not_taken(world: World) -> None:
    loaded = world.cargo()
    (world.cache / "meta.json").write_text("[]")
    with pytest.raises(UserError, match="has changed since the command began"):
        load(loaded, world.ask)


def test_a_nodes_own_disk_that_refuses_is_no_fault_of_the_run_and_ends_no_command(
    world: World,
) -> None:
    refused = Outcome(status="machine", error="no space left")
    outcome = world.voyage("s.1").carry_out(trained(1, refused), lambda _: None)
    assert (outcome.status, outcome.blameless, outcome.apart) == ("failed", True, "node")

    voyage = world.voyage("s.2")
    shutil.rmtree(world.study / "checkpoints" / "run" / "epoch_0001")
    (world.study / "checkpoints" / "run" / ".epoch_0001.s.2.tmp").touch()  # no folder can be there
    outcome = voyage.carry_out(trained(1), lambda _: None)
    assert outcome.apart == ""


def test_what_a_failed_worker_printed_comes_back_also_where_it_is_gone(world: World) -> None:
    voyage = world.voyage("s.1")
    voyage.order.output.parent.mkdir()
    voyage.order.output.write_text("why")
    failed = Outcome(status="failed", error="why")
    assert voyage.carry_out(trained(0, failed), lambda _: None) == replace(failed)
    assert (world.study / "logs" / ".s.1.out").read_text() == "why"
    assert ferry.left_behind("one", "s.1") == {".s.1.out": b"why"}
    assert not voyage.home.exists()


def test_what_a_command_leaves_goes_with_it_or_with_the_next_one(world: World) -> None:
    folder = load(world.cargo("killed"), world.ask).folder
    load(world.cargo("other"), world.ask)
    assert folder.exists()  # its process lives
    ferry._held.pop(folder).close()
    load(world.cargo("next"), world.ask)
    assert not folder.exists()
    ferry.clear("next")
    ferry.clear("never")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["other", "other.lock"]


def test_a_package_of_the_users_travels_whole_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is imported lazily is among it; what the environment or a script made up is not."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_ferried_pack").mkdir()
    files = ("my_ferried_pack/__init__.py", "my_ferried_pack/later.py", "my_ferried.py")
    for name in (*files, "my_ferried_pack/notes.txt", "my_script.py"):
        (tmp_path / name).touch()
    for name in ("my_ferried_pack", "my_ferried"):
        importlib.import_module(name)
    found = {key: path for key, path in cargo.code().items() if path.is_relative_to(tmp_path)}
    assert found == {f"code/{name}": tmp_path / name for name in files}
    assert not any(key.startswith(("code/torch/", "code/pipeline/")) for key in cargo.code())
    for name in ("my_ferried_pack", "my_ferried"):
        del sys.modules[name]
