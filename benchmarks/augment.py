"""Augmentation alone, measured side by side in one run: images per CPU-second, one thread.

notebook     as the course's notebook does it: PIL opens and resizes every picture, torchvision's
transforms change it, a
             DataLoader makes batches. Goal: we are 7 times as fast.
kornia       AugmentationSequential with the same operations, on batches decoded once. Goal: we are
3 times as fast. ours         `draw` and `Pixels`, on the same decoded batches.

All turn pictures into normalised float batches: flip .2, rotation ±10°, resized crop of .9-1,
colour jitter .1. To decode once is left out of ours and kornia's; the notebook's way decodes in
every epoch, and that is what it costs. The other named sets follow, and what speed must not cost:
draws of its own for every sample, equal in any batch.

Rounds are interleaved. CPU time, unlike wall time, hardly moves with what else the machine does.

    python -m benchmarks.augment [--data FOLDER] [--size 128] [--batch-size 64] [--rounds 5]
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from kornia import augmentation as kornia
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import io
from torchvision.transforms import v2

from benchmarks.loop import MEAN, STD, Photos, clock, photos
from pipeline.core.augmentation.config import AUGMENTS, Augmentation, Notes
from pipeline.core.augmentation.pixels import Pixels, draw
from pipeline.core.train import tune_process

BATCHES = 4
GOALS = {"notebook": 7, "kornia": 3}
COPIES = 64
Way = Callable[[], list[Tensor]]


def decoded(paths: list[Path], size: int) -> Tensor:
    """uint8 [N, 3, size, size]."""
    resize = v2.Resize((size, size), antialias=True)
    return torch.stack([resize(io.decode_image(str(path), mode="RGB")) for path in paths])


def batches(images: Tensor, batch_size: int) -> list[slice]:
    return [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]


def ours(images: Tensor, batch_size: int, augment: Augmentation) -> Way:
    pixels = Pixels(MEAN, STD, device=torch.device("cpu"))

    def epoch() -> list[Tensor]:
        draws = draw(augment, seed=0, epoch=1, num_samples=len(images), size=images.shape[-1])
        assert draws is not None
        return [pixels(images[cut], draws.rows(cut)) for cut in batches(images, batch_size)]

    return epoch


def kornias(images: Tensor, batch_size: int) -> Way:
    size = images.shape[-1]
    sequence = kornia.AugmentationSequential(
        kornia.RandomHorizontalFlip(p=0.2),
        kornia.RandomRotation(10.0, p=1.0),
        kornia.RandomResizedCrop((size, size), scale=(0.9, 1.0), cropping_mode="resample"),
        kornia.ColorJitter(0.1, 0.1, 0.1, 0.1, p=1.0),
        kornia.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
        data_keys=["input"],
    )

    @torch.inference_mode()
    def epoch() -> list[Tensor]:
        return [
            sequence(images[cut].to(torch.float32) / 255) for cut in batches(images, batch_size)
        ]

    return epoch


def notebook(paths: list[Path], size: int, batch_size: int) -> Way:
    loader = DataLoader(Photos(paths, size), batch_size=batch_size, shuffle=True)
    return lambda: [images for images, _ in loader]


def ways(paths: list[Path], size: int, batch_size: int) -> dict[str, Way]:
    """The three to be compared, and our other sets."""
    images = decoded(paths, size)
    sets = {f"ours, {made.name}": made for made in (kind(strength=1.0) for kind in AUGMENTS)}
    named = {name: ours(images, batch_size, augment) for name, augment in sets.items()}
    return {
        "notebook": notebook(paths, size, batch_size),
        "kornia": kornias(images, batch_size),
    } | named


def measured(compared: dict[str, Way], num_images: int, rounds: int) -> dict[str, list[float]]:
    """Images per CPU-second by way, one value a round; the first, cold round is left out."""
    rates: dict[str, list[float]] = {name: [] for name in compared}
    for i in range(rounds + 1):
        for name, epoch in compared.items():
            rate = clock(epoch, num_images)
            if i > 0:
                rates[name].append(rate)
    return rates


def num_distinct(image: Tensor) -> int:
    """Different results among `COPIES` of one picture in one batch."""
    (batch,) = ours(image.expand(COPIES, -1, -1, -1), COPIES, Notes(strength=1.0))()
    return len({x.numpy().tobytes() for x in batch})


def split_difference(images: Tensor) -> float:
    """The largest difference that the batch size makes to a pixel, over every set."""
    largest = 0.0
    for kind in AUGMENTS:
        whole, *others = (
            torch.cat(ours(images, size, kind(strength=1.0))()) for size in (len(images), 1, 7, 32)
        )
        largest = max(largest, *(float((other - whole).abs().max()) for other in others))
    return largest


def report(rates: dict[str, list[float]]) -> None:
    for name, values in rates.items():
        spread = f"{min(values):8.1f} … {max(values):.1f}"
        print(f"{name:20s} {statistics.median(values):8.1f} images per CPU-second   {spread}")
    for other, goal in GOALS.items():
        ratios = [a / b for a, b in zip(rates["ours, notes"], rates[other], strict=True)]
        low, high = min(ratios), max(ratios)
        print(
            f"ours / {other:12s}  {statistics.median(ratios):7.2f}   {low:.2f} … {high:.2f}   goal "
            f"{goal}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of .jpg photos (default: synthetic ones)")
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default 128)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    tune_process(1)
    with tempfile.TemporaryDirectory() as folder:
        num = BATCHES * args.batch_size
        found = (
            photos(Path(folder), num)
            if args.data is None
            else sorted(args.data.rglob("*.jpg"))[:num]
        )
        if len(found) < num:
            parser.error(f"--data: {num} .jpg files are needed, {args.data} has {len(found)}")
        report(measured(ways(found, args.size, args.batch_size), num, args.rounds))
        images = decoded(found[: args.batch_size], args.size)
    print(f"distinct draws        {num_distinct(images[:1])} of {COPIES}")
    print(f"batch split           largest difference {split_difference(images)}")


if __name__ == "__main__":
    main()
