"""The user's own augmentation, metric, penalty and dataset."""

from pathlib import Path

import pytest
from own import MORE, NETS, folder, written
from scans import SMALL, digits, numbers

from pipeline.core.config import TrainConfig
from pipeline.core.rehearsal import rehearse
from pipeline.core.train import evaluate_best, train
from pipeline.data.cache import prepare
from pipeline.errors import UserError
from pipeline.own.parts import Own
from pipeline.record.sources import code

__all__ = ["folder"]


@pytest.fixture
def more(folder: Path) -> Path:
    written(folder, "my_nets.py", NETS)
    return written(folder, "my_more.py", MORE)


@pytest.mark.usefixtures("more")
def test_an_augmentation_is_off_at_0_and_repeats_its_draws() -> None:
    inputs, plain = digits(num_train=60), SMALL.override({"epochs": 2})
    own = plain.override({"augment.name": "my_more:my_noise", "augment.amount": 0.3})
    assert numbers(train(own, inputs, seed=1)) == numbers(train(plain, inputs, seed=1))
    on = own.override({"augment.strength": 1.0, "augment.flip": 0.5})
    first = numbers(train(on, inputs, seed=1))
    assert first == numbers(train(on, inputs, seed=1))
    assert first != numbers(train(on, inputs, seed=2))
    assert first != numbers(train(plain.override({"augment.strength": 0.0}), inputs, seed=1))
    rehearse(on, channels=1, size=8, num_classes=10)


@pytest.mark.usefixtures("more")
def test_a_metric_is_taken_each_epoch_and_of_the_finished_model(tmp_path: Path) -> None:
    config = SMALL.override({"epochs": 2, "metrics": [Own("my_more:my_recall", of=3)]})
    inputs = digits(num_train=60)
    history = train(config, inputs, seed=1, folder=tmp_path / "run").history
    assert all(0 <= epoch["val_my_recall"] <= 1 for epoch in history)
    plain = numbers(train(SMALL.override({"epochs": 2}), inputs, seed=1))
    assert [{k: v for k, v in e.items() if k not in ("val_my_recall", "seconds")}
            for e in history] == plain, "it changes nothing"  # fmt: skip
    done = evaluate_best(config, inputs.val, inputs, seed=1, folder=tmp_path / "run")
    best = max(history, key=lambda e: (e["val_acc"], -e["val_loss"]))
    assert done.metrics == {"my_recall": pytest.approx(best["val_my_recall"])}
    assert "metrics my_recall" in code(config)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert config.override(config.flat()) == config
    assert len(SMALL.override({"metrics": "my_more:my_recall"}).metrics) == 1
    with pytest.raises(UserError, match="metrics: names must differ"):
        config.override({"metrics": ["my_more:my_recall", "my_more:my_recall"]})


def test_a_metric_that_is_no_number_is_its_authors_fault(folder: Path) -> None:
    text = (
        "from typing import Literal\n"
        "from pipeline.core.metrics import Measure\n\n\n"
        "class Lost(Measure):\n"
        "    name: Literal['lost'] = 'lost'\n\n"
        "    def value(self, logits, labels):\n"
        "        return float('nan')\n"
    )
    written(folder, "my_lost.py", text)
    config = SMALL.override({"metrics": ["my_lost:Lost"]})
    with pytest.raises(UserError, match=r"metrics 'Lost': a metric is a finite number, got nan"):
        train(config, digits(num_train=60), seed=1)


@pytest.mark.usefixtures("more")
def test_a_penalty_is_added_to_the_loss() -> None:
    inputs, plain = digits(num_train=60), SMALL.override({"epochs": 2})
    own = plain.override({"penalty.name": "my_more:my_penalty"})
    none = own.override({"penalty.weight": 0.0})
    assert numbers(train(none, inputs, seed=1)) == numbers(train(plain, inputs, seed=1))
    assert numbers(train(own, inputs, seed=1)) != numbers(train(plain, inputs, seed=1))


def test_a_dataset_is_decoded_anew_when_its_code_changes(more: Path, tmp_path: Path) -> None:
    dataset = TrainConfig().override({"dataset.name": "my_more:Stripes"}).dataset
    data = prepare(dataset, None, tmp_path / "cache")
    assert data.images.shape == (120, 1, 8, 8)
    assert data.counts == {"train": 40, "valid": 40, "test": 40}
    assert data.classes == ("upright", "level")
    assert dataset.slug(None) == "Stripes"
    written(more.parent, "my_more.py", MORE.replace("* 255", "* 100"))
    again = TrainConfig().override({"dataset.name": "my_more:Stripes"}).dataset
    assert prepare(again, None, tmp_path / "cache").fingerprint != data.fingerprint


FAILS = [
    ("augment.name", "def f(pictures): return pictures[:1]", "must keep their shape, got .1, 1"),
    ("augment.name", "def f(pictures): return torch.rand_like(pictures)", "two calls differ"),
    ("penalty.name", "def f(logits): return logits", "a penalty is one number"),
    ("penalty.name", "def f(model): return model.nothing", "my_more.py, line 2: AttributeError"),
    ("metrics", "def f(logits, labels): return float('nan')", "a metric is a finite number"),
    ("metrics", "def f(logits, labels): return logits.item()", "my_more.py, line 2: RuntimeError"),
]


@pytest.mark.parametrize(("path", "text", "said"), FAILS)
def test_what_does_not_work_is_found_by_one_step(
    path: str, text: str, said: str, folder: Path
) -> None:
    written(folder, "my_more.py", f"import torch\n{text}\n")
    value = ["my_more:f"] if path == "metrics" else "my_more:f"
    config = SMALL.override({path: value, "augment.strength": 1.0})
    with pytest.raises(UserError, match=f"{path.split('.')[0]}.* 'my_more:f': .*{said}"):
        rehearse(config, channels=1, size=8, num_classes=10)


def test_an_error_in_a_datasets_code_is_the_users(folder: Path, tmp_path: Path) -> None:
    text = MORE.replace("drawn = np", "drawn = nothing\n        drawn = np")
    written(folder, "my_more.py", text)
    dataset = TrainConfig().override({"dataset.name": "my_more:Stripes"}).dataset
    with pytest.raises(UserError, match=r"dataset.name 'my_more:Stripes': .*line \d+: NameError"):
        prepare(dataset, None, tmp_path / "cache")
