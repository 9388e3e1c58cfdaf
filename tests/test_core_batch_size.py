"""The ends of the range: batches of one picture, and of all of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scans import SMALL, digits, numbers, weights
from studies import small_study

from pipeline.core import stopwatch
from pipeline.core.config import BLOCK, FULL, TrainConfig
from pipeline.core.costs import Shape
from pipeline.core.loop import Loop, finer
from pipeline.core.parallel import Group
from pipeline.core.rehearsal import rehearse_alone
from pipeline.core.train import train
from pipeline.core.trainer import Trainer
from pipeline.data.splits import Split
from pipeline.errors import UserError
from pipeline.session.preflight import require_inputs
from pipeline.study.around import Around
from pipeline.study.ranges import Choice, Float
from pipeline.study.space import Space
from pipeline.study.study import Study

CPU = torch.device("cpu")
NOTHING = Space(knobs={"clip_norm": Float(low=1.0, high=2.0)})
ALONE = SMALL.override({"model.norm": "none"})
MIXED = {"augment.strength": 1.0, "augment.mixup": 0.5}


def trainer(config: TrainConfig, **given: int) -> Trainer:
    return Trainer(config, digits(**given), seed=0, folder=None, device=CPU, group=Group())


def sizes_of(run: Trainer) -> list[int]:
    """How many pictures each forward pass of an epoch is of."""
    seen: list[int] = []
    hook = run.loop.model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    run.loop.run_epoch(1, run.train, run.num_steps, [])
    hook.remove()
    return seen


def test_of_few_pictures_full_is_a_batch_that_holds_all() -> None:
    config = SMALL.override({"epochs": 2, **MIXED})
    full, large = (
        train(config.override({"batch_size": size}), digits(), seed=1) for size in (FULL, 1024)
    )
    assert numbers(full) == numbers(large)


def test_a_full_batch_is_one_step_of_even_blocks_and_the_gradient_that_of_all() -> None:
    """In batches that are no fewer than all the pictures, at once; without norms."""
    plain = {"optimizer.name": "sgd", "optimizer.momentum": 0.0, "optimizer.lr": 0.1}
    config = SMALL.override({**plain, "model.norm": "none"})
    moved = []
    for size, blocks in ((FULL, [200] * 3), (1024, [600])):
        run = trainer(config.override({"batch_size": size}), num_train=600)
        assert (run.num_steps, sizes_of(run)) == (1, blocks)
        moved.append(torch.cat([p.detach().flatten() for p in run.loop.model.parameters()]))
    torch.testing.assert_close(*moved, rtol=1e-4, atol=1e-6)
    run = trainer(config.override({"batch_size": FULL, "accumulate": 2}), num_train=600)
    assert sizes_of(run) == [100] * 6
    run.loop.parts = 4  # as after memory that did not suffice
    assert sizes_of(run) == [50] * 12


def test_pictures_of_a_batch_are_fetched_a_part_at_a_time() -> None:
    """Else a set of pictures that memory does not hold would be copied for its one step."""
    run = trainer(SMALL.override({"batch_size": FULL, "accumulate": 4}), num_train=600)
    fetched: list[int] = []

    class Watched(np.ndarray):  # type: ignore[type-arg]
        def __getitem__(self, rows: Any) -> Any:
            if isinstance(rows, np.ndarray):
                fetched.append(len(rows))
            return np.asarray(self)[rows]

    run.train.images = run.train.images.view(Watched)
    run.loop.run_epoch(1, run.train, 1, [])
    assert fetched == [50] * 12


@pytest.mark.parametrize("size", [1, FULL])
def test_it_goes_on_bit_for_bit(size: Any, tmp_path: Path) -> None:
    config = ALONE.override({"epochs": 2, "batch_size": size, "schedule.name": "cosine"})
    config = config.override(MIXED if size == FULL else {"augment.strength": 1.0})
    straight = train(config, digits(num_train=40), seed=1, folder=tmp_path / "straight")
    for stop in (1, 2):
        cut = train(config, digits(num_train=40), seed=1, folder=tmp_path / "cut", stop=stop)
    assert numbers(cut) == numbers(straight)
    assert weights(tmp_path / "cut", 2) == weights(tmp_path / "straight", 2)


def test_batches_of_one_are_as_many_steps_as_pictures() -> None:
    run = trainer(ALONE.override({"batch_size": 1}), num_train=21)
    assert (run.num_steps, sizes_of(run)) == (21, [1] * 21)


def test_pseudo_labelled_pictures_are_in_the_one_step() -> None:
    inputs = digits(num_train=300)
    known, unknown = (replace(inputs.train, index=half) for half in (range(100), range(100, 300)))
    known, unknown = (replace(one, index=np.asarray(one.index)) for one in (known, unknown))
    config = SMALL.override({"batch_size": FULL, "pseudo.threshold": 0.01, "pseudo.start": 2})
    given = replace(inputs, train=known, unlabeled=Split(*vars(unknown).values()))
    run = Trainer(config, given, seed=0, folder=None, device=CPU, group=Group())
    seen: list[int] = []
    run.loop.model.register_forward_pre_hook(
        lambda model, x: seen.append(len(x[0])) if model.training else None
    )
    for num in (100, 300):
        run.next_epoch(lambda: None)
        assert sum(seen) == num
        seen.clear()


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"batch_size": 0}, "batch_size: a whole number from 1 to 65,536 or 'full' is expected"),
        ({"batch_size": "all"}, "or 'full' is expected, got 'all'"),
        ({"batch_size": 2.5}, "got 2.5"),
        ({"batch_size": 1, "accumulate": 2}, "fewer than 2 pictures of batch_size=1"),
        ({"batch_size": FULL, "accumulate": 129}, "of a full batch's blocks of 256"),
        ({"batch_size": 1, **MIXED}, "batch_size=1 leaves no other picture in a batch for augm"),
        ({"batch_size": 1, "loss.hardest": 0.5}, "for loss.hardest < 1"),
    ],
)
def test_what_cannot_be(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        SMALL.override(knobs)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_where_memory_is_short_blocks_are_halved_down_to_two_pictures() -> None:
    config = SMALL.override({"batch_size": FULL})
    assert [finer(config, parts, 1) for parts in (0, 64, 100, 128)] == [2, 128, 128, 0]
    assert finer(SMALL.override({"batch_size": 1}), 0, 1) == 0


def test_a_rate_that_follows_from_the_number_of_pictures_is_refused_of_a_full_batch() -> None:
    knobs = {"batch_size": Choice(options=(16, FULL)), "lr_per_64": Float(low=0.01, high=0.1)}
    space = Space(knobs=knobs, derived={"optimizer.lr": "lr_per_64 * batch_size / 64"})
    around = Around(space, SMALL)
    assert around.refusal({"batch_size": 16, "lr_per_64": 0.02}) == ""
    said = around.refusal({"batch_size": FULL, "lr_per_64": 0.02})
    assert "'batch_size' is no number: 'full'" in said


def study_of(config: TrainConfig, space: Space = NOTHING) -> Study:
    return small_study(space=space).model_copy(update={"baseline": config})


def data(size: int = 8) -> Any:
    inputs = digits(size=size)
    num = len(inputs.train.images)
    labels, parts = inputs.train.labels[:num], np.zeros(num, np.int8)
    return SimpleNamespace(
        images=inputs.train.images,
        labels=labels,
        parts=parts,
        groups=None,
        classes=tuple("0123456789"),
    )


def test_a_batch_norm_of_single_values_is_refused_by_name_before_anything_is_trained() -> None:
    fine = ALONE.override({"batch_size": 1})
    rehearse_alone(fine, channels=1, size=8, num_classes=10)
    mapped = SMALL.override({"batch_size": 1, "input_size": 32, "model.norm": "batch"})
    rehearse_alone(mapped, channels=1, size=8, num_classes=10)
    flat = SMALL.override({"model.name": "resnet18", "model.width": 4, "batch_size": 1})
    assert flat.model.norm == "batch"  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"batch norm '.+.+' then has one value a channel"):
        rehearse_alone(flat, channels=1, size=8, num_classes=10)
    with pytest.raises(UserError, match="baseline: batch_size: got 1; the network's batch norm"):
        require_inputs(study_of(flat), data())
    frozen = flat.override({"transfer.train": "head"})
    rehearse_alone(frozen, channels=1, size=8, num_classes=10)
    space = Space(knobs={"batch_size": Choice(options=(1, 16))})
    with pytest.raises(UserError, match="'small', space: batch_size: got 1"):
        require_inputs(study_of(flat.override({"batch_size": 16}), space), data())
    require_inputs(study_of(fine.override({"batch_size": 16}), space), data())
    with pytest.raises(UserError, match="for each of 2 processes"):
        require_inputs(study_of(fine), data(), num_processes=2)


def test_a_full_epoch_is_timed_by_blocks_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape(1, 8, 10, num_train=1_000_000, num_val=100, num_test=100)
    made: list[int] = []
    make, steps = stopwatch._made_up, list[int]()
    run_epoch = Loop.run_epoch

    def watched(shape: Shape, num: int) -> Any:
        made.append(num)
        return make(shape, num)

    def counted(loop: Loop, *given: Any) -> Any:
        steps.append(len(given[1]))
        return run_epoch(loop, *given)

    monkeypatch.setattr(stopwatch, "_made_up", watched)
    monkeypatch.setattr(Loop, "run_epoch", counted)
    config = SMALL.override({"batch_size": FULL})
    cost = stopwatch.time_epoch(config, shape, device="cpu", most_seconds=1.0)
    assert made == [8 * BLOCK]
    assert max(steps) <= 8 * BLOCK
    assert cost.epoch_seconds > 1_000_000 / BLOCK * 1e-4
