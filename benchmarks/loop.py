"""The training loop, measured side by side in one run: images per CPU-second, one thread.

efficiency   the loop of `train()` / the same model, batch size and precision on one resident batch:
what data and
             bookkeeping cost. Goal: 0.97.
speed-up     the loop of `train()` / the notebook's way: PIL decodes each epoch, torchvision's
transforms, DataLoader, fp32,
             NCHW, Adam as it comes, `.item()` twice a step. Ours decodes once; that cost is printed
             and left out.

Rounds are interleaved, and each side has a process of its own, because allocator settings hold for
a whole process. CPU time, unlike wall time, hardly moves with what else the machine does.

    python -m benchmarks.loop [--data FOLDER] [--size 128] [--batch-size 32] [--rounds 5]
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import io, models, transforms
from torchvision.transforms import v2

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.core.loop import Loop
from pipeline.core.mixed_precision import DTYPES, computing_in
from pipeline.core.objective import Objective
from pipeline.core.pictures import Pictures
from pipeline.core.train import resolve_precision, tune_process
from pipeline.data.splits import Split

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 11
STEPS = 3  # a round at 128 px; more of them on smaller pictures
Measure = Callable[[], float]


def photos(folder: Path, num: int) -> list[Path]:
    """Photo-like JPEGs of 512x384: 1/f noise, some 80 KB each."""
    rng = np.random.default_rng(0)
    fy, fx = np.fft.fftfreq(384)[:, None], np.fft.rfftfreq(512)[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / 512) ** 1.3
    paths = []
    for i in range(num):
        planes = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((3, 384, 512))) * falloff)
        planes += 0.7 * planes.mean(0)
        scaled = 128 + 55 * (planes - planes.mean()) / planes.std() + rng.normal(0, 3, planes.shape)
        path = folder / f"{i % NUM_CLASSES}_{i}.jpg"
        Image.fromarray(scaled.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(
            path, quality=90
        )
        paths.append(path)
    return paths


def clock(work: Callable[[], Any], num_images: int) -> float:
    """Images per CPU-second of this process."""
    start = time.process_time()
    work()
    return num_images / (time.process_time() - start)


def config_of(args: argparse.Namespace, model: str) -> TrainConfig:
    knobs = {
        "model.name": model,
        "dataset.size": args.size,
        "batch_size": args.batch_size,
        "augment.strength": 1.0,
    }
    return TrainConfig().override(knobs)


def ours(args: argparse.Namespace, paths: list[Path]) -> dict[str, Measure]:
    """The loop, and its model alone on a resident batch."""
    tune_process(1)
    resize = v2.Resize((args.size, args.size), antialias=True)
    decoded: list[torch.Tensor] = []
    rate = clock(
        lambda: decoded.extend(resize(io.decode_image(str(p), mode="RGB")) for p in paths),
        len(paths),
    )
    images = torch.stack(decoded).numpy()
    split = Split(images, np.arange(len(paths)) % NUM_CLASSES, np.arange(len(paths)))
    measures: dict[str, Measure] = {"decode once": lambda: rate}
    for name in ("cnn", "resnet18"):
        measures |= {f"{name} loop": loop(config_of(args, name), split)}
        measures |= {
            f"{name} pure": pure(config_of(args, name), args.size, len(paths) // args.batch_size)
        }
    return measures


def build(config: TrainConfig, size: int) -> tuple[nn.Module, torch.optim.Optimizer, torch.dtype]:
    torch.manual_seed(0)
    model = config.model.build(3, size, NUM_CLASSES).to(memory_format=torch.channels_last)
    return model, config.optimizer.build(model), DTYPES[resolve_precision(config, "cpu")]


def loop(config: TrainConfig, split: Split) -> Measure:
    device = torch.device("cpu")
    model, optimizer, dtype = build(config, split.images.shape[-1])
    pixels = Pixels(MEAN, STD, device=device, dtype=dtype, channels_last=True)
    objective = Objective(config, model, model, pixels, dtype)
    run = Loop(config, model, optimizer, objective, pixels, NUM_CLASSES, 0)
    pictures = Pictures(split, device)
    num_steps = len(run.cuts(len(split)))
    return lambda: clock(lambda: run.run_epoch(1, pictures, num_steps, []), len(split))


def pure(config: TrainConfig, size: int, steps: int) -> Measure:
    model, optimizer, dtype = build(config, size)
    x = torch.randn(config.block, 3, size, size, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(config.block) % NUM_CLASSES

    def work() -> None:
        for _ in range(steps):
            with computing_in(dtype, x.device):
                logits = model(x)
            functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    model.train()
    return lambda: clock(work, steps * config.block)


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """A data set as the course's notebook writes it."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.RandomHorizontalFlip(0.2),
                transforms.RandomRotation(10),
                transforms.RandomResizedCrop(size, (0.9, 1.0)),
                transforms.ColorJitter(0.1, 0.1, 0.1, 0.1),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.paths[i]).convert("RGB")), i % NUM_CLASSES


