"""A check for each kind of part: its rules, one after another."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipeline.core.config import TrainConfig
from pipeline.core.metrics import called
from pipeline.core.rehearsal import rehearse
from pipeline.core.train import train
from pipeline.data.datasets import PictureSet
from pipeline.errors import UserError
from pipeline.frozen import Frozen
from pipeline.own.parts import Own
from pipeline.testing import rules
from pipeline.testing.scans import SMALL, digits, numbers

Part = str | Callable[..., Any] | Frozen
Result = TypeVar("Result")


def check_network(
    part: Part,
    *,
    channels: Sequence[int] = (1, 3),
    sizes: Sequence[int] = (8, 32),
    num_classes: Sequence[int] = (2, 10),
    **knobs: Any,
) -> None:
    """It takes these pictures and classes, its weights follow from the seed and all are trained,
    and a run of it that crashed goes on bit for bit.
    """
    config = _config("model", part, knobs, epochs=2)
    network = config.model
    for size in sizes:
        for depth in channels:
            for classes in num_classes:
                rules.gives_logits(network, depth, size, classes)
    torch.manual_seed(0)
    size = min(sizes)
    x = torch.randn(4, channels[0], size, size)
    rules.gives_gradients(network.build(channels[0], size, 5), x)
    rules.seed_decides(lambda: network.build(channels[0], size, 5))
    _goes_on(config, channels=channels[0], size=max(8, size // 8 * 8))


def check_loss(part: Part, **knobs: Any) -> None:
    """One number with a gradient, of labels and of shares, lower where the answers are right."""
    config = _config("loss", part, knobs, epochs=2)
    rules.is_a_loss(config.loss)
    _goes_on(config)


def check_optimizer(part: Part, **knobs: Any) -> None:
    """It lowers the loss, and all that it keeps is in the checkpoint."""
    losses = _goes_on(_config("optimizer", part, knobs, epochs=4))
    assert min(losses[1:]) < losses[0], f"the loss does not come down: {losses}"


def check_schedule(part: Part, **knobs: Any) -> None:
    """Factors from 0 on, by the progress alone."""
    config = _config("schedule", part, knobs, epochs=2)
    schedule = config.schedule
    rules.is_a_schedule(lambda step: schedule.factor(step, 100, [1.0, 0.9]), range(101))
    _goes_on(config)


def check_augmentation(part: Part, **knobs: Any) -> None:
    """Off at strength 0; else its pictures follow from seed and epoch."""
    config = _config("augment", part, {"strength": 1.0} | knobs, epochs=2)
    inputs = digits(num_train=40, num_val=20)
    rules.draws_by_seed(config.augment, torch.tensor(inputs.train.images[:20]))
    rules.is_off_at_strength_0(config, inputs)
    _goes_on(config)


def check_penalty(part: Part, **knobs: Any) -> None:
    """One number, which changes the training and repeats itself."""
    config = _config("penalty", part, knobs, epochs=2)
    inputs = digits(num_train=40, num_val=20)
    plain = config.override({"penalty.name": "none"})
    assert numbers(train(config, inputs, seed=0)) != numbers(train(plain, inputs, seed=0)), (
        "it changes nothing"
    )
    _goes_on(config)


def check_metric(part: Part, **knobs: Any) -> None:
    """A finite number of the split, in whatever order its pictures come; right answers are no worse
    than wrong ones, by what it says of itself.
    """
    config = _config("metrics", part, knobs, epochs=2)
    (metric,) = config.metrics
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 10, generator=generator), torch.arange(40) % 10
    value = metric.value(logits, labels)
    other = torch.randperm(40, generator=generator)
    again = metric.value(logits[other], labels[other])
    assert abs(value - again) <= 1e-5 * max(1.0, abs(value)), (
        f"it depends on the order of the pictures: {value}, {again}"
    )
    if (sign := config.override({"select": called(metric)}).sign) < 0:
        config = config.override({"select": called(metric)})
    sure = 4 * torch.nn.functional.one_hot(labels, 10).float()
    right, wrong = metric.value(sure, labels), metric.value(sure.roll(1, 1), labels)
    assert sign * right >= sign * wrong, (
        f"right answers are worse than wrong ones, {right} against {wrong}: where less is better, "
        "it says lower_is_better = True"
    )
    _goes_on(config)


def check_dataset(part: Part, root: Path | None = None, **knobs: Any) -> None:
    """It lists the same twice, and every picture is uint8 of its channels and size."""
    dataset: PictureSet = _config("dataset", part, knobs).dataset
    listing = _told(lambda: dataset.scan(root))
    assert listing == dataset.scan(root), "scanned twice, it lists something else"
    num = len(listing.files)
    assert num == len(listing.labels) == len(listing.parts), "names, labels and parts differ in num"
    assert len(set(listing.files)) == num, "a name stands for two pictures"
    assert all(-1 <= label < len(listing.classes) for label in listing.labels), (
        f"labels lie outside of 0 … {len(listing.classes) - 1}, and -1 for unknown"
    )
    shape = (dataset.channels, dataset.size, dataset.size)
    for row in {0, num // 2, num - 1}:
        picture, again = _told(lambda row=row: dataset.read(listing, row)), None  # type: ignore[misc]
        got = (str(picture.pixels.dtype), picture.pixels.shape)
        assert got == ("uint8", shape), f"picture {row} is {got}, not uint8 {shape}"
        again = dataset.read(listing, row)
        assert again.digest == picture.digest, f"picture {row}: read twice, it differs"


def _config(kind: str, part: Part, knobs: dict[str, Any], **more: int) -> TrainConfig:
    if isinstance(part, Frozen):
        assert not knobs, "the config has its knobs already"
        value: Any = part
    else:
        value = Own(part, **knobs)

    def made() -> TrainConfig:
        tree = {**{name: getattr(SMALL, name) for name in TrainConfig.model_fields}, **more}
        return TrainConfig(**{**tree, kind: (value,) if kind == "metrics" else value})

    config = _told(made)
    rules.survives_json(config)
    if kind != "dataset":
        _told(lambda: rehearse(config, channels=1, size=8, num_classes=10))
    return config


def _told(action: Callable[[], Result]) -> Result:
    try:
        return action()
    except (UserError, ValueError) as error:
        raise AssertionError(str(error)) from error


def _goes_on(config: TrainConfig, *, channels: int = 1, size: int = 8) -> list[float]:
    inputs = digits(num_train=48, num_val=16, channels=channels, size=size)
    with tempfile.TemporaryDirectory(prefix="part-") as folder:
        return rules.goes_on(config, inputs, Path(folder))
