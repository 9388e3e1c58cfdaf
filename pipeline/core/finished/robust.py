"""How many pictures a finished model answers rightly whatever an attack makes of them."""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.core.adversary import attack
from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.evaluate import BATCH
from pipeline.core.memory import in_parts
from pipeline.core.pictures import Pictures, cut
from pipeline.core.regularize import Attack
from pipeline.core.streams import torch_seed


def robust_acc(
    how: Attack, model: nn.Module, pictures: Pictures, pixels: Pixels, *, seed: int
) -> float:
    """Share of the pictures that are right as they are and as the attack changed them, in [0, 1].

    The attack finds no more than an upper bound of the share that nothing within epsilon makes
    wrong. It takes the gradient of the model itself (white box), in fp32; leaves `model` in eval
    mode and moves torch's global random state.
    """
    device, model = pictures.device, model.eval()
    torch.manual_seed(torch_seed(seed, "attack"))
    right = torch.zeros((), dtype=torch.int64, device=device)

    def held(x: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        changed = attack(how, model, x, labels, pixels, dtype=torch.float32, noise=noise)
        with torch.inference_mode():
            both = [model(one).argmax(1) == labels for one in (x, changed)]
            return (both[0] & both[1]).sum()

    cuts = cut(len(pictures), BATCH.get(device.type, 512))
    for _, images, labels in pictures.batches(np.arange(len(pictures)), cuts):
        x = pixels(images)
        # drawn for the whole batch: a picture's place does not depend on how much fits at once
        for num in in_parts(held, x, labels, torch.rand_like(x)):
            right += num
    return right.item() / len(pictures)