def notebook_cnn(size: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for out in (64, 128, 256, 512, 512):
        layers += [
            nn.Conv2d(channels, out, 3, 1, 1),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.MaxPool2d(2, 2, 0),
        ]
        channels = out
    layers += [
        nn.Flatten(),
        nn.Linear(512 * (size // 32) ** 2, 1024),
        nn.ReLU(),
        nn.Linear(1024, 512),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.Linear(512, NUM_CLASSES))


def notebook(args: argparse.Namespace, paths: list[Path]) -> dict[str, Measure]:
    """The same training as people write it, in a process left as it is but for one thread."""
    torch.set_num_threads(1)
    networks = {
        "cnn": notebook_cnn(args.size),
        "resnet18": models.resnet18(num_classes=NUM_CLASSES),
    }
    batches = DataLoader(Photos(paths, args.size), batch_size=args.batch_size, shuffle=True)

    def measure(model: nn.Module) -> Measure:
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)

        def epoch() -> None:
            model.train()
            for images, labels in batches:
                logits = model(images)
                loss = functional.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), max_norm=10)
                optimizer.step()
                loss.item(), (logits.argmax(-1) == labels).float().mean().item()

        return lambda: clock(epoch, len(paths))

    return {f"{name} notebook": measure(model) for name, model in networks.items()}


def serve(side: str, args: argparse.Namespace, paths: list[Path], pipe: Connection) -> None:
    """In a process of its own: run the measure that the parent asks for, until it asks for none."""
    measures = {"ours": ours, "notebook": notebook}[side](args, paths)
    while name := pipe.recv():
        pipe.send(measures[name]())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of .jpg photos (default: synthetic ones)")
    parser.add_argument(
        "--size", type=int, default=128, help="side in pixels, a multiple of 32 (default 128)"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        num = max(STEPS, round(STEPS * (128 / args.size) ** 2)) * args.batch_size
        found = (
            photos(Path(folder), num)
            if args.data is None
            else sorted(args.data.rglob("*.jpg"))[:num]
        )
        if len(found) < num:
            parser.error(f"--data: {num} .jpg files are needed, {args.data} has {len(found)}")
        report(measured(args, found))


def measured(args: argparse.Namespace, paths: list[Path]) -> dict[str, list[float]]:
    """Images per CPU-second by measure, one value a round; the first, cold round is left out."""
    spawn = multiprocessing.get_context("spawn")
    pipes = {}
    for side in ("ours", "notebook"):
        pipes[side], there = spawn.Pipe()
        spawn.Process(target=serve, args=(side, args, paths, there), daemon=True).start()
    plan = [(side, f"{net} {what}") for net in ("cnn", "resnet18") for side, what in SIDES]
    rates: dict[str, list[float]] = {name: [] for _, name in [("ours", "decode once"), *plan]}
    for i in range(args.rounds + 1):
        for side, name in [("ours", "decode once"), *plan]:
            pipes[side].send(name)
            rate = pipes[side].recv()
            if i > 0:
                rates[name].append(rate)
    for pipe in pipes.values():
        pipe.send("")
    return rates


SIDES = (("ours", "pure"), ("ours", "loop"), ("notebook", "notebook"))


def report(rates: dict[str, list[float]]) -> None:
    for name, values in rates.items():
        spread = f"{min(values):8.1f} … {max(values):.1f}"
        print(f"{name:20s} {statistics.median(values):8.1f} images per CPU-second   {spread}")
    for net in ("cnn", "resnet18"):
        for title, other in (("efficiency", "pure"), ("speed-up", "notebook")):
            ratios = [
                a / b for a, b in zip(rates[f"{net} loop"], rates[f"{net} {other}"], strict=True)
            ]
            low, high = min(ratios), max(ratios)
            print(f"{net:9s} {title:10s} {statistics.median(ratios):6.3f}   {low:.3f} … {high:.3f}")


if __name__ == "__main__":
    main()
