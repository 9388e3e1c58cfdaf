import errno
import json
import logging
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from scans import SMALL, digits, numbers
from torch import nn

from pipeline.core import checkpoints
from pipeline.core.checkpoints import BEST, META, STATE, Checkpoint, epochs, latest, save, settle
from pipeline.core.identity import Identity
from pipeline.core.optimizers import OPTIMIZERS, Adam
from pipeline.core.train import evaluate_best, train
from pipeline.errors import MachineError, UserError
from pipeline.frozen import Frozen


class Before(Frozen):
    """A config as it was recorded."""

    lr: float = 0.1


class After(Before):
    """The same with a knob that is off by default, as a later version has it."""

    label_noise: float = 0.0


IDENTITY = Identity(Before(), 3, 1)


def epoch(number: int, val_acc: float = 0.5) -> dict[str, float]:
    return {"epoch": number, "val_loss": 0.1 + 0.2, "val_acc": val_acc}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))
    return model.to(memory_format=torch.channels_last)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def write(
    folder: Path,
    num_epochs: int = 3,
    best: int = 2,
    config: Any = Adam,
    identity: Identity = IDENTITY,
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """`num_epochs` checkpoints of a model trained by one step an epoch; epoch `best` is the best
    from then on.
    """
    model = network()
    optimizer = config().build(model)
    for number in range(1, num_epochs + 1):
        step(model, optimizer, number)
        history = tuple(epoch(i) for i in range(1, number + 1))
        save(
            folder,
            model,
            optimizer,
            identity=identity,
            precision="fp32",
            history=history,
            best_epoch=min(best, number),
            about={"config": identity.config.model_dump_json()},
        )
    return model, optimizer


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_a_round_trip_is_exact_and_training_goes_on_alike(config: Any, tmp_path: Path) -> None:
    model, optimizer = write(tmp_path, config=config)
    found = newest(tmp_path)
    assert (found.epoch, found.best_epoch, found.precision) == (3, 2, "fp32")
    assert found.history == tuple(epoch(i) for i in (1, 2, 3))
    other = network(seed=1)
    restored = config().build(other)
    found.restore(other, restored)
    for number in (4, 5, 6):
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)
            assert a.stride() == b.stride()
        step(model, optimizer, number)
        step(other, restored, number)


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_every_part_of_the_optimizers_state_round_trips(config: Any, tmp_path: Path) -> None:
    _, optimizer = write(tmp_path, config=config)
    other = network(seed=1)
    restored = config().build(other)
    newest(tmp_path).restore(other, restored)
    ours, theirs = optimizer.state_dict()["state"], restored.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for number, state in ours.items():
        assert state.keys() == theirs[number].keys()
        for name, value in state.items():
            again = theirs[number][name]
            assert type(again) is type(value)
            if isinstance(value, torch.Tensor):
                assert again.dtype is value.dtype
                assert again.stride() == value.stride()
                assert torch.equal(again, value)
            else:
                assert again == value


def test_the_best_epochs_weights_stay_while_later_ones_are_worse(tmp_path: Path) -> None:
    model = network()
    optimizer = Adam().build(model)
    for number in (1, 2):
        step(model, optimizer, number)
    best = {k: v.clone() for k, v in model.state_dict().items()}
    write(tmp_path, num_epochs=5, best=2)
    kept = newest(tmp_path).best()
    assert kept.keys() == best.keys()
    assert all(torch.equal(kept[k], best[k]) for k in best)


def test_the_newest_two_are_kept_and_share_the_best_weights_on_disk(tmp_path: Path) -> None:
    write(tmp_path, num_epochs=5, best=2)
    assert sorted(os.listdir(tmp_path)) == ["epoch_0004", "epoch_0005"]
    assert sorted(os.listdir(tmp_path / "epoch_0005")) == [BEST, META, STATE]
    assert (tmp_path / "epoch_0004" / BEST).samefile(tmp_path / "epoch_0005" / BEST)


def test_the_files_have_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path, num_epochs=3, best=2)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}


def test_without_hard_links_the_best_weights_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path, num_epochs=4, best=2)
    assert newest(tmp_path).epoch == 4
    assert not (tmp_path / "epoch_0003" / BEST).samefile(tmp_path / "epoch_0004" / BEST)


def newest(folder: Path) -> Checkpoint:
    found = latest(folder, IDENTITY)
    assert found is not None
    return found


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    replaced = path.with_suffix(".new")  # not in place: the best weights are a hard link
    replaced.write_bytes(data)
    replaced.replace(path)


def empty(path: Path) -> None:
    path.unlink()
    path.touch()


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "bit": flip_a_bit,
    "empty": empty,
    "missing": lambda path: path.unlink(),
    "folder": replace_by_a_folder,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", [STATE, META])
def test_a_damaged_checkpoint_is_removed_and_the_one_before_is_used(
    name: str, damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    damage(tmp_path / "epoch_0003" / name)
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path).epoch == 2
    assert "epoch_0003" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["epoch_0002"]


def test_damaged_best_weights_count_as_well(tmp_path: Path) -> None:
    write(tmp_path)
    flip_a_bit(tmp_path / "epoch_0003" / BEST)
    assert newest(tmp_path).epoch == 2


@pytest.mark.parametrize("text", ["null", "[]", "{}", "nonsense", '{"check": 1}'])
def test_any_text_as_meta_data_is_refused_without_a_crash(text: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "epoch_0003" / META).write_text(text)
    assert newest(tmp_path).epoch == 2


