"""Pictures a second: of the training loop, of what it is made of, and of the notebook's way."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.gpu.bench import Bench, Facts
from benchmarks.gpu.runs import NUM_CLASSES, inputs_of, loop_of
from benchmarks.loop import Photos, photos
from pipeline.core import checkpoints
from pipeline.core.augmentation.pixels import draw
from pipeline.core.config import TrainConfig
from pipeline.core.evaluate import evaluate
from pipeline.core.loop import Loop
from pipeline.core.pictures import Pictures
from pipeline.core.setup import Inputs, describe, identity
from pipeline.limits import num_cores

FOOD11_TRAIN, FOOD11_EVALUATED = 9866, 6860  # a train split; as many of it as of val, and val
STEPS = 8  # between two looks at the clock
WARM_UPS = 4  # steps before one is captured


def rate(bench: Bench, work: Callable[[], object], num: int) -> float:
    """Pictures a second of `work`, which takes `num`; a first, cold call is left out."""
    work()
    bench.sync()
    begun, done = time.perf_counter(), 0
    while not done or time.perf_counter() - begun < bench.sizes.seconds:
        work()
        bench.sync()
        done += num
    return done / (time.perf_counter() - begun)


def throughput(bench: Bench) -> Facts:
    """How near the loop is to the bare network, and how far from the notebook's way."""
    sizes, shares = bench.sizes, {}
    inputs = inputs_of(sizes.num, sizes.side)
    for name in ("cnn", "resnet18"):
        for batch in sizes.batches:
            config = config_of(bench, name, batch)
            loop, pictures = loop_of(bench, config, inputs)
            own = rate(bench, lambda: epoch(loop, pictures), sizes.num)  # noqa: B023
            numbers = {"loop": own, "ms_a_step": 1e3 * batch / own, "eager": eager(bench, config)}
            if bench.gpu:
                numbers["graph"] = graph(bench, config)
            if batch == sizes.batches[0]:
                numbers["notebook"] = notebook(bench, config)
            others = [other for other in ("eager", "graph", "notebook") if other in numbers]
            numbers |= {f"loop_to_{other}": own / numbers[other] for other in others}
            bench.info("throughput", network=name, batch=batch, **numbers)
            shares[f"{name} {batch}"] = numbers["loop_to_eager"]
        bench.info("throughput", network=name, **around(bench, config, loop, pictures, inputs, own))
    return {"loop_to_eager": shares}


def config_of(bench: Bench, name: str, batch: int) -> TrainConfig:
    """What is timed."""
    return TrainConfig().override(
        {
            "model.name": name,
            "model.width": bench.sizes.width,
            "dataset.size": bench.sizes.side,
            "batch_size": batch,
            "augment.strength": 1.0,
            "precision": bench.precision,
        }
    )


def epoch(loop: Loop, pictures: Pictures) -> None:
    """The product's own, again and again the first."""
    loop.run_epoch(1, pictures, len(loop.cuts(len(pictures))), [])


def stepper(bench: Bench, config: TrainConfig) -> tuple[Loop, Callable[[], None]]:
    """The same network, precision and optimizer on one resident batch."""
    batch, side = config.block, bench.sizes.side
    loop, _ = loop_of(bench, config, inputs_of(batch, side, 8))
    x = torch.randn(batch, 3, side, side, device=bench.where, dtype=loop.pixels.dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=bench.where) % NUM_CLASSES
    loop.model.train()

    def step() -> None:
        loop.objective(x, labels).backward()  # type: ignore[no-untyped-call]
        loop.optimizer.step()
        loop.optimizer.zero_grad(set_to_none=True)

    return loop, step


def again(step: Callable[[], None]) -> None:
    """STEPS of them, without a look at the clock."""
    for _ in range(STEPS):
        step()


def eager(bench: Bench, config: TrainConfig) -> float:
    """Pictures a second of the bare network, launched step by step."""
    _, step = stepper(bench, config)
    return rate(bench, lambda: again(step), STEPS * config.block)


def graph(bench: Bench, config: TrainConfig) -> float:
    """The same as a CUDA graph: what no launch holds up."""
    loop, step = stepper(bench, config)
    for group in loop.optimizer.param_groups:
        group["capturable"] = True
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        step()
    return rate(bench, lambda: again(captured.replay), STEPS * config.block)


def notebook(bench: Bench, config: TrainConfig) -> float:
    """The network as people train it: photos decoded each epoch, fp32, NCHW, Adam as it comes,
    `.item()` twice a step.
    """
    side, batch = bench.sizes.side, config.block
    num_steps, skipped = (96, 32) if bench.gpu else (4, 1)  # past what the workers had ready
    plain = config.override({"precision": "fp32"})
    model = loop_of(bench, plain, inputs_of(8, side, 8))[0].model
    model.to(memory_format=torch.contiguous_format).train()
    adam = torch.optim.Adam(model.parameters(), 3e-4)
    with tempfile.TemporaryDirectory() as temp:
        paths = (photos(Path(temp), 16) * (num_steps * batch // 16 + 1))[: num_steps * batch]
        batches = DataLoader(
            Photos(paths, side),
            batch,
            shuffle=True,
            num_workers=min(16, num_cores()) if bench.gpu else 0,
            pin_memory=bench.gpu,
        )
        begun, done = 0.0, 0
        for number, (images, labels) in enumerate(batches):
            if number == skipped:
                bench.sync()
                begun = time.perf_counter()
            there = labels.to(bench.where)
            logits = model(images.to(bench.where))
            loss = functional.cross_entropy(logits, there)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            loss.item(), (logits.argmax(1) == there).float().mean().item()
            done += len(labels) if number >= skipped else 0
        return done / (time.perf_counter() - begun)


def around(
    bench: Bench,
    config: TrainConfig,
    loop: Loop,
    pictures: Pictures,
    inputs: Inputs,
    own: float,
) -> dict[str, float]:
    """What comes beside the steps, and what an epoch of Food-11 takes with it; `own`: the loop's
    rate.
    """
    side = bench.sizes.side
    begun = time.perf_counter()
    draw(config.augment, seed=0, epoch=1, num_samples=FOOD11_TRAIN, size=side)
    drawn = time.perf_counter() - begun
    judged = rate(
        bench,
        lambda: evaluate(loop.model, pictures, loop.pixels, dtype=loop.pixels.dtype),
        bench.sizes.num,
    )
    with tempfile.TemporaryDirectory() as temp:
        begun = time.perf_counter()
        checkpoints.save(
            Path(temp),
            loop.model,
            loop.optimizer,
            identity=identity(config, 0),
            precision=config.precision,
            history=({"epoch": 1},),
            best_epoch=1,
            about=describe(config, inputs).about(),
        )
        saved = time.perf_counter() - begun
    return {
        "draws_ms": 1e3 * drawn,
        "evaluated_a_second": judged,
        "checkpoint_ms": 1e3 * saved,
        "food11_epoch_s": FOOD11_TRAIN / own + drawn + FOOD11_EVALUATED / judged + saved,
    }
