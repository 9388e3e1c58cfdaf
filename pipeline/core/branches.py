"""Branches: modules side by side on the same input."""

import torch
from torch import Tensor, nn


class Branches(nn.ModuleList):
    """Each module on the same maps, the results stacked: [B, in, S, S] -> [B, sum of the outs, S', S'].

    The form of an Inception block (Szegedy et al. 2014, arXiv 1409.4842, fig. 2). No branch may change its input in place.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)
