"""Our metrics are scikit-learn's, whatever a network answers; they are recorded beside accuracy."""

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scans import SMALL, digits, numbers
from sklearn import metrics as sk
from torch import Tensor

import pipeline
from pipeline.core.config import TrainConfig
from pipeline.core.metrics import (
    AUROC,
    ECE,
    METRICS,
    NUM_BINS,
    BalancedAcc,
    LogLoss,
    MacroF1,
    Measure,
    TopK,
    called,
)
from pipeline.core.train import evaluate_best, train
from pipeline.errors import UserError

EVERY = pytest.mark.parametrize("metric", [member() for member in METRICS], ids=called)


def answers(
    seed: int, num: int, num_classes: int, coarse: bool, seen: int
) -> tuple[Tensor, Tensor]:
    """Made-up logits [N, K], with ties where `coarse`, and labels of the first `seen` classes, each
    of which occurs.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num, num_classes)) * 3
    logits = np.round(logits) if coarse else logits
    labels = np.arange(num) % seen
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(rng.permutation(labels))


def expected(metric: Measure, logits: Tensor, labels: Tensor) -> float:
    true, probs = labels.numpy(), logits.double().softmax(1).numpy()
    pred, every = logits.argmax(1).numpy(), list(range(logits.shape[1]))
    match metric:
        case BalancedAcc():
            return float(sk.balanced_accuracy_score(true, pred))
        case MacroF1():
            return float(sk.f1_score(true, pred, average="macro", zero_division=0))
        case AUROC():
            areas = [sk.roc_auc_score(true == c, probs[:, c]) for c in sorted(set(true.tolist()))]
            return float(np.mean(areas))
        case TopK():
            if len(every) == 2:
                return float(sk.accuracy_score(true, logits.argsort(dim=1, stable=True)[:, -1]))
            return float(sk.top_k_accuracy_score(true, logits.numpy(), k=metric.k, labels=every))
        case LogLoss():
            return float(sk.log_loss(true, probs, labels=every))
        case _:
            sure, right = logits.softmax(1).max(1).values.numpy().astype(float), pred == true
            edges = np.linspace(0, 1, NUM_BINS + 1)
            inside = [(low < sure) & (sure <= high) for low, high in itertools.pairwise(edges)]
            gaps = [abs(right[i].mean() - sure[i].mean()) * i.mean() for i in inside if i.any()]
            return float(sum(gaps))


@EVERY
@given(
    seed=st.integers(0, 10**6),
    num=st.integers(9, 60),
    num_classes=st.integers(2, 9),
    coarse=st.booleans(),
    absent=st.integers(0, 6),
)
@example(seed=0, num=12, num_classes=6, coarse=True, absent=0)
@settings(max_examples=60)
def test_a_metric_is_that_of_scikit_learn(
    metric: Measure, seed: int, num: int, num_classes: int, coarse: bool, absent: int
) -> None:
    """With ties and with classes that no picture is of."""
    seen = max(2, num_classes - absent)
    logits, labels = answers(seed, num, num_classes, coarse, seen)
    metric = metric.override({"k": 1 + seed % (num_classes - 1)} if type(metric) is TopK else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that classes are absent
        wanted = expected(metric, logits, labels)
        if type(metric) is AUROC and seen == num_classes > 2:
            probs = logits.double().softmax(1).numpy()
            assert wanted == pytest.approx(
                sk.roc_auc_score(labels.numpy(), probs, multi_class="ovr", average="macro")
            )
    found = metric.value(logits, labels)
    assert type(found) is float
    assert found == pytest.approx(wanted, abs=2e-6 if type(metric) is ECE else 1e-9)
    assert type(metric) is LogLoss or 0 <= found <= 1 + 1e-12
    other = torch.randperm(num, generator=torch.Generator().manual_seed(seed))
    assert metric.value(logits[other], labels[other]) == pytest.approx(found, abs=1e-6)


@EVERY
def test_pictures_of_one_class_alone(metric: Measure) -> None:
    logits, labels = answers(3, 20, 7, False, 1)
    if type(metric) is AUROC:
        with pytest.raises(UserError, match="metrics 'auroc': it needs pictures of two classes"):
            metric.value(logits, labels)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert metric.value(logits, labels) == pytest.approx(
                expected(metric, logits, labels), abs=2e-6
            )


@EVERY
def test_a_metric_is_recorded_at_each_epoch_and_at_the_end_and_changes_nothing(
    metric: Measure, tmp_path: Path
) -> None:
    config, inputs = SMALL.override({"epochs": 2, "metrics": [metric.name]}), digits(num_train=60)
    assert config == SMALL.override({"epochs": 2, "metrics": [metric]})
    assert config == SMALL.override({"epochs": 2, "metrics": metric.name}), "one name alone"
    assert config == config.override(config.flat())
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    history = train(config, inputs, seed=1, folder=tmp_path).history
    name = f"val_{called(metric)}"
    plain = numbers(train(SMALL.override({"epochs": 2}), inputs, seed=1))
    assert [{k: v for k, v in e.items() if k not in (name, "seconds")} for e in history] == plain
    done = evaluate_best(config, inputs.val, inputs, seed=1, folder=tmp_path)
    best = max(history, key=lambda e: (e["val_acc"], -e["val_loss"]))
    assert done.metrics == {called(metric): pytest.approx(best[name])}
    if type(metric) is LogLoss:
        assert best[name] == pytest.approx(best["val_loss"])


def test_names_of_ours_and_what_is_refused() -> None:
    config = SMALL.override({"metrics": '["macro_f1", {"name": "top_k", "k": 3}, "top_k"]'})
    assert list(map(called, config.metrics)) == ["macro_f1", "top_3", "top_5"]
    assert config.metrics == (pipeline.MacroF1(), pipeline.TopK(k=3), pipeline.TopK())
    for given_, words in (
        ('["macro_f"]', "unknown.*did you mean 'macro_f1'"),
        ('["top_k", {"name": "top_k", "k": 5}]', "metrics: names must differ"),
        ('[{"name": "top_k", "k": 0}]', "at least 1"),
    ):
        with pytest.raises(UserError, match=words):
            SMALL.override({"metrics": given_})
