"""float16 with scaled losses, as torch's CPU computes it: what of a step is left out, goes on and
is told; and which precision which GPU gets.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from scans import SMALL, digits, numbers, weights
from torch.amp import GradScaler
from torch.nn.utils import parameters_to_vector

from pipeline.core import checkpoints, setup
from pipeline.core.config import TrainConfig
from pipeline.core.loop import Diverged, Loop
from pipeline.core.mixed_precision import Scaler, has_tf32
from pipeline.core.optimizers import OPTIMIZERS
from pipeline.core.parallel import Group
from pipeline.core.pictures import Pictures
from pipeline.core.precision import fast_precision, is_emulated, resolve_precision
from pipeline.core.setup import build_model, build_pixels, identity
from pipeline.core.train import train
from pipeline.core.trainer import Trainer
from pipeline.engine import worker
from pipeline.engine.order import Outcome
from pipeline.machine import describe


def name_of(member: Any) -> str:
    return str(member.model_fields["name"].default)


CPU = torch.device("cpu")
HALF = SMALL.override({"precision": "fp16", "model.norm": "none"})
TOO_LARGE = 2.0**40  # a scale that no gradient is in float16's range at: some 25 steps are left out


def loop_of(config: TrainConfig) -> tuple[Loop, Pictures]:
    run = Trainer(config, digits(), seed=0, folder=None, device=CPU, group=Group())
    return run.loop, run.train


def epoch(loop: Loop, pictures: Pictures, number: int = 1) -> dict[str, float]:
    return loop.run_epoch(number, pictures, len(loop.cuts(len(pictures))), [])


def state(loop: Loop) -> list[Any]:
    tensors, scalars = checkpoints.dump_optimizer(loop.optimizer)
    own = {name: value.clone() for name, value in tensors.items()}
    return [parameters_to_vector(loop.params).detach().clone(), own, scalars]


def same(one: list[Any], other: list[Any]) -> bool:
    both = one[1].keys() & other[1].keys()
    return (
        torch.equal(one[0], other[0])
        and one[2] == other[2]
        and all(torch.equal(one[1][name], other[1][name]) for name in both)
    )


@pytest.fixture
def far_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs begin with a scale that has to come down."""

    def begin(self: Scaler, dtype: torch.dtype, device: torch.device) -> None:
        enabled = dtype == torch.float16
        GradScaler.__init__(self, device.type, init_scale=TOO_LARGE, enabled=enabled)

    monkeypatch.setattr(Scaler, "__init__", begin)


def planted(loop: Loop, at: set[int], value: float = float("inf")) -> None:
    """The first weight's gradient is not finite in these backward passes, from 0."""
    passes = iter(range(10_000))
    loop.params[0].register_hook(  # type: ignore[no-untyped-call]
        lambda g: torch.full_like(g, value) if next(passes) in at else g
    )


@pytest.mark.parametrize("member", OPTIMIZERS, ids=name_of)
def test_every_optimizer_learns_in_float16_and_leaves_out_what_overflows(member: Any) -> None:
    """Also where that is the very first step, after which a fused SGD of torch's would go on from
    memory that nobody has written.
    """
    rate = {"sgd": 0.02, "lamb": 0.02}.get(name_of(member), 3e-3)
    config = HALF.override({"optimizer.name": name_of(member), "optimizer.lr": rate, "ema": 0.5})
    loop, pictures = loop_of(config)
    planted(loop, {0, 1, 2, 3, 6})
    before = state(loop)
    told = epoch(loop, pictures)
    assert same(state(loop), before)
    assert (told["skipped_steps"], told["grad_norm"]) == (4, 0.0)
    told = epoch(loop, pictures, 2)
    assert told["skipped_steps"] == 1
    assert 0 < told["grad_norm"] < 100
    assert loop.scaler.get_scale() == 2.0**16 / 2**5
    later = [epoch(loop, pictures, number)["grad_norm"] for number in range(3, 9)]
    assert torch.isfinite(parameters_to_vector(loop.params)).all()
    assert all(0 < norm < 100 for norm in later)
    assert loop.average is not None
    x = loop.pixels(torch.tensor(pictures.images[pictures.index]))
    labels = pictures.labels
    with torch.inference_mode():
        after = loop.objective(x, labels)
        loop.model.load_state_dict(loop_of(config)[0].model.state_dict())
        assert after < loop.objective(x, labels)


