"""A network that computes in 16 bits while its weights, gradients and optimizer stay in 32
(Micikevicius et al. 2018, arXiv 1710.03740), by torch's autocast and GradScaler.
"""

from typing import Any

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import SGD, Optimizer

from pipeline.core.precision import BF16, Precision

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
LEAST = 1.0  # a gradient that leaves float16's range without being scaled up is none
STATE = "scaler."


def computing_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """Forward passes in it compute in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def has_tf32(device: torch.device) -> bool:
    """Whether its float32 convolutions are computed in TF32, as torch lets cuDNN do."""
    return (
        device.type == "cuda"
        and torch.backends.cudnn.allow_tf32
        and torch.cuda.get_device_capability(device) >= BF16
    )


class Scaler(GradScaler):
    """torch's scaler of losses, so that float16 holds their gradients: a step whose gradients are
    not finite is left out, and the scale halved. In other precisions it does nothing.

    A step that is left out is one of length 0 to all else, as in torch's own training scripts: the
    schedule, the weights' moving average and norm statistics count it.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(device.type, enabled=dtype == torch.float16)

    def prepare(self, optimizer: Optimizer) -> None:
        """Before its first step, and before its state is loaded. A fused SGD that leaves its first
        step out goes on from a momentum that nobody has written (torch 2.15): begin with zeros.
        """
        if not self.is_enabled() or not isinstance(optimizer, SGD):
            return
        for group in optimizer.param_groups:
            for param in group["params"] if group["fused"] and group["momentum"] else ():
                optimizer.state[param]["momentum_buffer"] = torch.zeros_like(param)

    def left_out(self, optimizer: Optimizer) -> tuple[Tensor, Tensor]:
        """(1 where the step to come is left out, else 0; infinity where the scale is no reason for
        that, else 0), on the device; after `unscale_`.
        """
        (found,) = self._found_inf_per_device(optimizer).values()
        scale, _ = self._check_scale_growth_tracker("left_out")
        return found, torch.where((found > 0) & (scale <= LEAST), torch.inf, 0.0)

    def dump(self) -> dict[str, Any]:
        """State as JSON scalars, `scaler.NAME`."""
        return {f"{STATE}{name}": value for name, value in self.state_dict().items()}

    def load(self, scalars: dict[str, Any]) -> None:
        """Undo `dump`."""
        own = {key.removeprefix(STATE): v for key, v in scalars.items() if key.startswith(STATE)}
        self.load_state_dict(own)
