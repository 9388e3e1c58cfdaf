import math
from typing import Any

import numpy as np
import pytest
import torch
from scans import SMALL, digits
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.evaluate import evaluate
from pipeline.core.finished import compress as module
from pipeline.core.finished import int8
from pipeline.core.finished.compress import compress, measure, packed
from pipeline.core.finished.final import (
    COMPRESSIONS,
    Final,
    Half,
    Int8Dynamic,
    Int8Static,
    NoCompression,
    Prune,
)
from pipeline.core.finished.finish import _batches, evaluate_views, finish, has_views
from pipeline.core.finished.int8 import Conv8, Linear8, has_int8
from pipeline.core.models import CNN, MODELS
from pipeline.core.pictures import Pictures
from pipeline.core.setup import build_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def learned() -> tuple[nn.Module, Pictures, Pictures, Pixels]:
    """A small network that knows the digits: (model, train, val, pixels)."""
    inputs = digits(num_train=400, num_val=200)
    train, val = Pictures(inputs.train, CPU), Pictures(inputs.val, CPU)
    pixels = Pixels(inputs.mean, inputs.std, device=CPU)
    torch.manual_seed(0)
    model = CNN(width=8).build(1, 8, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for _, images, labels in train.batches(
            np.arange(400), [slice(i, i + 50) for i in range(0, 400, 50)]
        ):
            optimizer.zero_grad()
            functional.cross_entropy(model(pixels(images)), labels).backward()
            optimizer.step()
    return model, train, val, pixels


def small_build(config: Any, channels: int = 1, size: int = 32) -> nn.Module:
    narrow = {"width": 4} if "width" in config.model_fields else {}
    torch.manual_seed(0)
    model: nn.Module = config(**narrow).build(channels, size, 10)
    return model.eval()


@pytest.mark.parametrize("how", COMPRESSIONS)
@pytest.mark.parametrize("network", MODELS)
def test_every_network_is_compressed_and_answers_alike(network: Any, how: Any) -> None:
    """In the memory layout that colour pictures are trained in."""
    if network().name == "timm":
        pytest.skip("any of hundreds; the families behind it are members themselves")
    model = small_build(network, channels=3).to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    small = compress(how(), model, [x])
    with torch.inference_mode():
        y, expected = small(x), model(x)
    assert y.shape == expected.shape
    assert y.dtype == torch.float32
    assert torch.isfinite(y).all()
    scale = expected.abs().max()
    allowed = {
        "none": 0.0,
        "half": 0.1,
        "int8_dynamic": 0.1,
        "int8_static": 0.35,
        "prune": math.inf,
    }[how().name]
    assert (y - expected).abs().max() <= allowed * scale
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.state_dict().keys() == before.keys()


@pytest.mark.parametrize("amount", [0.3, 0.9])
def test_pruning_removes_the_smallest_weights_of_all_layers_together(
    amount: float, learned: Any
) -> None:
    model = learned[0]
    small = compress(Prune(amount=amount), model, [])
    old = torch.cat([p.flatten() for p in model.parameters() if p.ndim >= 2])
    new = torch.cat([p.flatten() for p in small.parameters() if p.ndim >= 2])
    assert (new == 0).sum().item() == round(amount * len(old))
    assert torch.equal(new[new != 0], old[new != 0])
    assert old[new == 0].abs().max() <= old[new != 0].abs().min()
    for name, value in model.named_parameters():
        if value.ndim < 2:
            assert torch.equal(value, small.get_parameter(name))


def test_sparse_weights_are_stored_as_a_mask_and_values_without_loss(learned: Any) -> None:
    small = compress(Prune(amount=0.9), learned[0], [])
    stored, masked = packed(small), 0
    for name, tensor in small.state_dict().items():
        if f"{name}.mask" in stored:
            masked += 1
            bits = np.unpackbits(stored[f"{name}.mask"].numpy())[: tensor.numel()].astype(bool)
            restored = torch.zeros(tensor.numel())
            restored[torch.from_numpy(bits)] = stored[f"{name}.values"]
            assert torch.equal(restored.view(tensor.shape), tensor)
        else:
            assert torch.equal(stored[name], tensor)
    assert masked >= 5
    whole, tenth = (
        measure(learned[0], torch.zeros(1, 1, 8, 8)),
        measure(small, torch.zeros(1, 1, 8, 8)),
    )
    # a bit for the mask and a tenth of 32 for the values, of 32
    assert tenth.size_bytes / whole.size_bytes == pytest.approx((1 + 3.2) / 32, abs=0.06)


def test_int8_and_half_are_a_quarter_and_a_half_of_the_size() -> None:
    model = CNN(width=16).build(1, 32, 10).eval()
    x = torch.randn(2, 1, 32, 32)
    whole = measure(model, x).size_bytes
    assert whole == pytest.approx(sum(t.nbytes for t in model.state_dict().values()), rel=0.02)
    for how, share in ((Int8Static(), 0.25), (Half(), 0.5), (Half(dtype="fp16"), 0.5)):
        assert measure(compress(how, model, [x]), x).size_bytes / whole == pytest.approx(
            share, rel=0.06
        )
    assert 0.25 < measure(compress(Int8Dynamic(), model, [x]), x).size_bytes / whole < 1


def test_what_is_replaced() -> None:
    model = CNN(width=4).build(1, 8, 10)
    x = torch.randn(2, 1, 8, 8)
    kinds = [type(m) for m in compress(Int8Dynamic(), model, [x]).modules()]
    assert (kinds.count(Linear8), kinds.count(nn.Conv2d), kinds.count(nn.Linear)) == (3, 5, 0)
    kinds = [type(m) for m in compress(Int8Static(), model, [x]).modules()]
    assert (
        kinds.count(Linear8),
        kinds.count(Conv8),
        kinds.count(nn.Conv2d),
        kinds.count(nn.Linear),
    ) == (3, 5, 0, 0)


class Reused(nn.Module):
    """One layer in two places, one whose weights another function reads, and one that is never
    called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = self.again = nn.Linear(4, 4)
        self.read, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.again(functional.linear(self.first(x), self.read.weight))
        return out


def test_shared_layers_stay_shared_and_weights_that_are_read_stay() -> None:
    small: Any = compress(Int8Dynamic(), Reused(), [torch.randn(3, 4)])
    assert isinstance(small.first, Linear8)
    assert small.first is small.again
    assert type(small.read) is type(small.idle) is nn.Linear


def test_a_network_without_such_a_layer_is_said_to_be_unchanged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(compress(Int8Dynamic(), model, [x])(x), model(x))
    assert "changes nothing" in caplog.text


@pytest.mark.parametrize(
    ("in_channels", "out", "kernel", "stride", "padding", "dilation", "groups"),
    [(3, 8, 3, 1, 1, 1, 1), (4, 8, 1, 2, 0, 1, 1), (6, 6, 3, 1, 2, 2, 6), (8, 4, 5, 2, 2, 1, 2)],
)
def test_an_integer_convolution_is_the_convolution_of_its_rounded_numbers(
    in_channels: int,
    out: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    monkeypatch: Any,
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(in_channels, out, kernel, stride, padding, dilation, groups)
    x = torch.randn(5, in_channels, 12, 12) + 0.5
    conv = Conv8(layer, x.min().item(), x.max().item())
    scale, zero = conv.range
    rounded = ((x / scale).round() + zero).clamp(0, 255).sub(zero) * scale
    weight = conv.weight.float() * conv.scale.view(-1, 1, 1, 1)
    expected = functional.conv2d(rounded, weight, layer.bias, stride, padding, dilation, groups)
    assert torch.allclose(conv(x), expected, atol=1e-4)
    assert (weight - layer.weight).abs().max() <= conv.scale.max() / 2 * 1.001
    assert (rounded - x).abs().max() <= scale / 2 * 1.01
    monkeypatch.setattr(int8, "has_int8", lambda: False)
    assert torch.allclose(conv(x), expected, atol=1e-4)


def test_an_integer_matrix_product_is_that_of_its_rounded_numbers(monkeypatch: Any) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(70, 30)
    x = torch.randn(5, 2, 70).relu()
    for linear in (Linear8(layer), Linear8(layer, 0.0, x.max().item())):
        y = linear(x)
        assert y.shape == (5, 2, 30)
        assert (y - layer(x)).abs().max() < 0.05
        # a row's result is its own: nothing of the rest of the batch is in it
        assert torch.equal(linear(x[1:2]), y[1:2])
        with monkeypatch.context() as patch:
            patch.setattr(int8, "has_int8", lambda: False)
            assert torch.allclose(linear(x), y, atol=1e-5)


def test_inputs_and_weights_that_are_all_zero_stay_so() -> None:
    layer = nn.Linear(8, 3)
    nn.init.zeros_(layer.weight)
    for linear in (Linear8(layer), Linear8(layer, 0.0, 0.0)):
        assert torch.equal(linear(torch.zeros(2, 8)), layer.bias.expand(2, 3))


def test_latency_is_given_only_where_integers_are_real(monkeypatch: Any) -> None:
    x = torch.randn(1, 1, 8, 8)
    model = CNN(width=4).build(1, 8, 10)
    small = compress(Int8Static(), model, [x])
    assert (measure(small, x).seconds_per_picture is None) == (not has_int8())
    monkeypatch.setattr(module, "has_int8", lambda: False)
    assert measure(small, x).seconds_per_picture is None
    assert measure(small, x).size_bytes == len(module.save(packed(small)))
    seconds = measure(model, x).seconds_per_picture
    assert seconds is not None
    assert seconds > 0


def test_ranges_come_from_as_many_pictures_as_asked() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    batches = [torch.full((4, 1, 1, 1), float(value)) for value in (1, 2, 3)]
    batches[1][2:] = 50.0
    small = compress(Int8Static(num_calibration=6), model, iter(batches))
    assert small[1].range[0] == pytest.approx(2 / 255)  # type: ignore[index, union-attr]


@pytest.mark.parametrize("how", [how for how in COMPRESSIONS if how is not NoCompression])
def test_narrow_shortcuts_are_compressed_as_they_were_made(how: Any) -> None:
    """On a CPU they are trained on pictures in which what they skip is left out already."""
    config = SMALL.override({"model.name": "resnet18", "model.width": 4})
    trained = build_model(config, digits(channels=3, size=32), CPU, pretrained=False)
    plain = config.model.build(3, 32, 10)
    plain.load_state_dict(trained.state_dict())
    x = torch.randn(8, 3, 32, 32)
    last = x.contiguous(memory_format=torch.channels_last)
    found = compress(how(), trained, [last])(last)
    torch.testing.assert_close(found, compress(how(), plain, [x])(x), atol=1e-3, rtol=1e-2)


def test_compressed_digits_are_still_read(learned: Any) -> None:
    model, train, val, pixels = learned
    _, plain = evaluate(model, val, pixels, dtype=torch.float32)
    assert plain > 0.85
    for how, loss in (
        (Int8Dynamic(), 0.01),
        (Int8Static(), 0.02),
        (Half(), 0.02),
        (Half(dtype="fp16"), 0.01),
    ):
        _, acc = evaluate(
            compress(how, model, _batches(train, pixels, 256)), val, pixels, dtype=torch.float32
        )
        assert acc >= plain - loss
    _, half = evaluate(compress(Prune(amount=0.3), model, []), val, pixels, dtype=torch.float32)
    _, nothing = evaluate(
        compress(Prune(amount=0.999), model, []), val, pixels, dtype=torch.float32
    )
    assert half > plain - 0.1
    assert nothing < 0.5


CONFIG = SMALL.override({"augment.strength": 1.0})


def with_final(final: Final) -> Any:
    return CONFIG.override({"final": final})


def test_without_views_it_is_the_plain_evaluation_bit_for_bit(learned: Any) -> None:
    model, train, val, pixels = learned
    loss, acc = evaluate(model, val, pixels, dtype=torch.float32)
    assert evaluate_views(CONFIG, model, val, pixels, seed=0) == (loss, acc)
    assert finish(CONFIG, model, val, train, pixels, seed=0).facts == {"loss": loss, "acc": acc}


def test_views_need_an_augmentation_of_the_picture_itself(learned: Any) -> None:
    model, _, val, pixels = learned
    plain = evaluate(model, val, pixels, dtype=torch.float32)
    for knobs in (
        {"augment.strength": 0.0},
        {"augment.strength": 1.0, "augment.name": "notes", "augment.mixup": 0.5},
    ):
        config = with_final(Final(tta=2)).override(knobs)
        off = {
            "augment.flip": 0.0,
            "augment.rotation": 0.0,
            "augment.crop": 0.0,
            "augment.jitter": 0.0,
        }
        config = config.override(off)
        assert not has_views(config.augment, 8)
        assert evaluate_views(config, model, val, pixels, seed=0) == plain
    assert has_views(CONFIG.augment, 8)


def test_views_are_averaged_as_probabilities_and_know_nothing_of_batches(
    learned: Any, monkeypatch: Any
) -> None:
    model, _, val, pixels = learned
    config = with_final(Final(tta=4))
    plain = evaluate(model, val, pixels, dtype=torch.float32)
    loss, acc = evaluate_views(config, model, val, pixels, seed=0)
    assert loss != plain[0]
    assert acc > plain[1] - 0.1
    assert (loss, acc) == evaluate_views(config, model, val, pixels, seed=0)
    assert loss != evaluate_views(config, model, val, pixels, seed=1)[0]
    monkeypatch.setitem(evaluate_views.__globals__["BATCH"], "cpu", 7)
    assert evaluate_views(config, model, val, pixels, seed=0) == (
        pytest.approx(loss, rel=1e-5),
        acc,
    )


def test_the_average_is_of_probabilities(learned: Any) -> None:
    model, _, val, pixels = learned
    images = torch.from_numpy(np.asarray(val.images[val.index[:3]]))
    from pipeline.core.augmentation.pixels import draw
    from pipeline.core.finished.finish import _log_mean

    view = draw(CONFIG.augment, seed=0, epoch=1, num_samples=3, size=8)
    with torch.inference_mode():
        both = [model(pixels(images, v)).softmax(1) for v in (None, view)]
        assert not torch.allclose(both[0], both[1])
        assert torch.allclose(
            _log_mean(model, pixels, images, [None, view]).exp(), (both[0] + both[1]) / 2, atol=1e-6
        )


def test_finish_says_what_it_gained_and_what_it_costs(learned: Any) -> None:
    model, train, val, pixels = learned
    facts = finish(
        with_final(Final(tta=2, compress=Int8Static())), model, val, train, pixels, seed=0
    ).facts
    latencies = {"latency_seconds", "plain_latency_seconds"} if has_int8() else set()
    assert (
        set(facts)
        == {"loss", "acc", "plain_loss", "plain_acc", "size_bytes", "plain_size_bytes"} | latencies
    )
    assert (facts["plain_loss"], facts["plain_acc"]) == evaluate(
        model, val, pixels, dtype=torch.float32
    )
    assert facts["loss"] != facts["plain_loss"]
    assert 0 < facts["size_bytes"] < 0.5 * facts["plain_size_bytes"]
    only_views = finish(with_final(Final(tta=2)), model, val, train, pixels, seed=0).facts
    assert only_views["size_bytes"] == only_views["plain_size_bytes"]
    plain = finish(
        with_final(Final(compress=NoCompression())), model, val, train, pixels, seed=0
    ).facts
    assert plain.keys() == {"loss", "acc"}


def test_calibration_is_spread_over_the_split(learned: Any) -> None:
    """Rows are sorted by file name, hence by class: the first ones are all alike."""
    _, train, _, pixels = learned
    first = pixels(torch.from_numpy(np.asarray(train.images[train.index[[0, -1]]])))
    assert torch.equal(next(_batches(train, pixels, 2)), first)
    assert sum(len(batch) for batch in _batches(train, pixels, 10_000)) == len(train)