@pytest.mark.parametrize("clip", [10.0, 0.0])
def test_a_gradient_that_no_scale_makes_finite_is_divergence(clip: float) -> None:
    """From 2 ** 16 it takes 16 halvings to a scale of 1, and there is nothing more to lower."""
    loop, pictures = loop_of(HALF.override({"clip_norm": clip}))
    planted(loop, set(range(10_000)), float("nan"))
    for number in range(1, 5):
        assert epoch(loop, pictures, number)["skipped_steps"] == 4
    with pytest.raises(Diverged) as error:
        epoch(loop, pictures, 5)
    assert (error.value.epoch, error.value.step, error.value.what) == (5, 1, "gradient norm")


def test_a_loss_that_is_not_finite_is_divergence_at_once_and_is_told_unscaled() -> None:
    loop, pictures = loop_of(HALF)
    losses: list[float] = []
    backward = loop._backward

    def watched(*given: Any) -> torch.Tensor:
        losses.append(backward(*given).item())
        return torch.tensor(losses[-1] if len(losses) < 3 else float("nan"))

    loop._backward = watched  # type: ignore[method-assign]
    with pytest.raises(Diverged) as error:
        epoch(loop, pictures)
    assert (error.value.step, error.value.what) == (3, "train_loss")
    assert losses[0] == pytest.approx(2.3, abs=0.5)


KNOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "parts, mixed": {"accumulate": 3, "augment.strength": 1.0, "augment.mixup": 0.5},
    "adversary": {"adversary.epsilon": 0.05, "adversary.clean_share": 0.5, "ema": 0.9},
    "unclipped sgd": {"clip_norm": 0.0, "optimizer.name": "sgd", "optimizer.lr": 0.02},
    "batch norm": {"model.norm": "batch", "optimizer.name": "lamb"},
    "own averages": {"optimizer.name": "radam", "metrics": ["macro_f1"], "loss.smoothing": 0.1},
}


@pytest.mark.usefixtures("far_too_large")
@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS)
def test_a_run_goes_on_with_its_scale_bit_for_bit(knobs: dict[str, Any], tmp_path: Path) -> None:
    """Where the scale began anew the same steps would be left out once more."""
    config, inputs = HALF.override({"epochs": 10} | knobs), digits(num_train=96, num_val=12)
    straight = train(config, inputs, seed=0, folder=tmp_path / "straight")
    for stop in (1, 4, None):
        parts = train(config, inputs, seed=0, folder=tmp_path / "parts", stop=stop)
    assert numbers(parts) == numbers(straight)
    assert weights(tmp_path / "parts", 10) == weights(tmp_path / "straight", 10)
    skipped = [told["skipped_steps"] for told in straight.history]
    assert skipped[:3] == [3, 3, 3]
    assert skipped[-1] < 3
    found = checkpoints.latest(tmp_path / "parts", identity(config, 0))
    assert found is not None
    assert found.scalars["scaler.scale"] == TOO_LARGE / 2 ** sum(skipped)
    assert ("grad_norm" in straight.history[0]) == (config.clip_norm > 0)


def test_a_teacher_is_listened_to_in_float16_too(tmp_path: Path) -> None:
    inputs = digits()
    train(HALF.override({"epochs": 1}), inputs, seed=1, folder=tmp_path / "teacher")
    teacher = str(checkpoints.epochs(tmp_path / "teacher")[-1] / checkpoints.BEST)
    knobs = {"distill.teacher": teacher, "epochs": 4, "model.norm": "batch"}
    config = HALF.override(knobs)
    history = train(config, inputs, seed=0, folder=tmp_path / "run").history
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    found = checkpoints.latest(tmp_path / "run", identity(config, 0))
    assert found is not None
    assert found.precision == "fp16"
    assert found.scalars["scaler.scale"] == 2.0**16


def test_other_precisions_have_no_scale_and_tell_nothing_of_it(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        config = SMALL.override({"precision": precision, "epochs": 1})
        (told,) = train(config, digits(), seed=0, folder=tmp_path / precision).history
        assert "skipped_steps" not in told
        found = checkpoints.latest(tmp_path / precision, identity(config, 0))
        assert found is not None
        assert not [key for key in found.scalars if key.startswith("scaler")]


GPUS = {
    "H200": ((9, 0), "NVIDIA H200"),
    "A100": ((8, 0), "NVIDIA A100-SXM4-40GB"),
    "T4": ((7, 5), "Tesla T4"),
    "2080": ((7, 5), "NVIDIA GeForce RTX 2080 Ti"),
    "V100": ((7, 0), "Tesla V100-SXM2-16GB"),
    "1660": ((7, 5), "NVIDIA GeForce GTX 1660 Ti"),
    "P100": ((6, 0), "Tesla P100-PCIE-16GB"),
    "1080": ((6, 1), "NVIDIA GeForce GTX 1080 Ti"),
}


def with_gpus(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    there = [GPUS[name] for name in names]

    def found(device: Any = 0) -> tuple[tuple[int, int], str]:
        return there[device if isinstance(device, int) else device.index or 0]

    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(there))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d=0: found(d)[0])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda d=0: found(d)[1])


