"""Losses, beside torch's own and by hand."""

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn import functional

from pipeline.core.losses import LOSSES, MSE, Criterion, CrossEntropy, Focal, Loss

B, K = 12, 5
VARIANTS: list[Any] = [
    CrossEntropy(),
    CrossEntropy(smoothing=0.1),
    Focal(),
    Focal(gamma=0),
    Focal(gamma=0.5),
    MSE(),
]
EVERY_LOSS = pytest.mark.parametrize("loss", VARIANTS, ids=repr)


def batch(seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, K, generator=generator) * scale
    return logits.requires_grad_(), torch.randint(K, (B,), generator=generator)


def soft(seed: int = 0) -> Tensor:
    return torch.rand(B, K, generator=torch.Generator().manual_seed(seed)).softmax(1)


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad(value, logits)
    return grad


def test_every_loss_is_looked_at() -> None:
    assert {type(loss) for loss in VARIANTS} == set(LOSSES)


@EVERY_LOSS
def test_json_round_trip(loss: Criterion) -> None:
    loss = loss.model_copy(update={"balanced": True, "hardest": 0.5})
    made: object = TypeAdapter(Loss).validate_json(loss.model_dump_json())
    assert made == loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_plain_cross_entropy_is_torchs_to_the_last_bit(smoothing: float, mixed: bool) -> None:
    for seed in range(10):
        logits, labels = batch(seed)
        targets = soft(seed) if mixed else labels
        ours = CrossEntropy(smoothing=smoothing).value(logits, targets)
        theirs = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        assert torch.equal(ours, theirs)
        assert torch.equal(gradient(ours, logits), gradient(theirs, logits))


@EVERY_LOSS
def test_a_batch_is_the_mean_of_its_samples(loss: Criterion) -> None:
    logits, labels = batch()
    values = loss.per_sample(logits, labels)
    assert values.shape == (B,)
    assert (values >= 0).all()
    torch.testing.assert_close(loss.value(logits, labels), values.mean())
    torch.testing.assert_close(loss.reduce(values, labels, None), values.mean())


@EVERY_LOSS
def test_one_hot_soft_labels_equal_labels(loss: Criterion) -> None:
    logits, labels = batch()
    hot = functional.one_hot(labels, K).float()
    weights = loss.class_weights([3, 1, 4, 1, 5])
    for variant in (loss, loss.model_copy(update={"hardest": 0.5})):
        for given in (None, weights):
            a, b = variant.value(logits, labels, given), variant.value(logits, hot, given)
            torch.testing.assert_close(a, b)
            torch.testing.assert_close(gradient(a, logits), gradient(b, logits))


@pytest.mark.parametrize("loss", [v for v in VARIANTS if not isinstance(v, MSE)], ids=repr)
def test_soft_labels_sum_over_the_classes(loss: Criterion) -> None:
    """All but the squared error are linear in the target."""
    logits, _ = batch()
    targets = soft()
    by_class = torch.stack([loss.per_sample(logits, torch.full((B,), c)) for c in range(K)], 1)
    torch.testing.assert_close(loss.per_sample(logits, targets), (by_class * targets).sum(1))


def test_focal_without_gamma_is_cross_entropy_and_with_it_weighs_by_what_is_missing() -> None:
    logits, labels = batch()
    a, b = Focal(gamma=0).value(logits, labels), CrossEntropy().value(logits, labels)
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(gradient(a, logits), gradient(b, logits))
    p = logits.softmax(1)[torch.arange(B), labels]
    torch.testing.assert_close(Focal(gamma=2).per_sample(logits, labels), (1 - p) ** 2 * -p.log())
    # the paper's example: at p = 0.9 the loss is 100 times lower than the cross entropy
    sure = torch.tensor([[math.log(9.0), 0.0]])
    ratio = CrossEntropy().value(sure, torch.tensor([0])) / Focal(gamma=2).value(
        sure, torch.tensor([0])
    )
    assert ratio.item() == pytest.approx(100, rel=1e-4)


def test_mse_by_hand_and_within_its_bounds() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    values = MSE().per_sample(logits, torch.tensor([0, 1]))
    assert values.tolist() == pytest.approx([0.25, 0.5625])
    wrong = MSE().per_sample(torch.tensor([[100.0, 0.0, 0.0, 0.0]]), torch.tensor([2]))
    assert wrong.item() == pytest.approx(2 / 4)
    logits, labels = batch()
    theirs = functional.mse_loss(logits.softmax(1), functional.one_hot(labels, K).float())
    torch.testing.assert_close(MSE().value(logits, labels), theirs)


def test_sure_and_wrong_is_where_the_squared_error_learns_nothing() -> None:
    logits, labels = torch.tensor([[30.0, 0.0]], requires_grad=True), torch.tensor([1])
    assert gradient(MSE().value(logits, labels), logits).abs().max() < 1e-6
    assert gradient(CrossEntropy().value(logits, labels), logits).abs().max() > 0.99


