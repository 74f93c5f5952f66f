"""Smooth spike functions."""

import torch
from torch import Tensor


def sigmoid4x(x: Tensor) -> Tensor:
    """Return a sigmoid with slope 1 at the threshold, the default `spike_fn`.

        y = sigmoid(4 * x)        dy/dx = 4 * y * (1 - y)

    Args:
        x: membrane minus threshold, any shape.

    Source: traceTorch 0.19.
    """
    return torch.sigmoid(4 * x)