@pytest.mark.parametrize(
    ("there", "precision"),
    [
        (["H200"], "bf16"),
        (["A100", "H200"], "bf16"),
        (["T4"], "fp16"),
        (["2080"], "fp16"),
        (["V100"], "fp16"),
        (["1660"], "fp32"),
        (["P100"], "fp32"),
        (["1080"], "fp32"),
        (["A100", "T4"], "fp16"),
        (["T4", "P100"], "fp32"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else value,
)
def test_a_gpu_gets_the_precision_that_it_has_hardware_for(
    there: list[str], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several what all have, since all runs of a study are of one precision."""
    with_gpus(monkeypatch, *there)
    assert fast_precision("cuda") == precision
    assert resolve_precision(SMALL, "cuda") == precision  # small pictures, too
    assert resolve_precision(SMALL.override({"precision": "fp32"}), "cuda") == "fp32"


def test_one_gpu_of_several_is_asked_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, "A100", "T4", "P100")
    assert [fast_precision(f"cuda:{i}") for i in range(3)] == ["bf16", "fp16", "fp32"]


def test_what_another_machine_is_fast_at_is_taken_on_its_word() -> None:
    assert resolve_precision(SMALL, "cuda", "fp16") == "fp16"
    large = SMALL.override({"dataset.size": 32})
    assert resolve_precision(large, "cpu", "bf16") == "bf16"
    assert resolve_precision(SMALL, "cpu", "bf16") == "fp32"


@pytest.mark.parametrize(
    ("precision", "device", "fast", "emulated"),
    [
        ("bf16", "cuda", "fp16", True),
        ("bf16", "cuda", "bf16", False),
        ("fp16", "cuda", "bf16", False),
        ("fp16", "cuda", "fp32", True),
        ("fp32", "cuda", "fp32", False),
        ("bf16", "cpu", "fp32", True),
        ("fp16", "cpu", "bf16", True),
        ("fp32", "cpu", "bf16", False),
    ],
)
def test_a_precision_without_hardware_is_emulated(
    precision: str, device: str, fast: Any, emulated: bool
) -> None:
    assert is_emulated(precision, device, fast) == emulated


@pytest.mark.parametrize(
    ("gpu", "dtype", "last"),
    [
        ("T4", torch.float32, False),
        ("T4", torch.float16, True),
        ("P100", torch.float32, False),
        ("A100", torch.float32, True),
        ("A100", torch.bfloat16, True),
    ],
)
def test_channels_come_last_on_a_gpu_where_tensor_cores_take_them(
    gpu: str, dtype: torch.dtype, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, gpu)
    inputs = digits(num_train=4, num_val=2, channels=3, size=32)
    assert setup._channels_last(inputs, torch.device("cuda"), dtype) == last
    assert setup._channels_last(inputs, CPU, dtype)
    assert has_tf32(torch.device("cuda")) == (gpu == "A100")
    assert not has_tf32(CPU)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    kept = last and dtype != torch.float32
    assert setup._channels_last(inputs, torch.device("cuda"), dtype) == kept


def test_pictures_come_in_the_number_type_that_the_network_computes_in() -> None:
    inputs = digits(num_train=4, num_val=2, channels=3, size=32)
    config = HALF.override({"dataset.size": 32})
    pixels = build_pixels(config, inputs, CPU, torch.float16)
    x = pixels(torch.tensor(inputs.train.images[inputs.train.index]))
    assert x.dtype == torch.float16
    model = build_model(config, inputs, CPU, pretrained=False, dtype=torch.float16)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_an_outcome_names_the_gpu_and_whether_float32_was_tf32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert worker._trained_on(CPU) == {}
    for gpu, tf32 in (("A100", True), ("T4", False)):
        with_gpus(monkeypatch, gpu)
        facts = worker._trained_on(torch.device("cuda"))
        end = Outcome(status="reached", **facts).end("run", "complete")
        assert (end.device, end.tf32) == (GPUS[gpu][1], tf32)


def test_the_machine_names_each_kind_of_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, "T4", "T4")
    assert describe("cuda")["name"] == "Tesla T4"
    with_gpus(monkeypatch, "A100", "T4", "T4")
    assert describe("cuda")["name"] == "1 x NVIDIA A100-SXM4-40GB and 2 x Tesla T4"