@EVERY_LOSS
def test_class_weights_multiply_each_sample(loss: Criterion) -> None:
    logits, labels = batch()
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 0.1])
    expected = (loss.per_sample(logits, labels) * weights[labels]).mean()
    torch.testing.assert_close(loss.value(logits, labels, weights), expected)
    mixed = soft()
    expected = (loss.per_sample(logits, mixed) * (mixed * weights).sum(1)).mean()
    torch.testing.assert_close(loss.value(logits, mixed, weights), expected)


def test_weighted_cross_entropy_is_torchs_up_to_the_divisor() -> None:
    logits, labels = batch()
    weights = CrossEntropy().class_weights([10, 20, 30, 40, 50])
    ours = CrossEntropy(balanced=True).value(logits, labels, weights)
    torch.testing.assert_close(
        ours, functional.cross_entropy(logits, labels, weights, reduction="none").mean()
    )
    theirs = functional.cross_entropy(logits, labels, weights)
    torch.testing.assert_close(ours / weights[labels].mean(), theirs)


def test_class_weights_undo_the_imbalance() -> None:
    counts = [10, 30, 60]
    weights = CrossEntropy().class_weights(counts)
    assert weights.dtype is torch.float32
    assert weights.tolist() == pytest.approx([100 / 30, 100 / 90, 100 / 180])
    torch.testing.assert_close(CrossEntropy().class_weights(torch.tensor(counts)), weights)
    assert [w * n for w, n in zip(weights.tolist(), counts, strict=True)] == pytest.approx(
        [100 / 3] * 3
    )
    assert CrossEntropy().class_weights([7, 7, 7]).tolist() == [1, 1, 1]
    assert CrossEntropy().class_weights([10, 0, 30]).tolist() == pytest.approx([2, 1, 2 / 3])


def test_the_parts_of_a_batch_average_to_the_batch() -> None:
    logits, labels = batch()
    loss = Focal(balanced=True)
    weights = loss.class_weights(torch.bincount(labels, minlength=K))
    parts = [loss.value(logits[rows], labels[rows], weights) for rows in (slice(0, 3), slice(3, B))]
    torch.testing.assert_close(
        parts[0] * 3 / B + parts[1] * (B - 3) / B, loss.value(logits, labels, weights)
    )
    assert weights[labels].mean().item() == pytest.approx(1)


def test_balanced_lacks_its_weights_loudly() -> None:
    logits, labels = batch()
    with pytest.raises(ValueError, match="needs class_weights"):
        CrossEntropy(balanced=True).value(logits, labels)


@EVERY_LOSS
@pytest.mark.parametrize(("share", "num"), [(1.0, 12), (0.5, 6), (0.25, 3), (0.1, 1), (1e-6, 1)])
def test_the_hardest_share_alone_counts(loss: Criterion, share: float, num: int) -> None:
    logits, labels = batch()
    hard = loss.model_copy(update={"hardest": share})
    values = loss.per_sample(logits, labels)
    chosen = values.argsort(descending=True)[:num]
    value = hard.value(logits, labels)
    torch.testing.assert_close(value, values[chosen].mean())
    moved = gradient(value, logits).abs().sum(1) > 0
    assert set(moved.nonzero().flatten().tolist()) == set(chosen.tolist())


def test_hard_is_a_high_loss_whatever_the_weight() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.5, 0.0], [0.0, 0.0]])
    labels = torch.tensor([1, 1, 0, 0])
    weights = torch.tensor([100.0, 0.5])
    value = CrossEntropy(balanced=True, hardest=0.5).value(logits, labels, weights)
    torch.testing.assert_close(value, CrossEntropy().per_sample(logits, labels)[:2].mean() * 0.5)


@EVERY_LOSS
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_extreme_logits_give_finite_values_and_gradients(loss: Criterion, size: float) -> None:
    corners = torch.tensor(
        [[size, -size, 0.0], [-size, size, 0.0], [0.0, 0.0, 0.0], [size, size, -size]]
    )
    for targets in (
        torch.tensor([0, 0, 0, 2]),
        torch.eye(3)[[0, 0, 0, 2]],
        torch.full((4, 3), 1 / 3),
    ):
        logits = corners.clone().requires_grad_()
        value = loss.value(logits, targets)
        assert value.isfinite()
        assert gradient(value, logits).isfinite().all()


@EVERY_LOSS
def test_the_right_answer_costs_less_and_descent_finds_it(loss: Criterion) -> None:
    logits, labels = batch(scale=0.1)
    first = loss.value(logits, labels).item()
    for _ in range(300):
        logits = (
            (logits - 2.0 * gradient(loss.value(logits, labels), logits)).detach().requires_grad_()
        )
    assert loss.value(logits, labels).item() < 0.6 * first
    assert (logits.argmax(1) == labels).all()


@EVERY_LOSS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_in_half_precision_are_refused(loss: Criterion, dtype: torch.dtype) -> None:
    logits, labels = batch()
    with pytest.raises(TypeError, match="float32"):
        loss.value(logits.to(dtype), labels)


@pytest.mark.parametrize(
    ("member", "wrong"),
    [
        (CrossEntropy, {"smoothing": 1.0}),
        (Focal, {"gamma": -1}),
        (MSE, {"hardest": 0}),
        (MSE, {"hardest": 1.1}),
    ],
)
def test_what_makes_no_loss_is_refused(member: Any, wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        member(**wrong)
