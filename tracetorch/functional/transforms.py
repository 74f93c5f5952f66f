"""Inverses of the constraints: from a decay, threshold or time constant to the raw value that is trained."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def require(name: str, value: Any, allowed: str, holds: Callable[[Any], Any]) -> None:
    """Raise a ValueError that shows the first number in `value` for which `holds` is not true."""
    x = torch.as_tensor(value).detach()
    if x.is_meta:
        return
    bad = x[~torch.as_tensor(holds(x))]
    if bad.numel():
        raise ValueError(f"{name}: every value must be {allowed} (got {bad.flatten()[0].item():g})")


def sigmoid_inverse(x: Tensor) -> Tensor:
    """Return the raw value whose sigmoid is x.

        log(x / (1 - x))

    Args:
        x: tensor of any shape, in (0, 1).

    Raises:
        ValueError: a value that is not in (0, 1).
    """
    require("sigmoid_inverse", x, "in (0, 1)", lambda v: (v > 0) & (v < 1))
    return torch.logit(torch.as_tensor(x))


def softplus_inverse(x: Tensor) -> Tensor:
    """Return the raw value whose softplus is x; written so that no large x overflows.

        log(exp(x) - 1) = x + log(1 - exp(-x))

    Args:
        x: tensor of any shape, greater than 0.

    Raises:
        ValueError: a value that is not greater than 0.
    """
    require("softplus_inverse", x, "greater than 0", lambda v: v > 0)
    x = torch.as_tensor(x)
    return x + torch.log(-torch.expm1(-x))


def mamba_scale(x: Tensor) -> Tensor:
    """Return the raw value r with x = 0.5 ** exp(r): a decay on the scale state-space models train it on.

        log(-log2(x))

    Args:
        x: decay, tensor of any shape, in (0, 1).

    Raises:
        ValueError: a value that is not in (0, 1).
    """
    require("mamba_scale", x, "in (0, 1)", lambda v: (v > 0) & (v < 1))
    return torch.log(-torch.log2(torch.as_tensor(x)))