def test_edited_numbers_are_noticed(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "epoch_0003" / META
    meta = json.loads(path.read_text())
    meta["history"][0]["val_acc"] = 0.99
    path.write_text(json.dumps(meta))
    assert newest(tmp_path).epoch == 2


def files(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "other",
    [
        Identity(Before(lr=0.2), 3, 1),
        Identity(Before(), 4, 1),
        Identity(Before(), 3, 2),
        Identity(After(label_noise=0.1), 3, 1),
        Identity(After(lr=0.2), 3, 1),
    ],
)
def test_checkpoints_of_another_run_are_refused_by_name_and_left(
    other: Identity, tmp_path: Path
) -> None:
    write(tmp_path)
    before = files(tmp_path)
    with pytest.raises(UserError, match=r"epoch_0003 is of another configuration.* left as it is"):
        latest(tmp_path, other)
    assert files(tmp_path) == before


def test_a_knob_that_is_newer_than_the_checkpoint_has_its_default(tmp_path: Path) -> None:
    write(tmp_path)
    found = latest(tmp_path, Identity(After(), 3, 1))
    assert found is not None
    assert found.epoch == 3


def test_a_knob_that_there_is_no_more_is_refused_and_the_checkpoint_left(tmp_path: Path) -> None:
    write(tmp_path, identity=Identity(After(), 3, 1))
    before = files(tmp_path)
    with pytest.raises(UserError, match="label_noise: unknown key"):
        latest(tmp_path, IDENTITY)
    assert files(tmp_path) == before


def test_a_disk_that_does_not_answer_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    before = files(tmp_path)

    def refuse(_: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "digest", refuse)
        with pytest.raises(
            MachineError, match=r"cannot read the checkpoint .*epoch_0003: Input/output error"
        ):
            latest(tmp_path, IDENTITY)
    assert files(tmp_path) == before


def test_nothing_and_nothing_left_give_none(tmp_path: Path) -> None:
    assert latest(tmp_path / "not there", IDENTITY) is None
    write(tmp_path)
    for path in tmp_path.rglob(META):
        path.unlink()
    assert latest(tmp_path, IDENTITY) is None
    assert os.listdir(tmp_path) == []


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.copytree(tmp_path / "epoch_0003", tmp_path / ".epoch_0004.tmp")
    assert newest(tmp_path).epoch == 3
    assert sorted(os.listdir(tmp_path)) == ["epoch_0002", "epoch_0003"]


def test_an_epoch_can_be_written_again(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path)
    assert newest(tmp_path).epoch == 3


def test_a_disk_that_refuses_is_the_machines_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="checkpoint"):
        write(tmp_path / "file" / "folder")


def test_a_failed_write_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, num_epochs=2)
    monkeypatch.setattr(
        checkpoints,
        "save_file",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(MachineError, match="No space left"):
        write(tmp_path)
    monkeypatch.undo()
    assert newest(tmp_path).epoch == 2


def test_tensors_that_the_disk_does_not_take_are_the_machines_error(tmp_path: Path) -> None:
    """The writer of tensors has an exception of its own for it."""
    write(tmp_path, num_epochs=2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(MachineError, match="cannot write a checkpoint"):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert newest(tmp_path).epoch == 2


def test_no_pickle_is_ever_written(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.suffix == ".safetensors":
            assert load_file(path)
        elif path.is_file():
            json.loads(path.read_text())


def test_a_run_at_rest_keeps_its_newest_checkpoint_and_a_complete_one_its_best_weights(
    tmp_path: Path,
) -> None:
    inputs = digits()
    half = train(SMALL, inputs, seed=0, folder=tmp_path, stop=3)
    settle(tmp_path, complete=False)
    assert [folder.name for folder in epochs(tmp_path)] == ["epoch_0003"]
    whole = train(SMALL, inputs, seed=0, folder=tmp_path)
    assert numbers(whole)[:3] == numbers(half)
    before = evaluate_best(SMALL, inputs.val, inputs, seed=0, folder=tmp_path).facts
    settle(tmp_path, complete=True)
    settle(tmp_path, complete=True)
    assert [sorted(os.listdir(folder)) for folder in epochs(tmp_path)] == [[BEST, META]]
    assert evaluate_best(SMALL, inputs.val, inputs, seed=0, folder=tmp_path).facts == before
    emitted: list[dict[str, float]] = []
    assert train(SMALL, inputs, seed=0, folder=tmp_path, on_epoch=emitted.append) == whole
    assert emitted == list(whole.history)


@pytest.mark.parametrize("place", ["write_meta", "unlink"])
def test_a_run_killed_while_it_settles_settles_the_next_time(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = digits()
    whole = train(SMALL, inputs, seed=0, folder=tmp_path)
    owner = Path if place == "unlink" else checkpoints

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, place, killed)
        with pytest.raises(KeyboardInterrupt):
            settle(tmp_path, complete=True)
    assert sorted(os.listdir(epochs(tmp_path)[-1])) == [BEST, META, STATE]
    if place == "unlink":
        truncate(
            epochs(tmp_path)[-1] / STATE
        )  # what the meta data no longer name is no longer read
    assert train(SMALL, inputs, seed=0, folder=tmp_path) == whole
    for _ in range(2):
        settle(tmp_path, complete=True)
        assert sorted(os.listdir(epochs(tmp_path)[-1])) == [BEST, META]
    assert train(SMALL, inputs, seed=0, folder=tmp_path) == whole


def test_a_disk_that_refuses_to_settle_is_the_machines_error(tmp_path: Path) -> None:
    train(SMALL, digits(), seed=0, folder=tmp_path)
    (epochs(tmp_path)[-1] / f"{META}.tmp").mkdir()
    with pytest.raises(MachineError, match="checkpoint"):
        settle(tmp_path, complete=True)
